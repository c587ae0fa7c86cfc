//! Which engine is there, and which one is taken. Starts nothing but questions.

use super::EngineChoice;
use crate::error::Explained;
use crate::process::{Command, DeadlineExceeded, Output, capture};
use anyhow::Context;
use std::path::PathBuf;
use std::time::Duration;

/// An engine that answered a moment ago answers at once.
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);

/// An engine that can be used.
pub(super) enum Ready {
    Docker(Docker),
    Local,
}

/// docker's command line, and an engine that answers it.
#[derive(Clone, Debug)]
pub(in crate::postgres) struct Docker {
    pub(in crate::postgres) program: PathBuf,
    pub(super) server_version: String,
}

/// Takes what was asked for; says which and why.
pub(super) async fn choose(choice: EngineChoice) -> anyhow::Result<(Ready, String)> {
    match choice {
        EngineChoice::Local => Ok((Ready::Local, "asked for".to_owned())),
        EngineChoice::Docker => {
            let docker = find_docker().await?;
            Ok((Ready::Docker(docker), "asked for".to_owned()))
        }
        EngineChoice::Auto => match find_docker().await {
            Ok(docker) => {
                let chosen = format!("Docker {} answers", docker.server_version);
                Ok((Ready::Docker(docker), chosen))
            }
            Err(error) => Ok((Ready::Local, crate::error::one_line(&error))),
        },
    }
}

/// docker's command line with an engine behind it.
pub(in crate::postgres) async fn find_docker() -> anyhow::Result<Docker> {
    const HINT: &str = "Install and start Docker, or use --engine local.";
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join("docker"))
        .find(|program| program.is_file())
        .ok_or_else(|| Explained::new("no docker command on this machine", HINT))?;
    // `docker info` ends with status 0 also without a server.
    let question = ["version", "--format", "{{.Server.Version}}"];
    let unanswered = |cause| Explained::new("no Docker engine answers", HINT).caused_by(cause);
    let output = run(&program, question).await.map_err(unanswered)?;
    let server_version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.is_success() || server_version.is_empty() {
        let said = super::last_lines(&output.stderr);
        return Err(unanswered(anyhow::anyhow!("{said}")).into());
    }
    Ok(Docker {
        program,
        server_version,
    })
}

impl Docker {
    /// Runs docker's command line to its end.
    pub(in crate::postgres) async fn run<const N: usize>(
        &self,
        args: [&str; N],
    ) -> anyhow::Result<Output> {
        run(&self.program, args).await
    }
}

async fn run<const N: usize>(program: &std::path::Path, args: [&str; N]) -> anyhow::Result<Output> {
    let command = Command::new(program).args(args);
    match capture(command, ANSWER_DEADLINE, 4 << 20).await {
        Err(error) if error.is::<DeadlineExceeded>() => Err(error).context("Docker gave no answer"),
        ended => ended,
    }
}

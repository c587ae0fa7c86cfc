//! Throw-away clusters for drills: a server of the right major version, used once, with a random
//! superuser, tuned for speed because nothing in it has to survive. Two engines make one: a
//! directory of this machine (`local`), or a container (`docker`).
//!
//! Whatever ends a run, nothing of it stays: [`Throwaway::stop`] in order, [`Remover`] for an undo
//! list, dropping it when the future of the run is dropped, and [`sweep`] of the next run when this
//! one is killed outright. Nothing here knows what is restored, or what a drill proves.

mod dir;
pub(super) mod docker;
mod engine;
mod leftovers;
mod local;
mod machine;
mod tuning;

use super::psql::Psql;
use super::tools::Tools;
use crate::archive::index::Name;
use crate::error::Explained;
use crate::process::{Command, capture};
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The prefix of everything that a drill leaves when it is killed: directories, containers.
const PREFIX: &str = "backup-action-drill-";

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineChoice {
    /// Docker when it answers, else local.
    Auto,
    /// A container.
    Docker,
    /// A server of its own on this machine.
    Local,
}

/// What a throw-away cluster is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A container.
    Docker,
    /// A directory and a server of this machine.
    Local,
}

/// The cluster that is wanted.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Where to make it.
    pub engine: EngineChoice,
    /// Its major version, exactly.
    pub major: u32,
    /// Another image than `postgres:MAJOR`, also `NAME@sha256:…`.
    pub image: Option<String>,
    /// The only directory to look for the server's programs in.
    pub pg_bin_dir: Option<PathBuf>,
    /// Where a local cluster's directory is made; none for the temporary directory.
    pub base_dir: Option<PathBuf>,
    /// Name of the bootstrap superuser, where it matters: since 16 a role that was granted by it
    /// can be granted again only by a bootstrap superuser of that name. None, or a name that is
    /// not plain, for a random one.
    pub bootstrap: Option<Name>,
    /// Encoding of the template databases.
    pub encoding: String,
    /// How many sessions will work at the same time.
    pub jobs: usize,
    /// How many tables the largest database will have: a dump holds one lock for each.
    pub tables: u64,
    /// How long the start may take, pulling an image included.
    pub deadline: Duration,
}

/// A running throw-away cluster. Dropping it stops and removes it.
#[derive(Debug)]
pub struct Throwaway {
    /// What it is made of.
    pub engine: Engine,
    /// Why this engine was taken, for the report: "asked for", "Docker 28.2 answers".
    pub chosen: String,
    /// Asks the cluster; its connection and `run_as` serve `pg_dump` and `pg_dumpall` as well.
    pub psql: Psql,
    /// The client programs, to be run like [`Throwaway::psql`]: paths inside the container when
    /// it is one.
    pub tools: Tools,
    /// The superuser that works in it: a random name, so that every role of a dump can be created.
    /// It is the bootstrap superuser too, unless that was given a name.
    pub superuser: Name,
    /// The bootstrap superuser.
    pub bootstrap: Name,
    /// `15.20`.
    pub version: String,
    /// For people: version, engine and place.
    pub describe: String,
    home: Home,
}

/// Where a cluster lives, which is what has to be removed.
#[derive(Clone, Debug)]
enum Home {
    Local(Arc<local::Local>),
    Docker(Arc<docker::Container>),
}

impl Home {
    /// Stops and removes everything; a second call does nothing. Blocks.
    fn remove(&self) -> anyhow::Result<()> {
        match self {
            Home::Local(local) => local.remove(),
            Home::Docker(container) => container.remove(),
        }
    }
}

/// Removes a cluster from elsewhere: from an undo list, when a signal ended the run.
#[derive(Clone, Debug)]
pub struct Remover(Home);

impl Remover {
    /// Stops the server and removes everything; once is enough.
    ///
    /// # Errors
    /// What could not be removed, by name.
    pub async fn remove(&self) -> anyhow::Result<()> {
        let home = self.0.clone();
        tokio::task::spawn_blocking(move || home.remove())
            .await
            .context("the task that removes the cluster died")?
    }
}

impl Throwaway {
    /// Starts a cluster and waits until it answers a query. Dropping the future removes what
    /// there is so far.
    ///
    /// # Errors
    /// [`crate::error::Explained`] when the engine, the server's programs or the image are
    /// missing, when the server does not start (with the end of its log), or is not ready in time.
    pub async fn start(wanted: Wanted) -> anyhow::Result<Throwaway> {
        let start = async {
            let (engine, chosen) = engine::choose(wanted.engine).await?;
            match engine {
                engine::Ready::Docker(docker) => docker::start(&wanted, docker, chosen).await,
                engine::Ready::Local => local::start(&wanted, chosen).await,
            }
        };
        match tokio::time::timeout(wanted.deadline, start).await {
            Ok(started) => started,
            Err(_) => Err(Explained::new(
                format!(
                    "the throw-away server was not ready within {} s",
                    wanted.deadline.as_secs()
                ),
                "Look at the load of this machine, its disk, and for a container at the network the image comes through.",
            )
            .into()),
        }
    }

    /// Stops the server and removes everything.
    ///
    /// # Errors
    /// What could not be removed, by name.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.remover().remove().await
    }

    /// A handle that removes the cluster from elsewhere.
    pub fn remover(&self) -> Remover {
        Remover(self.home.clone())
    }
}

/// The server's settings, `NAME=VALUE`: for whoever compares with another server on this machine.
pub fn settings(jobs: usize, tables: u64) -> Vec<String> {
    tuning::settings(jobs, tables, machine::memory_bytes())
}

/// What a sweep found.
#[derive(Clone, Debug, Default)]
pub struct Swept {
    /// What was removed, as sentences without a full stop.
    pub removed: Vec<String>,
    /// What could not be removed, with the reason.
    pub left: Vec<String>,
}

/// Removes what earlier runs left behind when they were killed: directories of clusters below
/// `base_dir` (none for the temporary directory) with their servers, and containers. Runs that
/// still live, and what is not ours, are not touched.
pub async fn sweep(base_dir: Option<&Path>) -> Swept {
    let bases = dir::bases(base_dir);
    let mut swept = match tokio::task::spawn_blocking(move || dir::sweep(&bases)).await {
        Ok(swept) => swept,
        Err(error) => Swept {
            removed: Vec::new(),
            left: vec![format!(
                "could not look for leftovers of earlier drills: {error}"
            )],
        },
    };
    let containers = leftovers::sweep().await;
    swept.removed.extend(containers.removed);
    swept.left.extend(containers.left);
    swept
}

/// The name to initialise a cluster with: letters, digits and `_` only, as nearly all are.
fn bootstrap(wanted: &Wanted, otherwise: &str) -> String {
    let plain = |name: &&str| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        (1..=63).contains(&name.len()) && name.bytes().all(is_plain) && !name.starts_with("pg_")
    };
    let wanted = wanted.bootstrap.as_ref();
    let name = wanted.and_then(|name| std::str::from_utf8(name.as_bytes()).ok());
    name.filter(plain).unwrap_or(otherwise).to_owned()
}

/// Makes the superuser that works, when the bootstrap superuser, who asks through `psql`, is
/// another.
async fn make_superuser(psql: &Psql, bootstrap: &str, superuser: &str) -> anyhow::Result<()> {
    if bootstrap == superuser {
        return Ok(());
    }
    let command = Command::new(&psql.program)
        .args(["-X", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-d"])
        .arg(psql.connection.conninfo(Some(b"postgres")))
        .arg("-c")
        .arg(format!("CREATE ROLE {superuser} SUPERUSER LOGIN"));
    let command = psql.connection.apply(command).run_as(psql.run_as.clone());
    let output = capture(command, Duration::from_secs(60), 64 * 1024).await?;
    anyhow::ensure!(
        output.status.is_success(),
        "could not make the superuser of the throw-away cluster: {}",
        last_lines(&output.stderr)
    );
    Ok(())
}

/// The version that the server says.
async fn server_version(psql: &Psql) -> anyhow::Result<String> {
    let version: String = psql
        .query_json(
            &Name::from("postgres"),
            "select to_json(current_setting('server_version'))",
        )
        .await?;
    // Debian adds the package's version.
    Ok(version.split(' ').next().unwrap_or_default().to_owned())
}

/// The last lines of a message or a log, joined.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(12)..].join("; ")
}

/// Twelve hexadecimal digits.
fn random_id() -> anyhow::Result<String> {
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes).context("could not get random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

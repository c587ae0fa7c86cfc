//! A container that has PostgreSQL's programs and nothing else to do. They run in it by `docker
//! exec`, on the network of this machine, so the connection is the same as from here.
//!
//! The container's only process of its own reads its standard input, which we hold open through
//! docker's command line: when we end, however that is, it ends, and with it everything in the
//! container, and the container. Its labels name its owner, so that a drill's sweep finds what an
//! engine kept nevertheless.

use super::connection::Connection;
use super::route::Way;
use super::throwaway::docker::{Container, Docker, find_docker, owner_labels, sweep};
use crate::error::Explained;
use crate::process::{Command, Inside, RunAs, Running, capture};
use anyhow::Context;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

const PULL: Duration = Duration::from_secs(900);

const START: Duration = Duration::from_secs(60);

const READY: &str = "backup-action is ready";

/// Where files of this machine are in the container.
const MOUNTS: &str = "/backup-action";

/// Files that a connection names, and where libpq looks for them below the home directory when it
/// names none.
const FILES: &[(&str, &str)] = &[
    ("passfile", ".pgpass"),
    ("sslcert", ".postgresql/postgresql.crt"),
    ("sslcrl", ".postgresql/root.crl"),
    ("sslcrldir", ""),
    ("sslkey", ".postgresql/postgresql.key"),
    ("sslrootcert", ".postgresql/root.crt"),
];

/// A running container; it goes with the last connection that uses it.
#[derive(Debug)]
struct Keeper {
    running: Running,
    image: String,
    container: Container,
    _input: File,
}

impl Way for Keeper {
    fn trouble(&self) -> Option<Explained> {
        self.running.has_ended().then(|| {
            Explained::new(
                format!("the container of {} ended during the run", self.image),
                "Somebody removed or killed it, or memory ran out: look at Docker's log, and run again.",
            )
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The sweep of a later run finds what stays.
        match self.container.remove() {
            Ok(()) | Err(_) => {}
        }
    }
}

/// Starts a container of `image` for `connection`.
///
/// # Errors
/// No Docker, no such image, a file that cannot be mounted, or a container that does not start.
pub(super) async fn start(
    image: &str,
    connection: &Connection,
) -> anyhow::Result<(Connection, RunAs)> {
    if connection.uses_service() {
        return Err(Explained::new(
            "cannot use a service file in a container: it may name files that are only here",
            "Write host, port and the rest into the database URL or PG* variables, or use --pg-client local.",
        )
        .into());
    }
    let docker = find_docker().await.map_err(|error| {
        let error = Explained::new(
            "no Docker to run PostgreSQL's client programs in",
            "Start Docker, or install the client and use --pg-client local.",
        )
        .caused_by(error);
        anyhow::Error::new(error)
    })?;
    // What runs that were killed left; whatever stays is no trouble of this run.
    drop(sweep().await);
    have_image(&docker, image).await?;
    let mounts = Mounts::of(connection)?;
    let (labels, container) = owner_labels(&docker)?;
    let user = format!(
        "{}:{}",
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw()
    );
    let mut command = Command::new(&docker.program)
        .args(["run", "-i", "--rm", "--pull", "never", "--network", "host"])
        .args(["--security-opt", "no-new-privileges", "--user", &user])
        .args(["--entrypoint", "sh", "--name", container.name()]);
    for (key, value) in labels {
        command = command.arg("--label").arg(format!("{key}={value}"));
    }
    for mount in &mounts.mounts {
        command = command.arg("--mount").arg(mount);
    }
    let keep = format!("echo '{READY}'; exec cat >/dev/null");
    let command = command.args(["--", image, "-c", &keep]);
    let (running, input, stdout) = Running::start_with_input(command.scrubbed())?;
    let keeper = Keeper {
        running,
        image: image.to_owned(),
        container,
        _input: input,
    };
    let keeper = ready(keeper, stdout).await?;
    let run_as = RunAs::Container(Inside {
        docker: docker.program,
        container: keeper.container.name().to_owned(),
        user,
    });
    let connection =
        connection
            .clone()
            .for_user(&run_as)?
            .via(Arc::new(keeper), mounts.settings, None);
    Ok((connection, run_as))
}

/// Pulls the image when it is not there.
async fn have_image(docker: &Docker, image: &str) -> anyhow::Result<()> {
    let there = docker.run(["image", "inspect", "--", image]).await?;
    if there.status.is_success() {
        return Ok(());
    }
    let command = Command::new(&docker.program).args(["pull", "--quiet", "--", image]);
    let output = capture(command.scrubbed(), PULL, 1 << 20)
        .await
        .with_context(|| format!("could not pull image {image}"))?;
    if output.status.is_success() {
        return Ok(());
    }
    Err(Explained::new(
        format!("image {image} is not here and could not be pulled"),
        "Check the name and the registry, pull it beforehand, or name another image with --pg-image.",
    )
    .caused_by(anyhow::anyhow!("{:.500}", output.stderr.trim()))
    .into())
}

async fn ready(keeper: Keeper, stdout: File) -> anyhow::Result<Keeper> {
    let (sender, line) = oneshot::channel();
    std::thread::Builder::new()
        .name("container".into())
        .spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line);
            // Nobody waits when the run was interrupted.
            match sender.send(read.is_ok() && line.trim_end() == READY) {
                Ok(()) | Err(_) => {}
            }
        })
        .context("could not start a thread")?;
    if let Ok(Ok(true)) = tokio::time::timeout(START, line).await {
        return Ok(keeper);
    }
    let said = keeper.running.said();
    Err(Explained::new(
        format!("could not start a container of {}", keeper.image),
        "Read Docker's message below, or install the client and use --pg-client local.",
    )
    .caused_by(anyhow::anyhow!("{:.500}", said.trim()))
    .into())
}

/// What of this machine the container sees.
#[derive(Debug, Default)]
struct Mounts {
    mounts: Vec<String>,
    settings: BTreeMap<&'static str, OsString>,
}

impl Mounts {
    fn of(connection: &Connection) -> anyhow::Result<Mounts> {
        let mut mounts = Mounts::default();
        let hosts = connection.hosts();
        if hosts.iter().all(String::is_empty) {
            mounts.default_socket(connection)?;
        }
        for dir in hosts.iter().filter(|host| host.starts_with('/')) {
            mounts.add(Path::new(dir), dir, "")?;
        }
        let home = std::env::var_os("HOME").map(PathBuf::from);
        for (keyword, default) in FILES {
            let named = connection
                .setting(keyword)
                .filter(|value| !value.is_empty());
            if *keyword == "passfile" && connection.has_password()
                || *keyword == "sslrootcert" && named.is_some_and(|value| value == "system")
            {
                continue;
            }
            let path = match (named, &home) {
                (Some(path), _) => std::path::absolute(path).context("could not find a file")?,
                (None, Some(home)) if !default.is_empty() && home.join(default).is_file() => {
                    home.join(default)
                }
                (None, _) => continue,
            };
            // As libpq does with a passfile.
            if *keyword == "passfile" && !path.exists() {
                continue;
            }
            let there = format!("{MOUNTS}/{keyword}");
            mounts.add(&path, &there, ",readonly")?;
            mounts.settings.insert(keyword, there.into());
        }
        if connection.setting("user").is_none()
            && let Some(user) = std::env::var_os("USER").or_else(|| std::env::var_os("LOGNAME"))
        {
            // The container does not know our name, which is libpq's default.
            mounts.settings.insert("user", user);
        }
        Ok(mounts)
    }

    /// libpq's own socket: where Debian's packages put it, or where the source code does.
    fn default_socket(&mut self, connection: &Connection) -> anyhow::Result<()> {
        let port = connection.setting("port").unwrap_or("5432".as_ref());
        let name = format!(".s.PGSQL.{}", port.to_string_lossy());
        let dirs = ["/var/run/postgresql", "/run/postgresql", "/tmp"];
        let Some(dir) = dirs.iter().find(|dir| Path::new(dir).join(&name).exists()) else {
            return Ok(());
        };
        self.add(Path::new(dir), &format!("{MOUNTS}/socket"), "")?;
        let there = format!("{MOUNTS}/socket");
        self.settings.insert("host", there.into());
        Ok(())
    }

    fn add(&mut self, from: &Path, to: &str, more: &str) -> anyhow::Result<()> {
        let text = from.to_str().filter(|_| from.exists());
        // docker reads it as a line of comma-separated values.
        let fits = |text: &str| !text.contains([',', '"', '\n']) && !to.contains([',', '"', '\n']);
        let Some(text) = text.filter(|text| fits(text)) else {
            return Err(Explained::new(
                format!("cannot give {} to a container", from.display()),
                "Name an existing file without comma or quote, or use --pg-client local.",
            )
            .into());
        };
        self.mounts
            .push(format!("type=bind,src={text},dst={to}{more}"));
        Ok(())
    }
}

//! A throw-away cluster in a directory of this machine: initdb and postgres of the installed
//! major version, a private socket, no TCP, and never root.

use super::dir::Dir;
use super::{
    Engine, Home, Throwaway, Wanted, bootstrap, last_lines, make_superuser, random_id,
    server_version, settings, tuning,
};
use crate::archive::index::Name;
use crate::error::Explained;
use crate::postgres::connection::Connection;
use crate::postgres::psql::Psql;
use crate::postgres::tools::{ServerTools, locate_server};
use crate::process::{Command, Output, RunAs, Running, StopHandle, capture};
use anyhow::Context;
use std::ffi::OsString;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

/// initdb writes to an empty directory: it is slow only when the disk is.
const INITDB_DEADLINE: Duration = Duration::from_secs(300);

const POLL: Duration = Duration::from_millis(20);

/// The end of the log that an error shows.
const LOG_TAIL_BYTES: u64 = 4096;

/// A cluster of this machine.
#[derive(Debug)]
pub(super) struct Local {
    dir: Dir,
    server: Mutex<Option<StopHandle>>,
    removed: Mutex<bool>,
}

impl Local {
    /// Makes a directory below `base`; from now on it is removed when this value is dropped.
    fn make(base: &Path, owner: Option<(u32, u32)>) -> anyhow::Result<Local> {
        Ok(Local {
            dir: Dir::create(base, owner)?,
            server: Mutex::default(),
            removed: Mutex::default(),
        })
    }

    /// Stops the server and removes the directory. Blocks.
    pub(super) fn remove(&self) -> anyhow::Result<()> {
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        if *removed {
            return Ok(());
        }
        if cfg!(not(target_os = "linux")) {
            self.stop_by_handle();
        }
        self.dir.remove()?;
        *removed = true;
        Ok(())
    }

    /// Where processes cannot be found by their directory.
    fn stop_by_handle(&self) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = server.as_ref() {
            server.stop();
            let pid_file = self.dir.data().join("postmaster.pid");
            for _ in 0..300 {
                if !pid_file.exists() {
                    return;
                }
                std::thread::sleep(POLL);
            }
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // The future of the run was dropped: what stays is found by the sweep of the next run.
        match self.remove() {
            Ok(()) | Err(_) => {}
        }
    }
}

/// Starts a cluster.
pub(super) async fn start(wanted: &Wanted, chosen: String) -> anyhow::Result<Throwaway> {
    let tools = locate_server(wanted.major, wanted.pg_bin_dir.as_deref()).await?;
    let run_as = server_user().await?;
    let place = Arc::new(make_place(wanted.base_dir.as_deref(), run_as.as_ref()).await?);
    let superuser = format!("drill_{}", random_id()?);
    let server = Server {
        place: &place,
        tools: &tools,
        run_as: &run_as,
        wanted,
    };
    let first = bootstrap(wanted, &superuser);
    server.initialise(&first).await?;
    let ended = server.launch()?;
    let psql_as = |role: &str| {
        anyhow::Ok(Psql {
            program: tools.clients.psql.clone(),
            connection: connection(place.dir.socket(), role)?,
            run_as: run_as.clone(),
        })
    };
    server.wait_until_ready(&ended).await?;
    make_superuser(&psql_as(&first)?, &first, &superuser).await?;
    let psql = psql_as(&superuser)?;
    let version = server_version(&psql)
        .await
        .with_context(|| format!("the log of the server ends with: {}", server.log_tail()))?;
    let directory = place.dir.path().display();
    Ok(Throwaway {
        engine: Engine::Local,
        chosen,
        describe: format!("PostgreSQL {version} on this machine, in {directory}"),
        psql,
        tools: tools.clients.clone(),
        superuser: Name::from(superuser.as_str()),
        bootstrap: Name::from(first.as_str()),
        version,
        home: Home::Local(Arc::clone(&place)),
    })
}

/// postgres refuses to run as root: another user has to do. Rather `nobody` than `postgres`: what a
/// dump restores may run code with the rights of its server, and on a database host `postgres`
/// owns production's files.
async fn server_user() -> anyhow::Result<Option<RunAs>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    match RunAs::resolve("nobody").await {
        Ok(run_as) => Ok(Some(run_as)),
        Err(_) => RunAs::resolve("postgres")
            .await
            .map(Some)
            .context("could not find a user to run a server as: PostgreSQL refuses to run as root"),
    }
}

/// The cluster's directory. The user's temporary directory may be closed to the server's user;
/// then /tmp has to do.
async fn make_place(base: Option<&Path>, run_as: Option<&RunAs>) -> anyhow::Result<Local> {
    let owner = run_as.and_then(|run_as| match run_as {
        RunAs::Direct { uid, gid, .. } => Some((*uid, *gid)),
        RunAs::Sudo { .. } | RunAs::Container(_) | RunAs::Ssh(_) => None,
    });
    let temporary = std::env::temp_dir();
    let place = Local::make(base.unwrap_or(&temporary), owner)?;
    let Some(closed) = why_closed(&place.dir, run_as).await else {
        return Ok(place);
    };
    place.remove()?;
    let name = run_as.map_or("us", |run_as| run_as.name());
    let explained = |place: &Path| {
        Explained::new(
            format!("user {name} cannot get into {}", place.display()),
            "Name a directory that this user can pass through with --drill-dir.",
        )
    };
    if let Some(base) = base {
        return Err(explained(base).caused_by(closed).into());
    }
    let place = Local::make(Path::new("/tmp"), owner)?;
    match why_closed(&place.dir, run_as).await {
        None => Ok(place),
        Some(closed) => {
            place.remove()?;
            Err(explained(&temporary).caused_by(closed).into())
        }
    }
}

/// What keeps the server's user from the data directory, when something does.
async fn why_closed(dir: &Dir, run_as: Option<&RunAs>) -> Option<anyhow::Error> {
    let run_as = run_as?;
    let command = Command::new("true")
        .cwd(dir.data())
        .run_as(Some(run_as.clone()));
    capture(command, Duration::from_secs(20), 1024).await.err()
}

/// Nothing but the socket and the superuser.
fn connection(socket: &Path, superuser: &str) -> anyhow::Result<Connection> {
    Connection::resolve(None, &|name| match name {
        "PGHOST" => Some(socket.into()),
        "PGPORT" => Some("5432".into()),
        "PGUSER" => Some(superuser.into()),
        "PGDATABASE" => Some("postgres".into()),
        "PGSSLMODE" => Some("disable".into()),
        _ => None,
    })
}

/// What is needed to start one.
struct Server<'a> {
    place: &'a Local,
    tools: &'a ServerTools,
    run_as: &'a Option<RunAs>,
    wanted: &'a Wanted,
}

impl Server<'_> {
    /// A program of the server, in the cluster's directory, by which a sweep finds it. Nothing of
    /// our environment gets in: what is restored runs with the rights of a superuser.
    fn command(&self, program: &Path) -> Command {
        let kept = ["PATH", "LD_LIBRARY_PATH"];
        let values = kept.map(|name| (name, std::env::var_os(name)));
        let command = Command::new(program)
            .env_scrub("")
            .env("LC_ALL", "C")
            .cwd(self.place.dir.path())
            .run_as(self.run_as.clone());
        values
            .into_iter()
            .fold(command, |command, (name, value)| match value {
                Some(value) => command.env(name, value),
                None => command,
            })
    }

    async fn initialise(&self, superuser: &str) -> anyhow::Result<()> {
        let initdb = async |locale: Option<&str>| {
            let command = self
                .command(&self.tools.initdb)
                .arg("-D")
                .arg(self.place.dir.data())
                .arg("-U")
                .arg(superuser)
                .args(["--auth-host=reject", "--no-instructions"])
                .args(tuning::initdb_options(self.wanted))
                .args(locale);
            capture(command, INITDB_DEADLINE, 1 << 20).await
        };
        let locale = tuning::utf8_locale(self.wanted);
        let mut output = initdb(locale).await?;
        if locale.is_some() && output.stderr.contains("invalid locale") {
            output = initdb(None).await?;
        }
        if output.status.is_success() {
            return Ok(());
        }
        Err(self.initdb_failed(&output).into())
    }

    fn initdb_failed(&self, output: &Output) -> Explained {
        Explained::new(
            format!(
                "could not make a throw-away cluster (initdb: {})",
                output.status
            ),
            disk_hint(&output.stderr).unwrap_or("Read the message of initdb below."),
        )
        .caused_by(anyhow::anyhow!("{}", last_lines(&output.stderr)))
    }

    /// Starts the server; the task ends when it does.
    fn launch(&self) -> anyhow::Result<JoinHandle<()>> {
        let mut args: Vec<OsString> = Vec::new();
        args.extend(["-D".into(), self.place.dir.data().into()]);
        args.extend(["-k".into(), self.place.dir.socket().into()]);
        args.extend(["-p", "5432", "-c", "listen_addresses="].map(Into::into));
        for setting in settings(self.wanted.jobs, self.wanted.tables) {
            args.extend(["-c".into(), setting.into()]);
        }
        let command = self
            .command(Path::new("sh"))
            .args(["-c", "exec \"$0\" \"$@\" >>log 2>&1"])
            .arg(&self.tools.postgres)
            .args(args);
        let (running, stdout) = Running::start(command)?;
        drop(stdout);
        let handle = running.stop_handle();
        *self
            .place
            .server
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(handle);
        Ok(tokio::spawn(async move {
            // How it ended stands in its log.
            match running.finish().await {
                Ok(_) | Err(_) => {}
            }
        }))
    }

    async fn wait_until_ready(&self, ended: &JoinHandle<()>) -> anyhow::Result<()> {
        let pid_file = self.place.dir.data().join("postmaster.pid");
        // The server writes its state into the eighth line.
        let is_ready = |text: String| text.lines().nth(7).is_some_and(|l| l.trim() == "ready");
        while !std::fs::read_to_string(&pid_file).is_ok_and(is_ready) {
            if ended.is_finished() {
                let log = self.log_tail();
                let hint = disk_hint(&log).unwrap_or("Read the end of its log below.");
                return Err(Explained::new("the throw-away server did not start", hint)
                    .caused_by(anyhow::anyhow!("{log}"))
                    .into());
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    fn log_tail(&self) -> String {
        let read = || -> std::io::Result<Vec<u8>> {
            let mut file = std::fs::File::open(self.place.dir.log())?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
            let mut bytes = Vec::new();
            file.take(LOG_TAIL_BYTES).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        match read() {
            Ok(bytes) if bytes.is_empty() => "(its log is empty)".to_owned(),
            Ok(bytes) => last_lines(&String::from_utf8_lossy(&bytes)),
            Err(error) => format!("(its log cannot be read: {error})"),
        }
    }
}

fn disk_hint(said: &str) -> Option<&'static str> {
    said.contains("No space left")
        .then_some("Free space, or name a directory on a larger disk with --drill-dir.")
}

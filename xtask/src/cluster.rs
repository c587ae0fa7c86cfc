//! A throw-away PostgreSQL cluster: a private directory, a random loopback port, a random
//! password. It ends with its value, or with xtask, however xtask ends.

use crate::proc::{self, Server};
use crate::{paths, tools};
use anyhow::{Context, Result, bail};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A running server.
pub(crate) struct Cluster {
    // Dropped first, so that the server has ended before its directories go.
    server: Option<Server>,
    bin_dir: PathBuf,
    port: u16,
    superuser: String,
    password: String,
    data: PathBuf,
    sockets: PathBuf,
}

impl Cluster {
    /// Creates and starts a cluster whose bootstrap superuser is `superuser`; `name` tells the
    /// clusters of one task apart.
    pub(crate) fn start(bin_dir: &Path, name: &str, superuser: &str) -> Result<Self> {
        Self::tuned(bin_dir, name, superuser, &[])
    }

    /// The same with further settings, `NAME=VALUE`, that win over its own.
    pub(crate) fn tuned(
        bin_dir: &Path,
        name: &str,
        superuser: &str,
        settings: &[String],
    ) -> Result<Self> {
        sweep()?;
        let owner = Owner::find()?;
        let data = owner.place(name)?;
        // Socket paths have a limit of 107 bytes: never below a checkout.
        let sockets = std::env::temp_dir().join(format!("ba-{}-{name}", std::process::id()));
        owner.make_dir(&sockets)?;
        let mut cluster = Self {
            server: None,
            bin_dir: bin_dir.to_path_buf(),
            port: free_port()?,
            superuser: superuser.to_owned(),
            password: random_word()?,
            data,
            sockets,
        };
        cluster.init(&owner)?;
        cluster.serve(&owner, settings)?;
        Ok(cluster)
    }

    fn init(&self, owner: &Owner) -> Result<()> {
        let password_file = self.sockets.join("password");
        fs::write(&password_file, format!("{}\n", self.password))?;
        fs::set_permissions(&password_file, Permissions::from_mode(0o600))?;
        owner.give(&password_file)?;
        let mut initdb = owner.command(&self.bin_dir.join("initdb"));
        initdb
            .arg("--pgdata")
            .arg(&self.data)
            .arg("--pwfile")
            .arg(&password_file)
            .args(["--username", &self.superuser])
            .args([
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--auth=scram-sha-256",
            ])
            .args(["--no-sync", "--data-checksums"])
            .current_dir("/");
        proc::read(&mut initdb).context("could not create the throw-away cluster")?;
        fs::remove_file(&password_file)?;
        Ok(())
    }

    fn serve(&mut self, owner: &Owner, further: &[String]) -> Result<()> {
        let port = self.port.to_string();
        let sockets = format!("unix_socket_directories={}", self.sockets.display());
        let mut argv: Vec<OsString> = owner.prefix();
        argv.push(self.bin_dir.join("postgres").into());
        argv.push("-D".into());
        argv.push(self.data.clone().into());
        argv.extend(["-p", &port].map(OsString::from));
        for setting in [
            "listen_addresses=127.0.0.1",
            sockets.as_str(),
            "fsync=off",
            "full_page_writes=off",
            "synchronous_commit=off",
            "shared_buffers=256MB",
            "maintenance_work_mem=256MB",
            "max_wal_size=4GB",
            "max_connections=20",
            "autovacuum=off",
        ] {
            argv.extend(["-c", setting].map(OsString::from));
        }
        for setting in further {
            argv.extend(["-c", setting].map(OsString::from));
        }
        let log = self.data.join("server.log");
        let stderr =
            File::create(&log).with_context(|| format!("could not create {}", log.display()))?;
        let argv: Vec<&OsStr> = argv.iter().map(OsString::as_os_str).collect();
        // SIGINT is PostgreSQL's fast shutdown.
        let mut server = Server::start("INT", &argv, |command| {
            command.stderr(stderr).current_dir("/");
        })?;
        let ready = || proc::read(self.psql("postgres").args(["-c", "SELECT 1"])).is_ok();
        let limit = Duration::from_secs(60);
        server
            .wait_until("PostgreSQL", limit, ready)
            .with_context(|| {
                let log = fs::read_to_string(&log).unwrap_or_default();
                format!(
                    "could not start PostgreSQL; its log ends: {}",
                    proc::tail(&log)
                )
            })?;
        self.server = Some(server);
        Ok(())
    }

    /// The environment that leads libpq to this cluster.
    pub(crate) fn env(&self) -> [(&'static str, String); 4] {
        [
            ("PGHOST", "127.0.0.1".to_owned()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", self.superuser.clone()),
            ("PGPASSWORD", self.password.clone()),
        ]
    }

    /// The connection URL, with the password: for the environment of a child, not for argv.
    pub(crate) fn url(&self) -> String {
        let Self {
            superuser,
            password,
            port,
            ..
        } = self;
        format!("postgresql://{superuser}:{password}@127.0.0.1:{port}/postgres")
    }

    /// One of PostgreSQL's programs, connected to this cluster.
    pub(crate) fn tool(&self, program: &str) -> Command {
        let mut command = proc::command(self.bin_dir.join(program));
        command.envs(self.env());
        command
    }

    /// `psql` on `database`: bare output, no start-up file, stops at the first error.
    pub(crate) fn psql(&self, database: &str) -> Command {
        let mut command = self.tool("psql");
        command
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                database,
            ])
            .stdin(Stdio::null());
        command
    }

    /// The version, as the server says it: `15.20`.
    pub(crate) fn version(&self) -> Result<String> {
        let version = proc::read(self.psql("postgres").args(["-c", "SHOW server_version"]))?;
        Ok(version.split_whitespace().next().unwrap_or("?").to_owned())
    }

    /// The directory of this cluster's programs.
    pub(crate) fn bin_dir(&self) -> &Path {
        &self.bin_dir
    }

    /// The TCP port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.server.take());
        for dir in [&self.data, &self.sockets] {
            if let Err(error) = fs::remove_dir_all(dir) {
                eprintln!("could not remove {}: {error}", dir.display());
            }
        }
    }
}

/// Who the server runs as: it refuses root.
enum Owner {
    Ourselves,
    Other { name: String, uid: u32, gid: u32 },
}

impl Owner {
    fn find() -> Result<Self> {
        if !tools::is_root() {
            return Ok(Self::Ourselves);
        }
        let passwd = fs::read_to_string("/etc/passwd").context("could not read /etc/passwd")?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| entry(&passwd, name))
            .context("PostgreSQL refuses to run as root, and there is no user postgres or nobody")
    }

    /// What stands before a program, so that it runs as this user.
    fn prefix(&self) -> Vec<OsString> {
        match self {
            Self::Ourselves => Vec::new(),
            Self::Other { name, gid, .. } => {
                let gid = gid.to_string();
                [
                    "setpriv",
                    "--reuid",
                    name,
                    "--regid",
                    &gid,
                    "--clear-groups",
                    "--",
                ]
                .map(OsString::from)
                .into()
            }
        }
    }

    fn command(&self, program: &Path) -> Command {
        let prefix = self.prefix();
        match prefix.split_first() {
            None => proc::command(program),
            Some((first, rest)) => {
                let mut command = proc::command(first);
                command.args(rest).arg(program);
                command
            }
        }
    }

    fn give(&self, path: &Path) -> Result<()> {
        match self {
            Self::Ourselves => Ok(()),
            Self::Other { uid, gid, name } => chown(path, Some(*uid), Some(*gid))
                .with_context(|| format!("could not give {} to {name}", path.display())),
        }
    }

    fn make_dir(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("could not create {}", dir.display()))?;
        fs::set_permissions(dir, Permissions::from_mode(0o700))?;
        self.give(dir)
    }

    /// An empty data directory: in `.xtask` when the server's user can reach it there, else in the
    /// directory for temporary files (a checkout in `/root` is closed to other users).
    fn place(&self, name: &str) -> Result<PathBuf> {
        let unique = format!("cluster-{}-{name}", std::process::id());
        for parent in [paths::private().join("clusters"), std::env::temp_dir()] {
            let dir = parent.join(&unique);
            self.make_dir(&dir)?;
            let mut probe = self.command(Path::new("test"));
            if proc::run(probe.arg("-w").arg(&dir).current_dir("/")).is_ok() {
                return Ok(dir);
            }
            fs::remove_dir(&dir)?;
        }
        bail!("could not find a directory that the PostgreSQL server may write")
    }
}

/// Removes what tasks left that were killed: everything of ours that carries the id of a process
/// that is no more.
fn sweep() -> Result<()> {
    for parent in [paths::private().join("clusters"), std::env::temp_dir()] {
        for entry in fs::read_dir(&parent).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if !is_stale(&name.to_string_lossy()) {
                continue;
            }
            let path = entry.path();
            let removed = match path.is_dir() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
            removed.with_context(|| format!("could not remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Whether `cluster-<pid>-…` or `ba-<pid>-…` names a process that has ended.
fn is_stale(name: &str) -> bool {
    let pid = ["cluster-", "ba-"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .and_then(|rest| rest.split('-').next())
        .and_then(|pid| pid.parse::<u32>().ok());
    pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

/// The line of `name` in a passwd file.
fn entry(passwd: &str, name: &str) -> Option<Owner> {
    let fields: Vec<&str> = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&name))?;
    Some(Owner::Other {
        name: name.to_owned(),
        uid: fields.get(2)?.parse().ok()?,
        gid: fields.get(3)?.parse().ok()?,
    })
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("could not find a free port")?;
    Ok(listener.local_addr()?.port())
}

/// 24 random hexadecimal digits: a password that needs no escaping.
pub(crate) fn random_word() -> Result<String> {
    let mut bytes = [0; 12];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .context("could not read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_task_left_is_stale() {
        assert!(is_stale("cluster-4194399-demo") && is_stale("ba-4194399-demo"));
        assert!(!is_stale(&format!("cluster-{}-demo", std::process::id())));
        assert!(!is_stale("cluster-demo") && !is_stale("other-4194399-demo"));
    }

    #[test]
    fn the_server_runs_as_the_user_that_passwd_names() {
        let passwd = "root:x:0:0::/root:/bin/sh\npostgres:x:102:103::/:/bin/sh\n";
        let Some(Owner::Other { uid, gid, .. }) = entry(passwd, "postgres") else {
            panic!("postgres was not found");
        };
        assert_eq!((uid, gid), (102, 103));
        assert!(entry(passwd, "nobody").is_none() && entry("postgres:x", "postgres").is_none());
    }
}

//! Which pg_dumpall, pg_dump and psql to use: the ones of the server's major version, by path.
//! Debian's `pg_wrapper` is avoided, because it chooses a major version of its own.

use super::install::{Package, install_line, os_release};
use crate::error::Explained;
use crate::process::{Command, capture};
use anyhow::Context;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const VERSION_DEADLINE: Duration = Duration::from_secs(20);

/// The newest major version that is looked for.
const NEWEST_MAJOR: u32 = 30;

/// The version of a client program, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ToolVersion {
    /// `15` of `15.20`.
    pub major: u32,
    /// `20` of `15.20`; 0 for a beta.
    pub minor: u32,
    /// `15.20`, `18beta1`.
    pub text: String,
}

impl ToolVersion {
    /// Reads the line that `--version` prints: `pg_dumpall (PostgreSQL) 15.20 (Debian …)`.
    pub fn parse(line: &str) -> Option<ToolVersion> {
        let text = line
            .split_once("(PostgreSQL) ")?
            .1
            .split_whitespace()
            .next()?;
        let digits = |text: &str| {
            let end = text
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(text.len());
            text[..end].parse::<u32>().ok()
        };
        let minor = text
            .split_once('.')
            .map_or(Some(0), |(_, minor)| digits(minor))?;
        Some(ToolVersion {
            major: digits(text)?,
            minor,
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for ToolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The client programs of one directory.
#[derive(Clone, Debug)]
pub struct Tools {
    /// Path of pg_dumpall.
    pub pg_dumpall: PathBuf,
    /// Path of pg_dump.
    pub pg_dump: PathBuf,
    /// Path of psql.
    pub psql: PathBuf,
    /// The version that pg_dumpall says.
    pub version: ToolVersion,
    /// Where that is, or why it was taken, behind the path; empty for what is found here.
    pub place: String,
}

impl Tools {
    /// They are the programs of `dir`.
    pub(super) fn is_in(&mut self, dir: &Path) {
        self.pg_dumpall = dir.join("pg_dumpall");
        self.pg_dump = dir.join("pg_dump");
        self.psql = dir.join("psql");
    }
}

impl fmt::Display for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "pg_dumpall {} ({})",
            self.version,
            self.pg_dumpall.display()
        )?;
        match self.place.as_str() {
            "" => Ok(()),
            place => write!(f, " {place}"),
        }
    }
}

/// No client program is as new as the server.
#[derive(Clone, Debug)]
pub struct ClientTooOld {
    /// The server's major version.
    pub server_major: u32,
    /// The newest client that was found, and where.
    pub newest: Option<(ToolVersion, PathBuf)>,
    /// The line that installs the right one on this machine.
    pub install: String,
    /// Whether only the directory of `--pg-bin-dir` was looked at.
    pub only_dir: Option<PathBuf>,
    /// Why Docker could not do it, when it was asked.
    pub no_docker: Option<String>,
}

impl fmt::Display for ClientTooOld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let major = self.server_major;
        match (&self.newest, &self.only_dir) {
            (Some((version, path)), _) => write!(
                f,
                "pg_dumpall {version} ({}) is older than the server ({major}) and cannot dump it",
                path.display()
            ),
            (None, Some(dir)) => write!(f, "no pg_dumpall, pg_dump and psql in {}", dir.display()),
            (None, None) => write!(
                f,
                "no pg_dumpall, pg_dump and psql found for a server of version {major}"
            ),
        }
    }
}

impl ClientTooOld {
    /// What to do about it.
    pub fn hint(&self) -> String {
        let or = match (&self.only_dir, &self.no_docker) {
            (Some(_), _) => " Or point --pg-bin-dir to a newer one, or leave it out.".to_owned(),
            (None, Some(why)) => format!(" Or let Docker run it, which did not work: {why}."),
            (None, None) => String::new(),
        };
        // The last command is the one that installs it, those before it make it possible.
        match self.install.rsplit_once(" && ") {
            Some((first, second)) => {
                format!("Install the client with these two commands: `{first}` and `{second}`.{or}")
            }
            None => format!("Install the client: {}.{or}", self.install),
        }
    }

    pub(super) fn without_docker(self, why: String) -> ClientTooOld {
        ClientTooOld {
            no_docker: Some(why),
            ..self
        }
    }

    /// Of what was found on a machine that we know nothing else of.
    pub(super) fn on_another_machine(server_major: u32, found: &[Tools]) -> ClientTooOld {
        ClientTooOld {
            server_major,
            newest: newest(found),
            install: format!("PostgreSQL {server_major} on that machine"),
            only_dir: None,
            no_docker: None,
        }
    }
}

fn newest(found: &[Tools]) -> Option<(ToolVersion, PathBuf)> {
    let newest = found.iter().max_by(|a, b| a.version.cmp(&b.version));
    newest.map(|tools| (tools.version.clone(), tools.pg_dumpall.clone()))
}

impl std::error::Error for ClientTooOld {}

/// The programs for a server of `server_major`: from `pg_bin_dir` alone when given, else of the
/// same major version with the highest minor, else of the nearest newer one.
///
/// # Errors
/// [`ClientTooOld`], also when nothing was found; a program of `pg_bin_dir` that cannot be run.
pub async fn locate(server_major: u32, pg_bin_dir: Option<&Path>) -> anyhow::Result<Tools> {
    let dirs = match pg_bin_dir {
        Some(dir) => vec![std::path::absolute(dir).context("could not find --pg-bin-dir")?],
        None => candidate_dirs(),
    };
    let mut found = Vec::new();
    for dir in dirs {
        if ["pg_dumpall", "pg_dump", "psql"]
            .iter()
            .any(|name| !is_program(&dir.join(name)))
        {
            continue;
        }
        match version_of(&dir.join("pg_dumpall")).await {
            Ok(version) => found.push(Tools {
                pg_dumpall: dir.join("pg_dumpall"),
                pg_dump: dir.join("pg_dump"),
                psql: dir.join("psql"),
                version,
                place: String::new(),
            }),
            Err(error) if pg_bin_dir.is_some() => return Err(error),
            // A broken installation elsewhere is not the one that was asked for.
            Err(_) => {}
        }
    }
    let too_old = || ClientTooOld {
        server_major,
        newest: newest(&found),
        install: install_line(
            &os_release(),
            std::env::consts::OS,
            server_major,
            Package::Client,
        ),
        only_dir: pg_bin_dir.map(Path::to_owned),
        no_docker: None,
    };
    let nearest = found
        .iter()
        .filter(|tools| tools.version.major >= server_major)
        .min_by_key(|tools| (tools.version.major, std::cmp::Reverse(tools.version.minor)));
    nearest.cloned().ok_or_else(|| too_old().into())
}

/// The programs of a server, with the clients beside it.
#[derive(Clone, Debug)]
pub struct ServerTools {
    /// Path of initdb.
    pub initdb: PathBuf,
    /// Path of postgres.
    pub postgres: PathBuf,
    /// The client programs of the same directory.
    pub clients: Tools,
}

/// A server of exactly `major` with its clients: from `pg_bin_dir` alone when given, else the one
/// with the highest minor version.
///
/// # Errors
/// [`Explained`] when there is none, with the line that installs it; a program of `pg_bin_dir`
/// that cannot be run.
pub async fn locate_server(major: u32, pg_bin_dir: Option<&Path>) -> anyhow::Result<ServerTools> {
    let dirs = match pg_bin_dir {
        Some(dir) => vec![std::path::absolute(dir).context("could not find --pg-bin-dir")?],
        None => candidate_dirs(),
    };
    let programs = ["initdb", "postgres", "pg_dumpall", "pg_dump", "psql"];
    let mut found = Vec::new();
    for dir in dirs {
        if programs.iter().any(|name| !is_program(&dir.join(name))) {
            continue;
        }
        match version_of(&dir.join("postgres")).await {
            Ok(version) => found.push((dir, version)),
            Err(error) if pg_bin_dir.is_some() => return Err(error),
            // A broken installation elsewhere is not the one that was asked for.
            Err(_) => {}
        }
    }
    let right = found.iter().filter(|(_, version)| version.major == major);
    match right.max_by_key(|(_, version)| version.minor) {
        Some((dir, version)) => Ok(ServerTools {
            initdb: dir.join("initdb"),
            postgres: dir.join("postgres"),
            clients: Tools {
                pg_dumpall: dir.join("pg_dumpall"),
                pg_dump: dir.join("pg_dump"),
                psql: dir.join("psql"),
                version: version.clone(),
                place: String::new(),
            },
        }),
        None => Err(no_server(major, pg_bin_dir, &found).into()),
    }
}

fn no_server(major: u32, only_dir: Option<&Path>, found: &[(PathBuf, ToolVersion)]) -> Explained {
    let others: Vec<&str> = found
        .iter()
        .map(|(_, version)| version.text.as_str())
        .collect();
    let place = match only_dir {
        Some(dir) => format!("in {}", dir.display()),
        None => "on this machine".to_owned(),
    };
    let message = match others.as_slice() {
        [] => format!("no server of PostgreSQL {major} {place}"),
        others => format!(
            "no server of PostgreSQL {major} {place}, only {}",
            others.join(", ")
        ),
    };
    let install = install_line(&os_release(), std::env::consts::OS, major, Package::Server);
    let dir = match only_dir {
        Some(_) => " Or point --pg-bin-dir to its programs, or leave it out.",
        None => "",
    };
    Explained::new(message, format!("Install it: {install}.{dir}"))
}

/// A psql of any version, to ask the server for its own: the newest that is found.
///
/// # Errors
/// There is none; the hint has the install line.
pub fn locate_any_psql(pg_bin_dir: Option<&Path>) -> anyhow::Result<PathBuf> {
    let dirs = match pg_bin_dir {
        Some(dir) => vec![std::path::absolute(dir).context("could not find --pg-bin-dir")?],
        None => candidate_dirs(),
    };
    let psql = dirs
        .iter()
        .map(|dir| dir.join("psql"))
        .find(|p| is_program(p));
    psql.ok_or_else(|| {
        let message = match pg_bin_dir {
            Some(dir) => format!("no psql in {}", dir.display()),
            None => "no psql found on this machine".to_owned(),
        };
        let install = install_line(&os_release(), std::env::consts::OS, 18, Package::Client);
        Explained::new(
            message,
            format!("Install PostgreSQL's client programs: {install}."),
        )
        .into()
    })
}

/// The version that a program says with `--version`.
///
/// # Errors
/// It cannot be run, fails, or says something else.
pub async fn version_of(program: &Path) -> anyhow::Result<ToolVersion> {
    let command = Command::new(program).arg("--version").env("LC_ALL", "C");
    let output = capture(command, VERSION_DEADLINE, 64 * 1024)
        .await
        .with_context(|| format!("could not ask {} for its version", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    ToolVersion::parse(&said)
        .filter(|_| output.status.is_success())
        .with_context(|| {
            format!(
                "{} --version does not answer like a program of PostgreSQL ({}): {:.200}",
                program.display(),
                output.status,
                format!("{} {}", said.trim(), output.stderr.trim()).trim()
            )
        })
}

/// Where installers put the programs, newest major version first, then `PATH`.
fn candidate_dirs() -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = (9..=NEWEST_MAJOR)
        .rev()
        .flat_map(|major| {
            [
                format!("/usr/lib/postgresql/{major}/bin"),
                format!("/usr/pgsql-{major}/bin"),
                format!("/usr/libexec/postgresql{major}"),
                format!("/opt/homebrew/opt/postgresql@{major}/bin"),
                format!("/usr/local/opt/postgresql@{major}/bin"),
            ]
        })
        .chain([
            "/opt/homebrew/opt/libpq/bin".into(),
            "/usr/local/opt/libpq/bin".into(),
        ])
        .map(PathBuf::from)
        .collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    dirs.extend(std::env::split_paths(&path).filter(|dir| dir.is_absolute()));
    dirs
}

fn is_program(path: &Path) -> bool {
    let is_wrapper = || {
        path.canonicalize()
            .is_ok_and(|real| real.file_name().is_some_and(|name| name == "pg_wrapper"))
    };
    path.is_file() && !is_wrapper()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_programs_say_them() {
        let parse = |line| ToolVersion::parse(line).map(|v| (v.major, v.minor, v.text));
        let parsed = |major, minor, text: &str| Some((major, minor, text.to_owned()));
        assert_eq!(
            parse("pg_dumpall (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n"),
            parsed(15, 20, "15.20")
        );
        assert_eq!(parse("psql (PostgreSQL) 18beta1"), parsed(18, 0, "18beta1"));
        assert_eq!(parse("psql (PostgreSQL) 17devel"), parsed(17, 0, "17devel"));
        for line in [
            "",
            "garbage",
            "psql (PostgreSQL) ",
            "psql (PostgreSQL) x.1",
            "psql (PostgreSQL) 99999999999",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}

//! Throw-away clusters of both engines: they start, answer, dump, stop and leave nothing, also
//! when their owner is killed.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests, which clippy does not see as tests"
)]

mod docker;
mod killed;
mod local;
mod owner;

use crate::support::cluster::Cluster;
use crate::support::need;
use backup_action::archive::index::Name;
use backup_action::postgres::throwaway::{EngineChoice, Throwaway, Wanted};
use backup_action::process::{Command, capture};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The major version of a server that is installed for the local engine.
fn local_major(test: &str) -> Option<u32> {
    let dir = need(test, "PostgreSQL's server", Cluster::installed(None))?;
    dir.parent()?.file_name()?.to_str()?.parse().ok()
}

fn wanted(engine: EngineChoice, major: u32, base: Option<PathBuf>) -> Wanted {
    Wanted {
        engine,
        major,
        image: None,
        pg_bin_dir: None,
        base_dir: base,
        bootstrap: None,
        encoding: "UTF8".to_owned(),
        jobs: 2,
        tables: 100,
        deadline: Duration::from_secs(120),
    }
}

/// The image that `cargo xtask image` makes, when Docker answers and has it.
pub(crate) fn image(test: &str) -> Option<(String, u32)> {
    let majors = [15, 16, 17, 18, 14];
    let found = majors.into_iter().find_map(|major| {
        let image = format!("backup-action-test/postgres:{major}");
        docker(&["image", "inspect", &image]).ok()?;
        Some((image, major))
    });
    need(test, "Docker and the image of `cargo xtask image`", found)
}

fn wanted_in(image: &str, major: u32) -> Wanted {
    Wanted {
        image: Some(image.to_owned()),
        ..wanted(EngineChoice::Docker, major, None)
    }
}

/// What docker prints; else what it says.
pub(crate) fn docker(args: &[&str]) -> Result<String, String> {
    let output = std_command("docker").args(args).output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests look at what the program left behind"
)]
fn std_command(program: impl AsRef<std::ffi::OsStr>) -> std::process::Command {
    std::process::Command::new(program)
}

/// The whole chain and the hint.
fn told(result: anyhow::Result<Throwaway>) -> (String, String) {
    let error = result.map(|_| ()).unwrap_err();
    (
        backup_action::error::one_line(&error),
        backup_action::error::hint(&error).unwrap_or_default(),
    )
}

/// A directory that every user may pass through, not so deep that a socket does not fit.
fn base() -> tempfile::TempDir {
    let base = tempfile::Builder::new()
        .prefix("thr-")
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir_in("/tmp");
    base.unwrap()
}

/// The drill directories below a base.
fn left_in(base: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(base).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Processes whose command line or working directory names `text`.
fn processes_of(text: &str) -> Vec<String> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter(|entry| entry.file_name() != *std::process::id().to_string())
        .filter_map(|entry| {
            let cwd = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            let found = cwd.to_string_lossy().contains(text) || line.contains(text);
            (found && !line.is_empty())
                .then(|| format!("{:?} {line} in {cwd:?}", entry.file_name()))
        })
        .collect()
}

/// What every cluster has to be able to do, whatever it is made of.
async fn is_useful(cluster: &Throwaway, major: u32) {
    assert_eq!(cluster.tools.version.major, major);
    assert!(cluster.version.starts_with(&major.to_string()));
    let facts: Vec<String> = cluster
        .psql
        .query_json(
            &Name::from("postgres"),
            "select json_build_array(current_user, current_setting('fsync'), pg_encoding_to_char(encoding), \
             (select string_agg(rolname, ',') from pg_roles where rolname !~ '^pg_')) \
             from pg_database where datname = 'template1'",
        )
        .await
        .unwrap();
    let superuser = cluster.superuser.to_string();
    assert_eq!(
        facts,
        [superuser.as_str(), "off", "UTF8", superuser.as_str()]
    );
    assert!(superuser.starts_with("drill_") && superuser.len() == 18);
    let psql = &cluster.psql;
    let command = Command::new(&cluster.tools.pg_dumpall)
        .arg("--no-password")
        .arg("-d")
        .arg(psql.connection.conninfo(None));
    let command = psql.connection.apply(command).run_as(psql.run_as.clone());
    let dump = capture(command, Duration::from_secs(60), 10 << 20)
        .await
        .unwrap();
    assert!(dump.status.is_success(), "{}", dump.stderr);
    let text = String::from_utf8_lossy(&dump.stdout);
    assert!(
        text.contains("\n-- PostgreSQL database cluster dump complete\n"),
        "{text}"
    );
    assert!(text.contains(&format!("CREATE ROLE {superuser}")), "{text}");
}

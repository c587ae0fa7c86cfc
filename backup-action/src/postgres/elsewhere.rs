//! PostgreSQL's programs where we cannot look ourselves: in a container, on another machine. A
//! shell there looks, in the places where `tools` looks here.

use super::tools::{ToolVersion, Tools};
use crate::error::Explained;
use crate::process::{Command, Exit, RunAs, capture};
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(90);

/// Prints directory and version of every complete set of programs; Debian's `pg_wrapper`, which
/// chooses a version of its own, is none.
const LOOK: &str = r#"if [ -n "$1" ]; then set -- "$1"; else
set -- /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/libexec/postgresql* /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin
IFS=:; for d in $PATH; do set -- "$@" "$d"; done; fi
for d do
for p in pg_dumpall pg_dump psql; do [ -f "$d/$p" ] && [ -x "$d/$p" ] || continue 2; done
case $(readlink -f "$d/psql" 2>/dev/null) in */pg_wrapper) continue ;; esac
v=$("$d/pg_dumpall" --version 2>/dev/null </dev/null) || continue
printf '%s\t%s\n' "$d" "$v"
done"#;

/// Every complete set of client programs there, in `dir` alone when given; `place` is how people
/// call it.
///
/// # Errors
/// The place cannot be asked.
pub(super) async fn programs(
    run_as: &RunAs,
    dir: Option<&Path>,
    place: &str,
) -> anyhow::Result<Vec<Tools>> {
    let command = Command::new("sh")
        .args(["-c", LOOK, "sh"])
        .arg(dir.unwrap_or(Path::new("")))
        .env("LC_ALL", "C")
        .run_as(Some(run_as.clone()));
    let output = capture(command.scrubbed(), DEADLINE, 1 << 20)
        .await
        .with_context(|| format!("could not look for PostgreSQL's programs {place}"))?;
    if let (RunAs::Ssh(remote), false) = (run_as, output.status.is_success()) {
        return Err(super::ssh::explain(&output.stderr, &remote.host).into());
    }
    if !matches!(output.status, Exit::Code(0)) {
        return Err(Explained::new(
            format!(
                "could not look for PostgreSQL's programs {place} ({})",
                output.status
            ),
            "Read the message below.",
        )
        .caused_by(anyhow::anyhow!("{:.500}", output.stderr.trim()))
        .into());
    }
    let mut found = read(&String::from_utf8_lossy(&output.stdout), place);
    if let Some(dir) = dir {
        // Its name may hold what ends a line.
        found.iter_mut().for_each(|tools| tools.is_in(dir));
    }
    Ok(found)
}

fn read(listing: &str, place: &str) -> Vec<Tools> {
    let one = |line: &str| {
        let (dir, version) = line.split_once('\t')?;
        let mut tools = Tools {
            pg_dumpall: PathBuf::new(),
            pg_dump: PathBuf::new(),
            psql: PathBuf::new(),
            version: ToolVersion::parse(version)?,
            place: place.to_owned(),
        };
        tools.is_in(Path::new(dir));
        Some(tools)
    };
    listing.lines().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_program_of_postgresql_is_passed_over() {
        let found = read(
            "/usr/lib/postgresql/15/bin\tpg_dumpall (PostgreSQL) 15.20 (Debian)\n/opt/x\tgarbage\nnoise\n",
            "in a container",
        );
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].psql, Path::new("/usr/lib/postgresql/15/bin/psql"));
        assert_eq!(
            found[0].to_string(),
            "pg_dumpall 15.20 (/usr/lib/postgresql/15/bin/pg_dumpall) in a container"
        );
    }
}

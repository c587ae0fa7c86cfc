//! How pg_dumpall is called, and what it means when it fails. Reading its output is the business
//! of `archive`; running it that of `process`.

use super::preflight::Server;
use super::psql::Psql;
use crate::archive::index::Name;
use crate::error::Explained;
use crate::process::{Command, Exit};
use crate::secret::Secret;
use crate::secret::redact;
use std::path::Path;
use std::time::Duration;

/// What a dump is asked to do.
#[derive(Clone, Debug)]
pub struct DumpOptions {
    /// Whether the roles' password verifiers are included.
    pub role_passwords: bool,
    /// How long to wait for the lock of one table.
    pub lock_wait_timeout: Duration,
    /// Further options, checked by [`super::args::check_extra`].
    pub extra_args: Vec<String>,
}

/// pg_dumpall for the whole cluster, as a stream on stdout.
pub fn dumpall_command(server: &Server, options: &DumpOptions) -> Command {
    dumpall(
        &server.psql,
        &server.tools.pg_dumpall,
        &server.facts.maintenance_database,
        options,
    )
}

/// `program`, a pg_dumpall, for the whole cluster that `psql` reaches, starting from the database
/// `maintenance`.
pub fn dumpall(psql: &Psql, program: &Path, maintenance: &Name, options: &DumpOptions) -> Command {
    let timeout_ms = options.lock_wait_timeout.as_millis().max(1);
    let mut command = Command::new(program)
        .arg("--no-password")
        .arg(format!("--lock-wait-timeout={timeout_ms}"));
    if !options.role_passwords {
        command = command.arg("--no-role-passwords");
    }
    let conninfo = psql.connection.conninfo(None);
    if !conninfo.is_empty() {
        command = command.arg("-d").arg(conninfo);
    }
    // Only the database that pg_dumpall starts from. Where it would take the name for a
    // connection string its own choice (postgres, template1) has to do.
    if let Ok(name) = std::str::from_utf8(maintenance.as_bytes())
        && name != "postgres"
        && !name.contains('=')
        && !name.starts_with("postgres://")
        && !name.starts_with("postgresql://")
    {
        command = command.arg("-l").arg(name);
    }
    command = command.args(&options.extra_args);
    psql.connection.apply(command).run_as(psql.run_as.clone())
}

/// What pg_dumpall's end means. `secrets` are taken out of what it wrote.
pub fn explain_failure(exit: &Exit, stderr: &str, secrets: &[Secret]) -> Explained {
    let stderr = redact(stderr, secrets);
    let said = |text: &str| stderr.contains(text);
    let (message, hint) = if said("permission denied for table pg_authid")
        || said("permission denied for relation pg_authid")
    {
        (
            "role may not read the passwords of the roles (pg_authid)".to_owned(),
            "On a managed service use --role-passwords exclude: the backup then holds the roles without their passwords, and says so.",
        )
    } else if said("out of shared memory") {
        (
            "the server's lock table is full: a dump holds one lock a table".to_owned(),
            "Raise max_locks_per_transaction and restart the server; the check lock-budget names the value.",
        )
    } else if said("server version mismatch") {
        (
            "pg_dump is older than the server".to_owned(),
            "Install the client of the server's major version, or set --pg-bin-dir.",
        )
    } else if said("LOCK TABLE") && (said("statement timeout") || said("lock timeout")) {
        (
            format!(
                "waited too long for the lock of a table{}",
                locked_table(&stderr)
            ),
            "Another session holds the table, usually a migration or VACUUM FULL; the check no-blockers names it. Run again when it has ended.",
        )
    } else if said("row-level security") || said("row security policy") {
        (
            "a policy hides rows from this role".to_owned(),
            "Use a superuser or a role with BYPASSRLS.",
        )
    } else if said("permission denied") || said("must be superuser") || said("must be owner") {
        (
            "role may not read everything".to_owned(),
            "Grant pg_read_all_data to the role, or use a superuser; the check sees-everything names what is missing.",
        )
    } else if said("could not write") || said("No space left") || said("Broken pipe") {
        (
            "pg_dumpall could not write its output".to_owned(),
            "The reader of the dump ended first; look at the other messages of this run.",
        )
    } else if said("password authentication failed") || said("no password supplied") {
        (
            "server refused the password in the middle of the dump".to_owned(),
            "Check that the password was not changed during the run, and that pg_hba.conf allows every database.",
        )
    } else if said("conflict with recovery") {
        (
            "the standby cancelled the dump: it was in the way of the replication".to_owned(),
            "Set hot_standby_feedback = on, raise max_standby_streaming_delay, or back up the primary.",
        )
    } else if said("terminating connection due to administrator command")
        || said("the database system is")
    {
        (
            "the server was stopped or the session terminated during the dump".to_owned(),
            "Run again when the server is up; look at its log for who stopped it.",
        )
    } else if said("server closed the connection unexpectedly")
        || said("could not receive data")
        || said("SSL SYSCALL")
    {
        (
            "the connection to the server broke during the dump".to_owned(),
            "Look at the server's log for a crash, and at proxies in between for idle timeouts.",
        )
    } else if said("SSL error") || said("certificate") {
        (
            "the encrypted connection to the server failed".to_owned(),
            "Set PGSSLROOTCERT to the certificate authority of the server, and use the host name in its certificate.",
        )
    } else if said("too many clients") || said("remaining connection slots") {
        (
            "the server had no free connection".to_owned(),
            "Wait until connections are free, or raise max_connections.",
        )
    } else if said("cache lookup failed") || said("does not exist") {
        (
            "an object disappeared while the dump read it".to_owned(),
            "Do not run migrations during the backup; run again when they have ended.",
        )
    } else if said("invalid page in block")
        || said("could not read block")
        || said("missing chunk number")
        || said("unexpected chunk number")
    {
        (
            "the server cannot read a page of its own data".to_owned(),
            "The database is damaged: keep all earlier backups, and look at the server's log and disks.",
        )
    } else {
        match exit {
            Exit::Signal(9) => (
                "pg_dumpall was killed".to_owned(),
                "The kernel kills the largest program when memory runs out: look at its log (dmesg) and free memory.",
            ),
            Exit::Signal(_) => (
                "pg_dumpall was stopped by a signal".to_owned(),
                "Somebody or the system stopped it; run again.",
            ),
            Exit::Code(0) => (
                "pg_dumpall ended with status 0 before the dump was complete".to_owned(),
                "The disk of its output or a program in its place is to blame; check --pg-bin-dir.",
            ),
            // Docker's number for the end of a container in which something runs.
            Exit::Code(137) => (
                "pg_dumpall or the container it ran in was killed".to_owned(),
                "Somebody removed the container, or memory ran out: look at Docker's log, and run again.",
            ),
            Exit::Code(_) => (
                "pg_dumpall failed".to_owned(),
                "Read the messages of pg_dumpall below.",
            ),
        }
    };
    let explained = Explained::new(format!("{message} ({exit})"), hint);
    match error_lines(&stderr) {
        lines if lines.is_empty() => explained,
        lines => explained.caused_by(anyhow::anyhow!("{lines}")),
    }
}

/// The last lines that say `error`, joined; else the last lines at all. Hostile text, bounded.
fn error_lines(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim_end)
        .filter(|l| !l.is_empty())
        .collect();
    let errors: Vec<&str> = lines
        .iter()
        .filter(|line| {
            ["error:", "ERROR:", "FATAL:"]
                .iter()
                .any(|w| line.contains(w))
        })
        .copied()
        .collect();
    let chosen = if errors.is_empty() { &lines } else { &errors };
    let last = &chosen[chosen.len().saturating_sub(4)..];
    last.join("; ").chars().take(2000).collect()
}

/// ` "schema"."table"` of pg_dump's `Query was: LOCK TABLE …`, when it names one.
fn locked_table(stderr: &str) -> String {
    let name = stderr
        .rsplit_once("LOCK TABLE ")
        .and_then(|(_, rest)| rest.split_once(" IN "))
        .map(|(name, _)| name);
    match name {
        // Recent versions lock many tables with one statement.
        Some(name) if !name.contains(", ") => {
            format!(" ({})", name.chars().take(140).collect::<String>())
        }
        Some(_) | None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{hint, one_line};

    fn explained(exit: Exit, stderr: &str) -> (String, String) {
        let error = anyhow::Error::new(explain_failure(&exit, stderr, &[Secret::new("hunter2")]));
        (one_line(&error), hint(&error).unwrap())
    }

    #[test]
    fn known_failures_are_translated() {
        let lock = "pg_dump: error: query failed: ERROR:  canceling statement due to statement timeout\npg_dump: detail: Query was: LOCK TABLE \"s\".\"t\" IN ACCESS SHARE MODE\n";
        for (exit, stderr, message, hint) in [
            (
                Exit::Code(1),
                "pg_dumpall: error: query failed: ERROR:  permission denied for table pg_authid",
                "pg_authid",
                "--role-passwords exclude",
            ),
            (
                Exit::Code(1),
                "pg_dump: error: ERROR:  out of shared memory",
                "one lock a table",
                "max_locks_per_transaction",
            ),
            (
                Exit::Code(1),
                lock,
                "lock of a table (\"s\".\"t\")",
                "no-blockers",
            ),
            (
                Exit::Code(1),
                "pg_dump: error: aborting because of server version mismatch",
                "older than the server",
                "--pg-bin-dir",
            ),
            (
                Exit::Code(1),
                "ERROR:  query would be affected by row-level security policy for table \"t\"",
                "hides rows",
                "BYPASSRLS",
            ),
            (Exit::Signal(9), "", "signal 9 (SIGKILL)", "memory"),
            (
                Exit::Code(0),
                "",
                "before the dump was complete",
                "--pg-bin-dir",
            ),
            (Exit::Code(3), "odd hunter2", "(status 3): odd ***", "below"),
        ] {
            let (said, advice) = explained(exit, stderr);
            assert!(said.contains(message), "{stderr}: {said}");
            assert!(advice.contains(hint), "{stderr}: {advice}");
        }
    }

    #[test]
    fn a_long_stderr_ends_in_its_last_errors() {
        let noise = "pg_dump: warning: x\n".repeat(10_000);
        let (said, _) = explained(Exit::Code(1), &format!("{noise}pg_dump: error: a\n{noise}"));
        assert_eq!(said, "pg_dumpall failed (status 1): pg_dump: error: a");
    }
}

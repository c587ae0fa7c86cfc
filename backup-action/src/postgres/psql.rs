//! Questions to the catalogue, asked through psql and answered in JSON, so that there is one way
//! of connecting: libpq's. Every question runs in a read-only transaction.

use super::connection::Connection;
use super::ssh;
use crate::archive::index::{Name, to_hex};
use crate::error::Explained;
use crate::process::{Command, DeadlineExceeded, Exit, RunAs, capture, capture_with_input};
use crate::secret::redact;
use anyhow::Context;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

const DEADLINE: Duration = Duration::from_secs(120);

/// A question of a user asks for one value.
const MAX_ASKED_BYTES: usize = 64 * 1024;

/// A question to a drill may have to read whole tables.
const ASK_DEADLINE: Duration = Duration::from_secs(660);

/// 100,000 tables with long names need 30 MB.
const MAX_ANSWER_BYTES: usize = 512 * 1024 * 1024;

/// No temporary functions, operators or tables of a user get between us and the catalogue, and
/// nothing is written.
const PROLOGUE: &str = "begin read only; \
    set local search_path = pg_catalog; \
    set local statement_timeout = '100s'; \
    set local lock_timeout = '20s'; ";

/// A psql with the connection it uses.
#[derive(Clone, Debug)]
pub struct Psql {
    /// Path of the program.
    pub program: PathBuf,
    /// How to reach the cluster.
    pub connection: Connection,
    /// As which user of the operating system.
    pub run_as: Option<RunAs>,
}

impl Psql {
    /// Runs one `select` that returns one JSON value. Text inside it comes in the database's own
    /// encoding and is read lossily; names that have to be exact are asked for in hexadecimal
    /// (`encode(namesend(name), 'hex')`).
    ///
    /// # Errors
    /// [`Explained`] when the server cannot be reached or refuses, else the server's own message;
    /// secrets are redacted.
    pub async fn query_json<T: DeserializeOwned>(
        &self,
        database: &Name,
        sql: &str,
    ) -> anyhow::Result<T> {
        self.run(
            database,
            &format!("{PROLOGUE}{sql}"),
            DEADLINE,
            MAX_ANSWER_BYTES,
        )
        .await
    }

    /// Runs one `select` of a single column that a user wrote, with the settings that a session of
    /// the database has, and returns its values as text.
    ///
    /// # Errors
    /// Those of [`Self::query_json`].
    pub async fn ask(&self, database: &Name, sql: &str) -> anyhow::Result<Vec<Option<String>>> {
        let sql = sql.trim().trim_end_matches(';');
        // The line break ends a comment at the end of the user's text.
        let sql = format!(
            "begin read only; set local statement_timeout = '10min'; \
             select coalesce(json_agg(answer::text), '[]') from ({sql}\n) as asked (answer)"
        );
        self.run(database, &sql, ASK_DEADLINE, MAX_ASKED_BYTES)
            .await
    }

    /// Runs `script` in one session and stops at the first error. It reaches psql through its
    /// standard input, behind a fresh `\restrict`: nothing in it is in an argument, and nothing in it
    /// runs a program.
    ///
    /// # Errors
    /// The server's message, secrets redacted; what the script did before stays unless it was in a
    /// transaction.
    pub async fn execute(
        &self,
        database: &Name,
        script: &[u8],
        deadline: Duration,
    ) -> anyhow::Result<()> {
        let mut key = [0; 24];
        getrandom::fill(&mut key).context("could not get random bytes")?;
        let guard = format!("\\restrict {}\n", to_hex(&key));
        let input = [guard.as_bytes(), script, b"\n"].concat();
        let command = Command::new(&self.program)
            .args(["-X", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null"])
            .args(["-f", "-", "-d"])
            .arg(self.connection.conninfo(Some(database.as_bytes())));
        let command = self
            .connection
            .apply(command)
            .env_scrub("PSQL")
            .run_as(self.run_as.clone());
        let output = capture_with_input(command, input, deadline, MAX_ANSWER_BYTES).await?;
        if output.status.is_success() {
            return Ok(());
        }
        let stderr = redact(&output.stderr, &self.connection.secrets());
        anyhow::bail!("{}", cause(&stderr))
    }

    /// What is wrong on the way to the server, rather than with it.
    pub fn trouble(&self, status: Exit, stderr: &str) -> Option<anyhow::Error> {
        if let Some(RunAs::Ssh(remote)) = &self.run_as
            && (status == Exit::Code(255) || stderr.starts_with("sudo: "))
        {
            return Some(ssh::explain(stderr, &remote.host).into());
        }
        let trouble = anyhow::Error::new(self.connection.trouble()?);
        let hint = crate::error::hint(&trouble).unwrap_or_default();
        let explained = Explained::new(crate::error::one_line(&trouble), hint);
        Some(
            explained
                .caused_by(anyhow::anyhow!("{}", cause(stderr)))
                .into(),
        )
    }

    async fn run<T: DeserializeOwned>(
        &self,
        database: &Name,
        sql: &str,
        deadline: Duration,
        max_bytes: usize,
    ) -> anyhow::Result<T> {
        let command = Command::new(&self.program)
            .args(["-X", "-A", "-t", "-q", "-w", "-v", "ON_ERROR_STOP=1", "-d"])
            .arg(self.connection.conninfo(Some(database.as_bytes())))
            .arg("-c")
            .arg(sql);
        let command = self
            .connection
            .apply(command)
            // No conversion: a name of another encoding must not make the question fail.
            .env("PGCLIENTENCODING", "SQL_ASCII")
            .run_as(self.run_as.clone());
        let output = match capture(command, deadline, max_bytes).await {
            Ok(output) => output,
            Err(error) if error.is::<DeadlineExceeded>() => {
                return Err(Explained::new(
                    format!("server at {} gave no answer", self.connection.describe()),
                    "Check the network between this machine and the server, and the server's load.",
                )
                .caused_by(error)
                .into());
            }
            Err(error) => return Err(error),
        };
        if !output.status.is_success() {
            let stderr = redact(&output.stderr, &self.connection.secrets());
            if let Some(trouble) = self.trouble(output.status, &stderr) {
                return Err(trouble);
            }
            return Err(explain(&stderr, &self.connection.describe(), database)
                .caused_by(anyhow::anyhow!("{}", cause(&stderr)))
                .into());
        }
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text)
            .with_context(|| format!("psql printed something unexpected: {:.200}", text.trim()))
    }
}

/// At most this many databases are asked at the same time.
const PARALLEL: usize = 4;

impl Psql {
    /// Asks every one of `databases` the same question, a few at a time; answers in their order.
    pub async fn query_each<T: DeserializeOwned + Send + 'static>(
        &self,
        databases: Vec<Name>,
        sql: &str,
    ) -> Vec<(Name, anyhow::Result<T>)> {
        let sql: Arc<str> = sql.into();
        let mut waiting = databases.into_iter().enumerate();
        let mut tasks = JoinSet::new();
        let mut answers = BTreeMap::new();
        loop {
            while tasks.len() < PARALLEL
                && let Some((n, database)) = waiting.next()
            {
                let (psql, sql) = (self.clone(), Arc::clone(&sql));
                tasks.spawn(async move {
                    let answer = psql.query_json(&database, &sql).await;
                    (n, database, answer)
                });
            }
            match tasks.join_next().await {
                Some(Ok((n, database, answer))) => {
                    answers.insert(n, (database, answer));
                }
                Some(Err(error)) => {
                    // Only the runtime's own end cancels a task, and then nobody is here.
                    if let Ok(panic) = error.try_into_panic() {
                        std::panic::resume_unwind(panic);
                    }
                }
                None => return answers.into_values().collect(),
            }
        }
    }
}

/// The line of psql's stderr that says what went wrong.
fn cause(stderr: &str) -> String {
    let is_cause = |line: &&str| {
        ["FATAL:", "ERROR:", "error:"]
            .iter()
            .any(|word| line.contains(word))
    };
    let lines = || {
        stderr
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    };
    let line = lines().rfind(is_cause).or_else(|| lines().next());
    let line = line.unwrap_or("psql failed and said nothing");
    line.trim_start_matches("psql: ")
        .trim_start_matches("error: ")
        .chars()
        .take(500)
        .collect()
}

/// What psql's message means, and the next step.
fn explain(stderr: &str, server: &str, database: &Name) -> Explained {
    let said = |text: &str| stderr.contains(text);
    let refused =
        |what: &str, hint: &str| Explained::new(format!("server at {server} {what}"), hint);
    if said("password authentication failed") {
        refused(
            "refused the password",
            "Check user and password; in a URL the password must be percent-encoded.",
        )
    } else if said("no password supplied") {
        refused(
            "wants a password and none was given",
            "Set PGPASSWORD, PGPASSFILE or the password in the database URL.",
        )
    } else if said("Peer authentication failed") || said("Ident authentication failed") {
        refused(
            "accepts only the operating system user of that name",
            "Run with --sudo-user postgres, or connect to 127.0.0.1 with a password.",
        )
    } else if said("no pg_hba.conf entry") && said("no encryption") {
        refused(
            "does not allow this connection without encryption",
            "Set PGSSLMODE to verify-full, or ask for an entry in pg_hba.conf for this machine.",
        )
    } else if said("no pg_hba.conf entry") || said("pg_hba.conf rejects") {
        refused(
            "does not allow this connection",
            "Ask for an entry in pg_hba.conf for this machine, user and database.",
        )
    } else if said("does not exist") && said("FATAL:") && said("role") {
        refused(
            "does not know this role",
            "Check PGUSER or the user in the database URL.",
        )
    } else if said("does not exist") && said("FATAL:") {
        refused(
            &format!("has no database \"{database}\""),
            "Check PGDATABASE or the path of the database URL; \"postgres\" exists almost everywhere.",
        )
    } else if said("is not permitted to log in") {
        refused("does not let this role log in", "Use a role with LOGIN.")
    } else if said("permission denied for database") {
        refused(
            &format!("does not let this role into database \"{database}\""),
            "Grant CONNECT on the database to the role, or use another role.",
        )
    } else if said("too many clients")
        || said("remaining connection slots")
        || said("too many connections")
    {
        refused(
            "has no free connection",
            "Wait until connections are free, or raise max_connections; the backup needs at most six.",
        )
    } else if said("could not translate host name") {
        Explained::new(
            format!("could not find server {server}"),
            "Check the host name, and that this machine's DNS knows it.",
        )
    } else if said("Connection refused") || said("No such file or directory") && said("socket") {
        Explained::new(
            format!("no server answers at {server}"),
            "Check host and port, that PostgreSQL is running, and that it listens there (listen_addresses).",
        )
    } else if said("timeout expired")
        || said("timed out")
        || said("o route to host")
        || said("Network is unreachable")
    {
        Explained::new(
            format!("could not reach server at {server}"),
            "Check the network, firewalls and security groups between this machine and the server.",
        )
    } else if said("server does not support SSL") {
        refused(
            "does not offer TLS",
            "Switch TLS on in the server, or, on a network you trust, set PGSSLMODE to prefer.",
        )
    } else if said("certificate") || said("SSL error") || said("SSL SYSCALL") {
        refused(
            "could not be verified by its certificate",
            "Set PGSSLROOTCERT to the certificate authority of the server, and use the host name in its certificate.",
        )
    } else if said("the database system is") || said("not yet accepting connections") {
        refused("is not ready", "Wait until it has started, then run again.")
    } else if said("server closed the connection unexpectedly")
        || said("connection to server was lost")
    {
        refused(
            "broke the connection",
            "Look at the server's log: it may have been restarted, or a proxy in between gave up.",
        )
    } else if said("permission denied") {
        refused(
            "does not let this role read its catalogue",
            "Use a superuser, or a role that is a member of pg_read_all_data.",
        )
    } else if said("connection to server") || said("FATAL:") {
        Explained::new(
            format!("could not connect to server at {server}"),
            "Read the message of the server below.",
        )
    } else {
        Explained::new(
            format!("could not ask server at {server} about database \"{database}\""),
            "Read the message of the server below.",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_refusals_are_translated_and_the_cause_is_kept() {
        for (stderr, expected) in [
            (
                "psql: error: connection to server at \"h\", port 5 failed: FATAL:  password authentication failed for user \"x\"\n",
                "refused the password",
            ),
            (
                "psql: error: connection to server at \"h\" failed: Connection refused\n\tIs the server running?",
                "no server answers",
            ),
            (
                "psql: error: could not translate host name \"h\" to address",
                "could not find server",
            ),
            (
                "psql: error: FATAL:  database \"d\" does not exist",
                "has no database",
            ),
            (
                "psql: error: FATAL:  role \"d\" does not exist",
                "does not know this role",
            ),
            (
                "psql: error: FATAL:  no pg_hba.conf entry for host \"1\", user \"u\", database \"d\", no encryption",
                "without encryption",
            ),
            (
                "psql: error: FATAL:  sorry, too many clients already",
                "no free connection",
            ),
            (
                "psql: error: server does not support SSL, but SSL was required",
                "does not offer TLS",
            ),
            (
                "psql: error: SSL error: certificate verify failed",
                "could not be verified",
            ),
            ("", "could not ask"),
        ] {
            let message = explain(stderr, "h:5", &Name::from("d")).to_string();
            assert!(message.contains(expected), "{stderr}: {message}");
        }
        assert_eq!(
            cause("psql: error: connection to server at \"h\" failed: FATAL:  x\n\n"),
            "connection to server at \"h\" failed: FATAL:  x"
        );
        assert_eq!(cause("\n"), "psql failed and said nothing");
    }
}

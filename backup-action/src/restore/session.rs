//! One psql that is fed through its stdin: how it is started, fed, watched, and what it says at its
//! end. What it is fed is decided elsewhere.

use super::work::Work;
use crate::archive::index::Name;
use crate::error::Explained;
use crate::process::{Command, Exit, Finished, Running};
use crate::secret::redact;
use anyhow::Context;
use bytes::Bytes;
use std::ffi::OsString;
use std::fs::File;
use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::sync::Arc;
use tokio::sync::mpsc;

/// A line of psql's output that we look at is shorter.
const MAX_LINE: usize = 4096;

/// psql's exit status when it lost its connection.
const CONNECTION_LOST: Exit = Exit::Code(2);

/// What psql does, in order, in one session.
pub(super) enum Action {
    /// One statement; psql neither replaces variables in it nor looks for meta-commands.
    Statement(OsString),
    /// A script of stdin.
    Input,
    /// A script of a file.
    File(std::path::PathBuf),
}

/// What psql writes to its stdout.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// Command tags and results.
    Tags,
    /// Nothing.
    Nothing,
}

/// A psql that runs. Dropping it kills it, and so rolls back what it has open.
pub(super) struct Session {
    work: Arc<Work>,
    running: Running,
    input: Option<mpsc::Sender<Bytes>>,
    output: mpsc::UnboundedReceiver<String>,
}

/// How a session ended.
pub(super) struct Ended {
    exit: Exit,
    /// What psql wrote to stderr, without secrets.
    stderr: String,
    /// Lines of its output that nobody took before.
    pub(super) output: Vec<String>,
}

impl Session {
    /// Starts psql in `database` of the server.
    pub(super) fn start(
        work: &Arc<Work>,
        database: &Name,
        actions: Vec<Action>,
        output: Output,
    ) -> anyhow::Result<Session> {
        let psql = &work.load.psql;
        let mut command = Command::new(&psql.program)
            .args(["-X", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-d"])
            .arg(psql.connection.conninfo(Some(database.as_bytes())));
        if output == Output::Nothing {
            command = command.args(["-q", "-o", "/dev/null"]);
        }
        for action in actions {
            command = match action {
                Action::Statement(sql) => command.arg("-c").arg(sql),
                Action::Input => command.arg("-f").arg("-"),
                Action::File(path) => command.arg("-f").arg(path),
            };
        }
        let command = psql
            .connection
            .apply(command)
            .env_scrub("PSQL")
            .env_remove("PAGER")
            .run_as(psql.run_as.clone());
        let (running, stdin, stdout) = Running::start_with_input(command)?;
        let (input, chunks) = mpsc::channel(2);
        let (lines, output) = mpsc::unbounded_channel();
        thread("psql input", move || feed(stdin, chunks))?;
        thread("psql output", move || read_lines(stdout, &lines))?;
        Ok(Session {
            work: Arc::clone(work),
            running,
            input: Some(input),
            output,
        })
    }

    /// Feeds psql. `false` when it has gone: [`Session::end`] says why.
    pub(super) async fn send(&mut self, bytes: Bytes) -> anyhow::Result<bool> {
        let Some(input) = self.input.clone() else {
            return Ok(false);
        };
        let sent = self.patient(input.send(bytes)).await?;
        if sent.is_err() {
            self.input = None;
        }
        Ok(sent.is_ok())
    }

    /// The next line of psql's output, or `None` at its end.
    pub(super) async fn line(&mut self) -> anyhow::Result<Option<String>> {
        let mut output = std::mem::replace(&mut self.output, mpsc::unbounded_channel().1);
        let line = self.patient(output.recv()).await;
        self.output = output;
        line
    }

    /// Ends psql's input and waits for its end.
    pub(super) async fn end(mut self) -> anyhow::Result<Ended> {
        self.input = None;
        let mut output = Vec::new();
        while let Some(line) = self.line().await? {
            output.push(line);
        }
        let Session { work, running, .. } = self;
        let finished = patient(&work, running.finish()).await??;
        let Finished {
            exit, stderr_tail, ..
        } = finished;
        let secrets = work.load.psql.connection.secrets();
        Ok(Ended {
            exit,
            stderr: redact(&stderr_tail, &secrets),
            output,
        })
    }

    async fn patient<T>(&self, wanted: impl Future<Output = T>) -> anyhow::Result<T> {
        patient(&self.work, wanted).await
    }
}

/// Waits as long as the server answers: an index may take hours, a server that stopped must not.
async fn patient<T>(work: &Work, wanted: impl Future<Output = T>) -> anyhow::Result<T> {
    let mut wanted = std::pin::pin!(wanted);
    loop {
        match tokio::time::timeout(work.load.stall_timeout, &mut wanted).await {
            Ok(value) => return Ok(value),
            Err(_) => {
                let answer = work
                    .load
                    .psql
                    .query_json::<i64>(&work.load.maintenance, "select 1");
                answer.await.context("the restore stands still")?;
            }
        }
    }
}

impl Ended {
    /// Whether everything ran.
    pub(super) fn is_success(&self) -> bool {
        self.exit.is_success()
    }

    /// What the server refused, with the line of the script when psql tells it.
    ///
    /// # Errors
    /// The end was not a statement that was refused: no connection, a psql that is too old or was
    /// killed.
    pub(super) fn refusal(&self) -> anyhow::Result<Refusal> {
        if self
            .stderr
            .lines()
            .any(|line| line.ends_with(": invalid command \\restrict"))
        {
            return Err(Explained::new(
                "psql does not know \\restrict, which keeps a dump from running programs here",
                "Install the newest minor release of PostgreSQL's client.",
            )
            .into());
        }
        let found = refusal(&self.stderr);
        match found {
            Some(found)
                if self.exit != CONNECTION_LOST && !matches!(self.exit, Exit::Signal(_)) =>
            {
                Ok(found)
            }
            Some(_) | None => {
                let said = self.stderr.trim();
                let said: String = said.chars().take(2000).collect();
                anyhow::bail!("psql ended with {}: {said}", self.exit)
            }
        }
    }
}

/// A statement that was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The file and the last line of the statement.
    pub(super) place: Option<(String, u64)>,
    /// The server's message with its details.
    pub(super) message: String,
}

fn refusal(stderr: &str) -> Option<Refusal> {
    let mut lines = stderr.lines();
    let (place, first) = lines.by_ref().find_map(error_line)?;
    let mut message = without_value(first.trim()).to_owned();
    // Everything up to psql's next word belongs to the message. DETAIL, CONTEXT and LINE repeat
    // rows and statements, which may hold what nobody may read in a log: only the line of a COPY
    // is taken from them.
    for line in lines.take_while(|line| !line.starts_with("psql:")) {
        if line.starts_with("HINT:") {
            message.push('\n');
            message.push_str(line);
        } else if let Some(place) = copy_line(line) {
            message.push_str(&format!(" ({place})"));
        }
    }
    Some(Refusal {
        place,
        message: message.chars().take(2000).collect(),
    })
}

/// `invalid input syntax for type date` of `…: "1001.00"`: in messages about a value, what stands
/// quoted behind the colon is that value.
fn without_value(message: &str) -> &str {
    const ABOUT_VALUES: [&str; 4] = [
        "invalid input syntax for ",
        "invalid input value for ",
        "date/time field value out of range",
        "malformed ",
    ];
    let is_about_value = ABOUT_VALUES.iter().any(|start| message.starts_with(start));
    match message.find(": \"") {
        Some(at) if is_about_value => &message[..at],
        Some(_) | None => message,
    }
}

/// `line 7` of `CONTEXT:  COPY payroll, line 7, column amount: "x"`. The table's name may hold
/// anything, so that only a number behind the first `, line ` counts.
fn copy_line(line: &str) -> Option<String> {
    let (_, rest) = line
        .strip_prefix("CONTEXT:")?
        .trim_start()
        .strip_prefix("COPY ")?
        .split_once(", line ")?;
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let number: u64 = rest[..digits].parse().ok()?;
    Some(format!("line {number} of its rows"))
}

/// `psql:<stdin>:12: ERROR:  message`, or for `-c` `ERROR:  message`.
fn error_line(line: &str) -> Option<(Option<(String, u64)>, &str)> {
    if let Some(message) = line.strip_prefix("ERROR:") {
        return Some((None, message));
    }
    let rest = line.strip_prefix("psql:")?;
    for word in [": ERROR:", ": error:"] {
        if let Some((place, message)) = rest.split_once(word)
            && let Some((file, number)) = place.rsplit_once(':')
            && let Ok(number) = number.parse()
        {
            return Some((Some((file.to_owned(), number)), message));
        }
    }
    None
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    let thread = std::thread::Builder::new().name(name.into()).spawn(work);
    thread.map(drop).context("could not start a thread")
}

/// Writes until the channel or psql ends.
fn feed(mut stdin: File, mut chunks: mpsc::Receiver<Bytes>) {
    while let Some(chunk) = chunks.blocking_recv() {
        if stdin.write_all(&chunk).is_err() {
            return;
        }
    }
}

/// Hands on lines; long ones, which are not ours to read, shortened.
fn read_lines(stdout: File, lines: &mpsc::UnboundedSender<String>) {
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = stdout
            .by_ref()
            .take(MAX_LINE as u64)
            .read_until(b'\n', &mut line);
        match read {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        // Nobody reads when the session was dropped; psql must not wait for us even so.
        drop(lines.send(text));
    }
}

/// A random key for `\restrict`: letters and digits only.
pub(super) fn restrict_key() -> anyhow::Result<String> {
    let mut random = [0; 24];
    getrandom::fill(&mut random).context("could not read random bytes")?;
    Ok(crate::archive::index::to_hex(&random))
}

/// A statement as an argument. Any bytes but NUL.
pub(super) fn as_argument(sql: Vec<u8>) -> anyhow::Result<OsString> {
    use std::os::unix::ffi::OsStringExt;
    // Linux takes no longer argument.
    const MAX_ARGUMENT: usize = 128 * 1024 - 1;
    anyhow::ensure!(
        sql.len() < MAX_ARGUMENT && !sql.contains(&0),
        "cannot hand psql a COPY statement of {} bytes",
        sql.len()
    );
    Ok(OsString::from_vec(sql))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_line_of_a_row_and_never_the_row() {
        let stderr = "psql:/tmp/s.sql:7: ERROR:  new row violates check constraint \"c\"\n\
            DETAIL:  Failing row contains (1, alice, 4111).\n\
            HINT:  Look.\n\
            CONTEXT:  COPY payroll, line 12: \"1\talice\t4111\"\n\
            LINE 1: ALTER ROLE x PASSWORD 'SCRAM-SHA-256$...'\n";
        let found = refusal(stderr).unwrap();
        assert_eq!(found.place, Some(("/tmp/s.sql".to_owned(), 7)));
        assert_eq!(
            found.message,
            "new row violates check constraint \"c\"\nHINT:  Look. (line 12 of its rows)"
        );
        let value = refusal("ERROR:  invalid input syntax for type date: \"4111\"\n").unwrap();
        assert_eq!(value.message, "invalid input syntax for type date");
        let name = refusal("ERROR:  invalid locale name: \"xx_YY\"\n").unwrap();
        assert_eq!(name.message, "invalid locale name: \"xx_YY\"");
        let other = refusal("ERROR:  no\nCONTEXT:  SQL function \"f\", line 3\n").unwrap();
        assert_eq!(other.message, "no");
    }
}

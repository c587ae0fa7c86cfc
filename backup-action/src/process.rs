//! The only module that starts a child. A child lives in its own process group, is drained on both
//! pipes at once, ends by its deadline, and is always reaped together with what it started. Nothing
//! here knows PostgreSQL, or decides what an exit status means.

mod command;
mod group;
mod inside;
mod remote;
mod stat;
pub mod stray;
mod tail;
mod withheld;

pub use command::{Command, RunAs};
pub use group::StopHandle;
pub use inside::Inside;
pub use remote::Remote;

use anyhow::Context;
use group::{Group, lock};
use rustix::process::{Pid, Signal};
use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tail::Tail;
use tokio::sync::oneshot;

/// How long to wait for the end of a pipe that something outside the group still holds open.
const PIPE_GRACE: Duration = Duration::from_secs(2);

/// Larger than the default 64 KiB, so that the dump goes on while the compressor is busy.
#[cfg(target_os = "linux")]
const PIPE_BYTES: usize = 1024 * 1024;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It ended by itself with this status.
    Code(i32),
    /// A signal with this number ended it.
    Signal(i32),
}

impl Exit {
    /// Status 0.
    pub fn is_success(self) -> bool {
        self == Exit::Code(0)
    }

    fn from_status(status: ExitStatus) -> anyhow::Result<Self> {
        match (status.code(), status.signal()) {
            (Some(code), _) => Ok(Exit::Code(code)),
            (None, Some(signal)) => Ok(Exit::Signal(signal)),
            (None, None) => anyhow::bail!("child has neither exit status nor signal: {status:?}"),
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Exit::Code(code) => write!(f, "status {code}"),
            Exit::Signal(number) => match signal_name(number) {
                Some(name) => write!(f, "signal {number} ({name})"),
                None => write!(f, "signal {number}"),
            },
        }
    }
}

/// Names of the signals that end programs and have the same number everywhere.
fn signal_name(number: i32) -> Option<&'static str> {
    Some(match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        _ => return None,
    })
}

/// What a short child printed.
#[derive(Clone, Debug)]
pub struct Output {
    /// How it ended.
    pub status: Exit,
    /// Everything it wrote to stdout.
    pub stdout: Vec<u8>,
    /// The beginning and the end of what it wrote to stderr, invalid UTF-8 replaced.
    pub stderr: String,
}

/// The child did not end by its deadline; its group was killed.
#[derive(Clone, Debug)]
pub struct DeadlineExceeded {
    /// The program's name.
    pub program: String,
    /// The deadline.
    pub deadline: Duration,
}

impl fmt::Display for DeadlineExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, deadline } = self;
        write!(f, "{program} did not end within {deadline:?}")
    }
}

impl std::error::Error for DeadlineExceeded {}

/// Runs a short child to its end and returns what it printed.
///
/// # Errors
/// It could not be started, did not end within `deadline` ([`DeadlineExceeded`]), or wrote more
/// than `max_stdout` bytes. In the last two cases its group is killed. An exit status other than 0
/// is not an error here.
pub async fn capture(
    command: Command,
    deadline: Duration,
    max_stdout: usize,
) -> anyhow::Result<Output> {
    let program = command.program_name();
    let (running, stdout) = Running::start(command)?;
    collect(program, running, stdout, deadline, max_stdout).await
}

/// [`capture`] of a child that reads `input`. One that ends before it has read everything is no
/// error here either.
///
/// # Errors
/// See [`capture`].
pub async fn capture_with_input(
    command: Command,
    input: Vec<u8>,
    deadline: Duration,
    max_stdout: usize,
) -> anyhow::Result<Output> {
    let program = command.program_name();
    let (running, mut stdin, stdout) = Running::start_with_input(command)?;
    std::thread::Builder::new()
        .name("stdin".into())
        .spawn(move || match stdin.write_all(&input) {
            Ok(()) | Err(_) => {}
        })
        .context("could not start a thread")?;
    collect(program, running, stdout, deadline, max_stdout).await
}

async fn collect(
    program: String,
    running: Running,
    stdout: File,
    deadline: Duration,
    max_stdout: usize,
) -> anyhow::Result<Output> {
    let group = Arc::clone(&running.group);
    let (sender, read) = oneshot::channel();
    std::thread::Builder::new()
        .name("stdout".into())
        .spawn(move || {
            let result = read_at_most(stdout, max_stdout);
            if !matches!(result, Ok(Some(_))) {
                group.signal(Signal::KILL);
            }
            // Nobody waits when the deadline was faster.
            drop(sender.send(result));
        })
        .context("could not start a thread")?;
    let Ok(finished) = tokio::time::timeout(deadline, running.finish()).await else {
        return Err(DeadlineExceeded { program, deadline }.into());
    };
    let finished = finished?;
    let stdout = tokio::time::timeout(PIPE_GRACE, read)
        .await
        .with_context(|| format!("{program} left its output open"))?
        .context("the reader of the output died")?
        .with_context(|| format!("could not read the output of {program}"))?
        .with_context(|| format!("{program} printed more than {max_stdout} bytes"))?;
    Ok(Output {
        status: finished.exit,
        stdout,
        stderr: finished.stderr_tail,
    })
}

/// Everything up to the end of file, or `None` when that is more than `max` bytes.
fn read_at_most(file: File, max: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    file.take(limit).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= max).then_some(bytes))
}

/// How a streaming child ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it ended.
    pub exit: Exit,
    /// The first lines and the last 112 KiB of stderr, invalid UTF-8 replaced.
    pub stderr_tail: String,
    /// Lines between the two that were left out.
    pub stderr_lines_dropped: u64,
}

/// A streaming child. Dropping it kills its group, unless it was reaped.
#[derive(Debug)]
pub struct Running {
    group: Arc<Group>,
    program: String,
    exited: oneshot::Receiver<std::io::Result<ExitStatus>>,
    stderr_ended: oneshot::Receiver<()>,
    stderr: Arc<Mutex<Tail>>,
}

impl Running {
    /// Starts `command` in its own process group, stdin closed, and returns it with the read end
    /// of its stdout.
    ///
    /// # Errors
    /// The program does not exist or may not be run, or pipes and threads are used up.
    pub fn start(command: Command) -> anyhow::Result<(Running, File)> {
        if command.preface().is_none() {
            return Self::spawn(command, Stdio::null());
        }
        let (running, _ended, stdout) = Self::start_with_input(command)?;
        Ok((running, stdout))
    }

    /// Starts `command` likewise, and returns the write end of its stdin too. Dropping that ends
    /// its input. Writing fails when the child has gone, which says nothing: its exit does.
    ///
    /// # Errors
    /// See [`Running::start`].
    pub fn start_with_input(command: Command) -> anyhow::Result<(Running, File, File)> {
        let (stdin, stdin_writer) = pipe()?;
        let mut stdin_writer = File::from(stdin_writer);
        let preface = command.preface().unwrap_or_default();
        let (running, stdout) = Self::spawn(command, stdin.into())?;
        // A pipe takes so little at once. A child that is gone already says so by its exit.
        match stdin_writer.write_all(&preface) {
            Ok(()) | Err(_) => {}
        }
        Ok((running, stdin_writer, stdout))
    }

    fn spawn(command: Command, stdin: Stdio) -> anyhow::Result<(Running, File)> {
        let program = command.program_name();
        let (stdout, stdout_writer) = pipe()?;
        let (stderr, stderr_writer) = pipe()?;
        let mut std_command = command.build()?;
        std_command
            .stdin(stdin)
            .stdout(stdout_writer)
            .stderr(stderr_writer)
            .process_group(0);
        let child = std_command
            .spawn()
            .with_context(|| format!("could not start {program}"))?;
        // The parent's copies of the write ends live in the builder: without this no end of file.
        drop(std_command);
        let group = Arc::new(Group::new(Pid::from_child(&child), command.run_as));
        let (tell_exit, exited) = oneshot::channel();
        let (tell_end, stderr_ended) = oneshot::channel();
        let tail = Arc::new(Mutex::new(Tail::default()));
        let for_thread = (Arc::clone(&group), Arc::clone(&tail));
        std::thread::Builder::new()
            .name("reaper".into())
            .spawn(move || for_thread.0.reap(child, tell_exit))
            .and_then(|_| {
                std::thread::Builder::new()
                    .name("stderr".into())
                    .spawn(move || {
                        tail::drain(stderr, &for_thread.1);
                        // Nobody waits when the child is dropped.
                        match tell_end.send(()) {
                            Ok(()) | Err(()) => {}
                        }
                    })
            })
            .inspect_err(|_| group.signal(Signal::KILL))
            .context("could not start a thread")?;
        let running = Running {
            group,
            program,
            exited,
            stderr_ended,
            stderr: tail,
        };
        Ok((running, stdout))
    }

    /// Waits for the end of the child, kills what it left behind in its group, and reaps it.
    ///
    /// # Errors
    /// The system could not tell how it ended.
    pub async fn finish(mut self) -> anyhow::Result<Finished> {
        let program = self.program.clone();
        let status = (&mut self.exited)
            .await
            .context("the thread that waits for the child died")?
            .with_context(|| format!("could not wait for {program}"))?;
        // A process that left the group may hold stderr open; what came so far is enough then.
        match tokio::time::timeout(PIPE_GRACE, &mut self.stderr_ended).await {
            Ok(_) | Err(_) => {}
        }
        let tail = lock(&self.stderr);
        Ok(Finished {
            exit: Exit::from_status(status)?,
            stderr_tail: tail.text(),
            stderr_lines_dropped: tail.dropped_lines(),
        })
    }

    /// A handle that stops the child from elsewhere.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(Arc::clone(&self.group))
    }

    /// What it wrote to stderr so far.
    pub fn said(&self) -> String {
        lock(&self.stderr).text()
    }

    /// Whether it has ended and was reaped.
    pub fn has_ended(&self) -> bool {
        self.group.is_reaped()
    }

    /// The child's process id, which is its group's too.
    pub fn pid(&self) -> i32 {
        self.group.pgid.as_raw_nonzero().get()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.group.signal(Signal::KILL);
    }
}

fn pipe() -> anyhow::Result<(File, OwnedFd)> {
    let (reader, writer) = std::io::pipe().context("could not make a pipe")?;
    let writer = OwnedFd::from(writer);
    // A user's limit on pipe memory only makes the pipe smaller.
    #[cfg(target_os = "linux")]
    match rustix::pipe::fcntl_setpipe_size(&writer, PIPE_BYTES) {
        Ok(_) | Err(_) => {}
    }
    Ok((File::from(OwnedFd::from(reader)), writer))
}

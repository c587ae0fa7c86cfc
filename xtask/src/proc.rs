//! The only file of xtask that makes a raw `Command`: programs whose output is streamed or read,
//! and servers that must not outlive the task. Simple calls use xshell.
#![expect(
    clippy::disallowed_methods,
    reason = "the one place of xtask that starts children other than through xshell"
)]

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// Variables that would change what a program under our control does.
const FOREIGN: &[&str] = &[
    "PG",
    "GITHUB_",
    "INPUT_",
    "RUNNER_",
    "ACTIONS_",
    "AWS_",
    "DATABASE_URL",
    "BACKUP_ACTION_",
];

/// A command without the caller's database, cloud and CI variables.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let foreign = name
            .to_str()
            .is_some_and(|name| FOREIGN.iter().any(|prefix| name.starts_with(prefix)));
        if foreign {
            command.env_remove(name);
        }
    }
    command
}

/// A command with the caller's environment, which cargo needs, without what `cargo run` set for
/// this program: ring's build script watches `CARGO_MANIFEST_DIR`, and would be built again each
/// time somebody goes from `cargo xtask` to `cargo build` and back.
pub(crate) fn inheriting(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_MANIFEST_") || text.starts_with("CARGO_PKG_") {
            command.env_remove(&name);
        }
    }
    command
}

/// The program's name, for messages: never its arguments or environment.
fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// Runs to the end; output goes where the command says. An exit status other than 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let program = name(command);
    let status = command
        .status()
        .with_context(|| format!("could not start {program}"))?;
    if !status.success() {
        bail!("{program} failed ({status})");
    }
    Ok(())
}

/// Runs to the end and returns standard output. The error holds the end of standard error.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let program = name(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not start {program}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{program} failed ({}): {}", output.status, tail(&stderr));
    }
    String::from_utf8(output.stdout).with_context(|| format!("{program} printed no UTF-8"))
}

/// The last lines of a program's messages, for an error.
pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

/// A server that ends when this value is dropped or when this process dies, however it dies:
/// a shell waits at the other end of a pipe and stops the server when the pipe closes.
pub(crate) struct Server {
    shell: Child,
    tether: Option<ChildStdin>,
    pid: u32,
}

/// `$1` is the signal that stops the server, the rest is the server. The server's process id is
/// printed first. A child of `&` ignores SIGINT, so Ctrl-C reaches only xtask, whose end closes
/// the pipe.
const TETHER: &str = r#"
signal=$1; shift
exec 3<&0
"$@" </dev/null 3<&- >&2 &
server=$!
echo "$server"
exec >&- 2>/dev/null
trap '' INT TERM HUP
( cat <&3 >/dev/null; kill -s "$signal" "$server"; sleep 10; kill -s KILL "$server" ) 2>/dev/null &
watcher=$!
exec 3<&- </dev/null
wait "$server"
status=$?
kill "$watcher" 2>/dev/null
exit "$status"
"#;

impl Server {
    /// Starts `argv`. `configure` sets environment and standard error of the server.
    pub(crate) fn start(
        stop_signal: &str,
        argv: &[&OsStr],
        configure: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let mut command = command("sh");
        command
            .args(["-c", TETHER, "tether", stop_signal])
            .args(argv);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        configure(&mut command);
        let mut shell = command.spawn().context("could not start sh")?;
        let tether = shell.stdin.take();
        let mut line = String::new();
        let stdout = shell.stdout.take().context("sh has no standard output")?;
        BufReader::new(stdout)
            .read_line(&mut line)
            .context("could not read the process id of the server")?;
        let pid = line
            .trim()
            .parse()
            .with_context(|| format!("\"{}\" is no process id", line.trim()))?;
        Ok(Self { shell, tether, pid })
    }

    /// Whether the server still runs.
    pub(crate) fn is_running(&mut self) -> Result<bool> {
        Ok(self.shell.try_wait()?.is_none())
    }

    /// Asks `ready` until it says yes, the server ends, or `limit` has passed.
    pub(crate) fn wait_until(
        &mut self,
        what: &str,
        limit: Duration,
        mut ready: impl FnMut() -> bool,
    ) -> Result<()> {
        let start = Instant::now();
        while !ready() {
            if !self.is_running()? {
                bail!("{what} ended while it was starting");
            }
            if start.elapsed() > limit {
                bail!("{what} was not ready after {} s", limit.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.tether.take());
        // The shell kills the server itself after 10 s; waiting is all that is left to do here.
        if let Err(error) = self.shell.wait() {
            eprintln!(
                "could not wait for the end of process {}: {error}",
                self.pid
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive(pid: u32) -> bool {
        std::path::Path::new(&format!("/proc/{pid}")).exists()
    }

    #[test]
    fn a_server_ends_with_its_value() {
        let argv = ["sleep", "600"].map(OsStr::new);
        let mut server = Server::start("TERM", &argv, |_| {}).unwrap();
        let pid = server.pid;
        assert!(alive(pid) && server.is_running().unwrap());
        drop(server);
        assert!(!alive(pid));
    }

    #[test]
    fn a_server_that_ends_early_is_noticed() {
        let argv = ["false"].map(OsStr::new);
        let mut server = Server::start("TERM", &argv, |_| {}).unwrap();
        let limit = Duration::from_secs(30);
        let error = server
            .wait_until("the server", limit, || false)
            .unwrap_err();
        assert_eq!(error.to_string(), "the server ended while it was starting");
    }
}

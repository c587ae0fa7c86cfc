//! Runs the real binary as a step of a workflow would: in an environment of its own, with the
//! runner's files, and a deadline. What holds after every run, however it ended, is asserted here,
//! so that no test can forget it (`ended.rs`): no secret anywhere, no process left, no temporary file, and one
//! verdict on which exit code, report and outputs agree.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "test support starts the program, and stops the test when it cannot"
)]

mod ended;

pub(crate) use ended::{Ended, contains, forms};

use super::cluster::{is_running, signal};
use ended::outputs;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_backup-action");

/// Nothing here takes so long.
const DEADLINE: Duration = Duration::from_secs(180);

/// One run, before it starts.
pub(crate) struct Run {
    command: Command,
    name: String,
    dir: TempDir,
    marker: String,
    canaries: Vec<String>,
    in_actions: bool,
}

impl Run {
    /// `backup-action <name>`, inside a workflow, with nothing in its environment.
    pub(crate) fn new(name: &str) -> Run {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::Builder::new()
            .prefix("run-")
            .tempdir()
            .expect("a temporary directory");
        for sub in ["tmp", "home", "runner"] {
            fs::create_dir(dir.path().join(sub)).expect("a directory");
        }
        let marker = format!(
            "it-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let mut command = Command::new(PROGRAM);
        command
            .arg(name)
            .current_dir(dir.path().join("home"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").expect("PATH"))
            .env("HOME", dir.path().join("home"))
            .env("TMPDIR", dir.path().join("tmp"))
            .env("LANG", "C.UTF-8")
            .env("IT_MARKER", &marker)
            .env("PGAPPNAME", &marker)
            .env("AWS_EC2_METADATA_DISABLED", "true");
        if matches!(
            name,
            "gate" | "verify" | "restore" | "drill" | "verify-receipt" | "prune"
        ) {
            command.arg("--report").arg(dir.path().join("report.json"));
        }
        Run {
            command,
            name: name.to_owned(),
            dir,
            marker,
            canaries: Vec::new(),
            in_actions: true,
        }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Run {
        self.command.arg(arg);
        self
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Run {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Run {
        self.command.env(key, value);
        self
    }

    /// Like [`Run::env`], and `secret` may appear nowhere, in no form.
    pub(crate) fn secret_env(mut self, key: &str, value: &str, secret: &str) -> Run {
        self.command.env(key, value);
        self.canaries.push(secret.to_owned());
        self
    }

    /// Outside of GitHub Actions.
    pub(crate) fn at_home(mut self) -> Run {
        self.in_actions = false;
        self
    }

    /// Runs in another directory than its own HOME.
    pub(crate) fn at(mut self, dir: &Path) -> Run {
        self.command.current_dir(dir);
        self
    }

    /// The directory that holds everything of this run; it becomes [`Ended::dir`].
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What the children of this run carry in their environment, and its sessions as their name.
    pub(crate) fn marker(&self) -> &str {
        &self.marker
    }

    /// Starts the program.
    pub(crate) fn start(mut self) -> Going {
        let path = |name: &str| self.dir.path().join(name);
        if self.in_actions {
            let preset = |name: &str| self.command.get_envs().any(|(key, _)| key == name);
            let own = [
                ("GITHUB_ACTIONS", OsString::from("true")),
                ("GITHUB_OUTPUT", path("output").into()),
                ("GITHUB_STEP_SUMMARY", path("summary.md").into()),
                ("RUNNER_TEMP", path("runner").into()),
                ("GITHUB_REPOSITORY", "acme/payroll".into()),
                ("GITHUB_RUN_ID", "4711".into()),
                ("GITHUB_RUN_ATTEMPT", "2".into()),
                ("GITHUB_SHA", "0123456789".into()),
            ];
            let own: Vec<_> = own.into_iter().filter(|(key, _)| !preset(key)).collect();
            self.command.envs(own);
        }
        let file = |name: &str| fs::File::create(path(name)).expect("a file");
        let child = self
            .command
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("the program starts");
        Going {
            begun: Instant::now(),
            run: self,
            child,
        }
    }

    /// Runs to the end.
    pub(crate) fn end(self) -> Ended {
        self.start().end()
    }
}

/// A run under way. Dropped in the middle, it is killed.
pub(crate) struct Going {
    run: Run,
    child: Child,
    begun: Instant,
}

impl Going {
    /// The program itself. Its environment in /proc is empty for a moment after it was started, so
    /// [`Going::processes`] cannot answer this.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends the program itself a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits until `happened`; stops the test when the program ends first.
    pub(crate) fn until(&mut self, what: &str, mut happened: impl FnMut() -> bool) {
        while !happened() {
            let ended = self
                .child
                .try_wait()
                .expect("the program can be waited for");
            assert!(
                ended.is_none() || happened(),
                "ended before {what}: {ended:?}\n{}",
                self.output()
            );
            assert!(
                self.begun.elapsed() < DEADLINE,
                "waited too long for {what}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The command lines of the processes that this run started, itself included.
    pub(crate) fn processes(&self) -> Vec<String> {
        processes(&self.run.marker)
    }

    /// No process shows a secret in its arguments.
    pub(crate) fn assert_no_secret_in_argv(&self) {
        let processes = self.processes();
        assert!(!processes.is_empty());
        for canary in forms(&self.run.canaries) {
            for line in &processes {
                assert!(!line.contains(&canary), "{canary} in {line}");
            }
        }
    }

    fn output(&self) -> String {
        let read = |name: &str| {
            let bytes = fs::read(self.run.dir.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        format!("{}\n{}", read("stdout"), read("stderr"))
    }

    /// Waits for the end, and asserts what holds after every run.
    pub(crate) fn end(mut self) -> Ended {
        let status = loop {
            if let Some(status) = self
                .child
                .try_wait()
                .expect("the program can be waited for")
            {
                break status;
            }
            assert!(
                self.begun.elapsed() < DEADLINE,
                "hangs: {:?}\n{}",
                self.processes(),
                self.output()
            );
            std::thread::sleep(Duration::from_millis(5));
        };
        let seconds = self.begun.elapsed().as_secs_f64();
        assert_eq!(status.signal(), None, "{}", self.output());
        let dir = std::mem::replace(&mut self.run.dir, tempfile::tempdir().expect("a directory"));
        let read = |name: &str| fs::read(dir.path().join(name)).unwrap_or_default();
        let text = |name: &str| String::from_utf8_lossy(&read(name)).into_owned();
        let report = read("report.json");
        let ended = Ended {
            code: status.code().expect("an exit code"),
            seconds,
            stdout: read("stdout"),
            stderr: text("stderr"),
            report: (!report.is_empty())
                .then(|| serde_json::from_slice(&report).expect("the report is JSON")),
            summary: text("summary.md"),
            outputs: outputs(&text("output")),
            marker: self.run.marker.clone(),
            name: self.run.name.clone(),
            canaries: self.run.canaries.clone(),
            in_actions: self.run.in_actions,
            dir,
        };
        ended.assert_always();
        ended
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        // Ended runs are waited for already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The command lines of all processes with the marker in their environment.
fn processes(marker: &str) -> Vec<String> {
    let wanted = format!("IT_MARKER={marker}");
    let has_marker = |pid: u32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ
            .split(|byte| *byte == 0)
            .any(|variable| variable == wanted.as_bytes())
    };
    fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| has_marker(*pid) && is_running(*pid))
        .map(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            format!(
                "{pid} {}",
                String::from_utf8_lossy(&line).replace('\0', " ")
            )
        })
        .collect()
}

/// Every file below a directory.
pub(crate) fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(dir) else {
        return found;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&path)),
            _ => found.push(path),
        }
    }
    found.sort();
    found
}

//! Runs the real binary as a step of a workflow would: in an environment of its own, with the
//! runner's files, and a deadline. What holds after every run, however it ended, is asserted here,
//! so that no test can forget it: no secret anywhere, no process left, no temporary file, and one
//! verdict on which exit code, report and outputs agree.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "test support starts the program, and stops the test when it cannot"
)]

use super::cluster::{is_running, signal};
use serde_json::Value;
use std::collections::BTreeMap;
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
        if matches!(name, "gate" | "verify") {
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
    /// Sends the program itself a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name);
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

/// A run that has ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) seconds: f64,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    /// The JSON report; none when the run came to no verdict.
    pub(crate) report: Option<Value>,
    /// The job summary.
    pub(crate) summary: String,
    /// Every step output with the values it was given, in order.
    pub(crate) outputs: BTreeMap<String, Vec<String>>,
    pub(crate) dir: TempDir,
    marker: String,
    name: String,
    canaries: Vec<String>,
    in_actions: bool,
}

impl Ended {
    /// What people read: standard output.
    pub(crate) fn screen(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Everything, for the message of a failing test.
    pub(crate) fn all(&self) -> String {
        format!(
            "{} ended with {} after {:.1} s\n{}\n--- stderr\n{}\n--- outputs {:?}",
            self.name,
            self.code,
            self.seconds,
            self.screen(),
            self.stderr,
            self.outputs
        )
    }

    /// The report.
    pub(crate) fn report(&self) -> &Value {
        self.report.as_ref().unwrap_or_else(|| {
            // The message matters more than the type of the panic.
            assert!(self.report.is_some(), "no report: {}", self.all());
            &Value::Null
        })
    }

    /// The check with this identifier in the report.
    pub(crate) fn check(&self, id: &str) -> &Value {
        let checks = self.report()["checks"].as_array().expect("checks");
        let found: Vec<_> = checks.iter().filter(|check| check["id"] == id).collect();
        assert_eq!(found.len(), 1, "{id} in {}", self.all());
        found[0]
    }

    /// The last value of a step output.
    pub(crate) fn output(&self, name: &str) -> &str {
        self.outputs
            .get(name)
            .and_then(|values| values.last())
            .map_or("", String::as_str)
    }

    /// Asserts that screen, report and job summary (where there is one) all say `words`.
    pub(crate) fn assert_says(&self, words: &str) {
        let mut places = vec![
            ("the screen", format!("{} {}", self.screen(), self.stderr)),
            ("the summary", self.summary.clone()),
        ];
        if let Some(report) = &self.report {
            places.push(("the report", strings(report)));
        }
        for (place, text) in places {
            assert!(
                plain(&text).contains(&plain(words)),
                "{place} does not say {words:?}:\n{text}\n{}",
                self.all()
            );
        }
    }

    /// Whether a check or the error says what to do next.
    pub(crate) fn has_hint(&self) -> bool {
        let report = self.report();
        let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
        let checks = report["checks"].as_array().expect("checks");
        is_text(&report["error"]["hint"])
            || checks.iter().any(|check| {
                matches!(check["outcome"].as_str(), Some("failed" | "not_checked"))
                    && is_text(&check["hint"])
            })
    }

    fn assert_always(&self) {
        self.assert_no_process();
        self.assert_no_secret();
        let left: Vec<PathBuf> = fs::read_dir(self.dir.path().join("tmp"))
            .expect("the directory")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        assert!(left.is_empty(), "temporary files are left: {left:?}");
        if self.name == "gate" {
            self.assert_one_verdict();
        }
    }

    /// Every process that carries the marker is gone.
    fn assert_no_process(&self) {
        let until = Instant::now() + Duration::from_secs(3);
        loop {
            let left = processes(&self.marker);
            if left.is_empty() {
                return;
            }
            assert!(
                Instant::now() < until,
                "processes are left: {left:?}\n{}",
                self.all()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn assert_no_secret(&self) {
        // The masks have to name them; the runner swallows these lines.
        let shown: String = self
            .stderr
            .lines()
            .chain(self.screen().lines())
            .filter(|line| !line.starts_with("::add-mask::"))
            .map(|line| format!("{line}\n"))
            .collect();
        for canary in forms(&self.canaries) {
            assert!(!shown.contains(&canary), "{canary} in {}", self.all());
            for file in files(self.dir.path()) {
                if file.ends_with("stderr") || file.ends_with("stdout") {
                    continue;
                }
                let text = fs::read(&file).unwrap_or_default();
                assert!(
                    !contains(&text, canary.as_bytes()),
                    "{canary} in {}",
                    file.display()
                );
            }
        }
    }

    /// Exit code, report, screen and outputs say the same, once.
    fn assert_one_verdict(&self) {
        let all = || self.all();
        let said: usize = ["— deploy blocked", "— deploy may go on", "— dry run:"]
            .map(|words| self.screen().matches(words).count())
            .iter()
            .sum();
        let json = self.screen().trim_start().starts_with('{');
        if let Some(report) = &self.report {
            assert_eq!(report["exit_code"], self.code, "{}", all());
            assert!(json || said == 1, "{said} verdicts: {}", all());
            let verdict = match self.code {
                0 => "passed",
                1 => "failed",
                _ => "error",
            };
            assert_eq!(report["verdict"], verdict, "{}", all());
        } else {
            assert_eq!(said, 0, "{}", all());
            assert_ne!(self.code, 0, "{}", all());
        }
        let passed = self.outputs.get("passed");
        if self.in_actions && passed.is_some_and(|values| values.len() > 1) {
            let values = passed.expect("it is there");
            let dry = self.output("status") == "dry-run";
            let open = self.code == 0 && !dry;
            assert_eq!(values[0], "false", "{}", all());
            assert_eq!(
                values.last().map(String::as_str),
                Some(if open { "true" } else { "false" }),
                "{}",
                all()
            );
            assert_eq!(values.len(), 2, "{}", all());
            assert_eq!(self.outputs["status"].len(), 1, "{}", all());
        } else {
            assert_ne!(self.code == 0, self.in_actions, "{}", all());
        }
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

/// A secret as it is, percent-encoded in the two usual ways, and decoded once too often.
pub(crate) fn forms(secrets: &[String]) -> Vec<String> {
    use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
    let mut forms = Vec::new();
    for secret in secrets {
        forms.push(secret.clone());
        forms.push(utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string());
        forms.push(
            secret
                .replace('%', "%25")
                .replace('@', "%40")
                .replace(':', "%3A")
                .replace('/', "%2F"),
        );
        forms.push(percent_decode_str(secret).decode_utf8_lossy().into_owned());
        forms.push(
            serde_json::to_string(secret)
                .expect("JSON")
                .trim_matches('"')
                .to_owned(),
        );
    }
    forms.sort();
    forms.dedup();
    forms
}

pub(crate) fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
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

/// `name<<delimiter`, the value, `delimiter`: as the runner reads it.
fn outputs(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let (name, delimiter) = line.split_once("<<").expect("a block of an output");
        let value: Vec<&str> = lines
            .by_ref()
            .take_while(|line| *line != delimiter)
            .collect();
        found
            .entry(name.to_owned())
            .or_default()
            .push(value.join("\n"));
    }
    found
}

/// All texts of a JSON value.
fn strings(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(strings).collect::<Vec<_>>().join(" "),
        Value::Object(values) => values.values().map(strings).collect::<Vec<_>>().join(" "),
        Value::Null | Value::Bool(_) | Value::Number(_) => String::new(),
    }
}

/// Text without what a renderer adds: line breaks, marks, escapes.
fn plain(text: &str) -> String {
    let mut text = text.replace("<!-- -->", "");
    for code in 32..127_u8 {
        text = text.replace(&format!("&#{code};"), &char::from(code).to_string());
    }
    for (name, sign) in [("lt", "<"), ("gt", ">"), ("quot", "\""), ("amp", "&")] {
        text = text.replace(&format!("&{name};"), sign);
    }
    let text = text.replace(['\\', '`', '*'], "");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

//! A run that has ended: what it said, and what holds after every run.
#![expect(
    clippy::expect_used,
    reason = "test support stops the test when it cannot go on"
)]

use super::{files, processes};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;

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
    pub(super) marker: String,
    pub(super) name: String,
    pub(super) canaries: Vec<String>,
    pub(super) in_actions: bool,
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

    pub(super) fn assert_always(&self) {
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

/// `name<<delimiter`, the value, `delimiter`: as the runner reads it.
pub(super) fn outputs(text: &str) -> BTreeMap<String, Vec<String>> {
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

//! Counting what `cargo test` prints. Text in, numbers out; nothing is started here.

use std::collections::BTreeMap;

/// The numbers of a run, by area: `unit: store`, `it: gate`, `doc: backup_action`.
#[derive(Default)]
pub(crate) struct Counts {
    areas: BTreeMap<String, Area>,
    failed: Vec<String>,
    /// The area and name of every test whose line said "ok".
    passed: Vec<(String, String)>,
    suite: Option<Suite>,
}

#[derive(Default)]
struct Area {
    passed: u64,
    failed: u64,
    not_run: BTreeMap<String, String>,
}

/// The test binary whose lines are being read.
struct Suite {
    name: String,
    announced: Option<u64>,
    seen: Seen,
    /// A test that printed something of its own before its verdict.
    pending: Option<String>,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Counts {
    /// Takes one line, with or without colour.
    pub(crate) fn line(&mut self, line: &str) {
        let line = without_colour(line);
        let line = line.trim();
        if let Some(name) = suite_name(line) {
            self.end();
            self.suite = Some(Suite {
                name,
                announced: None,
                seen: Seen::default(),
                pending: None,
            });
        } else if let Some(rest) = line.strip_prefix("running ") {
            let announced = rest.split(' ').next().and_then(|n| n.parse().ok());
            if let (Some(suite), Some(n)) = (&mut self.suite, announced) {
                suite.announced = Some(n);
            }
        } else if let Some(rest) = line.strip_prefix("test result: ") {
            self.result(rest);
        } else if let Some((name, verdict)) = line
            .strip_prefix("test ")
            .and_then(|test| test.rsplit_once(" ... "))
        {
            self.test(name, verdict);
        } else if line == "ok" || line == "FAILED" {
            self.late_verdict(line);
        }
    }

    fn test(&mut self, name: &str, verdict: &str) {
        let Some(suite) = &mut self.suite else {
            return;
        };
        let areas = &mut self.areas;
        let key = area(&suite.name, name);
        match verdict.split([',', ' ']).next() {
            Some("ok") => {
                suite.seen.passed += 1;
                self.passed.push((key.clone(), name.to_owned()));
                areas.entry(key).or_default().passed += 1;
            }
            Some("FAILED") => {
                suite.seen.failed += 1;
                areas.entry(key).or_default().failed += 1;
                self.failed.push(format!("{} {name}", suite.name));
            }
            Some("ignored") => {
                suite.seen.ignored += 1;
                areas
                    .entry(key)
                    .or_default()
                    .not_run
                    .insert(name.to_owned(), verdict.to_owned());
            }
            _ => suite.pending = Some(name.to_owned()),
        }
    }

    /// The verdict of a test whose own words broke its line.
    fn late_verdict(&mut self, verdict: &str) {
        let pending = self.suite.as_mut().and_then(|suite| suite.pending.take());
        if let Some(name) = pending {
            self.test(&name, verdict);
        }
    }

    /// The summary of a suite is the truth: tests whose own line could not be read are added.
    fn result(&mut self, summary: &str) {
        let Some(suite) = self.suite.take() else {
            return;
        };
        let number = |word: &str| -> u64 {
            summary
                .split([';', '.'])
                .filter_map(|part| part.trim().strip_suffix(word))
                .find_map(|n| n.trim().parse().ok())
                .unwrap_or(0)
        };
        let unread_passed = number(" passed").saturating_sub(suite.seen.passed);
        let unread_failed = number(" failed").saturating_sub(suite.seen.failed);
        if unread_passed + unread_failed > 0 {
            let area = self
                .areas
                .entry(format!("{}: (other)", suite.name))
                .or_default();
            area.passed += unread_passed;
            area.failed += unread_failed;
        }
    }

    /// Called at the end of the output: a suite without a summary died.
    pub(crate) fn end(&mut self) {
        let Some(suite) = self.suite.take() else {
            return;
        };
        let Some(announced) = suite.announced else {
            return;
        };
        let seen = suite.seen.passed + suite.seen.failed + suite.seen.ignored;
        let area = self
            .areas
            .entry(format!("{}: (died)", suite.name))
            .or_default();
        area.failed += announced.saturating_sub(seen).max(1);
        self.failed
            .push(format!("{} ended before its tests did", suite.name));
    }

    /// Takes the lines `test: needs tool` that tests wrote. Such a test counts as passed for
    /// libtest; here it is neither passed nor failed. Tests may leave their module's name out.
    pub(crate) fn add_not_run(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let (test, why) = line.split_once(": ").unwrap_or((line, "no reason given"));
            let suffix = format!("::{test}");
            let known = self
                .passed
                .iter()
                .position(|(_, name)| name == test || name.ends_with(&suffix));
            let key = match known {
                Some(index) => {
                    let (key, _) = self.passed.swap_remove(index);
                    self.areas.entry(key.clone()).or_default().passed -= 1;
                    key
                }
                None => area("it", test),
            };
            let not_run = &mut self.areas.entry(key).or_default().not_run;
            not_run.insert(test.to_owned(), why.to_owned());
        }
    }

    /// Rows for the table: area, passed, failed, could not run.
    pub(crate) fn rows(&self) -> Vec<Vec<String>> {
        self.areas
            .iter()
            .map(|(name, area)| {
                let mut why: Vec<&str> = area.not_run.values().map(String::as_str).collect();
                why.sort_unstable();
                why.dedup();
                let not_run = match area.not_run.len() {
                    0 => String::new(),
                    n => format!("{n} ({})", why.join("; ")),
                };
                vec![
                    name.clone(),
                    area.passed.to_string(),
                    area.failed.to_string(),
                    not_run,
                ]
            })
            .collect()
    }

    /// A failure that is no test's own, such as code that does not compile.
    pub(crate) fn add_failure(&mut self, what: &str) {
        self.areas.entry("build".to_owned()).or_default().failed += 1;
        self.failed.push(what.to_owned());
    }

    /// The tests that failed, with their suite.
    pub(crate) fn failed(&self) -> &[String] {
        &self.failed
    }

    /// Tests that ran and passed.
    pub(crate) fn total_passed(&self) -> u64 {
        self.areas.values().map(|area| area.passed).sum()
    }

    /// Tests that failed, or died with their suite.
    pub(crate) fn total_failed(&self) -> u64 {
        self.areas.values().map(|area| area.failed).sum()
    }

    /// Tests that could not run, or are ignored.
    pub(crate) fn total_not_run(&self) -> usize {
        self.areas.values().map(|area| area.not_run.len()).sum()
    }
}

/// The suite that a line of cargo announces.
fn suite_name(line: &str) -> Option<String> {
    if let Some(krate) = line.strip_prefix("Doc-tests ") {
        return Some(format!("doc {krate}"));
    }
    let (source, binary) = line.strip_prefix("Running ")?.split_once(" (")?;
    let stem = binary.trim_end_matches(')').rsplit('/').next()?;
    let krate = stem.rsplit_once('-').map_or(stem, |(krate, _)| krate);
    let is_unit = source.starts_with("unittests ");
    Some(match (is_unit, krate) {
        (true, "backup_action") => "unit".to_owned(),
        (true, other) => format!("unit {other}"),
        (false, other) => other.to_owned(),
    })
}

/// The area of a test: its suite and the first part of its name.
fn area(suite: &str, test: &str) -> String {
    if suite.starts_with("doc ") {
        return suite.to_owned();
    }
    let first = test.split("::").next().unwrap_or(test);
    format!("{suite}: {first}")
}

/// The line without terminal escape sequences.
fn without_colour(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\x1b') {
        text += before;
        rest = after
            .find(|c: char| c.is_ascii_alphabetic())
            .map_or("", |end| &after[end + 1..]);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(text: &str) -> Counts {
        let mut counts = Counts::default();
        text.lines().for_each(|line| counts.line(line));
        counts.end();
        counts
    }

    const RUN: &str = "   Compiling backup-action v0.1.0
     Running unittests src/lib.rs (target/debug/deps/backup_action-0123)

running 3 tests
test check::tests::a ... ok
test store::dir::tests::b ... \x1b[31mFAILED\x1b[0m
test store::keys::tests::c ... ok

test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s

     Running ../tests/it/main.rs (target/debug/deps/it-4567)

running 3 tests
test gate::x ... ok
test gate::y ... ignored, slow
test scan::chatty ... words of the test
ok

test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests backup_action

running 1 test
test backup-action/src/secret.rs - secret::Secret (line 7) ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
";

    #[test]
    fn every_suite_and_area_is_counted() {
        let counts = count(RUN);
        assert_eq!((counts.total_passed(), counts.total_failed()), (5, 1));
        assert_eq!(counts.failed(), ["unit store::dir::tests::b"]);
        let rows: Vec<String> = counts.rows().iter().map(|row| row.join(" | ")).collect();
        let expected = [
            "doc backup_action | 1 | 0 | ",
            "it: gate | 1 | 0 | 1 (ignored, slow)",
            "it: scan | 1 | 0 | ",
            "unit: check | 1 | 0 | ",
            "unit: store | 1 | 1 | ",
        ];
        assert_eq!(rows, expected);
    }

    #[test]
    fn a_suite_that_dies_is_a_failure() {
        let cut = RUN.split("test store::dir").next().unwrap();
        let counts = count(cut);
        assert_eq!((counts.total_passed(), counts.total_failed()), (1, 2));
        assert_eq!(counts.failed(), ["unit ended before its tests did"]);
        // Every test said ok, but the binary gave no summary.
        let counts = count(RUN.rsplit_once("test result").unwrap().0);
        assert_eq!((counts.total_passed(), counts.total_failed()), (5, 2));
    }

    #[test]
    fn a_test_without_its_tool_is_not_passed() {
        let mut counts = count(RUN);
        counts.add_not_run("gate::x: needs weed\ngate::x: needs weed\nchatty: needs act\n");
        assert_eq!((counts.total_passed(), counts.total_not_run()), (3, 3));
        counts.add_not_run("gate::unheard_of: needs weed\n");
        assert_eq!((counts.total_passed(), counts.total_not_run()), (3, 4));
    }
}

//! What people are told about a run: the verdict first, then what failed, what to do, and what still
//! protects them. Unescaped text, and no answer of a question to the data; `slack` and `mail` render it.

use super::words::{self, Ending};
use super::{Durations, FORMAT, Report, escape, format};
use crate::check::{Check, CheckId, Outcome, Verdict};
use crate::manifest::CiRun;
use jiff::Timestamp;

/// Problems that are shown; the run's page has them all.
const MAX_PROBLEMS: usize = 6;

/// The longest name of a cluster in a headline.
const MAX_CLUSTER_CHARS: usize = 60;

/// Why somebody is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Occasion {
    /// The run did not pass.
    Failure,
    /// It is the first that passed after others had not.
    Recovery(Trouble),
    /// It passed, with warnings.
    Warning,
    /// It passed.
    Success,
    /// Nothing happened: somebody tries the channels.
    Test,
}

/// The failures that a recovery ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// How many runs in a row did not pass, as far as their receipts tell.
    pub failures: u64,
    /// When the first of them started.
    pub since: Timestamp,
    /// How the last of them ended: `FAILED: dump-exit`.
    pub last: String,
}

/// A message about a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Why it is sent.
    pub occasion: Occasion,
    /// `❌ Backup gate of nostromo-prod failed — deploy blocked`.
    pub headline: String,
    /// What there is to say before any problem: which failures a recovery ends.
    pub lead: Option<String>,
    /// What is not as it should be.
    pub problems: Vec<Problem>,
    /// How many more there are.
    pub more: usize,
    /// What still protects whoever reads this, as sentences.
    pub protection: Vec<String>,
    /// The age of the last good backup, where a run failed.
    pub last_good: Option<String>,
    /// Label and value.
    pub facts: Vec<(&'static str, String)>,
    /// The page of the run.
    pub link: Option<String>,
    /// Who says so.
    pub tool: String,
}

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// The check; none when it was none.
    pub check: Option<&'static str>,
    /// What was seen.
    pub said: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Occasion {
    /// The machine-readable word.
    pub fn word(&self) -> &'static str {
        match self {
            Occasion::Failure => "failure",
            Occasion::Recovery(_) => "recovery",
            Occasion::Warning => "warning",
            Occasion::Success => "success",
            Occasion::Test => "test",
        }
    }
}

impl Alert {
    /// The message about `report`.
    pub fn new(report: &Report, occasion: Occasion) -> Alert {
        let report = &without_answers(report);
        let mut problems = problems(report);
        let more = problems.len().saturating_sub(MAX_PROBLEMS);
        problems.truncate(MAX_PROBLEMS);
        Alert {
            headline: headline(report, &occasion),
            lead: lead(&occasion),
            problems,
            more,
            protection: protection(report, &occasion),
            last_good: last_good(report),
            facts: facts(report),
            link: link(report),
            tool: report.tool.clone(),
            occasion,
        }
    }

    /// The one line that a lock screen shows: the headline, the first problem, and the age of the last
    /// good backup.
    pub fn line(&self) -> String {
        let mut parts = vec![self.headline.clone()];
        parts.extend(self.lead.clone());
        parts.extend(self.problems.first().map(|first| match first.check {
            Some(check) => format!("{check}: {}", first.said),
            None => first.said.clone(),
        }));
        let age = self.last_good.as_ref();
        parts.extend(age.map(|age| format!("Last good backup: {age}")));
        parts.join(". ")
    }
}

/// The report as it may leave the stores: the answers to questions are data. So is what was expected,
/// which is the answer when it came as expected, and the query may hold either.
pub fn without_answers(report: &Report) -> Report {
    let mut report = report.clone();
    let Some(restored) = &mut report.restored else {
        return report;
    };
    let mut wrong = Vec::new();
    for question in &mut restored.questions {
        if question.as_expected != Some(true) {
            wrong.push(question.name.clone());
        }
        for text in [
            &mut question.sql,
            &mut question.expected,
            &mut question.answer,
        ] {
            *text = "not part of messages".to_owned();
        }
    }
    for check in &mut report.checks {
        if check.id == CheckId::Questions && !wrong.is_empty() {
            check.evidence = format!("not as expected: {}", format::names(&wrong));
        }
    }
    report
}

fn headline(report: &Report, occasion: &Occasion) -> String {
    let subject = match report.cluster.as_str() {
        "" => words::subject(report),
        // So that what follows is read on a lock screen.
        cluster => {
            let cluster = escape::shorten(cluster, MAX_CLUSTER_CHARS);
            format!("{} of {cluster}", words::subject(report))
        }
    };
    let (sign, word) = words::predicate(report);
    let consequence = words::consequence(report);
    match occasion {
        Occasion::Recovery(_) => format!("✅ {subject} passes again — {consequence}"),
        Occasion::Warning => format!("⚠️ {subject} passed with warnings — {consequence}"),
        Occasion::Test => "🔔 TEST: alerts of backup-action arrive here".to_owned(),
        Occasion::Failure | Occasion::Success => format!("{sign} {subject} {word} — {consequence}"),
    }
}

fn lead(occasion: &Occasion) -> Option<String> {
    match occasion {
        Occasion::Recovery(trouble) => Some(format!(
            "{} since {}; the last: {}",
            format::counted(trouble.failures, "failed run"),
            format::minute(trouble.since),
            trouble.last
        )),
        Occasion::Failure | Occasion::Warning | Occasion::Success | Occasion::Test => None,
    }
}

fn problems(report: &Report) -> Vec<Problem> {
    let of = |check: &Check| Problem {
        check: Some(check.id.id()),
        said: check.evidence.clone(),
        hint: check.hint.clone(),
    };
    let with = |outcome| words::with(report, outcome).map(of);
    if !has_failed(report) {
        return with(Outcome::Warned).collect();
    }
    let mut found: Vec<Problem> = with(Outcome::Failed).collect();
    if let Some(error) = &report.error {
        found.push(Problem {
            check: None,
            said: error.messages.join(": "),
            hint: error.hint.clone(),
        });
    }
    // What was not reached says nothing; what could not be asked has a hint.
    let unanswered = words::with(report, Outcome::NotChecked).filter(|c| c.hint.is_some());
    found.extend(unanswered.map(of));
    found
}

fn has_failed(report: &Report) -> bool {
    match Ending::of(report) {
        Ending::Passed | Ending::DryRun => false,
        Ending::Failed | Ending::Error | Ending::Interrupted => true,
    }
}

fn last_good(report: &Report) -> Option<String> {
    let good = report.last_good.as_ref().filter(|_| has_failed(report))?;
    Some(format::old(good.age_seconds))
}

fn protection(report: &Report, occasion: &Occasion) -> Vec<String> {
    if !has_failed(report) || *occasion == Occasion::Test {
        return Vec::new();
    }
    let mut lines = Vec::new();
    match &report.last_good {
        Some(good) => lines.push(format!(
            "The last good backup is {}: {} of {}, {}, {} store.",
            format::old(good.age_seconds),
            good.key,
            format::minute(good.finished_at),
            format::bytes(good.archive_bytes),
            good.tier
        )),
        None if words::is_about_backups(report) => {
            lines.push("No earlier verified backup is known.".to_owned());
        }
        None => lines.extend(words::untouched(report).map(str::to_owned)),
    }
    for copy in report.copies.iter().filter(|copy| copy.published) {
        lines.push(format!(
            "The copy of this run in {} was verified and kept.",
            copy.store
        ));
    }
    lines
}

fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("Started", format::minute(report.started_at)),
        ("Took", format::duration(report.durations.total_seconds)),
    ];
    if report.exit_code != 0 {
        facts.push(("Exit code", report.exit_code.to_string()));
    }
    let published = words::copies_published(report) > 0;
    if let Some(archive) = report.archive.as_ref().filter(|_| published) {
        let size = format::bytes(archive.archive_bytes);
        facts.push(("Archive", format!("{}, {size}", archive.key)));
    }
    if let Some(run) = &report.run {
        let commit: String = run.sha.chars().take(10).collect();
        let about = [&run.repository, &run.workflow, &commit, &run.actor];
        let about: Vec<&str> = about
            .into_iter()
            .map(String::as_str)
            .filter(|text| !text.is_empty())
            .collect();
        facts.push(("Run", about.join(" · ")));
    }
    facts
}

/// Only what a browser opens.
fn link(report: &Report) -> Option<String> {
    let url = &report.run.as_ref()?.url;
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic());
    (is_web && is_plain && url.len() < 2_000).then(|| url.clone())
}

/// What `notify --test` sends: a gate that failed, as far as anybody can see, and says TEST.
pub fn sample(now: Timestamp, tool: &str, run: Option<CiRun>) -> Report {
    Report {
        format: FORMAT,
        // Whoever acts on the reports of gates must not act on this one.
        command: "notify".to_owned(),
        tool: tool.to_owned(),
        cluster: "TEST".to_owned(),
        verdict: Verdict::Failed,
        exit_code: 1,
        interrupted_by: None,
        dry_run: false,
        started_at: now,
        finished_at: now,
        checks: vec![Check::failed(
            CheckId::DumpExit,
            "TEST: what was seen would stand here",
            "TEST: what to do would stand here; now there is nothing to do.",
        )],
        source: None,
        archive: None,
        copies: Vec::new(),
        databases: Vec::new(),
        durations: Durations::default(),
        warnings: Vec::new(),
        notes: vec!["TEST: no gate, backup or drill ran".to_owned()],
        error: None,
        last_good: None,
        run,
        restored: None,
        trend: Vec::new(),
        history: None,
        retention: None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn one_line_says_what_matters() {
        let line = |report: &Report, occasion| Alert::new(report, occasion).line();
        let trouble = Trouble {
            failures: 3,
            since: "2026-01-15T02:00:00Z".parse().unwrap(),
            last: "FAILED: dump-exit".to_owned(),
        };
        let lines = [
            line(&samples::failed(), Occasion::Failure),
            line(&samples::error(), Occasion::Failure),
            line(&samples::interrupted(), Occasion::Failure),
            line(&samples::passed(), Occasion::Recovery(trouble)),
            line(&samples::passed(), Occasion::Warning),
            line(&samples::drill_passed(), Occasion::Success),
            line(&samples::drill_failed(), Occasion::Failure),
        ];
        expect_test::expect![[r#"
            ❌ Backup gate of nostromo-prod failed — deploy blocked. dump-exit: pg_dumpall was killed by signal 9 after 312 MB, in tenant_empresa_9.audit_log (database nostromo). Last good backup: 24 h old
            ❌ Backup gate of nostromo-prod could not check — deploy blocked. could not open store s3://acme-backups/postgres: could not connect to s3.example: connection refused
            ❌ Backup gate of nostromo-prod was interrupted by SIGTERM — deploy blocked. Last good backup: 24 h old
            ✅ Backup gate of nostromo-prod passes again — deploy may go on. 3 failed runs since 2026-01-15 02:00 UTC; the last: FAILED: dump-exit. client-patched: pg_dumpall 15.14 lacks the fix for CVE-2026-18408
            ⚠️ Backup gate of nostromo-prod passed with warnings — deploy may go on. client-patched: pg_dumpall 15.14 lacks the fix for CVE-2026-18408
            ✅ Restore drill of nostromo-prod passed — the backup restores, and comes back equal
            ❌ Restore drill of nostromo-prod failed — the backup did not come back as it went in, or not in time. restore-complete: 1 of 1,204 entries could not be restored"#]].assert_eq(&lines.join("\n"));
    }

    #[test]
    fn the_answers_to_questions_stay_here() {
        let mut report = samples::drill_failed();
        let restored = report.restored.as_mut().unwrap();
        let wrong = super::super::restored::Answered {
            name: "payroll of June".to_owned(),
            database: "nostromo".to_owned(),
            sql: "select sum(pay) from payroll where name = 'Dallas'".to_owned(),
            expected: "at least 1".to_owned(),
            answer: "4711.42".to_owned(),
            as_expected: Some(false),
        };
        let right = super::super::restored::Answered {
            name: "payroll of July".to_owned(),
            expected: "8151.23".to_owned(),
            answer: "8151.23".to_owned(),
            as_expected: Some(true),
            ..wrong.clone()
        };
        restored.questions = vec![wrong, right];
        report.checks.push(Check::failed(
            CheckId::Questions,
            "payroll of June: 4711.42 instead of at least 1",
            "Ask production the same.",
        ));
        let told = without_answers(&report);
        let json = super::super::json::render(&told).unwrap();
        for data in ["4711.42", "8151.23", "Dallas"] {
            assert!(!json.contains(data), "{data}: {json}");
        }
        assert!(json.contains("not as expected: payroll of June"));
        let alert = format!("{:?}", Alert::new(&report, Occasion::Failure));
        assert!(!alert.contains("4711.42") && alert.contains("payroll of June"));
    }

    #[test]
    fn only_a_web_address_becomes_a_link() {
        for (url, is_link) in [
            ("https://github.com/a/b/actions/runs/1", true),
            ("javascript:alert(1)", false),
            ("", false),
            ("https://x/\" onclick=\"", false),
            ("https://x/\u{202e}", false),
        ] {
            let mut report = samples::failed();
            report.run.as_mut().unwrap().url = url.to_owned();
            assert_eq!(link(&report).is_some(), is_link, "{url}");
        }
    }
}

//! What a run has found out so far. Lives outside the run's future, so that a signal or a deadline
//! still leaves a report.

use crate::check::{Check, CheckId, Outcome, Verdict};
use crate::history::summary::Summary;
use crate::manifest::{ArchiveSummary, CiRun, ClusterId, DatabaseSummary, Source};
use crate::pipeline::cleanup::Ticket;
use crate::report::restored::{PastDrill, Restored};
use crate::report::retention::Retention;
use crate::report::words::Step;
use crate::report::{self, Copy, Durations, LastGood, Report, ReportedError};
use crate::secret::{Secret, redact};
use jiff::{SignedDuration, Timestamp};
use std::time::{Duration, Instant};

/// The name and version of this program, as manifests and reports give it.
pub(crate) const TOOL: &str = concat!("backup-action ", env!("CARGO_PKG_VERSION"));

/// A report under construction.
pub(crate) struct Journal {
    command: &'static str,
    begun: Instant,
    /// When the run started: the one clock reading that names and ages come from.
    pub(crate) started_at: Timestamp,
    pub(crate) cluster: String,
    /// The checks that have to be answered for a verdict of passed.
    pub(crate) required: Vec<CheckId>,
    pub(crate) checks: Vec<Check>,
    pub(crate) dry_run: bool,
    pub(crate) source: Option<Source>,
    /// How far the database server's clock is ahead of this machine's.
    pub(crate) server_ahead: Option<SignedDuration>,
    pub(crate) archive: Option<ArchiveSummary>,
    pub(crate) copies: Vec<Copy>,
    pub(crate) databases: Vec<DatabaseSummary>,
    pub(crate) durations: Durations,
    pub(crate) warnings: Vec<String>,
    pub(crate) notes: Vec<String>,
    pub(crate) error: Option<ReportedError>,
    pub(crate) last_good: Option<LastGood>,
    pub(crate) restored: Option<Restored>,
    pub(crate) trend: Vec<PastDrill>,
    pub(crate) history: Option<Summary>,
    pub(crate) retention: Option<Retention>,
    pub(crate) interrupted_by: Option<String>,
    pub(crate) receipt_key: Option<String>,
    pub(crate) manifest_key: Option<String>,
    /// The stored receipts, still on the undo list.
    pub(crate) receipts: Vec<Ticket>,
    /// What must not appear in any text of the report.
    pub(crate) secrets: Vec<Secret>,
}

/// A report with the keys that only the Action's outputs give.
pub(crate) struct Finished {
    pub(crate) report: Report,
    pub(crate) receipt_key: Option<String>,
    pub(crate) manifest_key: Option<String>,
}

impl Journal {
    pub(crate) fn new(command: &'static str) -> Journal {
        Journal {
            command,
            begun: Instant::now(),
            started_at: Timestamp::now(),
            cluster: String::new(),
            required: Vec::new(),
            checks: Vec::new(),
            dry_run: false,
            source: None,
            server_ahead: None,
            archive: None,
            copies: Vec::new(),
            databases: Vec::new(),
            durations: Durations::default(),
            warnings: Vec::new(),
            notes: Vec::new(),
            error: None,
            last_good: None,
            restored: None,
            trend: Vec::new(),
            history: None,
            retention: None,
            interrupted_by: None,
            receipt_key: None,
            manifest_key: None,
            receipts: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// The run starts now: it waited for another one, whose time was not its own.
    pub(crate) fn begin_again(&mut self) {
        self.begun = Instant::now();
        self.started_at = Timestamp::now();
    }

    /// The cluster in question; by its name alone before the server has answered.
    pub(crate) fn cluster_id(&self) -> ClusterId {
        match &self.source {
            Some(source) => source.id(),
            None => ClusterId {
                name: self.cluster.clone(),
                system_identifier: None,
            },
        }
    }

    /// Seconds since the run began, by a clock that nobody sets.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Records an answer.
    pub(crate) fn check(&mut self, check: Check) {
        self.checks.push(check);
    }

    /// What follows from the answers so far.
    pub(crate) fn verdict(&self) -> Verdict {
        Verdict::of(&self.checks, &self.required)
    }

    /// Whether an answer so far closes the gate.
    pub(crate) fn is_closed(&self) -> bool {
        Journal::closes(&self.checks)
    }

    /// Whether one of these answers closes the gate.
    pub(crate) fn closes(checks: &[Check]) -> bool {
        checks.iter().any(|check| match check.outcome {
            Outcome::Failed | Outcome::NotChecked => true,
            Outcome::Passed | Outcome::Warned => false,
        })
    }

    /// Records how long a step took.
    pub(crate) fn took(&mut self, step: Step, since: Instant) {
        let seconds = Some(since.elapsed().as_secs_f64());
        match step {
            Step::Preflight => self.durations.preflight_seconds = seconds,
            Step::Dump => self.durations.dump_seconds = seconds,
            Step::Seal => self.durations.seal_seconds = seconds,
            Step::ReadBack => self.durations.readback_seconds = seconds,
            Step::Publish => self.durations.publish_seconds = seconds,
            Step::Restore => self.durations.restore_seconds = seconds,
            Step::Prove => self.durations.prove_seconds = seconds,
            // Nobody waits for them.
            Step::Retention | Step::Receipt => {}
        }
    }

    /// The report as it stands: checks that were not reached are said to be so.
    pub(crate) fn report(&self, exit_code: u8, run: Option<CiRun>) -> Report {
        let now = Timestamp::now();
        let mut checks = self.checks.clone();
        for id in &self.required {
            if !checks.iter().any(|check| check.id == *id) {
                checks.push(Check::not_checked(*id, "not reached", None));
            }
        }
        let verdict = match exit_code {
            0 => Verdict::Passed,
            1 => Verdict::Failed,
            _ => Verdict::Error,
        };
        let mut durations = self.durations.clone();
        durations.total_seconds = self.begun.elapsed().as_secs_f64();
        let mut last_good = self.last_good.clone();
        if let Some(last) = &mut last_good {
            last.age_seconds = now.duration_since(last.finished_at).as_secs();
        }
        let report = Report {
            format: report::FORMAT,
            command: self.command.to_owned(),
            tool: TOOL.to_owned(),
            cluster: self.cluster.clone(),
            verdict,
            exit_code,
            interrupted_by: self.interrupted_by.clone(),
            dry_run: self.dry_run,
            started_at: self.started_at,
            finished_at: now,
            checks,
            source: self.source.clone(),
            archive: self.archive.clone(),
            copies: self.copies.clone(),
            databases: self.databases.clone(),
            durations,
            warnings: self.warnings.clone(),
            notes: self.notes.clone(),
            error: self.error.clone(),
            last_good,
            run,
            restored: self.restored.clone(),
            trend: self.trend.clone(),
            history: self.history.clone(),
            retention: self.retention.clone(),
        };
        redacted(report, &self.secrets)
    }

    /// Ends the journal.
    pub(crate) fn into_report(self, exit_code: u8, run: Option<CiRun>) -> Finished {
        Finished {
            report: self.report(exit_code, run),
            receipt_key: self.receipt_key,
            manifest_key: self.manifest_key,
        }
    }
}

/// Takes the secrets out of the texts that came from outside: libpq echoes parts of a password in
/// its errors. Everything else in a report is ours.
fn redacted(mut report: Report, secrets: &[Secret]) -> Report {
    let clean = |text: &mut String| *text = redact(text, secrets);
    for check in &mut report.checks {
        clean(&mut check.evidence);
        check.hint.iter_mut().for_each(clean);
    }
    for copy in &mut report.copies {
        clean(&mut copy.detail);
    }
    report.warnings.iter_mut().for_each(clean);
    report.notes.iter_mut().for_each(clean);
    if let Some(restored) = &mut report.restored {
        restored.texts_mut().for_each(clean);
    }
    if let Some(retention) = &mut report.retention {
        retention.texts_mut().for_each(clean);
    }
    if let Some(error) = &mut report.error {
        error.messages.iter_mut().for_each(clean);
        error.hint.iter_mut().for_each(clean);
    }
    report
}

//! A step of a run in one line: its answers, what it did, how long it took and how fast. Unescaped
//! text; escaping is the renderer's.

use super::words::{Step, owes_backup};
use super::{Report, format, restored_words};
use crate::check::{Check, CheckId, Outcome};

/// What became of one step.
pub struct StepSummary {
    /// The worst answer among its checks.
    pub outcome: Outcome,
    /// What was done, or the evidence of the check that decided. May hold text from the database.
    pub said: String,
    /// How long it took.
    pub seconds: Option<f64>,
    /// How fast, for the steps where that says something.
    pub rate: Option<String>,
}

/// Sums a step up; none when no check of it was asked. Works on a report that is still growing, so
/// that a command can print each line as the step ends.
pub fn step(report: &Report, step: Step) -> Option<StepSummary> {
    let checks: Vec<_> = report
        .checks
        .iter()
        .filter(|check| step.asks(check.id))
        .collect();
    let worst = *checks.iter().max_by_key(|check| rank(check.outcome))?;
    let first_worst = checks
        .iter()
        .find(|check| check.outcome == worst.outcome)
        .copied()
        .unwrap_or(worst);
    let seconds = step.seconds(report);
    let said = match worst.outcome {
        Outcome::Failed | Outcome::NotChecked => first_worst.evidence.clone(),
        Outcome::Passed | Outcome::Warned => done(report, step, &checks),
    };
    let rate = match (step, &report.archive, seconds) {
        (Step::Dump, Some(archive), Some(seconds)) => format::rate(archive.dump_bytes, seconds),
        (Step::Restore, _, Some(seconds)) => report
            .restored
            .as_ref()
            .and_then(|restored| format::rate(restored.dump_bytes, seconds)),
        _ => None,
    };
    Some(StepSummary {
        outcome: worst.outcome,
        said,
        seconds,
        rate,
    })
}

fn done(report: &Report, step: Step, checks: &[&Check]) -> String {
    let warned = checks
        .iter()
        .filter(|check| check.outcome == Outcome::Warned)
        .count() as u64;
    let warnings = match warned {
        0 => String::new(),
        n => format!(", {}", format::counted(n, "warning")),
    };
    let figures = match (step, &report.archive) {
        (Step::Dump, Some(archive)) => {
            let tables: u64 = report.databases.iter().map(|d| d.tables).sum();
            Some(format!(
                "{}, {} in {}",
                format::bytes(archive.dump_bytes),
                format::counted(archive.rows, "row"),
                format::counted(tables, "table")
            ))
        }
        (Step::Seal, Some(archive)) => Some(format!(
            "{}, {} smaller, {}",
            format::bytes(archive.archive_bytes),
            format::ratio(archive.ratio()),
            format::counted(archive.members, "gzip member")
        )),
        (Step::ReadBack, _) => checks
            .iter()
            .find(|check| check.id == CheckId::StoredReadback)
            .map(|check| check.evidence.clone()),
        (Step::Publish, Some(archive)) if owes_backup(report) => Some(archive.key.clone()),
        // What a drill publishes is its receipt.
        (Step::Publish, _) => checks.first().map(|check| check.evidence.clone()),
        (Step::Retention, _) => report
            .retention
            .as_ref()
            .map(|retention| retention.evidence(report.dry_run))
            .or_else(|| checks.first().map(|check| check.evidence.clone())),
        (Step::Restore, _) => report.restored.as_ref().map(|restored| {
            let target = restored_words::target(restored);
            format!("{} into {target}", format::bytes(restored.dump_bytes))
        }),
        (Step::Prove, _) => report
            .restored
            .as_ref()
            .and_then(|restored| restored.proof.as_ref())
            .map(|proof| proof.evidence()),
        (Step::Preflight | Step::Dump | Step::Seal | Step::Receipt, _) => None,
    };
    let figures = figures.unwrap_or_else(|| format::counted(checks.len() as u64, "check"));
    format!("{figures}{warnings}")
}

fn rank(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Passed => 0,
        Outcome::Warned => 1,
        Outcome::NotChecked => 2,
        Outcome::Failed => 3,
    }
}

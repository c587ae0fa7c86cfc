//! The sentences that every renderer says the same way: the headline of a verdict, what a step did,
//! which checks matter most. Unescaped text; escaping is the renderer's.

use super::{Report, format};
use crate::check::{Check, CheckId, Group, Outcome, Verdict};

/// How a run ended, from best to worst. Unlike [`Verdict`] it tells an interrupted run and a run
/// that wrote nothing from the others, and believes a pass only when everything else agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Passed, and the deploy may go on.
    Passed,
    /// Everything that `--dry-run` asks passed; there is no backup, the gate stays closed.
    DryRun,
    /// A check was answered no.
    Failed,
    /// Something could not be checked.
    Error,
    /// A signal ended the run.
    Interrupted,
}

impl Ending {
    /// How `report` ended.
    pub fn of(report: &Report) -> Ending {
        if report.interrupted_by.is_some() {
            return Ending::Interrupted;
        }
        // What makes a backup cannot pass without one.
        let owes_copy = owes_backup(report) && !report.dry_run;
        if owes_copy && report.verdict == Verdict::Passed && copies_published(report) == 0 {
            return Ending::Error;
        }
        match (report.verdict, report.exit_code, report.dry_run) {
            (Verdict::Passed, 0, false) => Ending::Passed,
            (Verdict::Passed, 0, true) => Ending::DryRun,
            (Verdict::Failed, _, _) => Ending::Failed,
            // A pass with an exit code that blocks is no pass.
            (Verdict::Passed | Verdict::Error, _, _) => Ending::Error,
        }
    }

    /// The machine-readable word: the output `status`.
    pub fn word(self) -> &'static str {
        match self {
            Ending::Passed => "passed",
            Ending::DryRun => "dry-run",
            Ending::Failed => "failed",
            Ending::Error => "error",
            Ending::Interrupted => "interrupted",
        }
    }
}

/// What the verdict means for the person who waits: `deploy may go on`.
pub fn consequence(report: &Report) -> &'static str {
    let ending = Ending::of(report);
    match (report.command.as_str(), ending) {
        ("gate", Ending::Passed) => "deploy may go on",
        ("gate", Ending::DryRun) => "dry run: nothing was written, the gate stays closed",
        ("gate", Ending::Failed | Ending::Error | Ending::Interrupted) => "deploy blocked",
        ("backup", Ending::Passed) => "the backup is stored and verified",
        ("verify", Ending::Passed) => "the stored backup is whole",
        ("verify", Ending::Failed) => "the stored backup is damaged",
        ("verify-receipt", Ending::Passed) => "deploy may go on",
        ("verify-receipt", _) => "deploy blocked",
        ("drill", Ending::Passed) if is_schema_only(report) => {
            "no row was restored: this does not count as a drill"
        }
        ("drill", Ending::Passed) => match &report.restored {
            None => "nothing was restored: a drill passed recently enough",
            Some(restored) if restored.accepted() > 0 => {
                "the backup comes back equal, but for acknowledged defects"
            }
            Some(_) => "the backup restores, and comes back equal",
        },
        ("drill", Ending::Failed) => "the backup did not come back as it went in, or not in time",
        ("drill", Ending::Error | Ending::Interrupted) => "nothing was proved",
        ("prune", Ending::Passed) if with(report, Outcome::Warned).next().is_none() => {
            "what is too old is gone"
        }
        ("prune", Ending::Passed) => "not everything that is too old is gone",
        ("prune", Ending::DryRun) => "dry run: nothing was deleted",
        ("prune", Ending::Failed) => "not everything that is too old is gone",
        ("prune", Ending::Error | Ending::Interrupted) => "the rest stays until the next run",
        ("restore", Ending::Passed) => "restored",
        ("restore", Ending::Failed) => "not everything was restored",
        ("restore", Ending::Error | Ending::Interrupted) => "the restore did not come to its end",
        (_, Ending::Passed) => "done",
        (_, Ending::DryRun) => "dry run: nothing was written",
        (_, Ending::Failed) if copies_published(report) == 0 => "there is no new backup",
        (_, Ending::Failed) => "not everything that was asked for is there",
        (_, Ending::Error | Ending::Interrupted) => "the answer is not known",
    }
}

/// What a run is of, as the subject of a sentence: `Backup gate`.
pub fn subject(report: &Report) -> String {
    match report.command.as_str() {
        "gate" => "Backup gate",
        "backup" => "Backup",
        "verify" => "Verification",
        "restore" => "Restore",
        "drill" if is_schema_only(report) => "SCHEMA ONLY restore drill",
        "drill" => "Restore drill",
        "prune" => "Retention",
        "verify-receipt" => "Receipt check",
        other => return format!("Command {other}"),
    }
    .to_owned()
}

/// How it ended, as the sign and the rest of that sentence: `❌`, `could not check`.
pub fn predicate(report: &Report) -> (&'static str, String) {
    let (sign, word) = match Ending::of(report) {
        Ending::Passed => ("✅", "passed"),
        Ending::DryRun => ("☑️", "passed as a dry run"),
        Ending::Failed => ("❌", "failed"),
        Ending::Error if report.exit_code == 2 => ("❌", "cannot start"),
        Ending::Error => ("❌", "could not check"),
        Ending::Interrupted => {
            let signal = report.interrupted_by.as_deref().unwrap_or("a signal");
            return ("❌", format!("was interrupted by {signal}"));
        }
    };
    (sign, word.to_owned())
}

/// Whether the command makes a backup.
pub(super) fn owes_backup(report: &Report) -> bool {
    matches!(report.command.as_str(), "gate" | "backup")
}

/// Whether a failure of the command raises the question which backup is left.
pub fn is_about_backups(report: &Report) -> bool {
    !matches!(
        report.command.as_str(),
        "drill" | "restore" | "verify-receipt" | "prune"
    )
}

/// What a command that failed has left as it was.
pub fn untouched(report: &Report) -> Option<&'static str> {
    match report.command.as_str() {
        "drill" => Some(
            "A drill only reads: the stored backup and the production server are as they were.",
        ),
        "prune" => {
            Some("The newest backups of each tier: they are never deleted, whatever their age.")
        }
        "verify-receipt" => Some("The deploy has not begun, and nothing was changed."),
        _ => None,
    }
}

/// Whether this is a drill without rows.
pub fn is_schema_only(report: &Report) -> bool {
    report
        .restored
        .as_ref()
        .is_some_and(|restored| restored.schema_only)
}

/// The verdict in one line: `FAILED: dump-exit, dump-complete`.
pub fn headline(report: &Report) -> String {
    let total = format::duration(report.durations.total_seconds);
    match Ending::of(report) {
        Ending::Passed if is_schema_only(report) => format!("SCHEMA ONLY: PASSED in {total}"),
        Ending::Passed | Ending::DryRun => format!("PASSED in {total}"),
        Ending::Failed => {
            let names = ids(report, Outcome::Failed);
            if names.is_empty() {
                format!("FAILED after {total}")
            } else {
                format!("FAILED: {}", names.join(", "))
            }
        }
        Ending::Error if report.exit_code == 2 => "CANNOT START".to_owned(),
        Ending::Error => format!("COULD NOT CHECK, gave up after {total}"),
        Ending::Interrupted => format!(
            "INTERRUPTED by {} after {total}",
            report.interrupted_by.as_deref().unwrap_or("a signal")
        ),
    }
}

/// The identifiers of the checks with `outcome`, in order.
pub fn ids(report: &Report, outcome: Outcome) -> Vec<&'static str> {
    with(report, outcome).map(|check| check.id.id()).collect()
}

/// The checks with `outcome`, in order.
pub fn with(report: &Report, outcome: Outcome) -> impl Iterator<Item = &Check> {
    report
        .checks
        .iter()
        .filter(move |check| check.outcome == outcome)
}

/// How many stores hold a published copy.
pub fn copies_published(report: &Report) -> usize {
    report.copies.iter().filter(|copy| copy.published).count()
}

/// `2 databases, 4 schemas, 74 tables, 4,880,024 rows`.
pub fn contents(report: &Report) -> String {
    let schemas: usize = report.databases.iter().map(|d| d.schemas.len()).sum();
    let tables: u64 = report.databases.iter().map(|d| d.tables).sum();
    let rows = report.archive.as_ref().map_or_else(
        || report.databases.iter().map(|d| d.rows).sum(),
        |archive| archive.rows,
    );
    [
        format::counted(report.databases.len() as u64, "database"),
        format::counted(schemas as u64, "schema"),
        format::counted(tables, "table"),
        format::counted(rows, "row"),
    ]
    .join(", ")
}

/// The steps of a gate as people see them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Checks before the dump.
    Preflight,
    /// pg_dumpall, scanned, compressed and stored on the way.
    Dump,
    /// The upload completed, the file renamed.
    Seal,
    /// The stored bytes read back.
    ReadBack,
    /// Index, manifest, receipt.
    Publish,
    /// Old backups deleted, each month's first archived.
    Retention,
    /// The archive replayed into a server.
    Restore,
    /// What came back compared with what went in.
    Prove,
    /// A receipt checked.
    Receipt,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Step; 9] = [
        Step::Preflight,
        Step::Dump,
        Step::Seal,
        Step::ReadBack,
        Step::Publish,
        Step::Retention,
        Step::Restore,
        Step::Prove,
        Step::Receipt,
    ];

    /// The name shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Step::Preflight => "preflight",
            Step::Dump => "dump",
            Step::Seal => "seal",
            Step::ReadBack => "read back",
            Step::Publish => "publish",
            Step::Retention => "retention",
            Step::Restore => "restore",
            Step::Prove => "prove",
            Step::Receipt => "receipt",
        }
    }

    pub(super) fn asks(self, id: CheckId) -> bool {
        let step = match id.group() {
            Group::Preflight => Step::Preflight,
            Group::Dump => Step::Dump,
            // Both decide whether the archive may be sealed.
            Group::Gzip | Group::Size => Step::Seal,
            Group::Stored => Step::ReadBack,
            // The retention has a line of its own.
            Group::Record if id == CheckId::RetentionApplied => Step::Retention,
            Group::Record => Step::Publish,
            Group::Restore => Step::Restore,
            Group::Proof => Step::Prove,
            Group::Receipt => Step::Receipt,
        };
        self == step
    }

    /// How long it took, where it was reached.
    pub fn seconds(self, report: &Report) -> Option<f64> {
        let durations = &report.durations;
        match self {
            Step::Preflight => durations.preflight_seconds,
            Step::Dump => durations.dump_seconds,
            Step::Seal => durations.seal_seconds,
            Step::ReadBack => durations.readback_seconds,
            Step::Publish => durations.publish_seconds,
            Step::Restore => durations.restore_seconds,
            Step::Prove => durations.prove_seconds,
            Step::Retention | Step::Receipt => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn only_a_whole_pass_opens_the_gate() {
        let passed = samples::passed();
        assert_eq!(consequence(&passed), "deploy may go on");
        let doubtful = [
            Report {
                dry_run: true,
                ..passed.clone()
            },
            Report {
                exit_code: 3,
                ..passed.clone()
            },
            Report {
                copies: samples::failed().copies,
                ..passed.clone()
            },
            Report {
                interrupted_by: Some("SIGINT".to_owned()),
                ..passed
            },
            samples::failed(),
            samples::error(),
            samples::interrupted(),
        ];
        for report in doubtful {
            assert_ne!(Ending::of(&report), Ending::Passed);
            assert!(!consequence(&report).contains("may go on"));
        }
    }
}

//! The lines that a person looks for in the journal of a server or the mail of cron: when a backup
//! or a drill began, and how it ended. One line each, without colours.

use super::words::{self, Ending};
use super::{Report, escape};
use crate::check::Outcome;
use jiff::Timestamp;

/// What a command does, in a word; none of those that only look.
fn noun(command: &str, dry_run: bool) -> Option<&'static str> {
    match (command, dry_run) {
        ("gate", true) => Some("dry run"),
        ("gate", false) => Some("backup"),
        ("drill", _) => Some("drill"),
        ("restore", _) => Some("restore"),
        _ => None,
    }
}

/// `Starting backup at 2026-01-18 02:00:01 UTC`, with its newline.
pub fn begun(command: &str, dry_run: bool, now: Timestamp) -> Option<String> {
    let noun = noun(command, dry_run)?;
    Some(format!("Starting {noun} at {}\n", utc(now)))
}

/// `Backup completed at …` or `Backup FAILED at …: why`, with its newline.
pub fn ended(report: &Report) -> Option<String> {
    let noun = noun(&report.command, report.dry_run)?;
    let mut noun = noun.to_owned();
    noun[..1].make_ascii_uppercase();
    let at = utc(report.finished_at);
    let line = match Ending::of(report) {
        Ending::Passed | Ending::DryRun => match &report.archive {
            Some(archive) if report.command == "gate" => {
                format!("{noun} completed at {at}: {}", archive.key)
            }
            _ => format!("{noun} completed at {at}"),
        },
        Ending::Failed | Ending::Error | Ending::Interrupted => {
            format!("{noun} FAILED at {at}: {}", why(report))
        }
    };
    Some(format!("{}\n", escape::terminal(&line)))
}

/// The first reason, on one line.
fn why(report: &Report) -> String {
    if let Some(signal) = &report.interrupted_by {
        return format!("interrupted by {signal}");
    }
    let failed = report
        .checks
        .iter()
        .find(|check| check.outcome == Outcome::Failed);
    match (failed, &report.error) {
        (Some(check), _) => format!("{}: {}", check.id.id(), check.evidence),
        (None, Some(error)) => error.messages.join(": "),
        (None, None) => unanswered(report).unwrap_or_else(|| words::headline(report)),
    }
}

/// The first question that got no answer for a reason of its own.
fn unanswered(report: &Report) -> Option<String> {
    report
        .checks
        .iter()
        .find(|check| check.outcome == Outcome::NotChecked && check.hint.is_some())
        .map(|check| format!("{}: {}", check.id.id(), check.evidence))
}

fn utc(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;
    use expect_test::expect;

    #[test]
    fn a_run_has_a_line_at_each_end() {
        let now = "2026-01-18T02:00:01.5Z".parse().unwrap();
        assert_eq!(
            begun("gate", false, now).unwrap(),
            "Starting backup at 2026-01-18 02:00:01 UTC\n"
        );
        assert_eq!(
            begun("gate", true, now).unwrap(),
            "Starting dry run at 2026-01-18 02:00:01 UTC\n"
        );
        assert_eq!(begun("verify", false, now), None);
        let all: String = [
            samples::passed(),
            samples::failed(),
            samples::error(),
            samples::interrupted(),
            samples::drill_passed(),
            samples::receipt_refused(),
        ]
        .iter()
        .filter_map(ended)
        .collect();
        expect![[r#"
            Backup completed at 2026-01-18 02:00:11 UTC: 2026-01/backup_2026-01-18_02-00-01Z.sql.gz
            Backup FAILED at 2026-01-18 02:00:11 UTC: dump-exit: pg_dumpall was killed by signal 9 after 312 MB, in tenant_empresa_9.audit_log (database nostromo)
            Backup FAILED at 2026-01-18 02:00:11 UTC: could not open store s3://acme-backups/postgres: could not connect to s3.example: connection refused
            Backup FAILED at 2026-01-18 02:00:11 UTC: interrupted by SIGTERM
            Drill completed at 2026-01-18 02:00:11 UTC
        "#]].assert_eq(&all);
        // One line, whatever a server says.
        let mut hostile = samples::failed();
        for check in &mut hostile.checks {
            check.evidence = "a\n::error::b\u{1b}[31m".to_owned();
        }
        assert_eq!(ended(&hostile).unwrap().lines().count(), 1);
        assert!(!ended(&hostile).unwrap().contains('\u{1b}'));
    }
}

//! From what a drill saw to the answers of its checks.

use super::questions;
use crate::archive::index::Index;
use crate::archive::object::Objects;
use crate::check::{Check, CheckId};
use crate::command::journal::Journal;
use crate::command::proving;
use crate::config::Config;
use crate::pipeline::inspect::Inspected;
use crate::postgres::throwaway::{Engine, Throwaway};
use crate::proof::Proof;
use crate::report::format;
use crate::report::restored::{Answered, Failed, Restored, Target};
use crate::restore::Loaded;

/// Where the drill restores.
pub(super) fn target(cluster: &Throwaway, image: Option<&str>) -> Target {
    Target {
        engine: match cluster.engine {
            Engine::Docker => "docker",
            Engine::Local => "local",
        }
        .to_owned(),
        image: match cluster.engine {
            Engine::Docker => Some(
                image
                    .map(str::to_owned)
                    .unwrap_or_else(|| format!("postgres:{}", cluster.tools.version.major)),
            ),
            Engine::Local => None,
        },
        version: Some(cluster.version.clone()),
        place: Some(cluster.describe.clone()),
    }
}

/// Everything that follows from the restore and the proof. A defect that is known stays in the
/// report and is no reason to fail.
pub(super) fn restored(
    config: &Config,
    journal: &mut Journal,
    loaded: &Loaded,
    proof: Proof,
    seen: &Inspected,
    archived: &Index,
) {
    let today = jiff::tz::Offset::UTC.to_datetime(journal.started_at).date();
    let mut report = journal.restored.take().unwrap_or_default();
    fill(&mut report, loaded, proof, archived);
    let notes = report.acknowledge(&config.drill.acknowledged, today);
    journal.notes.extend(notes);
    journal.check(complete(&report, loaded));
    if let Some(limit) = report.max_restore_seconds {
        journal.check(restore_time(journal.durations.restore_seconds, limit));
    }
    journal.check(round_trip(&report));
    journal.check(not_empty(config, &seen.index));
    journal.restored = Some(report);
}

fn fill(report: &mut Restored, loaded: &Loaded, proof: Proof, archived: &Index) {
    let objects = Objects::of(archived);
    proving::replayed(report, loaded);
    report.failures = loaded
        .failures
        .iter()
        .map(|failure| Failed {
            object: objects.name(failure.entry),
            message: failure.message.clone(),
            acknowledged: None,
        })
        .collect();
    report.counts = proof.restored;
    report.proof = Some(proof.into());
}

fn complete(report: &Restored, loaded: &Loaded) -> Check {
    let left: Vec<String> = report
        .failures_left()
        .map(|failed| format!("{}: {}", failed.object, failed.message))
        .collect();
    let known = report.failures.len() - left.len();
    if left.is_empty() {
        let known = match known {
            0 => String::new(),
            n => format!(", {n} known to fail"),
        };
        return Check::passed(
            CheckId::RestoreComplete,
            format!(
                "{} replayed, {} in {}{known}",
                format::bytes(loaded.dump_bytes),
                format::counted(loaded.rows, "row"),
                format::counted(loaded.tables as u64, "table"),
            ),
        );
    }
    Check::failed(
        CheckId::RestoreComplete,
        format!("{} not restored: {}", left.len(), format::names(&left)),
        "A restore of this backup ends the same way: repair the object in production, or acknowledge it by name in [[drill.acknowledge]] with a reason.",
    )
}

fn restore_time(seconds: Option<f64>, limit: f64) -> Check {
    let limit_text = format::duration(limit);
    match seconds {
        Some(seconds) if seconds <= limit => Check::passed(
            CheckId::RestoreTime,
            format!("{} of {limit_text}", format::duration(seconds)),
        ),
        Some(seconds) => Check::failed(
            CheckId::RestoreTime,
            format!("{} instead of {limit_text}", format::duration(seconds)),
            "Raise --jobs, use a faster machine, or agree on another restore time objective.",
        ),
        None => Check::not_checked(CheckId::RestoreTime, "the restore was not timed", None),
    }
}

fn round_trip(report: &Restored) -> Check {
    let Some(proof) = &report.proof else {
        return Check::not_checked(CheckId::RoundTrip, "not compared", None);
    };
    let counts = &proof.archived;
    let said = format!(
        "{}, {}, {}, {}",
        format::counted(counts.databases, "database"),
        format::counted(counts.schemas, "schema"),
        format::counted(counts.entries, "object"),
        format::counted(counts.rows, "row"),
    );
    let mut aside = Vec::new();
    if !proof.harmless.is_empty() {
        aside.push(format!("{} harmless", proof.harmless.len()));
    }
    if !proof.acknowledged.is_empty() {
        aside.push(format!("{} acknowledged", proof.acknowledged.len()));
    }
    let aside = match aside.is_empty() {
        true => String::new(),
        false => format!(", differences: {}", aside.join(", ")),
    };
    if proof.differences.is_empty() {
        return Check::passed(CheckId::RoundTrip, format!("equal: {said}{aside}"));
    }
    let names: Vec<String> = proof
        .differences
        .iter()
        .map(|difference| format!("{} ({})", difference.object, difference.detail))
        .collect();
    Check::failed(
        CheckId::RoundTrip,
        format!(
            "{} different: {}{aside}",
            names.len(),
            format::names(&names)
        ),
        "What comes back is not what production had; the report lists every object. Find out what changes it, or acknowledge it by name in [[drill.acknowledge]].",
    )
}

/// A drill of nothing proves nothing.
fn not_empty(config: &Config, restored: &Index) -> Check {
    let tables = restored
        .entries
        .iter()
        .filter(|entry| matches!(&*entry.kind, "TABLE" | "FOREIGN TABLE"))
        .count() as u64;
    let rows = restored.rows();
    let evidence = format!(
        "{}, {}",
        format::counted(tables, "table"),
        format::counted(rows, "row")
    );
    let enough = tables > 0 && (rows > 0 || config.drill.schema_only);
    if enough {
        return Check::passed(CheckId::DrillNotEmpty, evidence);
    }
    if config.drill.allow_empty {
        return Check::warned(
            CheckId::DrillNotEmpty,
            evidence,
            "The configuration allows an empty cluster (allow-empty).",
        );
    }
    Check::no(
        CheckId::DrillNotEmpty,
        config.severities.of(CheckId::DrillNotEmpty),
        evidence,
        "A drill of nothing proves nothing: is this the right cluster? A cluster that has to be empty needs --allow-empty.",
    )
}

/// Asks the questions of the configuration.
pub(super) async fn questions(config: &Config, journal: &mut Journal, cluster: &Throwaway) {
    let mut wrong = Vec::new();
    let mut answered = Vec::new();
    for question in &config.drill.questions {
        let answer = questions::ask(&cluster.psql, question).await;
        let expected = questions::expectation(&question.expected);
        if !answer.right {
            wrong.push(format!(
                "{}: {} instead of {expected}",
                question.name, answer.said
            ));
        }
        answered.push(Answered {
            name: question.name.clone(),
            database: question.database.clone(),
            sql: question.sql.clone(),
            expected,
            answer: answer.said,
            as_expected: Some(answer.right),
        });
    }
    if answered.is_empty() {
        return;
    }
    journal.check(if wrong.is_empty() {
        Check::passed(
            CheckId::Questions,
            format!(
                "{} as expected",
                format::counted(answered.len() as u64, "answer")
            ),
        )
    } else {
        Check::failed(
            CheckId::Questions,
            format::names(&wrong),
            "Ask production the same: either the backup or the expectation is out of date.",
        )
    });
    if let Some(report) = &mut journal.restored {
        report.questions = answered;
    }
}

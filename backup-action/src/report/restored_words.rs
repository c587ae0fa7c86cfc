//! What a restore or drill did, in lines of unescaped text that every renderer says the same way.

use super::Report;
use super::format;
use super::restored::{Answered, PastDrill, ProofSummary, Reason, Restored};
use crate::proof::{Counts, Difference, DifferenceKind};
use std::collections::BTreeMap;

/// Names that one line of evidence holds.
const MAX_NAMES: usize = 3;

/// Cells of the longest bar of the trend.
const BAR: f64 = 24.0;

impl ProofSummary {
    /// The evidence of the check `round-trip`: what is equal, or what is not, by name.
    pub fn evidence(&self) -> String {
        if self.differences.is_empty() {
            let harmless = match self.harmless.len() as u64 {
                0 => String::new(),
                n => format!("; {}", format::counted(n, "harmless difference")),
            };
            let acknowledged = match self.acknowledged.len() {
                0 => String::new(),
                n => format!("; {n} acknowledged"),
            };
            return format!("equal: {}{harmless}{acknowledged}", counts(&self.restored));
        }
        let mut names: Vec<String> = self
            .differences
            .iter()
            .take(MAX_NAMES)
            .map(|difference| format!("{} {}", kind(difference.kind), difference.object))
            .collect();
        if self.differences.len() > MAX_NAMES {
            names.push(format!("and {} more", self.differences.len() - MAX_NAMES));
        }
        let count = format::counted(self.differences.len() as u64, "difference");
        format!("{count}: {}", names.join(", "))
    }
}

/// `3 databases, 27 schemas, 1,204 entries, 4,880,024 rows in 74 tables`.
pub fn counts(counts: &Counts) -> String {
    let entries = match counts.entries {
        1 => "1 entry".to_owned(),
        n => format!("{} entries", format::count(n)),
    };
    format!(
        "{}, {}, {entries}, {} in {}",
        format::counted(counts.databases, "database"),
        format::counted(counts.schemas, "schema"),
        format::counted(counts.rows, "row"),
        format::counted(counts.tables, "table")
    )
}

/// The word for a kind of difference.
pub fn kind(kind: DifferenceKind) -> &'static str {
    match kind {
        DifferenceKind::Missing => "missing",
        DifferenceKind::Added => "added",
        DifferenceKind::Statement => "changed",
        DifferenceKind::Owner => "other owner",
        DifferenceKind::Rows => "other number of rows",
        DifferenceKind::Data => "other rows",
        DifferenceKind::Columns => "other columns",
    }
}

/// `docker postgres:17@sha256:… (PostgreSQL 17.5)`.
pub fn target(restored: &Restored) -> String {
    let target = &restored.target;
    let mut words: Vec<&str> = vec![&target.engine];
    words.extend(target.image.as_deref());
    words.extend(target.place.as_deref());
    let version = match &target.version {
        Some(version) => format!(" (PostgreSQL {version})"),
        None => String::new(),
    };
    format!("{}{version}", words.join(" "))
}

/// The restore time, and the objective beside it: `9 m 41 s of at most 15 m 00 s`.
pub fn restore_time(report: &Report) -> Option<String> {
    let taken = format::duration(report.durations.restore_seconds?);
    let limit = report.restored.as_ref()?.max_restore_seconds;
    Some(match limit {
        Some(limit) => format!("{taken} of at most {}", format::duration(limit)),
        None => taken,
    })
}

/// Each difference: its word, its object, what is different.
pub fn difference(difference: &Difference) -> String {
    format!(
        "{}: {} — {}",
        kind(difference.kind),
        difference.object,
        difference.detail
    )
}

/// What was accepted, why, and how long.
pub fn acknowledged(restored: &Restored) -> Vec<String> {
    let line = |object: &str, what: &str, reason: &Reason| {
        format!(
            "{object} ({what}): {}, until {}",
            reason.reason, reason.until
        )
    };
    let failures = restored.failures.iter().filter_map(|failed| {
        let reason = failed.acknowledged.as_ref()?;
        Some(line(&failed.object, "not restored", reason))
    });
    let differences = restored.proof.iter().flat_map(|proof| &proof.acknowledged);
    failures
        .chain(differences.map(|known| {
            line(
                &known.difference.object,
                kind(known.difference.kind),
                &known.reason,
            )
        }))
        .collect()
}

/// What could not be restored and is not acknowledged.
pub fn failures(restored: &Restored) -> Vec<String> {
    restored
        .failures_left()
        .map(|failed| format!("{}: {}", failed.object, failed.message))
        .collect()
}

/// Differences without harm, by rule: `row-order: 3 objects, first TABLE DATA d: s.t`.
pub fn harmless(proof: &ProofSummary) -> Vec<String> {
    let mut by_rule: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for harmless in &proof.harmless {
        by_rule
            .entry(harmless.rule)
            .or_default()
            .push(&harmless.object);
    }
    by_rule
        .into_iter()
        .map(|(rule, objects)| {
            let count = format::counted(objects.len() as u64, "time");
            format!("{} ({count}), first {}", rule.name(), objects[0])
        })
        .collect()
}

/// `tenants: 24, as expected (at least 1)`.
pub fn answer(question: &Answered) -> String {
    let judged = match question.as_expected {
        Some(true) => "as expected",
        Some(false) => "not as expected",
        None => "no answer",
    };
    format!(
        "{}: {}, {judged} ({})",
        question.name, question.answer, question.expected
    )
}

/// What has to be seen, with its titles: what was not restored, what differs, what was accepted,
/// what was asked.
pub fn findings(restored: &Restored) -> [(&'static str, Vec<String>); 4] {
    let differences = restored.proof.iter().flat_map(|proof| &proof.differences);
    [
        ("What could not be restored", failures(restored)),
        ("What differs", differences.map(difference).collect()),
        ("Acknowledged", acknowledged(restored)),
        ("Questions", restored.questions.iter().map(answer).collect()),
    ]
}

/// What is good to know, with its titles.
pub fn background(report: &Report, restored: &Restored) -> [(&'static str, Vec<String>); 2] {
    let harmless = restored.proof.as_ref().map(harmless);
    [
        ("Restore times, last drills", trend(report)),
        ("Known harmless differences", harmless.unwrap_or_default()),
    ]
}

/// The figures and the phases, each below a line that names its columns.
pub fn table(restored: &Restored) -> Vec<[String; 3]> {
    let mut table = Vec::new();
    if let Some(proof) = &restored.proof {
        table.push(["", "in the archive", "restored"].map(str::to_owned));
        table.extend(rows(proof));
    }
    if !restored.phases.is_empty() {
        let phases = phases(restored).into_iter();
        table.push(["phase", "time", ""].map(str::to_owned));
        table.extend(phases.map(|[name, time]| [name, time, String::new()]));
    }
    table
}

/// One line a figure: its name, the archive's, what came back.
pub fn rows(proof: &ProofSummary) -> Vec<[String; 3]> {
    let (archived, restored) = (&proof.archived, &proof.restored);
    [
        ("databases", archived.databases, restored.databases),
        ("schemas", archived.schemas, restored.schemas),
        ("entries", archived.entries, restored.entries),
        ("tables", archived.tables, restored.tables),
        ("rows", archived.rows, restored.rows),
    ]
    .map(|(name, one, other)| [name.to_owned(), format::count(one), format::count(other)])
    .to_vec()
}

/// One line a phase: its name and its time.
pub fn phases(restored: &Restored) -> Vec<[String; 2]> {
    let phases = restored.phases.iter();
    phases
        .map(|phase| [phase.name.clone(), format::duration(phase.seconds)])
        .collect()
}

/// The trend as a chart: one bar a drill, oldest first; this run is the last.
pub fn trend(report: &Report) -> Vec<String> {
    let restored = report.restored.as_ref().filter(|r| !r.schema_only);
    let now = restored.map(|restored| PastDrill {
        key: String::new(),
        finished_at: report.finished_at,
        restore_seconds: report.durations.restore_seconds,
        dump_bytes: restored.dump_bytes,
        verdict: report.verdict,
    });
    if report.trend.is_empty() {
        return Vec::new();
    }
    let all: Vec<&PastDrill> = report.trend.iter().chain(&now).collect();
    let longest = all
        .iter()
        .filter_map(|drill| drill.restore_seconds)
        .filter(|seconds| seconds.is_finite())
        .fold(0.0, f64::max);
    all.into_iter()
        .map(|drill| {
            let seconds = drill.restore_seconds.unwrap_or_default();
            let cells = match longest > 0.0 && seconds.is_finite() {
                true => (seconds / longest * BAR).round().clamp(0.0, BAR) as usize,
                false => 0,
            };
            let time = drill
                .restore_seconds
                .map_or("-".to_owned(), format::duration);
            let verdict = match drill.verdict {
                crate::check::Verdict::Passed => "",
                crate::check::Verdict::Failed | crate::check::Verdict::Error => "  failed",
            };
            format!(
                "{}  {:<24}  {time:>9}  {:>8}{verdict}",
                drill.finished_at.strftime("%Y-%m-%d"),
                "█".repeat(cells),
                format::bytes(drill.dump_bytes)
            )
        })
        .collect()
}

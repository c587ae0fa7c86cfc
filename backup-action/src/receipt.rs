//! The receipt of a gate or a drill: its report, kept in the store. What is read from there may
//! have been changed by anybody who can write there, so it is read as carefully as anything hostile,
//! and believed no further than it agrees with itself. No I/O: bytes in, answers out.

use crate::check::{CheckId, Outcome};
use crate::error::Explained;
use crate::manifest::Source;
use crate::report::restored::{PastDrill, Restored};
use crate::report::words::Ending;
use crate::report::{self, Report};
use anyhow::Context;
use jiff::Timestamp;
use serde::Deserialize;

/// The largest receipt that is read: 10,000 schemas need about 2 MB.
pub const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// How far the clocks of two machines may be apart. What was made later than that after now is
/// from the future, and so neither fresh nor stale.
pub const MAX_SKEW_SECONDS: i64 = 60;

/// What a receipt is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A gate.
    Gate,
    /// A drill.
    Drill,
}

impl Kind {
    /// The command, and the directory of its receipts.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Gate => "gate",
            Kind::Drill => "drill",
        }
    }
}

/// A receipt that could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    kind: Kind,
    report: Report,
}

impl Receipt {
    /// Reads a receipt of `kind`.
    ///
    /// # Errors
    /// Too large, not JSON, of a newer format, of another command, or fields of other types.
    pub fn parse(kind: Kind, bytes: &[u8]) -> anyhow::Result<Receipt> {
        #[derive(Deserialize)]
        struct Head {
            format: Option<u32>,
            command: Option<String>,
        }
        anyhow::ensure!(
            bytes.len() as u64 <= MAX_BYTES,
            "receipt of {} bytes is larger than any that is written",
            bytes.len()
        );
        let head: Head = serde_json::from_slice(bytes).context("receipt is not valid JSON")?;
        match head.format {
            Some(report::FORMAT) => {}
            Some(newer) if newer > report::FORMAT => {
                return Err(Explained::new(
                    format!(
                        "receipt format {newer} is newer than {}, the newest this version reads",
                        report::FORMAT
                    ),
                    "Update backup-action to the version that wrote the receipt.",
                )
                .into());
            }
            Some(_) | None => anyhow::bail!("not a receipt of backup-action"),
        }
        let command = head.command.unwrap_or_default();
        anyhow::ensure!(
            command == kind.name(),
            "it is the receipt of another command ({command:.40})"
        );
        let report = serde_json::from_slice(bytes)
            .context("receipt does not have the fields of its format")?;
        Ok(Receipt { kind, report })
    }

    /// The report.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Whether the run passed: its verdict, its exit code, and every answer in it agree on that;
    /// the answers without which such a run proves nothing are there; and of a drill, rows were
    /// restored and came back equal.
    pub fn passed(&self) -> bool {
        let report = &self.report;
        let answered = |id: &CheckId| {
            report
                .checks
                .iter()
                .any(|check| check.id == *id && check.outcome == Outcome::Passed)
        };
        let no_objection = report.checks.iter().all(|check| match check.outcome {
            Outcome::Passed | Outcome::Warned => true,
            Outcome::Failed | Outcome::NotChecked => false,
        });
        Ending::of(report) == Ending::Passed
            && no_objection
            && report.error.is_none()
            && report.archive.is_some()
            && self.needed().iter().all(answered)
            && match self.kind {
                Kind::Gate => true,
                Kind::Drill => self.proved(),
            }
    }

    fn needed(&self) -> &'static [CheckId] {
        match self.kind {
            Kind::Gate => &[
                CheckId::DumpExit,
                CheckId::DumpComplete,
                CheckId::Inventory,
                CheckId::ManifestPublished,
            ],
            Kind::Drill => &[
                CheckId::ArchiveIntact,
                CheckId::TargetReady,
                CheckId::RestoreComplete,
                CheckId::RoundTrip,
                CheckId::DrillNotEmpty,
            ],
        }
    }

    fn proved(&self) -> bool {
        self.report.restored.as_ref().is_some_and(|restored| {
            !restored.schema_only
                && restored.failures_left().next().is_none()
                && restored
                    .proof
                    .as_ref()
                    .is_some_and(|proof| proof.differences.is_empty())
        })
    }

    /// How many defects the configuration accepted.
    pub fn acknowledged(&self) -> usize {
        self.report.restored.as_ref().map_or(0, Restored::accepted)
    }

    /// Whether it is of the cluster of `source`: by the system identifier, and where the cluster does
    /// not say its own, by the name; a receipt that does not say one is of no known cluster.
    pub fn is_of(&self, source: &Source) -> bool {
        let own = self
            .report
            .source
            .as_ref()
            .and_then(|source| source.system_identifier.as_deref());
        match (own, source.system_identifier.as_deref()) {
            (Some(own), Some(other)) => own == other,
            (None, Some(_)) => false,
            (_, None) => self.report.cluster == source.cluster,
        }
    }

    /// How old it is, in seconds; none when it is from the future.
    pub fn age_seconds(&self, now: Timestamp) -> Option<u64> {
        let age = now.duration_since(self.report.finished_at).as_secs();
        match age {
            age if age < -MAX_SKEW_SECONDS => None,
            age => Some(u64::try_from(age).unwrap_or(0)),
        }
    }

    /// What the trend shows of it.
    pub fn past_drill(&self, key: &str) -> PastDrill {
        PastDrill {
            key: key.to_owned(),
            finished_at: self.report.finished_at,
            restore_seconds: self.report.durations.restore_seconds,
            dump_bytes: self
                .report
                .restored
                .as_ref()
                .map_or(0, |restored| restored.dump_bytes),
            verdict: self.report.verdict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{json, samples};

    fn read(report: &Report) -> anyhow::Result<Receipt> {
        let kind = match report.command.as_str() {
            "drill" => Kind::Drill,
            _ => Kind::Gate,
        };
        Receipt::parse(kind, json::render(report).unwrap().as_bytes())
    }

    #[test]
    fn what_passed_reads_back_as_passed() {
        for report in [samples::passed(), samples::drill_passed()] {
            let receipt = read(&report).unwrap();
            assert!(receipt.passed(), "{}", report.command);
            assert_eq!(receipt.report(), &report);
        }
        let past = read(&samples::drill_passed()).unwrap().past_drill("k");
        assert_eq!(past.restore_seconds, Some(581.0));
    }

    #[test]
    fn one_doubt_is_enough() {
        type Spoil = fn(&mut Report);
        let spoils: [Spoil; 13] = [
            |r| r.exit_code = 3,
            |r| r.verdict = crate::check::Verdict::Failed,
            |r| r.dry_run = true,
            |r| r.interrupted_by = Some("SIGINT".to_owned()),
            |r| r.checks[0].outcome = Outcome::Failed,
            |r| r.checks[0].outcome = Outcome::NotChecked,
            |r| r.checks.clear(),
            |r| r.archive = None,
            |r| r.error = samples::error().error,
            |r| r.restored = None,
            |r| r.restored.as_mut().unwrap().schema_only = true,
            |r| r.restored.as_mut().unwrap().proof = None,
            |r| {
                let restored = r.restored.as_mut().unwrap();
                let failed = samples::drill_failed().restored.unwrap();
                restored.proof.as_mut().unwrap().differences = failed.proof.unwrap().differences;
            },
        ];
        for (number, spoil) in spoils.iter().enumerate() {
            let mut report = samples::drill_passed();
            spoil(&mut report);
            assert!(!read(&report).unwrap().passed(), "{number}");
        }
        for spoil in &spoils[..9] {
            let mut report = samples::passed();
            spoil(&mut report);
            assert!(!read(&report).unwrap().passed());
        }
        let mut report = samples::passed();
        report.copies.clear();
        assert!(!read(&report).unwrap().passed());
        assert!(!read(&samples::drill_failed()).unwrap().passed());
    }

    #[test]
    fn hostile_bytes_are_refused_with_the_reason() {
        let good = json::render(&samples::passed()).unwrap();
        let deep = format!(
            "{{\"format\":1,\"command\":\"gate\",\"x\":{}",
            "[".repeat(200_000)
        );
        let huge = "x".repeat(MAX_BYTES as usize + 1);
        for (text, reason) in [
            ("", "not valid JSON"),
            ("{}", "not a receipt"),
            ("{\"format\":0}", "not a receipt"),
            ("{\"format\":2,\"command\":\"gate\"}", "newer than 1"),
            ("{\"format\":1,\"command\":\"drill\"}", "another command"),
            (
                "{\"format\":1,\"command\":\"gate\"}",
                "does not have the fields",
            ),
            (
                &good.replace("\"exit_code\": 0", "\"exit_code\": \"0\""),
                "does not have the fields",
            ),
            (
                &good.replace("\"passed\"", "\"almost\""),
                "does not have the fields",
            ),
            (
                &good.replace("dump-exit", "dump-exist"),
                "does not have the fields",
            ),
            (&good[..good.len() / 2], "not valid JSON"),
            (&deep, "not valid JSON"),
            (&huge, "larger than any"),
        ] {
            let error = Receipt::parse(Kind::Gate, text.as_bytes()).unwrap_err();
            let said = crate::error::one_line(&error);
            assert!(said.contains(reason), "{text:.60}: {said}");
        }
    }

    #[test]
    fn age_is_that_of_the_receipt_itself() {
        let receipt = read(&samples::passed()).unwrap();
        let at = |text: &str| receipt.age_seconds(text.parse().unwrap());
        assert_eq!(at("2026-01-18T02:00:41Z"), Some(30));
        assert_eq!(at("2026-01-18T01:59:41Z"), Some(0));
        assert_eq!(at("2026-01-18T01:58:41Z"), None);
    }

    #[test]
    fn clusters_are_told_apart_by_identifier_and_else_by_name() {
        let report = samples::passed();
        let receipt = read(&report).unwrap();
        let own = report.source.clone().unwrap();
        assert!(receipt.is_of(&own));
        let named = |identifier: Option<&str>, name: &str| Source {
            cluster: name.to_owned(),
            system_identifier: identifier.map(str::to_owned),
            ..own.clone()
        };
        assert!(receipt.is_of(&named(Some("7300000000000000001"), "renamed")));
        assert!(!receipt.is_of(&named(Some("7300000000000000002"), &own.cluster)));
        // Whose server does not say who it is.
        assert!(receipt.is_of(&named(None, &own.cluster)));
        assert!(!receipt.is_of(&named(None, "sulaco-prod")));
        let mut report = report;
        report.source = None;
        assert!(!read(&report).unwrap().is_of(&own));
    }
}

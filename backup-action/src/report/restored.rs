//! What `restore` and `drill` add to a report: where the archive went, how long each phase took,
//! what failed, what was proved, what was asked. Values and pure questions about them; the
//! renderers are beside this file.

use crate::check::Verdict;
use crate::config::{Acknowledged, DefectKind};
use crate::proof::{Counts, Difference, Harmless, Proof};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A restore, or a drill.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Restored {
    /// What of the backup: `the whole cluster`, `database nostromo`, `schema central of nostromo`.
    /// May hold names from the database.
    pub scope: String,
    /// Where it was restored into.
    pub target: Target,
    /// Whether no rows were restored. Such a drill proves no backup and is never counted as one.
    pub schema_only: bool,
    /// The phases in order: `globals`, `before data`, `data`, ….
    pub phases: Vec<Phase>,
    /// What came back: zero where nothing did.
    pub counts: Counts,
    /// Bytes of the dump that were replayed.
    pub dump_bytes: u64,
    /// Bytes of the archive that were read from the store.
    pub archive_bytes_read: u64,
    /// The restore time objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_restore_seconds: Option<f64>,
    /// Statements and tables that could not be restored.
    pub failures: Vec<Failed>,
    /// What the round trip proved; absent when it was not reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proof: Option<ProofSummary>,
    /// The questions of the configuration, with their answers.
    pub questions: Vec<Answered>,
    /// Versions of the programs that took part: `psql 17.5`, `pg_dumpall 17.5`.
    pub tools: Vec<String>,
}

/// Where something was restored into.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Target {
    /// `docker`, `local`, or `server` for one that was there before.
    pub engine: String,
    /// The image of the container, with its digest where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Version of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where: host and port of a server, never a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// One phase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Phase {
    /// Its name.
    pub name: String,
    /// How long it took.
    pub seconds: f64,
}

/// Something that could not be restored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// Its name, as differences have it.
    pub object: String,
    /// What the server said.
    pub message: String,
    /// Why it is accepted, when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Reason>,
}

/// Why a defect is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// As the configuration says.
    pub reason: String,
    /// The last day on which it is.
    pub until: Date,
}

/// What the round trip proved.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProofSummary {
    /// What the archive holds.
    pub archived: Counts,
    /// What came back.
    pub restored: Counts,
    /// Every difference that is neither harmless nor acknowledged.
    pub differences: Vec<Difference>,
    /// Every difference that is on the list of harmless ones.
    pub harmless: Vec<Harmless>,
    /// Every difference that the configuration accepts.
    pub acknowledged: Vec<AcknowledgedDifference>,
}

/// A difference that the configuration accepts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AcknowledgedDifference {
    /// The difference.
    #[serde(flatten)]
    pub difference: Difference,
    /// Why, and how long.
    #[serde(flatten)]
    pub reason: Reason,
}

/// One question with its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// What it is called.
    pub name: String,
    /// The database that was asked.
    pub database: String,
    /// The query.
    pub sql: String,
    /// What the answer had to be, for people: `at least 1`.
    pub expected: String,
    /// The answer, or what the server said. Hostile text.
    pub answer: String,
    /// Whether it is the expected one; none when there was no answer.
    pub as_expected: Option<bool>,
}

/// An earlier drill, for the trend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PastDrill {
    /// Key of its receipt.
    pub key: String,
    /// When it ended.
    pub finished_at: Timestamp,
    /// How long its restore took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_seconds: Option<f64>,
    /// Bytes of the dump that it replayed.
    #[serde(default)]
    pub dump_bytes: u64,
    /// Its verdict.
    pub verdict: Verdict,
}

impl Restored {
    /// Moves what the configuration accepts, on the day `today`, from the failures and differences
    /// to the acknowledged ones. Returns the entries of the configuration that accept nothing any
    /// more, because their day is over or because nothing of that name differs: worth a note.
    pub fn acknowledge(&mut self, known: &[Acknowledged], today: Date) -> Vec<String> {
        let mut used = vec![false; known.len()];
        let failed: BTreeSet<String> = self.failures.iter().map(|f| f.object.clone()).collect();
        let mut find = |object: &str, is_difference: bool| {
            // What could not be restored does not come back; that is not a second defect.
            let fits = |kind: DefectKind| match kind {
                DefectKind::NotRestored => failed.contains(object),
                DefectKind::Different => is_difference,
            };
            let at = known
                .iter()
                .position(|k| k.object == object && fits(k.kind))?;
            used[at] = true;
            let known = &known[at];
            (today <= known.until).then(|| Reason {
                reason: known.reason.clone(),
                until: known.until,
            })
        };
        for failed in &mut self.failures {
            failed.acknowledged = find(&failed.object, false);
        }
        if let Some(proof) = &mut self.proof {
            for difference in std::mem::take(&mut proof.differences) {
                match find(&difference.object, true) {
                    None => proof.differences.push(difference),
                    Some(reason) => proof
                        .acknowledged
                        .push(AcknowledgedDifference { difference, reason }),
                }
            }
        }
        known
            .iter()
            .zip(used)
            .filter_map(|(known, used)| match (used, today <= known.until) {
                (false, _) => Some(format!(
                    "the acknowledged defect \"{}\" was not met; it can be taken out of the configuration",
                    known.object
                )),
                (true, false) => Some(format!(
                    "the acknowledgement of \"{}\" ended on {}",
                    known.object, known.until
                )),
                (true, true) => None,
            })
            .collect()
    }

    /// What could not be restored and is not acknowledged.
    pub fn failures_left(&self) -> impl Iterator<Item = &Failed> {
        self.failures
            .iter()
            .filter(|failed| failed.acknowledged.is_none())
    }

    /// How many defects the configuration accepted.
    pub fn accepted(&self) -> usize {
        let failures = self.failures.iter();
        let failures = failures.filter(|failed| failed.acknowledged.is_some());
        let names: BTreeSet<&String> = failures
            .map(|failed| &failed.object)
            .chain(
                self.proof
                    .iter()
                    .flat_map(|proof| &proof.acknowledged)
                    .map(|known| &known.difference.object),
            )
            .collect();
        names.len()
    }

    /// Seconds of all phases.
    pub fn phase_seconds(&self) -> f64 {
        self.phases.iter().map(|phase| phase.seconds).sum()
    }

    /// The texts that may repeat what a server said.
    pub(crate) fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let failures = self.failures.iter_mut().map(|failed| &mut failed.message);
        let answers = self
            .questions
            .iter_mut()
            .map(|question| &mut question.answer);
        failures.chain(answers)
    }
}

impl From<Proof> for ProofSummary {
    /// What is still undecided is a difference.
    fn from(proof: Proof) -> ProofSummary {
        let open: Vec<_> = proof.undecided.clone();
        let mut proof = proof;
        for undecided in &open {
            proof.decide(undecided, None);
        }
        ProofSummary {
            archived: proof.archived,
            restored: proof.restored,
            differences: proof.differences,
            harmless: proof.harmless,
            acknowledged: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::DifferenceKind;

    fn difference(object: &str) -> Difference {
        Difference {
            kind: DifferenceKind::Missing,
            object: object.to_owned(),
            detail: "it did not come back".to_owned(),
        }
    }

    fn known(object: &str, until: &str) -> Acknowledged {
        Acknowledged {
            kind: match object.starts_with("INDEX") {
                true => DefectKind::NotRestored,
                false => DefectKind::Different,
            },
            object: object.to_owned(),
            reason: "ticket 7".to_owned(),
            until: until.parse().unwrap(),
        }
    }

    #[test]
    fn an_acknowledged_defect_stays_visible_until_its_day() {
        let mut restored = Restored {
            failures: vec![Failed {
                object: "INDEX d: s.i".to_owned(),
                message: "no".to_owned(),
                acknowledged: None,
            }],
            proof: Some(ProofSummary {
                differences: vec![difference("INDEX d: s.i"), difference("TABLE d: s.t")],
                ..ProofSummary::default()
            }),
            ..Restored::default()
        };
        let known = [
            known("INDEX d: s.i", "2026-01-31"),
            known("TABLE d: s.t", "2026-01-30"),
            known("VIEW d: s.v", "2027-01-01"),
        ];
        let notes = restored.acknowledge(&known, "2026-01-31".parse().unwrap());
        assert_eq!(restored.failures_left().count(), 0);
        let proof = restored.proof.as_ref().unwrap();
        assert_eq!(proof.differences, [difference("TABLE d: s.t")]);
        assert_eq!(proof.acknowledged[0].difference, difference("INDEX d: s.i"));
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].contains("\"TABLE d: s.t\" ended on 2026-01-30"));
        assert!(notes[1].contains("\"VIEW d: s.v\" was not met"));
    }
}

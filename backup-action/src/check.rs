//! The checks of the gate and the verdict that follows from them. The single list: the
//! table of docs/checks.md, the JSON report and the configuration keys all come from [`CheckId::ALL`].
//!
//! No I/O here. A match on [`Outcome`] or [`CheckId`] has no `_` arm where a verdict depends on it.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The step of the gate that a check belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Before the dump starts.
    Preflight,
    /// The stream that pg_dumpall wrote.
    Dump,
    /// The compressed stream.
    Gzip,
    /// How large the dump is, against limits and against earlier backups.
    Size,
    /// What the stores hold.
    Stored,
    /// What makes the backup exist.
    Record,
    /// A backup replayed into a server.
    Restore,
    /// What came back against what went in.
    Proof,
    /// A receipt that the deploy job asks for.
    Receipt,
}

impl Group {
    /// The name shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Group::Preflight => "preflight",
            Group::Dump => "dump",
            Group::Gzip => "gzip",
            Group::Size => "size",
            Group::Stored => "stored",
            Group::Record => "record",
            Group::Restore => "restore",
            Group::Proof => "proof",
            Group::Receipt => "receipt",
        }
    }

    /// Whether the gate asks the checks of this step.
    pub fn is_of_gate(self) -> bool {
        match self {
            Group::Preflight
            | Group::Dump
            | Group::Gzip
            | Group::Size
            | Group::Stored
            | Group::Record => true,
            Group::Restore | Group::Proof | Group::Receipt => false,
        }
    }
}

macro_rules! checks {
    ($($(#[doc = $question:literal])+ $variant:ident = $id:literal in $group:ident, default $severity:ident;)+) => {
        /// One named yes/no question with evidence.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CheckId { $($(#[doc = $question])+ $variant),+ }

        impl CheckId {
            /// Every check, in the order in which the gate asks.
            pub const ALL: &'static [CheckId] = &[$(CheckId::$variant),+];

            /// The fixed identifier; scripts rely on it.
            pub fn id(self) -> &'static str {
                match self { $(CheckId::$variant => $id),+ }
            }

            /// The step the check belongs to.
            pub fn group(self) -> Group {
                match self { $(CheckId::$variant => Group::$group),+ }
            }

            /// What the check asks, as one sentence.
            pub fn question(self) -> &'static str {
                match self { $(CheckId::$variant => concat!($($question),+).trim_ascii()),+ }
            }

            /// What a "no" does unless the configuration says otherwise.
            pub fn default_severity(self) -> Severity {
                match self { $(CheckId::$variant => Severity::$severity),+ }
            }
        }
    };
}

checks! {
    /// The server answers, and accepts the credentials.
    ServerReachable = "server-reachable" in Preflight, default Block;
    /// pg_dumpall and psql are of the server's major version or newer.
    ClientVersion = "client-version" in Preflight, default Block;
    /// The client's minor version has the fixes for CVE-2025-8714/8715 and CVE-2026-18408.
    ClientPatched = "client-patched" in Preflight, default Warn;
    /// The role reads every row of every database, and the passwords of the roles or says not.
    SeesEverything = "sees-everything" in Preflight, default Block;
    /// The server has seen no page-checksum failures of its own.
    SourceChecksums = "source-checksums" in Preflight, default Block;
    /// pg_dumpall skips no database in silence (`datallowconn = false`).
    DatabasesConnectable = "databases-connectable" in Preflight, default Block;
    /// The lock table has room for one lock a table.
    LockBudget = "lock-budget" in Preflight, default Warn;
    /// No session holds a lock that the dump would wait for.
    NoBlockers = "no-blockers" in Preflight, default Warn;
    /// A connection that leaves the machine is encrypted and its server verified.
    ConnectionVerified = "connection-verified" in Preflight, default Warn;
    /// The local directory has room for the archive.
    DiskSpace = "disk-space" in Preflight, default Block;
    /// Every store accepts, returns and refuses to overwrite a small object.
    StoreWritable = "store-writable" in Preflight, default Block;
    /// No other gate or prune is writing into a store; this run holds the lock of each until its end.
    StoreUnlocked = "store-unlocked" in Preflight, default Block;
    /// The credentials of the S3 store are renewed, have no end, or end after the run.
    CredentialsLifetime = "credentials-lifetime" in Preflight, default Warn;
    /// A drill of the last weeks restored a backup of this cluster and proved it.
    DrillFresh = "drill-fresh" in Preflight, default Warn;
    /// pg_dumpall ended with status 0.
    DumpExit = "dump-exit" in Dump, default Block;
    /// The dump ends with the cluster's trailer, and every database with its own.
    DumpComplete = "dump-complete" in Dump, default Block;
    /// Every database, schema and table of the catalogue is in the archive.
    Inventory = "inventory" in Dump, default Block;
    /// The dump holds at least one database and one object.
    NotEmpty = "not-empty" in Dump, default Block;
    /// Every gzip member decodes to what went in, and nothing follows the last.
    GzipStream = "gzip-stream" in Gzip, default Block;
    /// The dump, and each schema of `size-floor`, is as large as it should be at least.
    SizeFloor = "size-floor" in Size, default Block;
    /// The dump, and each schema, is not much smaller than a month ago: a truncated table.
    SizeShrink = "size-shrink" in Size, default Block;
    /// The dump, and each schema, is not much larger than a month ago: a possible leak.
    SizeGrowth = "size-growth" in Size, default Warn;
    /// Every store holds as many bytes as were sent.
    StoredLength = "stored-length" in Stored, default Block;
    /// The store's checksum, where it keeps one, and the SHA-256 equal ours.
    StoredChecksum = "stored-checksum" in Stored, default Block;
    /// The stored bytes were read back and decoded to the dump.
    StoredReadback = "stored-readback" in Stored, default Block;
    /// A verified copy lies off this machine.
    RemoteCopy = "remote-copy" in Stored, default Warn;
    /// The manifest was written last and reads back.
    ManifestPublished = "manifest-published" in Record, default Block;
    /// What is too old was deleted, each month's first backup is in the archive tier, and nothing stood in the way.
    RetentionApplied = "retention-applied" in Record, default Warn;
    /// The receipt that the deploy job asks for is stored.
    ReceiptStored = "receipt-stored" in Record, default Block;
    /// Manifest, index and archive belong together, and every byte that was read is the one that was stored.
    ArchiveIntact = "archive-intact" in Restore, default Block;
    /// The server has what the backup needs (version, extensions, locales, roles), and nothing is in the way.
    TargetReady = "target-ready" in Restore, default Block;
    /// Every statement and every row was restored.
    RestoreComplete = "restore-complete" in Restore, default Block;
    /// The restore took no longer than `max-restore-time`.
    RestoreTime = "restore-time" in Restore, default Block;
    /// What came back is what went in: databases, schemas, entries, rows, and the digest of each.
    RoundTrip = "round-trip" in Proof, default Block;
    /// At least one table and one row came back.
    DrillNotEmpty = "drill-not-empty" in Proof, default Block;
    /// Every question of the configuration has the expected answer.
    Questions = "questions" in Proof, default Block;
    /// Nothing of the throw-away cluster is left.
    DrillCleaned = "drill-cleaned" in Proof, default Warn;
    /// There is a receipt of a gate.
    ReceiptFound = "receipt-found" in Receipt, default Block;
    /// The receipt says passed.
    ReceiptPassed = "receipt-passed" in Receipt, default Block;
    /// The receipt belongs to this repository and commit.
    ReceiptRun = "receipt-run" in Receipt, default Block;
    /// The receipt is younger than `max-receipt-age`.
    ReceiptFresh = "receipt-fresh" in Receipt, default Block;
    /// The archive that the receipt names is still there, with the same checksum.
    ArchiveUnchanged = "archive-unchanged" in Receipt, default Block;
}

impl CheckId {
    /// Whether the configuration may turn a "no" into a warning. What proves the archive itself
    /// always blocks: without it "passed" would mean nothing.
    pub fn may_warn(self) -> bool {
        match self.group() {
            Group::Preflight => !matches!(self, CheckId::ServerReachable | CheckId::StoreWritable),
            Group::Size => true,
            Group::Stored => matches!(self, CheckId::RemoteCopy),
            Group::Proof => matches!(self, CheckId::DrillNotEmpty | CheckId::DrillCleaned),
            Group::Record => matches!(self, CheckId::RetentionApplied),
            Group::Dump | Group::Gzip | Group::Restore | Group::Receipt => false,
        }
    }
}

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl Serialize for CheckId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

impl<'de> Deserialize<'de> for CheckId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = String::deserialize(deserializer)?;
        CheckId::ALL
            .iter()
            .copied()
            .find(|check| check.id() == id)
            .ok_or_else(|| serde::de::Error::custom(format!("unknown check \"{id}\"")))
    }
}

/// What a "no" does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Shown; the gate stays open.
    Warn,
    /// The gate closes.
    Block,
}

/// The answer to a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Yes, with evidence.
    Passed,
    /// No, and the configuration says to warn only.
    Warned,
    /// No: the gate closes.
    Failed,
    /// Not asked, or no answer: the gate stays closed.
    NotChecked,
}

/// One answered check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Which question.
    pub id: CheckId,
    /// The answer.
    pub outcome: Outcome,
    /// What was seen, in one line: figures, names, messages. May hold text from the database.
    pub evidence: String,
    /// What to do about it, as a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Check {
    /// A yes.
    pub fn passed(id: CheckId, evidence: impl Into<String>) -> Self {
        Self {
            id,
            outcome: Outcome::Passed,
            evidence: evidence.into(),
            hint: None,
        }
    }

    /// A no that is only shown, whatever the configuration says.
    pub fn warned(id: CheckId, evidence: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            id,
            outcome: Outcome::Warned,
            evidence: evidence.into(),
            hint: Some(hint.into()),
        }
    }

    /// A no that closes the gate.
    pub fn failed(id: CheckId, evidence: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            id,
            outcome: Outcome::Failed,
            evidence: evidence.into(),
            hint: Some(hint.into()),
        }
    }

    /// A no: closes the gate or warns, as `severity` says.
    pub fn no(
        id: CheckId,
        severity: Severity,
        evidence: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        match severity {
            Severity::Warn => Self::warned(id, evidence, hint),
            Severity::Block => Self::failed(id, evidence, hint),
        }
    }

    /// No answer.
    pub fn not_checked(id: CheckId, evidence: impl Into<String>, hint: Option<String>) -> Self {
        Self {
            id,
            outcome: Outcome::NotChecked,
            evidence: evidence.into(),
            hint,
        }
    }
}

/// What follows from the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every check was answered yes (or warned): the deploy may go on.
    Passed,
    /// A check was answered no.
    Failed,
    /// A check could not be answered.
    Error,
}

impl Verdict {
    /// The verdict over `checks`, when each of `required` has to be among them.
    pub fn of(checks: &[Check], required: &[CheckId]) -> Verdict {
        let mut verdict = Verdict::Passed;
        for check in checks {
            match check.outcome {
                Outcome::Passed | Outcome::Warned => {}
                Outcome::Failed => return Verdict::Failed,
                Outcome::NotChecked => verdict = Verdict::Error,
            }
        }
        let all_asked = required
            .iter()
            .all(|id| checks.iter().any(|check| check.id == *id));
        if all_asked { verdict } else { Verdict::Error }
    }

    /// The word shown to people and machines.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::Error => "error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_set_of_answers_passes() {
        let yes = Check::passed(CheckId::DumpExit, "status 0");
        let warned = Check::warned(CheckId::LockBudget, "12,000 tables", "Raise it.");
        let no = Check::failed(CheckId::NotEmpty, "0 bytes", "Look.");
        let unknown = Check::not_checked(CheckId::Inventory, "not reached", None);
        let required = [CheckId::DumpExit];
        assert_eq!(
            Verdict::of(&[yes.clone(), warned], &required),
            Verdict::Passed
        );
        assert_eq!(Verdict::of(&[], &required), Verdict::Error);
        assert_eq!(
            Verdict::of(&[yes.clone(), unknown.clone()], &required),
            Verdict::Error
        );
        assert_eq!(Verdict::of(&[yes, unknown, no], &required), Verdict::Failed);
    }

    #[test]
    fn identifiers_are_unique_and_kebab_case() {
        let mut ids: Vec<_> = CheckId::ALL.iter().map(|c| c.id()).collect();
        assert!(
            ids.iter()
                .all(|id| id.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
        );
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), CheckId::ALL.len());
    }
}

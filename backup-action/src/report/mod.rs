//! What a command has to say, as data ([`Report`]), and the pure renderers of it. A renderer takes
//! a finished report and returns text; clock, sizes and addresses are fields, never looked up.

pub mod alert;
mod changes;
pub mod comment;
pub mod escape;
mod folds;
pub mod format;
mod growth_markdown;
pub mod growth_words;
pub mod history_json;
pub mod history_text;
pub mod html;
pub mod instructions;
pub mod json;
mod last_runs;
pub mod log_lines;
pub mod mail;
pub mod markdown;
pub mod recovery;
pub mod restored;
mod restored_markdown;
pub mod restored_words;
pub mod retention;
#[cfg(test)]
pub(crate) mod samples;
pub mod sizes;
pub mod slack;
pub mod steps;
pub mod text;
pub mod words;

use crate::check::{Check, Verdict};
use crate::history::summary::Summary;
use crate::manifest::{ArchiveSummary, CiRun, DatabaseSummary, Source};
use jiff::Timestamp;
use restored::{PastDrill, Restored};
use retention::Retention;
use serde::{Deserialize, Serialize};

/// The version of the report format.
pub const FORMAT: u32 = 1;

/// The result of a command; also the receipt of a gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// `gate`, `backup`, `verify`, ….
    pub command: String,
    /// Name and version of this program.
    pub tool: String,
    /// The name of the cluster for people.
    pub cluster: String,
    /// What follows from the checks.
    pub verdict: Verdict,
    /// The exit code that goes with it.
    pub exit_code: u8,
    /// Whether the run was cut short: `SIGINT` or `SIGTERM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted_by: Option<String>,
    /// Whether nothing was written because of `--dry-run`.
    #[serde(default)]
    pub dry_run: bool,
    /// When the command started, UTC.
    pub started_at: Timestamp,
    /// When it ended, UTC.
    pub finished_at: Timestamp,
    /// Every check with its answer, in the order in which they were asked.
    pub checks: Vec<Check>,
    /// The server and the tools, once they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The archive, once the dump is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveSummary>,
    /// One line a store.
    pub copies: Vec<Copy>,
    /// What is inside.
    pub databases: Vec<DatabaseSummary>,
    /// How long each step took.
    pub durations: Durations,
    /// Lines that pg_dumpall wrote to stderr although it succeeded (bounded). Hostile text.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Things worth knowing that are not checks, as sentences.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What ended the run when it was not a check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ReportedError>,
    /// The newest verified backup before this run, when there is one: what still protects you.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_good: Option<LastGood>,
    /// The CI run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<CiRun>,
    /// What was restored, and what that proved: of `restore` and `drill`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<Restored>,
    /// Earlier drills, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trend: Vec<PastDrill>,
    /// Sizes over time, up to this backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Summary>,
    /// What was deleted and archived: of `gate` and `prune`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

/// What became of the archive in one store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Copy {
    /// `local` or `remote`.
    pub tier: String,
    /// Where the store is: a path, or `s3://bucket/prefix`.
    pub store: String,
    /// Whether a manifest was published there.
    pub published: bool,
    /// How it was verified, or what went wrong.
    pub detail: String,
}

/// Seconds a step took; absent when it was not reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Durations {
    /// Checks before the dump.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preflight_seconds: Option<f64>,
    /// pg_dumpall from start to exit, compression and storing included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dump_seconds: Option<f64>,
    /// Completing the upload and renaming the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal_seconds: Option<f64>,
    /// Reading the stored bytes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readback_seconds: Option<f64>,
    /// Index, manifest, receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publish_seconds: Option<f64>,
    /// Replaying the archive, from the first statement to the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_seconds: Option<f64>,
    /// Comparing what came back with what went in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prove_seconds: Option<f64>,
    /// From start to end.
    pub total_seconds: f64,
}

/// What ended a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportedError {
    /// The chain of messages, outermost first. May hold text from the server.
    pub messages: Vec<String>,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The newest verified backup of earlier runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LastGood {
    /// Key of the archive.
    pub key: String,
    /// When it was complete.
    pub finished_at: Timestamp,
    /// Its age when this run ended.
    pub age_seconds: i64,
    /// `local` or `remote`.
    pub tier: String,
    /// Size of the archive.
    pub archive_bytes: u64,
}

//! What is written beside the archive: manifest, RECOVERY.md, receipt.

use crate::archive::index::{Index, Sha256Digest};
use crate::check::Check;
use crate::command::journal::{Journal, TOOL};
use crate::command::{Context, stores};
use crate::config::Level;
use crate::manifest::{self, ArchiveSummary, Compression, Manifest, Source};
use crate::report::recovery;
use crate::store::{BackupKeys, Key, Store};
use anyhow::Context as _;
use bytes::Bytes;
use jiff::Timestamp;

/// What the manifest says besides the index.
pub(super) struct Draft {
    keys: BackupKeys,
    started_at: Timestamp,
    finished_at: Timestamp,
    source: Source,
    level: String,
    levels_used: [u32; 2],
    databases: Vec<manifest::DatabaseSummary>,
    run: Option<manifest::CiRun>,
    checks: Vec<Check>,
}

impl Draft {
    pub(super) fn new(
        context: &Context,
        journal: &Journal,
        keys: &BackupKeys,
        finished_at: Timestamp,
        levels_used: [u32; 2],
    ) -> anyhow::Result<Draft> {
        let source = journal.source.clone().context("the server was not asked")?;
        Ok(Draft {
            keys: keys.clone(),
            started_at: journal.started_at,
            finished_at,
            source,
            level: match context.config.level {
                Level::Auto => "auto".to_owned(),
                Level::Fixed(level) => level.to_string(),
            },
            levels_used,
            databases: journal.databases.clone(),
            run: context.runner.as_ref().map(|runner| runner.run.clone()),
            // Texts from outside must be as clean in the manifest as in the report.
            checks: journal
                .report(0, None)
                .checks
                .into_iter()
                .filter(|check| journal.checks.iter().any(|c| c.id == check.id))
                .collect(),
        })
    }

    pub(super) fn manifest(
        self,
        index: &Index,
        crc64nvme: &str,
        index_bytes: u64,
        index_sha256: Sha256Digest,
    ) -> Manifest {
        Manifest {
            format: manifest::FORMAT,
            kind: manifest::KIND.to_owned(),
            tool: TOOL.to_owned(),
            archive_key: self.keys.archive.to_string(),
            index_key: self.keys.index.to_string(),
            started_at: self.started_at,
            finished_at: self.finished_at,
            source: self.source,
            archive: ArchiveSummary {
                key: self.keys.archive.to_string(),
                dump_bytes: index.dump_bytes,
                archive_bytes: index.archive_bytes,
                dump_sha256: index.dump_sha256,
                archive_sha256: index.archive_sha256,
                archive_crc64nvme: crc64nvme.to_owned(),
                rows: index.rows(),
                members: index.members.len() as u64,
            },
            index_bytes,
            index_sha256,
            databases: self.databases,
            compression: Compression {
                format: "gzip".to_owned(),
                level: self.level,
                levels_used: self.levels_used,
            },
            run: self.run,
            checks: self.checks,
        }
    }
}

/// Refreshes RECOVERY.md beside every copy. The backup exists without it, so trouble is a note.
pub(super) async fn recovery_texts(
    context: &Context,
    journal: &mut Journal,
    manifest: &Manifest,
    copies: &[Store],
) {
    for store in copies {
        let location = store.describe();
        let endpoint = match stores::is_remote(store) {
            true => context
                .config
                .remote
                .as_ref()
                .and_then(|remote| remote.endpoint.as_deref()),
            false => None,
        };
        let text = recovery::render(
            &recovery::StoreDescription {
                location: &location,
                endpoint,
            },
            manifest,
        );
        if let Err(error) = store
            .replace(
                &Key::recovery(),
                Bytes::from(text),
                "text/markdown; charset=utf-8",
            )
            .await
        {
            journal.notes.push(format!(
                "RECOVERY.md in {location} could not be refreshed: {}",
                crate::error::one_line(&error)
            ));
        }
    }
}

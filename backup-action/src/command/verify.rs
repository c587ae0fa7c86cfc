//! `verify`: read a stored backup back, every byte, against its manifest; or a bare file against
//! itself.

use super::journal::Journal;
use super::{Context, source, stores};
use crate::archive::rebuild;
use crate::check::{Check, CheckId};
use crate::error;
use crate::manifest;
use crate::pipeline::fetch::Want;
use crate::pipeline::{publish, readback};
use crate::report::words::Step;
use crate::report::{Copy, format};
use crate::store::{Store, StoreErrorKind};
use anyhow::Context as _;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Runs the command; the answers are in the journal.
///
/// # Errors
/// The backup cannot be found, or its manifest or index cannot be read.
pub(crate) async fn run(context: &Context, journal: &mut Journal) -> anyhow::Result<()> {
    let config = &context.config;
    if let Some(named) = stores::named_file(config).await? {
        return file(context, journal, &named).await;
    }
    journal.required = vec![
        CheckId::GzipStream,
        CheckId::StoredLength,
        CheckId::StoredChecksum,
        CheckId::StoredReadback,
    ];
    let stores = stores::open(&context.config).await?;
    let found = stores::find(&stores, &context.config.backup).await?;
    journal.cluster = found.manifest.source.cluster.clone();
    journal.source = Some(found.manifest.source.clone());
    journal.archive = Some(found.manifest.archive.clone());
    journal.databases = found.manifest.databases.clone();
    let begun = Instant::now();
    context
        .progress
        .begin(Step::ReadBack, found.manifest.archive.archive_bytes);
    stored(context, journal, &found).await?;
    journal.took(Step::ReadBack, begun);
    for store in stores
        .iter()
        .filter(|store| store.describe() != found.store.describe())
    {
        journal.notes.push(format!(
            "only the copy in {} was read; verify {} by itself",
            found.store.describe(),
            store.describe()
        ));
    }
    Ok(())
}

async fn stored(
    context: &Context,
    journal: &mut Journal,
    found: &stores::Found,
) -> anyhow::Result<()> {
    let archive = &found.manifest.archive;
    let place = found.store.locate(&found.keys.archive);
    let Some(info) = found.store.head(&found.keys.archive).await? else {
        journal.check(Check::failed(
            CheckId::StoredLength,
            format!("{place} does not exist although its manifest does"),
            "This backup cannot be restored; use another one, and find out what deletes archives.",
        ));
        return Ok(());
    };
    let hint = "The stored archive is damaged; use another copy or an older backup.";
    journal.check(if info.bytes == archive.archive_bytes {
        Check::passed(CheckId::StoredLength, format!("{} bytes", info.bytes))
    } else {
        Check::failed(
            CheckId::StoredLength,
            format!("{} bytes instead of {}", info.bytes, archive.archive_bytes),
            hint,
        )
    });
    let index = match publish::load_index(&found.store, &found.keys.index, &found.manifest).await {
        Ok(index) => Arc::new(index),
        // Without its index, or with another's, the archive cannot be read as this backup.
        Err(error) if source::is_damage(&error) => {
            journal.check(Check::failed(
                CheckId::StoredReadback,
                error::one_line(&error),
                "The stored index is damaged; use another copy or an older backup. The archive may still be good: `gunzip -t`, and compare its SHA-256 with the manifest.",
            ));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let read = readback::read_archive(
        &found.store,
        &found.keys.archive,
        &index,
        Want::Dump,
        context.config.jobs,
        &context.progress,
    )
    .await;
    let checks = match &read {
        Ok(()) if info.bytes != archive.archive_bytes => [
            CheckId::StoredChecksum,
            CheckId::GzipStream,
            CheckId::StoredReadback,
        ]
        .map(|id| {
            Check::failed(
                id,
                "the bytes that the index names are good, but they are not the whole object",
                hint,
            )
        }),
        Ok(()) => [
            Check::passed(
                CheckId::StoredChecksum,
                format!("SHA-256 {}", archive.archive_sha256),
            ),
            Check::passed(
                CheckId::GzipStream,
                format!(
                    "{}, nothing behind the last",
                    format::counted(archive.members, "member")
                ),
            ),
            Check::passed(
                CheckId::StoredReadback,
                format!(
                    "{} decoded, SHA-256 of the dump {}",
                    format::bytes(archive.dump_bytes),
                    archive.dump_sha256
                ),
            ),
        ],
        Err(error) if StoreErrorKind::of(error).is_some() => {
            return Err(
                anyhow::anyhow!(error::one_line(error)).context(format!("could not read {place}"))
            );
        }
        Err(error) => [
            CheckId::StoredChecksum,
            CheckId::GzipStream,
            CheckId::StoredReadback,
        ]
        .map(|id| Check::failed(id, error::one_line(error), hint)),
    };
    journal.checks.extend(checks);
    journal.copies = vec![copy(&found.store, read.is_ok())];
    Ok(())
}

fn copy(store: &Store, good: bool) -> Copy {
    Copy {
        tier: store.tier().to_string(),
        store: store.describe(),
        published: true,
        detail: if good {
            "read back and decoded".to_owned()
        } else {
            "differs from its manifest".to_owned()
        },
    }
}

/// A file without manifest and index: gzip, structure and trailers are all that can be asked.
async fn file(context: &Context, journal: &mut Journal, path: &Path) -> anyhow::Result<()> {
    journal.required = vec![
        CheckId::GzipStream,
        CheckId::DumpComplete,
        CheckId::NotEmpty,
    ];
    journal.cluster = path.display().to_string();
    let file = File::open(path).with_context(|| format!("could not open {}", path.display()))?;
    let bytes = file
        .metadata()
        .with_context(|| format!("could not read {}", path.display()))?
        .len();
    context.progress.begin(Step::ReadBack, bytes);
    let begun = Instant::now();
    let progress = Arc::clone(&context.progress);
    let read = tokio::task::spawn_blocking(move || {
        rebuild::rebuild(BufReader::with_capacity(256 * 1024, file), |bytes| {
            progress.advance(bytes)
        })
    })
    .await
    .context("the decoding thread panicked")?;
    journal.took(Step::ReadBack, begun);
    let rebuilt = match read {
        Ok(rebuilt) => rebuilt,
        Err(error) => {
            journal.check(Check::failed(
                CheckId::GzipStream,
                error::one_line(&error),
                "The file is damaged or is no gzip of a dump; use another copy.",
            ));
            return Ok(());
        }
    };
    let index = &rebuilt.index;
    journal.databases = manifest::summarise(index);
    journal.check(Check::passed(
        CheckId::GzipStream,
        format!(
            "{} bytes decode to {}, nothing behind the end",
            index.archive_bytes,
            format::bytes(index.dump_bytes)
        ),
    ));
    journal.check(if rebuilt.completeness.is_complete() {
        Check::passed(CheckId::DumpComplete, "every trailer is there")
    } else {
        Check::failed(
            CheckId::DumpComplete,
            format!("the dump ends {}", rebuilt.completeness.ended_in),
            "The dump is not whole; use another one.",
        )
    });
    super::gate::stream_checks::not_empty(journal, index, &[], &[]);
    journal.notes.push(format!(
        "SHA-256 of the archive {}, of the dump {}",
        index.archive_sha256, index.dump_sha256
    ));
    journal.notes.push(
        "There is no manifest to compare with: the file was only compared with itself.".to_owned(),
    );
    Ok(())
}

//! The backup that `restore` and `drill` take: one of a store, or a file. Whatever it was, what
//! comes out is an archive whose ranges can be read, with its index. The answer to
//! `archive-intact` is recorded here.

use super::journal::Journal;
use super::{Context, damage, stores};
use crate::archive::compress::BLOCK_BYTES;
use crate::archive::index::Index;
use crate::archive::rebuild;
use crate::archive::scanned::Completeness;
use crate::archive::validate::Damaged;
use crate::check::{Check, CheckId};
use crate::error::{self, Explained};
use crate::manifest::{self, ArchiveSummary, Manifest};
use crate::pipeline::pass::Options;
use crate::pipeline::scratch::Scratch;
use crate::pipeline::{publish, repack};
use crate::postgres::args;
use crate::report::format;
use crate::report::words::Step;
use crate::restore::Archive;
use crate::store::{Key, Store, StoreErrorKind};
use anyhow::Context as _;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;

/// A backup whose ranges can be read.
pub(crate) struct Source {
    /// Where the archive is.
    pub(crate) store: Store,
    /// Its name there.
    pub(crate) key: Key,
    /// Its index, validated.
    pub(crate) index: Arc<Index>,
    /// None for a bare file.
    pub(crate) manifest: Option<Manifest>,
    /// Path or URL, for people; the file that was named, also where it was repacked.
    pub(crate) place: String,
    /// What is wrong with the archive's length.
    wrong_length: Option<String>,
    /// Keeps the temporary archive that a file was repacked into.
    _repacked: Option<Scratch>,
}

impl Source {
    /// The archive for the restore engine.
    pub(crate) fn archive(&self) -> Archive {
        Archive {
            store: self.store.clone(),
            key: self.key.clone(),
            index: Arc::clone(&self.index),
        }
    }

    /// The major version of the server that was dumped, as the dump itself says it.
    pub(crate) fn server_major(&self) -> Option<u32> {
        let version = publish::dumped_from(&self.index)?;
        let digits = version.find(|c: char| !c.is_ascii_digit());
        version[..digits.unwrap_or(version.len())].parse().ok()
    }
}

const DAMAGED: &str =
    "Use another copy or an older backup; `backup-action verify` says what is wrong with this one.";

/// Finds the backup that was named, and answers `archive-intact`: the index belongs to the
/// manifest and holds together, and the archive has its length. Its bytes are proved member by
/// member when they are read. None when the answer was no.
///
/// # Errors
/// No such backup, a store that cannot be asked, or a file that cannot be read.
pub(crate) async fn resolve(
    context: &Context,
    journal: &mut Journal,
) -> anyhow::Result<Option<Source>> {
    let found = match stores::named_file(&context.config).await? {
        Some(path) => file(context, &path).await,
        None => stored(context).await,
    };
    let source = match found {
        Ok(source) => source,
        Err(error) if is_damage(&error) => {
            let hint = error::hint(&error).unwrap_or_else(|| DAMAGED.to_owned());
            journal.check(Check::failed(
                CheckId::ArchiveIntact,
                error::one_line(&error),
                hint,
            ));
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    tell(journal, &source);
    match &source.wrong_length {
        None => {
            journal.check(intact(&source));
            Ok(Some(source))
        }
        Some(what) => {
            damaged(context, journal, &source, what).await;
            Ok(None)
        }
    }
}

/// Answers `archive-intact` with no, and says which objects are different.
pub(crate) async fn damaged(context: &Context, journal: &mut Journal, source: &Source, what: &str) {
    let damage = damage::examine(context, &source.store, &source.key, &source.index).await;
    let mut said = format!("{what}; {}", damage.summary);
    if let Some(proof) = damage.proof {
        let names: Vec<&str> = proof
            .differences
            .iter()
            .map(|difference| difference.object.as_str())
            .collect();
        if !names.is_empty() {
            said.push_str(&format!(": {}", format::names(&names)));
        }
        journal.restored.get_or_insert_default().proof = Some(proof.into());
    }
    journal
        .checks
        .retain(|check| check.id != CheckId::ArchiveIntact);
    journal.check(Check::failed(CheckId::ArchiveIntact, said, DAMAGED));
}

async fn stored(context: &Context) -> anyhow::Result<Source> {
    let stores = stores::open(&context.config).await?;
    let found = stores::find(&stores, &context.config.backup).await?;
    let index = publish::load_index(&found.store, &found.keys.index, &found.manifest).await?;
    published(found.store, found.keys.archive, index, found.manifest).await
}

/// A backup with its manifest, once its archive was seen to have the right length.
async fn published(
    store: Store,
    key: Key,
    index: Index,
    manifest: Manifest,
) -> anyhow::Result<Source> {
    // Whoever can write to the store can write the manifest; these options go to a program of ours.
    args::check_extra(&manifest.source.pg_dumpall_args)
        .map_err(|error| Damaged(format!("pg_dumpall_args: {error}")))?;
    let place = store.locate(&key);
    let Some(info) = store.head(&key).await? else {
        let text = format!("{place} does not exist although its manifest does");
        return Err(Damaged(text).into());
    };
    let stored = info.bytes;
    Ok(Source {
        wrong_length: (stored != index.archive_bytes).then(|| {
            format!(
                "{place} has {stored} bytes instead of {}",
                index.archive_bytes
            )
        }),
        store,
        key,
        index: Arc::new(index),
        manifest: Some(manifest),
        place,
        _repacked: None,
    })
}

/// A file: a backup of ours with its manifest and index beside it, an archive of ours without, or
/// any dump of pg_dumpall.
async fn file(context: &Context, path: &Path) -> anyhow::Result<Source> {
    let path = path
        .canonicalize()
        .with_context(|| format!("could not find {}", path.display()))?;
    let path = path.as_path();
    let (dir, name) = match (
        path.parent(),
        path.file_name().and_then(|name| name.to_str()),
    ) {
        (Some(dir), Some(name)) => (dir, name),
        _ => anyhow::bail!("could not read the name of {}", path.display()),
    };
    let store = Store::open_dir(dir).await?;
    if let Some(source) = beside(&store, name).await? {
        return Ok(source);
    }
    let text = path.display().to_string();
    let (in_place, is_cluster) = {
        let path = path.to_owned();
        tokio::task::spawn_blocking(move || look(&path))
            .await
            .context("the thread that looks at the file panicked")??
    };
    is_cluster.map_err(|what| not_a_cluster(&text, what))?;
    if in_place && let Ok(key) = Key::parse(name) {
        let rebuilt = rebuilt(context, path).await?;
        whole(&text, &rebuilt.completeness)?;
        if !rebuilt.index.members.is_empty() {
            return Ok(Source {
                store,
                key,
                index: Arc::new(rebuilt.index),
                manifest: None,
                place: text,
                wrong_length: None,
                _repacked: None,
            });
        }
    }
    repacked(context, path, text).await
}

/// The backup that `name` is the archive of, when its manifest lies beside it.
async fn beside(store: &Store, name: &str) -> anyhow::Result<Option<Source>> {
    let Some(stem) = name.strip_suffix(".sql.gz") else {
        return Ok(None);
    };
    let keys = [".manifest.json", ".index.json.gz", ".sql.gz"]
        .map(|suffix| Key::parse(&format!("{stem}{suffix}")));
    let [Ok(manifest_key), Ok(index_key), Ok(archive)] = keys else {
        return Ok(None);
    };
    if store.head(&manifest_key).await?.is_none() {
        return Ok(None);
    }
    let bytes = store.get(&manifest_key, manifest::MAX_BYTES).await?;
    let manifest = Manifest::parse(&bytes)
        .with_context(|| format!("could not use manifest {}", store.locate(&manifest_key)))?;
    let index = publish::load_index(store, &index_key, &manifest).await?;
    published(store.clone(), archive, index, manifest)
        .await
        .map(Some)
}

/// Whether a file may be an archive of ours (its first gzip member fits the format), and whether it
/// begins as pg_dumpall's output does; if not, what it is.
fn look(path: &Path) -> anyhow::Result<(bool, Result<(), &'static str>)> {
    let file = File::open(path).with_context(|| format!("could not open {}", path.display()))?;
    let mut reader = BufReader::new(file);
    let start = std::io::BufRead::fill_buf(&mut reader).context("could not read the file")?;
    let mut dump = Vec::new();
    let limit = BLOCK_BYTES as u64 + 1;
    let in_place = if start.starts_with(&[0x1f, 0x8b]) {
        // A member that is cut or damaged is found, and named, by the full read.
        let read = flate2::bufread::GzDecoder::new(reader)
            .take(limit)
            .read_to_end(&mut dump);
        read.is_ok() && dump.len() <= BLOCK_BYTES
    } else {
        reader
            .take(limit)
            .read_to_end(&mut dump)
            .context("could not read the file")?;
        false
    };
    Ok((in_place, header(&dump)))
}

/// What the first bytes of a dump say.
fn header(dump: &[u8]) -> Result<(), &'static str> {
    let says = |text: &str| dump.starts_with(format!("--\n-- {text}\n--\n").as_bytes());
    if dump.is_empty() || says("PostgreSQL database cluster dump") {
        return Ok(());
    }
    Err(if dump.starts_with(b"PGDMP") {
        "an archive in pg_dump's custom format"
    } else if says("PostgreSQL database dump") {
        "the dump of one database, made by pg_dump"
    } else {
        "no dump of PostgreSQL that this program knows"
    })
}

fn not_a_cluster(place: &str, what: &str) -> anyhow::Error {
    Explained::new(
        format!("{place} is {what}; only dumps of pg_dumpall can be restored here"),
        "Restore a dump of one database with `gunzip -c FILE | psql -X -v ON_ERROR_STOP=1 -1 -d NAME`, and pg_dump's custom format with pg_restore.",
    )
    .into()
}

async fn rebuilt(context: &Context, path: &Path) -> anyhow::Result<rebuild::Rebuilt> {
    let file = File::open(path).with_context(|| format!("could not open {}", path.display()))?;
    let bytes = file.metadata().context("could not read its size")?.len();
    context.progress.begin(Step::ReadBack, bytes);
    let progress = Arc::clone(&context.progress);
    tokio::task::spawn_blocking(move || {
        rebuild::rebuild(BufReader::with_capacity(256 * 1024, file), |bytes| {
            progress.advance(bytes)
        })
    })
    .await
    .context("the decoding thread panicked")?
    .map_err(|error| Damaged(format!("{}: {}", path.display(), error::one_line(&error))).into())
}

async fn repacked(context: &Context, path: &Path, place: String) -> anyhow::Result<Source> {
    context.progress.begin(Step::ReadBack, 0);
    let options = Options {
        level: context.config.level,
        jobs: context.config.jobs,
        stall_timeout: context.config.stall_timeout,
    };
    let made = repack::repack(path, &options, &context.cleanup, &context.progress).await?;
    whole(&place, &made.completeness)?;
    Ok(Source {
        store: made.store,
        key: made.key,
        index: Arc::new(made.index),
        manifest: None,
        place,
        wrong_length: None,
        _repacked: Some(made.place),
    })
}

/// A dump that was cut is not restored, whatever of it is there.
fn whole(place: &str, completeness: &Completeness) -> anyhow::Result<()> {
    if completeness.is_complete() {
        return Ok(());
    }
    let mut why = vec![format!("the dump ends {}", completeness.ended_in)];
    if !completeness.cluster_trailer {
        why.push("the trailer of pg_dumpall is missing".to_owned());
    }
    why.extend(completeness.restrict_fault.clone());
    let cut = completeness.databases.iter().filter(|(_, whole)| !whole);
    why.extend(cut.map(|(name, _)| format!("database {} is not complete", name.to_lossy())));
    Err(Damaged(format!("{place} is not a whole dump: {}", why.join("; "))).into())
}

/// What shows that the backup is not what it was, in contrast to a store that gives no answer.
pub(crate) fn is_damage(error: &anyhow::Error) -> bool {
    StoreErrorKind::of(error) == Some(StoreErrorKind::NotFound) || Damaged::is_cause_of(error)
}

fn tell(journal: &mut Journal, source: &Source) {
    let index = &source.index;
    journal.databases = manifest::summarise(index);
    match &source.manifest {
        Some(manifest) => {
            journal.cluster = manifest.source.cluster.clone();
            journal.source = Some(manifest.source.clone());
            journal.archive = Some(manifest.archive.clone());
        }
        None => {
            journal.cluster = source.place.clone();
            journal.archive = Some(ArchiveSummary {
                key: source.key.as_str().to_owned(),
                dump_bytes: index.dump_bytes,
                archive_bytes: index.archive_bytes,
                dump_sha256: index.dump_sha256,
                archive_sha256: index.archive_sha256,
                archive_crc64nvme: String::new(),
                rows: index.rows(),
                members: index.members.len() as u64,
            });
        }
    }
}

fn intact(source: &Source) -> Check {
    let from = match (&source.manifest, &source._repacked) {
        (Some(_), _) => "index, manifest and length agree",
        (None, None) => "a file without a manifest: every member decoded, the dump is whole",
        (None, Some(_)) => {
            "a file without a manifest: decoded to its end, the dump is whole; read again from a temporary copy with an index"
        }
    };
    Check::passed(
        CheckId::ArchiveIntact,
        format!(
            "{} of {}: {from}",
            format::bytes(source.index.archive_bytes),
            source.place
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_header_of_pg_dumpall_is_taken() {
        assert_eq!(
            header(b"--\n-- PostgreSQL database cluster dump\n--\n\n"),
            Ok(())
        );
        // An empty dump is a cut one, which says so itself.
        assert_eq!(header(b""), Ok(()));
        for (dump, what) in [
            (
                &b"--\n-- PostgreSQL database dump\n--\n"[..],
                "one database",
            ),
            (b"PGDMP\x01\x0f", "custom format"),
            (b"SELECT 1;", "no dump"),
        ] {
            assert!(header(dump).unwrap_err().contains(what));
        }
    }
}

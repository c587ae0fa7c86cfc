//! A dump that is no archive of ours (plain `pg_dumpall | gzip`) → an archive in a private temporary
//! directory, indexed in the same pass, so that whatever follows can read ranges of it.
//!
//! The directory is removed when [`Repacked`] is dropped; a run that is killed outright leaves it,
//! and the next one removes it.

use super::cleanup::Cleanup;
use super::copies::OpenCopy;
use super::pass::{self, Options};
use super::progress::Progress;
use super::scratch::Scratch;
use super::source::Input;
use crate::archive::index::Index;
use crate::archive::scanned::Completeness;
use crate::archive::validate::Damaged;
use crate::error::Explained;
use crate::store::{Key, Store};
use anyhow::{Context, ensure};
use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

const PREFIX: &str = "backup-action-repacked-";
const ARCHIVE: &str = "archive.sql.gz";

/// The archive that was made, for as long as this lives.
pub struct Repacked {
    /// The private directory.
    pub store: Store,
    /// The archive in it.
    pub key: Key,
    /// Its index.
    pub index: Index,
    /// Whether the dump is whole.
    pub completeness: Completeness,
    /// Keeps the directory.
    pub place: Scratch,
}

/// Decodes the file at `path` once (plain SQL is taken as it is) and repacks it.
///
/// # Errors
/// [`Explained`] when the temporary directory has no room for it; with [`Damaged`] in the chain
/// bytes that are no dump, or a cut gzip stream; trouble with the directory. Nothing is left behind.
pub async fn repack(
    path: &Path,
    options: &Options,
    cleanup: &Cleanup,
    progress: &Arc<Progress>,
) -> anyhow::Result<Repacked> {
    let file = File::open(path).with_context(|| format!("could not open {}", path.display()))?;
    let bytes = file.metadata().context("could not read its size")?.len();
    let place = Scratch::new(PREFIX)?;
    let store = Store::open_dir(place.path()).await?;
    room_for(&store, bytes).await?;
    let key = Key::parse(ARCHIVE)?;
    let copy = OpenCopy::begin(&store, &key, bytes, cleanup).await?;
    let mut copies = [copy];
    let input = Input::reader(decoded(file)?);
    // A file does not stop by itself, but the closed channels end its reader at the next block.
    let passed = pass::pass(input, &mut copies, options, progress, &|| {}).await?;
    let [copy] = copies;
    let (_, upload, ticket, failure) = copy.take();
    if let Some(error) = failure {
        return Err(error.context("could not write the temporary archive"));
    }
    if let Some(error) = passed.fault {
        return Err(match passed.unreadable || is_bad_gzip(&error) {
            true => Damaged(format!(
                "{}: {}",
                path.display(),
                crate::error::one_line(&error)
            ))
            .into(),
            false => error.context(format!("could not read {}", path.display())),
        });
    }
    let upload = upload.context("the temporary archive was given up")?;
    upload.seal().await?;
    cleanup.disarm(ticket);
    let completeness = passed.scan.completeness.clone();
    Ok(Repacked {
        index: passed.written.index(passed.scan, passed.digests?)?,
        store,
        key,
        completeness,
        place,
    })
}

/// Whether the decoder, and not the disk, gave up.
fn is_bad_gzip(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| {
            matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::InvalidInput | ErrorKind::InvalidData
            )
        })
    })
}

/// The dump in `file`.
fn decoded(file: File) -> anyhow::Result<Box<dyn Read + Send>> {
    let mut reader = BufReader::with_capacity(256 * 1024, file);
    let start = std::io::BufRead::fill_buf(&mut reader).context("could not read the file")?;
    ensure!(!start.is_empty(), "the file is empty");
    Ok(match start.starts_with(&[0x1f, 0x8b]) {
        true => Box::new(MultiGzDecoder::new(reader)),
        false => Box::new(reader),
    })
}

/// Level 1 of libdeflate is about as small as `gzip -6`; a quarter more is enough for any gzip, and
/// plain SQL becomes smaller.
async fn room_for(store: &Store, bytes: u64) -> anyhow::Result<()> {
    let need = bytes.saturating_add(bytes / 4);
    match store.free_space().await? {
        Some(free) if free.available_bytes < need => Err(Explained::new(
            format!(
                "{} has {} bytes free, about {need} are needed to repack the file",
                free.mount_point.display(),
                free.available_bytes
            ),
            "Set TMPDIR to a directory with more room.",
        )
        .into()),
        Some(_) | None => Ok(()),
    }
}

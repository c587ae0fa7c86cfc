//! Index, then manifest: with the manifest the backup exists. Each copy is published by itself, so
//! that one store failing does not spoil the other.

use super::cleanup::{Cleanup, Ticket, Undo};
use super::readback::{ReadBack, VerifiedCopy};
use super::seal::LostCopy;
use crate::archive::index::{Index, Sha256Digest};
use crate::manifest::{self, Manifest};
use crate::store::{BackupKeys, Store};
use anyhow::{Context, ensure};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::sync::Arc;

/// Keeps other modules from making the proof of this step.
struct Proof;

/// A backup that exists in at least one store. Only [`ReadBack::publish`] makes it.
pub struct Published {
    /// What is in the archive.
    pub index: Arc<Index>,
    /// The manifest, the same in every store.
    pub manifest: Manifest,
    /// The copies that exist, with how each was verified.
    pub copies: Vec<VerifiedCopy>,
    /// The copies that do not.
    pub lost: Vec<LostCopy>,
    _proof: Proof,
}

impl ReadBack {
    /// Writes index and manifest of every verified copy; `describe` makes the manifest from the
    /// size and digest of the stored index.
    ///
    /// # Errors
    /// No copy was verified, or none could be published: there is no backup.
    pub async fn publish(
        self,
        keys: &BackupKeys,
        describe: impl FnOnce(&Index, u64, Sha256Digest) -> Manifest,
        cleanup: &Cleanup,
    ) -> anyhow::Result<Published> {
        ensure!(!self.copies.is_empty(), "no store holds a verified copy");
        let index_bytes = encode_index(&self.index)?;
        let manifest = describe(
            &self.index,
            index_bytes.len() as u64,
            Sha256Digest(Sha256::digest(&index_bytes).into()),
        );
        let manifest_bytes = Bytes::from(manifest.to_bytes()?);
        let mut published = Published {
            index: self.index,
            manifest,
            copies: Vec::new(),
            lost: self.lost,
            _proof: Proof,
        };
        // Until every copy had its turn, an interrupted run takes all of them back.
        let mut finished = Vec::new();
        for copy in self.copies {
            match publish_copy(&copy, keys, &index_bytes, &manifest_bytes, cleanup).await {
                Ok(tickets) => {
                    finished.extend(tickets);
                    published.copies.push(copy);
                }
                Err(error) => published.lost.push(LostCopy {
                    store: copy.store,
                    error,
                }),
            }
        }
        for ticket in finished {
            cleanup.disarm(ticket);
        }
        if published.copies.is_empty() {
            let reasons: Vec<_> = published
                .lost
                .iter()
                .map(|lost| {
                    format!(
                        "{}: {}",
                        lost.store.describe(),
                        crate::error::one_line(&lost.error)
                    )
                })
                .collect();
            anyhow::bail!("no store could publish the backup: {}", reasons.join("; "));
        }
        Ok(published)
    }
}

async fn publish_copy(
    copy: &VerifiedCopy,
    keys: &BackupKeys,
    index: &Bytes,
    manifest: &Bytes,
    cleanup: &Cleanup,
) -> anyhow::Result<[Ticket; 3]> {
    let store = &copy.store;
    let index_ticket = cleanup.add(Undo::Delete(store.clone(), keys.index.clone()));
    store
        .put(&keys.index, index.clone(), "application/gzip")
        .await
        .inspect_err(|error| cleanup.disarm_foreign(index_ticket, error))
        .context("could not store the index")?;
    // From here a manifest may exist even when the answer is lost: it is first to go.
    let manifest_ticket = cleanup.add(Undo::Delete(store.clone(), keys.manifest.clone()));
    store
        .put(&keys.manifest, manifest.clone(), "application/json")
        .await
        .inspect_err(|error| cleanup.disarm_foreign(manifest_ticket, error))
        .context("could not store the manifest")?;
    let stored = store
        .get(&keys.manifest, manifest::MAX_BYTES)
        .await
        .context("could not read the manifest back")?;
    ensure!(
        stored == *manifest,
        "the stored manifest reads back with other bytes than were written"
    );
    Ok([manifest_ticket, index_ticket, copy.ticket])
}

/// The index as it is stored: JSON in gzip.
fn encode_index(index: &Index) -> anyhow::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    serde_json::to_writer(&mut encoder, index).context("could not write the index as JSON")?;
    encoder.flush().context("could not compress the index")?;
    Ok(encoder
        .finish()
        .context("could not compress the index")?
        .into())
}

/// Reads the index of a published backup and compares it with its manifest.
///
/// # Errors
/// Missing, changed, or the index of another archive.
pub async fn load_index(store: &Store, manifest: &Manifest) -> anyhow::Result<Index> {
    use std::io::Read;
    let key = crate::store::Key::parse(&manifest.index_key)?;
    let bytes = store
        .get(&key, manifest.index_bytes)
        .await
        .context("could not read the index")?;
    let sha256 = Sha256Digest(Sha256::digest(&bytes).into());
    ensure!(
        bytes.len() as u64 == manifest.index_bytes && sha256 == manifest.index_sha256,
        "the stored index is not the one that the manifest names"
    );
    let mut json = Vec::new();
    // The digest is ours, so the size of the JSON is what this program once wrote.
    flate2::bufread::GzDecoder::new(&bytes[..])
        .read_to_end(&mut json)
        .context("could not decompress the index")?;
    let index: Index = serde_json::from_slice(&json).context("index is not valid")?;
    ensure!(
        index.format == crate::archive::index::FORMAT,
        "index format {} is not known to this version",
        index.format
    );
    ensure!(
        index.archive_sha256 == manifest.archive.archive_sha256
            && index.dump_sha256 == manifest.archive.dump_sha256,
        "the index belongs to another archive"
    );
    let members: u64 = index
        .members
        .iter()
        .map(|member| u64::from(member.archive_bytes))
        .sum();
    ensure!(
        members == index.archive_bytes,
        "the members of the index do not add up to the archive"
    );
    Ok(index)
}

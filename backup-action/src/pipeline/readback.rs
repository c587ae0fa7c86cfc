//! The stored bytes are read back, decoded by another implementation than the one that compressed
//! them, and compared with what was written. A copy that differs is deleted and gets no manifest.

use super::cleanup::Cleanup;
use super::fetch::{self, Want};
use super::progress::Progress;
use super::seal::{LostCopy, Sealed, SealedCopy};
use crate::archive::index::{Index, Sha256Digest};
use crate::archive::read;
use crate::config::Verify;
use crate::store::{Key, Store};
use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Keeps other modules from making the proof of this step.
struct Proof;

/// How one copy was verified.
pub struct VerifiedCopy {
    /// The store.
    pub store: Store,
    /// The archive's CRC-64/NVME, ours.
    pub crc64nvme: String,
    /// Whether the store keeps a full-object checksum, equal to ours.
    pub store_checksum: bool,
    /// Whether every byte was read and decoded; else the store's checksum was believed.
    pub read_back: bool,
    pub(super) ticket: super::cleanup::Ticket,
}

/// The verified copies. Only [`Sealed::read_back`] makes it.
pub struct ReadBack {
    /// What is in the archive.
    pub index: Arc<Index>,
    /// Lowest and highest level used.
    pub levels_used: [u32; 2],
    /// Copies that hold what was written.
    pub copies: Vec<VerifiedCopy>,
    /// Copies that do not, or failed earlier.
    pub lost: Vec<LostCopy>,
    _proof: Proof,
}

impl Sealed {
    /// Verifies every copy. One that differs, or cannot be read, is deleted from its store.
    pub async fn read_back(
        self,
        key: &Key,
        how: Verify,
        jobs: usize,
        progress: &Arc<Progress>,
        cleanup: &Cleanup,
    ) -> ReadBack {
        let index = Arc::new(self.index);
        let mut proof = ReadBack {
            index: Arc::clone(&index),
            levels_used: self.levels_used,
            copies: Vec::new(),
            lost: self.lost,
            _proof: Proof,
        };
        for copy in self.copies {
            match verify_copy(&copy, key, &index, how, jobs, progress).await {
                Ok((store_checksum, read_back)) => proof.copies.push(VerifiedCopy {
                    store: copy.store,
                    crc64nvme: copy.object.crc64nvme,
                    store_checksum,
                    read_back,
                    ticket: copy.ticket,
                }),
                Err(error) => {
                    let error = match copy.store.delete(key).await {
                        Ok(()) => {
                            cleanup.disarm(copy.ticket);
                            error
                        }
                        // Still on the undo list; without a manifest it is no backup in any case.
                        Err(left) => error.context(format!(
                            "the object could not be deleted ({left:#}) but has no manifest"
                        )),
                    };
                    proof.lost.push(LostCopy {
                        store: copy.store,
                        error,
                    });
                }
            }
        }
        proof
    }
}

/// Length, checksum, then every byte. Returns whether the store's checksum was compared, and
/// whether the bytes were read.
async fn verify_copy(
    copy: &SealedCopy,
    key: &Key,
    index: &Arc<Index>,
    how: Verify,
    jobs: usize,
    progress: &Arc<Progress>,
) -> anyhow::Result<(bool, bool)> {
    let info = copy
        .store
        .head(key)
        .await?
        .context("the store does not have the archive that was just written")?;
    ensure!(
        info.bytes == index.archive_bytes,
        "the store holds {} bytes instead of {}",
        info.bytes,
        index.archive_bytes
    );
    let store_checksum = match &info.crc64nvme {
        None => false,
        Some(sum) if *sum == copy.object.crc64nvme => true,
        Some(sum) => anyhow::bail!(
            "the store's CRC-64/NVME is {sum} instead of {}",
            copy.object.crc64nvme
        ),
    };
    // Where the store keeps no checksum there is nothing to believe.
    if how == Verify::Checksum && store_checksum {
        return Ok((true, false));
    }
    // The SHA-256 of the archive proves that these are the bytes whose members were each compared
    // with the dump when they were made; decoding them shows that another program can.
    read_archive(&copy.store, key, index, Want::Proof, jobs, progress).await?;
    Ok((store_checksum, true))
}

/// Reads the whole archive, decodes it, and compares every member and the SHA-256 of the archive
/// with the index; with [`Want::Dump`] also the SHA-256 of the decoded dump.
///
/// # Errors
/// The first difference, with its place.
pub async fn read_archive(
    store: &Store,
    key: &Key,
    index: &Arc<Index>,
    want: Want,
    jobs: usize,
    progress: &Arc<Progress>,
) -> anyhow::Result<()> {
    let spans = read::spans(index, fetch::SPAN_BYTES);
    let mut decoded = fetch::spans(store, key, index, spans, want, jobs);
    let (queue, blocks) = std::sync::mpsc::sync_channel::<fetch::Decoded>(0);
    let digests = tokio::task::spawn_blocking(move || {
        let (mut archive, mut dump) = (Sha256::new(), Sha256::new());
        let mut dump_bytes = 0;
        while let Ok(block) = blocks.recv() {
            archive.update(&block.stored);
            dump.update(&block.dump);
            dump_bytes += block.span.dump.end - block.span.dump.start;
        }
        let [archive, dump] = [archive, dump].map(|sha256| Sha256Digest(sha256.finalize().into()));
        (archive, dump, dump_bytes)
    });
    while let Some(block) = fetch::next(&mut decoded, progress).await? {
        // A full queue must not block the runtime's thread.
        let queue = queue.clone();
        tokio::task::spawn_blocking(move || queue.send(block))
            .await
            .context("the hand-over to the digesting thread panicked")?
            .map_err(|_| anyhow::anyhow!("the digesting thread ended early"))?;
    }
    drop(queue);
    let (archive, dump, dump_bytes) = digests.await.context("the digesting thread panicked")?;
    ensure!(
        archive == index.archive_sha256,
        "SHA-256 of the stored archive is {archive} instead of {}",
        index.archive_sha256
    );
    ensure!(
        dump_bytes == index.dump_bytes,
        "archive decodes to {dump_bytes} bytes instead of {}",
        index.dump_bytes
    );
    match want {
        Want::Proof => {}
        Want::Dump => ensure!(
            dump == index.dump_sha256,
            "SHA-256 of the decoded dump is {dump} instead of {}",
            index.dump_sha256
        ),
    }
    Ok(())
}

//! One object on its way into a bucket: a single request when it fits one part, else a multipart
//! upload of equal parts. Memory: the parts on their way and the one that is being filled.
//!
//! Every multipart upload ends in a decided state: completed and confirmed by HEAD, or aborted. The
//! abort is the fence: once it was accepted, no late Complete can make the object appear.

use super::error::{StoreErrorKind, left_behind, store_error};
use super::s3::{S3Store, nonce};
use super::s3_abort::{abort, sweep_twins};
use super::s3_error::Call;
use super::s3_multipart::{complete, confirm, ensure_created, upload_part};
use super::s3_put::Put;
use super::s3_state::{CONTENT_TYPE, Created, Shared, Stage};
use super::{ABORT_DEADLINE, Key, ObjectInfo, SealedObject, crc64nvme_base64};
use anyhow::{Context, Result, anyhow};
use aws_sdk_s3::types::CompletedPart;
use bytes::{Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Mutex as AsyncMutex, Semaphore, watch};
use tokio::task::JoinSet;

/// S3's limit.
const MAX_PARTS: usize = 10_000;

pub(super) struct S3Upload {
    shared: Arc<Shared>,
    part_bytes: usize,
    filling: BytesMut,
    crc: Digest,
    bytes: u64,
    started_parts: usize,
    done: Vec<CompletedPart>,
    in_flight: Arc<Semaphore>,
}

impl S3Upload {
    pub(super) async fn start(store: S3Store, key: Key, expected_bytes: u64) -> Result<Self> {
        store.refuse_existing(&key, Call::CREATE).await?;
        let part_bytes = usize::try_from(store.config.part_bytes(expected_bytes))?.max(1);
        let in_flight = Arc::new(Semaphore::new(store.config.max_concurrency.max(1)));
        Ok(Self {
            shared: Arc::new(Shared {
                store,
                key,
                nonce: nonce()?,
                stage: Mutex::new(Stage::Open),
                cancel: watch::Sender::new(false),
                created: watch::Sender::new(Created::No),
                parts: AsyncMutex::new(JoinSet::new()),
                made: AtomicBool::new(false),
                create_attempts: Arc::new(AtomicU32::new(0)),
            }),
            part_bytes,
            filling: BytesMut::new(),
            crc: Digest::new(CrcAlgorithm::Crc64Nvme),
            bytes: 0,
            started_parts: 0,
            done: Vec::new(),
            in_flight,
        })
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    pub(super) async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        self.crc.update(&bytes);
        self.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            // Only when more bytes come is a full part known not to be the only one.
            if self.filling.len() == self.part_bytes {
                self.send_part().await?;
            }
            if self.filling.capacity() == 0 {
                self.filling.reserve(self.part_bytes);
            }
            let room = self.part_bytes - self.filling.len();
            self.filling
                .extend_from_slice(&bytes.split_to(bytes.len().min(room)));
        }
        Ok(())
    }

    /// Hands the full buffer to a task of its own, when there is room for one more on its way.
    async fn send_part(&mut self) -> Result<()> {
        if self.started_parts == MAX_PARTS {
            return Err(store_error(
                StoreErrorKind::Other,
                format!(
                    "cannot upload {}: more than {MAX_PARTS} parts of {} bytes",
                    self.shared.url(),
                    self.part_bytes
                ),
                "The dump is far larger than the cluster's size let expect. Give a larger estimate or part size.",
            ));
        }
        let upload_id = ensure_created(&self.shared).await?;
        let permit = {
            let free = Arc::clone(&self.in_flight).acquire_owned();
            self.shared
                .unless_cancelled(async { Ok(free.await?) })
                .await?
        };
        self.started_parts += 1;
        let number = i32::try_from(self.started_parts)?;
        let bytes = std::mem::take(&mut self.filling).freeze();
        let mut parts = self.shared.parts.lock().await;
        // A part that failed for good ends the upload now, not at the seal.
        while let Some(done) = parts.try_join_next() {
            self.done
                .push(done.context("the upload of a part stopped")??);
        }
        if self.shared.stage() != Stage::Open {
            return Err(anyhow!("the upload was aborted"));
        }
        parts.spawn(upload_part(
            Arc::clone(&self.shared),
            upload_id,
            number,
            bytes,
            permit,
        ));
        Ok(())
    }

    pub(super) async fn seal(mut self) -> Result<SealedObject> {
        let sealed = if self.started_parts == 0 {
            self.seal_single().await
        } else {
            self.seal_multipart().await
        };
        match sealed {
            Ok(info) => {
                self.shared.set_stage(Stage::Sealed);
                let sweep = tokio::time::timeout(ABORT_DEADLINE, sweep_twins(&self.shared)).await;
                let warnings = match sweep {
                    Ok(Ok(())) => Vec::new(),
                    Ok(Err(error)) => vec![format!("{error:#}")],
                    Err(_) => {
                        vec!["parts of a lost request may be left: no answer in time".to_owned()]
                    }
                };
                Ok(SealedObject {
                    key: info.key,
                    bytes: info.bytes,
                    crc64nvme: crc64nvme_base64(self.crc.finalize()),
                    store_checksum: self.shared.store.believed(info.crc64nvme),
                    warnings,
                })
            }
            Err(error) => match abort(&self.shared).await {
                Ok(()) => Err(error),
                Err(second) => Err(left_behind(error, &second)),
            },
        }
    }

    fn begin_sealing(&self) -> Result<()> {
        let mut stage = self
            .shared
            .stage
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match *stage {
            Stage::Open => {
                *stage = Stage::Sealing;
                Ok(())
            }
            Stage::Sealing | Stage::Sealed | Stage::Aborted => {
                Err(anyhow!("the upload was aborted"))
            }
        }
    }

    async fn seal_single(&mut self) -> Result<ObjectInfo> {
        self.begin_sealing()?;
        let bytes = std::mem::take(&mut self.filling).freeze();
        let length = bytes.len() as u64;
        let sum = crc64nvme_base64(self.crc.finalize());
        let shared = Arc::clone(&self.shared);
        let (store, key, nonce) = (&shared.store, &shared.key, &shared.nonce);
        shared
            .unless_cancelled(async {
                store
                    .put_as(key, bytes, CONTENT_TYPE, Put::Create, nonce)
                    .await?;
                shared.note_made();
                confirm(&shared, length, &sum).await
            })
            .await
    }

    async fn seal_multipart(&mut self) -> Result<ObjectInfo> {
        if !self.filling.is_empty() {
            self.send_part().await?;
        }
        let shared = Arc::clone(&self.shared);
        let upload_id = ensure_created(&shared).await?;
        let mut parts = std::mem::take(&mut self.done);
        shared
            .unless_cancelled(async {
                let mut running = shared.parts.lock().await;
                while let Some(done) = running.join_next().await {
                    parts.push(done.context("the upload of a part stopped")??);
                }
                Ok(())
            })
            .await?;
        parts.sort_by_key(CompletedPart::part_number);
        if parts.len() != self.started_parts {
            return Err(anyhow!("a part of {} got lost", shared.url()));
        }
        shared
            .store
            .refuse_existing(&shared.key, Call::COMPLETE)
            .await?;
        self.begin_sealing()?;
        let sum = crc64nvme_base64(self.crc.finalize());
        shared
            .unless_cancelled(complete(&shared, &upload_id, parts, self.bytes, &sum))
            .await
    }
}

/// Starts the upload and aborts it: whether the right to abort is there.
pub(super) async fn probe_abort(upload: S3Upload) -> Result<bool> {
    let shared = upload.shared();
    ensure_created(&shared).await?;
    match abort(&shared).await {
        Ok(()) => Ok(true),
        Err(error) if StoreErrorKind::of(&error) == Some(StoreErrorKind::Denied) => Ok(false),
        Err(error) => Err(error),
    }
}

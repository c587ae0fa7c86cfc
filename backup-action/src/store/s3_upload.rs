//! One object on its way into a bucket: a single request when it fits one part, else a multipart
//! upload of equal parts. Memory: the parts on their way and the one that is being filled.
//!
//! Every multipart upload ends in a decided state: completed and confirmed by HEAD, or aborted. The
//! abort is the fence: once it was accepted, no late Complete can make the object appear.

use super::error::{StoreErrorKind, left_behind, store_error};
use super::s3::{OUTER_ATTEMPTS, Owner, Put, S3Store, exists, nonce, nonce_metadata, patiently};
use super::s3_error::{Call, Failure, code, failure, nonsense, status};
use super::{ABORT_DEADLINE, Key, ObjectInfo, SealedObject, crc64nvme_base64};
use anyhow::{Context, Result, anyhow};
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use bytes::{Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, Digest, checksum};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

/// S3's limit.
const MAX_PARTS: usize = 10_000;

const CONTENT_TYPE: &str = "application/gzip";

/// What the upload, its tasks and its abort handles share.
pub(super) struct Shared {
    store: S3Store,
    key: Key,
    nonce: String,
    stage: Mutex<Stage>,
    /// Set once; everything that waits stops.
    cancel: watch::Sender<bool>,
    created: watch::Sender<Created>,
    parts: AsyncMutex<JoinSet<Result<CompletedPart>>>,
    /// The store said that it made the object, which no other write can have made.
    made: AtomicBool,
    /// Attempts at creating the upload: after a lost answer there may be a second one.
    create_attempts: Arc<AtomicU32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// The request that makes the object visible may be on its way.
    Sealing,
    Sealed,
    Aborted,
}

/// The multipart upload's id.
#[derive(Clone, Debug)]
enum Created {
    /// Nothing was asked for.
    No,
    Asked,
    Yes(String),
    Failed,
}

impl Shared {
    fn stage(&self) -> Stage {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_stage(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    /// Only where create-only writes hold can the object be nobody else's.
    fn note_made(&self) {
        let conditional = self.store.if_none_match().is_some();
        self.made.store(conditional, Ordering::Relaxed);
    }

    fn url(&self) -> String {
        self.store.url(Some(&self.key))
    }

    /// Runs `work` unless the upload is cancelled meanwhile.
    async fn unless_cancelled<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut cancelled = self.cancel.subscribe();
        tokio::select! {
            biased;
            _ = cancelled.wait_for(|cancelled| *cancelled) => Err(anyhow!("the upload was aborted")),
            result = work => result,
        }
    }
}

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
    pub(super) fn start(store: S3Store, key: Key, expected_bytes: u64) -> Result<Self> {
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
                    store_checksum: info.crc64nvme,
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

/// The id of the multipart upload, which is asked for once, by a task that outlives this call: its
/// answer must be known to whoever cleans up.
async fn ensure_created(shared: &Arc<Shared>) -> Result<String> {
    let mut created = shared.created.subscribe();
    let first = shared.created.send_if_modified(|created| match created {
        Created::No => {
            *created = Created::Asked;
            true
        }
        Created::Asked | Created::Yes(_) | Created::Failed => false,
    });
    if !first {
        let answered = created.wait_for(|c| matches!(c, Created::Yes(_) | Created::Failed));
        let answer = shared
            .unless_cancelled(async { Ok(answered.await?.clone()) })
            .await?;
        return match answer {
            Created::Yes(id) => Ok(id),
            Created::No | Created::Asked | Created::Failed => {
                Err(anyhow!("the upload was not started"))
            }
        };
    }
    let task = tokio::spawn({
        let shared = Arc::clone(shared);
        async move {
            let answer = create(&shared).await;
            let created = match &answer {
                Ok(id) => Created::Yes(id.clone()),
                Err(_) => Created::Failed,
            };
            shared.created.send_replace(created);
            // Whoever aborted may have gone before this answer came.
            if let (Ok(id), Stage::Aborted) = (&answer, shared.stage()) {
                abort_upload(&shared, id).await?;
            }
            answer
        }
    });
    shared
        .unless_cancelled(async { task.await.context("the start of the upload stopped")? })
        .await
}

async fn create(shared: &Shared) -> Result<String> {
    let store = &shared.store;
    let (sse, kms_key) = store.sse();
    let sums = store.checksums.load(Ordering::Relaxed);
    let request = store
        .client
        .create_multipart_upload()
        .bucket(&store.config.bucket)
        .key(store.object(&shared.key))
        .content_type(CONTENT_TYPE)
        .metadata(nonce_metadata(), &shared.nonce)
        .set_checksum_algorithm(sums.then_some(ChecksumAlgorithm::Crc64Nvme))
        .set_checksum_type(sums.then_some(ChecksumType::FullObject))
        .set_server_side_encryption(sse)
        .set_ssekms_key_id(kms_key)
        .set_storage_class(store.storage_class());
    let count = || CountAttempts(Arc::clone(&shared.create_attempts));
    for _ in 0..OUTER_ATTEMPTS {
        let send = || request.clone().customize().interceptor(count()).send();
        let answer = patiently(send).await.map_err(|error| {
            let attempts = &shared.create_attempts;
            if failure(&error) == Failure::Refused && attempts.load(Ordering::Relaxed) == 1 {
                // A plain no leaves nothing to look for.
                attempts.store(0, Ordering::Relaxed);
            }
            store.explain(Call::CREATE, &shared.url(), error)
        })?;
        match answer.upload_id() {
            Some(id) if !id.is_empty() => return Ok(id.to_owned()),
            _ => {} // As good as a lost answer.
        }
    }
    Err(nonsense(Call::CREATE, &shared.url(), "holds no upload id"))
}

async fn upload_part(
    shared: Arc<Shared>,
    upload_id: String,
    number: i32,
    bytes: Bytes,
    permit: OwnedSemaphorePermit,
) -> Result<CompletedPart> {
    let store = &shared.store;
    let sum = crc64nvme_base64(checksum(CrcAlgorithm::Crc64Nvme, &bytes));
    let target = shared.url();
    let mut attempt = 0;
    let tag = loop {
        attempt += 1;
        let request = || {
            store
                .client
                .upload_part()
                .bucket(&store.config.bucket)
                .key(store.object(&shared.key))
                .upload_id(&upload_id)
                .part_number(number)
                .set_checksum_crc64_nvme(store.sum_to_send(&sum))
                .body(ByteStream::from(bytes.clone()))
                .customize()
                .config_override(store.transfer_deadlines(bytes.len() as u64))
                .send()
        };
        let answer = patiently(request)
            .await
            .map_err(|error| store.explain(Call::PART, &target, error))?;
        match (answer.e_tag(), answer.checksum_crc64_nvme()) {
            (Some(_), Some(stored)) if stored != sum => {
                let why = format!("says that part {number} has the checksum {stored}, not {sum}");
                return Err(nonsense(Call::PART, &target, &why));
            }
            (Some(tag), _) => break tag.to_owned(),
            // Uploading a part again replaces it.
            (None, _) if attempt < OUTER_ATTEMPTS => {}
            (None, _) => return Err(nonsense(Call::PART, &target, "holds no ETag")),
        }
    };
    // The memory of the part is free only now.
    drop(bytes);
    drop(permit);
    Ok(CompletedPart::builder()
        .part_number(number)
        .e_tag(tag)
        .set_checksum_crc64_nvme(store.sum_to_send(&sum))
        .build())
}

async fn complete(
    shared: &Arc<Shared>,
    upload_id: &str,
    parts: Vec<CompletedPart>,
    bytes: u64,
    sum: &str,
) -> Result<ObjectInfo> {
    let store = &shared.store;
    let sums = store.checksums.load(Ordering::Relaxed);
    let answer = store
        .client
        .complete_multipart_upload()
        .bucket(&store.config.bucket)
        .key(store.object(&shared.key))
        .upload_id(upload_id)
        .multipart_upload(
            CompletedMultipartUpload::builder()
                .set_parts(Some(parts))
                .build(),
        )
        .set_if_none_match(store.if_none_match())
        .set_checksum_crc64_nvme(store.sum_to_send(sum))
        .set_checksum_type(sums.then_some(ChecksumType::FullObject))
        .mpu_object_size(i64::try_from(bytes)?)
        .customize()
        .config_override(store.override_deadlines(store.config.timeouts.complete))
        .send()
        .await;
    let target = shared.url();
    let (error, failure) = match answer {
        Ok(answer) if answer.e_tag().is_some() => {
            shared.note_made();
            return confirm(shared, bytes, sum).await;
        }
        Ok(_) => (
            nonsense(Call::COMPLETE, &target, "holds no ETag"),
            Failure::Unknown,
        ),
        Err(error) => {
            // A second attempt finds the upload gone when the first was applied.
            let gone = code(&error) == Some("NoSuchUpload");
            let failure = if gone {
                Failure::Unknown
            } else {
                failure(&error)
            };
            (store.explain(Call::COMPLETE, &target, error), failure)
        }
    };
    match failure {
        Failure::Refused | Failure::NotImplemented => return Err(error),
        Failure::Conflict | Failure::Unknown => {}
    }
    match store.owner(&shared.key, &shared.nonce).await {
        Ok(Owner::Us(_)) => return confirm(shared, bytes, sum).await,
        Ok(Owner::SomebodyElse) => return Err(exists(Call::COMPLETE, &target)),
        Ok(Owner::Nobody) => {}
        Err(second) => return Err(left_behind(error, &second)),
    }
    // It may still be applied, unless the abort comes first. So abort, and look once more.
    let aborted = abort_upload(shared, upload_id).await;
    match (store.owner(&shared.key, &shared.nonce).await, aborted) {
        (Ok(Owner::Us(_)), _) => confirm(shared, bytes, sum).await,
        (Ok(Owner::SomebodyElse), _) => Err(exists(Call::COMPLETE, &target)),
        (Ok(Owner::Nobody), Ok(())) => Err(error),
        (Ok(Owner::Nobody), Err(second)) | (Err(second), _) => Err(left_behind(error, &second)),
    }
}

/// The store must show our object with our size and sum.
async fn confirm(shared: &Shared, bytes: u64, sum: &str) -> Result<ObjectInfo> {
    match shared.store.owner(&shared.key, &shared.nonce).await? {
        Owner::Us(info) => shared.store.agree(info, bytes, sum),
        Owner::SomebodyElse => Err(exists(Call::COMPLETE, &shared.url())),
        Owner::Nobody => Err(store_error(
            StoreErrorKind::Other,
            format!("{} was written but is not there", shared.url()),
            "The store accepted the object and does not show it. Do not trust it before this is understood.",
        )),
    }
}

/// Ends an upload from outside or after an error.
pub(super) async fn abort(shared: &Arc<Shared>) -> Result<()> {
    shared.cancel.send_replace(true);
    let before = {
        let mut stage = shared.stage.lock().unwrap_or_else(PoisonError::into_inner);
        match *stage {
            Stage::Sealed | Stage::Aborted => return Ok(()),
            Stage::Open | Stage::Sealing => std::mem::replace(&mut *stage, Stage::Aborted),
        }
    };
    let cleaned = tokio::time::timeout(ABORT_DEADLINE, clean_up(shared, before)).await;
    let result = match cleaned {
        Ok(result) => result,
        Err(_) => Err(anyhow!("no answer in time")),
    };
    if result.is_err() {
        // Another call may try again.
        shared.set_stage(before);
    }
    result.with_context(|| {
        format!(
            "could not clean up {}: parts may be left in the bucket, where they cost money until a lifecycle \
             rule (AbortIncompleteMultipartUpload) removes them",
            shared.url()
        )
    })
}

async fn clean_up(shared: &Arc<Shared>, before: Stage) -> Result<()> {
    shared.parts.lock().await.shutdown().await;
    let mut created = shared.created.subscribe();
    let answered = created
        .wait_for(|created| !matches!(created, Created::Asked))
        .await?
        .clone();
    match answered {
        Created::Yes(id) => abort_upload(shared, &id).await?,
        Created::No | Created::Failed | Created::Asked => {}
    }
    sweep_twins(shared).await?;
    // A Complete or Put whose answer nobody waited for may have been applied.
    let ours = async {
        let owner = shared.store.owner(&shared.key, &shared.nonce).await?;
        anyhow::Ok(matches!(owner, Owner::Us(_)))
    };
    let made = shared.made.load(Ordering::Relaxed);
    if before == Stage::Sealing && (made || ours.await?) {
        shared.store.delete(&shared.key).await?;
    }
    Ok(())
}

/// Aborts until the store says that the upload is gone: a part that was still on its way can
/// arrive after the first abort.
async fn abort_upload(shared: &Shared, upload_id: &str) -> Result<()> {
    let store = &shared.store;
    let request = store
        .client
        .abort_multipart_upload()
        .bucket(&store.config.bucket)
        .key(store.object(&shared.key))
        .upload_id(upload_id);
    for _ in 0..5 {
        match patiently(|| request.clone().send()).await {
            Ok(_) => {}
            Err(error) if is_gone(code(&error), status(&error)) => return Ok(()),
            Err(error) => return Err(store.explain(Call::ABORT, &shared.url(), error)),
        }
        match parts_of(shared, upload_id).await {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            // Without the right to look, the accepted abort has to do.
            Err(error) if StoreErrorKind::of(&error) == Some(StoreErrorKind::Denied) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(anyhow!(
        "the upload of {} is still there after its abort",
        shared.url()
    ))
}

fn is_gone(code: Option<&str>, status: Option<u16>) -> bool {
    code == Some("NoSuchUpload") || (code.is_none() && status == Some(404))
}

/// How many parts (of the first page) an upload has; none when there is no such upload.
async fn parts_of(shared: &Shared, upload_id: &str) -> Result<Option<usize>> {
    let store = &shared.store;
    let request = store
        .client
        .list_parts()
        .bucket(&store.config.bucket)
        .key(store.object(&shared.key))
        .upload_id(upload_id);
    match patiently(|| request.clone().send()).await {
        Ok(parts) => Ok(Some(parts.parts().len())),
        Err(error) if is_gone(code(&error), status(&error)) => Ok(None),
        Err(error) => Err(store.explain(Call::LIST_PARTS, &shared.url(), error)),
    }
}

/// Removes the empty upload that a lost answer to our first CreateMultipartUpload left behind. One
/// with parts belongs to another run.
async fn sweep_twins(shared: &Arc<Shared>) -> Result<()> {
    let asked = shared.create_attempts.load(Ordering::Relaxed);
    let ours = match &*shared.created.borrow() {
        Created::Yes(id) => Some(id.clone()),
        Created::No | Created::Asked | Created::Failed => None,
    };
    if asked == 0 || (asked == 1 && ours.is_some()) {
        return Ok(());
    }
    let store = &shared.store;
    let object = store.object(&shared.key);
    let request = store
        .client
        .list_multipart_uploads()
        .bucket(&store.config.bucket)
        .prefix(&object);
    let uploads = patiently(|| request.clone().send())
        .await
        .map_err(|error| store.explain(Call::LIST_UPLOADS, &shared.url(), error))?;
    if uploads.bucket().is_none() {
        return Err(nonsense(Call::LIST_UPLOADS, &shared.url(), "is no listing"));
    }
    for upload in uploads.uploads() {
        let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) else {
            continue;
        };
        if key == object && ours.as_deref() != Some(id) && parts_of(shared, id).await? == Some(0) {
            abort_upload(shared, id).await?;
        }
    }
    Ok(())
}

#[derive(Debug)]
struct CountAttempts(Arc<AtomicU32>);

impl Intercept for CountAttempts {
    fn name(&self) -> &'static str {
        "CountAttempts"
    }

    fn read_before_attempt(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
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

//! The requests of a multipart upload: create, part, complete. Which of them when is decided in
//! `s3_upload`; taking them back is in `s3_abort`.

use super::error::{StoreErrorKind, left_behind, store_error};
use super::s3::{OUTER_ATTEMPTS, exists, patiently};
use super::s3_abort::abort_upload;
use super::s3_error::{Call, Failure, code, failure, nonsense};
use super::s3_put::{NONCE, Owner};
use super::s3_state::{CONTENT_TYPE, Created, Shared, Stage};
use super::{ObjectInfo, crc64nvme_base64};
use anyhow::{Context, Result, anyhow};
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::OwnedSemaphorePermit;

/// The id of the multipart upload, which is asked for once, by a task that outlives this call: its
/// answer must be known to whoever cleans up.
pub(super) async fn ensure_created(shared: &Arc<Shared>) -> Result<String> {
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
        .metadata(NONCE, &shared.nonce)
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

pub(super) async fn upload_part(
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

pub(super) async fn complete(
    shared: &Arc<Shared>,
    upload_id: &str,
    parts: Vec<CompletedPart>,
    bytes: u64,
    sum: &str,
) -> Result<ObjectInfo> {
    let store = &shared.store;
    let sums = store.checksums.load(Ordering::Relaxed);
    let request = store
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
        .mpu_object_size(i64::try_from(bytes)?);
    let send = || {
        let deadlines = store.override_deadlines(store.config.timeouts.complete);
        request
            .clone()
            .customize()
            .config_override(deadlines)
            .send()
    };
    let answer = patiently(send).await;
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
pub(super) async fn confirm(shared: &Shared, bytes: u64, sum: &str) -> Result<ObjectInfo> {
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

//! Copies that the store makes itself: one request up to 5 GiB, else a multipart upload whose parts
//! are ranges of the source. Create-only, like every write; a lost answer is decided by looking.

use super::error::{StoreErrorKind, left_behind, store_error};
use super::s3::{OUTER_ATTEMPTS, S3Store, exists, nonce, patiently};
use super::s3_abort::{abort, sweep_twins};
use super::s3_error::{Call, Failure, failure, nonsense};
use super::s3_multipart::{complete, ensure_created};
use super::s3_put::{NONCE, Owner};
use super::s3_state::{Shared, Stage};
use super::s3_upload::S3Upload;
use super::{Copied, CopyRequest, Key};
use crate::error::one_line;
use anyhow::{Context, Result};
use aws_sdk_s3::types::{
    ChecksumAlgorithm, CompletedPart, MetadataDirective, StorageClass, TaggingDirective,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a source may hold as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// How much of a large object the store may be asked to copy at the same time, in requests.
const AT_ONCE: usize = 4;

impl S3Store {
    pub(super) async fn copy(
        &self,
        request: &CopyRequest<'_>,
        begun: &(dyn Fn(Arc<Shared>) + Sync),
    ) -> Result<Copied> {
        // Not every store knows a condition on a copy.
        if self.head(request.to).await?.is_some() {
            return Err(exists(Call::COPY, &self.url(Some(request.to))));
        }
        let class = request.storage_class;
        match self.copy_as(request, class, begun).await {
            Ok(()) => Ok(Copied {
                class_refused: false,
            }),
            Err(error) if class.is_some() && is_about_class(&error) => {
                self.copy_as(request, None, begun).await?;
                Ok(Copied {
                    class_refused: true,
                })
            }
            Err(error) => Err(error),
        }
    }

    async fn copy_as(
        &self,
        request: &CopyRequest<'_>,
        class: Option<&str>,
        begun: &(dyn Fn(Arc<Shared>) + Sync),
    ) -> Result<()> {
        if request.bytes > self.config.max_copy_bytes {
            let store = self.with_storage_class(class.map(str::to_owned));
            store.copy_parts(request, begun).await
        } else {
            self.copy_whole(request, class).await
        }
    }

    async fn copy_whole(&self, request: &CopyRequest<'_>, class: Option<&str>) -> Result<()> {
        let target = self.url(Some(request.to));
        let nonce = nonce()?;
        let (sse, kms_key) = self.sse();
        let mut conditional = true;
        let mut attempt = 0;
        loop {
            attempt += 1;
            // A store that does not compare sums may compute wrong ones.
            let sums = self.checksums.load(Ordering::Relaxed)
                && self.sums_believed.load(Ordering::Relaxed);
            let answer = self
                .client
                .copy_object()
                .bucket(&self.config.bucket)
                .copy_source(self.source(request.from))
                .key(self.object(request.to))
                .metadata_directive(MetadataDirective::Replace)
                .metadata(NONCE, &nonce)
                .content_type(request.content_type)
                // The tags of the source belong to its tier.
                .tagging_directive(TaggingDirective::Replace)
                .set_if_none_match(self.if_none_match().filter(|_| conditional))
                .set_checksum_algorithm(sums.then_some(ChecksumAlgorithm::Crc64Nvme))
                .set_server_side_encryption(sse.clone())
                .set_ssekms_key_id(kms_key.clone())
                .set_storage_class(class.map(StorageClass::from))
                .customize()
                .config_override(self.transfer_deadlines(request.bytes))
                .send()
                .await;
            let error = match answer {
                Ok(answer) if answer.copy_object_result().is_some() => return Ok(()),
                Ok(_) => nonsense(Call::COPY, &target, "holds no result"),
                Err(error) => {
                    let failure = failure(&error);
                    let error = self.explain(Call::COPY, &target, error);
                    match failure {
                        Failure::Unknown | Failure::Conflict => error,
                        Failure::NotImplemented if conditional => {
                            conditional = false;
                            continue;
                        }
                        Failure::Refused | Failure::NotImplemented => return Err(error),
                    }
                }
            };
            match self.owner(request.to, &nonce).await {
                Ok(Owner::Us(_)) => return Ok(()),
                Ok(Owner::SomebodyElse) => return Err(exists(Call::COPY, &target)),
                Ok(Owner::Nobody) if attempt < OUTER_ATTEMPTS => {
                    tokio::time::sleep(self.config.timeouts.backoff).await;
                }
                Ok(Owner::Nobody) => return Err(error),
                Err(second) => return Err(left_behind(error, &second)),
            }
        }
    }

    async fn copy_parts(
        &self,
        request: &CopyRequest<'_>,
        begun: &(dyn Fn(Arc<Shared>) + Sync),
    ) -> Result<()> {
        let Some(sum) = request.crc64nvme else {
            return Err(store_error(
                StoreErrorKind::Other,
                format!(
                    "cannot copy {} bytes to {} without their checksum",
                    request.bytes,
                    self.url(Some(request.to))
                ),
                "Only archives are that large; look at what lies under that name.",
            ));
        };
        let upload = S3Upload::start(self.clone(), request.to.clone(), request.bytes).await?;
        let shared = upload.shared();
        begun(Arc::clone(&shared));
        let made = async {
            let upload_id = ensure_created(&shared).await?;
            let parts = self.parts(&shared, &upload_id, request).await?;
            shared.set_stage(Stage::Sealing);
            complete(&shared, &upload_id, parts, request.bytes, sum).await
        };
        match made.await {
            Ok(_) => {
                shared.set_stage(Stage::Sealed);
                sweep_twins(&shared).await
            }
            Err(error) => match abort(&shared).await {
                Ok(()) => Err(error),
                Err(second) => Err(left_behind(error, &second)),
            },
        }
    }

    async fn parts(
        &self,
        shared: &Arc<Shared>,
        upload_id: &str,
        request: &CopyRequest<'_>,
    ) -> Result<Vec<CompletedPart>> {
        let size = self.config.copy_part_bytes(request.bytes).max(1);
        let source = self.source(request.from);
        let mut ranges = (0..request.bytes)
            .step_by(usize::try_from(size)?)
            .map(|start| start..(start + size).min(request.bytes))
            .zip(1..);
        let mut running = shared.parts.lock().await;
        let mut done = Vec::new();
        loop {
            while running.len() < AT_ONCE
                && let Some((range, number)) = ranges.next()
            {
                let (shared, id, source) =
                    (Arc::clone(shared), upload_id.to_owned(), source.clone());
                running.spawn(async move { copy_part(&shared, id, source, range, number).await });
            }
            match running.join_next().await {
                Some(part) => done.push(part.context("the copy of a part stopped")??),
                None => break,
            }
        }
        drop(running);
        done.sort_by_key(CompletedPart::part_number);
        Ok(done)
    }

    /// `bucket/key`, as the header wants it.
    fn source(&self, key: &Key) -> String {
        let path = format!("{}/{}", self.config.bucket, self.object(key));
        utf8_percent_encode(&path, PLAIN).to_string()
    }
}

async fn copy_part(
    shared: &Shared,
    upload_id: String,
    source: String,
    range: std::ops::Range<u64>,
    number: i32,
) -> Result<CompletedPart> {
    let store = &shared.store;
    let target = shared.url();
    let request = || {
        store
            .client
            .upload_part_copy()
            .bucket(&store.config.bucket)
            .key(store.object(&shared.key))
            .copy_source(&source)
            .copy_source_range(format!("bytes={}-{}", range.start, range.end - 1))
            .upload_id(&upload_id)
            .part_number(number)
            .customize()
            .config_override(store.transfer_deadlines(range.end - range.start))
            .send()
    };
    let answer = patiently(request)
        .await
        .map_err(|error| store.explain(Call::COPY_PART, &target, error))?;
    let result = answer.copy_part_result();
    match result.and_then(|result| result.e_tag()) {
        Some(tag) => Ok(CompletedPart::builder()
            .part_number(number)
            .e_tag(tag)
            .set_checksum_crc64_nvme(
                result.and_then(|result| result.checksum_crc64_nvme().map(str::to_owned)),
            )
            .build()),
        None => Err(nonsense(Call::COPY_PART, &target, "holds no ETag")),
    }
}

/// Whether the store may have said no to the storage class. Its code is in the text of the error,
/// also where a copy in parts failed at its beginning.
fn is_about_class(error: &anyhow::Error) -> bool {
    let text = one_line(error);
    ["InvalidStorageClass", "NotImplemented", "InvalidArgument"]
        .iter()
        .any(|code| text.contains(code))
}

//! Small writes to a bucket, and whose object is there afterwards. Create-only but for `Overwrite`;
//! streams are in `s3_upload`.

use super::error::{StoreErrorKind, left_behind, store_error};
use super::s3::{OUTER_ATTEMPTS, S3Store, exists, nonce};
use super::s3_error::{Call, Failure, failure, nonsense};
use super::s3_read::info;
use super::{Key, ObjectInfo, crc64nvme_base64};
use anyhow::Result;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum};
use std::sync::atomic::Ordering;

/// The metadata that holds the nonce of a write.
pub(super) const NONCE: &str = "backup-action-write";

/// Whether a write may replace an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    Create,
    Overwrite,
}

/// Whose object lies under a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// It carries the nonce of this write. With the store's size and checksum.
    Us(ObjectInfo),
    SomebodyElse,
    Nobody,
}

impl S3Store {
    /// Where the store ignores conditions, looking first is the best there is.
    pub(super) async fn refuse_existing(&self, key: &Key, call: Call) -> Result<()> {
        if self.conditional_writes.load(Ordering::Relaxed) || self.head(key).await?.is_none() {
            return Ok(());
        }
        Err(exists(call, &self.url(Some(key))))
    }

    /// A `put` that is dropped closes its connection, which usually ends the request. Where the
    /// store had all of it already, it may still make the object after a later DELETE: nothing that
    /// a client does at that moment can tell. Bucket rules remove what stays.
    pub(super) async fn put(
        &self,
        key: &Key,
        bytes: Bytes,
        content_type: &str,
        put: Put,
    ) -> Result<()> {
        if put == Put::Create {
            self.refuse_existing(key, Call::PUT).await?;
        }
        let nonce = nonce()?;
        self.put_as(key, bytes, content_type, put, &nonce).await?;
        Ok(())
    }

    /// Writes an object that carries `nonce`, and returns what the store has then.
    pub(super) async fn put_as(
        &self,
        key: &Key,
        bytes: Bytes,
        content_type: &str,
        put: Put,
        nonce: &str,
    ) -> Result<ObjectInfo> {
        let target = self.url(Some(key));
        let length = bytes.len() as u64;
        let sum = crc64nvme_base64(checksum(CrcAlgorithm::Crc64Nvme, &bytes));
        let (sse, kms_key) = self.sse();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let answer = self
                .client
                .put_object()
                .bucket(&self.config.bucket)
                .key(self.object(key))
                .content_type(content_type)
                .metadata(NONCE, nonce)
                .set_if_none_match(match put {
                    Put::Create => self.if_none_match(),
                    Put::Overwrite => None,
                })
                .set_checksum_crc64_nvme(self.sum_to_send(&sum))
                .set_server_side_encryption(sse.clone())
                .set_ssekms_key_id(kms_key.clone())
                .set_storage_class(self.storage_class())
                .body(ByteStream::from(bytes.clone()))
                .customize()
                .config_override(self.transfer_deadlines(length))
                .send()
                .await;
            let error = match answer {
                Ok(answer) if answer.e_tag().is_some() => {
                    let stored = answer.checksum_crc64_nvme().map(str::to_owned);
                    let info = ObjectInfo {
                        key: key.clone(),
                        bytes: length,
                        crc64nvme: stored,
                        modified: None,
                    };
                    return self.agree(info, length, &sum);
                }
                Ok(_) => nonsense(Call::PUT, &target, "holds no ETag"),
                Err(error) => {
                    let failure = failure(&error);
                    let error = self.explain(Call::PUT, &target, error);
                    match failure {
                        Failure::Unknown | Failure::Conflict => error,
                        Failure::Refused | Failure::NotImplemented => return Err(error),
                    }
                }
            };
            // The answer was lost, or the SDK's second attempt met the object of its first.
            match self.owner(key, nonce).await {
                Ok(Owner::Us(info)) => return self.agree(info, length, &sum),
                Ok(Owner::SomebodyElse) if put == Put::Create => {
                    return Err(exists(Call::PUT, &target));
                }
                Ok(Owner::SomebodyElse | Owner::Nobody) if attempt < OUTER_ATTEMPTS => {
                    tokio::time::sleep(self.config.timeouts.backoff).await;
                }
                Ok(Owner::SomebodyElse | Owner::Nobody) => return Err(error),
                Err(second) => return Err(left_behind(error, &second)),
            }
        }
    }

    /// The store must have the bytes that were sent.
    pub(super) fn agree(&self, info: ObjectInfo, bytes: u64, sum: &str) -> Result<ObjectInfo> {
        let target = self.url(Some(&info.key));
        if info.bytes != bytes {
            return Err(store_error(
                StoreErrorKind::Other,
                format!(
                    "{target} has {} bytes in the store, {bytes} were sent",
                    info.bytes
                ),
                "The store lost or added bytes. Do not trust it before this is understood.",
            ));
        }
        match &info.crc64nvme {
            Some(stored) if stored != sum => Err(store_error(
                StoreErrorKind::Other,
                format!("{target} has the CRC-64/NVME {stored} in the store, {sum} was sent"),
                "The store changed the bytes. Do not trust it before this is understood.",
            )),
            _ => Ok(info),
        }
    }

    /// Whether the object under `key` was written with `nonce`.
    pub(super) async fn owner(&self, key: &Key, nonce: &str) -> Result<Owner> {
        let Some(head) = self.head_raw(key).await? else {
            return Ok(Owner::Nobody);
        };
        let theirs = head.metadata().and_then(|metadata| metadata.get(NONCE));
        if theirs.is_some_and(|theirs| theirs == nonce) {
            return Ok(Owner::Us(info(key, &head)));
        }
        Ok(Owner::SomebodyElse)
    }
}

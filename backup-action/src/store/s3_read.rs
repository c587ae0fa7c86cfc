//! Reads, listings and deletions in a bucket. What is read is as long as it should be, or an error.

use super::error::{StoreErrorKind, store_error, store_error_from};
use super::s3::{OUTER_ATTEMPTS, S3Store, patiently};
use super::s3_error::{Call, code, nonsense, status};
use super::{Key, ObjectInfo, crc64nvme_base64};
use anyhow::{Context, Result, anyhow};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ChecksumMode, ChecksumType};
use bytes::{Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, checksum};
use jiff::Timestamp;
use std::collections::HashSet;
use std::ops::Range;

/// A listing longer than this loops, or is not a backup store.
const MAX_PAGES: usize = 10_000;

impl S3Store {
    pub(super) async fn get(&self, key: &Key, max_bytes: u64) -> Result<Bytes> {
        let target = self.url(Some(key));
        self.read(key, None, |answer| {
            match answer.content_length().map(u64::try_from) {
                Some(Ok(bytes)) if bytes > max_bytes => {
                    Err(super::dir_error::too_large(&target, max_bytes))
                }
                Some(Ok(bytes)) => Ok(bytes),
                Some(Err(_)) | None => Err(nonsense(Call::GET, &target, "holds no length")),
            }
        })
        .await
    }

    pub(super) async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        let target = self.url(Some(key));
        let Some(bytes) = range.end.checked_sub(range.start) else {
            return Err(anyhow!("bytes {range:?} of {target} are no range"));
        };
        if bytes == 0 {
            return Ok(Bytes::new());
        }
        let (start, last) = (range.start, range.end - 1);
        let wanted = format!("bytes={start}-{last}");
        let expected = format!("bytes {start}-{last}/");
        self.read(key, Some(wanted), |answer| {
            let told = answer.content_range().unwrap_or_default();
            let length = answer.content_length().map(u64::try_from);
            if told.starts_with(&expected) && length == Some(Ok(bytes)) {
                return Ok(bytes);
            }
            Err(store_error(
                StoreErrorKind::Other,
                format!("could not read bytes {start}..{} of {target}", range.end),
                "The object is shorter than its manifest says, or the store knows no ranges: read it with --verify.",
            ))
        })
        .await
    }

    /// Reads a body of the length that `check` accepts; a body that breaks off is asked for again.
    async fn read(
        &self,
        key: &Key,
        range: Option<String>,
        check: impl Fn(&GetObjectOutput) -> Result<u64>,
    ) -> Result<Bytes> {
        let target = self.url(Some(key));
        let request = self
            .client
            .get_object()
            .bucket(&self.config.bucket)
            .key(self.object(key))
            // A sum over the whole object says nothing about a range.
            .set_checksum_mode(range.is_none().then_some(ChecksumMode::Enabled))
            .set_range(range);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let answer = patiently(|| request.clone().send())
                .await
                .map_err(|error| self.explain(Call::GET, &target, error))?;
            let error = if answer.e_tag().is_none() {
                nonsense(Call::GET, &target, "holds no ETag")
            } else {
                let bytes = check(&answer)?;
                match self.collect(answer, bytes).await {
                    Ok(bytes) => return Ok(bytes),
                    Err(error) => store_error_from(
                        StoreErrorKind::Unreachable,
                        format!("could not read {target}"),
                        "The answer broke off in several attempts. Check the network and the store's status.",
                        error,
                    ),
                }
            };
            if attempt >= OUTER_ATTEMPTS {
                return Err(error);
            }
            tokio::time::sleep(self.config.timeouts.backoff).await;
        }
    }

    async fn collect(&self, answer: GetObjectOutput, expected: u64) -> Result<Bytes> {
        let idle = self.config.timeouts.attempt;
        let work = async {
            let whole_sum = answer.content_range().is_none()
                && answer.checksum_type() != Some(&ChecksumType::Composite);
            let sum = answer.checksum_crc64_nvme().map(str::to_owned);
            let mut body = answer.body;
            // Reserved as it arrives: the length is only what the peer claims.
            let mut bytes = BytesMut::with_capacity(usize::try_from(expected.min(1 << 24))?);
            while let Some(chunk) = tokio::time::timeout(idle, body.next())
                .await
                .context("no bytes came for too long")?
            {
                bytes.extend_from_slice(&chunk.context("the answer broke off")?);
                if bytes.len() as u64 > expected {
                    return Err(anyhow!("more bytes came than {expected}"));
                }
            }
            if bytes.len() as u64 != expected {
                return Err(anyhow!("{} bytes came instead of {expected}", bytes.len()));
            }
            let ours = || crc64nvme_base64(checksum(CrcAlgorithm::Crc64Nvme, &bytes));
            match sum {
                Some(sum) if whole_sum && sum != ours() => Err(anyhow!(
                    "the bytes do not have the checksum {sum} of the store"
                )),
                _ => Ok(bytes.freeze()),
            }
        };
        tokio::time::timeout(self.config.timeouts.transfer(expected), work)
            .await
            .context("it took too long")?
    }

    pub(super) async fn head(&self, key: &Key) -> Result<Option<ObjectInfo>> {
        let head = self.head_raw(key).await?;
        Ok(head.map(|head| {
            let info = info(key, &head);
            ObjectInfo {
                crc64nvme: self.believed(info.crc64nvme),
                ..info
            }
        }))
    }

    pub(super) async fn head_raw(&self, key: &Key) -> Result<Option<HeadObjectOutput>> {
        let target = self.url(Some(key));
        let request = self
            .client
            .head_object()
            .bucket(&self.config.bucket)
            .key(self.object(key))
            .checksum_mode(ChecksumMode::Enabled);
        let mut attempt = 0;
        loop {
            attempt += 1;
            match patiently(|| request.clone().send()).await {
                Ok(head) if head.e_tag().is_some() && head.content_length().is_some() => {
                    return Ok(Some(head));
                }
                Ok(_) if attempt < OUTER_ATTEMPTS => {
                    tokio::time::sleep(self.config.timeouts.backoff).await;
                }
                Ok(_) => return Err(nonsense(Call::HEAD, &target, "holds no ETag or no length")),
                // Some stores answer a missing bucket with its code even to HEAD.
                Err(error)
                    if status(&error) == Some(404) && code(&error) != Some("NoSuchBucket") =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(self.explain(Call::HEAD, &target, error)),
            }
        }
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        let target = self.url(None);
        let base = match self.config.prefix.as_str() {
            "" => String::new(),
            own => format!("{own}/"),
        };
        let mut found = Vec::new();
        let mut tokens: HashSet<String> = HashSet::new();
        let mut next: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let request = self
                .client
                .list_objects_v2()
                .bucket(&self.config.bucket)
                .prefix(format!("{base}{prefix}"))
                .set_continuation_token(next.take())
                .set_max_keys(self.config.list_page);
            let page = patiently(|| request.clone().send())
                .await
                .map_err(|error| self.explain(Call::LIST, &target, error))?;
            // An empty document parses as an empty page: a listing repeats what was asked.
            if page.name().is_none() || page.is_truncated().is_none() {
                return Err(nonsense(Call::LIST, &target, "is no listing"));
            }
            for object in page.contents() {
                let key = object.key().and_then(|key| key.strip_prefix(&base));
                let Some(Ok(key)) = key.map(Key::parse) else {
                    continue; // Somebody else's object.
                };
                let Some(Ok(bytes)) = object.size().map(u64::try_from) else {
                    return Err(nonsense(
                        Call::LIST,
                        &target,
                        "holds an object without a size",
                    ));
                };
                found.push(ObjectInfo {
                    key,
                    bytes,
                    crc64nvme: None,
                    modified: object.last_modified().and_then(timestamp),
                });
            }
            match (page.is_truncated(), page.next_continuation_token()) {
                (Some(true), Some(token)) if tokens.insert(token.to_owned()) => {
                    next = Some(token.to_owned());
                }
                (Some(true), _) => {
                    return Err(nonsense(
                        Call::LIST,
                        &target,
                        "begins again, or does not say how to go on",
                    ));
                }
                (Some(false) | None, _) => {
                    found.sort_by(|a: &ObjectInfo, b| a.key.cmp(&b.key));
                    return Ok(found);
                }
            }
        }
        Err(nonsense(Call::LIST, &target, "never ends"))
    }

    /// Removes an object; whether a version of it stays.
    pub(super) async fn remove(&self, key: &Key) -> Result<bool> {
        let request = self
            .client
            .delete_object()
            .bucket(&self.config.bucket)
            .key(self.object(key));
        match patiently(|| request.clone().send()).await {
            Ok(answer) => Ok(answer.delete_marker() == Some(true)),
            Err(error) if code(&error) == Some("NoSuchKey") => Ok(false),
            Err(error) => Err(self.explain(Call::DELETE, &self.url(Some(key)), error)),
        }
    }

    pub(super) async fn delete(&self, key: &Key) -> Result<()> {
        self.remove(key).await.map(|_| ())
    }
}

pub(super) fn info(key: &Key, head: &HeadObjectOutput) -> ObjectInfo {
    let full = head.checksum_type() != Some(&ChecksumType::Composite);
    ObjectInfo {
        key: key.clone(),
        bytes: head
            .content_length()
            .and_then(|bytes| u64::try_from(bytes).ok())
            .unwrap_or(0),
        crc64nvme: head
            .checksum_crc64_nvme()
            .filter(|_| full)
            .map(str::to_owned),
        modified: head.last_modified().and_then(timestamp),
    }
}

pub(super) fn timestamp(at: &DateTime) -> Option<Timestamp> {
    Timestamp::from_second(at.secs()).ok()
}

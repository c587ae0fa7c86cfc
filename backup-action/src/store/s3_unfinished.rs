//! Multipart uploads that nobody completes, what holds an object, and tags.

use super::error::{StoreErrorKind, store_error};
use super::s3::{S3Store, patiently};
use super::s3_error::{Call, code, nonsense, status};
use super::s3_put::NONCE;
use super::s3_read::timestamp;
use super::{Held, Key, Standing, Unfinished};
use anyhow::{Result, anyhow};
use aws_sdk_s3::types::{MultipartUpload, ObjectLockLegalHoldStatus, Tag, Tagging};
use jiff::Timestamp;

/// A listing longer than this loops.
const MAX_PAGES: usize = 1_000;

/// The tag that the bucket's rules look at.
pub(super) const TIER_TAG: &str = "tier";

impl S3Store {
    pub(super) async fn unfinished(&self, idle_since: Timestamp) -> Result<Vec<Unfinished>> {
        let target = self.url(None);
        let base = match self.config.prefix.as_str() {
            "" => String::new(),
            own => format!("{own}/"),
        };
        let mut found = Vec::new();
        let (mut key_marker, mut id_marker) = (None, None);
        for _ in 0..MAX_PAGES {
            let request = self
                .client
                .list_multipart_uploads()
                .bucket(&self.config.bucket)
                .prefix(&base)
                .set_key_marker(key_marker.take())
                .set_upload_id_marker(id_marker.take());
            let page = patiently(|| request.clone().send())
                .await
                .map_err(|error| self.explain(Call::LIST_UPLOADS, &target, error))?;
            if page.bucket().is_none() {
                return Err(nonsense(Call::LIST_UPLOADS, &target, "is no listing"));
            }
            for upload in page.uploads() {
                found.extend(self.idle(upload, &base, idle_since).await?);
            }
            if page.is_truncated() != Some(true) {
                return Ok(found);
            }
            key_marker = page.next_key_marker().map(str::to_owned);
            id_marker = page.next_upload_id_marker().map(str::to_owned);
            if key_marker.is_none() {
                break;
            }
        }
        Err(nonsense(Call::LIST_UPLOADS, &target, "never ends"))
    }

    /// The upload, when it is one that could be ours and got no part since `idle_since`.
    async fn idle(
        &self,
        upload: &MultipartUpload,
        base: &str,
        idle_since: Timestamp,
    ) -> Result<Option<Unfinished>> {
        let key = upload.key().and_then(|key| key.strip_prefix(base));
        let (Some(Ok(key)), Some(id)) = (key.map(Key::parse), upload.upload_id()) else {
            return Ok(None);
        };
        let begun = upload.initiated().and_then(timestamp);
        if begun.is_none_or(|begun| begun >= idle_since) {
            return Ok(None);
        }
        // A long run is still adding parts to an old upload.
        let last = match self.last_part(&key, id).await {
            Ok(last) => last,
            Err(error) if StoreErrorKind::of(&error) == Some(StoreErrorKind::NotFound) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let active = begun.max(last);
        let unfinished = Unfinished {
            key,
            active,
            upload_id: Some(id.to_owned()),
        };
        Ok(active
            .is_some_and(|at| at < idle_since)
            .then_some(unfinished))
    }

    /// When the newest part arrived.
    async fn last_part(&self, key: &Key, upload_id: &str) -> Result<Option<Timestamp>> {
        let target = self.url(Some(key));
        let mut last = None;
        let mut marker = None;
        for _ in 0..MAX_PAGES {
            let request = self
                .client
                .list_parts()
                .bucket(&self.config.bucket)
                .key(self.object(key))
                .upload_id(upload_id)
                .set_part_number_marker(marker.take());
            let page = match patiently(|| request.clone().send()).await {
                Ok(page) => page,
                Err(error) if status(&error) == Some(404) => {
                    return Err(store_error(
                        StoreErrorKind::NotFound,
                        Call::LIST_PARTS.could_not(&target),
                        "The upload ended meanwhile.",
                    ));
                }
                Err(error) => return Err(self.explain(Call::LIST_PARTS, &target, error)),
            };
            let parts = page.parts().iter();
            let newest = parts.filter_map(|part| part.last_modified().and_then(timestamp));
            last = last.max(newest.max());
            match (page.is_truncated(), page.next_part_number_marker()) {
                (Some(true), Some(next)) => marker = Some(next.to_owned()),
                (Some(true), None) | (Some(false) | None, _) => return Ok(last),
            }
        }
        Err(nonsense(Call::LIST_PARTS, &target, "never ends"))
    }

    pub(super) async fn discard(&self, key: &Key, upload_id: &str) -> Result<()> {
        let request = self
            .client
            .abort_multipart_upload()
            .bucket(&self.config.bucket)
            .key(self.object(key))
            .upload_id(upload_id);
        match patiently(|| request.clone().send()).await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == Some("NoSuchUpload") => Ok(()),
            Err(error) => Err(self.explain(Call::ABORT, &self.url(Some(key)), error)),
        }
    }

    pub(super) async fn standing(&self, key: &Key) -> Result<Option<Standing>> {
        let Some(head) = self.head_raw(key).await? else {
            return Ok(None);
        };
        let hold = head.object_lock_legal_hold_status() == Some(&ObjectLockLegalHoldStatus::On);
        let until = head.object_lock_retain_until_date().and_then(timestamp);
        Ok(Some(Standing {
            held: match (hold, until) {
                (true, _) => Some(Held::LegalHold),
                (false, until) => until.map(Held::Until),
            },
            marked: Some(
                head.metadata()
                    .is_some_and(|metadata| metadata.contains_key(NONCE)),
            ),
        }))
    }

    pub(super) async fn tag_tier(&self, key: &Key, value: &str) -> Result<()> {
        let target = self.url(Some(key));
        let ask = self
            .client
            .get_object_tagging()
            .bucket(&self.config.bucket)
            .key(self.object(key));
        let before = patiently(|| ask.clone().send())
            .await
            .map_err(|error| self.explain(Call::TAGS, &target, error))?;
        let (mine, mut others): (Vec<_>, Vec<_>) = before
            .tag_set()
            .iter()
            .cloned()
            .partition(|tag| tag.key() == TIER_TAG);
        if mine.iter().any(|tag| tag.value() == value) {
            return Ok(());
        }
        let tag = Tag::builder().key(TIER_TAG).value(value).build();
        others.push(tag.map_err(|error| anyhow!(error))?);
        let tagging = Tagging::builder().set_tag_set(Some(others)).build();
        let request = self
            .client
            .put_object_tagging()
            .bucket(&self.config.bucket)
            .key(self.object(key))
            .tagging(tagging.map_err(|error| anyhow!(error))?);
        patiently(|| request.clone().send())
            .await
            .map(|_| ())
            .map_err(|error| self.explain(Call::TAG, &target, error))
    }
}

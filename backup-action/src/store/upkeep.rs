//! What retention asks of a store: copies that the store makes itself, what holds an object, what
//! was left unfinished, and the bucket's own rules. Reads and writes are in `mod`.

use super::keys::{BackupKeys, Key};
use super::s3_bucket::Bucket;
use super::{AbortHandle, AbortKind, Backend, ObjectInfo, Store};
use anyhow::{Result, anyhow};
use jiff::{SignedDuration, Timestamp};

/// What keeps an object from being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Object Lock, until then.
    Until(Timestamp),
    /// A legal hold, without an end.
    LegalHold,
}

/// What a store knows about an object besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What holds it.
    pub held: Option<Held>,
    /// Whether it carries the mark of our writes; none where a store keeps no marks.
    pub marked: Option<bool>,
}

/// A copy that the store is asked for.
#[derive(Clone, Copy, Debug)]
pub struct CopyRequest<'a> {
    /// What is copied.
    pub from: &'a Key,
    /// The name of the copy, which must not exist.
    pub to: &'a Key,
    /// The size of the object.
    pub bytes: u64,
    /// Its CRC-64/NVME, where it is known: needed for a copy in parts.
    pub crc64nvme: Option<&'a str>,
    /// The storage class of the copy; the bucket's own without.
    pub storage_class: Option<&'a str>,
    /// The type of the content.
    pub content_type: &'a str,
}

/// A copy that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Whether the store does not know the storage class, so that the copy has the bucket's own.
    pub class_refused: bool,
}

/// Something that is being written, or was when its writer was killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// The key that it would have.
    pub key: Key,
    /// When it last grew, by the store's clock.
    pub active: Option<Timestamp>,
    /// The multipart upload; none for a file.
    pub(super) upload_id: Option<String>,
}

impl Unfinished {
    /// Whether its name is one that only our runs give.
    pub fn is_ours(&self) -> bool {
        self.key.is_probe() || self.key.is_lock_part() || BackupKeys::of_part(&self.key).is_some()
    }

    /// What it is, for people.
    pub fn kind(&self) -> &'static str {
        match self.upload_id {
            Some(_) => "unfinished upload",
            None => "unfinished file",
        }
    }
}

impl Store {
    /// How far the store's clock is ahead of ours, by its last answer; none for a directory, and
    /// before the first answer.
    pub fn clock_skew(&self) -> Option<SignedDuration> {
        match &*self.0 {
            Backend::Dir(_) => None,
            Backend::S3(s3) => s3.clock_skew(),
        }
    }

    /// Lets the store copy an object. Nothing is overwritten. The upload that a large copy begins is
    /// handed to `begun` first, so that an interrupted copy can be taken back.
    ///
    /// # Errors
    /// [`super::StoreErrorKind::AlreadyExists`] when there is an object of that name.
    pub async fn copy(
        &self,
        request: &CopyRequest<'_>,
        begun: &(dyn Fn(AbortHandle) + Sync),
    ) -> Result<Copied> {
        match &*self.0 {
            Backend::Dir(dir) => Err(anyhow!(
                "a directory has no archive tier ({})",
                dir.root().display()
            )),
            Backend::S3(s3) => {
                s3.copy(request, &|shared| begun(AbortHandle(AbortKind::S3(shared))))
                    .await
            }
        }
    }

    /// Removes an object. Whether the store keeps a version of it: then its bytes are still there.
    pub async fn remove(&self, key: &Key) -> Result<bool> {
        match &*self.0 {
            Backend::Dir(dir) => dir.delete(key).await.map(|()| false),
            Backend::S3(s3) => s3.remove(key).await,
        }
    }

    /// What holds an object, and whether it is ours; none when it does not exist.
    pub async fn standing(&self, key: &Key) -> Result<Option<Standing>> {
        match &*self.0 {
            Backend::Dir(dir) => Ok(dir.head(key).await?.map(|_: ObjectInfo| Standing {
                held: None,
                marked: None,
            })),
            Backend::S3(s3) => s3.standing(key).await,
        }
    }

    /// What is unfinished and did not grow since `idle_since`.
    pub async fn unfinished(&self, idle_since: Timestamp) -> Result<Vec<Unfinished>> {
        match &*self.0 {
            Backend::Dir(dir) => {
                let files = dir.unfinished().await?.into_iter();
                let files = files.map(|file| Unfinished {
                    key: file.key,
                    active: file.modified,
                    upload_id: None,
                });
                Ok(files
                    .filter(|file| file.active.is_some_and(|at| at < idle_since))
                    .collect())
            }
            Backend::S3(s3) => s3.unfinished(idle_since).await,
        }
    }

    /// Removes what is unfinished.
    pub async fn discard(&self, unfinished: &Unfinished) -> Result<()> {
        match (&*self.0, &unfinished.upload_id) {
            (Backend::Dir(dir), _) => dir.discard(&unfinished.key).await,
            (Backend::S3(s3), Some(id)) => s3.discard(&unfinished.key, id).await,
            (Backend::S3(_), None) => Ok(()),
        }
    }

    /// Sets the tag `tier` of an object, unless it has that value. Directories have no tags.
    pub async fn tag_tier(&self, key: &Key, value: &str) -> Result<()> {
        match &*self.0 {
            Backend::Dir(_) => Ok(()),
            Backend::S3(s3) => s3.tag_tier(key, value).await,
        }
    }

    /// What the bucket does by itself; none for a directory.
    pub async fn bucket(&self) -> Option<Bucket> {
        match &*self.0 {
            Backend::Dir(_) => None,
            Backend::S3(s3) => Some(s3.bucket().await),
        }
    }
}

//! Stores: a directory or an S3 prefix. The only place that names AWS types. What an object means
//! (archive, manifest, receipt) is not known here.
//!
//! Every write is create-only (but [`Store::replace`], for `RECOVERY.md`); an object exists only
//! after [`Upload::seal`] or [`Store::put`] returned.

mod dir;
mod dir_caller;
mod dir_error;
mod dir_root;
mod dir_upload;
mod error;
mod ground;
pub mod keys;
mod probe;
mod s3;
mod s3_abort;
mod s3_bucket;
mod s3_config;
mod s3_copy;
mod s3_credentials;
mod s3_error;
mod s3_identity;
mod s3_multipart;
mod s3_plain;
mod s3_put;
mod s3_read;
mod s3_role;
mod s3_state;
mod s3_unfinished;
mod s3_upload;
mod upkeep;

pub use error::{StoreError, StoreErrorKind};
pub use ground::LockGround;
pub use keys::{BackupKeys, Key};
pub use probe::{Capabilities, Checksums};
pub use s3_bucket::{Bucket, LifecycleRule};
pub use s3_config::{S3Config, S3Credentials, Sse, Timeouts};
pub use s3_credentials::{CredentialsInfo, CredentialsLife};
pub use s3_identity::{IdentityToken, RoleToAssume, TokenFuture, WebIdentity};
pub use upkeep::{Copied, CopyRequest, Held, Standing, Unfinished};

use anyhow::Result;
use bytes::Bytes;
use jiff::Timestamp;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long an abort may take: a cancelled job is killed 7.5 s after it was told.
const ABORT_DEADLINE: Duration = Duration::from_secs(4);

/// Where a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// On this machine.
    Local,
    /// Off this machine.
    Remote,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tier::Local => "local",
            Tier::Remote => "remote",
        })
    }
}

/// What a store says about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its name.
    pub key: Key,
    /// Its size.
    pub bytes: u64,
    /// The CRC-64/NVME that the store keeps (base64 of the big-endian value); never in listings.
    pub crc64nvme: Option<String>,
    /// When the store last saw it change.
    pub modified: Option<Timestamp>,
}

/// The room in the file system of a directory store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreeSpace {
    /// What a user other than root may still write.
    pub available_bytes: u64,
    /// Where the file system is mounted.
    pub mount_point: PathBuf,
}

/// What became of an upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedObject {
    /// Its name.
    pub key: Key,
    /// Its size, counted by us and confirmed by the store.
    pub bytes: u64,
    /// Our CRC-64/NVME over the bytes that were sent: base64 of the big-endian value.
    pub crc64nvme: String,
    /// The store's own, where it keeps one. Equal to ours: a difference is an error.
    pub store_checksum: Option<String>,
    /// What should be looked at although the object is good: parts of a lost request that could
    /// not be removed.
    pub warnings: Vec<String>,
}

/// A directory or an S3 prefix. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Backend>);

enum Backend {
    Dir(dir::DirStore),
    S3(s3::S3Store),
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.describe())
    }
}

impl Store {
    /// The store in the directory at `path` (absolute), which is made (mode 0700) when missing.
    pub async fn open_dir(path: &Path) -> Result<Store> {
        let dir = dir::DirStore::open(path).await?;
        Ok(Store(Arc::new(Backend::Dir(dir))))
    }

    /// Whose credentials an S3 store uses, and how long they live; none for a directory.
    pub fn credentials(&self) -> Option<&CredentialsInfo> {
        match &*self.0 {
            Backend::Dir(_) => None,
            Backend::S3(s3) => Some(&s3.credentials),
        }
    }

    /// The store under an S3 prefix. Finds credentials; asks the store nothing yet.
    pub async fn open_s3(config: S3Config) -> Result<Store> {
        let s3 = s3::S3Store::open(config).await?;
        Ok(Store(Arc::new(Backend::S3(s3))))
    }

    /// On this machine or off it.
    pub fn tier(&self) -> Tier {
        match &*self.0 {
            Backend::Dir(_) => Tier::Local,
            Backend::S3(_) => Tier::Remote,
        }
    }

    /// The path, or `s3://bucket/prefix`.
    pub fn describe(&self) -> String {
        match &*self.0 {
            Backend::Dir(dir) => dir.root().display().to_string(),
            Backend::S3(s3) => s3.url(None),
        }
    }

    /// Path or URL of an object, for people.
    pub fn locate(&self, key: &Key) -> String {
        match &*self.0 {
            Backend::Dir(dir) => dir.root().join(key.as_str()).display().to_string(),
            Backend::S3(s3) => s3.url(Some(key)),
        }
    }

    /// Uses every right that a backup needs on small objects with `nonce` in their name, and
    /// finds out what the store can do. Call it before anything is written: a store that knows
    /// no create-only writes or checksums is served without from then on.
    pub async fn probe(&self, nonce: &str) -> Result<Capabilities> {
        self.probe_watched(nonce, &|_| {}).await
    }

    /// [`Store::probe`]; hands the upload that it begins to `begun` first, so that an interrupted
    /// probe can be taken back.
    pub async fn probe_watched(
        &self,
        nonce: &str,
        begun: &(dyn Fn(AbortHandle) + Sync),
    ) -> Result<Capabilities> {
        match &*self.0 {
            Backend::Dir(dir) => probe::dir(dir, nonce).await,
            Backend::S3(s3) => {
                let begun = |shared| begun(AbortHandle(AbortKind::S3(shared)));
                probe::s3(s3, nonce, &begun).await
            }
        }
    }

    /// Whether a create-only write is refused when the object exists, as far as a probe has found.
    pub fn has_create_only_writes(&self) -> bool {
        match &*self.0 {
            Backend::Dir(_) => true,
            Backend::S3(s3) => s3.if_none_match().is_some(),
        }
    }

    /// The room that is left; none where that has no meaning.
    pub async fn free_space(&self) -> Result<Option<FreeSpace>> {
        match &*self.0 {
            Backend::Dir(dir) => dir.free_space().await.map(Some),
            Backend::S3(_) => Ok(None),
        }
    }

    /// Starts an object. `expected_bytes` is an upper estimate of its size; it decides the part
    /// size on S3 (all parts are equal, at most 10,000). Nothing is visible before the seal.
    pub async fn create(&self, key: &Key, expected_bytes: u64) -> Result<Upload> {
        Ok(Upload(match &*self.0 {
            Backend::Dir(dir) => UploadKind::Dir(dir.create(key).await?),
            Backend::S3(s3) => UploadKind::S3(
                s3_upload::S3Upload::start(s3.clone(), key.clone(), expected_bytes).await?,
            ),
        }))
    }

    /// Writes a small object that must not exist.
    ///
    /// # Errors
    /// [`StoreErrorKind::AlreadyExists`] when somebody else's object is there.
    pub async fn put(&self, key: &Key, bytes: Bytes, content_type: &str) -> Result<()> {
        match &*self.0 {
            Backend::Dir(dir) => dir.put(key, bytes, dir_upload::Over::Nothing).await,
            Backend::S3(s3) => s3.put(key, bytes, content_type, s3_put::Put::Create).await,
        }
    }

    /// Writes a small object over what is there. Only for `RECOVERY.md`.
    pub async fn replace(&self, key: &Key, bytes: Bytes, content_type: &str) -> Result<()> {
        match &*self.0 {
            Backend::Dir(dir) => dir.put(key, bytes, dir_upload::Over::Anything).await,
            Backend::S3(s3) => {
                s3.put(key, bytes, content_type, s3_put::Put::Overwrite)
                    .await
            }
        }
    }

    /// A whole object of at most `max_bytes`.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`] when there is none.
    pub async fn get(&self, key: &Key, max_bytes: u64) -> Result<Bytes> {
        match &*self.0 {
            Backend::Dir(dir) => dir.get(key, max_bytes).await,
            Backend::S3(s3) => s3.get(key, max_bytes).await,
        }
    }

    /// The bytes `[start, end)` of an object: all of them, or an error.
    pub async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        match &*self.0 {
            Backend::Dir(dir) => dir.get_range(key, range).await,
            Backend::S3(s3) => s3.get_range(key, range).await,
        }
    }

    /// What the store knows about an object; none when it does not exist.
    pub async fn head(&self, key: &Key) -> Result<Option<ObjectInfo>> {
        match &*self.0 {
            Backend::Dir(dir) => dir.head(key).await,
            Backend::S3(s3) => s3.head(key).await,
        }
    }

    /// The objects whose keys begin with `prefix`, in the order of their keys. Foreign files whose
    /// names are no keys, symbolic links and unfinished files are left out.
    pub async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        match &*self.0 {
            Backend::Dir(dir) => dir.list(prefix).await,
            Backend::S3(s3) => s3.list(prefix).await,
        }
    }

    /// Removes an object; one that does not exist is no error.
    pub async fn delete(&self, key: &Key) -> Result<()> {
        match &*self.0 {
            Backend::Dir(dir) => dir.delete(key).await,
            Backend::S3(s3) => s3.delete(key).await,
        }
    }
}

/// An object that is being written. Only [`seal`](Upload::seal) makes it exist; whoever drops it
/// instead calls [`AbortHandle::abort`].
#[must_use = "an upload is sealed or aborted"]
pub struct Upload(UploadKind);

enum UploadKind {
    Dir(dir_upload::DirUpload),
    S3(s3_upload::S3Upload),
}

impl Upload {
    /// Sends bytes; waits when as much as memory allows is on its way. An error ends the upload.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        match &mut self.0 {
            UploadKind::Dir(upload) => upload.write(bytes).await,
            UploadKind::S3(upload) => upload.write(bytes).await,
        }
    }

    /// Makes the object exist, on disk or confirmed by the store. After an error nothing is
    /// visible and nothing is left behind, or the error says so.
    pub async fn seal(self) -> Result<SealedObject> {
        match self.0 {
            UploadKind::Dir(upload) => upload.seal().await,
            UploadKind::S3(upload) => upload.seal().await,
        }
    }

    /// A handle that survives the upload, for clean-up after a signal.
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle(match &self.0 {
            UploadKind::Dir(upload) => AbortKind::Dir(upload.shared()),
            UploadKind::S3(upload) => AbortKind::S3(upload.shared()),
        })
    }
}

/// Takes back what an upload has written so far.
#[derive(Clone)]
pub struct AbortHandle(AbortKind);

#[derive(Clone)]
enum AbortKind {
    Dir(Arc<dir_upload::Shared>),
    S3(Arc<s3_state::Shared>),
}

impl AbortHandle {
    /// Ends the upload and removes its parts, also those still on their way. Idempotent; after a
    /// successful seal it does nothing. Ends within about 4 s.
    ///
    /// # Errors
    /// When something may be left behind; the message says what.
    pub async fn abort(&self) -> Result<()> {
        match &self.0 {
            AbortKind::Dir(shared) => dir_upload::abort(shared).await,
            AbortKind::S3(shared) => s3_abort::abort(shared).await,
        }
    }
}

/// Base64 of the big-endian CRC-64/NVME, as S3 writes it.
pub(crate) fn crc64nvme_base64(crc: u64) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(crc.to_be_bytes())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_crc_is_written_as_s3_writes_it() {
        // The check value of CRC-64/NVME over "123456789".
        let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, b"123456789");
        assert_eq!(crc, 0xae8b_1486_0a79_9888);
        assert_eq!(super::crc64nvme_base64(crc), "rosUhgp5mIg=");
    }
}

//! A store in a directory: the calls, off the executor's threads. What they do is in `dir_root`
//! (reads, lists) and `dir_upload` (writes).

use super::dir_caller::Caller;
use super::dir_root::{Root, blocking, open_root};
use super::dir_upload::{DirUpload, Over, Partial};
use super::{FreeSpace, Key, ObjectInfo};
use crate::error::Usage;
use anyhow::Result;
use bytes::Bytes;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub(super) struct DirStore(Arc<Root>);

impl DirStore {
    pub(super) async fn open(path: &Path) -> Result<Self> {
        if !path.is_absolute() {
            return Err(Usage::new(format!(
                "the local store {} is not absolute",
                path.display()
            ))
            .hint("Give the whole path, beginning with /.")
            .into());
        }
        let path = path.to_owned();
        let root = blocking(move || open_root(&path)).await?;
        Ok(Self(Arc::new(root)))
    }

    pub(super) fn root(&self) -> &Path {
        &self.0.path
    }

    pub(super) async fn free_space(&self) -> Result<FreeSpace> {
        let root = Arc::clone(&self.0);
        blocking(move || root.free_space()).await
    }

    pub(super) async fn create(&self, key: &Key) -> Result<DirUpload> {
        let (root, key) = (Arc::clone(&self.0), key.clone());
        let partial = blocking(move || Partial::create(root, key, Over::Nothing, None)).await?;
        Ok(DirUpload::start(partial))
    }

    /// A `put` that is dropped has made the object by then, or never will: whoever removes the
    /// object afterwards has the last word.
    pub(super) async fn put(&self, key: &Key, bytes: Bytes, over: Over) -> Result<()> {
        let (root, key) = (Arc::clone(&self.0), key.clone());
        let (caller, _listening) = Caller::new();
        blocking(move || {
            if over == Over::Anything {
                root.clear_partial(&key)?;
            }
            written(
                Partial::create(root, key, over, None)?,
                &bytes,
                &caller,
                over,
            )
        })
        .await
    }

    /// The same for an object that must not exist, when others may write it now: `nonce` is in the
    /// name of the unfinished file.
    pub(super) async fn put_beside(&self, key: &Key, bytes: Bytes, nonce: &str) -> Result<()> {
        let (root, key, nonce) = (Arc::clone(&self.0), key.clone(), nonce.to_owned());
        let (caller, _listening) = Caller::new();
        blocking(move || {
            let partial = Partial::create(root, key, Over::Nothing, Some(&nonce))?;
            written(partial, &bytes, &caller, Over::Nothing)
        })
        .await
    }

    pub(super) async fn get(&self, key: &Key, max_bytes: u64) -> Result<Bytes> {
        let (root, key) = (Arc::clone(&self.0), key.clone());
        blocking(move || root.read(&key, max_bytes)).await
    }

    pub(super) async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        let (root, key) = (Arc::clone(&self.0), key.clone());
        blocking(move || root.read_range(&key, range)).await
    }

    pub(super) async fn head(&self, key: &Key) -> Result<Option<ObjectInfo>> {
        let (root, key) = (Arc::clone(&self.0), key.clone());
        blocking(move || root.info(&key)).await
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        let (root, prefix) = (Arc::clone(&self.0), prefix.to_owned());
        blocking(move || root.list(&prefix)).await
    }

    pub(super) async fn unfinished(&self) -> Result<Vec<ObjectInfo>> {
        let root = Arc::clone(&self.0);
        blocking(move || root.unfinished()).await
    }

    pub(super) async fn discard(&self, key: &Key) -> Result<()> {
        let (root, key) = (Arc::clone(&self.0), key.clone());
        blocking(move || root.clear_partial(&key)).await
    }

    pub(super) async fn delete(&self, key: &Key) -> Result<()> {
        let (root, key) = (Arc::clone(&self.0), key.clone());
        blocking(move || root.delete(&key)).await
    }
}

fn written(mut partial: Partial, bytes: &[u8], caller: &Caller, over: Over) -> Result<()> {
    let written = partial.write_all(bytes);
    match written.and_then(|()| partial.publish_for(caller, over)) {
        Ok(()) => Ok(()),
        Err(error) => Err(partial.discard_after(error)),
    }
}

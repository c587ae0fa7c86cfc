//! What a store can do, found out with small objects before anything large is written.

use super::crc64nvme_base64;
use super::dir::DirStore;
use super::dir_upload::Over;
use super::error::StoreErrorKind;
use super::keys::Key;
use super::s3::{S3Store, nonce, patiently};
use super::s3_error::{Call, Failure, code, failure, nonsense, status};
use super::s3_put::Put;
use super::s3_state::Shared;
use super::s3_upload::{S3Upload, probe_abort};
use anyhow::{Result, anyhow};
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum};
use jiff::SignedDuration;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

const TEXT: &str = "text/plain";

/// What a store can do. `Display`: one line of evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// A create-only write is refused when the object exists. Where it is not, two runs can
    /// overwrite each other: no lock may rely on it.
    pub conditional_writes: bool,
    /// What becomes of the CRC-64/NVME that is sent with every object.
    pub checksums: Checksums,
    /// Objects can be deleted. Without, the probe's object stays, and nothing is ever pruned.
    pub delete: bool,
    /// A multipart upload can be aborted. Without, parts of failed runs stay and cost money.
    pub abort: bool,
    /// How far the store's clock is ahead of ours; the answer's resolution is one second.
    pub clock_skew: Option<SignedDuration>,
}

/// What a store does with a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksums {
    /// It compares: wrong bytes are refused.
    Verified,
    /// It accepts wrong ones. Only reading back shows damage.
    Ignored,
    /// It knows no such header; none is sent from then on.
    Unknown,
    /// A directory has none.
    None,
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.conditional_writes {
            true => "create-only writes",
            false => "NO create-only writes",
        })?;
        f.write_str(match self.checksums {
            Checksums::Verified => ", checksums verified by the store",
            Checksums::Ignored => ", checksums NOT verified by the store",
            Checksums::Unknown => ", no checksums known to the store",
            Checksums::None => "",
        })?;
        if !self.delete {
            f.write_str(", NO right to delete")?;
        }
        if !self.abort {
            f.write_str(", NO right to abort uploads")?;
        }
        match self.clock_skew {
            Some(skew) if skew.abs() > SignedDuration::from_secs(2) => {
                let seconds = skew.as_secs();
                write!(f, ", its clock differs by {seconds} s")
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Writes, refuses to overwrite, reads and deletes a small file.
pub(super) async fn dir(dir: &DirStore, nonce: &str) -> Result<Capabilities> {
    let key = Key::probe(nonce, "object");
    let bytes = Bytes::from(format!("backup-action probe {nonce}\n"));
    dir.put(&key, bytes.clone(), Over::Nothing).await?;
    let asked: Result<bool> = async {
        let conditional_writes = match dir.put(&key, bytes.clone(), Over::Nothing).await {
            Ok(()) => false,
            Err(error) if StoreErrorKind::of(&error) == Some(StoreErrorKind::AlreadyExists) => true,
            Err(error) => return Err(error),
        };
        same(&dir.get(&key, 4096).await?, &bytes)?;
        Ok(conditional_writes)
    }
    .await;
    let deleted = dir.delete(&key).await;
    let conditional_writes = asked?;
    deleted?;
    Ok(Capabilities {
        conditional_writes,
        checksums: Checksums::None,
        delete: true,
        abort: true,
        clock_skew: None,
    })
}

/// Uses every right that a backup needs, and tries out what the store promises.
pub(super) async fn s3(
    store: &S3Store,
    nonce: &str,
    begun: &(dyn Fn(Arc<Shared>) + Sync),
) -> Result<Capabilities> {
    reach(store).await?;
    let key = Key::probe(nonce, "object");
    let bytes = Bytes::from(format!("backup-action probe {nonce}\n"));
    let mut checksums = first_write(store, &key, &bytes).await?;
    let asked: Result<(bool, bool)> = async {
        let conditional_writes = second_write_is_refused(store, &key, &bytes).await?;
        if checksums == Checksums::Verified && !wrong_sum_is_refused(store, &key, &bytes).await? {
            checksums = Checksums::Ignored;
        }
        same(&store.get(&key, 4096).await?, &bytes)?;
        let abort = can_abort(store, &Key::probe(nonce, "parts"), begun).await?;
        Ok((conditional_writes, abort))
    }
    .await;
    let deleted = store.delete(&key).await;
    let (conditional_writes, abort) = asked?;
    let delete = match deleted {
        Ok(()) => true,
        Err(error) if StoreErrorKind::of(&error) == Some(StoreErrorKind::Denied) => false,
        Err(error) => return Err(error),
    };
    store
        .conditional_writes
        .store(conditional_writes, Ordering::Relaxed);
    store
        .sums_believed
        .store(checksums == Checksums::Verified, Ordering::Relaxed);
    Ok(Capabilities {
        conditional_writes,
        checksums,
        delete,
        abort,
        clock_skew: store.clock_skew(),
    })
}

/// The bucket exists and can be listed. First of all, since some stores create what is missing.
async fn reach(store: &S3Store) -> Result<()> {
    let head = store.client.head_bucket().bucket(&store.config.bucket);
    let answer = patiently(|| head.clone().send()).await;
    let target = store.url(None);
    match answer {
        Ok(_) => {}
        // An answer to HEAD has no body that says why: the listing below has.
        Err(error) if matches!(status(&error), Some(400..=499)) && status(&error) != Some(404) => {}
        Err(error) if status(&error) == Some(404) => {
            return Err(super::error::store_error(
                StoreErrorKind::NoBucket,
                format!("cannot find the bucket of {target}"),
                format!(
                    "Create the bucket {}, or correct --remote. It is never created by a backup.",
                    store.config.bucket
                ),
            ));
        }
        Err(error) => return Err(store.explain(Call::HEAD_BUCKET, &target, error)),
    }
    let list = store
        .client
        .list_objects_v2()
        .bucket(&store.config.bucket)
        .prefix(match store.config.prefix.as_str() {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        })
        .max_keys(1);
    let listing = patiently(|| list.clone().send())
        .await
        .map_err(|error| store.explain(Call::LIST, &target, error))?;
    if listing.name().is_none() {
        return Err(nonsense(Call::LIST, &target, "is no listing"));
    }
    Ok(())
}

/// Writes the object, without a checksum or a condition where the store knows none.
async fn first_write(store: &S3Store, key: &Key, bytes: &Bytes) -> Result<Checksums> {
    let mut nonce = nonce()?;
    let put = |nonce: String| async move {
        store
            .put_as(key, bytes.clone(), TEXT, Put::Create, &nonce)
            .await
    };
    let refused = match put(nonce.clone()).await {
        Ok(_) => return Ok(Checksums::Verified),
        Err(error) => error,
    };
    // Only a store that did not understand is asked again; a plain no stays a no.
    if StoreErrorKind::of(&refused) != Some(StoreErrorKind::Other) {
        return Err(refused);
    }
    for (sums, conditions) in [(false, true), (true, false), (false, false)] {
        store.checksums.store(sums, Ordering::Relaxed);
        store
            .conditional_writes
            .store(conditions, Ordering::Relaxed);
        nonce.push('x');
        if put(nonce.clone()).await.is_ok() {
            return Ok(match sums {
                true => Checksums::Verified,
                false => Checksums::Unknown,
            });
        }
    }
    Err(refused)
}

/// A create-only write to an existing name: 412, or the store ignores the condition.
async fn second_write_is_refused(store: &S3Store, key: &Key, bytes: &Bytes) -> Result<bool> {
    if store.if_none_match().is_none() {
        return Ok(false);
    }
    let second = store
        .put_as(key, bytes.clone(), TEXT, Put::Create, &nonce()?)
        .await;
    match second {
        Ok(_) => Ok(false),
        Err(error) if StoreErrorKind::of(&error) == Some(StoreErrorKind::AlreadyExists) => Ok(true),
        Err(error) => Err(error),
    }
}

/// A write with the sum of other bytes. Should it be accepted, the object's bytes stay the same.
async fn wrong_sum_is_refused(store: &S3Store, key: &Key, bytes: &Bytes) -> Result<bool> {
    let wrong = !checksum(CrcAlgorithm::Crc64Nvme, bytes);
    let answer = store
        .client
        .put_object()
        .bucket(&store.config.bucket)
        .key(store.object(key))
        .content_type(TEXT)
        .checksum_crc64_nvme(crc64nvme_base64(wrong))
        .body(ByteStream::from(bytes.clone()))
        .send()
        .await;
    match answer {
        Ok(_) => Ok(false),
        Err(error)
            if code(&error)
                .is_some_and(|code| code.contains("Digest") || code.contains("Mismatch")) =>
        {
            Ok(true)
        }
        // A policy that forbids overwriting says no before the sum is looked at. The sum was
        // accepted once; whether it is compared stays open, which counts as no.
        Err(error) if failure(&error) == Failure::Unknown => {
            Err(store.explain(Call::PUT, &store.url(Some(key)), error))
        }
        Err(_) => Ok(false),
    }
}

/// Starts a multipart upload and aborts it.
async fn can_abort(
    store: &S3Store,
    key: &Key,
    begun: &(dyn Fn(Arc<Shared>) + Sync),
) -> Result<bool> {
    let upload = S3Upload::start(store.clone(), key.clone(), 0).await?;
    begun(upload.shared());
    probe_abort(upload).await
}

fn same(read: &Bytes, written: &Bytes) -> Result<()> {
    if read == written {
        return Ok(());
    }
    Err(anyhow!(
        "the store returned other bytes than were written to it"
    ))
}

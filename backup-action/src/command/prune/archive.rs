//! One backup into the archive tier: copied by the store, proved there, its manifest last. Until
//! then the copy counts for nothing, and the original stays.

use crate::command::Context;
use crate::command::stores::Found;
use crate::error::Explained;
use crate::manifest::{self, Manifest};
use crate::pipeline::cleanup::Undo;
use crate::store::{BackupKeys, CopyRequest, Key, Store, StoreErrorKind};
use anyhow::Context as _;
use sha2::{Digest, Sha256};
use std::sync::Mutex;

/// How much of an archive is read at once when it has to be read back.
const CHUNK_BYTES: u64 = 8 * 1024 * 1024;

/// Copies a backup of the remote tier. Returns the copy, and what is worth knowing.
///
/// # Errors
/// The copy could not be made or is not what was copied. What was made of it has no manifest: the
/// next run proves it and goes on from there, or removes it when it is a day old. It is not taken
/// back here: another gate may have proved it meanwhile, and be about to write its manifest.
pub(super) async fn archive(
    context: &Context,
    found: &Found,
    class: &str,
) -> anyhow::Result<(Found, Option<String>)> {
    let store = &found.store;
    let to = found.keys.archived();
    let class_refused = copy(context, found, &to, class).await.with_context(|| {
        let place = store.locate(&found.keys.archive);
        format!("could not archive {place}")
    })?;
    let copy = Found {
        store: store.clone(),
        keys: to,
        manifest: found.manifest.clone(),
    };
    let note = class_refused.then(|| {
        format!("the store knows no storage class {class}; archives have the bucket's own")
    });
    Ok((copy, note))
}

/// Archive, index, manifest, each proved before the next. Whether the storage class was refused.
async fn copy(
    context: &Context,
    found: &Found,
    to: &BackupKeys,
    class: &str,
) -> anyhow::Result<bool> {
    let (store, from, manifest) = (&found.store, &found.keys, &found.manifest);
    let bytes = store.get(&from.manifest, manifest::MAX_BYTES).await?;
    anyhow::ensure!(
        Manifest::parse(&bytes)? == *manifest,
        "its manifest changed meanwhile"
    );
    let request = CopyRequest {
        from: &from.archive,
        to: &to.archive,
        bytes: manifest.archive.archive_bytes,
        crc64nvme: Some(&manifest.archive.archive_crc64nvme),
        storage_class: Some(class),
        content_type: "application/gzip",
    };
    let class_refused = one(context, store, &request).await?;
    proved(store, &to.archive, manifest).await?;

    // Manifest and index stay readable at once, whatever the class of archives.
    let request = CopyRequest {
        from: &from.index,
        to: &to.index,
        bytes: manifest.index_bytes,
        crc64nvme: None,
        storage_class: None,
        content_type: "application/gzip",
    };
    one(context, store, &request).await?;
    let index = store.get(&to.index, manifest.index_bytes).await?;
    anyhow::ensure!(
        Sha256::digest(&index)[..] == manifest.index_sha256.0,
        "the copied index {} is not the one that the manifest names",
        store.locate(&to.index)
    );

    let request = CopyRequest {
        from: &from.manifest,
        to: &to.manifest,
        bytes: bytes.len() as u64,
        content_type: "application/json",
        ..request
    };
    one(context, store, &request).await?;
    anyhow::ensure!(
        store.get(&to.manifest, manifest::MAX_BYTES).await? == bytes,
        "the copied manifest {} differs from the original",
        store.locate(&to.manifest)
    );
    // Another run may have swept what a killed one had left here, while this one took it up.
    for key in [&to.archive, &to.index] {
        if store.head(key).await?.is_none() {
            store.delete(&to.manifest).await?;
            anyhow::bail!("the copy {} disappeared again", store.locate(key));
        }
    }
    Ok(class_refused)
}

/// One object. One that is there already is from a run that ended early, or from another gate, and
/// is proved like a copy. Returns whether the storage class was refused.
async fn one(context: &Context, store: &Store, request: &CopyRequest<'_>) -> anyhow::Result<bool> {
    let uploads = Mutex::new(Vec::new());
    let begun = |handle| {
        let undo = Undo::Abort(store.clone(), request.to.clone(), handle);
        let ticket = context.cleanup.add(undo);
        match uploads.lock() {
            Ok(mut uploads) => uploads.push(ticket),
            Err(poisoned) => poisoned.into_inner().push(ticket),
        }
    };
    let copied = store.copy(request, &begun).await;
    let uploads = match uploads.into_inner() {
        Ok(uploads) => uploads,
        Err(poisoned) => poisoned.into_inner(),
    };
    // What was begun has ended, one way or the other.
    for ticket in uploads {
        context.cleanup.disarm(ticket);
    }
    match copied {
        Ok(copied) => Ok(copied.class_refused),
        Err(error) if StoreErrorKind::of(&error) == Some(StoreErrorKind::AlreadyExists) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// The archive in its new place has the length and the bytes of the manifest: by the store's own
/// checksum where that can be believed, else every byte is read.
async fn proved(store: &Store, key: &Key, manifest: &Manifest) -> anyhow::Result<()> {
    let archive = &manifest.archive;
    let differs = |what: String| {
        Explained::new(
            format!("the copy {} {what}", store.locate(key)),
            "The original stays where it is. Remove the copy if it does not go by itself, and run this again.",
        )
    };
    let info = store.head(key).await?;
    let Some(info) = info else {
        return Err(differs("is not there".to_owned()).into());
    };
    if info.bytes != archive.archive_bytes {
        let what = format!(
            "has {} bytes instead of {}",
            info.bytes, archive.archive_bytes
        );
        return Err(differs(what).into());
    }
    if let Some(sum) = &info.crc64nvme {
        return match *sum == archive.archive_crc64nvme {
            true => Ok(()),
            false => Err(differs("has another checksum".to_owned()).into()),
        };
    }
    let mut digest = Sha256::new();
    let mut at = 0;
    while at < archive.archive_bytes {
        let end = (at + CHUNK_BYTES).min(archive.archive_bytes);
        let bytes = store
            .get_range(key, at..end)
            .await
            .context("could not read the copy back")?;
        digest.update(&bytes);
        at = end;
    }
    match digest.finalize()[..] == archive.archive_sha256.0 {
        true => Ok(()),
        false => Err(differs("has another SHA-256".to_owned()).into()),
    }
}

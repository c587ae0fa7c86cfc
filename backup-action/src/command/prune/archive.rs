//! One backup into the archive tier: copied by the store, proved there, its manifest last. Until
//! then the copy counts for nothing, and the original stays.

use crate::command::Context;
use crate::command::stores::Found;
use crate::error::Explained;
use crate::manifest::{self, Manifest};
use crate::pipeline::cleanup::{Ticket, Undo};
use crate::store::{CopyRequest, Key, Store, StoreErrorKind};
use anyhow::Context as _;
use sha2::{Digest, Sha256};
use std::sync::Mutex;

/// How much of an archive is read at once when it has to be read back.
const CHUNK_BYTES: u64 = 8 * 1024 * 1024;

/// Copies a backup of the remote tier. Returns the copy, and what is worth knowing.
///
/// # Errors
/// The copy could not be made or is not what was copied; nothing of it stays that could be taken
/// for a backup.
pub(super) async fn archive(
    context: &Context,
    found: &Found,
    class: &str,
) -> anyhow::Result<(Found, Option<String>)> {
    let store = &found.store;
    let (from, to) = (&found.keys, found.keys.archived());
    let manifest = &found.manifest;
    let tickets = Mutex::new(Vec::new());
    let copy = async {
        let bytes = store.get(&from.manifest, manifest::MAX_BYTES).await?;
        anyhow::ensure!(
            Manifest::parse(&bytes)? == *manifest,
            "the manifest of {} changed meanwhile",
            store.locate(&from.archive)
        );
        let request = CopyRequest {
            from: &from.archive,
            to: &to.archive,
            bytes: manifest.archive.archive_bytes,
            crc64nvme: Some(&manifest.archive.archive_crc64nvme),
            storage_class: Some(class),
            content_type: "application/gzip",
        };
        let class_refused = one(context, store, &request, &tickets).await?;
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
        one(context, store, &request, &tickets).await?;
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
        one(context, store, &request, &tickets).await?;
        anyhow::ensure!(
            store.get(&to.manifest, manifest::MAX_BYTES).await? == bytes,
            "the copied manifest {} differs from the original",
            store.locate(&to.manifest)
        );
        Ok(class_refused)
    };
    let copied = copy.await;
    let tickets = match tickets.into_inner() {
        Ok(tickets) => tickets,
        Err(poisoned) => poisoned.into_inner(),
    };
    // After an error they stay on the list, and are taken back at the end of the run.
    let class_refused =
        copied.with_context(|| format!("could not archive {}", store.locate(&from.archive)))?;
    for ticket in tickets {
        context.cleanup.disarm(ticket);
    }
    let copy = Found {
        store: store.clone(),
        keys: to,
        manifest: manifest.clone(),
    };
    let note = class_refused.then(|| {
        format!("the store knows no storage class {class}; archives have the bucket's own")
    });
    Ok((copy, note))
}

/// One object. One that is there already is from a run that was killed, and is proved like a copy.
/// Returns whether the storage class was refused.
async fn one(
    context: &Context,
    store: &Store,
    request: &CopyRequest<'_>,
    tickets: &Mutex<Vec<Ticket>>,
) -> anyhow::Result<bool> {
    let keep = |ticket: Ticket| match tickets.lock() {
        Ok(mut tickets) => tickets.push(ticket),
        Err(poisoned) => poisoned.into_inner().push(ticket),
    };
    let ticket = context
        .cleanup
        .add(Undo::Delete(store.clone(), request.to.clone()));
    keep(ticket);
    let begun = |handle| {
        let undo = Undo::Abort(store.clone(), request.to.clone(), handle);
        keep(context.cleanup.add(undo));
    };
    match store.copy(request, &begun).await {
        Ok(copied) => Ok(copied.class_refused),
        Err(error) if StoreErrorKind::of(&error) == Some(StoreErrorKind::AlreadyExists) => {
            context.cleanup.disarm(ticket);
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

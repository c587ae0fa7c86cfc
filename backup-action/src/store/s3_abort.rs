//! Taking an upload back: no parts, no object, no second upload that a lost answer left behind.

use super::ABORT_DEADLINE;
use super::error::StoreErrorKind;
use super::s3::patiently;
use super::s3_error::{Call, code, nonsense, status};
use super::s3_put::Owner;
use super::s3_state::{Created, Shared, Stage};
use anyhow::{Context, Result, anyhow};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// How long the answer to a CreateMultipartUpload is waited for before the store is asked for it.
const CREATED_DEADLINE: Duration = Duration::from_millis(1500);

/// Ends an upload from outside or after an error.
pub(super) async fn abort(shared: &Arc<Shared>) -> Result<()> {
    shared.cancel.send_replace(true);
    let before = {
        let mut stage = shared.stage.lock().unwrap_or_else(PoisonError::into_inner);
        match *stage {
            Stage::Sealed | Stage::Aborted => return Ok(()),
            Stage::Open | Stage::Sealing => std::mem::replace(&mut *stage, Stage::Aborted),
        }
    };
    let cleaned = tokio::time::timeout(ABORT_DEADLINE, clean_up(shared, before)).await;
    let result = match cleaned {
        Ok(result) => result,
        Err(_) => Err(anyhow!("no answer in time")),
    };
    if result.is_err() {
        // Another call may try again.
        shared.set_stage(before);
    }
    result.with_context(|| {
        format!(
            "could not clean up {}: parts may be left in the bucket, where they cost money until a lifecycle \
             rule (AbortIncompleteMultipartUpload) removes them",
            shared.url()
        )
    })
}

async fn clean_up(shared: &Arc<Shared>, before: Stage) -> Result<()> {
    shared.parts.lock().await.shutdown().await;
    let mut created = shared.created.subscribe();
    let asked = tokio::time::timeout(
        CREATED_DEADLINE,
        created.wait_for(|created| !matches!(created, Created::Asked)),
    );
    let answered = match asked.await {
        Ok(answered) => answered?.clone(),
        // What it began without saying so is found below.
        Err(_) => Created::Asked,
    };
    if let Created::Yes(id) = &answered {
        abort_upload(shared, id).await?;
    }
    sweep_twins(shared).await?;
    // A Complete or Put whose answer nobody waited for may have been applied.
    let ours = async {
        let owner = shared.store.owner(&shared.key, &shared.nonce).await?;
        anyhow::Ok(matches!(owner, Owner::Us(_)))
    };
    let made = shared.made.load(Ordering::Relaxed);
    if before == Stage::Sealing && (made || ours.await?) {
        shared.store.delete(&shared.key).await?;
    }
    Ok(())
}

/// Aborts until the store says that the upload is gone: a part that was still on its way can
/// arrive after the first abort.
pub(super) async fn abort_upload(shared: &Shared, upload_id: &str) -> Result<()> {
    let store = &shared.store;
    let request = store
        .client
        .abort_multipart_upload()
        .bucket(&store.config.bucket)
        .key(store.object(&shared.key))
        .upload_id(upload_id);
    for _ in 0..5 {
        match patiently(|| request.clone().send()).await {
            Ok(_) => {}
            Err(error) if is_gone(code(&error), status(&error)) => return Ok(()),
            Err(error) => return Err(store.explain(Call::ABORT, &shared.url(), error)),
        }
        match parts_of(shared, upload_id).await {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            // Without the right to look, the accepted abort has to do.
            Err(error) if StoreErrorKind::of(&error) == Some(StoreErrorKind::Denied) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(anyhow!(
        "the upload of {} is still there after its abort",
        shared.url()
    ))
}

fn is_gone(code: Option<&str>, status: Option<u16>) -> bool {
    code == Some("NoSuchUpload") || (code.is_none() && status == Some(404))
}

/// How many parts (of the first page) an upload has; none when there is no such upload.
async fn parts_of(shared: &Shared, upload_id: &str) -> Result<Option<usize>> {
    let store = &shared.store;
    let request = store
        .client
        .list_parts()
        .bucket(&store.config.bucket)
        .key(store.object(&shared.key))
        .upload_id(upload_id);
    match patiently(|| request.clone().send()).await {
        Ok(parts) => Ok(Some(parts.parts().len())),
        Err(error) if is_gone(code(&error), status(&error)) => Ok(None),
        Err(error) => Err(store.explain(Call::LIST_PARTS, &shared.url(), error)),
    }
}

/// Removes the empty upload that a lost answer to our first CreateMultipartUpload left behind. One
/// with parts belongs to another run.
pub(super) async fn sweep_twins(shared: &Arc<Shared>) -> Result<()> {
    let asked = shared.create_attempts.load(Ordering::Relaxed);
    let ours = match &*shared.created.borrow() {
        Created::Yes(id) => Some(id.clone()),
        Created::No | Created::Asked | Created::Failed => None,
    };
    if asked == 0 || (asked == 1 && ours.is_some()) {
        return Ok(());
    }
    let store = &shared.store;
    let object = store.object(&shared.key);
    let request = store
        .client
        .list_multipart_uploads()
        .bucket(&store.config.bucket)
        .prefix(&object);
    let uploads = patiently(|| request.clone().send())
        .await
        .map_err(|error| store.explain(Call::LIST_UPLOADS, &shared.url(), error))?;
    if uploads.bucket().is_none() {
        return Err(nonsense(Call::LIST_UPLOADS, &shared.url(), "is no listing"));
    }
    for upload in uploads.uploads() {
        let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) else {
            continue;
        };
        if key == object && ours.as_deref() != Some(id) && parts_of(shared, id).await? == Some(0) {
            abort_upload(shared, id).await?;
        }
    }
    Ok(())
}

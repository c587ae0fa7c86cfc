//! What a multipart upload, its tasks and its abort handles share. State only: no requests here.

use super::Key;
use super::s3::S3Store;
use anyhow::{Result, anyhow};
use aws_sdk_s3::types::CompletedPart;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::task::JoinSet;

pub(super) const CONTENT_TYPE: &str = "application/gzip";

/// What the upload, its tasks and its abort handles share.
pub(super) struct Shared {
    pub(super) store: S3Store,
    pub(super) key: Key,
    pub(super) nonce: String,
    pub(super) stage: Mutex<Stage>,
    /// Set once; everything that waits stops.
    pub(super) cancel: watch::Sender<bool>,
    pub(super) created: watch::Sender<Created>,
    pub(super) parts: AsyncMutex<JoinSet<Result<CompletedPart>>>,
    /// The store said that it made the object, which no other write can have made.
    pub(super) made: AtomicBool,
    /// Attempts at creating the upload: after a lost answer there may be a second one.
    pub(super) create_attempts: Arc<AtomicU32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Open,
    /// The request that makes the object visible may be on its way.
    Sealing,
    Sealed,
    Aborted,
}

/// The multipart upload's id.
#[derive(Clone, Debug)]
pub(super) enum Created {
    /// Nothing was asked for.
    No,
    Asked,
    Yes(String),
    Failed,
}

impl Shared {
    pub(super) fn stage(&self) -> Stage {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_stage(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    /// Only where create-only writes hold can the object be nobody else's.
    pub(super) fn note_made(&self) {
        let conditional = self.store.if_none_match().is_some();
        self.made.store(conditional, Ordering::Relaxed);
    }

    pub(super) fn url(&self) -> String {
        self.store.url(Some(&self.key))
    }

    /// Runs `work` unless the upload is cancelled meanwhile.
    pub(super) async fn unless_cancelled<T>(
        &self,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let mut cancelled = self.cancel.subscribe();
        tokio::select! {
            biased;
            _ = cancelled.wait_for(|cancelled| *cancelled) => Err(anyhow!("the upload was aborted")),
            result = work => result,
        }
    }
}

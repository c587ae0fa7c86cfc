//! Stored bytes → decoded dump, in order: range requests and decoding in parallel, memory bounded
//! by the spans in flight. Used by read-back, `verify` and `extract`.

use super::progress::Progress;
use crate::archive::index::Index;
use crate::archive::read::{Span, decode_span};
use crate::archive::validate::Damaged;
use crate::error;
use crate::store::{Key, Store};
use anyhow::Context;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How many bytes of archive one span has at most; it decodes to at most four times as much. Some
/// five spans are in memory at a time, and a range request of this size still fills a fast link.
pub const SPAN_BYTES: u64 = 1024 * 1024;

/// One decoded span.
pub struct Decoded {
    /// Which one.
    pub span: Span,
    /// Its bytes in the archive.
    pub stored: Bytes,
    /// Its bytes of the dump; empty when only the proof was wanted.
    pub dump: Vec<u8>,
}

/// What is wanted of a span besides the proof that it is what the index says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Its bytes of the dump.
    Dump,
    /// Nothing.
    Proof,
}

/// Decodes `spans` of the archive at `key` on `jobs` threads and hands them on in order.
///
/// Dropping the receiver stops the work.
pub fn spans(
    store: &Store,
    key: &Key,
    index: &Arc<Index>,
    spans: Vec<Span>,
    want: Want,
    jobs: usize,
) -> mpsc::Receiver<JoinHandle<anyhow::Result<Decoded>>> {
    let (sender, receiver) = mpsc::channel(jobs.max(1));
    let (store, key, index) = (store.clone(), key.clone(), Arc::clone(index));
    drop(tokio::spawn(async move {
        for span in spans {
            // Reserving first keeps a span from being fetched before there is room for it.
            let Ok(permit) = sender.reserve().await else {
                return;
            };
            permit.send(tokio::spawn(fetch(
                store.clone(),
                key.clone(),
                Arc::clone(&index),
                span,
                want,
            )));
        }
    }));
    receiver
}

/// Awaits the next span of [`spans`].
///
/// # Errors
/// The store's, or the first difference between the bytes and the index.
pub async fn next(
    receiver: &mut mpsc::Receiver<JoinHandle<anyhow::Result<Decoded>>>,
    progress: &Progress,
) -> anyhow::Result<Option<Decoded>> {
    let Some(task) = receiver.recv().await else {
        return Ok(None);
    };
    let decoded = task.await.context("a decoding task panicked")??;
    progress.advance(decoded.stored.len() as u64);
    Ok(Some(decoded))
}

async fn fetch(
    store: Store,
    key: Key,
    index: Arc<Index>,
    span: Span,
    want: Want,
) -> anyhow::Result<Decoded> {
    let stored = store.get_range(&key, span.archive.clone()).await?;
    tokio::task::spawn_blocking(move || {
        let mut dump = Vec::new();
        match want {
            Want::Dump => decode_span(&index, &span, &stored, |block| {
                dump.extend_from_slice(block)
            }),
            Want::Proof => decode_span(&index, &span, &stored, |_| {}),
        }
        .map_err(|error| Damaged(error::one_line(&error)))?;
        Ok(Decoded { span, stored, dump })
    })
    .await
    .context("a decoding thread panicked")?
}

//! Ranges of the dump out of a stored archive, in order, with every member proved. Memory is bounded
//! by a few spans for each reader; nothing is kept.

use crate::archive::index::{ByteRange, Index};
use crate::archive::read::spans_for;
use crate::pipeline::fetch::{self, Decoded, Want};
use crate::store::{Key, Store};
use anyhow::{Context, ensure};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Bytes of archive that one reader fetches at a time; a member is not cut.
const SPAN_BYTES: u64 = 512 * 1024;

/// A stored archive that was not encrypted, or whose plain bytes the store gives.
#[derive(Clone, Debug)]
pub struct Archive {
    /// Where it is.
    pub store: Store,
    /// Its name there.
    pub key: Key,
    /// Its index, with its members.
    pub index: Arc<Index>,
}

/// The archive, and how much of it was read.
#[derive(Debug)]
pub(super) struct Source {
    archive: Archive,
    read: Arc<AtomicU64>,
}

impl Source {
    pub(super) fn new(archive: Archive) -> Source {
        Source {
            archive,
            read: Arc::default(),
        }
    }

    pub(super) fn index(&self) -> &Arc<Index> {
        &self.archive.index
    }

    /// Bytes of the archive that were read so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Reads `ranges`, which are in the order of the dump.
    pub(super) fn ranges(&self, ranges: Vec<ByteRange>) -> Ranges {
        let Archive { store, key, index } = &self.archive;
        let spans = spans_for(index, &ranges, SPAN_BYTES);
        Ranges {
            spans: fetch::spans(store, key, index, spans, Want::Dump, 1),
            read: Arc::clone(&self.read),
            waiting: ranges.into_iter().enumerate().collect(),
            start: 0,
            bytes: Bytes::new(),
        }
    }
}

/// Ranges that are being read.
pub(super) struct Ranges {
    spans: mpsc::Receiver<JoinHandle<anyhow::Result<Decoded>>>,
    read: Arc<AtomicU64>,
    waiting: VecDeque<(usize, ByteRange)>,
    /// Where `bytes` starts in the dump.
    start: u64,
    bytes: Bytes,
}

/// A part of a range, or an empty range.
pub(super) struct Chunk {
    /// Which range, by its position.
    pub(super) range: usize,
    pub(super) bytes: Bytes,
}

impl Ranges {
    /// The next bytes; none behind the last range.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<Chunk>> {
        let Some((number, range)) = self.waiting.pop_front() else {
            return Ok(None);
        };
        while range.bytes() > 0 && self.start + self.bytes.len() as u64 <= range.start {
            self.next_span().await?;
        }
        let mut bytes = Bytes::new();
        if range.bytes() > 0 {
            ensure!(self.start <= range.start, "ranges are out of order");
            let held = self.bytes.len() as u64;
            let from = usize::try_from(range.start - self.start)?;
            let to = usize::try_from((range.end - self.start).min(held))?;
            bytes = self.bytes.slice(from..to);
        }
        let end = range.start + bytes.len() as u64;
        if end < range.end {
            let rest = ByteRange {
                start: end,
                end: range.end,
            };
            self.waiting.push_front((number, rest));
        }
        Ok(Some(Chunk {
            range: number,
            bytes,
        }))
    }

    async fn next_span(&mut self) -> anyhow::Result<()> {
        let task = self.spans.recv().await;
        let task = task.context("the index has no member for a range of the dump")?;
        let decoded = task.await.context("a decoding task panicked")??;
        self.read
            .fetch_add(decoded.stored.len() as u64, Ordering::Relaxed);
        self.start = decoded.span.dump.start;
        self.bytes = decoded.dump.into();
        Ok(())
    }
}

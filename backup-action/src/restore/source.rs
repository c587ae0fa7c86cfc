//! Ranges of the dump out of a stored archive, in order, with every member proved. Memory is bounded
//! by a few spans for each reader, and by what is kept of small reads: the statements of a schema
//! lie in few members, which are asked for many times.

use crate::archive::index::{ByteRange, Index};
use crate::archive::read::{Span, spans_for};
use crate::pipeline::fetch::{self, Decoded, Want};
use crate::store::{Key, Store};
use anyhow::{Context, ensure};
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Bytes of archive that one reader fetches at a time; a member is not cut.
const SPAN_BYTES: u64 = 512 * 1024;

/// A read of more spans than this is of rows, which are read once.
const FEW_SPANS: usize = 8;

/// Bytes of dump that are kept.
const KEPT_BYTES: u64 = 8 * 1024 * 1024;

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
    kept: Arc<Mutex<Kept>>,
}

/// What was decoded last, oldest first.
#[derive(Debug, Default)]
struct Kept(VecDeque<Part>);

/// Some bytes of the dump.
#[derive(Clone, Debug)]
struct Part {
    members: Range<usize>,
    /// Where it starts in the dump.
    start: u64,
    bytes: Bytes,
}

impl Kept {
    /// The part that holds all members of `span`.
    fn find(&self, span: &Span) -> Option<Part> {
        let holds = |part: &&Part| {
            part.members.start <= span.members.start && span.members.end <= part.members.end
        };
        self.0.iter().find(holds).cloned()
    }

    fn keep(&mut self, part: Part) {
        let size = |kept: &VecDeque<Part>| kept.iter().map(|p| p.bytes.len() as u64).sum::<u64>();
        self.0.push_back(part);
        while size(&self.0) > KEPT_BYTES && self.0.len() > 1 {
            self.0.pop_front();
        }
    }
}

impl Source {
    pub(super) fn new(archive: Archive) -> Source {
        Source {
            archive,
            read: Arc::default(),
            kept: Arc::default(),
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
        let spans = spans_for(&self.archive.index, &ranges, SPAN_BYTES);
        Ranges {
            parts: self.parts(spans),
            waiting: ranges.into_iter().enumerate().collect(),
            start: 0,
            bytes: Bytes::new(),
        }
    }
}

impl Source {
    /// Decodes `spans` in order, one ahead of the reader. Dropping the receiver stops the work.
    fn parts(&self, spans: Vec<Span>) -> mpsc::Receiver<JoinHandle<anyhow::Result<Part>>> {
        let (sender, receiver) = mpsc::channel(1);
        let few = spans.len() <= FEW_SPANS;
        let (archive, read) = (self.archive.clone(), Arc::clone(&self.read));
        let kept = Arc::clone(&self.kept);
        drop(tokio::spawn(async move {
            for span in spans {
                // Reserving first keeps a span from being fetched before there is room for it.
                let Ok(permit) = sender.reserve().await else {
                    return;
                };
                let found = lock(&kept).find(&span);
                let (archive, read) = (archive.clone(), Arc::clone(&read));
                let keep = few.then(|| Arc::clone(&kept));
                permit.send(tokio::spawn(async move {
                    if let Some(part) = found {
                        return Ok(part);
                    }
                    let part = fetch_one(&archive, span, &read).await?;
                    if let Some(kept) = keep {
                        lock(&kept).keep(part.clone());
                    }
                    Ok(part)
                }));
            }
        }));
        receiver
    }
}

async fn fetch_one(archive: &Archive, span: Span, read: &AtomicU64) -> anyhow::Result<Part> {
    let Archive { store, key, index } = archive;
    let mut decoded = fetch::spans(store, key, index, vec![span], Want::Dump, 1);
    let task = decoded.recv().await.context("a span was not fetched")?;
    let Decoded { span, stored, dump } = task.await.context("a decoding task panicked")??;
    read.fetch_add(stored.len() as u64, Ordering::Relaxed);
    Ok(Part {
        members: span.members,
        start: span.dump.start,
        bytes: dump.into(),
    })
}

/// A thread that panicked while it held the lock left no half-made state behind.
fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ranges that are being read.
pub(super) struct Ranges {
    parts: mpsc::Receiver<JoinHandle<anyhow::Result<Part>>>,
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
        let task = self.parts.recv().await;
        let task = task.context("the index has no member for a range of the dump")?;
        let part = task.await.context("a decoding task panicked")??;
        self.start = part.start;
        self.bytes = part.bytes;
        Ok(())
    }
}

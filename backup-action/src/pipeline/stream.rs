//! pg_dumpall's output → scanned, digested, compressed and proved → every store, in one pass.
//!
//! Threads: one reads and scans, one digests, N compress; an async task writes the members in
//! order. Memory is bounded by the members in flight and the stores' parts, whatever the size of
//! the dump. Nothing becomes visible in a store here: that is `seal`'s.

use super::cleanup::{Cleanup, Ticket, Undo};
use super::compressors::{Pool, Reply};
use super::progress::Progress;
use super::source::{Block, Input, Spare};
use crate::archive::compress::Encoded;
use crate::archive::digest::{self, Digester, Digests};
use crate::archive::index::{Index, Member, Sha256Digest};
use crate::archive::scan::Scanner;
use crate::archive::scanned::{Completeness, Scan};
use crate::config::Level;
use crate::process::{Finished, Running, StopHandle};
use crate::store::{Key, Store, Upload};
use anyhow::Context;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::sync::{Arc, mpsc as sync_mpsc};
use std::time::Duration;
use tokio::sync::mpsc;

/// By then a group that was stopped is gone, SIGKILL included. What still holds the pipe is none of
/// ours, and nobody waits for it.
const GONE_AFTER: Duration = Duration::from_secs(8);

/// How a dump is streamed.
#[derive(Clone, Debug)]
pub struct Options {
    /// How strong the compression is.
    pub level: Level,
    /// Compressing threads.
    pub jobs: usize,
    /// How long the dump may be silent.
    pub stall_timeout: Duration,
}

/// Keeps other modules from making the proof of this step.
struct Proof;

/// One store that an archive is being written to.
pub struct OpenCopy {
    /// The store.
    pub store: Store,
    upload: Option<Upload>,
    ticket: Ticket,
    /// Why this copy was given up.
    pub failure: Option<anyhow::Error>,
}

impl OpenCopy {
    /// Begins the upload and puts it on the undo list.
    ///
    /// # Errors
    /// The store refuses; nothing was begun.
    pub async fn begin(
        store: &Store,
        key: &Key,
        expected_bytes: u64,
        cleanup: &Cleanup,
    ) -> anyhow::Result<OpenCopy> {
        let upload = store.create(key, expected_bytes).await?;
        let ticket = cleanup.add(Undo::Abort(
            store.clone(),
            key.clone(),
            upload.abort_handle(),
        ));
        Ok(OpenCopy {
            store: store.clone(),
            upload: Some(upload),
            ticket,
            failure: None,
        })
    }

    pub(super) fn take(self) -> (Store, Option<Upload>, Ticket, Option<anyhow::Error>) {
        (self.store, self.upload, self.ticket, self.failure)
    }

    async fn write(&mut self, member: &Encoded) {
        let Some(upload) = &mut self.upload else {
            return;
        };
        if let Err(error) = upload.write(member.bytes.clone()).await {
            let handle = upload.abort_handle();
            self.upload = None;
            // The item on the undo list tries again when this does not work.
            let aborted = handle.abort().await.err();
            self.failure = Some(match aborted {
                None => error,
                Some(left) => {
                    error.context(format!("an unfinished upload was left behind ({left:#})"))
                }
            });
        }
    }
}

/// What came out of pg_dumpall, whole or not. Only [`stream`] makes it.
pub struct Streamed {
    /// How pg_dumpall ended.
    pub finished: Finished,
    /// What the scanner saw of the end of the dump.
    pub completeness: Completeness,
    /// What ended the stream early, in our words.
    pub fault: Option<anyhow::Error>,
    /// Whether the fault is that the bytes were not those of a dump (and not trouble of ours).
    pub unreadable: bool,
    /// Objects whose statements psql takes for something else, so that the dump cannot be restored
    /// with it as it is. Hostile text.
    pub unreadable_by_psql: Vec<String>,
    /// The index of what was written; none when the stream ended early.
    pub index: Option<Index>,
    /// Lowest and highest level used.
    pub levels_used: [u32; 2],
    /// The stores, not sealed.
    pub copies: Vec<OpenCopy>,
    _proof: Proof,
}

/// Streams the dump of `child` into `copies`.
///
/// A dump that fails is not an error here: the facts are in [`Streamed`], and the gate's checks are
/// asked about them.
///
/// # Errors
/// Trouble of our own: a thread that cannot be started or that panicked, a member that does not
/// decode.
pub async fn stream(
    child: Running,
    stdout: File,
    mut copies: Vec<OpenCopy>,
    options: &Options,
    progress: &Arc<Progress>,
) -> anyhow::Result<Streamed> {
    let stop = child.stop_handle();
    let in_flight = options.jobs * 2 + 2;
    let (ordered, mut members) = mpsc::channel(in_flight);
    let (digest_queue, digest_blocks) = sync_mpsc::sync_channel(2);
    let pool = Pool::start(options.level, options.jobs)?;
    let reader = {
        let progress = Arc::clone(progress);
        tokio::task::spawn_blocking(move || read(stdout, &pool, &digest_queue, &ordered, &progress))
    };
    let digester = tokio::task::spawn_blocking(move || digest_all(&digest_blocks));

    let mut written = Written::default();
    let mut fault = write_in_order(
        &mut members,
        &mut copies,
        &mut written,
        options,
        progress,
        &stop,
    )
    .await;
    // The reader ends by itself: either the dump did, or nobody takes its members any more.
    drop(members);
    if fault.is_some() {
        stop.stop();
    }
    // A reader that still waits although its dump was given up does not end any more.
    let patience = match progress.silent_seconds() >= options.stall_timeout.as_secs() {
        true => Duration::from_millis(500),
        false => GONE_AFTER,
    };
    let read = match tokio::time::timeout(patience, reader).await {
        Ok(read) => read.context("the thread that reads the dump panicked")?,
        // Something that left the process group holds the pipe; its thread ends with the program.
        Err(_) => return Err(fault.unwrap_or_else(|| stall(GONE_AFTER.as_secs(), progress))),
    };
    let mut unreadable = false;
    if let Some(error) = read.fault {
        stop.stop();
        unreadable = read.unreadable;
        fault.get_or_insert(error);
    }
    let digests = digester
        .await
        .context("the thread that digests the dump panicked")?;
    let finished = {
        let mut finish = std::pin::pin!(child.finish());
        match tokio::time::timeout(options.stall_timeout, &mut finish).await {
            Ok(finished) => finished?,
            Err(_) => {
                stop.stop();
                fault.get_or_insert_with(|| {
                    crate::error::Explained::new(
                        "pg_dumpall closed its output but did not end",
                        "Look for a wrapper that keeps running behind pg_dumpall.",
                    )
                    .into()
                });
                finish.await?
            }
        }
    };
    let completeness = read.scan.completeness.clone();
    let unreadable_by_psql = unreadable_by_psql(&read.scan);
    let levels_used = written.levels();
    let index = match fault {
        None => Some(written.index(read.scan, digests?)?),
        Some(_) => None,
    };
    Ok(Streamed {
        finished,
        completeness,
        fault,
        unreadable,
        index,
        levels_used,
        unreadable_by_psql,
        copies,
        _proof: Proof,
    })
}

struct Reading {
    scan: Scan,
    fault: Option<anyhow::Error>,
    unreadable: bool,
}

/// Reads until the end, and hands each block to the digester, to a compressing thread, and its
/// reply to the writer.
fn read(
    stdout: File,
    pool: &Pool,
    digest: &sync_mpsc::SyncSender<Arc<Block>>,
    ordered: &mpsc::Sender<Reply>,
    progress: &Progress,
) -> Reading {
    let mut input = Input::new(stdout);
    let spare = Spare::default();
    let mut scanner = Scanner::new();
    let mut start = 0;
    let (mut fault, mut unreadable) = (None, false);
    loop {
        let mut bytes = spare.take();
        match input.fill(&mut bytes, progress) {
            Ok(0) => break,
            Ok(count) => bytes.truncate(count),
            Err(error) => {
                fault = Some(anyhow::Error::new(error).context("could not read from pg_dumpall"));
                break;
            }
        }
        let mut pieces = Vec::new();
        if let Err(error) = scanner.feed(&bytes, &mut pieces) {
            fault = Some(anyhow::Error::new(error));
            unreadable = true;
            break;
        }
        progress.advance(bytes.len() as u64);
        progress.at(scanner.place().to_string());
        let length = bytes.len() as u64;
        let block = Arc::new(Block {
            bytes,
            start,
            pieces,
            spare: spare.clone(),
        });
        start += length;
        // A closed channel means that the other side has met its own fault, which it reports.
        if digest.send(Arc::clone(&block)).is_err()
            || ordered.blocking_send(pool.submit(block)).is_err()
        {
            break;
        }
    }
    Reading {
        scan: scanner.finish(),
        fault,
        unreadable,
    }
}

fn digest_all(blocks: &sync_mpsc::Receiver<Arc<Block>>) -> anyhow::Result<Digests> {
    let mut digester = Digester::new();
    while let Ok(block) = blocks.recv() {
        digester.feed(&block.bytes, block.start, &block.pieces)?;
    }
    Ok(digester.finish())
}

/// What was handed to the stores.
#[derive(Default)]
struct Written {
    members: Vec<Member>,
    sha256: Sha256,
    lowest: Option<u32>,
    highest: Option<u32>,
}

impl Written {
    fn add(&mut self, encoded: &Encoded) {
        self.sha256.update(&encoded.bytes);
        self.members.push(encoded.member.clone());
        self.lowest = Some(
            self.lowest
                .map_or(encoded.level, |lowest| lowest.min(encoded.level)),
        );
        self.highest = Some(
            self.highest
                .map_or(encoded.level, |highest| highest.max(encoded.level)),
        );
    }

    fn levels(&self) -> [u32; 2] {
        [self.lowest.unwrap_or(0), self.highest.unwrap_or(0)]
    }

    fn index(self, scan: Scan, digests: Digests) -> anyhow::Result<Index> {
        digest::assemble(
            scan,
            digests,
            self.members,
            Sha256Digest(self.sha256.finalize().into()),
        )
    }
}

/// Writes the members in order to every store that still works; returns what ended it early.
async fn write_in_order(
    members: &mut mpsc::Receiver<Reply>,
    copies: &mut [OpenCopy],
    written: &mut Written,
    options: &Options,
    progress: &Progress,
    stop: &StopHandle,
) -> Option<anyhow::Error> {
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    let mut stalled = None;
    let mut given_up = None;
    loop {
        let reply = tokio::select! {
            reply = members.recv() => reply,
            _ = tick.tick() => {
                let silent = progress.silent_seconds();
                if stalled.is_none() && silent >= options.stall_timeout.as_secs() {
                    stalled = Some(stall(silent, progress));
                    // The end of the child ends the reader, and that this loop.
                    stop.stop();
                    given_up = Some(tokio::time::Instant::now() + GONE_AFTER);
                }
                if given_up.is_some_and(|at| at <= tokio::time::Instant::now()) {
                    return stalled;
                }
                continue;
            }
        };
        let Some(reply) = reply else { return stalled };
        let encoded = match reply.await {
            Ok(Ok(encoded)) => encoded,
            Ok(Err(error)) => return Some(error),
            Err(_) => return Some(anyhow::anyhow!("a compressing thread ended early")),
        };
        for copy in copies.iter_mut() {
            copy.write(&encoded).await;
        }
        written.add(&encoded);
        if copies.iter().all(|copy| copy.failure.is_some()) {
            return Some(anyhow::anyhow!("no store accepts the archive any more"));
        }
    }
}

fn unreadable_by_psql(scan: &Scan) -> Vec<String> {
    let entry = |number: &u32| scan.entries.get(usize::try_from(*number).ok()?);
    scan.unreadable_by_psql
        .iter()
        .filter_map(entry)
        .map(|entry| format!("{} {}", entry.kind, entry.name))
        .collect()
}

fn stall(seconds: u64, progress: &Progress) -> anyhow::Error {
    let place = progress.snapshot().place;
    let place = if place.is_empty() {
        String::new()
    } else {
        format!(", last seen at {place}")
    };
    crate::error::Explained::new(
        format!("pg_dumpall sent no byte for {seconds} s{place}"),
        "Look for sessions that hold ACCESS EXCLUSIVE locks in pg_stat_activity and pg_locks, or raise --stall-timeout.",
    )
    .into()
}

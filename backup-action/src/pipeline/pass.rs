//! One pass over the bytes of a dump, wherever they come from: scanned, digested, compressed and
//! proved, and handed to the stores in order. Knows no child; nothing becomes visible in a store.
//!
//! Threads: one reads and scans, one digests, N compress; an async task writes the members in
//! order. Memory is bounded by the members in flight and the stores' parts, whatever the size of
//! the dump.

use super::compressors::{Pool, Reply};
use super::copies::OpenCopy;
use super::progress::Progress;
use super::source::{Block, Input, Spare};
use crate::archive::compress::Encoded;
use crate::archive::digest::{self, Digester, Digests};
use crate::archive::index::{Index, Member, Sha256Digest};
use crate::archive::scan::Scanner;
use crate::archive::scanned::Scan;
use crate::config::Level;
use anyhow::Context;
use sha2::{Digest, Sha256};
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

/// What a pass found, whole or not.
pub(super) struct Passed {
    /// Entries and completeness.
    pub(super) scan: Scan,
    /// Their digests.
    pub(super) digests: anyhow::Result<Digests>,
    /// What was handed to the stores.
    pub(super) written: Written,
    /// What ended the pass early.
    pub(super) fault: Option<anyhow::Error>,
    /// Whether the fault is that the bytes were not those of a dump (and not trouble of ours).
    pub(super) unreadable: bool,
}

/// Reads `input` to its end into `copies`; `stop` is called when the pass is given up, and has to
/// make the input end.
///
/// # Errors
/// Trouble of our own: a thread that cannot be started or that panicked. Anything else is in
/// [`Passed::fault`].
pub(super) async fn pass(
    input: Input,
    copies: &mut [OpenCopy],
    options: &Options,
    progress: &Arc<Progress>,
    stop: &(dyn Fn() + Sync),
) -> anyhow::Result<Passed> {
    let in_flight = options.jobs * 2 + 2;
    let (ordered, mut members) = mpsc::channel(in_flight);
    let (digest_queue, digest_blocks) = sync_mpsc::sync_channel(2);
    let pool = Pool::start(options.level, options.jobs)?;
    let reader = {
        let progress = Arc::clone(progress);
        tokio::task::spawn_blocking(move || read(input, &pool, &digest_queue, &ordered, &progress))
    };
    let digester = tokio::task::spawn_blocking(move || digest_all(&digest_blocks));

    let mut written = Written::default();
    let mut fault = write_in_order(
        &mut members,
        copies,
        &mut written,
        options.stall_timeout,
        progress,
        stop,
    )
    .await;
    // The reader ends by itself: either the dump did, or nobody takes its members any more.
    drop(members);
    if fault.is_some() {
        stop();
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
        stop();
        unreadable = read.unreadable;
        fault.get_or_insert(error);
    }
    let digests = digester
        .await
        .context("the thread that digests the dump panicked")?;
    Ok(Passed {
        scan: read.scan,
        digests,
        written,
        fault,
        unreadable,
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
    mut input: Input,
    pool: &Pool,
    digest: &sync_mpsc::SyncSender<Arc<Block>>,
    ordered: &mpsc::Sender<Reply>,
    progress: &Progress,
) -> Reading {
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
                fault = Some(anyhow::Error::new(error).context("could not read the dump"));
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
pub(super) struct Written {
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

    /// Lowest and highest level used.
    pub(super) fn levels(&self) -> [u32; 2] {
        [self.lowest.unwrap_or(0), self.highest.unwrap_or(0)]
    }

    /// The index of what was written.
    pub(super) fn index(self, scan: Scan, digests: Digests) -> anyhow::Result<Index> {
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
    stall_timeout: Duration,
    progress: &Progress,
    stop: &(dyn Fn() + Sync),
) -> Option<anyhow::Error> {
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    let mut stalled = None;
    let mut given_up = None;
    loop {
        let reply = tokio::select! {
            reply = members.recv() => reply,
            _ = tick.tick() => {
                let silent = progress.silent_seconds();
                if stalled.is_none() && silent >= stall_timeout.as_secs() {
                    stalled = Some(stall(silent, progress));
                    // The end of the child ends the reader, and that this loop.
                    stop();
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

//! A dump that is only looked at: scanned and digested as it streams, and not kept. What a drill
//! compares with the archive.

use super::progress::Progress;
use super::source::Input;
use crate::archive::compress::BLOCK_BYTES;
use crate::archive::digest::{Digester, Digests, assemble_without_members};
use crate::archive::index::{Index, Sha256Digest};
use crate::archive::scan::Scanner;
use crate::archive::scanned::{Completeness, Piece, Scan};
use crate::process::{Finished, Running};
use anyhow::Context;
use std::fs::File;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// How often a silent dump is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// What was seen of a dump.
pub struct Inspected {
    /// How the dump's program ended.
    pub finished: Finished,
    /// Whether anything is missing at the end.
    pub completeness: Completeness,
    /// Its entries with their digests; without members, since nothing was stored.
    pub index: Index,
}

/// Reads the dump of `child` to its end. It is stopped when it is silent for `stall_timeout`.
///
/// # Errors
/// Text that is no dump, a dump that stalled, or trouble of our own.
pub async fn inspect(
    child: Running,
    stdout: File,
    stall_timeout: Duration,
    progress: &Arc<Progress>,
) -> anyhow::Result<Inspected> {
    let stop = child.stop_handle();
    let reader = {
        let progress = Arc::clone(progress);
        tokio::task::spawn_blocking(move || read(stdout, &progress))
    };
    let watched = async {
        loop {
            tokio::time::sleep(LOOK).await;
            if progress.silent_seconds() >= stall_timeout.as_secs().max(1) {
                return;
            }
        }
    };
    let read = tokio::select! {
        read = reader => read.context("the thread that reads the dump panicked")?,
        () = watched => {
            stop.stop();
            anyhow::bail!("the dump sent nothing for {} s", stall_timeout.as_secs());
        }
    };
    let (scan, digests) = read.inspect_err(|_| stop.stop())?;
    let finished = tokio::time::timeout(stall_timeout, child.finish())
        .await
        .context("the dump's program closed its output but did not end")??;
    let completeness = scan.completeness.clone();
    Ok(Inspected {
        finished,
        completeness,
        index: assemble_without_members(scan, digests, 0, Sha256Digest([0; 32]))?,
    })
}

/// Scans on this thread, digests on another.
fn read(stdout: File, progress: &Progress) -> anyhow::Result<(Scan, Digests)> {
    std::thread::scope(|scope| {
        let (queue, blocks) = mpsc::sync_channel::<(u64, Vec<u8>, Vec<Piece>)>(4);
        let digester = scope.spawn(move || {
            let mut digester = Digester::new();
            for (start, block, pieces) in blocks {
                digester.feed(&block, start, &pieces)?;
            }
            anyhow::Ok(digester.finish())
        });
        let mut input = Input::pipe(stdout);
        let mut scanner = Scanner::new();
        let mut start = 0;
        loop {
            let mut block = vec![0; BLOCK_BYTES];
            let filled = input
                .fill(&mut block, progress)
                .context("could not read the dump")?;
            if filled == 0 {
                break;
            }
            block.truncate(filled);
            let mut pieces = Vec::new();
            scanner.feed(&block, &mut pieces)?;
            progress.advance(filled as u64);
            if queue.send((start, block, pieces)).is_err() {
                // The digester's own error is told below.
                break;
            }
            start += filled as u64;
        }
        drop(queue);
        let digests = match digester.join() {
            Ok(digests) => digests?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        Ok((scanner.finish(), digests))
    })
}

//! pg_dumpall's output → scanned, digested, compressed and proved → every store, in one pass.
//! Nothing becomes visible in a store here: that is `seal`'s.

use super::copies::OpenCopy;
use super::pass::{self, Options};
use super::progress::Progress;
use super::source::Input;
use crate::archive::index::Index;
use crate::archive::scanned::{Completeness, Scan};
use crate::process::{Finished, Running};
use std::fs::File;
use std::sync::Arc;

/// Keeps other modules from making the proof of this step.
struct Proof;

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
    let passed = pass::pass(Input::pipe(stdout), &mut copies, options, progress, &|| {
        stop.stop()
    })
    .await?;
    let mut fault = passed.fault;
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
    let completeness = passed.scan.completeness.clone();
    let unreadable_by_psql = unreadable_by_psql(&passed.scan);
    let levels_used = passed.written.levels();
    let index = match fault {
        None => Some(passed.written.index(passed.scan, passed.digests?)?),
        Some(_) => None,
    };
    Ok(Streamed {
        finished,
        completeness,
        fault,
        unreadable: passed.unreadable,
        index,
        levels_used,
        unreadable_by_psql,
        copies,
        _proof: Proof,
    })
}

fn unreadable_by_psql(scan: &Scan) -> Vec<String> {
    let entry = |number: &u32| scan.entries.get(usize::try_from(*number).ok()?);
    scan.unreadable_by_psql
        .iter()
        .filter_map(entry)
        .map(|entry| format!("{} {}", entry.kind, entry.name))
        .collect()
}

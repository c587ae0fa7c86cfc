//! The threads that compress blocks, and prove each member.

use super::level::LevelControl;
use super::source::Block;
use crate::archive::compress::{Encoded, Encoder};
use crate::config::Level;
use anyhow::Context;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc as sync_mpsc};
use std::time::Instant;
use tokio::sync::oneshot;

/// Where the member of a submitted block will come out.
pub(super) type Reply = oneshot::Receiver<anyhow::Result<Encoded>>;

/// The compressing threads. They end when the pool is dropped.
pub(super) struct Pool {
    work: sync_mpsc::Sender<Job>,
    queued: Arc<AtomicUsize>,
    level: Arc<LevelControl>,
}

struct Job {
    block: Arc<Block>,
    level: u32,
    reply: oneshot::Sender<anyhow::Result<Encoded>>,
}

impl Pool {
    pub(super) fn start(level: Level, threads: usize) -> anyhow::Result<Pool> {
        let (work, jobs) = sync_mpsc::channel::<Job>();
        let jobs = Arc::new(Mutex::new(jobs));
        let queued = Arc::new(AtomicUsize::new(0));
        let level = Arc::new(LevelControl::new(level, threads));
        for number in 0..threads {
            let (jobs, queued, level) =
                (Arc::clone(&jobs), Arc::clone(&queued), Arc::clone(&level));
            std::thread::Builder::new()
                .name(format!("compress-{number}"))
                .spawn(move || compress_jobs(&jobs, &queued, &level))
                .context("could not start a compressing thread")?;
        }
        Ok(Pool {
            work,
            queued,
            level,
        })
    }

    pub(super) fn submit(&self, block: Arc<Block>) -> Reply {
        let level = self.level.choose(self.queued.load(Ordering::Relaxed));
        let (reply, receiver) = oneshot::channel();
        self.queued.fetch_add(1, Ordering::Relaxed);
        // When every thread is gone the reply channel is closed, and the writer says so.
        if self
            .work
            .send(Job {
                block,
                level,
                reply,
            })
            .is_err()
        {
            self.queued.fetch_sub(1, Ordering::Relaxed);
        }
        receiver
    }
}

fn compress_jobs(
    jobs: &Mutex<sync_mpsc::Receiver<Job>>,
    queued: &AtomicUsize,
    level: &LevelControl,
) {
    give_way();
    let mut encoder = Encoder::default();
    loop {
        let next = match jobs.lock() {
            Ok(jobs) => jobs.recv(),
            Err(_) => return,
        };
        let Ok(job) = next else { return };
        queued.fetch_sub(1, Ordering::Relaxed);
        let begun = Instant::now();
        let encoded = encoder.encode(&job.block.bytes, job.level);
        level.worked(begun.elapsed());
        drop(job.block);
        if job.reply.send(encoded).is_err() {
            return;
        }
    }
}

/// Lets the reader, and a server on the same machine, go first: compression takes what is left of
/// the cores, takes longer when that is little, and `auto` sees it.
fn give_way() {
    // Linux counts priority by thread; elsewhere this would slow the whole process. Without the
    // right to it everything still works.
    #[cfg(target_os = "linux")]
    match rustix::process::setpriority_process(None, 5) {
        Ok(()) | Err(_) => {}
    }
}

//! A child's process group: signals that reach all of it, and the leader reaped last. Starting
//! children is in `process`.

use super::command::RunAs;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use std::process::ExitStatus;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// From SIGTERM to SIGKILL: pg_dump may hang in its own cancel request.
const KILL_AFTER: Duration = Duration::from_secs(4);

/// What is left of a group after its leader obeyed SIGTERM gets this long to send the server a
/// cancel request of its own before it is killed.
const CANCEL_GRACE: Duration = Duration::from_millis(300);

/// Stops a [`Running`](super::Running) child, from any thread, as often as wanted.
#[derive(Clone, Debug)]
pub struct StopHandle(pub(super) Arc<Group>);

impl StopHandle {
    /// SIGTERM to the group now, SIGKILL within 5 seconds. Returns at once.
    pub fn stop(&self) {
        let first = !std::mem::replace(&mut lock(&self.0.state).stopping, true);
        self.0.signal(Signal::TERM);
        if first {
            let group = Arc::clone(&self.0);
            let escalation = std::thread::Builder::new()
                .name("stop".into())
                .spawn(move || group.kill_after(KILL_AFTER));
            if escalation.is_err() {
                // Without a thread that waits there is no second chance.
                self.0.signal(Signal::KILL);
            }
        }
    }
}

/// A process group with its leader. No signal is sent after the leader was reaped: by then the
/// number may belong to somebody else.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) pgid: Pid,
    run_as: Option<RunAs>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    reaped: bool,
    stopping: bool,
}

impl Group {
    pub(super) fn new(pgid: Pid, run_as: Option<RunAs>) -> Group {
        Group {
            pgid,
            run_as,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    pub(super) fn is_reaped(&self) -> bool {
        lock(&self.state).reaped
    }

    pub(super) fn signal(&self, signal: Signal) {
        let state = lock(&self.state);
        if !state.reaped {
            self.send(signal);
        }
    }

    fn send(&self, signal: Signal) {
        // First what sudo started, while sudo is still there to find it by: we may signal sudo
        // itself but not its children, and it cannot hand on a SIGKILL.
        if let Some(run_as) = &self.run_as {
            run_as.kill_group(self.pgid, signal);
        }
        // An error means that there is no such group any more, or that it is not ours to signal.
        match kill_process_group(self.pgid, signal) {
            Ok(()) | Err(_) => {}
        }
    }

    fn kill_after(&self, delay: Duration) {
        let until = Instant::now() + delay;
        let mut state = lock(&self.state);
        while !state.reaped {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return self.send(Signal::KILL);
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Waits for the leader, kills the rest of its group while the leader still holds the number,
    /// and only then reaps it. (Killing pg_dumpall alone leaves its pg_dump running and writing.)
    pub(super) fn reap(
        &self,
        mut child: std::process::Child,
        tell: oneshot::Sender<std::io::Result<ExitStatus>>,
    ) {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(rustix::io::Errno::INTR) = waitid(WaitId::Pid(self.pgid), ended) {}
        if lock(&self.state).stopping {
            std::thread::sleep(CANCEL_GRACE);
        }
        let mut state = lock(&self.state);
        self.send(Signal::KILL);
        let status = child.wait();
        state.reaped = true;
        self.changed.notify_all();
        drop(state);
        // Nobody waits when the child was dropped.
        drop(tell.send(status));
    }
}

/// A thread that panicked while it held the lock left no half-made state behind.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

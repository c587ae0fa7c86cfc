//! Whether somebody still waits for a write that a blocking thread does. No I/O of its own.
//!
//! A dropped future does not stop its thread. The last step, which makes the object visible, is
//! taken under the lock that the drop needs too: it was taken before the drop, or it never will be.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// The thread's side.
pub(super) struct Caller(Arc<Mutex<bool>>);

/// The caller's side: kept in the future, it says on drop that nobody waits any more.
pub(super) struct Listening(Arc<Mutex<bool>>);

impl Caller {
    pub(super) fn new() -> (Self, Listening) {
        let gone = Arc::new(Mutex::new(false));
        (Self(Arc::clone(&gone)), Listening(gone))
    }

    /// Does `step` while the caller waits; the caller cannot leave meanwhile. Keep it short: a drop
    /// blocks its executor's thread for as long.
    pub(super) fn while_listening(&self, step: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let gone = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *gone {
            return Err(io::Error::other("nobody waits for it any more"));
        }
        step()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn nothing_is_done_for_a_caller_that_left() {
        let (caller, listening) = Caller::new();
        let mut steps = 0;
        let mut step = || {
            steps += 1;
            Ok(())
        };
        caller.while_listening(&mut step).unwrap();
        drop(listening);
        caller.while_listening(&mut step).unwrap_err();
        assert_eq!(steps, 1);
    }

    #[test]
    fn a_caller_cannot_leave_during_the_step() {
        let (caller, listening) = Caller::new();
        let (left, has_left) = mpsc::channel();
        let mut leaving = None;
        caller
            .while_listening(|| {
                leaving = Some(std::thread::spawn(move || {
                    drop(listening);
                    left.send(()).unwrap();
                }));
                let early = has_left.recv_timeout(Duration::from_millis(200));
                assert!(early.is_err(), "the caller left during the step");
                Ok(())
            })
            .unwrap();
        leaving.unwrap().join().unwrap();
        has_left.recv().unwrap();
    }
}

//! What a running step has done so far, for whoever shows it. Counters only; nothing is printed.

use crate::report::words::Step;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Counters that a step writes and a display reads.
#[derive(Debug)]
pub struct Progress {
    begun: Instant,
    step: Mutex<Step>,
    done_bytes: AtomicU64,
    total_bytes: AtomicU64,
    /// Milliseconds since `begun` at which the reader began to wait for the dump; 0 while it does not.
    waiting_since: AtomicU64,
    place: Mutex<String>,
    /// How long a step took before.
    expected: Mutex<Option<(Step, Duration)>>,
}

/// One look at the counters.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The step that runs.
    pub step: Step,
    /// Bytes it has handled.
    pub done_bytes: u64,
    /// Bytes it expects, 0 when unknown.
    pub total_bytes: u64,
    /// What it is at, such as a table; hostile text.
    pub place: String,
    /// How long it will take, by what earlier runs took.
    pub expected: Option<Duration>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            step: Mutex::new(Step::Preflight),
            done_bytes: AtomicU64::new(0),
            total_bytes: AtomicU64::new(0),
            waiting_since: AtomicU64::new(0),
            place: Mutex::new(String::new()),
            expected: Mutex::new(None),
        }
    }
}

impl Progress {
    /// A step starts; `total_bytes` is what it expects to handle, 0 when unknown.
    pub fn begin(&self, step: Step, total_bytes: u64) {
        self.done_bytes.store(0, Ordering::Relaxed);
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
        self.waiting_since.store(0, Ordering::Relaxed);
        self.at(String::new());
        match self.step.lock() {
            Ok(mut current) => *current = step,
            Err(poisoned) => *poisoned.into_inner() = step,
        }
    }

    /// Earlier runs let `step` take so long.
    pub fn expect(&self, step: Step, duration: Duration) {
        let new = Some((step, duration));
        match self.expected.lock() {
            Ok(mut expected) => *expected = new,
            Err(poisoned) => *poisoned.into_inner() = new,
        }
    }

    /// More bytes were handled.
    pub fn advance(&self, bytes: u64) {
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What the step is at now.
    pub fn at(&self, place: String) {
        match self.place.lock() {
            Ok(mut current) => *current = place,
            Err(poisoned) => *poisoned.into_inner() = place,
        }
    }

    /// The reader waits for bytes from the dump, or does not any more.
    pub fn waiting(&self, waiting: bool) {
        let now = u64::try_from(self.begun.elapsed().as_millis())
            .unwrap_or(u64::MAX)
            .max(1);
        self.waiting_since
            .store(if waiting { now } else { 0 }, Ordering::Relaxed);
    }

    /// How long the reader has been waiting.
    pub fn silent_seconds(&self) -> u64 {
        match self.waiting_since.load(Ordering::Relaxed) {
            0 => 0,
            since => {
                u64::try_from(self.begun.elapsed().as_millis())
                    .unwrap_or(u64::MAX)
                    .saturating_sub(since)
                    / 1000
            }
        }
    }

    /// The counters as they are.
    pub fn snapshot(&self) -> Snapshot {
        let read = |place: &Mutex<String>| match place.lock() {
            Ok(place) => place.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        };
        let step = match self.step.lock() {
            Ok(step) => *step,
            Err(poisoned) => *poisoned.into_inner(),
        };
        let expected = match self.expected.lock() {
            Ok(expected) => *expected,
            Err(poisoned) => *poisoned.into_inner(),
        };
        Snapshot {
            expected: expected
                .filter(|(expected, _)| *expected == step)
                .map(|(_, duration)| duration),
            step,
            done_bytes: self.done_bytes.load(Ordering::Relaxed),
            total_bytes: self.total_bytes.load(Ordering::Relaxed),
            place: read(&self.place),
        }
    }
}

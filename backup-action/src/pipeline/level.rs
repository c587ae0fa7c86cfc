//! How strong the next block is compressed. `auto` follows how busy the compressing threads are:
//! stronger while they idle, weaker when they are short of time or the dump waits for them.

use crate::config::Level;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The range within which `auto` moves. Level 1 of libdeflate is about as small as `gzip -6` on
/// dumps; above 8 a hundredth less costs a multiple of the time.
const AUTO: std::ops::RangeInclusive<u32> = 1..=8;

/// Where `auto` starts.
const START: u32 = 3;

/// How long the threads are watched before the level moves.
const WINDOW: Duration = Duration::from_millis(300);

/// Below this share of busy time the level rises. A step up costs up to a third more time, so the
/// thresholds lie far enough apart that one step does not lead straight back.
const RISE_BELOW: f64 = 0.4;

/// Above this share it falls: a thread that is kept from its core counts as busy, so a machine
/// that has no time to spare is noticed before the queue is full.
const FALL_ABOVE: f64 = 0.65;

/// Chooses a level for each block.
#[derive(Debug)]
pub struct LevelControl {
    fixed: Option<u32>,
    threads: usize,
    watched: Mutex<Watched>,
}

#[derive(Debug)]
struct Watched {
    level: u32,
    since: Instant,
    busy: Duration,
}

impl LevelControl {
    /// For the configured level and so many compressing threads.
    pub fn new(level: Level, threads: usize) -> Self {
        let fixed = match level {
            Level::Auto => None,
            Level::Fixed(level) => Some(level),
        };
        let watched = Watched {
            level: START,
            since: Instant::now(),
            busy: Duration::ZERO,
        };
        Self {
            fixed,
            threads: threads.max(1),
            watched: Mutex::new(watched),
        }
    }

    /// A thread was busy with one block for so long.
    pub fn worked(&self, busy: Duration) {
        self.watched().busy += busy;
    }

    /// The level for a block that finds `queued` others waiting.
    pub fn choose(&self, queued: usize) -> u32 {
        if let Some(level) = self.fixed {
            return level;
        }
        let mut watched = self.watched();
        let span = watched.since.elapsed();
        let waits = queued > self.threads;
        if waits || span >= WINDOW {
            let share = match waits {
                true => 1.0,
                false => watched.busy.as_secs_f64() / (span.as_secs_f64() * self.threads as f64),
            };
            *watched = Watched {
                level: step(watched.level, share),
                since: Instant::now(),
                busy: Duration::ZERO,
            };
        }
        watched.level
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The level after one that kept the threads busy for `share` of the time.
fn step(level: u32, share: f64) -> u32 {
    if share < RISE_BELOW {
        (level + 1).min(*AUTO.end())
    } else if share > FALL_ABOVE {
        level.saturating_sub(1).max(*AUTO.start())
    } else {
        level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_threads_raise_the_level_and_busy_ones_lower_it() {
        let after =
            |steps: usize, from, share| (0..steps).fold(from, |level, _| step(level, share));
        assert_eq!(after(1, 3, 0.1), 4);
        assert_eq!(after(1, 3, 0.9), 2);
        assert_eq!(after(1, 3, 0.5), 3);
        assert_eq!(after(50, 3, 0.0), *AUTO.end());
        assert_eq!(after(50, 3, 1.0), *AUTO.start());
    }

    #[test]
    fn a_dump_that_waits_lowers_the_level_at_once() {
        let control = LevelControl::new(Level::Auto, 2);
        assert_eq!(control.choose(2), START);
        assert_eq!(control.choose(3), START - 1);
        assert_eq!(control.choose(3), *AUTO.start());
        assert_eq!(control.choose(3), *AUTO.start());
    }

    #[test]
    fn a_fixed_level_stays() {
        let control = LevelControl::new(Level::Fixed(12), 2);
        control.worked(Duration::from_secs(100));
        assert!((0..50).all(|n| control.choose(n % 7) == 12));
    }
}

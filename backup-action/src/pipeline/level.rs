//! How strong the next block is compressed. `auto` follows the queue in front of the compressing
//! threads: stronger when they are idle, weaker when the dump waits for them.

use crate::config::Level;
use std::sync::atomic::{AtomicU32, Ordering};

/// The range within which `auto` moves. Level 1 of libdeflate is about as small as `gzip -6` on
/// dumps; above 8 a hundredth less costs a multiple of the time.
const AUTO: std::ops::RangeInclusive<u32> = 1..=8;

/// Where `auto` starts.
const START: u32 = 3;

/// Blocks in a row that must find the threads idle before the level goes up.
const CALM_BLOCKS: u32 = 8;

/// Chooses a level for each block.
#[derive(Debug)]
pub struct LevelControl {
    fixed: Option<u32>,
    current: AtomicU32,
    calm: AtomicU32,
}

impl LevelControl {
    /// For the configured level.
    pub fn new(level: Level) -> Self {
        let fixed = match level {
            Level::Auto => None,
            Level::Fixed(level) => Some(level),
        };
        Self {
            fixed,
            current: AtomicU32::new(START),
            calm: AtomicU32::new(0),
        }
    }

    /// The level for a block that finds `queued` others waiting for one of `threads`.
    pub fn choose(&self, queued: usize, threads: usize) -> u32 {
        if let Some(level) = self.fixed {
            return level;
        }
        let mut level = self.current.load(Ordering::Relaxed);
        if queued > threads {
            level = (level - 1).max(*AUTO.start());
            self.calm.store(0, Ordering::Relaxed);
        } else if queued == 0 {
            if self.calm.fetch_add(1, Ordering::Relaxed) + 1 >= CALM_BLOCKS {
                level = (level + 1).min(*AUTO.end());
                self.calm.store(0, Ordering::Relaxed);
            }
        } else {
            self.calm.store(0, Ordering::Relaxed);
        }
        self.current.store(level, Ordering::Relaxed);
        level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_rises_when_idle_and_falls_at_once_when_the_dump_waits() {
        let control = LevelControl::new(Level::Auto);
        let after = |blocks: usize, queued| {
            (0..blocks)
                .map(|_| control.choose(queued, 2))
                .last()
                .unwrap()
        };
        assert_eq!(after(100, 0), *AUTO.end());
        assert_eq!(after(1, 3), *AUTO.end() - 1);
        assert_eq!(after(100, 3), *AUTO.start());
        assert_eq!(after(100, 1), *AUTO.start());
        assert_eq!(after(CALM_BLOCKS as usize, 0), *AUTO.start() + 1);
    }

    #[test]
    fn a_fixed_level_stays() {
        let control = LevelControl::new(Level::Fixed(12));
        assert!((0..50).all(|n| control.choose(n % 7, 2) == 12));
    }
}

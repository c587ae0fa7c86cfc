//! What the lock needs of a store: its generations are objects `locks/lock_<number>.json`.

use super::error::StoreErrorKind;
use super::{Backend, Key, Store};
use crate::lock::{Ground, MAX_GENERATION, Newest};
use anyhow::{Context, Result};
use bytes::Bytes;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A lock says less.
const MAX_BYTES: u64 = 64 * 1024;

const DIRECTORY: &str = "locks/";

/// Digits of [`MAX_GENERATION`]: so names sort as their numbers do.
const DIGITS: usize = 12;

/// The lock of a store. Made after the store was probed.
pub struct LockGround {
    store: Store,
    begun: Instant,
    /// In the names of what this ground writes for a moment.
    nonce: String,
}

impl LockGround {
    /// The lock of `store`; `nonce`, hexadecimal, is nobody else's.
    pub fn new(store: &Store, nonce: &str) -> LockGround {
        let store = match &*store.0 {
            Backend::Dir(_) => store.clone(),
            // A lock is short-lived: cold classes bill it for a month, or do not give it back.
            Backend::S3(s3) => Store(Arc::new(Backend::S3(s3.with_storage_class(None)))),
        };
        LockGround {
            store,
            begun: Instant::now(),
            nonce: nonce.to_owned(),
        }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    async fn generations(&self) -> Result<Vec<(Key, Newest)>> {
        let objects = self
            .store
            .list(DIRECTORY)
            .await
            .with_context(|| format!("could not list the lock of {}", self.store.describe()))?;
        Ok(objects
            .into_iter()
            .filter_map(|object| {
                let generation = object.key.lock_generation()?;
                let written = object.modified;
                Some((
                    object.key,
                    Newest {
                        generation,
                        written,
                    },
                ))
            })
            .collect())
    }
}

impl Ground for LockGround {
    async fn newest(&self) -> Result<Option<Newest>> {
        let generations = self.generations().await?;
        Ok(generations
            .into_iter()
            .map(|(_, newest)| newest)
            .max_by_key(|newest| newest.generation))
    }

    async fn read(&self, generation: u64) -> Result<Option<Bytes>> {
        match self.store.get(&Key::lock(generation), MAX_BYTES).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if StoreErrorKind::of(&error) == Some(StoreErrorKind::NotFound) => Ok(None),
            // Too large, or no file: there is something, and it says nothing.
            Err(error) if StoreErrorKind::of(&error) == Some(StoreErrorKind::Other) => {
                Ok(Some(Bytes::new()))
            }
            Err(error) => Err(error.context("could not read the lock")),
        }
    }

    async fn create(&self, generation: u64, bytes: Bytes) -> Result<bool> {
        let key = Key::lock(generation);
        let created = match &*self.store.0 {
            // Of two runs that write the same number neither stands in the other's way, nor does what
            // a killed one left.
            Backend::Dir(dir) => dir.put_beside(&key, bytes, &self.nonce).await,
            Backend::S3(_) => self.store.put(&key, bytes, "application/json").await,
        };
        match created {
            Ok(()) => Ok(true),
            Err(error) if StoreErrorKind::of(&error) == Some(StoreErrorKind::AlreadyExists) => {
                Ok(false)
            }
            Err(error) => Err(error.context("could not write the lock")),
        }
    }

    async fn clear(&self, below: u64) -> Result<()> {
        for (key, found) in self.generations().await? {
            if found.generation < below {
                self.store
                    .delete(&key)
                    .await
                    .context("could not delete an old lock")?;
            }
        }
        Ok(())
    }

    /// A small object is written, since only so a clock can be compared with that of another object.
    async fn now(&self) -> Result<Option<Timestamp>> {
        let key = Key::probe(&format!("{}00", self.nonce), "object");
        let text = Bytes::from_static(b"backup-action asks for the time\n");
        self.store.put(&key, text, "text/plain").await?;
        let info = self.store.head(&key).await;
        match self.store.delete(&key).await {
            Ok(()) => {}
            Err(error) if StoreErrorKind::of(&error) == Some(StoreErrorKind::Denied) => {}
            Err(error) => return Err(error),
        }
        Ok(info?.and_then(|info| info.modified))
    }

    fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn time_of_day(&self) -> Timestamp {
        Timestamp::now()
    }
}

impl Key {
    /// A generation of the store's lock.
    pub(super) fn lock(generation: u64) -> Key {
        Key::known(format!("{DIRECTORY}lock_{generation:0DIGITS$}.json"))
    }

    /// The number in a name of a lock's key.
    pub fn lock_generation(&self) -> Option<u64> {
        let digits = self.as_str().strip_prefix(DIRECTORY)?;
        let digits = digits.strip_prefix("lock_")?.strip_suffix(".json")?;
        let is_number = digits.len() == DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
        let number = digits.parse().ok().filter(|_| is_number)?;
        (1..=MAX_GENERATION).contains(&number).then_some(number)
    }

    /// Whether a run that was killed left this file while it wrote a generation.
    pub fn is_lock_part(&self) -> bool {
        self.as_str().rsplit_once('.').is_some_and(|(lock, nonce)| {
            !nonce.is_empty()
                && nonce.bytes().all(|b| b.is_ascii_hexdigit())
                && Key::parse(lock).is_ok_and(|key| key.lock_generation().is_some())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_names_are_generations() {
        let of = |text: &str| Key::parse(text).unwrap().lock_generation();
        assert_eq!(Key::lock(7).as_str(), "locks/lock_000000000007.json");
        for number in [1, 7, MAX_GENERATION] {
            assert_eq!(Key::lock(number).lock_generation(), Some(number));
        }
        for text in [
            "locks/lock_7.json",
            "locks/lock_000000000000.json",
            "locks/lock_00000000007x.json",
            "locks/lock_+00000000007.json",
            "locks/lock_0000000000007.json",
            "locks/lock_000000000007.json.bak",
            "other/locks/lock_000000000007.json",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
        let part = |text: &str| Key::parse(text).unwrap().is_lock_part();
        assert!(part("locks/lock_000000000007.json.1a2b"));
        assert!(!part("locks/lock_000000000007.json"));
        assert!(!part("locks/lock_000000000007.json.cat"));
        assert!(!part("locks/notes.json.1a2b"));
    }
}

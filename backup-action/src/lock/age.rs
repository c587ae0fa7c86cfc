//! How long a lock has been silent. The store's clock says how old it was at the first look; from then
//! on our own seconds are counted. This machine's time of day is never asked.

use super::{Ground, Newest};
use anyhow::Result;
use std::time::Duration;

/// When a lock that cannot be read may be taken over: its writer may be a newer version.
pub(super) const UNKNOWN_EXPIRY: Duration = Duration::from_secs(3600);

/// How long a lock has not been renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age(pub Duration);

impl Age {
    /// Whether the lock may be taken over.
    pub fn is_over(self, expiry: Duration) -> bool {
        self.0 > expiry
    }

    /// How long until it may be.
    pub fn left(self, expiry: Duration) -> Duration {
        expiry.saturating_sub(self.0)
    }
}

/// What a waiter has seen so far.
#[derive(Debug, Default)]
pub struct Watch(Option<Look>);

#[derive(Debug)]
struct Look {
    generation: u64,
    /// When this generation was first seen, and how old it was then.
    at: Duration,
    age: Duration,
}

impl Watch {
    /// The age of the newest generation.
    pub(super) async fn age(&mut self, ground: &impl Ground, newest: Newest) -> Result<Age> {
        let now = ground.elapsed();
        let look = match self.0.take() {
            Some(look) if look.generation == newest.generation => look,
            // It was renewed between two looks: its holder is alive.
            Some(_) => Look {
                generation: newest.generation,
                at: now,
                age: Duration::ZERO,
            },
            None => Look {
                generation: newest.generation,
                at: now,
                age: first_age(ground, newest).await?,
            },
        };
        let age = look.age + now.saturating_sub(look.at);
        self.0 = Some(look);
        Ok(Age(age))
    }
}

/// By the store's clock; zero when that says nothing, and the waiter has to see for itself.
async fn first_age(ground: &impl Ground, newest: Newest) -> Result<Duration> {
    let Some(written) = newest.written else {
        return Ok(Duration::ZERO);
    };
    let now = ground.now().await?;
    let age = now.map(|now| now.duration_since(written));
    Ok(age
        .and_then(|age| Duration::try_from(age).ok())
        .unwrap_or(Duration::ZERO))
}

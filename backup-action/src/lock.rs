//! The lock of a store: which run may write into it now. Rules and the protocol; what a store does
//! for it stands behind [`Ground`], so that the model test can run many processes over one in memory.
//!
//! The lock is the newest of a row of small objects with ascending numbers, its *generations*. Each is
//! written create-only and never changed: taking, renewing, releasing and taking over are all "create
//! the next generation", so of two who try, one wins. The newest is never deleted, not even by a
//! release: numbers only go up, and whoever was paused finds a newer one. After each create the newest
//! is looked up again; only who is found there holds the lock.

mod age;
#[cfg(test)]
mod model;
mod record;

pub use age::{Age, Watch};
pub use record::{Holder, Record, State};

use anyhow::{Context, Result};
use bytes::Bytes;
use jiff::Timestamp;
use std::time::Duration;

/// A lock whose holder was silent for so long may be taken over.
pub const EXPIRY: Duration = Duration::from_secs(120);

/// How often a holder renews.
pub const BEAT: Duration = Duration::from_secs(20);

/// Looks at a lock that changes under our hands.
const TRIES: usize = 8;

/// The newest generation of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// Its number.
    pub generation: u64,
    /// When it was written, by the store's clock.
    pub written: Option<Timestamp>,
}

/// What the protocol needs of a store.
pub trait Ground: Sync {
    /// The highest generation; none when there is none.
    fn newest(&self) -> impl Future<Output = Result<Option<Newest>>> + Send;

    /// The bytes of a generation; none when it is gone.
    fn read(&self, generation: u64) -> impl Future<Output = Result<Option<Bytes>>> + Send;

    /// Creates a generation; false when it exists.
    fn create(&self, generation: u64, bytes: Bytes) -> impl Future<Output = Result<bool>> + Send;

    /// Deletes every generation below this one.
    fn clear(&self, below: u64) -> impl Future<Output = Result<()>> + Send;

    /// The time by the clock that dates the generations.
    fn now(&self) -> impl Future<Output = Result<Option<Timestamp>>> + Send;

    /// The time since some moment, by a clock of this process that nobody sets.
    fn elapsed(&self) -> Duration;

    /// This machine's clock. For people: nothing is decided by it.
    fn time_of_day(&self) -> Timestamp;
}

/// What [`Taker::attempt`] found.
#[derive(Debug)]
pub enum Attempt {
    /// The lock is ours.
    Mine(Box<Lease>),
    /// Somebody holds it.
    Busy(Box<Busy>),
    /// Others were faster, again and again.
    Contended,
}

/// A lock that somebody else holds.
#[derive(Clone, Debug)]
pub struct Busy {
    /// What its object says; the reason when that cannot be read.
    pub holder: Result<Record, String>,
    /// How long it has not been renewed.
    pub age: Age,
    /// From when on it may be taken over.
    pub expiry: Duration,
}

/// Somebody who wants the lock, and has perhaps looked before.
pub struct Taker<'g, G> {
    ground: &'g G,
    me: Record,
    watch: Watch,
}

impl<'g, G: Ground> Taker<'g, G> {
    /// `me` is what the lock will say of its holder; its owner must be nobody else's.
    pub fn new(ground: &'g G, me: Record) -> Self {
        Self {
            ground,
            me,
            watch: Watch::default(),
        }
    }

    /// What the lock is now, without taking it; none when it is free.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn look(&mut self) -> Result<Option<Box<Busy>>> {
        for _ in 0..TRIES {
            let Some(newest) = self.ground.newest().await? else {
                return Ok(None);
            };
            match self.read(newest).await? {
                Some(Seen::Free) => return Ok(None),
                Some(Seen::Ours) | None => {}
                Some(Seen::Held(busy)) => return Ok(Some(busy)),
            }
        }
        anyhow::bail!("the lock changes faster than it can be read")
    }

    /// Takes the lock if it is free or may be taken over.
    ///
    /// # Errors
    /// The store does not answer, or does not show what was written into it. The lock may be ours all
    /// the same: a release is in place.
    pub async fn attempt(&mut self) -> Result<Attempt> {
        for _ in 0..TRIES {
            let (generation, from) = match self.ground.newest().await? {
                None => (0, None),
                Some(newest) => match self.read(newest).await? {
                    None => continue,
                    Some(Seen::Free) => (newest.generation, None),
                    // An earlier attempt, whose answer was lost.
                    Some(Seen::Ours) => {
                        let lease = Lease::new(&self.me, newest.generation, None);
                        return Ok(Attempt::Mine(Box::new(lease)));
                    }
                    Some(Seen::Held(busy)) if busy.age.is_over(busy.expiry) => {
                        (newest.generation, Some(busy))
                    }
                    Some(Seen::Held(busy)) => return Ok(Attempt::Busy(busy)),
                },
            };
            let lease = Lease::new(&self.me, next(generation)?, from);
            if lease.create(self.ground, State::Held).await? && lease.is_newest(self.ground).await?
            {
                return Ok(Attempt::Mine(Box::new(lease.tidied(self.ground).await)));
            }
        }
        Ok(Attempt::Contended)
    }

    /// What a generation says; none when it went away since the listing.
    async fn read(&mut self, newest: Newest) -> Result<Option<Seen>> {
        let Some(bytes) = self.ground.read(newest.generation).await? else {
            return Ok(None);
        };
        let holder = Record::parse(&bytes);
        match &holder {
            Ok(record) if record.state == State::Released => return Ok(Some(Seen::Free)),
            Ok(record) if record.holder.owner == self.me.holder.owner => {
                return Ok(Some(Seen::Ours));
            }
            Ok(_) | Err(_) => {}
        }
        let expiry = match &holder {
            Ok(record) => record.expiry(),
            // Whoever wrote it may renew it in another way than we know.
            Err(_) => age::UNKNOWN_EXPIRY,
        };
        let age = self.watch.age(self.ground, newest).await?;
        Ok(Some(Seen::Held(Box::new(Busy {
            holder,
            age,
            expiry,
        }))))
    }
}

enum Seen {
    Free,
    Ours,
    Held(Box<Busy>),
}

/// The number after `generation`.
fn next(generation: u64) -> Result<u64> {
    generation
        .checked_add(1)
        .filter(|next| *next <= MAX_GENERATION)
        .context("the lock has the highest number there is: delete its object by hand")
}

/// The highest number that has a name.
pub const MAX_GENERATION: u64 = 999_999_999_999;

/// The lock, as far as its holder knows. Only [`Lease::renew`] proves that it still is.
#[derive(Debug)]
pub struct Lease {
    me: Record,
    generation: u64,
    /// Whose lock this was, when it was taken over.
    pub taken_from: Option<Box<Busy>>,
    /// Why old generations could not be deleted, the last time that was tried.
    pub untidy: Option<anyhow::Error>,
}

impl Lease {
    fn new(me: &Record, generation: u64, taken_from: Option<Box<Busy>>) -> Self {
        Self {
            me: me.clone(),
            generation,
            taken_from,
            untidy: None,
        }
    }

    /// A lock that `me` may hold or not: enough to release it.
    pub fn wanted(me: &Record) -> Self {
        Self::new(me, 0, None)
    }

    /// The number of the object that says we hold the lock.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Writes the next generation. True: the lock is ours, and nobody may take it over for at least
    /// half of its expiry. False: it is lost, for ever.
    ///
    /// # Errors
    /// The store does not answer: nothing is proved.
    pub async fn renew(&mut self, ground: &impl Ground) -> Result<bool> {
        for _ in 0..TRIES {
            match self.found(ground).await? {
                Some(generation) => self.generation = generation,
                None => return Ok(false),
            }
            let lease = Lease::new(&self.me, next(self.generation)?, None);
            let begun = ground.elapsed();
            // Refused: another's, or an earlier one of ours whose answer was lost.
            if !lease.create(ground, State::Held).await? {
                continue;
            }
            if !lease.is_newest(ground).await? {
                return Ok(false);
            }
            self.generation = lease.generation;
            self.untidy = ground.clear(self.generation).await.err();
            // Whoever slept since then proved what was, not what is.
            if ground.elapsed().saturating_sub(begun) < self.me.expiry() / 2 {
                return Ok(true);
            }
        }
        anyhow::bail!("the lock cannot be renewed fast enough")
    }

    /// Gives the lock back, when it is still ours. Somebody else's is left alone.
    ///
    /// # Errors
    /// The store does not answer: the lock expires by itself.
    pub async fn release(&mut self, ground: &impl Ground) -> Result<()> {
        for _ in 0..TRIES {
            let Some(generation) = self.found(ground).await? else {
                return Ok(());
            };
            let last = Lease::new(&self.me, next(generation)?, None);
            if last.create(ground, State::Released).await? {
                self.untidy = ground.clear(last.generation).await.err();
                return Ok(());
            }
        }
        anyhow::bail!("the lock changes faster than it can be released")
    }

    /// The newest generation, when it is ours and held.
    async fn found(&self, ground: &impl Ground) -> Result<Option<u64>> {
        let Some(newest) = ground.newest().await? else {
            return Ok(None);
        };
        Ok(self
            .is_ours(ground, newest.generation)
            .await?
            .then_some(newest.generation))
    }

    async fn is_ours(&self, ground: &impl Ground, generation: u64) -> Result<bool> {
        let Some(bytes) = ground.read(generation).await? else {
            return Ok(false);
        };
        Ok(Record::parse(&bytes).is_ok_and(|record| {
            record.state == State::Held && record.holder.owner == self.me.holder.owner
        }))
    }

    async fn create(&self, ground: &impl Ground, state: State) -> Result<bool> {
        let bytes = self.me.to_bytes(state, ground.time_of_day())?;
        ground.create(self.generation, bytes).await
    }

    /// Whether what was just created is the newest. It is not when its maker was slow: others have
    /// come and gone, and deleted the number that it found free. A store without create-only writes
    /// may also have let somebody else overwrite it.
    async fn is_newest(&self, ground: &impl Ground) -> Result<bool> {
        let newest = ground.newest().await?.map(|newest| newest.generation);
        anyhow::ensure!(
            newest >= Some(self.generation),
            "the store does not list what was just written into it"
        );
        Ok(newest == Some(self.generation) && self.is_ours(ground, self.generation).await?)
    }

    async fn tidied(mut self, ground: &impl Ground) -> Self {
        self.untidy = ground.clear(self.generation).await.err();
        self
    }
}

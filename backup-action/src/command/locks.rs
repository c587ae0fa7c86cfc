//! The locks that a run holds, one a store: renewed beside the work, proved before what must not
//! happen twice, released at the end. How they are waited for is in `lock`.

use crate::lock::{BEAT, EXPIRY, Lease, Record};
use crate::store::LockGround;
use jiff::{SignedDuration, Timestamp};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::task::JoinHandle;

/// How long the release may take: a cancelled job is killed 7.5 s after it was told, and has to take
/// back what it did first. What is not released expires.
const RELEASE: Duration = Duration::from_secs(2);

/// How old the last proof may be for the next of many small deletions.
const FRESH: Duration = Duration::from_secs(EXPIRY.as_secs() / 4);

/// By a clock that nobody sets, and by one that goes on while the machine sleeps.
pub(crate) type Moment = (Instant, Timestamp);

/// Now, by both clocks.
pub(crate) fn moment() -> Moment {
    (Instant::now(), Timestamp::now())
}

/// The locks of a run. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Locks(Arc<Shared>);

#[derive(Default)]
struct Shared {
    held: Mutex<Vec<Arc<Held>>>,
    /// Why a lock is not ours any more.
    lost: watch::Sender<Option<String>>,
}

/// What is known of the locks.
#[derive(Debug)]
pub(crate) enum Proof {
    /// They are ours.
    Held,
    /// One is not; with the reason.
    Lost(String),
    /// A store did not answer.
    Unknown(anyhow::Error),
}

/// A lock that is wanted, or held once it has a lease.
pub(crate) struct Held {
    pub(crate) ground: LockGround,
    pub(crate) me: Record,
    lease: AsyncMutex<Option<Lease>>,
    /// When the last proof was asked for.
    proved: Mutex<Option<Moment>>,
    beat: Mutex<Option<JoinHandle<()>>>,
}

impl Locks {
    /// Notes that a lock will be asked for, so that it is released whatever happens meanwhile.
    pub(crate) fn want(&self, ground: LockGround, me: Record) -> Arc<Held> {
        let held = Arc::new(Held {
            ground,
            me,
            lease: AsyncMutex::default(),
            proved: Mutex::default(),
            beat: Mutex::default(),
        });
        locked(&self.0.held).push(Arc::clone(&held));
        held
    }

    /// The lock is ours, as was asked for at `asked`: it is renewed from now on.
    pub(crate) async fn keep(&self, held: &Arc<Held>, lease: Lease, asked: Moment) {
        *held.lease.lock().await = Some(lease);
        *locked(&held.proved) = Some(asked);
        let beat = tokio::spawn(beat(Arc::clone(&self.0), Arc::clone(held)));
        *locked(&held.beat) = Some(beat);
    }

    /// Renews every lock, and so proves that it is ours.
    pub(crate) async fn prove(&self) -> Proof {
        let mut unknown = None;
        for held in self.all() {
            match held.prove(&self.0.lost).await {
                Proof::Held => {}
                Proof::Lost(why) => return Proof::Lost(why),
                Proof::Unknown(error) => unknown = Some(error),
            }
        }
        unknown.map_or(Proof::Held, Proof::Unknown)
    }

    /// The same, unless that was proved a moment ago.
    pub(crate) async fn are_fresh(&self) -> Proof {
        if let Some(why) = self.0.lost.borrow().clone() {
            return Proof::Lost(why);
        }
        match self.all().iter().all(|held| held.is_fresh()) {
            true => Proof::Held,
            false => self.prove().await,
        }
    }

    /// Waits until a lock is lost; returns why.
    pub(crate) async fn lost(&self) -> String {
        let mut lost = self.0.lost.subscribe();
        match lost.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or_default(),
            // The sender lives as long as this.
            Err(_) => std::future::pending().await,
        }
    }

    /// Gives every lock back; those of others are left alone. Returns what could not be done.
    pub(crate) async fn release(&self) -> Vec<String> {
        let mut left = Vec::new();
        let all = std::mem::take(&mut *locked(&self.0.held));
        // The last one first, as they were taken.
        for held in all.into_iter().rev() {
            if let Some(beat) = locked(&held.beat).take() {
                beat.abort();
            }
            let mut lease = Lease::wanted(&held.me);
            let done = tokio::time::timeout(RELEASE, lease.release(&held.ground)).await;
            let why = match done {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => crate::error::one_line(&error),
                Err(_) => format!("it took longer than {} s", RELEASE.as_secs()),
            };
            left.push(format!(
                "could not release the lock of {}, which expires by itself within {} s: {why}",
                held.ground.store().describe(),
                EXPIRY.as_secs()
            ));
        }
        left
    }

    fn all(&self) -> Vec<Arc<Held>> {
        locked(&self.0.held).clone()
    }
}

impl Held {
    async fn prove(&self, lost: &watch::Sender<Option<String>>) -> Proof {
        let mut lease = self.lease.lock().await;
        let Some(lease) = lease.as_mut() else {
            return Proof::Held; // Only wanted.
        };
        let asked = moment();
        match lease.renew(&self.ground).await {
            Ok(true) => {
                *locked(&self.proved) = Some(asked);
                Proof::Held
            }
            Ok(false) => {
                let mut why = format!("the lock of {} was lost", self.ground.store().describe());
                if let Some(seconds) = self.silent_seconds() {
                    why.push_str(&format!(
                        ": this run did not renew it for {seconds} s, and another one may have taken it over"
                    ));
                }
                lost.send_replace(Some(why.clone()));
                Proof::Lost(why)
            }
            Err(error) => Proof::Unknown(error.context(format!(
                "could not prove that the lock of {} is still ours",
                self.ground.store().describe()
            ))),
        }
    }

    fn silent(&self) -> Option<SignedDuration> {
        let (at, time) = (*locked(&self.proved))?;
        let by_day = Timestamp::now().duration_since(time);
        Some(SignedDuration::try_from(at.elapsed()).map_or(by_day, |counted| counted.max(by_day)))
    }

    fn silent_seconds(&self) -> Option<i64> {
        self.silent().map(|silent| silent.as_secs())
    }

    fn is_fresh(&self) -> bool {
        self.silent()
            .is_none_or(|silent| Duration::try_from(silent).is_ok_and(|silent| silent < FRESH))
    }
}

/// Renews a lock until it is lost or released.
async fn beat(shared: Arc<Shared>, held: Arc<Held>) {
    loop {
        tokio::time::sleep(BEAT).await;
        match held.prove(&shared.lost).await {
            // A store that does not answer now may do so before the lock expires.
            Proof::Held | Proof::Unknown(_) => {}
            Proof::Lost(_) => return,
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Many processes over one store in memory, in every order that a seed can make: they stop in the
//! middle of a request, sleep beyond their expiry, lose answers, and the store's clock jumps. Nothing
//! waits and nothing is timed: one step of one process after the other.

use super::{Attempt, EXPIRY, Ground, Holder, Lease, Newest, Record, Taker};
use anyhow::{Result, anyhow};
use bytes::Bytes;
use jiff::Timestamp;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Numbers that depend on the seed alone.
#[derive(Clone)]
struct Dice(Rc<Cell<u64>>);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(Rc::new(Cell::new(
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        )))
    }

    fn below(&self, end: u64) -> u64 {
        let mut x = self.0.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.0.set(x);
        (x >> 11) % end
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
struct Weather {
    /// One answer in so many is lost, after the store did what it was asked; 0 for none.
    lost_answers: u64,
    /// The store's clock jumps by up to so many seconds, to both sides.
    jumps: u64,
    /// One step in so many, a process stops for ever; 0 for none.
    deaths: u64,
    /// One step in so many, a process sleeps for longer than its expiry; 0 for none.
    naps: u64,
}

const FAIR: Weather = Weather {
    lost_answers: 0,
    jumps: 0,
    deaths: 0,
    naps: 0,
};

const FOUL: Weather = Weather {
    lost_answers: 9,
    jumps: 300,
    deaths: 60,
    naps: 12,
};

/// The store, and what is true of it.
#[derive(Default)]
struct World {
    generations: BTreeMap<u64, (Bytes, i64)>,
    /// Seconds since the start: every process's own clock.
    seconds: u64,
    /// How far the store's clock is ahead of that.
    ahead: i64,
    /// Requests so far.
    requests: u64,
    /// Who proved that the lock is theirs, in the order in which they had it; with the number of the
    /// request that showed it.
    proofs: Vec<(u64, u64)>,
    taken_over: u64,
    lost: u64,
}

#[derive(Clone)]
struct Memory {
    world: Arc<Mutex<World>>,
    answers_to_lose: u64,
    seed: Arc<Mutex<u64>>,
    /// The number of the last request that asked for the newest generation.
    looked: Arc<Mutex<u64>>,
}

impl Memory {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// A request: others take their turns before the store does it, and before the answer is there.
    async fn request<T>(&self, work: impl FnOnce(&mut World) -> T) -> Result<T> {
        turn().await;
        let done = {
            let mut world = self.world();
            world.requests += 1;
            work(&mut world)
        };
        turn().await;
        let lost = {
            let mut seed = self.seed.lock().unwrap();
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            self.answers_to_lose != 0 && (*seed >> 33).is_multiple_of(self.answers_to_lose)
        };
        match lost {
            true => Err(anyhow!("the answer was lost")),
            false => Ok(done),
        }
    }
}

impl Ground for Memory {
    async fn newest(&self) -> Result<Option<Newest>> {
        self.request(|world| {
            *self.looked.lock().unwrap() = world.requests;
            let (generation, (_, written)) = world.generations.last_key_value()?;
            Some(Newest {
                generation: *generation,
                written: Timestamp::from_second(*written).ok(),
            })
        })
        .await
    }

    async fn read(&self, generation: u64) -> Result<Option<Bytes>> {
        self.request(|world| {
            world
                .generations
                .get(&generation)
                .map(|(bytes, _)| bytes.clone())
        })
        .await
    }

    async fn create(&self, generation: u64, bytes: Bytes) -> Result<bool> {
        self.request(|world| {
            if world.generations.contains_key(&generation) {
                return false;
            }
            let now = 1_000_000 + world.seconds as i64 + world.ahead;
            world.generations.insert(generation, (bytes, now));
            true
        })
        .await
    }

    async fn clear(&self, below: u64) -> Result<()> {
        self.request(|world| world.generations.retain(|number, _| *number >= below))
            .await
    }

    async fn now(&self) -> Result<Option<Timestamp>> {
        self.request(|world| {
            Timestamp::from_second(1_000_000 + world.seconds as i64 + world.ahead).ok()
        })
        .await
    }

    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.world().seconds)
    }

    fn time_of_day(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

/// Lets the others go first, once.
fn turn() -> impl Future<Output = ()> {
    let mut went = false;
    std::future::poll_fn(move |_| {
        if std::mem::replace(&mut went, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
}

fn record(owner: u64) -> Record {
    Record::new(Holder {
        owner: owner.to_string(),
        command: "gate".to_owned(),
        host: "model".to_owned(),
        pid: 1,
        run: None,
        since: Timestamp::UNIX_EPOCH,
    })
}

/// Takes the lock, does some fenced writes, releases; and again. `owner` counts up: nobody comes back
/// under an old name.
async fn process(memory: Memory, number: u64, rounds: u64, at: At) {
    for round in 0..rounds {
        let owner = number * 1000 + round;
        let mut taker = Taker::new(&memory, record(owner));
        let mut lease = loop {
            match taker.attempt().await {
                Ok(Attempt::Mine(lease)) => break lease,
                Ok(Attempt::Busy(_) | Attempt::Contended) | Err(_) => turn().await,
            }
        };
        if lease.taken_from.is_some() {
            memory.world().taken_over += 1;
        }
        for _ in 0..3 {
            if !fenced_write(&memory, &mut lease, owner, at).await {
                memory.world().lost += 1;
                break;
            }
        }
        for _ in 0..3 {
            if lease.release(&memory).await.is_ok() {
                break;
            }
        }
    }
}

/// The moment at which a proof is compared with those of others.
#[derive(Clone, Copy, Debug)]
enum At {
    /// When the store showed it.
    Look,
    /// When the holder goes on: later, since it may have slept meanwhile.
    Use,
}

/// False when the lock was lost. Nothing comes between the proof and its use: what is written later
/// than the proof allows, no lock can prevent.
async fn fenced_write(memory: &Memory, lease: &mut Lease, owner: u64, at: At) -> bool {
    for _ in 0..4 {
        match lease.renew(memory).await {
            Ok(true) => {
                let mut world = memory.world();
                let moment = match at {
                    At::Look => *memory.looked.lock().unwrap(),
                    At::Use => world.requests,
                };
                world.proofs.push((moment, owner));
                return true;
            }
            Ok(false) => return false,
            Err(_) => {}
        }
    }
    // Nothing is proved: a gate publishes nothing then.
    false
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Runs `count` processes to their ends; returns what happened.
fn run(seed: u64, count: u64, weather: Weather, moment: At) -> World {
    let dice = Dice::new(seed + 1);
    let world = Arc::new(Mutex::new(World::default()));
    let mut tasks: Vec<(Task, u64)> = (0..count)
        .map(|number| {
            let memory = Memory {
                world: Arc::clone(&world),
                answers_to_lose: weather.lost_answers,
                seed: Arc::new(Mutex::new(seed * 31 + number)),
                looked: Arc::default(),
            };
            let task: Task = Box::pin(process(memory, number + 1, 3, moment));
            (task, 0)
        })
        .collect();
    let mut context = Context::from_waker(Waker::noop());
    let mut steps = 0_u64;
    while !tasks.is_empty() {
        steps += 1;
        assert!(steps < 2_000_000, "seed {seed}: they never end");
        let at = dice.below(tasks.len() as u64) as usize;
        let seconds = {
            let mut world = world.lock().unwrap();
            world.seconds += dice.below(3);
            if weather.jumps != 0 && dice.below(40) == 0 {
                world.ahead = dice.below(2 * weather.jumps) as i64 - weather.jumps as i64;
            }
            world.seconds
        };
        if tasks[at].1 > seconds {
            continue;
        }
        if weather.naps != 0 && dice.below(weather.naps) == 0 {
            tasks[at].1 = seconds + EXPIRY.as_secs() + dice.below(300);
            continue;
        }
        if weather.deaths != 0 && dice.below(weather.deaths) == 0 {
            drop(tasks.swap_remove(at));
            continue;
        }
        if tasks[at].0.as_mut().poll(&mut context).is_ready() {
            drop(tasks.swap_remove(at));
        }
    }
    let mut world = world.lock().unwrap();
    // In the order of the moments; of equal ones, in which a process was polled.
    world.proofs.sort_by_key(|(moment, _)| *moment);
    std::mem::take(&mut *world)
}

/// Once somebody else has proved the lock to be theirs, nobody before does so again.
fn assert_one_after_the_other(seed: u64, proofs: &[(u64, u64)]) {
    let mut gone = std::collections::BTreeSet::new();
    let mut last = None;
    for (_, owner) in proofs {
        if last != Some(*owner) {
            gone.extend(last);
            last = Some(*owner);
        }
        assert!(
            !gone.contains(owner),
            "seed {seed}: {owner} wrote after somebody else had: {proofs:?}"
        );
    }
}

fn in_foul_weather(weather: Weather, moment: At) {
    let (mut taken_over, mut lost) = (0, 0);
    for seed in 0..2000 {
        let world = run(seed, 2 + seed % 3, weather, moment);
        assert_one_after_the_other(seed, &world.proofs);
        taken_over += world.taken_over;
        lost += world.lost;
    }
    // The model shows something: locks were taken over, and their holders noticed.
    assert!(taken_over > 500 && lost > 200, "{taken_over} {lost}");
}

#[test]
fn nobody_proves_a_lock_that_somebody_else_took_whatever_goes_wrong() {
    in_foul_weather(FOUL, At::Look);
}

#[test]
fn nobody_writes_into_the_lock_of_another_while_the_stores_clock_is_right() {
    in_foul_weather(Weather { jumps: 0, ..FOUL }, At::Use);
}

#[test]
fn in_good_weather_everybody_gets_the_lock_and_nobody_loses_it() {
    for seed in 0..500 {
        let count = 2 + seed % 3;
        let world = run(seed, count, FAIR, At::Use);
        assert_one_after_the_other(seed, &world.proofs);
        assert_eq!((world.taken_over, world.lost), (0, 0), "seed {seed}");
        assert_eq!(world.proofs.len() as u64, count * 3 * 3, "seed {seed}");
        // What is left is one object, which says that the lock is free.
        assert_eq!(world.generations.len(), 1, "seed {seed}");
    }
}

#[test]
fn a_holder_that_died_is_waited_for_until_its_expiry_and_no_longer() {
    let ready = |future: Pin<Box<dyn Future<Output = Result<Attempt>> + '_>>| {
        let mut future = future;
        let mut context = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
                return done.unwrap();
            }
        }
    };
    let memory = Memory {
        world: Arc::default(),
        answers_to_lose: 0,
        seed: Arc::default(),
        looked: Arc::default(),
    };
    let mut dead = Taker::new(&memory, record(1));
    assert!(matches!(ready(Box::pin(dead.attempt())), Attempt::Mine(_)));
    memory.world().seconds = 30;
    let mut waiter = Taker::new(&memory, record(2));
    let Attempt::Busy(busy) = ready(Box::pin(waiter.attempt())) else {
        panic!("taken too early");
    };
    assert_eq!(busy.age.0, Duration::from_secs(30), "by the store's clock");
    // The store's clock is no longer asked: it may jump as it likes.
    memory.world().ahead = 100_000;
    memory.world().seconds = 120;
    let Attempt::Busy(busy) = ready(Box::pin(waiter.attempt())) else {
        panic!("taken too early");
    };
    assert_eq!(busy.age.0, Duration::from_secs(120));
    memory.world().seconds = 121;
    let Attempt::Mine(lease) = ready(Box::pin(waiter.attempt())) else {
        panic!("not taken");
    };
    let from = lease.taken_from.unwrap();
    assert_eq!(from.holder.unwrap().holder.owner, "1");
}

//! `store-unlocked`: one gate or prune on a store at a time. Waits for the locks, says who holds them,
//! and asks again before what must not happen twice. The locks themselves are in `locks`.

use super::journal::Journal;
use super::locks::{Proof, moment};
use super::{Context, say, stores};
use crate::check::{Check, CheckId, Severity};
use crate::error;
use crate::lock::{Attempt, Busy, Holder, Record, Taker};
use crate::report::{escape, format};
use crate::store::{LockGround, Store};
use jiff::Timestamp;
use std::time::{Duration, Instant};

/// Between two looks at a lock that somebody holds: short at first, since most runs are.
const FIRST_LOOK: Duration = Duration::from_millis(250);
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// How often the log says who is waited for.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Whether the run may go on, and whether what it asked before is old by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The locks are ours, or the configuration does not insist.
    GoOn { waited: bool },
    /// The answer in the journal closes the gate.
    Stop,
}

/// Takes the lock of every store, and answers `store-unlocked`. A dry run only looks.
pub(crate) async fn ask(context: &Context, journal: &mut Journal, stores: &[Store]) -> Asked {
    let begun = Instant::now();
    let (check, waited) = match context.config.dry_run {
        true => (look(context, stores).await, false),
        false => take(context, stores, begun).await,
    };
    let is_closed = Journal::closes(std::slice::from_ref(&check));
    journal.check(check);
    match is_closed {
        true => Asked::Stop,
        false => Asked::GoOn { waited },
    }
}

/// Whether the locks are still ours, asked before the archive is sealed. False: nothing more may be written.
pub(crate) async fn may_seal(context: &Context, journal: &mut Journal) -> bool {
    match context.locks.prove().await {
        Proof::Lost(why) => {
            lost(context, journal, why);
            is_optional(context)
        }
        // Asked again before the manifest; a seal that is refused now would give up every copy.
        Proof::Held | Proof::Unknown(_) => true,
    }
}

/// The same before the manifest: a store that does not answer closes the gate.
pub(crate) async fn still_ours(context: &Context, journal: &mut Journal) -> bool {
    match context.locks.prove().await {
        Proof::Held => true,
        Proof::Lost(why) => {
            lost(context, journal, why);
            is_optional(context)
        }
        // Its own copy fails in its own way; the other store's backup is not given up for it.
        Proof::Unknown(error) if !is_optional(context) => {
            let hint = error::hint(&error);
            let check = Check::not_checked(CheckId::StoreUnlocked, error::one_line(&error), hint);
            answer_again(journal, check);
            true
        }
        Proof::Unknown(_) => true,
    }
}

/// The same before anything is deleted: what is not proved is not done.
pub(crate) async fn may_delete(context: &Context, journal: &mut Journal) -> bool {
    still_ours(context, journal).await
        && (is_optional(context) || matches!(context.locks.are_fresh().await, Proof::Held))
}

/// Waits until a lock is lost that the run cannot go on without.
pub(crate) async fn loss(context: &Context) -> String {
    match is_optional(context) {
        true => std::future::pending().await,
        false => context.locks.lost().await,
    }
}

/// The answer is no after all.
pub(crate) fn lost(context: &Context, journal: &mut Journal, why: String) {
    let severity = context.config.severities.of(CheckId::StoreUnlocked);
    let hint = "Nothing more was written. Find out why this run stood still (a suspended machine, a store that \
                did not answer), and start it again.";
    answer_again(
        journal,
        Check::no(CheckId::StoreUnlocked, severity, why, hint),
    );
}

fn is_optional(context: &Context) -> bool {
    context.config.severities.of(CheckId::StoreUnlocked) == Severity::Warn
}

fn answer_again(journal: &mut Journal, check: Check) {
    journal.checks.retain(|old| old.id != check.id);
    journal.check(check);
}

/// What `doctor` says of a store's lock, and what to do about it if anything.
///
/// # Errors
/// The store does not answer.
pub(crate) async fn finding(store: &Store) -> anyhow::Result<(String, Option<String>)> {
    Ok(match holder(store).await? {
        None => ("no run holds the lock".to_owned(), None),
        Some((busy, words)) if busy.holder.is_err() => (words, Some(hint(store, &busy))),
        Some((busy, words)) if busy.age.is_over(busy.expiry) => {
            (format!("{words}: the next run takes it over"), None)
        }
        Some((_, words)) => (words, None),
    })
}

/// Who holds the lock of a store; none when it is free.
async fn holder(store: &Store) -> anyhow::Result<Option<(Box<Busy>, String)>> {
    let ground = LockGround::new(store, &stores::nonce()?);
    let me = Record::new(Holder {
        owner: stores::nonce()?,
        command: "doctor".to_owned(),
        host: String::new(),
        pid: 0,
        run: None,
        since: Timestamp::now(),
    });
    let busy = Taker::new(&ground, me).look().await?;
    Ok(busy.map(|busy| {
        let words = words(&busy);
        (busy, words)
    }))
}

async fn look(context: &Context, stores: &[Store]) -> Check {
    let mut seen = Vec::new();
    for store in in_order(stores) {
        match holder(store).await {
            Ok(None) => seen.push(format!("{}: free", store.describe())),
            Ok(Some((busy, words))) if busy.age.is_over(busy.expiry) => seen.push(format!(
                "{}: {words}, which a gate would take over",
                store.describe()
            )),
            Ok(Some((busy, words))) => {
                return Check::no(
                    CheckId::StoreUnlocked,
                    context.config.severities.of(CheckId::StoreUnlocked),
                    format!("{}: {words}", store.describe()),
                    hint(store, &busy),
                );
            }
            Err(error) => return unanswered(&error),
        }
    }
    Check::passed(CheckId::StoreUnlocked, seen.join("; "))
}

async fn take(context: &Context, stores: &[Store], begun: Instant) -> (Check, bool) {
    let mut seen = Vec::new();
    let mut waited = false;
    for store in in_order(stores) {
        let wanted = async {
            let nonce = stores::nonce()?;
            let me = Record::new(me(context, &nonce));
            anyhow::Ok(context.locks.want(LockGround::new(store, &nonce), me))
        };
        let held = match wanted.await {
            Ok(held) => held,
            Err(error) => return (given_up(context, unanswered(&error)).await, waited),
        };
        let mut taker = Taker::new(&held.ground, held.me.clone());
        let mut patience = Patience::new(context, store, begun);
        let (lease, asked) = loop {
            // Old numbers may take long to delete, and nobody renews the lock meanwhile.
            let asked = moment();
            let busy = match taker.attempt().await {
                Ok(Attempt::Mine(lease)) => break (lease, asked),
                Ok(Attempt::Busy(busy)) => Some(busy),
                Ok(Attempt::Contended) => None,
                Err(error) => return (given_up(context, unanswered(&error)).await, waited),
            };
            waited = true;
            if let Some(check) = patience.sleep(busy).await {
                return (given_up(context, check).await, waited);
            }
        };
        let mut words = format!("{}: taken", store.describe());
        if patience.looks > 0 {
            words.push_str(&format!(
                " after {}",
                format::duration(patience.since.elapsed().as_secs_f64())
            ));
        }
        if let Some(busy) = &lease.taken_from {
            words.push_str(&format!(
                ", over from a run that was silent: {}",
                self::words(busy)
            ));
        }
        seen.push(words);
        context.locks.keep(&held, *lease, asked).await;
    }
    (taken(stores, seen.join("; ")), waited)
}

/// Yes; but without create-only writes nothing can be promised.
fn taken(stores: &[Store], evidence: String) -> Check {
    let weak: Vec<String> = stores
        .iter()
        .filter(|store| !store.has_create_only_writes())
        .map(Store::describe)
        .collect();
    if weak.is_empty() {
        return Check::passed(CheckId::StoreUnlocked, evidence);
    }
    Check::warned(
        CheckId::StoreUnlocked,
        format!(
            "{evidence}; {} has no create-only writes, so that two runs could take its lock at once",
            weak.join(", ")
        ),
        "Let only one run write into it at a time, by `concurrency:` in the workflow, or use a store with create-only writes (If-None-Match).",
    )
}

/// Gives back what was taken on the way.
async fn given_up(context: &Context, check: Check) -> Check {
    for left in context.locks.release().await {
        say(&format!("warning: {}\n", escape::terminal(&left)));
    }
    check
}

fn unanswered(error: &anyhow::Error) -> Check {
    Check::not_checked(
        CheckId::StoreUnlocked,
        error::one_line(error),
        error::hint(error),
    )
}

/// Waiting for one lock.
struct Patience<'a> {
    context: &'a Context,
    store: &'a Store,
    /// When the first lock was asked for: one limit for all.
    begun: Instant,
    since: Instant,
    looks: u32,
    pause: Duration,
    said: Option<(Instant, String)>,
}

impl<'a> Patience<'a> {
    fn new(context: &'a Context, store: &'a Store, begun: Instant) -> Self {
        Self {
            context,
            store,
            begun,
            since: Instant::now(),
            looks: 0,
            pause: FIRST_LOOK,
            said: None,
        }
    }

    /// Waits a moment; returns the answer instead when the time is up.
    async fn sleep(&mut self, busy: Option<Box<Busy>>) -> Option<Check> {
        self.looks += 1;
        let limit = self.context.config.wait_lock;
        let left = limit.saturating_sub(self.begun.elapsed());
        let who = match &busy {
            Some(busy) => words(busy),
            None => "several runs take it from each other".to_owned(),
        };
        if left.is_zero() {
            let after = match limit.is_zero() {
                true => String::new(),
                false => format!(", still after {}", format::duration(limit.as_secs_f64())),
            };
            return Some(Check::no(
                CheckId::StoreUnlocked,
                self.context.config.severities.of(CheckId::StoreUnlocked),
                format!("{}: {who}{after}", self.store.describe()),
                match &busy {
                    Some(busy) => hint(self.store, busy),
                    None => "Run it again when fewer runs want this store.".to_owned(),
                },
            ));
        }
        self.tell(&who, busy.as_deref(), left);
        tokio::time::sleep(self.pause.min(left)).await;
        self.pause = (self.pause * 3 / 2).min(LOOK_EVERY);
        None
    }

    fn tell(&mut self, who: &str, busy: Option<&Busy>, left: Duration) {
        self.context
            .progress
            .at(format!("waiting for the lock: {who}"));
        let owner = busy.map_or_else(String::new, |busy| match &busy.holder {
            Ok(record) => record.holder.owner.clone(),
            Err(why) => why.clone(),
        });
        let is_news = self
            .said
            .as_ref()
            .is_none_or(|(at, said)| *said != owner || at.elapsed() > SAY_EVERY);
        if !is_news {
            return;
        }
        self.said = Some((Instant::now(), owner));
        say(&format!(
            "  … waiting up to {} for the lock of {}: {}\n",
            format::duration(left.as_secs_f64()),
            escape::terminal(&self.store.describe()),
            escape::terminal(who)
        ));
    }
}

/// What is known of a lock that somebody holds. Text of another run.
fn words(busy: &Busy) -> String {
    let silent = format::duration(busy.age.0.as_secs_f64());
    let state = match busy.age.is_over(busy.expiry) {
        true => format!("silent for {silent}, expired"),
        false => format!(
            "last sign of life {silent} ago, expires in {} unless renewed",
            format::duration(busy.age.left(busy.expiry).as_secs_f64())
        ),
    };
    match &busy.holder {
        Ok(record) => escape::shorten(&format!("held by {}, {state}", record.holder), 400),
        Err(why) => escape::shorten(&format!("a lock that cannot be read ({why}), {state}"), 400),
    }
}

/// What to do about it, as a sentence.
fn hint(store: &Store, busy: &Busy) -> String {
    match &busy.holder {
        Ok(_) => format!(
            "Wait for that run, or let this one wait longer with --wait-lock. If that run is surely dead, nothing \
             has to be deleted: its lock expires by itself {} after its last sign of life, and the next run takes it over.",
            format::duration(busy.expiry.as_secs_f64())
        ),
        Err(_) => format!(
            "Update backup-action to the version that wrote the lock. When no run uses {}, delete the objects below locks/ in it by hand.",
            store.describe()
        ),
    }
}

/// Remote first, then local, for every run: so that no two wait for each other.
fn in_order(stores: &[Store]) -> impl Iterator<Item = &Store> {
    let is_remote = |store: &&Store| stores::is_remote(store);
    let remote = stores.iter().filter(is_remote);
    remote.chain(stores.iter().filter(move |store| !is_remote(store)))
}

fn me(context: &Context, owner: &str) -> Holder {
    let host = rustix::system::uname();
    Holder {
        owner: owner.to_owned(),
        command: context.config.command.clone(),
        host: host.nodename().to_string_lossy().into_owned(),
        pid: std::process::id(),
        run: context.runner.as_ref().map(|runner| runner.run.clone()),
        since: Timestamp::now(),
    }
}

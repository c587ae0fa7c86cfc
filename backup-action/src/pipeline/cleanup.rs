//! The undo list of a run: what to take back when it ends before its end. One list serves
//! failures, deadlines and signals; a run that is killed outright leaves no manifest and so no backup.

use crate::error;
use crate::store::{AbortHandle, Key, Store, StoreErrorKind};
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long taking back may last: GitHub sends SIGTERM 7.5 s after SIGINT.
const LIMIT: Duration = Duration::from_secs(6);

/// So that the work's own limit is told, and not ours.
const LATE: Duration = Duration::from_millis(500);

/// Things to take back, newest first. Clones share the list.
#[derive(Clone, Default)]
pub struct Cleanup(Arc<Mutex<List>>);

#[derive(Default)]
struct List {
    next: u64,
    items: Vec<(u64, Undo)>,
}

/// One thing to take back.
pub enum Undo {
    /// An upload that was begun.
    Abort(Store, Key, AbortHandle),
    /// An object that is complete but must not stay without a manifest, or the manifest itself.
    Delete(Store, Key),
    /// Something on a server or on this machine.
    Work(Work),
}

/// What is done to take something back, outside of a store.
pub struct Work {
    /// What it does, behind "could not": `drop database d_restoring_1a2b`.
    pub what: String,
    /// How long it may take.
    pub limit: Duration,
    /// Does it.
    pub run: Box<dyn FnOnce() -> Done + Send>,
}

/// What [`Work::run`] gives.
pub type Done = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

/// Names an item of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(u64);

impl Cleanup {
    /// Adds an item.
    pub fn add(&self, undo: Undo) -> Ticket {
        let mut list = self.list();
        let number = list.next;
        list.next += 1;
        list.items.push((number, undo));
        Ticket(number)
    }

    /// The items that are left when `put` found somebody else's object: it is not ours to delete.
    pub fn disarm_foreign(&self, ticket: Ticket, error: &anyhow::Error) {
        if StoreErrorKind::of(error) == Some(StoreErrorKind::AlreadyExists) {
            self.disarm(ticket);
        }
    }

    /// The item needs not be taken back any more.
    pub fn disarm(&self, ticket: Ticket) {
        self.list().items.retain(|(number, _)| *number != ticket.0);
    }

    /// Takes everything back; returns what could not be, as sentences.
    ///
    /// Stores are cleaned side by side, each from the newest item to the oldest, so that a manifest
    /// is gone before its archive. What is not in a store is another list of that kind.
    pub async fn run(&self) -> Vec<String> {
        let mut by_store: BTreeMap<String, Vec<Undo>> = BTreeMap::new();
        let mut limit = Duration::ZERO;
        for (_, undo) in self.list().items.drain(..).rev() {
            let place = match &undo {
                Undo::Abort(store, ..) | Undo::Delete(store, _) => store.describe(),
                Undo::Work(work) => {
                    limit = limit.max(work.limit);
                    // Each by itself: what starts a service does not wait for what drops a database.
                    format!("\n{}", by_store.len())
                }
            };
            by_store.entry(place).or_default().push(undo);
        }
        let deadline = tokio::time::Instant::now() + LIMIT.max(limit + LATE);
        let tasks: Vec<_> = by_store
            .into_values()
            .map(|items| tokio::spawn(take_back(items)))
            .collect();
        let mut left = Vec::new();
        for task in tasks {
            match tokio::time::timeout_at(deadline, task).await {
                Ok(Ok(messages)) => left.extend(messages),
                Ok(Err(panicked)) => left.push(format!("clean-up ended early: {panicked}")),
                Err(_) => left.push(
                    "clean-up did not end in time; what is left in a store has no manifest and is no backup"
                        .to_owned(),
                ),
            }
        }
        left
    }

    fn list(&self) -> std::sync::MutexGuard<'_, List> {
        match self.0.lock() {
            Ok(list) => list,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}

async fn take_back(items: Vec<Undo>) -> Vec<String> {
    let mut left = Vec::new();
    for undo in items {
        let (what, result) = match undo {
            Undo::Abort(store, key, handle) => (
                format!("abort the upload of {}", store.locate(&key)),
                handle.abort().await,
            ),
            Undo::Delete(store, key) => (
                format!("delete {}", store.locate(&key)),
                store.delete(&key).await,
            ),
            Undo::Work(work) => {
                let done = tokio::time::timeout(work.limit, (work.run)()).await;
                let late = |_| Err(anyhow::anyhow!("it took longer than {:?}", work.limit));
                (work.what, done.unwrap_or_else(late))
            }
        };
        if let Err(error) = result {
            left.push(format!("could not {what}: {}", error::one_line(&error)));
        }
    }
    left
}

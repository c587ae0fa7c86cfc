//! What a restore is asked to do, what it shares among its sessions, and what it answers.

use super::plan::{Phase, Plan};
use super::source::{Archive, Source};
use crate::archive::index::{Entry, Index, Name};
use crate::archive::scanned::shown;
use crate::pipeline::progress::Progress;
use crate::postgres::psql::Psql;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a failed statement or table does to the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// It ends the restore with an error.
    Stop,
    /// It is noted, and the restore goes on behind it.
    Continue,
}

/// What to replay, and where.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where the bytes come from.
    pub archive: Archive,
    /// Which entries.
    pub plan: Plan,
    /// psql with the connection to the target.
    pub psql: Psql,
    /// The database that globals and CREATE DATABASE connect to.
    pub maintenance: Name,
    /// Database in the archive → database on the server to connect to. Statements that name a
    /// database are not changed: see `replace`.
    pub rename: BTreeMap<Name, Name>,
    /// Entries that are not replayed, settings too.
    pub skip: BTreeSet<usize>,
    /// Entry → SQL that runs in its place.
    pub replace: BTreeMap<usize, Vec<u8>>,
    /// How many sessions at the same time.
    pub jobs: usize,
    /// What a failure does.
    pub on_failure: OnFailure,
    /// Whether the server writes little WAL (`wal_level = minimal`): a large table of a database that
    /// this restore creates is then emptied and filled in one transaction, which writes none.
    pub little_wal: bool,
    /// After this long without progress the server is asked whether it still answers.
    pub stall_timeout: Duration,
}

/// Something that could not be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Position in [`Index::entries`].
    pub entry: usize,
    /// What it is: `TABLE central.tenants of database nostromo`; control characters escaped.
    pub object: String,
    /// The server's message.
    pub message: String,
}

/// What was replayed.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// Seconds of each phase that had anything to do.
    pub phases: Vec<(Phase, f64)>,
    /// Databases that were filled.
    pub databases: usize,
    /// Schemas that were created.
    pub schemas: usize,
    /// Tables whose rows were loaded.
    pub tables: usize,
    /// Rows that the server counted.
    pub rows: u64,
    /// Bytes of dump that were replayed.
    pub dump_bytes: u64,
    /// Bytes of the archive that were read for it.
    pub archive_bytes_read: u64,
    /// What failed, in the order of the dump; empty unless failures were to be noted.
    pub failures: Vec<Failure>,
}

/// What every session of a restore needs.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) source: Source,
    pub(super) load: Load,
    pub(super) progress: Arc<Progress>,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    failures: BTreeMap<usize, Failure>,
    phases: BTreeMap<Phase, f64>,
    tables: usize,
    rows: u64,
}

impl Work {
    pub(super) fn new(load: Load, progress: &Arc<Progress>) -> Arc<Work> {
        Arc::new(Work {
            source: Source::new(load.archive.clone()),
            load,
            progress: Arc::clone(progress),
            found: Mutex::default(),
        })
    }

    pub(super) fn index(&self) -> &Index {
        self.source.index()
    }

    pub(super) fn entry(&self, number: usize) -> &Entry {
        &self.index().entries[number]
    }

    /// The size in the dump of what is replayed: the plan without what the caller leaves out.
    pub(super) fn dump_bytes(&self) -> u64 {
        let entries = self.load.plan.entries().into_iter();
        let replayed = entries.filter(|number| !self.load.skip.contains(number));
        replayed.map(|number| self.entry(number).bytes()).sum()
    }

    /// Whether the entry is to be left out: the caller's wish, or a setting that failed before.
    pub(super) fn skips(&self, number: usize) -> bool {
        self.load.skip.contains(&number) || {
            let found = self.found();
            let same = |failure: &usize| self.entry(*failure).sha256 == self.entry(number).sha256;
            &*self.entry(number).kind == crate::archive::index::kind::SETTING
                && found.failures.keys().any(same)
        }
    }

    /// The database on the server for one in the archive.
    pub(super) fn target(&self, database: &Name) -> Name {
        let renamed = self.load.rename.get(database);
        renamed.unwrap_or(database).clone()
    }

    /// Notes a failure, or makes it the error that ends the restore.
    pub(super) fn fail(&self, number: usize, message: String) -> anyhow::Result<()> {
        let object = object(self.entry(number));
        if self.load.on_failure == OnFailure::Stop {
            return Err(anyhow::anyhow!(message).context(format!("could not restore {object}")));
        }
        let failure = Failure {
            entry: number,
            object,
            message,
        };
        self.found().failures.insert(number, failure);
        Ok(())
    }

    /// Whether one of `entries` was noted as failed.
    pub(super) fn failed_any(&self, entries: &[usize]) -> bool {
        let found = self.found();
        entries
            .iter()
            .any(|entry| found.failures.contains_key(entry))
    }

    /// A table is loaded.
    pub(super) fn copied(&self, rows: u64) {
        let mut found = self.found();
        found.tables += 1;
        found.rows += rows;
    }

    /// Notes how long a phase took that began at `begun`.
    pub(super) fn took(&self, phase: Phase, begun: Instant) {
        *self.found().phases.entry(phase).or_default() += begun.elapsed().as_secs_f64();
    }

    /// What was done.
    pub(super) fn loaded(&self) -> Loaded {
        let entries = self.load.plan.entries();
        let found = self.found();
        let schemas = entries.iter().filter(|n| {
            &*self.entry(**n).kind == "SCHEMA"
                && !self.load.skip.contains(n)
                && !found.failures.contains_key(n)
        });
        Loaded {
            phases: found.phases.iter().map(|(p, s)| (*p, *s)).collect(),
            databases: self.load.plan.databases.len(),
            schemas: schemas.count(),
            tables: found.tables,
            rows: found.rows,
            dump_bytes: self.dump_bytes(),
            archive_bytes_read: self.source.bytes_read(),
            failures: found.failures.values().cloned().collect(),
        }
    }

    /// A thread that panicked while it held the lock left no half-made state behind.
    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An entry for people: `TABLE central.tenants of database nostromo`.
pub(super) fn object(entry: &Entry) -> String {
    let name = match &entry.schema {
        Some(schema) => format!("{}.{}", shown(schema), shown(&entry.name)),
        None => shown(&entry.name),
    };
    match &entry.database {
        Some(database) => format!("{} {name} of database {}", entry.kind, shown(database)),
        None => format!("{} {name}", entry.kind),
    }
}

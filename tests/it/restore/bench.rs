//! Where a restore runs in a test: dumps as archives in a directory store, a server to load them
//! into, and the comparison of what went in with what came out.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "helpers of tests, which clippy does not see as tests"
)]

use crate::support::cluster::{Cluster, ClusterOptions};
use crate::support::need;
use backup_action::archive::compress::Encoder;
use backup_action::archive::index::{Index, Name, Sha256Digest, kind};
use backup_action::archive::rebuild::rebuild;
use backup_action::pipeline::progress::Progress;
use backup_action::postgres::connection::Connection;
use backup_action::postgres::psql::Psql;
use backup_action::restore::load::load;
use backup_action::restore::plan::{Scope, plan};
use backup_action::restore::{Archive, Load, Loaded, OnFailure};
use backup_action::secret::Secret;
use backup_action::store::{Key, Store};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// The bootstrap superuser of servers that are restored into: dumps bring their own `postgres`.
pub(crate) const BOSS: &str = "boss";

/// An archive in a store of its own.
pub(crate) struct Shelf {
    pub(crate) archive: Archive,
    pub(crate) dump: Vec<u8>,
    _dir: TempDir,
}

impl Shelf {
    /// Puts a dump there, in members of at most `member_bytes`.
    pub(crate) async fn with_members(dump: Vec<u8>, member_bytes: usize) -> Shelf {
        let mut encoder = Encoder::default();
        let mut stored = Vec::new();
        for block in dump.chunks(member_bytes) {
            stored.extend_from_slice(&encoder.encode(block, 1).expect("a member").bytes);
        }
        let index = rebuild(&stored[..], |_| {}).expect("a dump").index;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open_dir(dir.path()).await.expect("a store");
        let key = Key::parse("2026-01/backup_2026-01-18_02-00-01Z.sql.gz").expect("a key");
        store
            .put(&key, Bytes::from(stored), "application/gzip")
            .await
            .expect("the archive is stored");
        Shelf {
            archive: Archive {
                store,
                key,
                index: Arc::new(index),
            },
            dump,
            _dir: dir,
        }
    }

    pub(crate) async fn new(dump: Vec<u8>) -> Shelf {
        Shelf::with_members(dump, 1024 * 1024).await
    }

    pub(crate) fn index(&self) -> &Index {
        &self.archive.index
    }

    /// Everything of it into `target`.
    pub(crate) fn load(&self, target: &Cluster, scope: &Scope) -> Load {
        let plan = plan(self.index(), scope).expect("a plan");
        let skip = self.superuser_of(target);
        Load {
            archive: self.archive.clone(),
            plan,
            psql: psql(target),
            maintenance: Name::from("postgres"),
            rename: BTreeMap::new(),
            skip,
            replace: BTreeMap::new(),
            jobs: 2,
            on_failure: OnFailure::Stop,
            little_wal: true,
            stall_timeout: Duration::from_secs(30),
        }
    }

    /// The role that the target's bootstrap superuser is already.
    fn superuser_of(&self, target: &Cluster) -> BTreeSet<usize> {
        let create = format!("CREATE ROLE {};", target.superuser);
        let sha256 = Sha256Digest(Sha256::digest(create).into());
        let entries = self.index().entries.iter().enumerate();
        let own = entries.filter(|(_, entry)| entry.sha256 == sha256);
        own.map(|(number, _)| number).collect()
    }
}

/// psql of the server's own version, as the superuser.
pub(crate) fn psql(target: &Cluster) -> Psql {
    let url = Secret::new(target.socket_url());
    Psql {
        program: target.bin_dir.join("psql"),
        connection: Connection::resolve(Some(&url), &|_| None).expect("an address"),
        run_as: None,
    }
}

/// Loads with counters that nobody reads.
pub(crate) async fn run(what: Load) -> anyhow::Result<Loaded> {
    load(what, &Arc::new(Progress::default())).await
}

/// A server to restore into, of `major` or the newest installed. From 16 on only the bootstrap
/// superuser may grant for others, so there it has the name that the dump knows.
pub(crate) fn target(test: &str, major: Option<u32>) -> Option<Cluster> {
    need(test, "PostgreSQL's server", Cluster::installed(major))?;
    Some(Cluster::start(ClusterOptions {
        major,
        superuser: if major.unwrap_or(15) < 16 {
            BOSS
        } else {
            "postgres"
        },
        ..ClusterOptions::default()
    }))
}

/// A server to be dumped.
pub(crate) fn source(test: &str, major: Option<u32>) -> Option<Cluster> {
    need(test, "PostgreSQL's server", Cluster::installed(major))?;
    Some(Cluster::start(ClusterOptions {
        major,
        ..ClusterOptions::default()
    }))
}

/// What pg_dumpall prints of a server.
pub(crate) fn dumpall(cluster: &Cluster) -> Vec<u8> {
    let output = Command::new(cluster.bin_dir.join("pg_dumpall"))
        .env_remove("PGDATABASE")
        .args(["-U", cluster.superuser, "-h"])
        .arg(&cluster.socket_dir)
        .args(["-p", &cluster.port.to_string()])
        .output()
        .expect("pg_dumpall starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Every object with its digests, as lines that can be compared.
pub(crate) fn contents(index: &Index) -> Vec<String> {
    let entries = index.entries.iter().filter(|entry| {
        let of_boss = entry.database.is_none() && entry.name.as_bytes() == BOSS.as_bytes();
        !matches!(&*entry.kind, kind::META | kind::COMMENT | kind::SETTING) && !of_boss
    });
    let mut lines: Vec<String> = entries
        .map(|entry| {
            let rows = entry
                .copy
                .as_ref()
                .map(|copy| (copy.rows, copy.rows_digest));
            format!(
                "{:?} {} {:?}.{:?} {} {rows:?}",
                entry.database, entry.kind, entry.schema, entry.name, entry.sha256
            )
        })
        .collect();
    lines.sort();
    lines
}

/// What `target` holds now is what `shelf` holds.
pub(crate) fn assert_same(shelf: &Shelf, target: &Cluster) {
    let now = dumpall(target);
    let now = scan(&now);
    let (before, after) = (contents(shelf.index()), contents(&now));
    let missing: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
    let new: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
    assert!(
        missing.is_empty() && new.is_empty(),
        "missing: {missing:#?}\nnew: {new:#?}"
    );
}

/// The index of a dump.
pub(crate) fn scan(dump: &[u8]) -> Index {
    let stored: Vec<u8> = dump
        .chunks(1024 * 1024)
        .flat_map(|block| Encoder::default().encode(block, 1).expect("a member").bytes)
        .collect();
    rebuild(&stored[..], |_| {}).expect("a dump").index
}

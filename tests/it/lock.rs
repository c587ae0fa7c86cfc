//! `store-unlocked`: one gate or prune on a store at a time, however its holder ends. The rules alone
//! are tested by a model beside them; here are real processes, a directory and a real S3 server.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a helper that cannot go on ends its test"
)]

mod ended;
mod gates;
mod race;

use crate::gate::world::World;
use crate::support::cluster::{Cluster, write_program};
use crate::support::run::{Ended, Run};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// The newest object of the directory's lock.
pub(crate) fn lock_file(world: &World) -> PathBuf {
    let dir = world.local.as_ref().unwrap().join("locks");
    let mut found: Vec<PathBuf> = fs::read_dir(&dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .collect();
    found.sort();
    found.pop().expect("a lock")
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).expect("the lock is JSON")
}

/// Its file system says that nothing was written into it for so long.
pub(crate) fn age(path: &Path, age: Duration) {
    let file = fs::File::options().append(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

/// A lock of somebody else.
fn foreign(expires_after_seconds: u64) -> String {
    serde_json::json!({
        "format": 1, "state": "held", "renewed_at": "2026-01-18T02:00:01Z",
        "expires_after_seconds": expires_after_seconds,
        "holder": {
            "owner": "0badcafe", "command": "gate", "host": "web-9", "pid": 7,
            "since": "2026-01-18T02:00:01Z",
        },
    })
    .to_string()
}

/// PostgreSQL's programs, with a pg_dumpall that begins only when it is told.
struct Held {
    dir: TempDir,
}

impl Held {
    fn new(cluster: &Cluster) -> Held {
        let dir = tempfile::tempdir().unwrap();
        for name in ["psql", "pg_dump"] {
            std::os::unix::fs::symlink(cluster.bin_dir.join(name), dir.path().join(name)).unwrap();
        }
        let held = Held { dir };
        let real = cluster.bin_dir.join("pg_dumpall");
        let text = format!(
            "#!/bin/bash\n[ \"$1\" = --version ] && exec '{0}' \"$@\"\ntouch '{1}'\nwhile [ ! -e '{2}' ]; do sleep 0.05; done\nexec '{0}' \"$@\"\n",
            real.display(),
            held.asked().display(),
            held.go().display(),
        );
        write_program(&held.dir.path().join("pg_dumpall"), &text);
        held
    }

    /// There once the dump was asked for, and so the lock taken.
    fn asked(&self) -> PathBuf {
        self.dir.path().join("asked")
    }

    /// Lets the dump begin.
    fn go(&self) -> PathBuf {
        self.dir.path().join("go")
    }

    fn gate(&self, world: &World) -> Run {
        world
            .gate()
            .env("BACKUP_ACTION_PG_BIN_DIR", self.dir.path())
    }
}

fn evidence(ended: &Ended) -> String {
    let check = ended.check("store-unlocked");
    check["evidence"].as_str().unwrap_or_default().to_owned()
}

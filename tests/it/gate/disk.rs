//! A local disk without room: before the dump, in the middle of it, and a store that is no directory.
#![expect(
    clippy::disallowed_methods,
    reason = "tests mount a small file system of their own"
)]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy does not see as tests"
)]

use super::world::{World, large, sample};
use crate::support::cluster::write_program;
use crate::support::need;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// A file system of a few megabytes; unmounted when it is dropped.
struct Tmpfs(TempDir);

impl Tmpfs {
    fn mount(test: &str, size: &str) -> Option<Tmpfs> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(dir.path())
            .output()
            .is_ok_and(|output| output.status.success());
        need(
            test,
            "the right to mount a tmpfs",
            mounted.then_some(Tmpfs(dir)),
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
fn a_disk_that_is_too_small_closes_the_gate_before_the_dump() {
    let test = "small disk";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(disk) = Tmpfs::mount(test, "2m") else {
        return;
    };
    let mut world = World::local(cluster);
    world.local = Some(disk.path("store"));
    let path = disk.0.path().display().to_string();
    let ended = world.closes(world.gate(), 1, &["disk-space", "free on", &path]);
    assert!(ended.screen().contains("needed"), "{}", ended.all());
}

#[test]
fn a_disk_that_fills_during_the_dump_closes_the_gate() {
    let test = "full disk";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(disk) = Tmpfs::mount(test, "64m") else {
        return;
    };
    let mut world = World::local(cluster);
    world.local = Some(disk.path("store"));
    world.passes(world.gate());
    // Something else fills it once the checks are over.
    let fake = tempfile::tempdir().unwrap();
    for name in ["psql", "pg_dump"] {
        std::os::unix::fs::symlink(cluster.bin_dir.join(name), fake.path().join(name)).unwrap();
    }
    let filler = disk.path("filler");
    let text = format!(
        "#!/bin/bash\n[ \"$1\" = --version ] || dd if=/dev/zero of='{}' bs=4k 2>/dev/null\nexec '{}' \"$@\"\n",
        filler.display(),
        cluster.bin_dir.join("pg_dumpall").display()
    );
    write_program(&fake.path().join("pg_dumpall"), &text);
    let gate = world.gate().env("BACKUP_ACTION_PG_BIN_DIR", fake.path());
    let ended = world.closes(gate, 1, &["No space left on device", "0 bytes left"]);
    assert!(filler.is_file(), "{}", ended.all());
    // With room again the same store works.
    std::fs::remove_file(&filler).unwrap();
    // The full disk took no release either: the lock has to expire.
    crate::lock::age(
        &crate::lock::lock_file(&world),
        std::time::Duration::from_secs(180),
    );
    world.passes(world.gate());
    assert_eq!(world.run("verify").end().code, 0);
}

#[test]
fn a_disk_that_fills_in_the_middle_ends_the_dump() {
    let test = "half full disk";
    let Some(cluster) = large(test) else {
        return;
    };
    let Some(disk) = Tmpfs::mount(test, "64m") else {
        return;
    };
    let mut world = World::local(cluster);
    world.local = Some(disk.path("store"));
    let filler = disk.path("filler");
    let fake = tempfile::tempdir().unwrap();
    for name in ["psql", "pg_dump"] {
        std::os::unix::fs::symlink(cluster.bin_dir.join(name), fake.path().join(name)).unwrap();
    }
    // Four megabytes are left.
    let text = format!(
        "#!/bin/bash\n[ \"$1\" = --version ] || dd if=/dev/zero of='{}' bs=1M count=60 2>/dev/null\nexec '{}' \"$@\"\n",
        filler.display(),
        cluster.bin_dir.join("pg_dumpall").display()
    );
    write_program(&fake.path().join("pg_dumpall"), &text);
    let gate = world.gate().env("BACKUP_ACTION_PG_BIN_DIR", fake.path());
    world.closes(
        gate,
        1,
        &["No space left on device", "0 bytes left", "dump-exit"],
    );
}

#[test]
fn a_store_that_is_no_directory_closes_the_gate() {
    let Some(cluster) = sample("no directory") else {
        return;
    };
    let mut world = World::local(cluster);
    let file = tempfile::NamedTempFile::new().unwrap();
    world.local = Some(file.path().to_owned());
    let name = file.path().display().to_string();
    world.closes(world.gate(), 3, &[&name]);
}

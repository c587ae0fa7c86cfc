//! A workflow is cancelled, in every step of the gate: the run ends in time and takes back what it
//! did. A step is made long by a peer that is silent, or that did what it was asked and never ends
//! its answer.

use super::world::{World, backups, large, sample};
use crate::support::cluster::{Cluster, write_program};
use crate::support::peer::{Action, Fault, Peer, When};
use crate::support::run::Ended;
use std::time::{Duration, Instant};

/// GitHub kills 7.5 s after SIGINT.
const LIMIT: f64 = 7.0;

const SILENCE: Fault = Fault::Stall(Duration::from_secs(60));
/// Applied, and the answer would take minutes.
const DRIP: Fault = Fault::SlowDrip(Duration::from_secs(5));

/// Waits for the request that `when` names, sends the signal, and asserts that nothing is left.
fn interrupt(
    world: &World,
    peer: &Peer,
    when: When,
    fault: Fault,
    signal: &str,
    code: i32,
) -> Ended {
    peer.heal();
    peer.inject(when, fault);
    let faults = || {
        peer.seen()
            .iter()
            .filter(|seen| seen.fault.is_some())
            .count()
    };
    let before = faults();
    let mut watched = world.start(world.gate().args(&["--level", "1"]));
    watched.going.until("the request", || faults() > before);
    // An applied request has to reach the store.
    std::thread::sleep(Duration::from_millis(300));
    let begun = Instant::now();
    watched.going.signal(signal);
    let ended = watched.closes(code, &[&format!("SIG{signal}")]);
    let seconds = begun.elapsed().as_secs_f64();
    assert!(
        ended.seconds < 60.0 && seconds < LIMIT + 3.0,
        "{when:?} {fault:?}: {seconds} s"
    );
    ended
}

fn interrupt_each(test: &str, cases: &[(When, Fault, &str, i32)]) {
    let Some(cluster) = sample(test) else {
        return;
    };
    interrupt_each_in(test, cluster, cases);
}

fn interrupt_each_in(test: &str, cluster: &Cluster, cases: &[(When, Fault, &str, i32)]) {
    let Some(mut world) = World::both(test, cluster) else {
        return;
    };
    world.passes(world.gate());
    let peer = world.peer();
    for (when, fault, signal, code) in cases {
        interrupt(&world, &peer, *when, *fault, signal, *code);
    }
}

#[test]
fn in_the_preflight() {
    use Action::{
        CreateMultipartUpload, DeleteObject, GetObject, HeadBucket, ListObjects, PutObject,
    };
    let probe = |action| When::Target(action, "/probes/");
    interrupt_each(
        "signal-preflight",
        &[
            (When::Every(HeadBucket), SILENCE, "INT", 130),
            (probe(PutObject), SILENCE, "TERM", 143),
            (probe(PutObject), DRIP, "INT", 130),
            (probe(GetObject), SILENCE, "TERM", 143),
            (probe(CreateMultipartUpload), DRIP, "INT", 130),
            (probe(Action::AbortMultipartUpload), DRIP, "TERM", 143),
            (probe(DeleteObject), DRIP, "INT", 130),
            (When::Every(ListObjects), SILENCE, "HUP", 129),
        ],
    );
}

#[test]
fn while_the_server_is_asked() {
    let test = "signal-psql";
    let Some(cluster) = sample(test) else {
        return;
    };
    let world = World::local(cluster);
    let fake = tempfile::tempdir().unwrap();
    for name in ["pg_dumpall", "pg_dump"] {
        std::os::unix::fs::symlink(cluster.bin_dir.join(name), fake.path().join(name)).unwrap();
    }
    let asked = fake.path().join("asked");
    let text = format!(
        "#!/bin/bash\n[ \"$1\" = --version ] && exec '{}' \"$@\"\ntouch '{}'\nsleep 1000 &\nwait\n",
        cluster.bin_dir.join("psql").display(),
        asked.display()
    );
    write_program(&fake.path().join("psql"), &text);
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let gate = world.gate().env("BACKUP_ACTION_PG_BIN_DIR", fake.path());
        let mut watched = world.start(gate);
        watched.going.until("the question", || asked.exists());
        watched.going.assert_no_secret_in_argv();
        watched.going.signal(signal);
        let ended = watched.closes(code, &[&format!("SIG{signal}")]);
        assert!(ended.seconds < 30.0, "{}", ended.all());
        std::fs::remove_file(&asked).unwrap();
    }
}

#[test]
fn in_the_dump() {
    let test = "signal-dump";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(world) = World::both(test, cluster) else {
        return;
    };
    world.passes(world.gate());
    for (behaviour, signal, code) in [
        ("hangs", "INT", 130),
        ("hangs", "TERM", 143),
        ("hangs-at-start", "HUP", 129),
        ("ignores-sigterm", "INT", 130),
    ] {
        let (gate, _fake) = world.gate_with(behaviour);
        let mut watched = world.start(gate);
        let local = world.local.clone().unwrap();
        watched.going.until("the dump", || {
            let unfinished = crate::support::run::files(&local);
            unfinished
                .iter()
                .any(|path| path.extension().is_some_and(|ext| ext == "partial"))
        });
        std::thread::sleep(Duration::from_millis(500));
        watched.going.assert_no_secret_in_argv();
        let begun = Instant::now();
        watched.going.signal(signal);
        watched.closes(code, &[&format!("SIG{signal}")]);
        assert!(begun.elapsed().as_secs_f64() < LIMIT + 3.0, "{behaviour}");
    }
}

#[test]
fn while_parts_are_sent() {
    use Action::{CompleteMultipartUpload, CreateMultipartUpload, UploadPart};
    let test = "signal-parts";
    let Some(cluster) = large(test) else {
        return;
    };
    interrupt_each_in(
        test,
        cluster,
        &[
            (
                When::Target(CreateMultipartUpload, "/backup_"),
                DRIP,
                "INT",
                130,
            ),
            (When::Every(UploadPart), SILENCE, "TERM", 143),
            (When::Every(UploadPart), DRIP, "INT", 130),
            (When::Every(CompleteMultipartUpload), SILENCE, "TERM", 143),
            (When::Every(CompleteMultipartUpload), DRIP, "INT", 130),
        ],
    );
}

#[test]
fn in_the_seal_and_the_read_back() {
    use Action::{GetObject, PutObject};
    interrupt_each(
        "signal-seal",
        &[
            (When::Target(PutObject, ".sql.gz"), SILENCE, "INT", 130),
            (When::Target(PutObject, ".sql.gz"), DRIP, "TERM", 143),
            (When::Target(GetObject, ".sql.gz"), SILENCE, "INT", 130),
            (When::Target(GetObject, ".sql.gz"), DRIP, "TERM", 143),
        ],
    );
}

#[test]
fn while_it_publishes() {
    use Action::PutObject;
    interrupt_each(
        "signal-publish",
        &[
            (
                When::Target(PutObject, ".index.json.gz"),
                SILENCE,
                "INT",
                130,
            ),
            (When::Target(PutObject, ".index.json.gz"), DRIP, "TERM", 143),
            (
                When::Target(PutObject, ".manifest.json"),
                SILENCE,
                "INT",
                130,
            ),
            (When::Target(PutObject, ".manifest.json"), DRIP, "TERM", 143),
        ],
    );
}

#[test]
fn after_the_manifest_the_backup_stays_without_a_receipt() {
    use Action::PutObject;
    let test = "signal-receipt";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(mut world) = World::both(test, cluster) else {
        return;
    };
    let peer = world.peer();
    for (part, fault, signal, code) in [
        ("RECOVERY.md", SILENCE, "TERM", 143),
        ("/receipts/", SILENCE, "INT", 130),
        ("/receipts/", DRIP, "TERM", 143),
    ] {
        peer.heal();
        peer.inject(When::Target(PutObject, part), fault);
        let faults = || {
            peer.seen()
                .iter()
                .filter(|seen| seen.fault.is_some())
                .count()
        };
        let before = faults();
        let mut watched = world.start(world.gate());
        watched.going.until("the request", || faults() > before);
        std::thread::sleep(Duration::from_millis(300));
        let count = watched.before.ending(".manifest.json").len();
        watched.going.signal(signal);
        let ended = watched.going.end();
        assert_eq!(ended.code, code, "{}", ended.all());
        super::world::assert_closed(&world, &ended, &[&format!("SIG{signal}")]);
        let after = world.snapshot();
        assert_eq!(
            after.ending(".manifest.json").len(),
            count + 2,
            "{}",
            ended.all()
        );
        let receipts = after
            .local
            .keys()
            .chain(after.remote.keys())
            .filter(|key| key.contains("receipts/"));
        assert_eq!(receipts.count(), 0, "{}", ended.all());
        // What is there is whole, and it is said to be there.
        let copies = ended.report()["copies"].as_array().unwrap();
        assert!(
            copies.iter().all(|copy| copy["published"] == true),
            "{}",
            ended.all()
        );
        assert_eq!(backups(&world).len(), count / 2 + 1);
        peer.heal();
        let verify = world.run("verify").end();
        assert_eq!(verify.code, 0, "{}", verify.all());
    }
}

//! Whole gates on one store: all pass, one after the other, or say who is in the way.

use super::*;
use crate::gate::world::{backups, object, sample};
use crate::support::peer::{Action, Fault, When};
use crate::support::s3::BUCKET;
use jiff::Timestamp;

/// Starts several gates at once. Each passes, and no two of them made their backups at a time.
fn all_pass_in_turn(world: &World, count: usize) {
    let gates: Vec<_> = (0..count)
        .map(|_| world.gate().args(&["--level", "1"]).start())
        .collect();
    let ended: Vec<Ended> = gates.into_iter().map(|gate| gate.end()).collect();
    let mut times: Vec<(Timestamp, Timestamp)> = Vec::new();
    for gate in &ended {
        assert_eq!(gate.code, 0, "{}", gate.all());
        let time = |name: &str| gate.report()[name].as_str().unwrap().parse().unwrap();
        times.push((time("started_at"), time("finished_at")));
        assert!(gate.check("store-unlocked")["outcome"] == "passed");
    }
    times.sort();
    // The first did not wait, and so counts from its start; the others from when they had the lock.
    for pair in times.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "two at once: {times:?}");
    }
    let waited = ended
        .iter()
        .filter(|gate| evidence(gate).contains("taken after"));
    assert_eq!(waited.count(), count - 1);
}

#[test]
fn gates_of_one_moment_pass_one_after_the_other() {
    let Some(cluster) = sample("lock-gates") else {
        return;
    };
    let world = World::local(cluster);
    all_pass_in_turn(&world, 5);
    assert_eq!(backups(&world).len(), 5);
    assert_eq!(read(&lock_file(&world))["state"], "released");
}

#[test]
fn gates_with_two_stores_do_not_wait_for_each_other_for_ever() {
    let test = "lock-gates-both";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(world) = World::both(test, cluster) else {
        return;
    };
    all_pass_in_turn(&world, 3);
    assert_eq!(world.snapshot().ending(".manifest.json").len(), 6);
}

#[test]
fn a_held_lock_stops_who_does_not_wait_and_lets_others_look() {
    let Some(cluster) = sample("lock-held") else {
        return;
    };
    let world = World::local(cluster);
    world.passes(world.gate());
    let held = Held::new(cluster);
    let mut first = world.start(held.gate(&world)).going;
    first.until("the dump", || held.asked().exists());
    let lock = lock_file(&world);
    let before = fs::read(&lock).unwrap();
    let second = world.closes(
        world.gate().args(&["--wait-lock", "0"]),
        1,
        &["store-unlocked", "held by gate of acme/payroll"],
    );
    let said = second.check("store-unlocked").to_string();
    for words in [
        "actions/runs/4711/attempts/2",
        "expires in",
        "--wait-lock",
        "by itself 2 m",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let looked = world.gate().arg("--dry-run").end();
    assert_eq!(looked.code, 1, "{}", looked.all());
    assert!(
        evidence(&looked).contains("held by gate"),
        "{}",
        looked.all()
    );
    let pruned = world.run("prune").args(&["--wait-lock", "0s"]).end();
    assert_eq!(pruned.code, 1, "{}", pruned.all());
    assert_eq!(pruned.check("store-unlocked")["outcome"], "failed");
    let seen = world.run("doctor").end();
    assert!(
        seen.screen().contains("held by gate of acme/payroll"),
        "{}",
        seen.all()
    );
    let unlocked = ["--wait-lock", "0", "--check", "store-unlocked=warn"];
    // In another second than the holder, whose unfinished file has the name of its own.
    let warned = world.start(world.gate().args(&unlocked)).going.end();
    assert_eq!(warned.code, 0, "{}", warned.all());
    assert_eq!(warned.check("store-unlocked")["outcome"], "warned");
    // All that while nobody touched it, but for its holder, which renews it.
    if lock.exists() {
        assert_eq!(fs::read(&lock).unwrap(), before);
    }
    assert_eq!(read(&lock_file(&world))["state"], "held");
    fs::write(held.go(), "").unwrap();
    let first = first.end();
    assert_eq!(first.code, 0, "{}", first.all());
    let lock = fs::read(lock_file(&world)).unwrap();
    let looked = world.gate().arg("--dry-run").end();
    assert_eq!(looked.code, 0, "{}", looked.all());
    assert!(evidence(&looked).ends_with(": free"), "{}", looked.all());
    assert_eq!(fs::read(lock_file(&world)).unwrap(), lock);
    let seen = world.run("doctor").end();
    assert!(
        seen.screen().contains("no run holds the lock"),
        "{}",
        seen.all()
    );
}

#[test]
fn the_second_lock_that_cannot_be_had_gives_the_first_one_back() {
    let test = "lock-second";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(world) = World::both(test, cluster) else {
        return;
    };
    world.passes(world.gate());
    let next = world
        .local
        .as_ref()
        .unwrap()
        .join("locks/lock_000000000900.json");
    fs::write(&next, foreign(120)).unwrap();
    let stopped = world.closes(
        world.gate().args(&["--wait-lock", "1s"]),
        1,
        &[
            "store-unlocked",
            "on web-9 (process 7, owner 0badcafe)",
            "still after",
        ],
    );
    assert!(
        evidence(&stopped).contains("store: held"),
        "{}",
        stopped.all()
    );
    let remote = world.remote.as_ref().unwrap();
    let keys = remote.server.keys(&format!("{}/locks", remote.prefix));
    assert_eq!(keys.len(), 1, "{keys:?}");
    let key = keys[0]
        .strip_prefix(&format!("{}/", remote.prefix))
        .unwrap();
    let lock: Value = serde_json::from_slice(&object(remote, key)).unwrap();
    assert_eq!(lock["state"], "released");
    // More than the first gate's four: it was taken and given back.
    assert_eq!(fs::read_to_string(&next).unwrap(), foreign(120));
}

#[test]
fn a_lock_of_a_bucket_is_waited_for_until_it_expires() {
    let test = "lock-bucket";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(mut world) = World::remote(test, cluster) else {
        return;
    };
    let plant = |world: &World, expires: u64| {
        let remote = world.remote.as_ref().unwrap();
        let key = format!("{}/locks/lock_000000000900.json", remote.prefix);
        remote.server.ask(|client| async move {
            let put = client.put_object().bucket(BUCKET).key(key);
            let put = put.body(foreign(expires).into_bytes().into());
            put.send().await.expect("the lock is planted");
        });
    };
    plant(&world, 3000);
    world.closes(
        world.gate().args(&["--wait-lock", "0"]),
        1,
        &["held by gate on web-9", "expires in"],
    );
    plant(&world, 2);
    let passed = world.gate().end();
    assert_eq!(passed.code, 0, "{}", passed.all());
    let evidence = evidence(&passed);
    for words in [
        "over from a run that was silent",
        "owner 0badcafe",
        "expired",
    ] {
        assert!(evidence.contains(words), "{words}: {evidence}");
    }
    let peer = world.peer();
    peer.inject(
        When::Target(Action::PutObject, "/locks/"),
        Fault::Forbidden403,
    );
    let refused = world.closes(
        world.gate(),
        3,
        &["could not write the lock", "s3:PutObject"],
    );
    assert_eq!(refused.check("store-unlocked")["outcome"], "not_checked");
    peer.heal();
    // The answer is lost, not the lock: its object is recognised.
    peer.inject(
        When::Target(Action::PutObject, "/locks/"),
        Fault::ResetAfterApplied,
    );
    let lost = |fault: &Fault| *fault == Fault::ResetAfterApplied;
    let was_lost = || {
        peer.seen()
            .iter()
            .any(|seen| seen.fault.as_ref().is_some_and(lost))
    };
    let mut gate = world.gate().start();
    gate.until("the lost answer", was_lost);
    peer.heal();
    let passed = gate.end();
    assert_eq!(passed.code, 0, "{}", passed.all());
}

#[test]
fn a_lock_that_cannot_be_read_stops_until_it_is_old() {
    let Some(cluster) = sample("lock-garbage") else {
        return;
    };
    for (text, why) in [
        ("", "not a lock of this program"),
        ("{\"format\": 2, \"mood\": \"new\"}", "newer than 1"),
    ] {
        let world = World::local(cluster);
        let locks = world.local.as_ref().unwrap().join("locks");
        fs::create_dir_all(&locks).unwrap();
        let lock = locks.join("lock_000000000007.json");
        fs::write(&lock, text).unwrap();
        // Longer than a lock that can be read.
        age(&lock, Duration::from_secs(600));
        let stopped = world.closes(
            world.gate().args(&["--wait-lock", "0"]),
            1,
            &["cannot be read", why],
        );
        let said = stopped.check("store-unlocked").to_string();
        assert!(said.contains("by hand"), "{said}");
        let seen = world.run("doctor").end();
        assert_eq!(seen.code, 1, "{}", seen.all());
        assert!(
            seen.screen().contains("delete the objects below locks/"),
            "{}",
            seen.all()
        );
        age(&lock, Duration::from_secs(4000));
        let passed = world.gate().end();
        assert_eq!(passed.code, 0, "{}", passed.all());
        assert!(!lock.exists());
    }
}

#[test]
fn a_wait_that_is_no_duration_is_refused() {
    for wrong in ["soon", "10x", "1h2", "$(id)"] {
        let run = Run::new("gate")
            .args(&["--local", "/nowhere", "--wait-lock", wrong])
            .end();
        assert_eq!(run.code, 2, "{}", run.all());
        assert!(run.stderr.contains("wait-lock"), "{}", run.all());
    }
}

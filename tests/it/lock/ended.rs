//! How a holder ends: told to, killed, or put to sleep for longer than its lock lives.

use super::*;
use crate::gate::world::{backups, sample};

#[test]
fn a_gate_that_is_told_to_end_gives_the_lock_back() {
    let Some(cluster) = sample("lock-term") else {
        return;
    };
    let world = World::local(cluster);
    let held = Held::new(cluster);
    let mut first = held.gate(&world).start();
    first.until("the dump", || held.asked().exists());
    assert_eq!(read(&lock_file(&world))["state"], "held");
    first.signal("TERM");
    let first = first.end();
    assert_eq!(first.code, 143, "{}", first.all());
    assert_eq!(read(&lock_file(&world))["state"], "released");
    world.passes(world.gate().args(&["--wait-lock", "0"]));
}

#[test]
fn a_gate_that_fails_gives_the_lock_back() {
    let Some(cluster) = sample("lock-failed") else {
        return;
    };
    let world = World::local(cluster);
    let (run, _fake) = world.gate_with("dies-after-half");
    world.closes(run, 1, &["dump-exit"]);
    assert_eq!(read(&lock_file(&world))["state"], "released");
}

#[test]
fn the_lock_of_a_killed_gate_is_taken_over_when_it_expired_and_not_before() {
    let Some(cluster) = sample("lock-killed") else {
        return;
    };
    let world = World::local(cluster);
    let held = Held::new(cluster);
    let mut first = held.gate(&world).start();
    first.until("the dump", || held.asked().exists());
    first.signal("KILL");
    drop(first);
    world.closes(
        world.gate().args(&["--wait-lock", "1s"]),
        1,
        &[
            "store-unlocked",
            "held by gate of acme/payroll",
            "still after",
        ],
    );
    // A process that begins to wait while the lock is young sees it expire by its own clock.
    age(&lock_file(&world), Duration::from_secs(114));
    let next = world.gate().end();
    assert_eq!(next.code, 0, "{}", next.all());
    let evidence = evidence(&next);
    for words in [
        "taken after",
        "over from a run that was silent",
        "runs/4711",
        "expired",
    ] {
        assert!(evidence.contains(words), "{words}: {evidence}");
    }
    assert!(next.stderr.contains("waiting up to"), "{}", next.all());
    assert_eq!(read(&lock_file(&world))["state"], "released");
}

#[test]
fn a_gate_that_slept_beyond_its_lock_publishes_nothing() {
    let Some(cluster) = sample("lock-slept") else {
        return;
    };
    let world = World::local(cluster);
    let held = Held::new(cluster);
    let mut sleeper = world.start(held.gate(&world)).going;
    sleeper.until("the dump", || held.asked().exists());
    sleeper.signal("STOP");
    age(&lock_file(&world), Duration::from_secs(180));
    // The other one has the lock, and still has it when the sleeper wakes up.
    let other = Held::new(cluster);
    let mut second = world.start(other.gate(&world)).going;
    second.until("its dump", || other.asked().exists());
    let taken = fs::read(lock_file(&world)).unwrap();
    fs::write(held.go(), "").unwrap();
    sleeper.signal("CONT");
    let woken = sleeper.end();
    assert_eq!(woken.code, 1, "{}", woken.all());
    assert_eq!(woken.check("store-unlocked")["outcome"], "failed");
    woken.assert_says("was lost");
    assert_eq!(woken.output("passed"), "false");
    let is_of_second = |lock: &Value| lock["holder"]["pid"] == second.pid();
    let lock = read(&lock_file(&world));
    assert!(is_of_second(&lock) && lock["state"] == "held", "{lock}");
    assert!(is_of_second(&serde_json::from_slice(&taken).unwrap()));
    assert_eq!(backups(&world).len(), 0, "{}", woken.all());
    fs::write(other.go(), "").unwrap();
    let second = second.end();
    assert_eq!(second.code, 0, "{}", second.all());
    assert_eq!(backups(&world).len(), 1);
    let keys: Vec<String> = world.snapshot().local.into_keys().collect();
    let ours = |key: &&String| key.contains("/backup_") && !key.starts_with("archive/");
    assert_eq!(keys.iter().filter(ours).count(), 3, "{keys:?}");
    assert_eq!(world.run("verify").end().code, 0);
}

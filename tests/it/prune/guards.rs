//! What no deletion may ever hit: a copy that was just proved, whole backups behind broken ones,
//! the newest where the bucket deletes, and everything when the clock is wrong.

use super::*;
use crate::gate::world::sample;
use crate::support::peer::{Action, Fault, When};
use std::os::unix::fs::{PermissionsExt, symlink};

fn archives(world: &World) -> Vec<String> {
    let keys = world.snapshot().local.into_keys();
    keys.filter(|key| is_part(key) && key.ends_with(".sql.gz"))
        .collect()
}

#[test]
fn a_copy_that_a_killed_run_left_is_taken_up_and_not_swept() {
    let test = "prune-adopted";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(mut world) = World::remote(test, cluster) else {
        return;
    };
    world.passes(world.gate().args(&["--retention-mode", "off"]));
    let made = made_remotely(&world);
    let old = now() - days(40);
    age_remote(&world, &made, &[old]);
    let Remote { server, prefix, .. } = world.remote.as_ref().unwrap();
    let mut left: Vec<String> = Vec::new();
    for (key, bytes) in backdated(&made, old, None) {
        if key.ends_with(".manifest.json") {
            continue;
        }
        let place = format!("{prefix}/archive/{key}");
        left.push(format!("archive/{key}"));
        server.ask(|client| async move {
            put(&client, BUCKET, place, bytes).await;
        });
    }
    // What lies there is more than a day old, by the listing.
    let peer = world.peer();
    peer.inject(
        When::Every(Action::ListObjects),
        Fault::Word("<LastModified>20", "<LastModified>19"),
    );
    let ended = prunes(world.run("prune"), 0);
    peer.heal();
    let keys: Vec<String> = world.snapshot().remote.into_keys().collect();
    for key in &left {
        assert!(keys.contains(key), "{key} is gone: {}", ended.all());
        assert!(!said(&ended, "swept").contains(key), "{}", ended.all());
    }
    assert_eq!(said(&ended, "archived").len(), 2, "{}", ended.all());
    assert_whole(&keys.iter().collect::<Vec<_>>());
}

#[test]
fn a_backup_without_its_archive_does_not_count() {
    let test = "prune-broken";
    let Some(cluster) = sample(test) else {
        return;
    };
    let (world, made) = aged(World::local(cluster), &[8, 9, 30]);
    let root = world.local.clone().unwrap();
    // The newest lost its archive, the next one's is cut, and the third's index is.
    let part = |age: i64, suffix: &str| match age {
        0 => made
            .keys()
            .find(|key| key.ends_with(suffix))
            .unwrap()
            .clone(),
        _ => archives(&world)
            .iter()
            .map(|key| key.replace("sql.gz", suffix))
            .find(|key| key.contains(&(now() - days(age)).strftime("_%Y-%m-%d_").to_string()))
            .unwrap(),
    };
    let cut = |key: &str| {
        let bytes = fs::read(root.join(key)).unwrap();
        fs::write(root.join(key), &bytes[..bytes.len() - 1]).unwrap();
    };
    let (second, third) = (part(8, "sql.gz"), part(9, "index.json.gz"));
    fs::remove_file(root.join(part(0, "sql.gz"))).unwrap();
    cut(&second);
    cut(&third);
    for age in [10, 12] {
        let old = backdated(&made, now() - days(age), None);
        write(&root, &old);
    }
    let before = world.snapshot().local;
    let ended = prunes(world.run("prune"), 1);
    for words in [
        "its archive is missing",
        "its archive has ",
        "its index has ",
        "not counted as a backup",
        "kept 2, deleted 1",
    ] {
        ended.assert_says(words);
    }
    assert_eq!(said(&ended, "trouble").len(), 3, "{}", ended.all());
    let gone = (now() - days(30)).strftime("_%Y-%m-%d_").to_string();
    let after = world.snapshot().local;
    for key in before.keys().filter(|key| !key.contains(&gone)) {
        assert!(after.contains_key(key), "{key}");
    }
    let listed = world.run("list").args(&["--output", "json"]).end();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let store = &listed["stores"][0];
    assert_eq!(store["backups"].as_array().unwrap().len(), 2);
    assert_eq!(store["unreadable_manifests"].as_array().unwrap().len(), 3);
    // The gate goes on, and warns.
    let gate = gates(&world, world.gate(), 0);
    assert_eq!(gate.check("retention-applied")["outcome"], "warned");
}

#[test]
fn receipts_that_may_not_go_do_not_block_those_that_may() {
    let test = "prune-many-receipts";
    let Some(cluster) = sample(test) else {
        return;
    };
    let world = World::local(cluster);
    let gated = world.passes(world.gate());
    let root = world.local.clone().unwrap();
    let receipt = fs::read(root.join(gated.output("receipt-key"))).unwrap();
    let receipt: Value = serde_json::from_slice(&receipt).unwrap();
    let place = |at: Timestamp, name: &str, cluster: Option<&str>| {
        let mut old = receipt.clone();
        old["started_at"] = at.to_string().into();
        old["finished_at"] = at.to_string().into();
        match cluster {
            // Of a gate that never learned whom it asked.
            Some(name) => {
                old["cluster"] = name.into();
                old["source"] = Value::Null;
            }
            None => old["source"]["system_identifier"] = "id-of-sulaco".into(),
        }
        let key = format!(
            "receipts/gate/{}_{name}.json",
            at.strftime("%Y-%m-%d_%H-%M-%SZ")
        );
        let bytes = serde_json::to_vec(&old).unwrap();
        write(&root, &[(key.clone(), bytes)].into());
        key
    };
    for n in 0..201 {
        let at = now() - days(500) + SignedDuration::from_secs(n);
        place(at, "passed", None);
    }
    let own = receipt["cluster"].as_str().unwrap();
    let at = now() - days(400);
    let gone = place(at, "passed_own", Some(own));
    let kept = place(at, "passed_other", Some("sulaco"));
    let ended = prunes(world.run("prune"), 0);
    assert_eq!(said(&ended, "swept"), [gone], "{}", ended.all());
    assert!(root.join(kept).exists());
}

#[test]
fn without_a_second_clock_a_plan_that_leaves_only_the_newest_is_refused() {
    let test = "prune-one-clock";
    let Some(cluster) = sample(test) else {
        return;
    };
    // By a clock that is a month ahead, all of these are too old.
    let (world, _) = aged(World::local(cluster), &[31, 32, 33, 34, 35]);
    let before = world.snapshot();
    let ended = prunes(world.run("prune"), 1);
    ended.assert_says("4 of 6 backups of the local tier would go and only the newest 2 stay");
    ended.assert_says("no second clock");
    ended.assert_says("--max-delete 4");
    assert_eq!(world.snapshot(), before);
    prunes(world.run("prune").args(&["--max-delete", "4"]), 0);
    assert_eq!(archives(&world).len(), 2);
}

#[test]
fn by_another_clock_than_the_servers_a_gate_deletes_nothing() {
    let test = "prune-server-clock";
    let Some(cluster) = sample(test) else {
        return;
    };
    let (world, _) = aged(World::local(cluster), &[8, 9, 10]);
    let (run, fake) = world.gate_with("dies-after-half");
    let real = |name: &str| world.cluster.bin_dir.join(name);
    fs::remove_file(fake.path().join("pg_dumpall")).unwrap();
    symlink(real("pg_dumpall"), fake.path().join("pg_dumpall")).unwrap();
    // The server says that it is three weeks earlier.
    let psql = fake.path().join("psql");
    let clock = (now() - days(21)).as_second();
    let script = format!(
        "#!/bin/bash\nset -o pipefail\n{} \"$@\" | sed -E 's/(\"server_clock\" : )[0-9]+/\\1{clock}/'\n",
        real("psql").display()
    );
    fs::remove_file(&psql).unwrap();
    fs::write(&psql, script).unwrap();
    fs::set_permissions(&psql, fs::Permissions::from_mode(0o755)).unwrap();
    let ended = gates(&world, run, 0);
    assert_eq!(
        ended.check("retention-applied")["outcome"],
        "warned",
        "{}",
        ended.all()
    );
    ended.assert_says("clock untrusted: this machine and the database server are 21 days apart");
    assert_eq!(archives(&world).len(), 5, "{}", ended.all());
    gates(&world, world.gate(), 0);
    assert_eq!(archives(&world).len(), 3, "the gates' own");
}

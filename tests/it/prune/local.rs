//! Retention in a directory.

use super::*;
use crate::gate::world::sample;
use std::time::{Duration, SystemTime};

fn stems(world: &World) -> Vec<String> {
    backups(world.snapshot().local.keys())
}

#[test]
fn what_is_too_old_goes_and_a_second_run_deletes_nothing() {
    let Some(cluster) = sample("prune-local") else {
        return;
    };
    let (world, _) = aged(World::local(cluster), &[1, 6, 8, 9, 200, 900]);
    let root = world.local.clone().unwrap();
    let foreign = [
        "2026-01/backup_of_the_cat.sql.gz",
        "notes.txt",
        "2026-01/backup_2026-01-01_00-00-00Z.sql.gz.bak",
        "other/2026-01/backup_2026-01-01_00-00-00Z.manifest.json",
    ];
    for name in foreign {
        write(&root, &[(name.to_owned(), b"ours".to_vec())].into());
    }
    let before = world.snapshot();
    let plan = prunes(world.run("prune").arg("--dry-run"), 0);
    assert_eq!(world.snapshot(), before, "{}", plan.all());
    assert_eq!(said(&plan, "deleted").len(), 4, "{}", plan.all());
    for words in [
        "would keep 3, delete 4 (local, older than 7 d)",
        "would delete local",
        "one of the newest 2",
        "not older than 7 d",
    ] {
        assert!(plan.screen().contains(words), "{words}: {}", plan.all());
    }
    let pruned = prunes(world.run("prune"), 0);
    pruned.assert_says("kept 3, deleted 4 (local, older than 7 d)");
    assert_eq!(said(&pruned, "deleted"), said(&plan, "deleted"));
    let tiers = &pruned.report()["retention"]["tiers"];
    assert_eq!(tiers[0]["kept"], 3);
    assert!(tiers[0]["freed_bytes"].as_u64().unwrap() > 1000);
    assert_eq!(stems(&world).len(), 4, "three, and the foreign manifest");
    let left = world.snapshot().local;
    assert_whole(
        &left
            .keys()
            .filter(|key| is_part(key) && !key.starts_with("other"))
            .collect::<Vec<_>>(),
    );
    for name in foreign {
        assert_eq!(left[name], b"ours");
    }
    // Nothing of a deleted backup stays.
    assert_eq!(
        left.keys().filter(|key| key.ends_with("Z.sql.gz")).count(),
        3
    );
    let again = prunes(world.run("prune"), 0);
    again.assert_says("kept 3, deleted none");
    assert_eq!(world.snapshot().local, left);
}

#[test]
fn a_gate_prunes_at_its_end_and_only_when_it_passed() {
    let test = "prune-gate";
    let Some(cluster) = sample(test) else {
        return;
    };
    let (world, _) = aged(World::local(cluster), &[8, 9, 10]);
    assert_eq!(stems(&world).len(), 4);
    let (run, _fake) = world.gate_with("dies-after-half");
    world.closes(run, 1, &["dump-exit"]);
    assert_eq!(
        stems(&world).len(),
        4,
        "a gate that failed deleted something"
    );
    let ended = gates(&world, world.gate(), 0);
    assert_eq!(stems(&world).len(), 2, "{}", ended.all());
    assert_eq!(ended.check("retention-applied")["outcome"], "passed");
    assert!(
        ended
            .screen()
            .contains("retention   ✓ kept 2, deleted 3 (local, older than 7 d)"),
        "{}",
        ended.all()
    );
    assert!(
        ended.summary.contains("| local | 2 | 3 | 0 |"),
        "{}",
        ended.summary
    );
    // The receipt says it too.
    let receipt = fs::read(
        world
            .local
            .as_ref()
            .unwrap()
            .join(ended.output("receipt-key")),
    )
    .unwrap();
    let receipt: Value = serde_json::from_slice(&receipt).unwrap();
    assert_eq!(receipt["retention"]["tiers"][0]["deleted"], 3);
    // What just stays is counted in a gate, and listed by `prune`.
    assert_eq!(said(&ended, "kept"), [] as [String; 0]);
    assert_eq!(said(&prunes(world.run("prune"), 0), "kept").len(), 2);
    let off = gates(&world, world.gate().args(&["--retention-mode", "off"]), 0);
    assert!(
        off.check("retention-applied")["evidence"]
            .as_str()
            .unwrap()
            .contains("off")
    );
}

#[test]
fn manifests_that_cannot_be_read_are_reported_kept_and_not_counted() {
    let test = "prune-unreadable";
    let Some(cluster) = sample(test) else {
        return;
    };
    let (world, made) = aged(World::local(cluster), &[8, 9, 30]);
    let root = world.local.clone().unwrap();
    let mut kept = Vec::new();
    for (age, spoil) in [(40, "corrupt"), (50, "newer")] {
        let mut old = backdated(&made, now() - days(age), None);
        for (key, bytes) in &mut old {
            if key.ends_with(".manifest.json") {
                *bytes = match spoil {
                    "corrupt" => b"{ \"kind\"".to_vec(),
                    _ => String::from_utf8_lossy(bytes)
                        .replace("\"format\": 1", "\"format\": 9")
                        .into_bytes(),
                };
            }
        }
        write(&root, &old);
        for key in old.keys() {
            // Older than any leftover may be.
            let file = fs::File::options()
                .write(true)
                .open(root.join(key))
                .unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(40 * 86_400))
                .unwrap();
        }
        kept.extend(old);
    }
    let ended = prunes(world.run("prune"), 1);
    for words in [
        "manifest is not valid JSON",
        "manifest format 9 is newer than 1",
        "kept 2, deleted 2",
    ] {
        ended.assert_says(words);
    }
    assert_eq!(said(&ended, "trouble").len(), 2, "{}", ended.all());
    let left = world.snapshot().local;
    for (key, bytes) in kept {
        assert_eq!(left.get(&key), Some(&bytes), "{key}");
    }
    // In a gate it only warns.
    let gate = gates(&world, world.gate(), 0);
    assert_eq!(gate.check("retention-applied")["outcome"], "warned");
    let blocked = world.gate().args(&["--check", "retention-applied=block"]);
    gates(&world, blocked, 1);
}

#[test]
fn leftovers_go_when_they_are_old_and_ours() {
    let test = "prune-leftovers";
    let Some(cluster) = sample(test) else {
        return;
    };
    let (world, made) = aged(World::local(cluster), &[]);
    let root = world.local.clone().unwrap();
    let place = |name: &str, hours: u64| {
        write(&root, &[(name.to_owned(), b"x".to_vec())].into());
        let file = fs::File::options()
            .write(true)
            .open(root.join(name))
            .unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3600))
            .unwrap();
    };
    let gone = [
        "2026-01/backup_2026-01-01_00-00-00Z.sql.gz",
        "2026-01/backup_2026-01-01_00-00-00Z.index.json.gz",
        "2026-01/backup_2026-01-02_00-00-00Z.sql.gz.partial",
        "probes/probe_0123_object",
    ];
    let kept = [
        ("2026-01/backup_2026-01-03_00-00-00Z.sql.gz", 23),
        ("2026-01/backup_2026-01-03_00-00-00Z.sql.gz.partial", 23),
        ("probes/probe_4567_object", 23),
        ("2026-01/backup.sql.gz", 9_000),
        ("2026-01/notes.partial", 9_000),
        ("2026-01/backup_2026-02-01_00-00-00Z.sql.gz", 9_000),
    ];
    for name in gone {
        place(name, 25);
    }
    for (name, hours) in kept {
        place(name, hours);
    }
    // A run with a long deadline may still be writing what is a day old.
    let patient = prunes(world.run("prune").args(&["--timeout", "13h"]), 0);
    assert_eq!(said(&patient, "swept"), [] as [String; 0]);
    let ended = prunes(world.run("prune"), 0);
    assert_eq!(said(&ended, "swept").len(), gone.len(), "{}", ended.all());
    ended.assert_says("deleted 4 leftovers or old receipts");
    let left: Vec<String> = world.snapshot().local.into_keys().collect();
    for name in gone {
        assert!(!left.contains(&name.to_owned()), "{name}");
    }
    for (name, _) in kept {
        assert!(left.contains(&name.to_owned()), "{name}");
    }
    // All manifests are gone: the archives do not follow.
    for age in 1..15 {
        let mut old = backdated(&made, now() - days(age), None);
        old.retain(|key, _| !key.ends_with(".manifest.json"));
        for key in old.keys() {
            place(key, 100);
        }
    }
    let ended = prunes(world.run("prune"), 1);
    ended.assert_says("28 objects of backups have no manifest, and one run deletes at most 20");
    assert_eq!(said(&ended, "swept"), [] as [String; 0]);
}

#[test]
fn a_plan_that_cannot_be_believed_is_not_carried_out() {
    let test = "prune-refused";
    let Some(cluster) = sample(test) else {
        return;
    };
    let ages: Vec<i64> = (8..30).collect();
    let (world, made) = aged(World::local(cluster), &ages);
    let before = world.snapshot();
    let ended = prunes(world.run("prune"), 1);
    ended.assert_says(
        "21 of 23 backups of the local tier are too old, and one run deletes at most 11",
    );
    ended.assert_says("--max-delete 21");
    assert_eq!(world.snapshot(), before);
    // Somebody's clock was ahead.
    let future = backdated(&made, now() + days(2), None);
    write(world.local.as_ref().unwrap(), &future);
    let before = world.snapshot();
    let ended = prunes(world.run("prune").args(&["--max-delete", "21"]), 1);
    ended.assert_says("clock untrusted");
    ended.assert_says("is from the future");
    assert_eq!(world.snapshot(), before);
    for key in future.keys() {
        fs::remove_file(world.local.as_ref().unwrap().join(key)).unwrap();
    }
    prunes(world.run("prune").args(&["--max-delete", "21"]), 0);
    assert_eq!(stems(&world).len(), 2);
    // Typos are usage errors.
    for (args, says) in [
        (["--retention-local", "7m"], "Write 7d for 7 days."),
        (["--retention-local", "0d"], "at least one day"),
        (["--retention-min-keep", "0"], "invalid number"),
        (
            ["--retention-mode", "tools"],
            "Use one of: tool, lifecycle, off.",
        ),
    ] {
        let ended = prunes(world.run("prune").args(&args), 2);
        assert!(ended.stderr.contains(says), "{}", ended.all());
    }
}

#[test]
fn one_cluster_does_not_prune_another() {
    let test = "prune-clusters";
    let Some(cluster) = sample(test) else {
        return;
    };
    let (world, made) = aged(World::local(cluster), &[8, 9]);
    for age in [8, 9, 10, 11] {
        let other = backdated(
            &made,
            now() - days(age) + SignedDuration::from_secs(7),
            Some("sulaco"),
        );
        write(world.local.as_ref().unwrap(), &other);
    }
    let is_other = |world: &World| {
        let manifests = world.snapshot().local;
        let manifests = manifests
            .iter()
            .filter(|(key, _)| key.ends_with(".manifest.json"));
        manifests
            .filter(|(_, bytes)| String::from_utf8_lossy(bytes).contains("id-of-sulaco"))
            .count()
    };
    gates(&world, world.gate(), 0);
    assert_eq!(
        (stems(&world).len(), is_other(&world)),
        (6, 4),
        "the gate's own: 2"
    );
    let refused = prunes(world.run("prune"), 2);
    assert!(
        refused.stderr.contains("backups of 2 clusters")
            && refused.stderr.contains("--all-clusters"),
        "{}",
        refused.all()
    );
    let wrong = prunes(world.run("prune").args(&["--cluster", "nobody"]), 2);
    assert!(
        wrong.stderr.contains("no backup is of \"nobody\""),
        "{}",
        wrong.all()
    );
    prunes(
        world
            .run("prune")
            .args(&["--cluster", "sulaco", "--dry-run"]),
        0,
    );
    prunes(world.run("prune").args(&["--cluster", "id-of-sulaco"]), 0);
    assert_eq!((stems(&world).len(), is_other(&world)), (4, 2));
    prunes(world.run("prune").arg("--all-clusters"), 0);
    assert_eq!(stems(&world).len(), 4);
}

#[test]
fn old_receipts_go_but_not_the_newest_drill_that_passed() {
    let test = "prune-receipts";
    let Some(cluster) = sample(test) else {
        return;
    };
    let world = World::local(cluster);
    let gated = world.passes(world.gate());
    let root = world.local.clone().unwrap();
    let receipt = fs::read(root.join(gated.output("receipt-key"))).unwrap();
    let receipt: Value = serde_json::from_slice(&receipt).unwrap();
    let place = |name: String, at: Timestamp, source: &str| {
        let mut old = receipt.clone();
        old["started_at"] = at.to_string().into();
        old["finished_at"] = at.to_string().into();
        old["source"]["system_identifier"] = match source {
            "" => receipt["source"]["system_identifier"].clone(),
            other => other.into(),
        };
        write(
            &root,
            &[(name.clone(), serde_json::to_vec(&old).unwrap())].into(),
        );
        name
    };
    let named = |at: Timestamp, what: &str| {
        format!(
            "receipts/gate/{}_{what}.json",
            at.strftime("%Y-%m-%d_%H-%M-%SZ")
        )
    };
    let (old, young) = (now() - days(366), now() - days(364));
    let gone = place(named(old, "passed"), old, "");
    let kept = [
        place(named(young, "passed"), young, ""),
        place(named(old, "passed_of_another"), old, "id-of-sulaco"),
        // Not what its name says.
        place(named(old, "passed_renamed"), young, ""),
    ];
    write(
        &root,
        &[(named(old, "foreign"), b"not json".to_vec())].into(),
    );
    let ended = prunes(world.run("prune"), 0);
    assert_eq!(said(&ended, "swept"), [gone], "{}", ended.all());
    for name in kept {
        assert!(root.join(&name).exists(), "{name}");
    }
    let forever = world.run("prune").args(&["--retention-archive", "forever"]);
    prunes(forever, 0);
}

//! Retention and the archive tier in a bucket: SeaweedFS, directly and behind the peer.
#![expect(clippy::print_stdout, reason = "figures, shown with --nocapture")]

use super::*;
use crate::gate::world::sample;
use crate::support::peer::{Action, Fault, Seen, When};
use crate::support::s3::SeaweedFs;
use std::sync::Arc;

/// A world whose bucket holds a backup of today, and older ones of these ages in days.
fn aged<'a>(world: World<'a>, ages: &[i64]) -> (World<'a>, Objects) {
    world.passes(world.gate().args(&["--retention-mode", "off"]));
    let made = made_remotely(&world);
    let at: Vec<Timestamp> = ages.iter().map(|age| now() - days(*age)).collect();
    age_remote(&world, &made, &at);
    (world, made)
}

fn keys(world: &World) -> Vec<String> {
    world.snapshot().remote.into_keys().collect()
}

fn archived(world: &World) -> Vec<String> {
    let mut stems = backups(keys(world).iter());
    stems.retain(|stem| stem.starts_with("archive/"));
    stems
}

fn in_place(world: &World) -> Vec<String> {
    let mut stems = backups(keys(world).iter());
    stems.retain(|stem| !stem.starts_with("archive/"));
    stems
}

fn months(ages: &[i64]) -> usize {
    let months = ages
        .iter()
        .map(|age| (now() - days(*age)).strftime("%Y-%m").to_string());
    months.collect::<std::collections::BTreeSet<_>>().len()
}

#[test]
fn each_month_is_archived_before_it_is_deleted() {
    let test = "prune-archive";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(world) = World::remote(test, cluster) else {
        return;
    };
    let ages = [0, 1, 20, 35, 36, 70, 130, 131, 400];
    let (world, made) = aged(world, &ages[1..]);
    let before = world.snapshot();
    let plan = prunes(world.run("prune").arg("--dry-run"), 0);
    assert_eq!(world.snapshot(), before);
    let pruned = prunes(world.run("prune"), 0);
    assert_eq!(said(&pruned, "deleted"), said(&plan, "deleted"));
    assert_eq!(said(&pruned, "archived"), said(&plan, "archived"));
    // The one of 400 days ago is too old for the archive as well.
    let wanted = months(&ages[..8]);
    assert_eq!(archived(&world).len(), wanted, "{}", pruned.all());
    assert_eq!(in_place(&world).len(), 3, "{}", pruned.all());
    pruned.assert_says("older than 30 d");
    let all = keys(&world);
    assert_whole(&all.iter().collect::<Vec<_>>());

    // The copies are the backups: byte for byte, by name, by time, and when nothing else is left.
    let old = stem(now() - days(130));
    let gone = archived(&world)
        .into_iter()
        .find(|stem| !all.contains(&format!("{}.manifest.json", &stem["archive/".len()..])))
        .expect("a month lies in the archive only");
    assert!(gone.len() == "archive/".len() + old.len());
    let archive = made
        .iter()
        .find(|(key, _)| key.ends_with(".sql.gz"))
        .unwrap()
        .1;
    let remote = world.remote.as_ref().unwrap();
    assert!(object(remote, &format!("{gone}.sql.gz")) == *archive);
    let plain = &gone["archive/".len()..];
    let time = plain.split_once("backup_").unwrap().1.replace('_', "T");
    let time = format!("{}T{}", &time[..10], time[11..].replace('-', ":"));
    for name in [format!("{gone}.sql.gz"), format!("{plain}.sql.gz"), time] {
        let verified = prunes(world.run("verify").arg(&name), 0);
        assert!(
            verified.screen().contains("the stored backup is whole"),
            "{}",
            verified.all()
        );
    }
    let show = world.run("show").arg(format!("{gone}.sql.gz")).end();
    assert_eq!(show.code, 0, "{}", show.all());
    let listed = world.run("list").args(&["--output", "json"]).end();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["stores"][0]["backups"].as_array().unwrap().len(), 3);
    assert_eq!(
        listed["stores"][0]["archived"].as_array().unwrap().len(),
        wanted
    );
    let latest = prunes(world.run("verify"), 0);
    assert_eq!(
        latest.report()["archive"]["key"],
        made.keys()
            .find(|key| key.ends_with(".sql.gz"))
            .unwrap()
            .as_str()
    );

    let again = prunes(world.run("prune"), 0);
    assert_eq!(
        said(&again, "deleted").len() + said(&again, "archived").len(),
        0,
        "{}",
        again.all()
    );
    assert_eq!(keys(&world), all);
}

#[test]
fn what_is_not_allowed_is_said_object_by_object() {
    let test = "prune-denied";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(world) = World::remote(test, cluster) else {
        return;
    };
    let (mut world, _) = aged(world, &[40, 41, 42, 75, 76]);
    let begun = in_place(&world);

    // No copy: the months stay where they are.
    let peer = world.peer();
    peer.inject(
        When::Target(Action::PutObject, "/archive/"),
        Fault::Forbidden403,
    );
    let ended = prunes(world.run("prune"), 1);
    ended.assert_says("could not copy");
    ended.assert_says("s3:GetObject and s3:PutObject");
    let left = in_place(&world);
    let first_of_each = months(&[0, 40, 41, 42, 75, 76]);
    assert!(left.len() >= first_of_each, "{}", ended.all());
    assert_eq!(archived(&world), [] as [String; 0]);
    assert_eq!(
        said(&ended, "trouble").len(),
        first_of_each,
        "{}",
        ended.all()
    );
    peer.heal();

    // No listing: nothing is known, nothing happens.
    let peer = world.peer();
    peer.inject(When::Every(Action::ListObjects), Fault::Forbidden403);
    let before = world.snapshot();
    let ended = prunes(world.run("prune").arg("--dry-run"), 1);
    ended.assert_says("s3:ListBucket");
    assert_eq!(world.snapshot(), before);
    peer.heal();

    // No deletion: a line for each, the gate passes all the same.
    let peer = world.peer();
    peer.inject(
        When::Target(Action::DeleteObject, "/backup_"),
        Fault::Forbidden403,
    );
    let ended = gates(&world, world.gate(), 0);
    assert_eq!(
        ended.check("retention-applied")["outcome"],
        "warned",
        "{}",
        ended.all()
    );
    ended.assert_says("could not delete s3://");
    ended.assert_says("s3:DeleteObject");
    let troubled = said(&ended, "trouble");
    assert!(!troubled.is_empty() && troubled.iter().all(|key| key.ends_with(".manifest.json")));
    assert_eq!(archived(&world).len(), first_of_each, "{}", ended.all());
    assert!(in_place(&world).len() > 2 && in_place(&world).len() <= begun.len() + 1);
    peer.heal();
    prunes(world.run("prune"), 0);
    assert_eq!(in_place(&world).len(), 2);
}

#[test]
fn a_copy_that_differs_does_not_count() {
    let test = "prune-differs";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(world) = World::remote(test, cluster) else {
        return;
    };
    let (world, _) = aged(world, &[40]);
    let all = in_place(&world);
    // Something of that name is there already, and is not the backup.
    let Remote { server, prefix, .. } = world.remote.as_ref().unwrap();
    let squatter = format!("{prefix}/archive/{}.sql.gz", stem(now() - days(40)));
    let old = all.iter().min().unwrap();
    let squatter = match squatter.contains(old.as_str()) {
        true => squatter,
        false => format!("{prefix}/archive/{old}.sql.gz"),
    };
    server.ask(|client| async move {
        put(&client, BUCKET, squatter, b"not a backup".to_vec()).await;
    });
    let ended = prunes(world.run("prune"), 1);
    ended.assert_says("has 12 bytes instead of");
    assert!(in_place(&world).contains(old), "{}", ended.all());
    assert!(
        !archived(&world)
            .iter()
            .any(|stem| stem.ends_with(old.as_str()))
    );
}

/// A deletion of a backup or a probe: the lock's old numbers are deleted too.
fn is_of_no_lock(seen: &&Seen) -> bool {
    seen.action == Action::DeleteObject && !seen.target.contains("/locks/")
}

#[test]
fn killed_between_any_two_deletions_the_next_run_is_consistent() {
    let test = "prune-killed";
    let Some(cluster) = sample(test) else {
        return;
    };
    let mut steps = 0;
    for step in 0.. {
        let Some(world) = World::remote(&format!("{test}-{step}"), cluster) else {
            return;
        };
        let (mut world, _) = aged(world, &[1, 40, 41, 42]);
        let peer = world.peer();
        // The probe of `prune` deletes once. From then on the store answers nothing any more.
        peer.inject(
            When::From(Action::DeleteObject, 1 + step),
            Fault::Forbidden403,
        );
        let broken = world.run("prune").end();
        let deletions = peer.seen().iter().filter(is_of_no_lock).count() - 1;
        peer.heal();
        let all = keys(&world);
        assert_whole(&all.iter().collect::<Vec<_>>());
        let mut listed = prunes(world.run("prune"), 0);
        assert_whole(&keys(&world).iter().collect::<Vec<_>>());
        assert_eq!(
            in_place(&world).len(),
            2,
            "{step}: {}\n{}",
            broken.all(),
            listed.all()
        );
        listed = prunes(world.run("prune"), 0);
        assert_eq!(said(&listed, "deleted"), [] as [String; 0]);
        if broken.code == 0 {
            steps = deletions;
            break;
        }
    }
    assert_eq!(steps, 9, "three backups of three objects");
}

#[test]
fn five_thousand_objects_are_listed_page_by_page() {
    let test = "prune-5000";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(world) = World::remote(test, cluster) else {
        return;
    };
    let (mut world, made) = aged(world, &[]);
    let Remote { server, prefix, .. } = world.remote.as_ref().unwrap();
    let server: &SeaweedFs = server;
    let mut objects: Vec<(String, Vec<u8>)> = Vec::new();
    for n in 0..1_250_i64 {
        let at = now() - SignedDuration::from_mins(n * 30 + 1);
        for (key, bytes) in backdated(&made, at, None) {
            objects.push((format!("{prefix}/{key}"), bytes));
        }
        objects.push((format!("{prefix}/zzz/foreign-{n}.txt"), b"x".to_vec()));
    }
    assert_eq!(objects.len(), 5_000);
    server.ask(|client| async move {
        let gate = Arc::new(tokio::sync::Semaphore::new(32));
        let mut tasks = tokio::task::JoinSet::new();
        for (key, bytes) in objects {
            let (client, gate) = (client.clone(), Arc::clone(&gate));
            tasks.spawn(async move {
                let _permit = gate.acquire().await;
                put(&client, BUCKET, key, bytes).await;
            });
        }
        while tasks.join_next().await.is_some() {}
    });
    let peer = world.peer();
    let begun = std::time::Instant::now();
    let ended = prunes(world.run("prune").arg("--dry-run"), 0);
    println!(
        "5,000 objects, 1,251 manifests: {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    assert!(peer.count(Action::ListObjects) >= 6, "pages of 1,000");
    let tiers = &ended.report()["retention"]["tiers"];
    let (kept, deleted) = (&tiers[0]["kept"], &tiers[0]["deleted"]);
    let (kept, deleted) = (kept.as_u64().unwrap(), deleted.as_u64().unwrap());
    assert_eq!(kept + deleted, 1_251, "{}", ended.all());
    assert_eq!(said(&ended, "deleted").len() as u64, deleted);
}

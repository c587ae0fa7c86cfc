//! What the gate stored is read by the other commands, from both stores, and damage is found.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy does not see as tests"
)]

use super::happy::{gunzip, restore};
use super::world::{PASSWORD, ROWS, World, backups, own, sample};
use crate::support::cluster::{Cluster, ClusterOptions};
use crate::support::peer::Seen;
use crate::support::run::{Ended, Run};
use serde_json::Value;
use std::path::Path;

/// Runs a command that has to work.
fn works(run: Run) -> Ended {
    let ended = run.end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    ended
}

/// How many bytes the requests for the object asked for.
fn bytes_read(seen: &[Seen], key: &str) -> u64 {
    seen.iter()
        .filter(|seen| seen.method == "GET" && seen.target.contains(key))
        .map(|seen| {
            let range = seen.range.as_deref().unwrap_or_default();
            let (first, last) = range
                .strip_prefix("bytes=")
                .unwrap()
                .split_once('-')
                .unwrap();
            last.parse::<u64>().unwrap() - first.parse::<u64>().unwrap() + 1
        })
        .sum()
}

#[test]
fn both_stores_can_be_listed_shown_verified_and_extracted() {
    let test = "readers";
    let Some(cluster) = own(test) else {
        return;
    };
    // Several members, so that one schema is a part of the archive.
    cluster.sample(10, 6000);
    let Some(mut world) = World::both(test, &cluster) else {
        return;
    };
    let ended = world.passes(world.gate());
    let key = ended.output("archive-key").to_owned();
    let archive = world.snapshot().local[&key].clone();
    let dump = gunzip(&archive);
    assert!(
        ended.report()["archive"]["members"].as_u64().unwrap() > 3,
        "{}",
        ended.all()
    );

    let peer = world.peer();
    let local_only = world.local.clone();
    let remote_only = world.remote.take();
    for remote in [false, true] {
        world.local = local_only.clone().filter(|_| !remote);
        if remote {
            world.remote = None;
        }
        let run = |name: &str| {
            let run = world.run(name);
            match (&remote_only, remote) {
                (Some(store), true) => run
                    .arg("--remote")
                    .arg(format!(
                        "s3://{}/{}",
                        crate::support::s3::BUCKET,
                        store.prefix
                    ))
                    .args(&["--s3-endpoint", &store.endpoint])
                    .env("AWS_REGION", "us-east-1")
                    .env("AWS_ACCESS_KEY_ID", crate::support::s3::ACCESS_KEY)
                    .env("AWS_SECRET_ACCESS_KEY", crate::support::s3::SECRET_KEY),
                _ => run,
            }
        };
        let verify = works(run("verify"));
        assert_eq!(verify.check("stored-readback")["outcome"], "passed");
        let list: Value =
            serde_json::from_slice(&works(run("list").args(&["--output", "json"])).stdout).unwrap();
        assert_eq!(list["stores"][0]["backups"][0]["key"], key);
        assert!(works(run("list")).screen().contains(&key));
        let show =
            works(run("show").args(&["--database", "nostromo", "--schema", "tenant_empresa_4"]));
        assert!(
            show.screen().contains("tenant_empresa_4")
                && !show.screen().contains("tenant_empresa_5")
        );

        // Everything, byte for byte.
        assert!(
            works(run("extract")).stdout == dump,
            "extract prints other bytes than the dump"
        );

        // One schema goes into an empty database.
        let before = bytes_read(&peer.seen(), &key);
        let schema = works(run("extract").args(&["--schema", "tenant_empresa_4"]));
        if remote {
            let read = bytes_read(&peer.seen(), &key) - before;
            assert!(
                read > 0 && read < archive.len() as u64 / 2,
                "{read} of {}",
                archive.len()
            );
        }
        let into = Cluster::start(ClusterOptions::default());
        into.psql("create role nostromo_app; create role nostromo_ro; create database one; create database all_of_it");
        restore(&into, "one", &schema.stdout, &["-1"]);
        let sum = "select count(*), sum(hashtext(a::text)) from tenant_empresa_4.audit_log a";
        assert_eq!(into.psql_in("one", sum), cluster.psql_in("nostromo", sum));
        let others = "select count(*) from pg_namespace where nspname like 'tenant%' or nspname in ('central', 'parametros')";
        assert_eq!(into.psql_in("one", others), "1");

        // One table, and one database.
        let table = works(run("extract").args(&[
            "--database",
            "nostromo",
            "--schema",
            "central",
            "--table",
            "tenants",
        ]));
        let table = String::from_utf8(table.stdout).unwrap();
        assert!(
            table.contains("COPY central.tenants") && !table.contains("COPY tenant_empresa"),
            "{table}"
        );
        let database = works(run("extract").args(&["--database", "nostromo"]));
        restore(&into, "all_of_it", &database.stdout, &["-1"]);
        assert_eq!(
            into.psql_in("all_of_it", sum),
            cluster.psql_in("nostromo", sum)
        );
    }
}

#[test]
fn what_is_not_there_is_said() {
    let Some(cluster) = sample("not there") else {
        return;
    };
    let world = World::local(cluster);
    // Nothing is there yet.
    for command in ["verify", "show", "extract"] {
        let ended = world.run(command).end();
        assert_eq!(ended.code, 3, "{}", ended.all());
        assert!(
            format!("{}{}", ended.screen(), ended.stderr).contains("there is no backup"),
            "{}",
            ended.all()
        );
    }
    world.passes(world.gate());
    for args in [
        &["--schema", "tenant_empresa_99"][..],
        &["2020-01-01T00:00:00Z"],
        &["--database", "nowhere"],
    ] {
        let ended = world.run("extract").args(args).end();
        assert_ne!(ended.code, 0, "{}", ended.all());
        assert!(ended.stdout.is_empty(), "{}", ended.all());
        assert!(ended.stderr.contains("Hint: "), "{}", ended.all());
    }
}

fn damaged(world: &World, path: &Path, bytes: &[u8], says: &str) {
    let good = std::fs::read(path).unwrap();
    std::fs::write(path, bytes).unwrap();
    let ended = world.run("verify").end();
    assert_eq!(ended.code, 1, "{}", ended.all());
    ended.assert_says(says);
    std::fs::write(path, good).unwrap();
}

#[test]
fn damage_is_found_and_placed() {
    let Some(cluster) = sample("damage") else {
        return;
    };
    let world = World::local(cluster);
    let ended = world.passes(world.gate());
    let path = world
        .local
        .as_ref()
        .unwrap()
        .join(ended.output("archive-key"));
    let good = std::fs::read(&path).unwrap();

    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    damaged(&world, &path, &flipped, "member 0");
    // The time of the gzip header: gzip itself does not mind.
    let mut flipped = good.clone();
    flipped[4] ^= 1;
    damaged(&world, &path, &flipped, "archive");
    damaged(&world, &path, &good[..good.len() - 9], "instead of");
    damaged(&world, &path, &[], "instead of");
    damaged(&world, &path, &[&good[..], b"\0"].concat(), "instead of");
    works(world.run("verify"));

    // As a bare file it has only itself to be compared with.
    let run = || Run::new("verify").env("GITHUB_ACTIONS", "false");
    works(run().arg(&path));
    let bare = world.local.as_ref().unwrap().join("bare.sql.gz");
    let dump = gunzip(&good);
    let cut = &dump[..dump.len() - 60];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, cut).unwrap();
    for bytes in [
        gzip.finish().unwrap(),
        good[..good.len() / 2].to_vec(),
        dump[..1000].to_vec(),
    ] {
        std::fs::write(&bare, bytes).unwrap();
        let ended = run().arg(&bare).end();
        assert_eq!(ended.code, 1, "{}", ended.all());
    }
}

#[test]
fn only_a_manifest_makes_a_backup() {
    let Some(cluster) = sample("manifest") else {
        return;
    };
    let world = World::local(cluster);
    let ended = world.passes(world.gate());
    let key = ended.output("archive-key").to_owned();
    let store = world.local.as_ref().unwrap();
    let manifest = store.join(ended.output("manifest-key"));
    assert_eq!(backups(&world), [key.as_str()]);
    assert_eq!(
        ended.report()["archive"]["rows"],
        u64::from(3 * (1 + 3 * ROWS) + 2)
    );

    // An archive beside it that has none.
    let other = store.join("2020-01/backup_2020-01-01_00-00-00Z.sql.gz");
    std::fs::create_dir_all(other.parent().unwrap()).unwrap();
    std::fs::copy(store.join(&key), &other).unwrap();
    assert_eq!(backups(&world), [key.as_str()]);
    let list = works(world.run("list"));
    assert!(
        list.screen().contains("1 archive without a manifest"),
        "{}",
        list.all()
    );
    let ended = world.run("verify").arg("2020-01-01T00:00:00Z").end();
    assert_eq!(ended.code, 3, "{}", ended.all());

    // A manifest that is damaged, or of a later format.
    let good = std::fs::read(&manifest).unwrap();
    let newer =
        String::from_utf8(good.clone())
            .unwrap()
            .replacen("\"format\": 1", "\"format\": 2", 1);
    for bad in [&good[..good.len() / 2], newer.as_bytes(), b"{}", b""] {
        std::fs::write(&manifest, bad).unwrap();
        assert!(backups(&world).is_empty());
        assert!(
            works(world.run("list"))
                .stderr
                .contains("is not counted as a backup")
        );
        assert_eq!(world.run("verify").end().code, 3);
    }
    // It may be all that there is to compare with; then the next gate has to be told to go on.
    let next = world.start(world.gate()).going.end();
    assert_eq!(next.code, 3, "{}", next.all());
    world.passes(world.gate().args(&["--check", "size-shrink=warn"]));
    assert_eq!(backups(&world).len(), 1);
    let text = std::fs::read(&manifest).unwrap();
    assert!(!String::from_utf8_lossy(&text).contains(PASSWORD));
}

#[test]
fn a_damaged_newest_manifest_is_said_and_never_passed_over() {
    let test = "damaged newest";
    let Some(cluster) = sample(test) else {
        return;
    };
    let world = World::local(cluster);
    world.passes(world.gate());
    // Backups are named by the second.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let newest = world.passes(world.gate());
    let manifest = world
        .local
        .clone()
        .unwrap()
        .join(newest.output("manifest-key"));
    std::fs::write(&manifest, "{}").unwrap();
    for command in ["verify", "show", "extract"] {
        let ended = world.run(command).end();
        assert_eq!(ended.code, 3, "{command}: {}", ended.all());
        let said = ended.all();
        assert!(said.contains("could not use the newest manifest"), "{said}");
    }
    let list = works(world.run("list"));
    assert!(
        list.stderr.contains("is not counted as a backup"),
        "{}",
        list.all()
    );
}

#[test]
fn a_file_called_latest_is_not_the_latest_backup() {
    let test = "file called latest";
    let Some(cluster) = sample(test) else {
        return;
    };
    let world = World::local(cluster);
    let ended = world.passes(world.gate());
    let archive = world
        .local
        .clone()
        .unwrap()
        .join(ended.output("archive-key"));
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(&archive, dir.path().join("latest")).unwrap();
    let mut bytes = std::fs::read(&archive).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&archive, &bytes).unwrap();
    let verify = world.run("verify").at(dir.path()).end();
    assert_eq!(verify.code, 1, "{}", verify.all());
}

#[test]
fn an_ordinary_gzip_of_a_large_dump_verifies() {
    let test = "ordinary gzip";
    let Some(cluster) = own(test) else {
        return;
    };
    cluster.sample(10, 6000);
    let world = World::local(&cluster);
    let ended = world.passes(world.gate());
    let archive = std::fs::read(
        world
            .local
            .clone()
            .unwrap()
            .join(ended.output("archive-key")),
    )
    .unwrap();
    let dump = gunzip(&archive);
    assert!(dump.len() > 2_000_000, "{}", dump.len());
    let dir = tempfile::tempdir().unwrap();
    let check = |name: &str, bytes: &[u8]| {
        let file = dir.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        Run::new("verify").arg(file.to_str().unwrap()).end()
    };
    let gzip = |bytes: &[u8]| {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let whole = gzip(&dump);
    assert_eq!(check("whole.sql.gz", &whole).code, 0);
    let cut = check("cut.sql.gz", &gzip(&dump[..dump.len() / 2]));
    assert_eq!(cut.code, 1, "{}", cut.all());
    let twice = check("twice.sql.gz", &[whole.clone(), whole].concat());
    assert_eq!(twice.code, 1, "{}", twice.all());
}

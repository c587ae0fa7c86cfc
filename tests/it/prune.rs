//! Retention in real stores: what `prune` and the gate delete, archive, keep, and say.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy does not see as tests"
)]

mod buckets;
mod guards;
mod local;
mod remote;

use crate::gate::world::{Remote, World, object};
use crate::support::run::{Ended, Run};
use crate::support::s3::BUCKET;
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The three objects of a backup, by their keys.
type Objects = BTreeMap<String, Vec<u8>>;

fn now() -> Timestamp {
    Timestamp::now()
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

/// `2026-01/backup_2026-01-18_02-00-01Z`
fn stem(at: Timestamp) -> String {
    at.strftime("%Y-%m/backup_%Y-%m-%d_%H-%M-%SZ").to_string()
}

/// A real backup as it would be if it had been made at another time, and of another cluster.
fn backdated(backup: &Objects, at: Timestamp, cluster: Option<&str>) -> Objects {
    let new = stem(at);
    let mut moved = Objects::new();
    for (key, bytes) in backup {
        let (_, suffix) = key.split_once("Z.").expect("a key of a backup");
        let mut bytes = bytes.clone();
        if suffix == "manifest.json" {
            let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
            for (field, suffix) in [("archive_key", "sql.gz"), ("index_key", "index.json.gz")] {
                manifest[field] = format!("{new}.{suffix}").into();
            }
            manifest["archive"]["key"] = format!("{new}.sql.gz").into();
            manifest["started_at"] = at.to_string().into();
            manifest["finished_at"] = (at + SignedDuration::from_secs(30)).to_string().into();
            if let Some(cluster) = cluster {
                manifest["source"]["cluster"] = cluster.into();
                manifest["source"]["system_identifier"] = format!("id-of-{cluster}").into();
            }
            bytes = serde_json::to_vec_pretty(&manifest).unwrap();
        }
        moved.insert(format!("{new}.{suffix}"), bytes);
    }
    moved
}

/// Whether it is a backup's object, outside of the archive tier.
fn is_part(key: &str) -> bool {
    key.contains("/backup_") && !key.starts_with("archive/")
}

fn write(root: &Path, objects: &Objects) {
    for (key, bytes) in objects {
        let path = root.join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// The backup that the last gate left in the directory.
fn made_locally(world: &World) -> Objects {
    let all = world.snapshot().local;
    all.into_iter().filter(|(key, _)| is_part(key)).collect()
}

/// The same in the bucket.
fn made_remotely(world: &World) -> Objects {
    let remote = world.remote.as_ref().unwrap();
    let keys = world.snapshot().remote;
    keys.keys()
        .filter(|key| is_part(key))
        .map(|key| (key.clone(), object(remote, key)))
        .collect()
}

/// A world whose directory holds a backup of today, and older ones of these ages in days.
fn aged<'a>(world: World<'a>, ages: &[i64]) -> (World<'a>, Objects) {
    world.passes(world.gate().args(&["--retention-mode", "off"]));
    let made = made_locally(&world);
    for age in ages {
        let old = backdated(&made, now() - days(*age), None);
        write(world.local.as_ref().unwrap(), &old);
    }
    (world, made)
}

async fn put(client: &Client, bucket: &str, key: String, bytes: Vec<u8>) {
    let put = client.put_object().bucket(bucket).key(key);
    let put = put
        .metadata("backup-action-write", "of a test")
        .body(ByteStream::from(bytes));
    put.send().await.expect("the server stores");
}

/// Puts backups of these ages into the bucket, as if gates had made them.
fn age_remote(world: &World, made: &Objects, at: &[Timestamp]) {
    let Remote { server, prefix, .. } = world.remote.as_ref().unwrap();
    let all: Vec<Objects> = at.iter().map(|at| backdated(made, *at, None)).collect();
    server.ask(|client| async move {
        for (key, bytes) in all.into_iter().flatten() {
            put(&client, BUCKET, format!("{prefix}/{key}"), bytes).await;
        }
    });
}

/// The stems of the backups that have a manifest, of keys.
fn backups<'a>(keys: impl Iterator<Item = &'a String>) -> Vec<String> {
    keys.filter_map(|key| key.strip_suffix(".manifest.json"))
        .map(str::to_owned)
        .collect()
}

/// What has a manifest is whole, wherever a run ended.
fn assert_whole(keys: &[&String]) {
    for key in keys {
        if let Some(stem) = key.strip_suffix(".manifest.json") {
            for suffix in ["sql.gz", "index.json.gz"] {
                let part = format!("{stem}.{suffix}");
                assert!(keys.contains(&&part), "{key} without {part}");
            }
        }
    }
}

fn prunes(run: Run, code: i32) -> Ended {
    let ended = run.end();
    assert_eq!(ended.code, code, "{}", ended.all());
    ended
}

/// A gate, in another second than the run before it.
fn gates(world: &World, run: Run, code: i32) -> Ended {
    let ended = world.start(run).going.end();
    assert_eq!(ended.code, code, "{}", ended.all());
    ended
}

/// The keys that the report says this of.
fn said(ended: &Ended, action: &str) -> Vec<String> {
    let objects = ended.report()["retention"]["objects"].as_array().unwrap();
    objects
        .iter()
        .filter(|line| line["action"] == action)
        .map(|line| line["key"].as_str().unwrap().to_owned())
        .collect()
}

//! Versions, object lock, tags and lifecycle rules: moto, which has them.

use super::*;
use crate::gate::world::sample;
use crate::support::moto::Moto;
use crate::support::peer::{Action as PeerAction, Fault, Peer, When};
use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketVersioningStatus,
    ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleAndOperator,
    LifecycleRuleFilter, NoncurrentVersionExpiration, ObjectLockRetention, ObjectLockRetentionMode,
    Tag, VersioningConfiguration,
};

/// A bucket of moto with backups of these ages, of which the oldest has not yet any manifest.
struct Shelf {
    moto: &'static Moto,
    endpoint: String,
    bucket: String,
}

impl Shelf {
    fn new(moto: &'static Moto, bucket: &str, lock: bool) -> Shelf {
        let name = bucket.to_owned();
        moto.ask(|client| async move {
            let create = client.create_bucket().bucket(&name);
            let create = create.object_lock_enabled_for_bucket(lock);
            create.send().await.expect("a bucket");
        });
        Shelf::at(moto, bucket)
    }

    fn at(moto: &'static Moto, bucket: &str) -> Shelf {
        Shelf {
            moto,
            endpoint: moto.endpoint(),
            bucket: bucket.to_owned(),
        }
    }

    fn run(&self, name: &str) -> Run {
        Run::new(name)
            .arg("--remote")
            .arg(format!("s3://{}/production", self.bucket))
            .args(&["--s3-endpoint", &self.endpoint])
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "any")
            .env("AWS_SECRET_ACCESS_KEY", "any")
    }

    /// Puts backups of these ages, made from one of `world`.
    fn fill(&self, world: &World, ages: &[i64]) -> Vec<String> {
        world.passes(world.gate().args(&["--retention-mode", "off"]));
        let made = made_locally(world);
        let mut stems = Vec::new();
        for age in ages {
            let at = now() - days(*age);
            stems.push(stem(at));
            let objects = backdated(&made, at, None);
            let bucket = self.bucket.clone();
            self.moto.ask(|client| async move {
                for (key, bytes) in objects {
                    put(&client, &bucket, format!("production/{key}"), bytes).await;
                }
            });
        }
        stems
    }

    fn stems(&self) -> Vec<String> {
        let bucket = self.bucket.clone();
        let keys = self.moto.ask(|client| async move {
            let listing = client
                .list_objects_v2()
                .bucket(bucket)
                .send()
                .await
                .unwrap();
            let keys = listing.contents().iter().filter_map(|object| object.key());
            keys.map(|key| key["production/".len()..].to_owned())
                .collect::<Vec<_>>()
        });
        assert_whole(&keys.iter().collect::<Vec<_>>());
        backups(keys.iter())
    }
}

#[test]
fn locked_backups_are_kept_until_their_date_and_versions_are_named() {
    let test = "prune-lock";
    let (Some(cluster), Some(moto)) = (sample(test), Moto::start(test)) else {
        return;
    };
    let shelf = Shelf::new(moto, "locked", true);
    let world = World::local(cluster);
    let stems = shelf.fill(&world, &[1, 2, 40, 41, 42]);
    let until = now() + days(9);
    let (bucket, key) = (
        shelf.bucket.clone(),
        format!("production/{}.sql.gz", stems[4]),
    );
    moto.ask(|client| async move {
        let retention = ObjectLockRetention::builder()
            .mode(ObjectLockRetentionMode::Compliance)
            .retain_until_date(aws_sdk_s3::primitives::DateTime::from_secs(
                until.as_second(),
            ))
            .build();
        let lock = client.put_object_retention().bucket(bucket).key(key);
        lock.retention(retention).send().await.expect("a lock");
    });
    let off = ["--retention-archive", "off"];
    let ended = prunes(shelf.run("prune").args(&off), 0);
    let date = until.strftime("%Y-%m-%d").to_string();
    ended.assert_says(&format!("object lock keeps it until {date}"));
    assert_eq!(said(&ended, "held"), [format!("{}.sql.gz", stems[4])]);
    ended.assert_says("deleted 2 (remote, older than 30 d)");
    ended.assert_says("NoncurrentVersionExpiration");
    assert_eq!(shelf.stems().len(), 3);
    // Delete markers do not confuse the next run.
    let again = prunes(shelf.run("prune").args(&off), 0);
    assert_eq!(said(&again, "deleted"), [] as [String; 0]);
    assert_eq!(shelf.stems().len(), 3);
    let listed = shelf.run("list").args(&["--output", "json"]).end();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["stores"][0]["backups"].as_array().unwrap().len(), 3);
}

#[test]
fn a_class_that_the_store_does_not_know_is_left_out_and_said() {
    let test = "prune-class";
    let (Some(cluster), Some(moto)) = (sample(test), Moto::start(test)) else {
        return;
    };
    let shelf = Shelf::new(moto, "classes", false);
    let world = World::local(cluster);
    let stems = shelf.fill(&world, &[1]);
    let class = |archive: &str| {
        let (bucket, key) = (
            shelf.bucket.clone(),
            format!("production/archive/{archive}"),
        );
        moto.ask(|client| async move {
            let head = client.head_object().bucket(bucket).key(key).send().await;
            head.expect("the copy")
                .storage_class()
                .map(|class| class.as_str().to_owned())
        })
    };
    let ended = prunes(
        shelf
            .run("prune")
            .args(&["--retention-archive-class", "ICE_COLD"]),
        0,
    );
    ended.assert_says("the store knows no storage class ICE_COLD");
    assert_eq!(class(&format!("{}.sql.gz", stems[0])), None);
    let shelf2 = Shelf::new(moto, "classes2", false);
    let stems = shelf2.fill(&world, &[1]);
    prunes(shelf2.run("prune"), 0);
    let (bucket, key) = (shelf2.bucket.clone(), stems[0].clone());
    let classes = moto.ask(|client| async move {
        let mut classes = Vec::new();
        for suffix in ["sql.gz", "index.json.gz", "manifest.json"] {
            let key = format!("production/archive/{key}.{suffix}");
            let head = client.head_object().bucket(&bucket).key(key).send().await;
            let class = head.expect("the copy").storage_class().cloned();
            classes.push(class.map(|class| class.as_str().to_owned()));
        }
        classes
    });
    assert_eq!(classes, [Some("GLACIER_IR".to_owned()), None, None]);
}

#[test]
fn by_another_clock_than_the_stores_nothing_is_deleted() {
    let test = "prune-clock";
    let (Some(cluster), Some(moto)) = (sample(test), Moto::start(test)) else {
        return;
    };
    let shelf = Shelf::new(moto, "clock", false);
    let world = World::local(cluster);
    shelf.fill(&world, &[1, 2, 40, 41, 42]);
    let before = shelf.stems();
    // The store says another time than this machine.
    let peer = Peer::start(moto.address());
    peer.inject(When::Always, Fault::Date("Mon, 01 Jan 2024 00:00:00 GMT"));
    let behind = Shelf {
        endpoint: peer.endpoint(),
        ..Shelf::at(moto, &shelf.bucket)
    };
    let ended = prunes(behind.run("prune"), 1);
    ended.assert_says("clock untrusted: this machine and the store are");
    assert_eq!(shelf.stems(), before, "{}", ended.all());
    let doctor = behind.run("doctor").end();
    assert!(
        doctor.screen().contains("this machine and the store are"),
        "{}",
        doctor.all()
    );
    prunes(shelf.run("prune"), 0);
    assert!(shelf.stems().len() < before.len() + 2);
}

#[test]
fn where_the_bucket_deletes_the_tool_tags_and_copies() {
    let test = "prune-lifecycle";
    let (Some(cluster), Some(moto)) = (sample(test), Moto::start(test)) else {
        return;
    };
    let shelf = Shelf::new(moto, "lifecycle", false);
    let world = World::local(cluster);
    let stems = shelf.fill(&world, &[1, 2, 3, 40]);
    let before = shelf.stems().len();
    let mode = ["--retention-mode", "lifecycle"];
    let ended = prunes(shelf.run("prune").args(&mode), 0);
    ended.assert_says("the bucket's lifecycle rules delete");
    assert_eq!(said(&ended, "deleted"), [] as [String; 0]);
    let copies = said(&ended, "archived").len();
    assert!(copies >= 1);
    assert_eq!(shelf.stems().len(), before + copies);
    let tags = |key: &str| {
        let (bucket, key) = (shelf.bucket.clone(), key.to_owned());
        moto.ask(|client| async move {
            let mut tags = Vec::new();
            for suffix in ["sql.gz", "index.json.gz", "manifest.json"] {
                let ask = client.get_object_tagging().bucket(&bucket);
                let set = ask.key(format!("production/{key}.{suffix}")).send().await;
                let set = set.expect("tags");
                let set = set.tag_set().iter();
                tags.push(set.map(|t| format!("{}={}", t.key(), t.value())).collect());
            }
            let tags: Vec<String> = tags;
            assert!(tags.iter().all(|tag| *tag == tags[0]), "{tags:?}");
            tags[0].clone()
        })
    };
    // The newest stay whatever a rule says, until newer ones come.
    assert_eq!(tags(&stems[0]), "tier=keep");
    assert_eq!(tags(&stems[1]), "tier=keep");
    assert_eq!(tags(&stems[2]), "tier=daily");
    assert_eq!(tags(&stems[3]), "tier=daily");
    for copy in said(&ended, "archived") {
        assert_eq!(tags(copy.trim_end_matches(".sql.gz")), "tier=keep");
    }
    let fresh = shelf.fill(&world, &[0, 70, 100]);
    prunes(shelf.run("prune").args(&mode), 0);
    assert_eq!(tags(&fresh[0]), "tier=keep");
    assert_eq!(tags(&stems[0]), "tier=keep");
    assert_eq!(tags(&stems[1]), "tier=daily");
    let oldest = format!("archive/{}", fresh[2]);
    assert_eq!(tags(&oldest), "tier=archive");

    // A month whose copy fails stays, though it is too old.
    let unarchived = shelf.fill(&world, &[150]);
    let peer = Peer::start(moto.address());
    peer.inject(
        When::Target(PeerAction::PutObject, "/archive/"),
        Fault::Forbidden403,
    );
    let broken = Shelf {
        endpoint: peer.endpoint(),
        ..Shelf::at(moto, &shelf.bucket)
    };
    prunes(broken.run("prune").args(&mode), 1);
    assert_eq!(tags(&unarchived[0]), "tier=keep");
    // By a wrong clock nothing gets any nearer to its end.
    let peer = Peer::start(moto.address());
    peer.inject(When::Always, Fault::Date("Mon, 01 Jan 2024 00:00:00 GMT"));
    let behind = Shelf {
        endpoint: peer.endpoint(),
        ..Shelf::at(moto, &shelf.bucket)
    };
    prunes(behind.run("prune").args(&mode), 1);
    assert_eq!(tags(&stems[1]), "tier=keep");
    assert_eq!(tags(&oldest), "tier=keep");
    prunes(shelf.run("prune").args(&mode), 0);
    assert_eq!(tags(&stems[1]), "tier=daily");
    assert_eq!(tags(&unarchived[0]), "tier=daily");
}

/// The rules of the doctor's JSON, as the SDK takes them.
fn rules(configuration: &Value) -> Vec<LifecycleRule> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let days = |value: &Value| value.as_i64().map(|days| i32::try_from(days).unwrap());
    configuration["Rules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| {
            let filter = &rule["Filter"];
            let filter = match filter["And"].is_null() {
                true => LifecycleRuleFilter::builder().prefix(text(&filter["Prefix"])),
                false => {
                    let tag = &filter["And"]["Tags"][0];
                    let tag = Tag::builder()
                        .key(text(&tag["Key"]))
                        .value(text(&tag["Value"]));
                    LifecycleRuleFilter::builder().and(
                        LifecycleRuleAndOperator::builder()
                            .prefix(text(&filter["And"]["Prefix"]))
                            .tags(tag.build().unwrap())
                            .build(),
                    )
                }
            };
            let abort = days(&rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]);
            let noncurrent = days(&rule["NoncurrentVersionExpiration"]["NoncurrentDays"]);
            let expire = days(&rule["Expiration"]["Days"]);
            LifecycleRule::builder()
                .id(text(&rule["ID"]))
                .status(ExpirationStatus::Enabled)
                .filter(filter.build())
                .set_abort_incomplete_multipart_upload(abort.map(|days| {
                    AbortIncompleteMultipartUpload::builder()
                        .days_after_initiation(days)
                        .build()
                }))
                .set_noncurrent_version_expiration(noncurrent.map(|days| {
                    NoncurrentVersionExpiration::builder()
                        .noncurrent_days(days)
                        .build()
                }))
                .set_expiration(
                    expire.map(|days| LifecycleExpiration::builder().days(days).build()),
                )
                .build()
                .unwrap()
        })
        .collect()
}

#[test]
fn the_doctor_prints_the_rules_and_sees_that_they_are_there() {
    let test = "doctor";
    let Some(moto) = Moto::start(test) else {
        return;
    };
    // The root of this answer has a name of moto's own, which no client of S3 understands.
    let peer = Peer::start(moto.address());
    peer.inject(
        When::Always,
        Fault::Word("GetBucketVersioningResponse", "VersioningConfiguration"),
    );
    let endpoint = peer.endpoint();
    for (mode, versions, count) in [("tool", false, 1), ("lifecycle", true, 5)] {
        let shelf = Shelf {
            endpoint: endpoint.clone(),
            ..Shelf::new(moto, &format!("doctor-{mode}"), false)
        };
        if versions {
            let bucket = shelf.bucket.clone();
            moto.ask(|client| async move {
                let on = VersioningConfiguration::builder()
                    .status(BucketVersioningStatus::Enabled)
                    .build();
                let put = client.put_bucket_versioning().bucket(bucket);
                put.versioning_configuration(on)
                    .send()
                    .await
                    .expect("versions");
            });
        }
        let doctor = || {
            let run = shelf
                .run("doctor")
                .args(&["--retention-mode", mode, "--output", "json"]);
            let ended = run.end();
            let said: Value = serde_json::from_slice(&ended.stdout).unwrap();
            (ended.code, said)
        };
        let finding = |said: &Value, id: &str| {
            let findings = said["findings"].as_array().unwrap();
            findings
                .iter()
                .find(|finding| finding["id"] == id)
                .cloned()
                .unwrap_or(Value::Null)
        };
        let (code, said) = doctor();
        assert_eq!(code, 1, "{said:#}");
        assert_eq!(
            finding(&said, "lifecycle-rules")["level"],
            "fix",
            "{said:#}"
        );
        let on = finding(&said, "versioning")["found"]
            .as_str()
            .unwrap()
            .starts_with("on");
        assert_eq!(on, versions, "{said:#}");
        let printed = rules(&said["lifecycle"][0]["configuration"]);
        assert_eq!(printed.len(), count, "{said:#}");
        let put_rules = |rules: Vec<LifecycleRule>| {
            let bucket = shelf.bucket.clone();
            moto.ask(|client| async move {
                let configuration = BucketLifecycleConfiguration::builder().set_rules(Some(rules));
                let put = client.put_bucket_lifecycle_configuration().bucket(bucket);
                let put = put.lifecycle_configuration(configuration.build().unwrap());
                put.send().await.expect("the rules");
            });
        };
        put_rules(printed.clone());
        let (code, said) = doctor();
        assert_eq!(code, 0, "{said:#}");
        assert_eq!(
            finding(&said, "lifecycle-rules")["level"],
            "good",
            "{said:#}"
        );
        // One that deletes the newest backup as well.
        let everything = LifecycleRule::builder()
            .id("clean up")
            .status(ExpirationStatus::Enabled)
            .filter(LifecycleRuleFilter::builder().prefix("production/").build())
            .expiration(LifecycleExpiration::builder().days(30).build());
        put_rules([printed, vec![everything.build().unwrap()]].concat());
        let (code, said) = doctor();
        assert_eq!(code, 1, "{said:#}");
        let found = finding(&said, "lifecycle-expiry");
        assert!(
            found["found"]
                .as_str()
                .unwrap()
                .contains("the newest backup as well"),
            "{said:#}"
        );
    }
    let shelf = Shelf {
        endpoint,
        ..Shelf::new(moto, "doctor-text", false)
    };
    let text = shelf.run("doctor").end();
    assert_eq!(text.code, 1, "{}", text.all());
    for words in [
        "aws s3api put-bucket-lifecycle-configuration --bucket doctor-text",
        "Something to change.",
    ] {
        assert!(text.screen().contains(words), "{}", text.all());
    }
    let none = Shelf::at(moto, "doctor-missing");
    let ended = none.run("doctor").end();
    assert_eq!(ended.code, 3, "{}", ended.all());
}

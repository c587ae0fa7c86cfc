//! Stores that cannot be reached, say no, are taken, or fail half-way while the other one works.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy does not see as tests"
)]

use super::world::{Snapshot, World, assert_closed, backups, sample};
use crate::support::peer::{Action, Fault, When};
use crate::support::s3::{READER_ACCESS_KEY, READER_SECRET_KEY};
use jiff::{Timestamp, ToSpan};

#[test]
fn a_store_that_cannot_be_reached_closes_the_gate() {
    let test = "unreachable";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(mut world) = World::both(test, cluster) else {
        return;
    };
    // Nobody listens there any more.
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", socket.local_addr().unwrap());
    drop(socket);
    let good = std::mem::replace(&mut world.remote.as_mut().unwrap().endpoint, endpoint);
    let ended = world.closes(world.gate(), 3, &["store-writable"]);
    assert!(ended.seconds < 60.0, "{}", ended.all());
    world.remote.as_mut().unwrap().endpoint = good;
    world.passes(world.gate());
}

#[test]
fn a_store_that_says_no_closes_the_gate() {
    let test = "denied";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(world) = World::both(test, cluster) else {
        return;
    };
    let wrong = world
        .gate()
        .secret_env("AWS_SECRET_ACCESS_KEY", "c4n/ary+key", "c4n/ary+key");
    world.closes(wrong, 3, &["store-writable"]);
    let nobody = world.gate().env("AWS_ACCESS_KEY_ID", "nobody");
    world.closes(nobody, 3, &["store-writable"]);
    let reader = world
        .gate()
        .env("AWS_ACCESS_KEY_ID", READER_ACCESS_KEY)
        .secret_env(
            "AWS_SECRET_ACCESS_KEY",
            READER_SECRET_KEY,
            READER_SECRET_KEY,
        );
    world.closes(reader, 1, &["store-writable", "s3:PutObject"]);
}

#[test]
fn a_bucket_that_does_not_exist_closes_the_gate_and_is_not_made() {
    let test = "no-bucket";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(world) = World::both(test, cluster) else {
        return;
    };
    let remote = world.remote.as_ref().unwrap();
    let mut local = World::local(cluster);
    local.local = world.local.clone();
    let gate = local
        .gate()
        .args(&[
            "--remote",
            "s3://no-such-bucket/x",
            "--s3-endpoint",
            &remote.endpoint,
        ])
        .env("AWS_ACCESS_KEY_ID", crate::support::s3::ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", crate::support::s3::SECRET_KEY);
    local.closes(gate, 1, &["store-writable", "no-such-bucket"]);
    assert!(!remote.server.has_bucket("no-such-bucket"));
}

#[test]
fn a_name_that_is_taken_closes_the_gate() {
    let test = "taken";
    let Some(cluster) = sample(test) else {
        return;
    };
    let world = World::local(cluster);
    let store = world.local.clone().unwrap();
    for suffix in [".sql.gz", ".manifest.json", ".sql.gz.partial"] {
        // Whatever second the run starts in.
        let now = Timestamp::now();
        for second in 0..20 {
            let time = now + second.seconds();
            let path =
                store.join(time.strftime("%Y-%m/backup_%Y-%m-%d_%H-%M-%SZ").to_string() + suffix);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "somebody else's").unwrap();
        }
        let code = if suffix == ".sql.gz.partial" { 3 } else { 1 };
        let watched = world.start(world.gate());
        let before = watched.before.clone();
        let ended = watched.going.end();
        assert_eq!(ended.code, code, "{}", ended.all());
        let after = world.after_failure(&before, &ended);
        assert_eq!(after, before, "{}", ended.all());
        ended.assert_says("backup_");
        assert!(ended.has_hint(), "{}", ended.all());
        std::fs::remove_dir_all(&store).unwrap();
    }
}

#[test]
fn of_two_gates_at_once_none_spoils_the_other() {
    let test = "race";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(world) = World::both(test, cluster) else {
        return;
    };
    for _ in 0..3 {
        let before = backups_or_none(&world);
        let first = world.start(world.gate());
        // Not through the world, which would wait for another second.
        let second = world.gate().start();
        let ended = [first.going.end(), second.end()];
        let passed = ended.iter().filter(|run| run.code == 0).count();
        for run in ended.iter().filter(|run| run.code != 0) {
            assert!(matches!(run.code, 1 | 3), "{}", run.all());
            assert!(run.has_hint(), "{}", run.all());
        }
        assert!(passed > 0, "{}\n{}", ended[0].all(), ended[1].all());
        let snapshot = world.snapshot();
        assert_eq!(backups_or_none(&world), before + passed);
        let manifests = |keys: Vec<&str>| keys.len();
        assert_eq!(
            manifests(snapshot.ending(".manifest.json")),
            2 * (before + passed)
        );
        assert_eq!(
            manifests(snapshot.ending(".sql.gz")),
            2 * (before + passed),
            "{snapshot:?}"
        );
        assert!(snapshot.uploads.is_empty() && snapshot.ending(".partial").is_empty());
        let verify = world.run("verify").end();
        assert_eq!(verify.code, 0, "{}", verify.all());
    }
}

fn backups_or_none(world: &World) -> usize {
    match world.local.as_ref().unwrap().is_dir() {
        true => backups(world).len(),
        false => 0,
    }
}

#[test]
fn one_store_that_fails_does_not_spoil_the_other() {
    use Action::{GetObject, PutObject};
    let test = "one-of-two";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(mut world) = World::both(test, cluster) else {
        return;
    };
    let peer = world.peer();
    for (when, fault, says) in [
        (
            When::Target(PutObject, ".sql.gz"),
            Fault::Forbidden403,
            "s3:PutObject",
        ),
        (
            When::Target(PutObject, ".sql.gz"),
            Fault::WrongDigest,
            "s3://",
        ),
        (
            When::Target(GetObject, ".sql.gz"),
            Fault::WrongDigest,
            "member 0",
        ),
        (
            When::Target(GetObject, ".sql.gz"),
            Fault::TruncatedBody,
            "s3://",
        ),
        (
            When::Target(GetObject, ".sql.gz"),
            Fault::NotFound404,
            "s3://",
        ),
        (
            When::Target(PutObject, ".index.json.gz"),
            Fault::Forbidden403,
            "could not store the index",
        ),
        (
            When::Target(PutObject, ".manifest.json"),
            Fault::Forbidden403,
            "could not store the manifest",
        ),
        (
            When::Target(GetObject, ".manifest.json"),
            Fault::WrongDigest,
            "manifest",
        ),
    ] {
        peer.heal();
        peer.inject(when, fault);
        let before = world.snapshot();
        let ended = world.start(world.gate()).going.end();
        assert_eq!(ended.code, 1, "{when:?} {fault:?}: {}", ended.all());
        let after = world.after_failure(&before, &ended);
        assert_eq!(
            after.remote,
            before.remote,
            "{when:?} {fault:?}: {}",
            ended.all()
        );
        assert!(after.uploads.is_empty(), "{}", ended.all());
        assert_closed(&world, &ended, &[says]);
        // The copy that was verified is there, is said, and is good; there is no receipt of a pass.
        let manifests = |s: &super::world::Snapshot| {
            s.local
                .keys()
                .filter(|k| k.ends_with(".manifest.json"))
                .count()
        };
        assert_eq!(manifests(&after), manifests(&before) + 1, "{}", ended.all());
        assert!(
            !after.local.keys().any(|key| key.contains("Z_passed")),
            "{}",
            ended.all()
        );
        let published: Vec<_> = ended.report()["copies"]
            .as_array()
            .unwrap()
            .iter()
            .map(|copy| {
                (
                    copy["tier"].as_str().unwrap().to_owned(),
                    copy["published"] == true,
                )
            })
            .collect();
        assert_eq!(
            published,
            [("local".to_owned(), true), ("remote".to_owned(), false)],
            "{}",
            ended.all()
        );
        assert!(
            ended.summary.contains(ended.output("archive-key")),
            "{}",
            ended.summary
        );
        peer.heal();
        let verify = world.run("verify").end();
        assert_eq!(verify.code, 0, "{}", verify.all());
    }
}

#[test]
fn a_receipt_that_cannot_be_stored_everywhere_is_stored_nowhere() {
    let test = "receipt";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(mut world) = World::both(test, cluster) else {
        return;
    };
    let peer = world.peer();
    peer.inject(
        When::Target(Action::PutObject, "/receipts/"),
        Fault::Forbidden403,
    );
    let ended = world.start(world.gate()).going.end();
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert_closed(&world, &ended, &["receipt-stored"]);
    let after = world.after_failure(&Snapshot::default(), &ended);
    let receipts = after
        .local
        .keys()
        .chain(after.remote.keys())
        .filter(|key| key.contains("receipts/"));
    assert_eq!(receipts.count(), 0, "{}", ended.all());
    assert_eq!(after.ending(".manifest.json").len(), 2);
}

//! Receipts in real stores: what the deploy job believes, and what the gate says about drills.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy does not see as tests"
)]

use crate::gate::world::{World, object, own, sample};
use crate::support::peer::{Action, Fault, When};
use crate::support::run::{Ended, Run};
use crate::support::s3::BUCKET;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// A gate that passed, and its receipt in the directory store.
struct Gated<'a> {
    world: World<'a>,
    receipt: PathBuf,
    receipt_key: String,
    archive_key: String,
}

impl<'a> Gated<'a> {
    fn new(world: World<'a>) -> Gated<'a> {
        let ended = world.passes(world.gate());
        let receipt_key = ended.output("receipt-key").to_owned();
        let local = world.local.clone().unwrap_or_default();
        Gated {
            receipt: local.join(&receipt_key),
            archive_key: ended.output("archive-key").to_owned(),
            receipt_key,
            world,
        }
    }

    fn verify(&self) -> Run {
        self.world.run("verify-receipt")
    }

    /// Every place says that the deploy may not go on, and why.
    fn refuses(&self, run: Run, check: &str, says: &str) -> Ended {
        let ended = run.end();
        assert_eq!(ended.code, 1, "{}", ended.all());
        assert_eq!(ended.check(check)["outcome"], "failed", "{}", ended.all());
        ended.assert_says(says);
        assert_eq!(ended.output("passed"), "false", "{}", ended.all());
        // What follows a receipt that was not found is not reached; else nothing else is wrong.
        let closed_by: Vec<&str> = ended.output("failed-checks").split(',').collect();
        assert_eq!(closed_by[0], check, "{}", ended.all());
        assert!(
            closed_by.len() == 1 || check == "receipt-found",
            "{}",
            ended.all()
        );
        assert!(
            ended.summary.contains("deploy blocked"),
            "{}",
            ended.summary
        );
        assert!(ended.has_hint(), "{}", ended.all());
        ended
    }

    /// Changes the stored receipt for one call, and puts it back.
    fn with_receipt(&self, change: impl Fn(&mut Value), check: &str, says: &str) {
        let before = fs::read(&self.receipt).unwrap();
        let mut receipt: Value = serde_json::from_slice(&before).unwrap();
        change(&mut receipt);
        fs::write(&self.receipt, serde_json::to_vec(&receipt).unwrap()).unwrap();
        self.refuses(self.verify(), check, says);
        fs::write(&self.receipt, before).unwrap();
    }
}

fn accepts(run: Run) -> Ended {
    let ended = run.end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    ended
}

#[test]
fn the_deploy_job_believes_a_true_receipt_from_both_stores() {
    let test = "receipts both";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(world) = World::both(test, cluster) else {
        return;
    };
    let mut gated = Gated::new(world);
    let ended = accepts(gated.verify());
    assert_eq!(ended.output("passed"), "true", "{}", ended.all());
    assert_eq!(ended.output("archive-key"), gated.archive_key);
    assert!(
        ended
            .summary
            .contains("Receipt check passed — deploy may go on")
    );
    let unchanged = ended.check("archive-unchanged")["evidence"]
        .as_str()
        .unwrap();
    // The directory keeps no checksum: there every byte was read.
    assert!(unchanged.contains("every byte was read"), "{unchanged}");
    // The deploy job has another machine, and only the bucket.
    gated.world.local = None;
    accepts(gated.verify().args(&["--receipt", &gated.receipt_key]));
    let remote = gated.world.remote.as_ref().unwrap();
    let key = format!("{}/{}", remote.prefix, gated.archive_key);
    let bytes = object(remote, &gated.archive_key);
    let cut = bytes[..bytes.len() - 1].to_vec();
    remote.server.ask(|client| async move {
        let put = client.put_object().bucket(BUCKET).key(key).body(cut.into());
        put.send().await.unwrap();
    });
    gated.refuses(gated.verify(), "archive-unchanged", "bytes instead of");
    // A store that does not answer is no answer.
    let peer = gated.world.peer();
    drop(peer);
    let ended = gated.verify().end();
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert_eq!(ended.output("passed"), "false", "{}", ended.all());
}

#[test]
fn a_receipt_that_is_not_what_it_says_blocks_the_deploy() {
    let test = "receipts refused";
    let Some(cluster) = sample(test) else {
        return;
    };
    let gated = Gated::new(World::local(cluster));
    accepts(gated.verify());

    // Whose it is.
    let other = |gated: &Gated<'_>| gated.verify().env("GITHUB_SHA", "fedcba");
    gated.refuses(
        other(&gated),
        "receipt-run",
        "commit 0123456789, this is fedcba",
    );
    accepts(other(&gated).arg("--allow-other-sha"));
    let repository = gated.verify().env("GITHUB_REPOSITORY", "acme/other");
    let repository = repository.arg("--allow-other-sha");
    gated.refuses(
        repository,
        "receipt-run",
        "repository acme/payroll, this is acme/other",
    );
    let ended = accepts(gated.verify().at_home());
    assert_eq!(ended.check("receipt-run")["outcome"], "warned");
    gated.with_receipt(
        |r| r["run"] = Value::Null,
        "receipt-run",
        "belongs to no commit",
    );

    // What it says.
    gated.with_receipt(
        |r| r["verdict"] = json!("failed"),
        "receipt-passed",
        "does not say that",
    );
    gated.with_receipt(
        |r| r["exit_code"] = json!(1),
        "receipt-passed",
        "does not say that",
    );
    gated.with_receipt(
        |r| r["checks"] = json!([]),
        "receipt-passed",
        "does not say that",
    );
    gated.with_receipt(
        |r| r["finished_at"] = json!(in_the_past(-3600)),
        "receipt-fresh",
        "from the future",
    );
    gated.with_receipt(
        |r| r["finished_at"] = json!(in_the_past(7300)),
        "receipt-fresh",
        "more than 2 h",
    );
    gated.with_receipt(
        |r| r["archive"]["archive_sha256"] = json!("00".repeat(32)),
        "archive-unchanged",
        "names another archive",
    );

    // What it is.
    for (change, says) in [
        (json!(2), "newer than 1"),
        (json!("1"), "not valid JSON"),
        (json!(0), "not a receipt"),
    ] {
        gated.with_receipt(|r| r["format"] = change.clone(), "receipt-found", says);
    }
    gated.with_receipt(
        |r| r["command"] = json!("drill"),
        "receipt-found",
        "another command",
    );
    gated.with_receipt(
        |r| r["started_at"] = json!(in_the_past(90_000)),
        "receipt-found",
        "not of the one it is named after",
    );
    let before = fs::read(&gated.receipt).unwrap();
    for hostile in ["[".repeat(300_000), "x".repeat(33 << 20), String::new()] {
        fs::write(&gated.receipt, hostile).unwrap();
        let ended = gated.verify().end();
        assert!(matches!(ended.code, 1 | 3), "{}", ended.all());
        assert_eq!(ended.output("passed"), "false", "{}", ended.all());
    }
    fs::write(&gated.receipt, &before).unwrap();

    // Which one.
    for (key, says) in [
        (
            "receipts/gate/2026-01-18_02-00-01Z_passed.json",
            "is not in",
        ),
        ("RECOVERY.md", "is no receipt of a gate"),
    ] {
        gated.refuses(
            gated.verify().args(&["--receipt", key]),
            "receipt-found",
            says,
        );
    }
    let usage = gated.verify().args(&["--receipt", "../x"]).end();
    assert!(usage.code >= 2, "{}", usage.all());
    assert_eq!(usage.output("passed"), "false", "{}", usage.all());

    // What lies behind it.
    let archive = gated.world.local.as_ref().unwrap().join(&gated.archive_key);
    let bytes = fs::read(&archive).unwrap();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    fs::write(&archive, flipped).unwrap();
    gated.refuses(gated.verify(), "archive-unchanged", "SHA-256");
    fs::remove_file(&archive).unwrap();
    gated.refuses(gated.verify(), "archive-unchanged", "the archive is gone");
    fs::write(&archive, bytes).unwrap();
    accepts(gated.verify());
    let manifest = PathBuf::from(
        archive
            .to_str()
            .unwrap()
            .replace(".sql.gz", ".manifest.json"),
    );
    fs::remove_file(&manifest).unwrap();
    gated.refuses(gated.verify(), "archive-unchanged", "the backup is gone");
    fs::remove_file(&gated.receipt).unwrap();
    gated.refuses(
        gated.verify(),
        "receipt-found",
        "there is no receipt of a gate",
    );
}

#[test]
fn the_receipt_of_a_gate_that_failed_stops_a_deploy_that_asks_for_the_latest() {
    let test = "receipts-failed";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(world) = World::both(test, cluster) else {
        return;
    };
    let mut gated = Gated::new(world);
    accepts(gated.verify());
    let failed = |gated: &Gated<'_>| -> (Vec<String>, Vec<String>) {
        let snapshot = gated.world.snapshot();
        let is_failed = |key: &&String| key.contains("Z_failed_4711_2.json");
        let local = snapshot.local.keys().filter(is_failed).cloned().collect();
        (
            local,
            snapshot.remote.keys().filter(is_failed).cloned().collect(),
        )
    };
    let blocked = |gated: &Gated<'_>, says: &str| {
        let ended = gated.verify().end();
        assert_eq!(ended.code, 1, "{}", ended.all());
        assert_eq!(ended.output("passed"), "false", "{}", ended.all());
        assert_eq!(ended.check("receipt-found")["outcome"], "passed");
        assert_eq!(ended.check("receipt-passed")["outcome"], "failed");
        ended.assert_says(says);
        assert!(ended.output("failed-checks").starts_with("receipt-passed"));
    };

    // Only somebody looks: no receipt, and the one that passed is the latest.
    let dry = gated
        .world
        .gate()
        .args(&["--dry-run", "--check", "drill-fresh=block"]);
    gated.world.closes(dry, 1, &["drill-fresh"]);
    assert_eq!(failed(&gated), (vec![], vec![]));
    accepts(gated.verify());

    let (gate, _fake) = gated.world.gate_with("exits-1-at-start");
    gated.world.closes(gate, 1, &["dump-exit"]);
    let (local, remote) = failed(&gated);
    assert_eq!((local.len(), &local), (1, &remote));
    blocked(
        &gated,
        "it does not say that the gate passed: FAILED: dump-exit",
    );
    // The one that is named is still what it was.
    accepts(gated.verify().args(&["--receipt", &gated.receipt_key]));

    // What could not be checked is no pass either.
    let url = format!(
        "postgres://postgres:wrong@127.0.0.1:{}/postgres",
        cluster.port
    );
    let gate = gated.world.gate().env("BACKUP_ACTION_DATABASE_URL", url);
    gated
        .world
        .closes(gate, 3, &["password authentication failed"]);
    assert_eq!(failed(&gated).0.len(), 2);
    blocked(&gated, "COULD NOT CHECK");

    // The next that passes is the latest again.
    gated = Gated::new(gated.world);
    accepts(gated.verify());

    // A store that does not answer costs a few seconds, and changes nothing.
    let peer = gated.world.peer();
    peer.inject(
        When::Target(Action::PutObject, "/receipts/"),
        Fault::Stall(Duration::from_secs(60)),
    );
    let (gate, _fake) = gated.world.gate_with("exits-1-at-start");
    let ended = gated.world.closes(gate, 1, &["dump-exit"]);
    assert!((5.0..20.0).contains(&ended.seconds), "{}", ended.all());
    let says = "warning: no receipt of this failure was kept: no answer within 5 s";
    assert!(ended.stderr.contains(says), "{}", ended.all());
    assert_eq!(failed(&gated).0.len(), 3, "the other store has it");
}

/// Two runs may start in one second.
#[test]
fn of_two_receipts_of_one_second_the_one_that_failed_counts() {
    let Some(cluster) = sample("receipts-second") else {
        return;
    };
    let gated = Gated::new(World::local(cluster));
    accepts(gated.verify());
    let mut failed: Value = serde_json::from_slice(&fs::read(&gated.receipt).unwrap()).unwrap();
    failed["verdict"] = json!("failed");
    failed["exit_code"] = json!(1);
    let name = gated.receipt.to_str().unwrap();
    let beside = PathBuf::from(name.replace("Z_passed_", "Z_failed_"));
    assert_ne!(beside, gated.receipt);
    fs::write(beside, serde_json::to_vec(&failed).unwrap()).unwrap();
    gated.refuses(gated.verify(), "receipt-passed", "does not say that");
}

fn in_the_past(seconds: i64) -> String {
    let then = Timestamp::now() - SignedDuration::from_secs(seconds);
    then.to_string()
}

/// The receipt of a drill that ended so long ago, made from that of the gate.
fn drill(gated: &Gated<'_>, seconds_ago: i64, change: impl Fn(&mut Value)) -> PathBuf {
    let mut receipt: Value = serde_json::from_slice(&fs::read(&gated.receipt).unwrap()).unwrap();
    let then = Timestamp::now() - SignedDuration::from_secs(seconds_ago);
    let counts = json!({"databases": 1, "schemas": 1, "entries": 9, "tables": 2, "rows": 3});
    receipt["command"] = json!("drill");
    receipt["started_at"] = json!(then);
    receipt["finished_at"] = json!(then);
    receipt["copies"] = json!([]);
    receipt["durations"] = json!({"restore_seconds": 581.0, "total_seconds": 600.0});
    receipt["checks"] = json!([
        {"id": "archive-intact", "outcome": "passed", "evidence": "whole"},
        {"id": "target-ready", "outcome": "passed", "evidence": "15"},
        {"id": "restore-complete", "outcome": "passed", "evidence": "9 entries"},
        {"id": "round-trip", "outcome": "passed", "evidence": "equal"},
        {"id": "drill-not-empty", "outcome": "passed", "evidence": "2 tables, 3 rows"},
    ]);
    receipt["restored"] = json!({"proof": {"archived": counts, "restored": counts}});
    change(&mut receipt);
    let word = match receipt["verdict"] == "passed" {
        true => "passed",
        false => "failed",
    };
    let name = format!("{}_{word}.json", then.strftime("%Y-%m-%d_%H-%M-%SZ"));
    let dir = gated.world.local.as_ref().unwrap().join("receipts/drill");
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join(name);
    fs::write(&path, serde_json::to_vec(&receipt).unwrap()).unwrap();
    path
}

#[test]
fn the_gate_says_when_a_drill_is_due() {
    const DAY: i64 = 86_400;
    let test = "drill fresh";
    let Some(cluster) = own(test) else {
        return;
    };
    cluster.sample(1, 3);
    let gated = Gated::new(World::local(&cluster));
    let asked = |outcome: &str, says: &str| {
        let ended = gated.world.passes(gated.world.gate().arg("--dry-run"));
        let check = ended.check("drill-fresh");
        assert_eq!(check["outcome"], outcome, "{check}");
        let evidence = check["evidence"].as_str().unwrap();
        assert!(evidence.contains(says), "{says}: {evidence}");
        evidence.to_owned()
    };
    asked("warned", "no drill of this cluster has ever passed");
    // What is not a passed drill of this cluster is none, and is said to be there.
    drill(&gated, 5 * DAY, |r| {
        r["verdict"] = json!("failed");
        r["exit_code"] = json!(1);
    });
    asked("warned", "ever passed");
    type Change = fn(&mut Value);
    let not_counted: [(Change, &str); 7] = [
        (|r| r["source"] = Value::Null, "is of another cluster"),
        (
            |r| r["checks"][4]["outcome"] = json!("warned"),
            "does not prove a round trip",
        ),
        (
            |r| r["restored"]["schema_only"] = json!(true),
            "restored no rows",
        ),
        (
            |r| r["source"]["system_identifier"] = json!("1"),
            "is of another cluster",
        ),
        (|r| r["exit_code"] = json!(1), "does not prove a round trip"),
        (|r| r["format"] = json!(7), "newer than 1"),
        (
            |r| {
                let difference =
                    json!({"kind": "missing", "object": "TABLE d: s.t", "detail": "x"});
                r["restored"]["proof"]["differences"] = json!([difference]);
            },
            "does not prove a round trip",
        ),
    ];
    for (change, says) in not_counted {
        let path = drill(&gated, 4 * DAY, change);
        let evidence = asked("warned", "ever passed");
        assert!(evidence.contains(says), "{says}: {evidence}");
        fs::remove_file(path).unwrap();
    }
    let future = drill(&gated, -3 * DAY, |_| {});
    let evidence = asked("warned", "ever passed");
    assert!(evidence.contains("from the future"), "{evidence}");
    fs::remove_file(future).unwrap();

    drill(&gated, 36 * DAY, |_| {});
    asked("warned", "36 days old, more than 35 days");
    let block = gated.world.gate().args(&["--check", "drill-fresh=block"]);
    gated.world.closes(block, 1, &["36 days old"]);
    let longer = gated.world.gate().args(&["--max-drill-age", "40d"]);
    let ended = gated
        .world
        .passes(longer.args(&["--check", "drill-fresh=block", "--dry-run"]));
    assert_eq!(ended.check("drill-fresh")["outcome"], "passed");

    // The newest one counts; a newer one that is damaged is said.
    drill(&gated, 9 * DAY, |_| {});
    asked("passed", "9 days old, restored in 9 m 41 s, proved equal");
    let damaged = drill(&gated, 2 * DAY, |_| {});
    fs::write(&damaged, "{").unwrap();
    let evidence = asked("passed", "9 days old");
    assert!(evidence.contains("not valid JSON"), "{evidence}");
}

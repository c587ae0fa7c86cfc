//! What `history` finds in stores, and what it refuses to count.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy does not see as tests"
)]

use crate::gate::world::{World, sample};
use crate::support::past::{days_ago, invent, invent_receipt, manifests, read};
use crate::support::run::Run;
use serde_json::{Value, json};
use std::fs;

fn json_of(run: Run) -> Value {
    let ended = run.args(&["--output", "json"]).end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    serde_json::from_slice(&ended.stdout).unwrap()
}

fn screen(run: Run) -> String {
    let ended = run.end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    ended.screen()
}

#[test]
fn a_backup_in_both_stores_is_counted_once_and_clusters_stay_apart() {
    let test = "history-union";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(world) = World::both(test, cluster) else {
        return;
    };
    world.passes(world.gate().args(&["--cluster", "prod"]));
    let second = world.passes(world.gate().args(&["--cluster", "prod"]));
    let local = world.local.clone().unwrap();
    let pattern = read(&manifests(&local)[0]);
    invent(&local, &pattern, days_ago(40), |manifest| {
        manifest["archive"]["dump_bytes"] = json!(10_000);
    });
    // The archive tier: a copy of one that is elsewhere too, and one that is left there only.
    let copied = manifests(&local).pop().unwrap();
    let archived = local.join("archive");
    invent(&archived, &pattern, days_ago(80), |manifest| {
        for key in ["archive_key", "index_key"] {
            let name = manifest[key].as_str().unwrap();
            manifest[key] = json!(format!("archive/{name}"));
        }
    });
    let name = copied.strip_prefix(&local).unwrap();
    fs::create_dir_all(archived.join(name).parent().unwrap()).unwrap();
    fs::copy(&copied, archived.join(name)).unwrap();
    // Two more clusters: one of the same name, one whose role could not read the identifier.
    invent(&local, &pattern, days_ago(3), |manifest| {
        manifest["source"]["system_identifier"] = json!("7777777777777777777");
    });
    invent(&local, &pattern, days_ago(4), |manifest| {
        manifest["source"]["system_identifier"] = Value::Null;
    });
    // A closed gate that never reached the server, and one that did.
    let report = second.report();
    let mut failed = report.clone();
    failed["verdict"] = json!("failed");
    failed["exit_code"] = json!(1);
    failed["checks"][0]["outcome"] = json!("failed");
    invent_receipt(&local, &failed, days_ago(2), "failed_12_1", |_| {});
    invent_receipt(&local, &failed, days_ago(1), "failed_13_1", |report| {
        report["source"]["system_identifier"] = json!("7777777777777777777");
    });

    let history = json_of(world.run("history"));
    let clusters = history["clusters"].as_array().unwrap();
    let seen: Vec<(&str, usize, usize)> = clusters
        .iter()
        .map(|one| {
            let count = |list: &str| one[list].as_array().unwrap().len();
            let id = one["system_identifier"].as_str().unwrap_or("none");
            let id = if id == "none" || id.starts_with("7777") {
                id
            } else {
                "own"
            };
            (id, count("backups"), count("failed_gates"))
        })
        .collect();
    let mut sorted = seen.clone();
    sorted.sort_unstable();
    assert_eq!(
        sorted,
        [("7777777777777777777", 1, 1), ("none", 1, 0), ("own", 4, 1)]
    );
    let own = clusters
        .iter()
        .find(|one| one["backups"].as_array().unwrap().len() == 4)
        .unwrap();
    let stores = |at: usize| own["backups"][at]["stores"].as_array().unwrap().len();
    assert_eq!((stores(0), stores(1), stores(2), stores(3)), (1, 1, 2, 2));
    assert_eq!(own["baseline"], own["backups"][1]["key"]);
    assert_eq!(own["months"].as_array().unwrap().len(), 3);
    assert_eq!(
        own["failed_gates"][0]["closed_by"],
        json!(["server-reachable"])
    );
    let tenant = &own["schemas"].as_array().unwrap()[0];
    assert!(
        tenant["schema"]
            .as_str()
            .unwrap()
            .starts_with("tenant_empresa_")
    );
    assert_eq!(history["not_counted"], json!([]));
    assert_eq!(history["foreign_objects"], 0);

    let text = screen(world.run("history"));
    for words in [
        "prod (system identifier ",
        "4 verified backups",
        "Month over month",
        "Gates that stayed closed",
        "server-reachable",
        "█",
    ] {
        assert!(text.contains(words), "{words} in {text}");
    }
    // Younger ones only, and one tenant only.
    let recent = json_of(world.run("history").args(&["--since", "30d"]));
    let most = recent["clusters"].as_array().unwrap().iter();
    assert_eq!(
        most.map(|one| one["backups"].as_array().unwrap().len())
            .max(),
        Some(2)
    );
    let tenant = json_of(world.run("history").args(&[
        "--database",
        "nostromo",
        "--schema",
        "tenant_empresa_2",
    ]));
    let narrow = &tenant["clusters"][0]["backups"][0];
    assert!(narrow["dump_bytes"].as_u64() < own["backups"][2]["dump_bytes"].as_u64());
    assert!(narrow.get("archive_bytes").is_none());
    let ended = world.run("history").args(&["--schema", "nobody"]).end();
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(
        ended
            .stderr
            .contains("no backup of that time holds schema nobody"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("Hint:"), "{}", ended.stderr);
}

#[test]
fn what_cannot_be_used_is_said_and_not_counted() {
    let Some(cluster) = sample("history::foreign") else {
        return;
    };
    let world = World::local(cluster);
    world.passes(world.gate());
    let local = world.local.clone().unwrap();
    let pattern = read(&manifests(&local)[0]);
    invent(&local, &pattern, days_ago(1), |manifest| {
        manifest["format"] = json!(99)
    });
    invent(&local, &pattern, days_ago(2), |manifest| {
        manifest["started_at"] = json!(days_ago(500));
    });
    invent(&local, &pattern, days_ago(3), |manifest| {
        manifest["archive_key"] = json!("2026-01/other.sql.gz");
    });
    invent(&local, &pattern, days_ago(4), |_| {});
    let corrupt = manifests(&local);
    let corrupt = corrupt.iter().find(|path| {
        let day = days_ago(4).strftime("_%Y-%m-%d_").to_string();
        path.to_string_lossy().contains(&day)
    });
    fs::write(corrupt.unwrap(), "{\"format\":1,").unwrap();
    fs::write(local.join("notes.txt"), "mine").unwrap();
    fs::create_dir(local.join("other")).unwrap();
    fs::write(local.join("other/dump.sql.gz"), "theirs").unwrap();
    fs::create_dir_all(local.join("receipts/gate")).unwrap();
    let time = days_ago(1).strftime("%Y-%m-%d_%H-%M-%SZ");
    fs::write(
        local.join(format!("receipts/gate/{time}_failed_1_1.json")),
        "[]",
    )
    .unwrap();

    let history = json_of(world.run("history"));
    assert_eq!(history["clusters"].as_array().unwrap().len(), 1);
    assert_eq!(
        history["clusters"][0]["backups"].as_array().unwrap().len(),
        1
    );
    assert_eq!(history["foreign_objects"], 2, "{history}");
    let reasons: Vec<&str> = history["not_counted"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons.len(), 5, "{reasons:#?}");
    for words in [
        "manifest format 99 is newer",
        "is not the time in its name",
        "names another archive",
        "manifest is not valid JSON",
        "receipt is not valid JSON",
    ] {
        assert!(
            reasons.iter().any(|reason| reason.contains(words)),
            "{words}: {reasons:#?}"
        );
    }
    let ended = world.run("history").end();
    assert_eq!(
        ended.stderr.matches("is not counted").count(),
        5,
        "{}",
        ended.stderr
    );
    assert!(
        ended
            .screen()
            .contains("2 objects that backup-action did not make")
    );
    // The gate compares with none of them, says so, and is not stopped by them.
    let passed = world.passes(world.gate());
    passed.assert_says("manifest format 99 is newer");
    assert_eq!(
        passed.report()["history"]["sizes"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn an_empty_store_and_one_that_is_not_there_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    fs::create_dir(&store).unwrap();
    let at = |path: &std::path::Path| Run::new("history").arg("--local").arg(path).at_home();
    assert_eq!(screen(at(&store)), "no backup\n");
    let ended = Run::new("history").at_home().end();
    assert_eq!(ended.code, 2, "{}", ended.all());
    let typo = dir.path().join("stroe");
    for command in ["history", "prune", "doctor"] {
        let run = Run::new(command).arg("--local").arg(&typo).at_home();
        let ended = run.end();
        assert_eq!(ended.code, 2, "{}", ended.all());
        let said = ended.all();
        assert!(said.contains("there is no local store"), "{said}");
        assert!(!typo.exists(), "{command} made it");
    }
    let page = dir.path().join("missing/page.html");
    let ended = at(&store).arg("--html").arg(page).end();
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stderr.contains("could not write"), "{}", ended.stderr);
}

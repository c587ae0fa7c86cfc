//! Backups of many kinds come back as they went in.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "helpers of tests, which run PostgreSQL's programs as a person would"
)]

use super::{different, drill, drill_file};
use crate::gate::world::{World, own, sample};
use crate::support::cluster::{Auth, Cluster, ClusterOptions};
use crate::support::run::Ended;
use crate::support::{need, root};
use std::io::Write;
use std::process::Stdio;

/// The drill passed, and the proof lists nothing but the drill's own superuser as different.
pub(super) fn proved(ended: &Ended, rows: u64) {
    assert_eq!(ended.code, 0, "{}", ended.all());
    let report = ended.report();
    let restored = &report["restored"];
    assert_eq!(
        restored["proof"]["archived"]["rows"],
        rows,
        "{}",
        ended.all()
    );
    assert_eq!(
        restored["proof"]["restored"]["rows"],
        rows,
        "{}",
        ended.all()
    );
    assert_eq!(different(report), Vec::<String>::new());
    let rules: Vec<_> = restored["proof"]["harmless"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|harmless| harmless["rule"] != "drill-superuser")
        .filter(|harmless| harmless["rule"] != "bootstrap-owner")
        .collect();
    assert!(rules.is_empty(), "{rules:?}");
    assert_eq!(ended.check("round-trip")["outcome"], "passed");
    assert_eq!(ended.check("drill-cleaned")["outcome"], "passed");
    assert!(report["durations"]["restore_seconds"].as_f64().unwrap() > 0.0);
}

/// Loads `fixtures/sql/hostile.sql` as the superuser `postgres`.
pub(super) fn load_hostile(cluster: &Cluster) {
    let sql = std::fs::read(root().join("fixtures/sql/hostile.sql")).unwrap();
    let mut psql = cluster.psql_command("postgres");
    psql.env("PGHOST", &cluster.socket_dir)
        .env("PGPORT", cluster.port.to_string())
        .env("PGUSER", "postgres");
    let mut child = psql
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&sql).unwrap();
    assert!(child.wait().unwrap().success());
}

pub(super) fn of_major(test: &str, major: u32) -> Option<Cluster> {
    need(
        test,
        &format!("PostgreSQL {major}'s server"),
        Cluster::installed(Some(major)),
    )?;
    Some(Cluster::start(ClusterOptions {
        major: Some(major),
        auth: Auth::Scram(crate::gate::world::PASSWORD.to_owned()),
        ..ClusterOptions::default()
    }))
}

#[test]
fn the_tenant_sample_comes_back_and_leaves_a_receipt() {
    let Some(cluster) = sample("drill::sample") else {
        return;
    };
    let world = World::local(cluster);
    let gate = world.passes(world.gate());
    let rows = gate.report()["archive"]["rows"].as_u64().unwrap();
    let ended = drill(&world).end();
    proved(&ended, rows);
    let report = ended.report();
    assert_eq!(
        report["archive"],
        gate.report()["archive"],
        "{}",
        ended.all()
    );
    assert!(ended.screen().contains("restore"), "{}", ended.all());
    let receipts = world.snapshot();
    let receipts = receipts.ending(".json");
    assert!(
        receipts
            .iter()
            .any(|key| key.starts_with("receipts/drill/")),
        "{receipts:?}"
    );
}

#[test]
fn the_hostile_fixture_comes_back_on_15_17_and_18() {
    for major in [15, 17, 18] {
        let test = format!("drill::hostile on {major}");
        let Some(cluster) = of_major(&test, major) else {
            continue;
        };
        load_hostile(&cluster);
        let world = World::local(&cluster);
        let gate = world.passes(world.gate());
        let rows = gate.report()["archive"]["rows"].as_u64().unwrap();
        let ended = drill(&world).end();
        proved(&ended, rows);
    }
}

#[test]
fn an_empty_cluster_comes_back_but_proves_nothing() {
    let Some(cluster) = own("drill::empty") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("empty.sql.gz");
    dump_and_gzip(&cluster, &file);
    let ended = drill_file(&file, &cluster).end();
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert_eq!(ended.check("round-trip")["outcome"], "passed");
    assert_eq!(ended.check("drill-not-empty")["outcome"], "failed");
    let ended = drill_file(&file, &cluster).arg("--allow-empty").end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(ended.check("drill-not-empty")["outcome"], "warned");
}

/// `pg_dumpall | gzip > file`, as the runbook has it.
fn dump_and_gzip(cluster: &Cluster, file: &std::path::Path) {
    let mut dump = std::process::Command::new(cluster.bin_dir.join("pg_dumpall"))
        .args(["-U", "postgres", "-h"])
        .arg(&cluster.socket_dir)
        .args(["-p", &cluster.port.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = dump.stdout.take().unwrap();
    let gzip = std::process::Command::new("gzip")
        .stdin(stdout)
        .stdout(std::fs::File::create(file).unwrap())
        .status()
        .unwrap();
    assert!(gzip.success() && dump.wait().unwrap().success());
}

#[test]
fn a_plain_gzip_of_pg_dumpall_comes_back() {
    let Some(cluster) = sample("drill::plain-gzip") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("plain.sql.gz");
    dump_and_gzip(cluster, &file);
    let rows = cluster.psql_in(
        "nostromo",
        "select sum((xpath('/row/c/text()', query_to_xml(format('select count(*) as c from %I.%I', schemaname, tablename), false, true, '')))[1]::text::int) from pg_tables where schemaname !~ '^pg_|information_schema'",
    );
    let ended = drill_file(&file, cluster).end();
    proved(&ended, rows.parse().unwrap());
    // Without a store there is no receipt, and nothing says that there is one.
    let report = ended.report().to_string();
    assert!(
        !report.contains("receipts/drill") && !ended.all().contains("receipts/drill"),
        "{}",
        ended.all()
    );
    assert!(
        ended.all().contains("no receipt was kept"),
        "{}",
        ended.all()
    );
}

#[test]
fn a_file_that_is_not_there_is_said_to_be_missing() {
    let Some(cluster) = sample("drill::no-file") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let ended = drill_file(&dir.path().join("typo.sql.gz"), cluster).end();
    assert_eq!(ended.code, 2, "{}", ended.all());
    assert!(
        ended.all().contains("typo.sql.gz\" is not a file"),
        "{}",
        ended.all()
    );
}

#[test]
fn two_thousand_schemas_come_back_and_take_longer_than_a_second() {
    let test = "drill::two-thousand-schemas";
    let Some(_) = need(test, "PostgreSQL's server", Cluster::installed(None)) else {
        return;
    };
    let cluster = Cluster::start(ClusterOptions {
        auth: Auth::Scram(crate::gate::world::PASSWORD.to_owned()),
        settings: vec!["max_locks_per_transaction=400".to_owned()],
        ..ClusterOptions::default()
    });
    cluster.psql(
        "do $$ begin for n in 1..2000 loop
           execute format('create schema t%s; create table t%s.a (id int primary key, v text); insert into t%s.a values (1, %L), (2, null)', n, n, n, n);
         end loop; end $$",
    );
    let world = World::local(&cluster);
    world.passes(world.gate());
    let ended = drill(&world).args(&["--max-restore-time", "1s"]).end();
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert_eq!(ended.check("restore-time")["outcome"], "failed");
    assert_eq!(ended.check("round-trip")["outcome"], "passed");
    let restored = &ended.report()["restored"]["proof"]["restored"];
    assert_eq!(restored["schemas"], 2000, "{}", ended.all());
    assert_eq!(restored["rows"], 4000, "{}", ended.all());
}

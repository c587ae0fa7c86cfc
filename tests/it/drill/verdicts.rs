//! What a drill says: questions, known defects, what the server lacks, limits.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy does not see as tests"
)]

use super::{different, drill, drill_file};
use crate::gate::happy::gunzip;
use crate::gate::world::{World, own, sample};
use crate::support::run::{Ended, Run};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::path::Path;
use tempfile::TempDir;

fn with_config(run: Run, text: &str) -> (Run, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("backup-action.toml");
    std::fs::write(&file, text).unwrap();
    (run.arg("--config").arg(&file), dir)
}

fn end((run, dir): (Run, TempDir)) -> Ended {
    let ended = run.end();
    drop(dir);
    ended
}

#[test]
fn questions_are_asked_and_a_wrong_answer_fails() {
    let Some(cluster) = sample("drill::questions") else {
        return;
    };
    let world = World::local(cluster);
    world.passes(world.gate());
    let question = |name: &str, sql: &str, expected: &str| {
        format!(
            "[[drill.question]]\nname = \"{name}\"\ndatabase = \"nostromo\"\nsql = \"{sql}\"\n{expected}\n"
        )
    };
    let good = question(
        "tenants",
        "SELECT count(*) FROM central.tenants;",
        "min = 1\nmax = 100",
    ) + &question(
        "iva",
        "SELECT value->>'rate' FROM parametros.settings WHERE key = 'iva' -- percent",
        "equals = 21",
    );
    let ended = end(with_config(drill(&world), &good));
    assert_eq!(ended.code, 0, "{}", ended.all());
    let asked = ended.report()["restored"]["questions"].as_array().unwrap();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1]["answer"], "21");

    for (sql, expected, says) in [
        (
            "SELECT count(*) FROM central.tenants",
            "min = 1000",
            "bad: 3",
        ),
        (
            "SELECT 1 FROM central.nothing",
            "equals = 1",
            "central.nothing",
        ),
        (
            "SELECT id FROM central.tenants",
            "min = 0",
            "3 rows instead of one",
        ),
        ("SELECT NULL::int", "min = 0", "NULL"),
    ] {
        let text = good.clone() + &question("bad", sql, expected);
        let ended = end(with_config(drill(&world), &text));
        assert_eq!(ended.code, 1, "{}", ended.all());
        assert_eq!(ended.check("questions")["outcome"], "failed");
        assert_eq!(ended.check("round-trip")["outcome"], "passed");
        ended.assert_says(says);
    }
}

/// A materialised view that needs the search_path of production: every restore of it fails.
const DEFECT: &str = "create schema m; set search_path = m; create function m.plain(text) returns text language sql as 'select lower($1)';
    create function m.slug(text) returns text language sql as 'select plain($1)';
    create table m.t (v text); insert into m.t values ('A');
    create materialized view m.stats as select m.slug(v) from m.t; create index on m.stats (slug);";

#[test]
fn a_defect_is_named_and_can_be_acknowledged_until_its_day() {
    let Some(cluster) = own("drill::acknowledged") else {
        return;
    };
    cluster.psql("create database nostromo");
    cluster.psql_in("nostromo", DEFECT);
    let world = World::local(&cluster);
    world.passes(world.gate());
    let object = "MATERIALIZED VIEW DATA nostromo: m.stats";

    let ended = drill(&world).end();
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert_eq!(ended.check("restore-complete")["outcome"], "failed");
    ended.assert_says(object);
    ended.assert_says("function plain(text) does not exist");

    let acknowledge = |until: &str| {
        format!(
            "[[drill.acknowledge]]\nobject = \"{object}\"\nreason = \"ticket 7\"\nuntil = {until}\n"
        )
    };
    let ended = end(with_config(drill(&world), &acknowledge("2999-01-01")));
    assert_eq!(ended.code, 0, "{}", ended.all());
    let failure = &ended.report()["restored"]["failures"][0];
    assert_eq!(failure["object"], object);
    assert_eq!(failure["acknowledged"]["reason"], "ticket 7");
    assert!(ended.screen().contains("ticket 7"), "{}", ended.all());

    let ended = end(with_config(drill(&world), &acknowledge("2020-01-01")));
    assert_eq!(ended.code, 1, "{}", ended.all());
    ended.assert_says("ended on 2020-01-01");
}

fn write_gzip(path: &Path, text: &[u8]) {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(text).unwrap();
    std::fs::write(path, gzip.finish().unwrap()).unwrap();
}

#[test]
fn what_the_server_lacks_is_named_before_anything_is_restored() {
    let Some(cluster) = sample("drill::lacks") else {
        return;
    };
    let world = World::local(cluster);
    let gate = world.passes(world.gate());
    let archive = world.snapshot().local[gate.output("archive-key")].clone();
    let dump = String::from_utf8(gunzip(&archive)).unwrap();
    let schema = "--\n-- Name: central; Type: SCHEMA;";
    let extension = "--\n-- Name: no_such; Type: EXTENSION; Schema: -; Owner: -\n--\n\nCREATE EXTENSION IF NOT EXISTS no_such WITH SCHEMA public;\n\n\n";
    assert!(dump.contains(schema));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("with-extension.sql.gz");
    let text = dump.replacen(schema, &format!("{extension}{schema}"), 1);
    write_gzip(&file, text.as_bytes());
    let ended = drill_file(&file, cluster).end();
    assert_eq!(ended.code, 1, "{}", ended.all());
    ended.assert_says("extension no_such of database nostromo");
    assert_eq!(ended.check("target-ready")["outcome"], "failed");
    assert_eq!(ended.check("restore-complete")["outcome"], "not_checked");

    let file = dir.path().join("with-locale.sql.gz");
    let from = "LOCALE = 'C'";
    assert!(dump.contains(from), "{dump:.2000}");
    let text = dump.replacen(from, "LOCALE = 'xx_YY.UTF-8'", 1);
    write_gzip(&file, text.as_bytes());
    let ended = drill_file(&file, cluster).end();
    assert_eq!(ended.code, 1, "{}", ended.all());
    ended.assert_says("xx_YY.UTF-8");
}

#[test]
fn a_schema_only_drill_says_so_and_never_counts() {
    let Some(cluster) = sample("drill::schema-only") else {
        return;
    };
    let world = World::local(cluster);
    world.passes(world.gate());
    let ended = drill(&world).arg("--schema-only").end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(ended.screen().contains("SCHEMA ONLY"), "{}", ended.all());
    assert!(ended.summary.contains("SCHEMA ONLY"), "{}", ended.summary);
    let report = ended.report();
    assert_eq!(report["restored"]["proof"]["restored"]["rows"], 0);
    let bytes = |of: &str| report[of]["dump_bytes"].as_u64().unwrap();
    assert!(
        bytes("restored") < bytes("archive") / 2,
        "rows were not replayed: {} of {}",
        bytes("restored"),
        bytes("archive")
    );
    assert_eq!(different(report), Vec::<String>::new());
    let gate = world.gate().end();
    assert_eq!(gate.check("drill-fresh")["outcome"], "warned");
}

#[test]
fn a_drill_of_this_month_is_not_repeated() {
    let Some(cluster) = sample("drill::once-per") else {
        return;
    };
    let world = World::local(cluster);
    world.passes(world.gate());
    let first = drill(&world).args(&["--once-per", "month"]).end();
    assert_eq!(first.code, 0, "{}", first.all());
    assert_eq!(first.check("round-trip")["outcome"], "passed");
    let second = drill(&world).args(&["--once-per", "month"]).end();
    assert_eq!(second.code, 0, "{}", second.all());
    assert_eq!(second.check("drill-fresh")["outcome"], "passed");
    assert!(second.report()["restored"].is_null(), "{}", second.all());
    let gate = world.gate().end();
    assert_eq!(
        gate.check("drill-fresh")["outcome"],
        "passed",
        "{}",
        gate.all()
    );
}

#[test]
fn without_an_engine_nothing_is_said_to_be_proved() {
    let Some(cluster) = sample("drill::no-engine") else {
        return;
    };
    let world = World::local(cluster);
    world.passes(world.gate());
    let empty = tempfile::tempdir().unwrap();
    let ended = world
        .run("drill")
        .args(&["--engine", "local"])
        .env("BACKUP_ACTION_PG_BIN_DIR", empty.path())
        .end();
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.has_hint(), "{}", ended.all());
    let ended = world
        .run("drill")
        .args(&[
            "--engine",
            "docker",
            "--image",
            "backup-action-test/no-such:1",
        ])
        .end();
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.has_hint(), "{}", ended.all());
}

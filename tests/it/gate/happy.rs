//! A good cluster: the gate opens, and what it stored is what it says.
#![expect(
    clippy::disallowed_methods,
    reason = "tests run gzip and psql as a person would"
)]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use super::world::{PASSWORD, ROWS, TENANTS, World, object, own, sample};
use crate::support::cluster::{Auth, Cluster, ClusterOptions, is_root, server_user};
use crate::support::{need, root};
use flate2::read::MultiGzDecoder;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Every member of a gzip file.
pub(crate) fn gunzip(archive: &[u8]) -> Vec<u8> {
    let mut dump = Vec::new();
    MultiGzDecoder::new(archive).read_to_end(&mut dump).unwrap();
    dump
}

/// Runs a program with `input` on its stdin; returns its exit code and what it said.
fn pipe(mut command: Command, input: &[u8]) -> (Option<i32>, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input).is_ok());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

/// A fresh cluster in which a whole dump can be replayed: no role of the dump exists in it.
fn fresh() -> Cluster {
    Cluster::start(ClusterOptions {
        superuser: "drill_bootstrap",
        ..ClusterOptions::default()
    })
}

/// `gunzip -c archive | psql -X -v ON_ERROR_STOP=1`.
pub(super) fn restore(into: &Cluster, database: &str, sql: &[u8], flags: &[&str]) {
    let mut psql = into.psql_command(database);
    psql.args(flags);
    let (code, said) = pipe(psql, sql);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn one_pass_fills_both_stores_and_the_archive_restores() {
    let test = "happy";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(world) = World::both(test, cluster) else {
        return;
    };
    let ended = world.passes(world.gate());
    let report = ended.report();
    let archive_key = report["archive"]["key"].as_str().unwrap();
    let stem = archive_key.strip_suffix(".sql.gz").unwrap();
    let snapshot = world.snapshot();
    let local = |name: &str| snapshot.local[name].clone();
    let remote = world.remote.as_ref().unwrap();
    for name in [
        format!("{stem}.sql.gz"),
        format!("{stem}.index.json.gz"),
        format!("{stem}.manifest.json"),
    ] {
        assert!(
            local(&name) == object(remote, &name),
            "{name} differs between the stores"
        );
    }
    let mut names: Vec<&String> = snapshot.local.keys().collect();
    // The first backup of a month has a copy in the archive tier.
    let (archived, remote_names): (Vec<&String>, Vec<&String>) = snapshot
        .remote
        .keys()
        .partition(|name| name.starts_with("archive/"));
    assert_eq!(archived.len(), 3, "{archived:?}");
    names.sort();
    assert_eq!(names, remote_names);
    assert_eq!(
        names.len(),
        5,
        "archive, index, manifest, receipt, RECOVERY.md: {names:?}"
    );

    // The archive is plain gzip of a plain dump, and every digest is that of the bytes.
    let archive = local(archive_key);
    let manifest: Value = serde_json::from_slice(&local(&format!("{stem}.manifest.json"))).unwrap();
    let mut gzip = Command::new("gzip");
    gzip.arg("-t");
    assert_eq!(pipe(gzip, &archive).0, Some(0));
    let dump = gunzip(&archive);
    assert_eq!(manifest["archive"]["dump_sha256"], sha256(&dump));
    assert_eq!(manifest["archive"]["archive_sha256"], sha256(&archive));
    assert_eq!(manifest["archive"]["dump_bytes"], dump.len());
    assert_eq!(manifest["archive"]["archive_bytes"], archive.len());
    let rows = u64::from(TENANTS * (1 + 3 * ROWS) + 2);
    assert_eq!(manifest["archive"]["rows"], rows);
    assert_eq!(manifest["run"]["run_id"], "4711");

    // Receipt, outputs, summary and screen agree with it.
    let receipt: Value = serde_json::from_slice(&local(ended.output("receipt-key"))).unwrap();
    assert_eq!(receipt["verdict"], "passed");
    assert_eq!(receipt["archive"], manifest["archive"]);
    assert_eq!(report["archive"], manifest["archive"]);
    assert_eq!(ended.output("archive-key"), archive_key);
    assert_eq!(
        ended.output("manifest-key"),
        format!("{stem}.manifest.json")
    );
    assert_eq!(ended.output("status"), "passed");
    assert_eq!(ended.output("failed-checks"), "");
    assert!(
        ended.summary.contains("deploy may go on"),
        "{}",
        ended.summary
    );
    ended.assert_says(archive_key);
    let copies = report["copies"].as_array().unwrap();
    assert_eq!(copies.len(), 2);
    assert!(
        copies.iter().all(|copy| copy["published"] == true),
        "{copies:?}"
    );
    assert_eq!(ended.check("stored-readback")["outcome"], "passed");
    assert_eq!(ended.check("remote-copy")["outcome"], "passed");
    let recovery = String::from_utf8(local("RECOVERY.md")).unwrap();
    assert!(
        recovery.contains(archive_key) && recovery.contains("gunzip"),
        "{recovery}"
    );
    for check in report["checks"].as_array().unwrap() {
        assert!(
            matches!(check["outcome"].as_str(), Some("passed" | "warned")),
            "{check}"
        );
    }

    // Restored by hand, everything is there.
    let into = fresh();
    restore(&into, "postgres", &dump, &[]);
    for n in 1..=TENANTS {
        let count = format!("select count(*) from tenant_empresa_{n}.audit_log");
        assert_eq!(into.psql_in("nostromo", &count), ROWS.to_string());
    }
    let sums =
        "select count(*), sum(amount), sum(hashtext(p::text)) from tenant_empresa_2.payroll p";
    assert_eq!(
        into.psql_in("nostromo", sums),
        cluster.psql_in("nostromo", sums)
    );
    assert_eq!(
        into.psql("select rolcanlogin from pg_roles where rolname = 'nostromo_app'"),
        "t"
    );
}

#[test]
fn a_dry_run_stores_nothing_and_opens_nothing() {
    let test = "dry run";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(world) = World::both(test, cluster) else {
        return;
    };
    let ended = world.passes(world.gate().arg("--dry-run"));
    assert_eq!(ended.output("passed"), "false");
    assert_eq!(ended.output("status"), "dry-run");
    assert!(
        !ended.summary.contains("deploy may go on"),
        "{}",
        ended.summary
    );
}

#[test]
fn standard_output_can_be_the_report_alone() {
    let test = "json";
    let Some(cluster) = sample(test) else {
        return;
    };
    let world = World::local(cluster);
    let ended = world.passes(
        world
            .gate()
            .args(&["--output", "json", "--level", "9", "--jobs", "1"]),
    );
    let printed: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(&printed, ended.report());
    // A failing one too.
    let (gate, _fake) = world.gate_with("exits-1-at-start");
    let ended = world.closes(gate.args(&["--output", "json"]), 1, &["out of memory"]);
    let printed: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(&printed, ended.report());
}

#[test]
fn outside_of_actions_it_is_a_plain_program() {
    let test = "at home";
    let Some(cluster) = sample(test) else {
        return;
    };
    let world = World::local(cluster);
    let ended = world.passes(world.gate().at_home());
    assert!(!ended.stderr.contains("::"), "{}", ended.all());
    assert!(ended.outputs.is_empty());
}

#[test]
fn a_store_with_checksums_can_be_believed() {
    let test = "checksum";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(mut world) = World::remote(test, cluster) else {
        return;
    };
    let peer = world.peer();
    let ended = world.passes(world.gate().args(&["--verify", "checksum"]));
    let probe = ended.check("store-writable")["evidence"].as_str().unwrap();
    let archive = ended.output("archive-key");
    let reads = |seen: &[crate::support::peer::Seen]| {
        seen.iter()
            .filter(|seen| seen.method == "GET" && seen.target.contains(archive))
            .count()
    };
    let read_back = ended.check("stored-readback");
    if ended.check("stored-checksum")["evidence"]
        .as_str()
        .unwrap()
        .contains("CRC-64")
    {
        assert_eq!(reads(&peer.seen()), 0, "{probe}");
        assert_eq!(read_back["outcome"], "warned");
    } else {
        // A store that keeps no checksum cannot be believed: every byte is read all the same.
        assert!(reads(&peer.seen()) > 0, "{probe}");
        assert_eq!(read_back["outcome"], "passed");
    }
}

#[test]
fn hostile_names_go_through_and_restore() {
    let test = "hostile";
    let Some(cluster) = own(test) else {
        return;
    };
    let sql = std::fs::read_to_string(root().join("fixtures/sql/hostile.sql")).unwrap();
    let mut psql = cluster.psql_command("postgres");
    // Its \\connect takes connection strings, which keep nothing of the session before.
    psql.env("PGHOST", &cluster.socket_dir)
        .env("PGPORT", cluster.port.to_string())
        .env("PGUSER", "postgres");
    let (code, said) = pipe(psql, sql.as_bytes());
    assert_eq!(code, Some(0), "{said}");
    let world = World::local(&cluster);
    let ended = world.passes(world.gate());
    let archive = world.snapshot().local[ended.output("archive-key")].clone();
    let dump = gunzip(&archive);
    let into = fresh();
    restore(&into, "postgres", &dump, &[]);
    let databases =
        "select string_agg(datname, ',' order by datname collate \"C\") from pg_database";
    assert_eq!(into.psql(databases), cluster.psql(databases));
    let verify = world.run("verify").end();
    assert_eq!(verify.code, 0, "{}", verify.all());
    let show = world.run("show").end();
    assert_eq!(show.code, 0, "{}", show.all());
    // Nothing in it acts on the log.
    for text in [ended.screen(), ended.stderr, show.screen()] {
        assert!(!text.contains("##["), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}

#[test]
fn peer_authentication_works_through_another_user() {
    let test = "sudo-user";
    let user = (is_root() && server_user() == Some("postgres")).then_some("postgres");
    let Some(user) = need(test, "root, and a user postgres", user) else {
        return;
    };
    let Some(_) = need(test, "PostgreSQL's server", Cluster::installed(None)) else {
        return;
    };
    let cluster = Cluster::start(ClusterOptions {
        auth: Auth::Scram(PASSWORD.to_owned()),
        peer: true,
        ..ClusterOptions::default()
    });
    cluster.psql("create table kept as select generate_series(1, 5) as id");
    let mut world = World::local(&cluster);
    world.url = cluster.socket_url();
    let ended = world.passes(world.gate().args(&["--sudo-user", user]));
    assert_eq!(ended.report()["archive"]["rows"], 5);
    // As ourselves we are not let in.
    world.closes(world.gate(), 3, &["Peer authentication failed"]);
}

//! The inventory of a real server, against what pg_dump chooses to dump.

use super::{own_server, preflight};
use crate::support::cluster::{Cluster, ClusterOptions};
use backup_action::archive::index::Name;
use backup_action::check::Outcome;
use backup_action::postgres::dump::{DumpOptions, dumpall_command};
use backup_action::postgres::inventory::{ArchivedInventory, Inventory, compare, inventory};
use backup_action::postgres::preflight::Server;
use backup_action::process::capture;
use std::collections::BTreeSet;
use std::time::Duration;

async fn server_of(cluster: &Cluster) -> Server {
    preflight(cluster, &cluster.url()).await.server.unwrap()
}

/// What a dump says it holds, by its TOC comments.
async fn archived(server: &Server) -> ArchivedInventory {
    let options = DumpOptions {
        role_passwords: true,
        lock_wait_timeout: Duration::from_secs(30),
        extra_args: Vec::new(),
    };
    let output = capture(
        dumpall_command(server, &options),
        Duration::from_secs(120),
        100 << 20,
    )
    .await
    .unwrap();
    assert!(output.status.is_success(), "{}", output.stderr);
    let mut found = ArchivedInventory::default();
    let mut database = Name::from("");
    for line in output.stdout.split(|byte| *byte == b'\n') {
        if let Some(name) = line.strip_prefix(b"\\connect ") {
            let quoted = name.strip_prefix(b"-reuse-previous=on \"dbname='");
            let name = quoted.map_or(name, |n| &n[..n.len() - 2]);
            let unescaped = name.iter().copied().filter(|byte| *byte != b'\\');
            database = unescaped.collect::<Vec<u8>>().into();
            found.databases.insert(database.clone());
        }
        let Some(rest) = line.strip_prefix(b"-- Name: ") else {
            continue;
        };
        // Bytes, but the words around the names are ASCII.
        let at = |word: &[u8]| rest.windows(word.len()).position(|w| w == word);
        let (Some(kind), Some(schema), Some(owner)) =
            (at(b"; Type: "), at(b"; Schema: "), at(b"; Owner: "))
        else {
            continue;
        };
        let name = Name::from(&rest[..kind]);
        let in_schema = Name::from(&rest[schema + 10..owner]);
        match &rest[kind + 8..schema] {
            b"SCHEMA" => {
                found.schemas.insert((database.clone(), name));
            }
            b"TABLE" | b"FOREIGN TABLE" | b"MATERIALIZED VIEW" => {
                found.tables.insert((database.clone(), in_schema, name));
            }
            _ => {}
        }
    }
    found
}

fn flat(inventory: &Inventory) -> ArchivedInventory {
    let mut flat = ArchivedInventory::default();
    for (database, content) in &inventory.databases {
        flat.databases.insert(database.clone());
        flat.schemas.extend(
            content
                .schemas
                .keys()
                .map(|schema| (database.clone(), schema.clone())),
        );
        flat.tables.extend(
            content
                .tables
                .keys()
                .map(|(schema, table)| (database.clone(), schema.clone(), table.clone())),
        );
    }
    flat
}

#[tokio::test]
async fn the_inventory_is_exactly_what_pg_dump_dumps() {
    let Some(cluster) = own_server("inventory", ClusterOptions::default()) else {
        return;
    };
    cluster.sample(2, 5);
    cluster.psql("create database empty; create database \"od'd\"; create database latin encoding 'LATIN1' template template0; create database ascii encoding 'SQL_ASCII' template template0; create database closed allow_connections false");
    cluster.psql_in(
        "latin",
        "set client_encoding = 'UTF8'; create schema \"café\"; create table \"café\".\"naïve\" ()",
    );
    cluster.psql_in("ascii", "create table \"\u{1f418}\" (x int)");
    cluster.psql_in(
        "nostromo",
        "create table parts (id int) partition by range (id);
         create table parts_1 partition of parts for values from (0) to (10);
         create materialized view mv as select 1 as x;
         create unlogged table un (x int);
         create temp table tmp (x int);
         create view v as select 1;
         create foreign data wrapper w; create server s foreign data wrapper w; create foreign table ft (x int) server s;
         create extension pg_trgm; create schema \"we\"\"ird .\"; create table \"we\"\"ird .\".\"t; Type: VIEW\" (x int);",
    );
    let server = server_of(&cluster).await;
    let before = inventory(&server).await.unwrap();
    let dumped = archived(&server).await;
    let mut counted = flat(&before);
    // The comment of this name is ambiguous to the simple reader above.
    let odd = |(_, _, table): &(Name, Name, Name)| table.as_bytes().starts_with(b"t; Type");
    assert_eq!(counted.tables.iter().filter(|t| odd(t)).count(), 1);
    counted.tables.retain(|t| !odd(t));
    assert_eq!(counted, dumped);
    let latin = Name::from(&b"caf\xe9"[..]);
    assert!(counted.schemas.contains(&(Name::from("latin"), latin)));
    assert!(!counted.databases.contains(&Name::from("closed")));

    // Against the archive: everything, then one thing less of each kind.
    let mut complete = flat(&before);
    let check = compare(&before, &before, &complete);
    assert_eq!(check.outcome, Outcome::Passed, "{check:#?}");
    let payroll = (
        Name::from("nostromo"),
        Name::from("tenant_empresa_2"),
        Name::from("payroll"),
    );
    assert!(complete.tables.remove(&payroll));
    let check = compare(&before, &before, &complete);
    assert_eq!(check.outcome, Outcome::Failed);
    assert!(
        check
            .evidence
            .contains("table nostromo.tenant_empresa_2.payroll"),
        "{check:#?}"
    );
    complete.databases = BTreeSet::new();
    assert!(
        compare(&before, &before, &complete)
            .evidence
            .contains("database empty")
    );
}

#[tokio::test]
async fn what_changes_during_the_dump_is_no_false_alarm() {
    let Some(cluster) = own_server("inventory drift", ClusterOptions::default()) else {
        return;
    };
    cluster.psql("create database gone; create database stays; create table kept (); create table dropped (); create table remade ()");
    let server = server_of(&cluster).await;
    let before = inventory(&server).await.unwrap();
    cluster.psql("drop database gone; create database new; drop table dropped; drop table remade; create table remade (); create schema later; create table later.t ()");
    let after = inventory(&server).await.unwrap();
    let mut archive = flat(&before);
    let public = |table: &str| {
        (
            Name::from("postgres"),
            Name::from("public"),
            Name::from(table),
        )
    };
    archive.databases.remove(&Name::from("gone"));
    archive.tables.remove(&public("dropped"));
    archive.tables.remove(&public("remade"));
    let check = compare(&before, &after, &archive);
    assert_eq!(check.outcome, Outcome::Passed, "{check:#?}");
    for said in [
        "database new",
        "schema postgres.later",
        "database gone",
        "table postgres.public.dropped",
        "remade",
    ] {
        assert!(check.evidence.contains(said), "{said} in {check:#?}");
    }
    archive.tables.remove(&public("kept"));
    assert_eq!(compare(&before, &after, &archive).outcome, Outcome::Failed);
}

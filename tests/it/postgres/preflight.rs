//! Every preflight check answered both ways by a real server.

use super::{
    check, connect, dump, expect, is_complete, is_fine, options, own_server, preflight, server,
};
use crate::support::cluster::{Cluster, ClusterOptions};
use backup_action::check::{CheckId, Outcome, Severity};
use backup_action::postgres::preflight::{self as pre, Preflight, RolePasswords};
use std::io::{Seek, SeekFrom, Write};

async fn run_as_role(cluster: &Cluster, role: &str, passwords: RolePasswords) -> Preflight {
    let mut options = options(cluster);
    options.role_passwords = passwords;
    pre::run(&connect(&cluster.url_for(role, "postgres")), &options).await
}

#[tokio::test]
async fn a_healthy_server_passes_everything_and_its_facts_are_known() {
    let Some(cluster) = own_server(
        "healthy",
        ClusterOptions {
            checksums: true,
            ..ClusterOptions::default()
        },
    ) else {
        return;
    };
    cluster.sample(2, 10);
    let preflight = preflight(&cluster, &cluster.url()).await;
    let ids: Vec<CheckId> = preflight.checks.iter().map(|c| c.id).collect();
    let asked = CheckId::ALL
        .iter()
        .copied()
        .take_while(|id| *id != CheckId::DiskSpace);
    assert_eq!(ids, asked.collect::<Vec<_>>());
    for check in &preflight.checks {
        assert!(is_fine(check), "{check:#?}");
    }
    expect(
        &preflight,
        CheckId::SourceChecksums,
        Outcome::Passed,
        "data_checksums is on",
    );
    expect(
        &preflight,
        CheckId::LockBudget,
        Outcome::Passed,
        "8 tables in nostromo",
    );
    let facts = preflight.facts.unwrap();
    assert_eq!(facts.version_num / 10_000, facts.major);
    assert!(facts.version.starts_with(&facts.major.to_string()) && !facts.version.contains(' '));
    let identifier = cluster.psql("select system_identifier from pg_control_system()");
    assert_eq!(facts.system_identifier.unwrap(), identifier);
    assert!(facts.is_superuser && facts.role_passwords && !facts.in_recovery && !facts.pooled);
    let names: Vec<String> = facts.databases.iter().map(|d| d.name.to_lossy()).collect();
    assert_eq!(names, ["nostromo", "postgres", "template0", "template1"]);
    let size: u64 = cluster
        .psql("select sum(pg_database_size(oid)) from pg_database")
        .parse()
        .unwrap();
    assert!(
        facts.total_bytes.abs_diff(size) < size / 10,
        "{} {size}",
        facts.total_bytes
    );
    assert!(
        facts
            .databases
            .iter()
            .all(|d| d.allow_connections == (d.name.to_lossy() != "template0"))
    );
}

#[tokio::test]
async fn a_role_that_cannot_read_everything_is_named_with_what_it_misses() {
    let Some(cluster) = own_server("sees everything", ClusterOptions::default()) else {
        return;
    };
    cluster.sample(1, 3);
    cluster.psql("create role reader login; create role all_reader login; create database private; revoke connect on database private from public");
    cluster.psql_in("private", "create table t ()");
    let id = CheckId::SeesEverything;

    let none = run_as_role(&cluster, "reader", RolePasswords::Auto).await;
    let check = expect(&none, id, Outcome::Failed, "may not connect to private");
    assert!(
        check.evidence.contains("nostromo.tenant_empresa_1."),
        "{check:#?}"
    );
    assert!(check.hint.unwrap().contains("pg_read_all_data"));
    // Warnings only, when that is wanted.
    let mut warn = options(&cluster);
    warn.severity = &|_| Severity::Warn;
    let warned = pre::run(&connect(&cluster.url_for("reader", "postgres")), &warn).await;
    expect(&warned, id, Outcome::Warned, "may not connect");

    let denied = run_as_role(&cluster, "all_reader", RolePasswords::Auto).await;
    expect(
        &denied,
        id,
        Outcome::Failed,
        "role all_reader may not connect to private",
    );
    cluster.psql("grant connect on database private to all_reader");
    let unreadable = run_as_role(&cluster, "all_reader", RolePasswords::Auto).await;
    expect(
        &unreadable,
        id,
        Outcome::Failed,
        "cannot read 8 tables and sequences",
    );
    for (database, schema) in [
        ("private", "public"),
        ("nostromo", "central"),
        ("nostromo", "parametros"),
        ("nostromo", "tenant_empresa_1"),
    ] {
        cluster.psql_in(database, &format!("grant usage on schema {schema} to all_reader; grant select on all tables in schema {schema} to all_reader; grant select on all sequences in schema {schema} to all_reader"));
    }
    let auto = run_as_role(&cluster, "all_reader", RolePasswords::Auto).await;
    expect(&auto, id, Outcome::Passed, "are left out");
    assert!(!auto.facts.as_ref().unwrap().role_passwords);
    let output = dump(&auto).await;
    assert!(is_complete(&output), "{}", output.stderr);
    let include = run_as_role(&cluster, "all_reader", RolePasswords::Include).await;
    let check = expect(&include, id, Outcome::Failed, "pg_authid");
    assert!(check.hint.unwrap().contains("--role-passwords exclude"));
    let exclude = run_as_role(&cluster, "all_reader", RolePasswords::Exclude).await;
    expect(&exclude, id, Outcome::Passed, "are left out");
    let superuser = run_as_role(&cluster, "postgres", RolePasswords::Exclude).await;
    expect(
        &superuser,
        id,
        Outcome::Passed,
        "is a superuser; the passwords of the roles are left out",
    );

    // Row security: hidden from a reader, not from BYPASSRLS, forced on the owner.
    cluster.psql_in("nostromo", "alter table tenant_empresa_1.payroll enable row level security; create policy p on tenant_empresa_1.payroll using (false)");
    let hidden = run_as_role(&cluster, "all_reader", RolePasswords::Auto).await;
    let check = expect(
        &hidden,
        id,
        Outcome::Failed,
        "row security hides rows of 1 tables",
    );
    assert!(
        check.evidence.contains("nostromo.tenant_empresa_1.payroll"),
        "{check:#?}"
    );
    cluster.psql("alter role all_reader bypassrls");
    let bypasses = run_as_role(&cluster, "all_reader", RolePasswords::Auto).await;
    expect(&bypasses, id, Outcome::Passed, "bypasses row security");
    // The check keeps its word: such a role can dump the cluster.
    let output = dump(&bypasses).await;
    assert!(is_complete(&output), "{}", output.stderr);
    cluster.psql("grant pg_read_all_data to all_reader");
    let reads_all = run_as_role(&cluster, "all_reader", RolePasswords::Include).await;
    expect(&reads_all, id, Outcome::Passed, "reads every table");
    assert!(is_complete(&dump(&reads_all).await));
    let superuser = run_as_role(&cluster, "postgres", RolePasswords::Auto).await;
    expect(&superuser, id, Outcome::Passed, "is a superuser");
}

#[tokio::test]
async fn a_database_that_pg_dumpall_would_skip_is_named_or_accepted() {
    let Some(cluster) = own_server("connectable", ClusterOptions::default()) else {
        return;
    };
    cluster.psql("create database \"Closed\"; update pg_database set datallowconn = false where datname = 'Closed'");
    cluster.psql(
        "create database broken; update pg_database set datconnlimit = -2 where datname = 'broken'",
    );
    let preflight_ = preflight(&cluster, &cluster.url()).await;
    expect(
        &preflight_,
        CheckId::DatabasesConnectable,
        Outcome::Failed,
        "Closed, broken",
    );
    let accepted = ["Closed".to_owned()];
    let mut options = options(&cluster);
    options.accepted_unconnectable = &accepted;
    let half = pre::run(&connect(&cluster.url()), &options).await;
    let check = expect(
        &half,
        CheckId::DatabasesConnectable,
        Outcome::Failed,
        "broken",
    );
    assert!(!check.evidence.contains("Closed"));
    cluster.psql("update pg_database set datconnlimit = -1 where datname = 'broken'");
    let all = pre::run(&connect(&cluster.url()), &options).await;
    expect(
        &all,
        CheckId::DatabasesConnectable,
        Outcome::Passed,
        "left out as accepted: Closed",
    );
}

#[tokio::test]
async fn blockers_are_named_with_pid_user_application_and_relation() {
    let Some(mut cluster) = own_server(
        "blockers",
        ClusterOptions {
            settings: vec!["max_prepared_transactions=2".into()],
            ..ClusterOptions::default()
        },
    ) else {
        return;
    };
    cluster.sample(1, 1);
    let id = CheckId::NoBlockers;
    let free = preflight(&cluster, &cluster.url()).await;
    expect(&free, id, Outcome::Passed, "no session");
    let holder = cluster.hold(
        "nostromo",
        "lock table tenant_empresa_1.payroll in access exclusive mode",
    );
    let held = preflight(&cluster, &cluster.url()).await;
    let check = expect(
        &held,
        id,
        Outcome::Warned,
        "holds ACCESS EXCLUSIVE on nostromo.tenant_empresa_1.payroll",
    );
    let pid = cluster.psql("select pid from pg_stat_activity where application_name = 'holder'");
    for said in [
        format!("pid {pid} "),
        "user postgres".into(),
        "application holder".into(),
        "idle in transaction".into(),
    ] {
        assert!(check.evidence.contains(&said), "{said} in {check:#?}");
    }
    assert!(
        check
            .hint
            .unwrap()
            .contains(&format!("pg_terminate_backend({pid})"))
    );
    drop(holder);
    // A reader is in nobody's way.
    let reader = cluster.hold("nostromo", "select count(*) from tenant_empresa_1.payroll");
    let read = preflight(&cluster, &cluster.url()).await;
    expect(&read, id, Outcome::Passed, "no session");
    drop(reader);
    cluster.psql_in("nostromo", "begin; lock table central.tenants in access exclusive mode; prepare transaction 'forgotten'");
    let prepared = preflight(&cluster, &cluster.url()).await;
    let check = expect(
        &prepared,
        id,
        Outcome::Warned,
        "prepared transaction \"forgotten\"",
    );
    assert!(check.hint.unwrap().contains("ROLLBACK PREPARED"));
    // After a restart the server knows it by another number.
    cluster.stop();
    cluster.restart();
    let prepared = preflight(&cluster, &cluster.url()).await;
    expect(
        &prepared,
        id,
        Outcome::Warned,
        "prepared transaction \"forgotten\"",
    );
    cluster.psql_in("nostromo", "rollback prepared 'forgotten'");
}

#[tokio::test]
async fn more_tables_than_locks_are_noticed_with_the_value_to_set() {
    let settings = [
        "max_locks_per_transaction=10",
        "max_connections=10",
        "superuser_reserved_connections=1",
        "max_wal_senders=0",
    ];
    let small = ClusterOptions {
        settings: settings.map(str::to_owned).to_vec(),
        ..ClusterOptions::default()
    };
    let Some(cluster) = own_server("lock budget", small) else {
        return;
    };
    let fits = preflight(&cluster, &cluster.url()).await;
    expect(
        &fits,
        CheckId::LockBudget,
        Outcome::Passed,
        "room for 100 locks",
    );
    for n in 0..5 {
        cluster.psql(&format!("do $$ begin for i in 1..21 loop execute format('create table t_{n}_%s ()', i); end loop; end $$"));
    }
    let over = preflight(&cluster, &cluster.url()).await;
    let check = expect(
        &over,
        CheckId::LockBudget,
        Outcome::Warned,
        "105 tables in postgres, room for 100 locks",
    );
    assert!(
        check
            .hint
            .unwrap()
            .contains("max_locks_per_transaction = 14")
    );
}

#[tokio::test]
async fn a_damaged_page_that_the_server_has_seen_fails() {
    let Some(mut cluster) = own_server(
        "checksums",
        ClusterOptions {
            checksums: true,
            ..ClusterOptions::default()
        },
    ) else {
        return;
    };
    cluster.psql("create table t as select generate_series(1, 1000) as x; checkpoint");
    let file = cluster.psql("select pg_relation_filepath('t')");
    cluster.stop();
    let mut page = std::fs::OpenOptions::new()
        .write(true)
        .open(cluster.data_dir.join(file))
        .unwrap();
    page.seek(SeekFrom::Start(4000)).unwrap();
    page.write_all(b"damage").unwrap();
    drop(page);
    cluster.restart();
    let unseen = preflight(&cluster, &cluster.url()).await;
    expect(
        &unseen,
        CheckId::SourceChecksums,
        Outcome::Passed,
        "no failures seen",
    );
    cluster.psql("do $$ begin perform count(*) from t; exception when others then null; end $$");
    // The counter is written when the session reports its statistics.
    for _ in 0..100 {
        if cluster.psql("select sum(checksum_failures) from pg_stat_database") != "0" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let seen = preflight(&cluster, &cluster.url()).await;
    let check = expect(
        &seen,
        CheckId::SourceChecksums,
        Outcome::Failed,
        "1 in postgres",
    );
    assert!(check.hint.unwrap().contains("Keep all earlier backups"));
}

#[tokio::test]
async fn checksums_that_are_off_are_a_note() {
    let Some(cluster) = server("checksums off") else {
        return;
    };
    let preflight = preflight(cluster, &cluster.url()).await;
    expect(
        &preflight,
        CheckId::SourceChecksums,
        Outcome::Passed,
        "data_checksums is off",
    );
}

/// The address of this machine that is not loopback, when it has one.
fn outer_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the kernel only chooses a route.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

#[tokio::test]
async fn a_connection_that_leaves_the_machine_unencrypted_is_said() {
    let Some(address) =
        crate::support::need("connection verified", "a network address", outer_address())
    else {
        return;
    };
    let listening = ClusterOptions {
        settings: vec!["listen_addresses='*'".into()],
        ..ClusterOptions::default()
    };
    let Some(cluster) = own_server("connection verified", listening) else {
        return;
    };
    let here = preflight(&cluster, &cluster.url()).await;
    expect(
        &here,
        CheckId::ConnectionVerified,
        Outcome::Passed,
        "stays on this machine",
    );
    let outside = cluster.url().replace("127.0.0.1", &address.to_string());
    let there = preflight(&cluster, &outside).await;
    expect(
        &there,
        CheckId::ConnectionVerified,
        Outcome::Warned,
        "not encrypted",
    );
}

#[tokio::test]
async fn names_of_any_encoding_and_hostile_text_are_survived() {
    let Some(cluster) = own_server(
        "hostile names",
        ClusterOptions {
            encoding: "LATIN1",
            ..ClusterOptions::default()
        },
    ) else {
        return;
    };
    cluster.psql("set client_encoding = 'UTF8'; create database \"señal\"; create database ascii encoding 'SQL_ASCII' template template0");
    cluster.psql_in(
        "ascii",
        "create table \"\u{1f418}'\"\"\\::error\" (); create role \"rôle\"\"x\" login",
    );
    let preflight_ = preflight(&cluster, &cluster.url()).await;
    for check in &preflight_.checks {
        assert!(is_fine(check), "{check:#?}");
    }
    let facts = preflight_.facts.unwrap();
    assert!(
        facts
            .databases
            .iter()
            .any(|d| d.name.as_bytes() == b"se\xf1al"),
        "{facts:?}"
    );
    let role = preflight(&cluster, &cluster.url_for("rôle\"x", "ascii")).await;
    let check = check(&role, CheckId::SeesEverything);
    assert_eq!(check.outcome, Outcome::Failed, "{check:#?}");
}

#[tokio::test]
async fn a_standby_is_surveyed_and_named() {
    let Some(mut cluster) = own_server("standby", ClusterOptions::default()) else {
        return;
    };
    cluster.psql("create table t ()");
    cluster.stop();
    std::fs::write(cluster.data_dir.join("standby.signal"), "").unwrap();
    cluster.restart();
    let preflight = preflight(&cluster, &cluster.url()).await;
    for check in &preflight.checks {
        assert!(is_fine(check), "{check:#?}");
    }
    expect(
        &preflight,
        CheckId::ServerReachable,
        Outcome::Passed,
        "a standby",
    );
    assert!(preflight.facts.unwrap().in_recovery);
}

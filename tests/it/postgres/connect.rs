//! Getting in: passwords, refusals, other users, and the programs that are used for it.

use super::{
    connect, connect_with, dump, expect, is_complete, is_fine, options, own_server, preflight,
    server,
};
use crate::support::cluster::{Auth, ClusterOptions, is_root, server_user, write_program};
use crate::support::{need, pg_bin_dir};
use backup_action::archive::index::Name;
use backup_action::check::{Check, CheckId, Outcome, Verdict};
use backup_action::postgres::preflight::{self as pre, Preflight};
use backup_action::process::{RunAs, capture};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

fn the_only_check(preflight: &Preflight) -> &Check {
    assert_eq!(preflight.checks.len(), 1, "{:#?}", preflight.checks);
    assert!(preflight.server.is_none() && preflight.facts.is_none());
    let check = &preflight.checks[0];
    assert_eq!(check.id, CheckId::ServerReachable);
    assert_eq!(check.outcome, Outcome::NotChecked);
    assert_eq!(Verdict::of(&preflight.checks, CheckId::ALL), Verdict::Error);
    check
}

/// FAULTS D22. One server, one role per password.
#[tokio::test]
async fn any_password_opens_a_scram_server_and_a_wrong_one_is_explained() {
    let admin = r"p@ss:w/o#r d%\'é";
    let scram = ClusterOptions {
        auth: Auth::Scram(admin.into()),
        ..ClusterOptions::default()
    };
    let Some(cluster) = own_server("scram", scram) else {
        return;
    };
    let dumped = preflight(&cluster, &cluster.url()).await;
    expect(
        &dumped,
        CheckId::ServerReachable,
        Outcome::Passed,
        "as role postgres",
    );
    let output = dump(&dumped).await;
    assert!(is_complete(&output), "{}", output.stderr);

    let url = cluster.url_for("postgres", "postgres");
    let with = |password: &str| {
        let encoded =
            percent_encoding::utf8_percent_encode(password, percent_encoding::NON_ALPHANUMERIC);
        let rest = url.split_once('@').unwrap().1;
        format!("postgres://postgres:{encoded}@{rest}")
    };
    for password in [
        "@",
        "::",
        r"\",
        r"\:",
        "a b ",
        "%41",
        "#x",
        "línea 🐘",
        "two\nlines",
        "'\"$(x)",
    ] {
        cluster.psql(&format!("alter role postgres password $p${password}$p$"));
        let preflight = preflight(&cluster, &with(password)).await;
        expect(
            &preflight,
            CheckId::ServerReachable,
            Outcome::Passed,
            "PostgreSQL",
        );
        let output = dump(&preflight).await;
        assert!(is_complete(&output), "{password:?}: {}", output.stderr);
    }

    let refused = preflight(&cluster, &with("hunter2:@/")).await;
    let check = the_only_check(&refused);
    assert!(
        check.evidence.contains("refused the password"),
        "{check:#?}"
    );
    assert!(!format!("{check:?}").contains("hunter2"));
    let none = preflight(
        &cluster,
        &format!("postgres://postgres@127.0.0.1:{}/postgres", cluster.port),
    )
    .await;
    let check = the_only_check(&none);
    assert!(check.evidence.contains("none was given"), "{check:#?}");
    assert!(check.hint.as_ref().unwrap().contains("PGPASSWORD"));
}

#[tokio::test]
async fn a_server_that_is_down_or_unknown_is_not_checked() {
    let Some(mut cluster) = own_server("server down", ClusterOptions::default()) else {
        return;
    };
    cluster.stop();
    for (url, said) in [
        (cluster.url(), "no server answers at 127.0.0.1"),
        (cluster.socket_url(), "no server answers at /tmp/"),
        (
            "postgres://u@no-such-host.invalid/d".into(),
            "could not find server no-such-host.invalid:5432",
        ),
    ] {
        let preflight = preflight(&cluster, &url).await;
        let check = the_only_check(&preflight);
        assert!(check.evidence.contains(said), "{check:#?}");
        assert!(check.hint.is_some());
    }
    cluster.restart();
    let up = preflight(&cluster, &cluster.url()).await;
    expect(
        &up,
        CheckId::ServerReachable,
        Outcome::Passed,
        "at 127.0.0.1:",
    );
}

#[tokio::test]
async fn refusals_of_the_server_are_explained() {
    let Some(cluster) = server("refusals") else {
        return;
    };
    for (role, database, said) in [
        ("postgres", "no_such_db", "has no database \"no_such_db\""),
        ("no_such_role", "postgres", "does not know this role"),
    ] {
        let preflight = preflight(cluster, &cluster.url_for(role, database)).await;
        let check = the_only_check(&preflight);
        assert!(check.evidence.contains(said), "{check:#?}");
    }
    let encrypted = preflight(cluster, &format!("{}?sslmode=verify-full", cluster.url())).await;
    let check = the_only_check(&encrypted);
    assert!(
        check.evidence.contains("TLS") || check.evidence.contains("certificate"),
        "{check:#?}"
    );
}

#[tokio::test]
async fn variables_that_contradict_the_url_do_not_reach_the_children() {
    let Some(cluster) = server("contradictions") else {
        return;
    };
    let env = [
        ("PGHOST", "10.255.255.1"),
        ("PGHOSTADDR", "10.255.255.1"),
        ("PGPORT", "1"),
        ("PGSERVICE", "nowhere"),
        ("PGDATABASE", "nothing"),
        ("PGUSER", "nobody"),
        ("PGSSLMODE", "disable"),
    ];
    let connection = connect_with(&cluster.url(), &env);
    let preflight = pre::run(&connection, &options(cluster)).await;
    expect(
        &preflight,
        CheckId::ServerReachable,
        Outcome::Passed,
        "as role postgres",
    );
}

#[tokio::test]
async fn a_dump_goes_through_the_socket_and_starts_from_any_database() {
    let Some(cluster) = server("socket") else {
        return;
    };
    cluster.psql("create database \"odd 'name\\ \u{1f418}\"");
    let url = cluster.url_for("postgres", "odd 'name\\ \u{1f418}");
    for url in [cluster.socket_url(), url] {
        let preflight = preflight(cluster, &url).await;
        let output = dump(&preflight).await;
        assert!(is_complete(&output), "{url}: {}", output.stderr);
    }
    cluster.psql("drop database \"odd 'name\\ \u{1f418}\"");
}

/// The runbook's `sudo -u postgres`, for us as root. As another user there is nobody to become.
#[tokio::test]
async fn peer_authentication_works_as_the_servers_user() {
    if !is_root() {
        return;
    }
    let postgres = server_user().filter(|user| *user == "postgres");
    let Some(user) = need("peer", "a user postgres", postgres) else {
        return;
    };
    let peer = ClusterOptions {
        peer: true,
        ..ClusterOptions::default()
    };
    let Some(cluster) = own_server("peer", peer) else {
        return;
    };
    let refused = preflight(&cluster, &cluster.socket_url()).await;
    let check = the_only_check(&refused);
    assert!(
        check.hint.as_ref().unwrap().contains("--sudo-user"),
        "{check:#?}"
    );

    let run_as = RunAs::resolve(user).await.unwrap();
    let mut as_postgres = options(&cluster);
    as_postgres.run_as = Some(run_as.clone());
    let preflight = pre::run(&connect(&cluster.socket_url()), &as_postgres).await;
    expect(
        &preflight,
        CheckId::ServerReachable,
        Outcome::Passed,
        "as role postgres",
    );
    expect(
        &preflight,
        CheckId::ConnectionVerified,
        Outcome::Passed,
        "on this machine",
    );
    let output = dump(&preflight).await;
    assert!(is_complete(&output), "{}", output.stderr);

    // A passfile is the other user's own then.
    let scram = ClusterOptions {
        auth: Auth::Scram("se:cret".into()),
        ..ClusterOptions::default()
    };
    let Some(with_scram) = own_server("peer", scram) else {
        return;
    };
    let preflight = pre::run(&connect(&with_scram.url()), &as_postgres).await;
    expect(
        &preflight,
        CheckId::ServerReachable,
        Outcome::Passed,
        "as role postgres",
    );
    assert!(is_complete(&dump(&preflight).await));
    let with_password = connect("postgres://u:secret@h").for_user(&run_as).unwrap();
    let path = with_password.env_for_children()["PGPASSFILE"].clone();
    let command = backup_action::process::Command::new("cat")
        .arg(&path)
        .run_as(Some(run_as));
    let output = capture(command, Duration::from_secs(30), 1000)
        .await
        .unwrap();
    assert_eq!(output.stdout, b"*:*:*:*:secret\n");
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    drop(with_password);
    assert!(!std::path::Path::new(&path).exists());
}

#[tokio::test]
async fn an_older_client_is_refused_with_the_install_line() {
    let Some(cluster) = server("client too old") else {
        return;
    };
    let old = tempfile::tempdir().unwrap();
    for name in ["pg_dumpall", "pg_dump"] {
        write_program(
            &old.path().join(name),
            &format!("#!/bin/sh\necho '{name} (PostgreSQL) 9.6.24'\n"),
        );
    }
    std::os::unix::fs::symlink(cluster.bin_dir.join("psql"), old.path().join("psql")).unwrap();
    let mut with_old = options(cluster);
    with_old.pg_bin_dir = Some(old.path().to_owned());
    // Without a client there is no dump, whatever the configuration says.
    with_old.severity = &|_| backup_action::check::Severity::Warn;
    let preflight = pre::run(&connect(&cluster.url()), &with_old).await;
    let check = expect(
        &preflight,
        CheckId::ClientVersion,
        Outcome::Failed,
        "9.6.24",
    );
    assert!(
        check.evidence.contains("older than the server"),
        "{check:#?}"
    );
    assert!(check.hint.unwrap().contains("nstall"));
    assert!(preflight.server.is_none());
    expect(
        &preflight,
        CheckId::ServerReachable,
        Outcome::Passed,
        "PostgreSQL",
    );
    assert!(
        preflight
            .checks
            .iter()
            .all(|c| c.id != CheckId::ClientPatched)
    );
}

#[tokio::test]
async fn a_program_that_is_not_postgresql_is_not_checked() {
    let Some(cluster) = server("strange client") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    for name in ["pg_dumpall", "pg_dump"] {
        write_program(
            &dir.path().join(name),
            "#!/bin/sh\necho \"what's that?\" >&2; exit 3\n",
        );
    }
    std::os::unix::fs::symlink(cluster.bin_dir.join("psql"), dir.path().join("psql")).unwrap();
    let mut strange = options(cluster);
    strange.pg_bin_dir = Some(dir.path().to_owned());
    let preflight = pre::run(&connect(&cluster.url()), &strange).await;
    let check = expect(
        &preflight,
        CheckId::ClientVersion,
        Outcome::NotChecked,
        "status 3",
    );
    assert!(check.evidence.contains("what's that?"), "{check:#?}");
    strange.pg_bin_dir = Some("/nowhere".into());
    let preflight = pre::run(&connect(&cluster.url()), &strange).await;
    assert!(
        the_only_check(&preflight)
            .evidence
            .contains("no psql in /nowhere")
    );
}

#[tokio::test]
async fn a_patched_and_an_unpatched_minor_are_told_apart() {
    let Some(cluster) = server("client patched") else {
        return;
    };
    let fine = preflight(cluster, &cluster.url()).await;
    let major = fine.server.as_ref().unwrap().tools.version.major;
    for (minor, outcome, said) in [
        (1, Outcome::Warned, "CVE-2026-18408"),
        (99, Outcome::Passed, ".99"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        for name in ["pg_dumpall", "pg_dump"] {
            write_program(
                &dir.path().join(name),
                &format!("#!/bin/sh\necho '{name} (PostgreSQL) {major}.{minor}'\n"),
            );
        }
        std::os::unix::fs::symlink(cluster.bin_dir.join("psql"), dir.path().join("psql")).unwrap();
        let mut other = options(cluster);
        other.pg_bin_dir = Some(dir.path().to_owned());
        let preflight = pre::run(&connect(&cluster.url()), &other).await;
        expect(&preflight, CheckId::ClientPatched, outcome, said);
        assert!(preflight.server.is_some());
    }
}

/// Servers of other majors with real programs of both ages.
#[tokio::test]
async fn servers_of_newer_majors_are_surveyed_and_need_their_own_client() {
    for major in [17, 18] {
        let programs = need(
            "newer majors",
            "the wheels of PostgreSQL 17 and 18",
            pg_bin_dir(major),
        );
        if programs.is_none() {
            continue;
        }
        let options = ClusterOptions {
            major: Some(major),
            ..ClusterOptions::default()
        };
        let Some(cluster) = own_server("newer majors", options) else {
            continue;
        };
        cluster.psql("create table t as select 1 as x");
        let fine = preflight(&cluster, &cluster.url()).await;
        expect(
            &fine,
            CheckId::ServerReachable,
            Outcome::Passed,
            &format!("PostgreSQL {major}"),
        );
        for check in &fine.checks {
            assert!(is_fine(check), "{check:#?}");
        }
        assert!(is_complete(&dump(&fine).await));
        let Some(older) = pg_bin_dir(15) else {
            continue;
        };
        let mut with_older = super::options(&cluster);
        with_older.pg_bin_dir = Some(older);
        let preflight = pre::run(&connect(&cluster.url()), &with_older).await;
        expect(
            &preflight,
            CheckId::ClientVersion,
            Outcome::Failed,
            "older than the server",
        );
        expect(
            &preflight,
            CheckId::SeesEverything,
            Outcome::Passed,
            "superuser",
        );
    }
}

#[tokio::test]
async fn programs_are_found_without_being_told_where() {
    let Some(cluster) = server("locate") else {
        return;
    };
    let mut anywhere = options(cluster);
    anywhere.pg_bin_dir = None;
    let preflight = pre::run(&connect(&cluster.url()), &anywhere).await;
    let tools = &preflight.server.as_ref().unwrap().tools;
    assert_eq!(tools.version.major, preflight.facts.as_ref().unwrap().major);
    let real = tools.psql.canonicalize().unwrap();
    assert_ne!(real.file_name().unwrap(), "pg_wrapper");
}

#[tokio::test]
async fn names_reach_psql_as_they_are() {
    let Some(cluster) = server("names") else {
        return;
    };
    let preflight = preflight(cluster, &cluster.url()).await;
    let psql = &preflight.server.as_ref().unwrap().psql;
    let error = psql
        .query_json::<u32>(&Name::from("host=10.255.255.1"), "select 1")
        .await;
    let error = format!("{:#}", error.unwrap_err());
    assert!(
        error.contains("has no database \"host=10.255.255.1\""),
        "{error}"
    );
    let error = psql
        .query_json::<u32>(&Name::from("postgres"), "select 1/0")
        .await;
    assert!(format!("{:#}", error.unwrap_err()).contains("division by zero"));
    let error = psql
        .query_json::<u32>(&Name::from("postgres"), "create table x()")
        .await;
    assert!(format!("{:#}", error.unwrap_err()).contains("read-only transaction"));
    let error = psql
        .query_json::<u32>(&Name::from("postgres"), "select 'x'")
        .await;
    assert!(format!("{:#}", error.unwrap_err()).contains("something unexpected: x"));
}

//! What pg_dumpall says when it really fails, and the fake tools that fail on purpose.

use super::{connect, dump, dump_waiting, is_complete, options, own_server, preflight, server};
use crate::support::cluster::ClusterOptions;
use backup_action::error::{hint, one_line};
use backup_action::postgres::dump::explain_failure;
use backup_action::postgres::preflight::{self as pre, RolePasswords};
use backup_action::process::{Command, Exit, Output, Running, capture};
use std::time::Duration;

fn explained(output: &Output) -> (String, String) {
    let error = anyhow::Error::new(explain_failure(&output.status, &output.stderr, &[]));
    let hint = hint(&error).unwrap();
    (one_line(&error), hint)
}

#[tokio::test]
async fn a_lock_that_is_never_released_is_explained() {
    let Some(cluster) = own_server("lock wait", ClusterOptions::default()) else {
        return;
    };
    cluster.psql("create table held ()");
    let fine = preflight(&cluster, &cluster.url()).await;
    let _holder = cluster.hold("postgres", "lock table held in access exclusive mode");
    let output = dump_waiting(&fine, Duration::from_millis(300)).await;
    assert_eq!(output.status, Exit::Code(1));
    let (message, hint) = explained(&output);
    assert!(
        message.contains("waited too long for the lock"),
        "{message}"
    );
    assert!(hint.contains("no-blockers"), "{hint}");
}

#[tokio::test]
async fn passwords_that_may_not_be_read_are_explained() {
    let Some(cluster) = own_server("pg_authid", ClusterOptions::default()) else {
        return;
    };
    cluster.psql("create role plain login");
    let mut include = options(&cluster);
    include.role_passwords = RolePasswords::Include;
    let url = cluster.url_for("plain", "postgres");
    let preflight = pre::run(&connect(&url), &include).await;
    let (message, hint) = explained(&dump(&preflight).await);
    assert!(message.contains("pg_authid"), "{message}");
    assert!(hint.contains("--role-passwords exclude"), "{hint}");
}

#[tokio::test]
async fn a_full_lock_table_and_row_security_are_explained() {
    let settings = [
        "max_locks_per_transaction=10",
        "max_connections=10",
        "superuser_reserved_connections=1",
        "max_wal_senders=0",
    ];
    let options = ClusterOptions {
        settings: settings.map(str::to_owned).to_vec(),
        ..ClusterOptions::default()
    };
    let Some(cluster) = own_server("lock table", options) else {
        return;
    };
    cluster.psql(
        "create role reader login; create table hidden (); alter table hidden enable row level security; grant select on hidden to reader",
    );
    let url = cluster.url_for("reader", "postgres");
    let reader = preflight(&cluster, &url).await;
    let (message, hint) = explained(&dump(&reader).await);
    assert!(message.contains("policy hides rows"), "{message}");
    assert!(hint.contains("BYPASSRLS"), "{hint}");
    for n in 0..120 {
        cluster.psql(&format!(
            "do $$ begin for i in 1..25 loop execute format('create table t_{n}_%s ()', i); end loop; end $$"
        ));
    }
    let full = preflight(&cluster, &cluster.url()).await;
    let (message, hint) = explained(&dump(&full).await);
    assert!(message.contains("one lock a table"), "{message}");
    assert!(hint.contains("max_locks_per_transaction"), "{hint}");
}

#[tokio::test]
async fn fake_tools_do_what_their_names_say() {
    let Some(cluster) = server("fake tools") else {
        return;
    };
    let real = dump(&preflight(cluster, &cluster.url()).await).await;
    assert!(is_complete(&real), "{}", real.stderr);
    for (behaviour, exit, trailer, stderr) in [
        ("dies-after-half", Exit::Signal(9), false, ""),
        ("exits-0-after-half", Exit::Code(0), false, ""),
        ("exits-0-without-trailer", Exit::Code(0), false, ""),
        ("exits-1-after-all", Exit::Code(1), true, "at the very end"),
        ("exits-1-after-half", Exit::Code(1), false, "exiting"),
        ("exits-1-at-start", Exit::Code(1), false, "out of memory"),
        ("floods-stderr", Exit::Code(0), true, "very many"),
        ("leaves-a-child", Exit::Signal(9), false, ""),
        ("prints-garbage", Exit::Code(0), false, ""),
        ("prints-nothing", Exit::Code(0), false, ""),
        ("refused-pg-authid", Exit::Code(1), false, "pg_authid"),
        ("warns", Exit::Code(0), true, "warning"),
    ] {
        let dir = cluster.fake_bin_dir(behaviour);
        let mut with_fake = options(cluster);
        with_fake.pg_bin_dir = Some(dir.path().to_owned());
        let preflight = pre::run(&connect(&cluster.url()), &with_fake).await;
        let output = dump(&preflight).await;
        assert_eq!(output.status, exit, "{behaviour}");
        let text = String::from_utf8_lossy(&output.stdout);
        let has_trailer = text.contains("\n-- PostgreSQL database cluster dump complete\n");
        assert_eq!(has_trailer, trailer, "{behaviour}");
        assert!(
            output.stderr.contains(stderr),
            "{behaviour}: {}",
            output.stderr
        );
        assert_eq!(
            text.is_empty(),
            matches!(behaviour, "prints-nothing" | "exits-1-at-start")
        );
    }
}

#[tokio::test]
async fn fake_tools_that_hang_are_ended() {
    let Some(cluster) = server("hanging tools") else {
        return;
    };
    for (behaviour, exit) in [
        ("hangs", Exit::Signal(15)),
        ("hangs-at-start", Exit::Signal(15)),
        ("ignores-sigterm", Exit::Signal(9)),
    ] {
        let dir = cluster.fake_bin_dir(behaviour);
        let command = || Command::new(dir.path().join("pg_dumpall"));
        let version = capture(command().arg("--version"), Duration::from_secs(60), 1000).await;
        assert!(
            version
                .unwrap()
                .stdout
                .starts_with(b"pg_dumpall (PostgreSQL) ")
        );
        let (running, stdout) = Running::start(command().args(["-d", &cluster.url()])).unwrap();
        let reader = std::thread::spawn(move || {
            let mut first = [0];
            std::io::Read::read_exact(&mut &stdout, &mut first).map(|()| stdout)
        });
        if behaviour == "hangs-at-start" {
            tokio::time::sleep(Duration::from_millis(500)).await;
        } else {
            while !reader.is_finished() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // The trap is set before the first byte; let `head` end.
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        running.stop_handle().stop();
        assert_eq!(running.finish().await.unwrap().exit, exit, "{behaviour}");
        drop(reader.join().unwrap());
    }
}

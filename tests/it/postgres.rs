//! PostgreSQL's programs against real servers: processes, connections, tools, preflight, inventory.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy does not see as tests"
)]

mod connect;
mod dump;
mod inventory;
mod preflight;
mod process;

use crate::support::cluster::{Cluster, ClusterOptions, shared};
use crate::support::need;
use backup_action::check::{Check, CheckId, Outcome};
use backup_action::postgres::client::Wish;
use backup_action::postgres::connection::Connection;
use backup_action::postgres::dump::{DumpOptions, dumpall_command};
use backup_action::postgres::preflight::{self as pre, Preflight, PreflightOptions, RolePasswords};
use backup_action::process::{Output, capture};
use backup_action::secret::Secret;
use std::ffi::OsString;
use std::time::Duration;

/// The shared server, when PostgreSQL is installed.
fn server(test: &str) -> Option<&'static Cluster> {
    need(test, "PostgreSQL's server", Cluster::installed(None)).map(|_| shared())
}

/// A server of its own for a test that changes settings or stops it.
fn own_server(test: &str, options: ClusterOptions) -> Option<Cluster> {
    need(
        test,
        "PostgreSQL's server",
        Cluster::installed(options.major),
    )
    .map(|_| Cluster::start(options))
}

/// A connection from nothing but `url`.
fn connect(url: &str) -> Connection {
    connect_with(url, &[])
}

/// A connection from `url` and these variables.
fn connect_with(url: &str, env: &[(&str, &str)]) -> Connection {
    let url = Secret::new(url);
    Connection::resolve(Some(&url), &|key| {
        let found = env.iter().find(|(name, _)| *name == key);
        found.map(|(_, value)| OsString::from(value))
    })
    .unwrap()
}

/// The options that a gate has by default, looking for programs beside the test server's.
fn options(cluster: &Cluster) -> PreflightOptions<'static> {
    PreflightOptions {
        severity: &|id: CheckId| id.default_severity(),
        role_passwords: RolePasswords::Auto,
        accepted_unconnectable: &[],
        pg_bin_dir: Some(cluster.bin_dir.clone()),
        run_as: None,
        client: Wish::default(),
    }
}

/// Preflight over TCP with the default options.
async fn preflight(cluster: &Cluster, url: &str) -> Preflight {
    pre::run(&connect(url), &options(cluster)).await
}

/// The one answer to `id`.
fn check(preflight: &Preflight, id: CheckId) -> Check {
    let found: Vec<&Check> = preflight.checks.iter().filter(|c| c.id == id).collect();
    assert_eq!(found.len(), 1, "{id} in {:#?}", preflight.checks);
    found[0].clone()
}

/// Asserts outcome and a part of the evidence; returns the check.
fn expect(preflight: &Preflight, id: CheckId, outcome: Outcome, evidence: &str) -> Check {
    let check = check(preflight, id);
    assert_eq!(check.outcome, outcome, "{check:#?}");
    assert!(
        check.evidence.contains(evidence),
        "{evidence:?} in {check:#?}"
    );
    check
}

/// Passed, or warned for nothing but the age of the installed client.
fn is_fine(check: &Check) -> bool {
    check.outcome == Outcome::Passed
        || check.outcome == Outcome::Warned && check.id == CheckId::ClientPatched
}

/// Runs pg_dumpall to its end.
async fn dump(preflight: &Preflight) -> Output {
    dump_waiting(preflight, Duration::from_secs(30)).await
}

/// The same with this lock timeout.
async fn dump_waiting(preflight: &Preflight, lock_wait_timeout: Duration) -> Output {
    let server = preflight.server.as_ref().unwrap();
    let options = DumpOptions {
        role_passwords: server.facts.role_passwords,
        lock_wait_timeout,
        extra_args: Vec::new(),
    };
    let command = dumpall_command(server, &options);
    capture(command, Duration::from_secs(120), 100 << 20)
        .await
        .unwrap()
}

/// Ended with status 0 and the trailer.
fn is_complete(output: &Output) -> bool {
    let text = String::from_utf8_lossy(&output.stdout);
    output.status.is_success() && text.contains("\n-- PostgreSQL database cluster dump complete\n")
}

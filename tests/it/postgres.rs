//! PostgreSQL's programs against real servers: processes, connections, tools, preflight, inventory.

mod connect;
mod inventory;
mod preflight;
mod process;

use crate::support::cluster::{Cluster, ClusterOptions, shared};
use crate::support::need;
use backup_action::check::{Check, CheckId, Outcome};
use backup_action::postgres::connection::Connection;
use backup_action::postgres::preflight::{self as pre, Preflight, PreflightOptions, RolePasswords};
use backup_action::secret::Secret;
use std::ffi::OsString;

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

//! The project's own gate, `.github/workflows/gate.yml`, as its file stands but for the address of
//! the service container: on the host act starts none, so a cluster of the test is the service.

use super::workflow::Workflow;
use crate::support::cluster::{Auth, Cluster, ClusterOptions};
use crate::support::{need, root};
use std::fs;

#[test]
fn the_projects_own_gate_asserts_both_outcomes() {
    let test = "actions::own";
    if need(test, "PostgreSQL's server", Cluster::installed(None)).is_none() {
        return;
    }
    let cluster = Cluster::start(ClusterOptions {
        auth: Auth::Scram("throw-away".to_owned()),
        ..ClusterOptions::default()
    });
    let text = fs::read_to_string(root().join(".github/workflows/gate.yml")).unwrap();
    let address = r#"PGPORT: "5432""#;
    assert_eq!(text.matches(address).count(), 1);
    let text = text.replace(address, &format!("PGPORT: \"{}\"", cluster.port));
    let Some(workflow) = Workflow::of_text(test, &text) else {
        return;
    };
    let mut path = cluster.bin_dir.clone().into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let seen = workflow.env("PATH", path).run();
    assert!(seen.success, "{}", seen.log());
    for (step, ended) in [
        ("A gate that opens", "success"),
        ("It says what it stored", "success"),
        ("The archive holds every row", "success"),
        ("It stayed closed, and says why", "success"),
    ] {
        assert_eq!(seen.step("gate", step), [ended], "{step}: {}", seen.log());
    }
    assert_eq!(seen.output("gate", "passed"), "true");
    assert_eq!(seen.output("closed", "passed"), "false");
    assert_eq!(seen.job("deploy"), ["success"], "{}", seen.log());
    assert_eq!(
        seen.job("deploy-behind-the-closed-gate"),
        [""; 0],
        "{}",
        seen.log()
    );
    let summaries = seen.summaries();
    assert!(summaries[0].contains("deploy may go on"), "{summaries:?}");
    assert!(summaries[1].contains("deploy blocked"), "{summaries:?}");
}

//! The deployment record of a gate: what is told, and that GitHub's trouble changes no verdict.

use super::world::{Pull, commands};
use crate::gate::world::{World, sample};
use crate::support::github::{Fault, TOKEN};
use crate::support::run::Run;
use serde_json::Value;
use std::time::Duration;

const SHA: &str = "0123456789";

fn recorded(pull: &Pull, run: Run) -> Run {
    run.env("GITHUB_API_URL", pull.github.url())
        .secret_env("BACKUP_ACTION_GITHUB_TOKEN", TOKEN, TOKEN)
        .args(&["--deployment", "production-backup"])
}

fn states(pull: &Pull) -> Vec<String> {
    let state = |status: &Value| status["state"].as_str().unwrap_or_default().to_owned();
    pull.github.statuses().iter().map(state).collect()
}

#[test]
fn the_record_follows_the_gate() {
    let Some(cluster) = sample("deployment") else {
        return;
    };
    let world = World::local(cluster);
    let pull = Pull::open();
    let ended = world.passes(recorded(&pull, world.gate()));
    // Other tests use the cluster too, so its own warnings may be others in the next second.
    let warned = commands(&ended, "warning");
    assert!(
        !warned.iter().any(|line| line.contains("deployment")),
        "{}",
        ended.all()
    );
    let made = pull.github.deployments();
    assert_eq!(made.len(), 1);
    assert_eq!(made[0]["ref"], SHA);
    assert_eq!(made[0]["environment"], "production-backup");
    assert_eq!(states(&pull), ["in_progress", "success"]);
    let url = "https://github.com/acme/payroll/actions/runs/4711/attempts/2";
    assert!(
        pull.github
            .statuses()
            .iter()
            .all(|status| status["log_url"] == url)
    );
    pull.github.assert_content();

    let pull = Pull::open();
    let (gate, fake) = world.gate_with("exits-1-after-half");
    world.closes(recorded(&pull, gate), 1, &["dump-exit"]);
    drop(fake);
    assert_eq!(states(&pull), ["in_progress", "failure"]);

    // Nothing is stored by a dry run, so nothing is recorded.
    let pull = Pull::open();
    world.passes(recorded(&pull, world.gate()).arg("--dry-run"));
    assert_eq!(pull.github.count("POST", ""), 0);
}

#[test]
fn an_interrupted_gate_is_recorded_too() {
    let Some(cluster) = sample("deployment::interrupted") else {
        return;
    };
    let world = World::local(cluster);
    let pull = Pull::open();
    let (gate, fake) = world.gate_with("hangs");
    let mut watched = world.start(recorded(&pull, gate));
    watched
        .going
        .until("the record", || states(&pull) == ["in_progress"]);
    watched.going.signal("INT");
    let ended = watched.closes(130, &["SIGINT"]);
    drop(fake);
    assert_eq!(states(&pull), ["in_progress", "error"], "{}", ended.all());
    pull.github.assert_content();
}

#[test]
fn trouble_with_the_record_changes_no_verdict() {
    let Some(cluster) = sample("deployment::trouble") else {
        return;
    };
    let world = World::local(cluster);
    let refused = Fault::Answer(403, Vec::new(), "Resource not accessible by integration");
    let conflict = Fault::Answer(409, Vec::new(), "Conflict");
    let silent = Fault::Stall(Duration::from_secs(60));
    for (fault, says) in [
        (refused, "deployments: write"),
        (conflict, "Conflict"),
        (silent, "no answer in time"),
        (Fault::ResetAfter, "could not create the deployment record"),
    ] {
        let shown = format!("{fault:?}");
        let pull = Pull::open();
        pull.github.inject("POST", "/deployments", fault, 1);
        let ended = world.passes(recorded(&pull, world.gate()));
        let said = commands(&ended, "warning");
        assert!(
            said.iter().any(|line| line.contains(says)),
            "{shown}: {}",
            ended.all()
        );
        assert_eq!(ended.output("passed"), "true");
        assert_eq!(
            pull.github.count("POST", "/deployments"),
            1,
            "{shown}: never a second create"
        );
    }
    // The last status is tried again.
    let pull = Pull::open();
    let broken = Fault::Answer(502, Vec::new(), "Server Error");
    pull.github.inject("POST", "/statuses", broken, 2);
    world.passes(recorded(&pull, world.gate()));
    assert_eq!(states(&pull).last().map(String::as_str), Some("success"));
    // Without a token there is none, and that is said.
    let ended = world.passes(world.gate().args(&["--deployment", "production-backup"]));
    let said = commands(&ended, "warning");
    assert!(
        said.iter()
            .any(|line| line.contains("no deployment record")),
        "{}",
        ended.all()
    );
}

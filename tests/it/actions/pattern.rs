//! The deploy pattern: what an `if:` makes of the outputs of an open, a closed and a killed gate, and
//! why the first step of a deploy asks the store again.

use super::workflow::{Seen, Workflow};
use crate::gate::world::sample;
use crate::support::cluster::write_program;
use crate::support::past;
use crate::support::run::PROGRAM;
use std::fs;
use std::path::Path;

/// The jobs of `fixtures/workflows/outputs.yml` that ran.
fn ran(jobs: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(jobs)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    for name in &names {
        fs::remove_file(jobs.join(name)).unwrap();
    }
    names
}

const HOLES: [&str; 3] = ["hole-always", "hole-no-needs", "hole-text-is-true"];

#[test]
fn outputs_can_be_compared_and_the_holes_are_holes() {
    let test = "actions::pattern::outputs";
    let file = "fixtures/workflows/outputs.yml";
    let (Some(cluster), Some(workflow)) = (sample(test), Workflow::of_file(test, file)) else {
        return;
    };
    let (store, jobs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let workflow = workflow
        .var("LOCAL", store.path())
        .secret("DATABASE_URL", cluster.url())
        .env("JOBS", jobs.path());
    let seen = workflow.run();
    assert!(seen.success, "{}", seen.log());
    let mut all = HOLES.to_vec();
    all.extend(["always-and-passed", "passed", "stored"]);
    all.sort_unstable();
    assert_eq!(ran(jobs.path()), all, "{}", seen.log());

    let fake = cluster.fake_bin_dir("dies-after-half");
    let workflow = workflow.var("PG_BIN_DIR", fake.path());
    let seen = workflow.run();
    assert!(!seen.success, "{}", seen.log());
    let mut all = HOLES.to_vec();
    all.push("tell-that-it-failed");
    assert_eq!(ran(jobs.path()), all, "{}", seen.log());

    // A gate that is killed has said `false` already, and nothing else.
    let dir = tempfile::tempdir().unwrap();
    let killed = dir.path().join("is-killed");
    write_program(&killed, "#!/bin/sh\nkill -9 $$\n");
    let seen = workflow.program(&killed).run();
    assert!(!seen.success, "{}", seen.log());
    assert_eq!(ran(jobs.path()), HOLES, "{}", seen.log());
    assert_eq!(seen.output("gate", "passed"), "false", "{}", seen.log());
}

/// "Re-run failed jobs" gives the deploy job the outputs that the gate job had then. Here the gate's
/// step repeats its old outputs, and everything else is real.
#[test]
fn a_deploy_that_is_run_again_later_is_refused() {
    let test = "actions::pattern::again";
    let file = "examples/workflows/local-only.yml";
    let (Some(cluster), Some(workflow)) = (sample(test), Workflow::of_file(test, file)) else {
        return;
    };
    let store = tempfile::tempdir().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("outputs");
    let program = dir.path().join("keeps-its-outputs");
    let script = format!(
        "#!/usr/bin/env bash\nif [[ $1 != gate ]]; then exec {PROGRAM} \"$@\"; fi\n\
         if [[ -e {kept} ]]; then cat {kept} >>\"$GITHUB_OUTPUT\"; exit 0; fi\n\
         {PROGRAM} \"$@\" || exit\ncp \"$GITHUB_OUTPUT\" {kept}\n",
        kept = kept.display()
    );
    write_program(&program, &script);
    let workflow = workflow
        .program(&program)
        .var("BACKUP_DIR", store.path())
        .secret("DATABASE_URL", cluster.url());
    let deployed = |seen: &Seen| {
        assert_eq!(seen.output("gate", "passed"), "true", "{}", seen.log());
        seen.deployed
    };
    let seen = workflow.run();
    assert!(deployed(&seen), "{}", seen.log());
    // At once: nothing has changed.
    assert!(deployed(&workflow.run()));

    // Of three hours ago: too old.
    let key = seen.output("gate", "receipt-key").to_owned();
    let young = past::read(&store.path().join(&key));
    let then = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(3);
    past::invent_receipt(store.path(), &young, then, "7", |_| {});
    let old = then.strftime("receipts/gate/%Y-%m-%d_%H-%M-%SZ_7.json");
    let outputs = fs::read_to_string(&kept).unwrap();
    fs::write(&kept, outputs.replace(&key, &old.to_string())).unwrap();
    let seen = workflow.run();
    assert!(!deployed(&seen), "{}", seen.log());
    assert!(
        seen.log().contains("FAILED: receipt-fresh"),
        "{}",
        seen.log()
    );
    fs::write(&kept, outputs).unwrap();
    assert!(deployed(&workflow.run()));

    // Another commit.
    let workflow = workflow.file("src", "something else");
    let seen = workflow.run();
    assert!(!deployed(&seen), "{}", seen.log());
    assert!(seen.log().contains("FAILED: receipt-run"), "{}", seen.log());
}

//! The commands that stop and start services.

use super::{TENANT, count, filled, restore, shelf};
use std::path::Path;

/// Appends a word to a file.
fn note(file: &Path, word: &str) -> String {
    format!(
        "sh -c 'echo {word} >> {}; echo said-{word}; env'",
        file.display()
    )
}

#[test]
fn hooks_run_in_order_and_see_no_secret() {
    let Some(world) = shelf("hooks_run_in_order_and_see_no_secret") else {
        return;
    };
    let target = filled();
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("order");
    let ended = restore(world, &target)
        .args(&["--schema", TENANT, "--yes"])
        .args(&[
            "--before",
            &note(&file, "one"),
            "--before",
            &note(&file, "two"),
        ])
        .args(&[
            "--after",
            &note(&file, "three"),
            "--after",
            &note(&file, "four"),
        ])
        .secret_env(
            "AWS_SECRET_ACCESS_KEY",
            "canary-of-the-store",
            "canary-of-the-store",
        )
        .end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(
        std::fs::read_to_string(&file).expect("the file"),
        "one\ntwo\nthree\nfour\n"
    );
    assert!(ended.stderr.contains("said-three"), "{}", ended.all());
    assert!(
        !ended.stderr.contains("BACKUP_ACTION_INTO"),
        "{}",
        ended.all()
    );
}

#[test]
fn a_before_hook_that_fails_stops_everything_and_the_services_come_up() {
    let test = "a_before_hook_that_fails_stops_everything_and_the_services_come_up";
    let Some(world) = shelf(test) else { return };
    let target = filled();
    let before = count(&target, "nostromo", "tenant_empresa_2.payroll");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("order");
    let ended = restore(world, &target)
        .args(&["--schema", TENANT, "--yes", "--hook-shell"])
        .args(&[
            "--before",
            "echo stopping; exit 7",
            "--before",
            &note(&file, "never"),
        ])
        .args(&["--after", &note(&file, "up")])
        .end();
    assert_eq!(ended.code, 3, "{}", ended.all());
    ended.assert_says("exit 7");
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), "up\n");
    assert_eq!(
        count(&target, "nostromo", "tenant_empresa_2.payroll"),
        before
    );
}

#[test]
fn an_after_hook_that_fails_is_no_success() {
    let Some(world) = shelf("an_after_hook_that_fails_is_no_success") else {
        return;
    };
    let target = filled();
    let ended = restore(world, &target)
        .args(&["--schema", TENANT, "--yes", "--after", "false"])
        .end();
    assert_eq!(ended.code, 3, "{}", ended.all());
    ended.assert_says("the after-hook `false` failed");
}

#[test]
fn a_signal_runs_the_after_hooks() {
    let Some(world) = shelf("a_signal_runs_the_after_hooks") else {
        return;
    };
    let target = filled();
    let dir = tempfile::tempdir().expect("a directory");
    let (stopped, up) = (dir.path().join("stopped"), dir.path().join("up"));
    let before = format!("touch {}; sleep 60", stopped.display());
    let mut going = restore(world, &target)
        .args(&[
            "--schema",
            TENANT,
            "--yes",
            "--hook-shell",
            "--before",
            &before,
        ])
        .args(&["--after", &note(&up, "up")])
        .start();
    going.until("the service is stopped", || stopped.exists());
    going.signal("INT");
    let ended = going.end();
    assert_eq!(ended.code, 130, "{}", ended.all());
    assert_eq!(std::fs::read_to_string(&up).expect("the file"), "up\n");
}

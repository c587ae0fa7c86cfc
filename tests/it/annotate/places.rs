//! Where there is no place for a comment: forks, other events, no backup, dry runs; GitHub
//! Enterprise; and what the command itself can be told wrong.

use super::world::{MARKER, Pull, commands, event, stored, succeeds};
use crate::support::github::BOT;
use crate::support::run::Run;
use serde_json::{Value, json};

#[test]
fn a_fork_gets_the_summary_and_a_notice() {
    let Some(world) = stored("annotate::fork") else {
        return;
    };
    let pull = Pull::open();
    pull.event(&event("eve/payroll"));
    let ended = succeeds(pull.run(world));
    assert_eq!(pull.github.writes(), 0, "{}", ended.all());
    let notices = commands(&ended, "notice");
    assert_eq!(notices.len(), 1, "{}", ended.all());
    assert!(notices[0].contains("comes from a fork"), "{notices:?}");
    assert!(
        ended.summary.contains("since `main`'s last backup"),
        "{}",
        ended.summary
    );
    assert_eq!(commands(&ended, "warning"), Vec::<&str>::new());
    pull.github.assert_content();
}

#[test]
fn a_run_for_no_pull_request_has_a_summary_only() {
    let Some(world) = stored("annotate::push") else {
        return;
    };
    let pull = Pull::open();
    pull.event(&json!({ "ref": "refs/heads/main" }));
    let ended = succeeds(pull.run(world).env("GITHUB_EVENT_NAME", "push"));
    assert_eq!(pull.github.count("", ""), 0);
    assert_eq!(pull.github.writes(), 0);
    assert!(
        ended.summary.contains("since the backup before"),
        "{}",
        ended.summary
    );
    let notices = commands(&ended, "notice");
    assert!(notices[0].contains("not for a pull request"), "{notices:?}");
    // An event that cannot be read is said, and no more.
    std::fs::write(pull.event_path(), "{").unwrap_or_default();
    let ended = succeeds(pull.run(world));
    assert!(
        ended
            .summary
            .contains("the event of the run cannot be read"),
        "{}",
        ended.summary
    );
    // At home there is no runner to tell anything.
    let ended = succeeds(world.run("annotate").at_home());
    assert!(
        ended.screen().contains("since the backup before"),
        "{}",
        ended.all()
    );
    assert_eq!(ended.stderr, "");
}

#[test]
fn no_backup_yet_is_said() {
    let pull = Pull::open();
    let store = tempfile::tempdir().expect("a directory");
    let run = Run::new("annotate").arg("--local").arg(store.path());
    let ended = succeeds(pull.run_for(run));
    let comments = pull.github.comments();
    assert_eq!(comments.len(), 1, "{}", ended.all());
    assert!(comments[0].body.starts_with(MARKER));
    assert!(
        comments[0].body.contains("No backup yet"),
        "{}",
        comments[0].body
    );
    pull.github.assert_content();
}

#[test]
fn a_dry_run_prints_the_comment_and_json_holds_it() {
    let Some(world) = stored("annotate::dry") else {
        return;
    };
    let pull = Pull::open();
    pull.add_checked_out("m.sql", "ALTER TABLE central.tenants ADD x int;");
    let ended = succeeds(pull.run(world).arg("--dry-run"));
    assert_eq!(pull.github.writes(), 0, "{}", ended.all());
    assert!(
        ended.screen().starts_with("### Backup size: "),
        "{}",
        ended.all()
    );
    assert_eq!(ended.summary, "");

    let ended = succeeds(pull.run(world).args(&["--output", "json"]));
    let json: Value = serde_json::from_slice(&ended.stdout).expect("JSON");
    assert_eq!(json["format"], 1);
    assert_eq!(json["command"], "annotate");
    assert_eq!(json["comment"]["outcome"], "created");
    assert_eq!(json["comment"]["body"], ended.summary.as_str());
    let comment = &pull.github.comments()[0];
    let url = json["comment"]["url"].as_str().unwrap_or_default();
    assert!(
        url.ends_with(&format!("#issuecomment-{}", comment.id)),
        "{url}"
    );
    let comparison = &json["comparison"];
    let head = comparison["head"]["dump_bytes"]
        .as_i64()
        .unwrap_or_default();
    let base = comparison["base"]["dump_bytes"]
        .as_i64()
        .unwrap_or_default();
    assert!(head > base && base > 0, "{comparison}");
    assert_eq!(comparison["trend_bytes"], json!([base, head]));
    assert_eq!(json["touches"][0]["tables"], "central.tenants");
    assert_eq!(json["touches"][0]["rows"], 3);
    assert!(
        json["last_drill"]["restore_seconds"]
            .as_f64()
            .is_some_and(|s| s > 0.0)
    );
    pull.github.assert_content();
}

#[test]
fn github_enterprise_and_other_authors_are_understood() {
    let Some(world) = stored("annotate::enterprise") else {
        return;
    };
    let pull = Pull::open();
    let url = format!("{}/api/v3", pull.github.url());
    let ended = succeeds(pull.run(world).env("GITHUB_API_URL", &url));
    assert!(
        ended.screen().contains("comment created"),
        "{}",
        ended.all()
    );
    assert_eq!(pull.github.count("POST", "/api/graphql"), 1);
    assert_eq!(
        pull.github.count("", "/api/v3/repos/acme/payroll/"),
        0,
        "no method is empty"
    );
    assert!(pull.github.count("GET", "/api/v3/repos/acme/payroll/") > 0);

    // Who is named as the author is not asked for, and only theirs is updated.
    let by = |login: &str| pull.run(world).args(&["--comment-author", login]);
    succeeds(by(BOT));
    assert_eq!(pull.github.count("POST", "/graphql"), 1);
    assert_eq!(pull.github.comments().len(), 1);
    pull.github.assert_content();
}

#[test]
fn what_is_told_wrong_is_a_usage_error_and_a_store_that_is_not_there_is_3() {
    let pull = Pull::open();
    let store = tempfile::tempdir().expect("a directory");
    let path = store.path().to_str().expect("UTF-8").to_owned();
    for (args, says) in [
        (
            vec!["--local", &path, "--comment-key", "a b"],
            "--comment-key: invalid value",
        ),
        (
            vec!["--local", &path, "--comment-key", "a--b"],
            "--comment-key: invalid value",
        ),
        (vec![], "no store is named"),
        (
            vec!["--local", &path, "--deployment", "x"],
            "unexpected argument '--deployment'",
        ),
    ] {
        let ended = pull.run_for(Run::new("annotate").args(&args)).end();
        assert_eq!(ended.code, 2, "{}", ended.all());
        assert!(ended.stderr.contains(says), "{}", ended.all());
    }
    let file = store.path().join("file");
    std::fs::write(&file, "x").unwrap_or_default();
    let run = pull.run_for(Run::new("annotate").arg("--local").arg(file.join("below")));
    let ended = run.end();
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert_eq!(pull.github.writes(), 0);
}

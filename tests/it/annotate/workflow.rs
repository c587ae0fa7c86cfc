//! The example workflow's step in a real workflow, run by `act` for a pull request.

use super::world::{MARKER, Pull, stored};
use crate::actions::{Act, run_workflow};
use crate::support::github::TOKEN;
use crate::support::run::PROGRAM;
use crate::support::{need, tool};
use std::path::Path;

#[test]
fn a_pull_request_is_annotated_by_the_action() {
    let test = "annotate::workflow";
    let Some(act) = need(test, "act", tool("act")) else {
        return;
    };
    let Some(world) = stored(test) else {
        return;
    };
    let pull = Pull::open();
    let migration = "ALTER TABLE payroll ADD COLUMN bonus numeric;";
    pull.github
        .add_file("db/0042_payroll.sql", "added", Some(migration));
    let local = world
        .local
        .as_ref()
        .and_then(|path| path.to_str())
        .unwrap_or_default();
    let event = pull.event_path();
    let github = pull.github.url();
    let run = run_workflow(&Act {
        act: &act,
        workflow: "fixtures/workflows/pr-size.yml",
        event: Some(("pull_request", &event)),
        bin_path: Path::new(PROGRAM),
        vars: &[("LOCAL", local)],
        secrets: &[("GITHUB_TOKEN", TOKEN)],
        github: &[
            ("GITHUB_API_URL", &github),
            ("GITHUB_REPOSITORY", "acme/payroll"),
        ],
        env: &[],
    });
    assert!(run.success, "{}", run.log);
    let comments = pull.github.comments();
    assert_eq!(comments.len(), 1, "{}", run.log);
    let body = &comments[0].body;
    assert!(body.starts_with(MARKER), "{body}");
    assert!(body.contains("tenant_empresa_*.payroll"), "{body}");
    assert_eq!(run.summary, body[MARKER.len() + 1..]);
    assert!(!run.log.contains(TOKEN), "{}", run.log);
    pull.github.assert_content();
}

//! The first five minutes: an empty repository, the workflow that the documentation says to copy, and
//! nothing else. The gate opens; then the server is gone, and the deploy does not run.
//! `--nocapture` shows how long each took.
#![expect(
    clippy::print_stderr,
    reason = "the times are what somebody asks for who runs this alone"
)]

use super::workflow::Workflow;
use crate::gate::world::own;
use crate::support::root;
use std::fs;
use std::time::Instant;

/// The first YAML block of the page (else of README.md) that is a local gate with a deploy, word for
/// word; without one, the example that the documentation points at.
fn documented() -> String {
    for page in ["docs/first-gate.md", "README.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap_or_default();
        let block = text
            .split("```yaml\n")
            .skip(1)
            .filter_map(|rest| rest.split_once("\n```").map(|(block, _)| block))
            .find(|block| {
                let says = |part: &str| block.contains(part);
                says("\njobs:\n") && says("\n          local:") && says("needs: gate")
            });
        if let Some(block) = block {
            return format!("{block}\n");
        }
    }
    fs::read_to_string(root().join("examples/workflows/local-only.yml")).unwrap()
}

#[test]
fn from_an_empty_repository_to_an_open_and_a_closed_gate() {
    let test = "actions::first_gate";
    let (Some(mut cluster), Some(workflow)) = (own(test), Workflow::of_text(test, &documented()))
    else {
        return;
    };
    cluster.sample(3, 40);
    let store = tempfile::tempdir().unwrap();
    let workflow = workflow
        .var("BACKUP_DIR", store.path())
        .secret("DATABASE_URL", cluster.url());
    let begun = Instant::now();
    let seen = workflow.run();
    let open = begun.elapsed();
    assert!(seen.success, "{}", seen.log());
    assert!(seen.deployed, "{}", seen.log());
    assert_eq!(seen.output("gate", "passed"), "true");
    assert!(seen.summaries()[0].contains("deploy may go on"));
    assert!(
        store
            .path()
            .join(seen.output("gate", "archive-key"))
            .is_file()
    );

    cluster.stop();
    let begun = Instant::now();
    let seen = workflow.run();
    let closed = begun.elapsed();
    assert!(!seen.success, "{}", seen.log());
    assert!(!seen.deployed, "{}", seen.log());
    assert_eq!(seen.output("gate", "passed"), "false");
    assert_eq!(seen.job("deploy"), [""; 0], "{}", seen.log());
    let summary = seen.summaries()[0].to_owned();
    assert!(summary.contains("deploy blocked"), "{summary}");
    assert!(summary.contains("server-reachable"), "{summary}");
    eprintln!("first gate: open after {open:.1?}, closed after {closed:.1?}");
}

//! The real program in a real workflow: the deploy job runs behind a good cluster, and does not
//! behind a dump that was killed in the middle.

use super::world::{PASSWORD, sample};
use crate::actions::run_act;
use crate::support::run::{PROGRAM, forms};
use crate::support::web::Web;
use crate::support::{need, tool};
use std::path::Path;
use std::time::Duration;

#[test]
fn deploy_runs_only_behind_a_backup_that_is_whole() {
    let test = "act";
    let Some(act) = need(test, "act", tool("act")) else {
        return;
    };
    let Some(cluster) = sample(test) else {
        return;
    };
    let store = tempfile::tempdir().unwrap();
    let url = cluster.url();
    let slack = Web::start(&[]);
    let slack_url = slack.url("/services/act-canary-token");
    let fake = cluster.fake_bin_dir("dies-after-half");
    let run = |bin_dir: &Path| {
        // Backups are named by the second.
        std::thread::sleep(Duration::from_millis(1_100));
        let vars = [
            ("COMMAND", "gate"),
            ("LOCAL", store.path().to_str().unwrap()),
            ("PG_BIN_DIR", bin_dir.to_str().unwrap()),
        ];
        run_act(
            &act,
            Path::new(PROGRAM),
            &vars,
            &[("DATABASE_URL", &url), ("SLACK_WEBHOOK_URL", &slack_url)],
            &[],
        )
    };

    let good = run(&cluster.bin_dir);
    assert!(good.success, "{}", good.log);
    assert_eq!(good.gate_result, "success");
    assert_eq!(good.outputs["passed"], "true");
    let key = good.deployed.as_deref().unwrap();
    assert_eq!(key, good.outputs["archive-key"]);
    assert!(store.path().join(key).is_file());
    assert!(
        good.summary.contains("deploy may go on"),
        "{}",
        good.summary
    );

    assert!(slack.take().is_empty(), "a pass is nothing to tell");
    let bad = run(fake.path());
    let told = slack.take();
    assert_eq!(told.len(), 1, "{}", bad.log);
    assert!(told[0].body.contains("deploy blocked"), "{}", told[0].body);
    assert!(!bad.success, "{}", bad.log);
    assert_eq!(bad.deployed, None, "{}", bad.log);
    assert_eq!(bad.gate_result, "failure");
    assert_eq!(bad.outputs["passed"], "false");
    assert!(
        bad.outputs["failed-checks"].contains("dump-exit"),
        "{:?}",
        bad.outputs
    );
    assert!(bad.summary.contains("deploy blocked"), "{}", bad.summary);
    assert!(
        bad.summary.contains("was killed (signal 9"),
        "{}",
        bad.summary
    );
    assert!(
        bad.summary.contains(key),
        "what still protects: {}",
        bad.summary
    );

    // The same step with another command: a drill of what the gate stored, then the gate's receipt.
    let other = |command: &str| {
        let vars = [
            ("COMMAND", command),
            ("LOCAL", store.path().to_str().unwrap()),
            ("PG_BIN_DIR", cluster.bin_dir.to_str().unwrap()),
            ("ENGINE", "local"),
        ];
        run_act(&act, Path::new(PROGRAM), &vars, &[], &[])
    };
    let drill = other("drill");
    assert!(drill.success, "{}", drill.log);
    assert_eq!(drill.outputs["passed"], "true", "{}", drill.log);
    assert!(
        drill.summary.contains("Restore drill passed"),
        "{}",
        drill.summary
    );
    // The latest gate is the one that failed.
    let receipt = other("verify-receipt");
    assert!(!receipt.success, "{}", receipt.log);
    let closed_by = &receipt.outputs["failed-checks"];
    assert!(closed_by.starts_with("receipt-passed"), "{closed_by}");
    // Each of these runs is of a commit of its own, so the receipt is another's: all but that is
    // as it should be, and that is enough to stop a deploy.
    assert!(run(&cluster.bin_dir).success);
    let told = slack.take();
    assert!(
        told.len() == 1 && told[0].body.contains("passes again"),
        "{told:?}"
    );
    let receipt = other("verify-receipt");
    assert!(!receipt.success, "{}", receipt.log);
    assert_eq!(receipt.outputs["passed"], "false", "{}", receipt.log);
    assert_eq!(receipt.outputs["failed-checks"], "receipt-run");
    assert_eq!(receipt.deployed, None, "{}", receipt.log);

    for secret in forms(&[PASSWORD.to_owned(), "act-canary-token".to_owned()]) {
        for text in [
            &good.log,
            &good.summary,
            &bad.log,
            &bad.summary,
            &drill.log,
            &drill.summary,
        ] {
            assert!(!text.contains(&secret), "{secret} in {text}");
        }
    }
}

//! A store that is slow while the retention works: the backup is published and verified by then, so
//! the gate opens in its time and says what was not done.

use super::world::{World, sample};
use crate::support::peer::{Action, Fault, When};
use std::time::Duration;

#[test]
fn a_slow_store_does_not_cost_a_gate_its_receipt() {
    let test = "slow-retention";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(mut world) = World::remote(test, cluster) else {
        return;
    };
    let peer = world.peer();
    // The copy of the month's first backup.
    peer.inject(
        When::Target(Action::PutObject, "/archive/"),
        Fault::Stall(Duration::from_secs(120)),
    );
    let gate = || world.gate().args(&["--timeout", "30s"]);
    let ended = world.passes(gate());
    assert!(ended.seconds < 25.0, "{}", ended.all());
    let check = ended.check("retention-applied");
    assert_eq!(check["outcome"], "warned", "{check}");
    let said = check["evidence"].as_str().unwrap_or_default();
    assert!(said.starts_with("it did not end within "), "{check}");
    assert!(!ended.output("receipt-key").is_empty(), "{}", ended.all());

    let block = gate().args(&["--check", "retention-applied=block"]);
    let ended = world.start(block).going.end();
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(
        ended
            .output("failed-checks")
            .starts_with("retention-applied"),
        "{}",
        ended.all()
    );
}

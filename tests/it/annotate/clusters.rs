//! Several clusters in one prefix: the one that is named is shown, and nobody else's gates.

use super::world::succeeds;
use crate::gate::world::{World, sample};
use crate::support::past::{days_ago, invent, manifests, read};
use crate::support::run::Run;
use serde_json::{Value, json};

#[test]
fn the_cluster_that_is_named_is_shown_with_its_own_gates() {
    let Some(cluster) = sample("annotate::clusters") else {
        return;
    };
    let world = World::local(cluster);
    let store = world.local.clone().unwrap_or_default();
    world.passes(world.gate().args(&["--cluster", "nostromo-prod"]));
    let pattern = read(&manifests(&store)[0]);
    for (days, name, identifier) in [
        (2, "sulaco-prod", json!("7777777777777777777")),
        (1, "sulaco-prod", json!("7777777777777777777")),
        // Its server did not say who it is.
        (3, "sevastopol", Value::Null),
    ] {
        invent(&store, &pattern, days_ago(days), |manifest| {
            manifest["source"]["cluster"] = json!(name);
            manifest["source"]["system_identifier"] = identifier.clone();
        });
    }
    let annotate = |named: &[&str]| -> Run {
        let run = world.run("annotate").at_home();
        run.arg("--dry-run").args(named)
    };

    // Nobody said which: the newest backup's, and that is said.
    let all = succeeds(annotate(&[]));
    let screen = all.screen();
    assert!(screen.contains("<sub>`nostromo-prod`: "), "{screen}");
    assert!(screen.contains("Last gate ✅ "), "{screen}");
    assert!(
        screen.contains("the stores hold backups of 3 clusters"),
        "{screen}"
    );

    for named in ["sulaco-prod", "7777777777777777777"] {
        let ended = succeeds(annotate(&["--cluster", named]));
        let screen = ended.screen();
        assert!(screen.contains("<sub>`sulaco-prod`: "), "{screen}");
        assert!(screen.contains(" since the backup before"), "{screen}");
        // The receipt is another cluster's.
        assert!(
            screen.contains("No passed gate of this cluster in the last receipt of a gate"),
            "{screen}"
        );
        assert!(!screen.contains("3 clusters"), "{screen}");
    }
    let ended = succeeds(annotate(&["--cluster", "sevastopol"]));
    assert!(
        ended.screen().contains("No passed gate of this cluster"),
        "{}",
        ended.all()
    );

    let ended = annotate(&["--cluster", "nostromo"]).end();
    assert_eq!(ended.code, 2, "{}", ended.all());
    assert!(
        ended.stderr.contains(
            "--cluster: no backup is of \"nostromo\"; there are backups of \"nostromo-prod\" ("
        ),
        "{}",
        ended.all()
    );
}

//! A real cluster that grows or loses rows between two gates.

use crate::gate::world::{World, own};
use crate::support::past::{backdate, days_ago, invent, manifests, read, write};
use crate::support::run::{Ended, Run};
use jiff::SignedDuration;
use serde_json::json;

/// A gate that leaves backups of a month ago where they are.
fn gate_of(world: &World) -> Run {
    world.gate().args(&["--retention-mode", "off"])
}

/// A world with one backup, a month old.
fn with_a_past<'a>(world: World<'a>) -> World<'a> {
    let first = world.passes(gate_of(&world));
    for check in ["size-shrink", "size-growth"] {
        let answer = first.check(check);
        assert_eq!(answer["outcome"], "passed");
        assert_eq!(answer["evidence"], "no earlier backup to compare with");
    }
    let store = world.local.clone().unwrap_or_default();
    backdate(&store, &manifests(&store)[0], days_ago(31));
    world
}

fn evidence<'a>(ended: &'a Ended, check: &str) -> &'a str {
    ended.check(check)["evidence"].as_str().unwrap_or_default()
}

#[test]
fn a_cluster_that_doubles_is_noticed_and_names_the_tenant() {
    let Some(cluster) = own("history::doubles") else {
        return;
    };
    cluster.sample(3, 300);
    let world = with_a_past(World::local(&cluster));
    let store = world.local.clone().unwrap_or_default();
    let pattern = read(&manifests(&store)[0]);
    // Another cluster in the same prefix, nearer to a month ago and much larger: not ours.
    invent(&store, &pattern, days_ago(30), |manifest| {
        manifest["source"]["system_identifier"] = json!("7777777777777777777");
        manifest["archive"]["dump_bytes"] = json!(1_u64 << 40);
    });
    cluster.psql_in(
        "nostromo",
        "insert into tenant_empresa_2.audit_log (at, entry) select '2026-02-01 00:00Z', json_build_object('n', i, 'action', md5(i::text)) from generate_series(1, 4000) i",
    );
    let sensitive = || gate_of(&world).args(&["--growth-floor", "100kB"]);
    let says = [
        "schema tenant_empresa_2 of nostromo",
        "compared with the backup of",
        "(31 days old)",
    ];
    let blocked = world.closes(
        sensitive().args(&["--check", "size-growth=block"]),
        1,
        &says,
    );
    assert_eq!(
        blocked.output("failed-checks").split(',').next(),
        Some("size-growth")
    );
    let said = evidence(&blocked, "size-growth");
    assert!(said.starts_with("the dump "), "{said}");
    assert!(!said.contains("tenant_empresa_1"), "{said}");
    assert!(
        blocked.check("size-growth")["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("--accept-size-change nostromo.tenant_empresa_2")),
        "{}",
        blocked.all()
    );

    let warned = world.passes(sensitive());
    assert_eq!(
        warned.check("size-growth")["outcome"],
        "warned",
        "{}",
        warned.all()
    );
    for words in says {
        warned.assert_says(words);
    }
    assert!(warned.summary.contains("%** since 20"));
    let history = &warned.report()["history"];
    assert_eq!(history["sizes"].as_array().map(Vec::len), Some(2));
    assert_eq!(history["movers"][0]["schema"], "tenant_empresa_2");
    assert_eq!(history["moved_schemas"], 1, "{history}");
    assert!(
        warned
            .summary
            .contains("| `tenant_empresa_2` | `nostromo` |"),
        "{}",
        warned.summary
    );
    assert!(
        warned.summary.contains("Sizes of the dump, last 2:"),
        "{}",
        warned.summary
    );

    // Where it warns it goes on warning; where it blocks, the newest backup was let through.
    let again = world.passes(sensitive());
    assert_eq!(again.check("size-growth")["outcome"], "warned");
    let known = world.passes(sensitive().args(&["--check", "size-growth=block"]));
    assert!(
        evidence(&known, "size-growth").contains("as the newest backup has it"),
        "{}",
        known.all()
    );
    // Half a megabyte pages nobody.
    let quiet = world.passes(gate_of(&world));
    assert_eq!(
        quiet.check("size-growth")["outcome"],
        "passed",
        "{}",
        quiet.all()
    );
    assert!(!evidence(&quiet, "size-growth").contains("let through"));
}

#[test]
fn a_truncated_table_is_never_sealed_unless_it_was_meant() {
    let Some(cluster) = own("history::truncated") else {
        return;
    };
    cluster.sample(3, 300);
    cluster.psql_in(
        "nostromo",
        "insert into tenant_empresa_3.audit_log (at, entry) select '2026-02-01 00:00Z', json_build_object('n', i) from generate_series(1, 3000) i",
    );
    let world = with_a_past(World::local(&cluster));
    cluster.psql_in("nostromo", "truncate tenant_empresa_3.audit_log");
    let gate = || -> Run { gate_of(&world).args(&["--shrink-floor", "50kB"]) };
    let closed = world.closes(
        gate(),
        1,
        &[
            "schema tenant_empresa_3 of nostromo",
            "run the gate once with",
            "--accept-size-change nostromo.tenant_empresa_3",
        ],
    );
    assert_eq!(closed.check("size-shrink")["outcome"], "failed");
    // Nothing was sealed: what follows was not reached.
    assert_eq!(closed.check("stored-readback")["outcome"], "not_checked");
    // Another tenant's name does not help.
    world.closes(
        gate().args(&["--accept-size-change", "tenant_empresa_1"]),
        1,
        &["tenant_empresa_3"],
    );

    let accepted = world.passes(gate().args(&["--accept-size-change", "tenant_empresa_3"]));
    assert!(
        evidence(&accepted, "size-shrink").contains("accepted"),
        "{}",
        accepted.all()
    );
    // Once is enough.
    let next = world.passes(gate());
    assert!(
        evidence(&next, "size-shrink").contains("as the newest backup has it"),
        "{}",
        next.all()
    );
    // A second loss is one.
    cluster.psql_in("nostromo", "drop schema tenant_empresa_2 cascade");
    world.closes(
        gate(),
        1,
        &["schema tenant_empresa_2 of nostromo", "→ 0 B (−100 %)"],
    );
    let warned = world.passes(gate().args(&["--check", "size-shrink=warn"]));
    assert_eq!(warned.check("size-shrink")["outcome"], "warned");

    world.closes(
        gate().args(&["--size-floor", "tenant_empresa_3=1MB"]),
        1,
        &["schema tenant_empresa_3 has", "less than 1 MB"],
    );
    world.closes(gate().args(&["--size-floor", "1GB"]), 1, &["the dump has"]);
    world.passes(gate().args(&["--size-floor", "central=500", "--size-floor", "10kB"]));
}

#[test]
fn earlier_backups_that_cannot_be_read_are_not_taken_for_none() {
    let Some(cluster) = own("history::unreadable") else {
        return;
    };
    cluster.sample(2, 300);
    cluster.psql_in(
        "nostromo",
        "insert into tenant_empresa_2.audit_log (at, entry) select '2026-02-01 00:00Z', json_build_object('n', i) from generate_series(1, 3000) i",
    );
    let world = with_a_past(World::local(&cluster));
    let store = world.local.clone().unwrap_or_default();
    let path = manifests(&store).remove(0);
    let good = read(&path);
    let mut newer = good.clone();
    newer["format"] = json!(99);
    write(&path, &newer);
    cluster.psql_in("nostromo", "truncate tenant_empresa_2.audit_log");
    let gate = || gate_of(&world).args(&["--shrink-floor", "50kB"]);
    let before = world.snapshot();
    let closed = world.start(gate()).going.end();
    assert_eq!(closed.code, 3, "{}", closed.all());
    assert_eq!(world.after_failure(&before, &closed), before);
    for words in [
        "earlier backups could not be read",
        "99",
        "--check size-shrink=warn",
    ] {
        closed.assert_says(words);
    }
    for (check, outcome) in [("size-shrink", "not_checked"), ("size-growth", "warned")] {
        assert_eq!(closed.check(check)["outcome"], outcome, "{}", closed.all());
    }
    // What can be read is compared with, however many backups of others lie before it.
    write(&path, &good);
    for minutes in 0..150 {
        let at = days_ago(29) + SignedDuration::from_mins(minutes);
        invent(&store, &good, at, |manifest| {
            manifest["source"]["system_identifier"] = json!("7777777777777777777");
        });
    }
    let closed = world.closes(gate(), 1, &["schema tenant_empresa_2 of nostromo"]);
    assert_eq!(closed.check("size-shrink")["outcome"], "failed");
    // The first backup of a cluster passes among those of others.
    std::fs::remove_file(&path).unwrap();
    let first = world.passes(gate());
    for check in ["size-shrink", "size-growth"] {
        assert_eq!(
            evidence(&first, check),
            "no earlier backup to compare with",
            "{}",
            first.all()
        );
    }
}

//! That checks of every kind are told, and not only those of the preflight: sizes and retention as
//! warnings, an empty dump as a failure.

use super::gate::Ears;
use crate::gate::world::{World, own};
use crate::support::past::{backdate, days_ago, manifests};
use std::fs;

#[test]
fn sizes_retention_and_content_are_told() {
    let Some(cluster) = own("notify-warnings") else {
        return;
    };
    cluster.sample(3, 300);
    let world = World::local(&cluster);
    let store = world.local.clone().unwrap();
    world.passes(world.gate());
    backdate(&store, &manifests(&store)[0], days_ago(31));
    cluster.psql_in(
        "nostromo",
        "insert into tenant_empresa_2.audit_log (at, entry) select '2026-02-01 00:00Z', json_build_object('n', i, 'action', md5(i::text)) from generate_series(1, 4000) i",
    );
    let damaged = "2026-01/backup_2026-01-02_02-00-01Z.manifest.json";
    fs::create_dir_all(store.join("2026-01")).unwrap();
    fs::write(store.join(damaged), "{").unwrap();
    let ears = Ears::new();
    let gate = || ears.on(world.gate()).args(&["--notify-on", "warning"]);

    let ended = world.passes(gate().args(&["--growth-floor", "100kB"]));
    let (text, report) = ears.heard("warning");
    assert!(
        text.contains("passed with warnings — deploy may go on"),
        "{text}"
    );
    for says in [
        "*size-growth*  the dump ",
        "*retention-applied*  ",
        "kept, and not counted as a backup: ",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    assert_eq!(&report, ended.report());
    fs::remove_file(store.join(damaged)).unwrap();

    world.closes(
        gate().args(&["--require-database", "sulaco"]),
        1,
        &["not-empty"],
    );
    let (text, _) = ears.heard("failure");
    assert!(text.contains("*not-empty*  "), "{text}");
    assert!(text.contains("sulaco"), "{text}");
}

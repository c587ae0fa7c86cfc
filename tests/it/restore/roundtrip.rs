//! What went in comes out: the runbook's cluster, the hostile one, several versions.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that cannot go on ends its test"
)]

use super::bench::{Shelf, assert_same, dumpall, run, source, target};
use crate::support::root;
use backup_action::restore::plan::{Phase, Scope};
use std::io::Read;

#[tokio::test]
async fn the_runbooks_cluster_comes_back_whole() {
    let test = "the_runbooks_cluster_comes_back_whole";
    let Some(from) = source(test, None) else {
        return;
    };
    from.sample(5, 300);
    let shelf = Shelf::new(dumpall(&from)).await;
    let to = target(test, None).unwrap();
    let loaded = run(shelf.load(&to, &Scope::Cluster)).await.unwrap();
    assert_same(&shelf, &to);
    assert_eq!(loaded.rows, shelf.index().rows());
    assert_eq!(loaded.schemas, 7);
    assert_eq!(loaded.tables, 17);
    assert_eq!(loaded.failures, []);
    assert_eq!(loaded.phases[0].0, Phase::Globals);
}

fn hostile(major: u32) -> Vec<u8> {
    let path = root().join(format!("fixtures/dumps/{major}/hostile.sql.gz"));
    let mut dump = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_end(&mut dump)
        .unwrap();
    dump
}

#[tokio::test]
async fn the_hostile_cluster_comes_back_whole_with_every_version() {
    let test = "the_hostile_cluster_comes_back_whole_with_every_version";
    for major in [15, 17, 18] {
        let Some(to) = target(test, Some(major)) else {
            continue;
        };
        let shelf = Shelf::with_members(hostile(major), 100_000).await;
        run(shelf.load(&to, &Scope::Cluster)).await.unwrap();
        assert_same(&shelf, &to);
    }
}

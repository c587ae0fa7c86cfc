//! The local engine.

use super::{is_useful, local_major, wanted};
use backup_action::postgres::throwaway::{Engine, EngineChoice, Throwaway};
use std::path::Path;

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_answers_dumps_and_leaves_nothing() {
    let Some(major) = local_major("throwaway::local::it_starts_answers_dumps_and_leaves_nothing")
    else {
        return;
    };
    let base = tempfile::tempdir_in("/tmp").unwrap();
    std::fs::set_permissions(
        base.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let cluster = Throwaway::start(wanted(
        EngineChoice::Local,
        major,
        Some(base.path().to_owned()),
    ))
    .await
    .unwrap();
    assert_eq!(cluster.engine, Engine::Local);
    is_useful(&cluster, major).await;
    cluster.stop().await.unwrap();
    assert!(is_empty(base.path()));
}

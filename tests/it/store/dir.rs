//! The directory store: modes, links, full and read-only disks, what an abort leaves.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests mount a small file system"
)]
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a helper that cannot go on ends its test"
)]

use super::{key, kind, noise, send, store_object, told};
use crate::support::need;
use backup_action::error::is_usage;
use backup_action::store::{Checksums, Store, StoreErrorKind, Tier};
use bytes::Bytes;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

async fn open(path: &Path) -> Store {
    Store::open_dir(path).await.expect("the store opens")
}

/// Every file below, with its mode.
fn files(root: &Path) -> Vec<(String, u32)> {
    fn walk(root: &Path, at: &Path, found: &mut Vec<(String, u32)>) {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            if metadata.is_dir() {
                assert_eq!(metadata.permissions().mode() & 0o777, 0o700, "{path:?}");
                walk(root, &path, found);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                found.push((name, metadata.permissions().mode() & 0o777));
            }
        }
    }
    let mut found = Vec::new();
    walk(root, root, &mut found);
    found.sort();
    found
}

#[tokio::test]
async fn objects_come_back_whole_and_private() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("new/store");
    let store = open(&root).await;
    assert_eq!(store.tier(), Tier::Local);
    assert_eq!(store.describe(), root.display().to_string());
    let bytes = noise(40 * 1024 * 1024 + 5, 3);
    let sealed = store_object(&store, "2026-01/a.sql.gz", &bytes)
        .await
        .unwrap();
    assert_eq!(sealed.bytes, bytes.len() as u64);
    assert_eq!(sealed.store_checksum, None);
    store_object(&store, "empty", &Bytes::new()).await.unwrap();
    store
        .put(&key("2026-01/b"), noise(9, 1), "text/plain")
        .await
        .unwrap();
    assert_eq!(
        files(&root),
        ["2026-01/a.sql.gz", "2026-01/b", "empty"].map(|name| (name.to_owned(), 0o600))
    );
    assert!(store.get(&sealed.key, sealed.bytes).await.unwrap() == bytes);
    let range = store.get_range(&sealed.key, 5..1_000_000).await.unwrap();
    assert!(range == bytes.slice(5..1_000_000));
    let past_the_end = store.get_range(&sealed.key, 5..sealed.bytes + 1).await;
    assert!(told(&past_the_end.unwrap_err()).contains("could not read bytes 5.."));
    assert!(store.get_range(&sealed.key, 0..u64::MAX).await.is_err());
    let error = store.get(&sealed.key, 1000).await.unwrap_err();
    assert!(told(&error).contains("larger than 1000"));
    let error = store.get(&key("2026-01/none"), 10).await.unwrap_err();
    assert_eq!(
        kind(&error),
        Some(StoreErrorKind::NotFound),
        "{}",
        told(&error)
    );
    assert_eq!(store.head(&key("none/none")).await.unwrap(), None);
    assert_eq!(
        store.head(&key("2026-01/b")).await.unwrap().unwrap().bytes,
        9
    );
    let listed = store.list("2026-01/").await.unwrap();
    let listed: Vec<_> = listed.iter().map(|o| (o.key.as_str(), o.bytes)).collect();
    assert_eq!(
        listed,
        [("2026-01/a.sql.gz", sealed.bytes), ("2026-01/b", 9)]
    );
    assert_eq!(store.list("2026-01/b").await.unwrap().len(), 1);
    assert_eq!(store.list("").await.unwrap().len(), 3);
    store.delete(&key("2026-01/b")).await.unwrap();
    store.delete(&key("2026-01/b")).await.unwrap();
    assert_eq!(store.list("2026-01/b").await.unwrap(), []);
}

#[tokio::test]
async fn a_relative_path_is_a_usage_error_and_a_probe_leaves_nothing() {
    let error = Store::open_dir(Path::new("backups")).await.unwrap_err();
    assert!(is_usage(&error));
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let can = store.probe("../n").await.unwrap();
    assert!(can.conditional_writes && can.delete);
    assert_eq!((can.checksums, can.clock_skew), (Checksums::None, None));
    assert_eq!(can.to_string(), "create-only writes");
    assert_eq!(files(directory.path()), []);
    let free = store.free_space().await.unwrap().unwrap();
    assert!(free.available_bytes > 0 && directory.path().starts_with(&free.mount_point));
}

#[tokio::test]
async fn an_existing_object_is_never_overwritten() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    // Both uploads start before either exists: the second seal loses.
    let mut late = store.create(&key("late"), 0).await.unwrap();
    send(&mut late, &noise(100, 1)).await.unwrap();
    std::fs::write(directory.path().join("late"), "first").unwrap();
    let error = late.seal().await.unwrap_err();
    assert_eq!(
        kind(&error),
        Some(StoreErrorKind::AlreadyExists),
        "{}",
        told(&error)
    );
    let error = store
        .put(&key("late"), noise(9, 1), "text/plain")
        .await
        .unwrap_err();
    assert_eq!(
        kind(&error),
        Some(StoreErrorKind::AlreadyExists),
        "{}",
        told(&error)
    );
    let error = store_object(&store, "late", &noise(9, 1))
        .await
        .unwrap_err();
    assert_eq!(
        kind(&error),
        Some(StoreErrorKind::AlreadyExists),
        "{}",
        told(&error)
    );
    // Two runs at once on one name.
    let first = store.create(&key("both"), 0).await.unwrap();
    let second = store.create(&key("both"), 0).await.map(drop).unwrap_err();
    assert_eq!(kind(&second), Some(StoreErrorKind::AlreadyExists));
    assert!(told(&second).contains("Another run"), "{}", told(&second));
    first.abort_handle().abort().await.unwrap();
    drop(first);
    assert_eq!(
        std::fs::read(directory.path().join("late")).unwrap(),
        b"first"
    );
    assert_eq!(files(directory.path()).len(), 1);
    store
        .replace(&key("late"), Bytes::from_static(b"second"), "text/plain")
        .await
        .unwrap();
    assert_eq!(
        std::fs::read(directory.path().join("late")).unwrap(),
        b"second"
    );
}

#[tokio::test]
async fn planted_links_are_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let outside = directory.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let victim = outside.join("victim");
    std::fs::write(&victim, "untouched").unwrap();
    let root = directory.path().join("store");
    let store = open(&root).await;
    symlink(&victim, root.join("final")).unwrap();
    symlink(&victim, root.join("unfinished.partial")).unwrap();
    symlink(outside.join("new"), root.join("dangling")).unwrap();
    symlink(&outside, root.join("2026-01")).unwrap();
    for name in ["final", "unfinished", "dangling", "2026-01/x"] {
        let error = store_object(&store, name, &noise(9, 1)).await.unwrap_err();
        told(&error);
        let error = store
            .put(&key(name), noise(9, 1), "text/plain")
            .await
            .unwrap_err();
        told(&error);
    }
    for name in ["final", "dangling", "2026-01/victim"] {
        assert!(store.get(&key(name), 100).await.is_err(), "{name}");
        assert!(store.get_range(&key(name), 0..1).await.is_err(), "{name}");
    }
    assert!(store.delete(&key("2026-01/victim")).await.is_err());
    assert_eq!(store.list("").await.unwrap(), []);
    // Overwriting replaces the link, not what it points to.
    store
        .replace(&key("final"), noise(9, 1), "text/plain")
        .await
        .unwrap();
    assert_eq!(std::fs::read(&victim).unwrap(), b"untouched");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
}

#[tokio::test]
async fn an_abort_removes_the_unfinished_file_and_a_seal_survives_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await;
    let mut upload = store.create(&key("x"), 0).await.unwrap();
    let handle = upload.abort_handle();
    send(&mut upload, &noise(3_000_000, 1)).await.unwrap();
    assert_eq!(files(directory.path()), [("x.partial".to_owned(), 0o600)]);
    assert_eq!(store.list("").await.unwrap(), []);
    drop(upload);
    handle.abort().await.unwrap();
    handle.abort().await.unwrap();
    assert_eq!(files(directory.path()), []);
    let mut upload = store.create(&key("x"), 0).await.unwrap();
    let handle = upload.abort_handle();
    send(&mut upload, &noise(1000, 1)).await.unwrap();
    handle.abort().await.unwrap();
    assert!(upload.seal().await.is_err());
    assert_eq!(files(directory.path()), []);
    let upload = store.create(&key("x"), 0).await.unwrap();
    let handle = upload.abort_handle();
    upload.seal().await.unwrap();
    handle.abort().await.unwrap();
    assert_eq!(files(directory.path()), [("x".to_owned(), 0o600)]);
}

/// A mounted file system of a few megabytes; unmounted when it is dropped.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(test: &str, at: &Path, options: &str) -> Option<Tmpfs> {
        std::fs::create_dir(at).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "none"])
            .arg(at)
            .output();
        let mounted = mount.is_ok_and(|output| output.status.success());
        need(
            test,
            "the right to mount a tmpfs (root)",
            mounted.then(|| Tmpfs(at.to_owned())),
        )
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(&self.0).status();
        assert!(unmounted.is_ok_and(|status| status.success()));
    }
}

#[tokio::test]
async fn a_full_disk_is_named_with_its_mount_point() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("small");
    let Some(small) = Tmpfs::mount("dir full disk", &at, "size=3m,mode=0700") else {
        return;
    };
    let store = open(&at.join("store")).await;
    store
        .put(&key("good"), noise(1000, 1), "text/plain")
        .await
        .unwrap();
    let free = store.free_space().await.unwrap().unwrap();
    assert_eq!(free.mount_point, at);
    assert!(free.available_bytes < 3 * 1024 * 1024);
    // At every size around the limit, so that each kind of write is the one that fails.
    // One page is taken.
    for length in [3_141_633, 3_145_728, 4_000_000, 20_000_000] {
        let error = store_object(&store, "2026-01/x", &noise(length, 1))
            .await
            .unwrap_err();
        assert_eq!(kind(&error), Some(StoreErrorKind::Full), "{}", told(&error));
        assert!(
            told(&error).contains(&at.display().to_string()),
            "{}",
            told(&error)
        );
        let left: Vec<_> = files(&at.join("store"));
        assert_eq!(left, [("good".to_owned(), 0o600)]);
    }
    let error = store
        .put(&key("y"), noise(4_000_000, 1), "text/plain")
        .await
        .unwrap_err();
    assert_eq!(kind(&error), Some(StoreErrorKind::Full), "{}", told(&error));
    assert!(store.get(&key("good"), 1000).await.unwrap() == noise(1000, 1));
    drop(store);
    drop(small);
}

#[tokio::test]
async fn a_read_only_disk_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("read-only");
    let Some(mounted) = Tmpfs::mount("dir read-only disk", &at, "ro,size=1m") else {
        return;
    };
    let store = open(&at).await;
    let error = store.probe("n").await.unwrap_err();
    assert_eq!(
        kind(&error),
        Some(StoreErrorKind::Denied),
        "{}",
        told(&error)
    );
    assert!(told(&error).contains("read-only"), "{}", told(&error));
    assert!(Store::open_dir(&at.join("new")).await.is_err());
    drop(store);
    drop(mounted);
}

#[test]
fn a_put_that_is_dropped_is_done_or_never_will_be() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let bytes = noise(1024 * 1024, 5);
    let when_dropped = runtime.block_on(async {
        let store = open(directory.path()).await;
        let mut when_dropped = Vec::new();
        for number in 0..40 {
            let name = format!("{number:02}");
            let put_key = key(&name);
            let patience = std::time::Duration::from_millis(number % 4);
            let put = store.put(&put_key, bytes.clone(), "text/plain");
            let put = tokio::time::timeout(patience, put).await;
            if let Ok(put) = put {
                put.unwrap();
            }
            when_dropped.push(directory.path().join(&name).exists());
        }
        when_dropped
    });
    // Waits for every thread.
    drop(runtime);
    let at_last: Vec<_> = (0..40)
        .map(|number| directory.path().join(format!("{number:02}")).exists())
        .collect();
    assert_eq!(when_dropped, at_last);
    assert!(when_dropped.contains(&false), "no put was dropped");
    let names = files(directory.path());
    assert!(!names.iter().any(|(name, _)| name.ends_with(".partial")));
}

#[tokio::test]
async fn a_file_is_no_store() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "kept").unwrap();
    let dangling = directory.path().join("dangling");
    symlink("/nonexistent/x", &dangling).unwrap();
    for path in [
        file.clone(),
        file.join("below"),
        dangling,
        "/dev/full".into(),
    ] {
        let error = Store::open_dir(&path).await.unwrap_err();
        let text = told(&error);
        assert!(text.contains("is not a directory"), "{text}");
        assert!(text.contains("Name another --local directory."), "{text}");
        assert!(!text.contains("overwritten"), "{text}");
    }
    assert_eq!(std::fs::read(&file).unwrap(), b"kept");
}

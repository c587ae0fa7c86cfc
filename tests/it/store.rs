//! The S3 store against a real server: what it writes, reads, lists and never overwrites. The other
//! files: `refused` (keys, rights, buckets, endpoints), `abort`, `faults` (broken answers), `dir`.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a helper that cannot go on ends its test"
)]

mod abort;
mod copy;
mod dir;
mod faults;
mod refused;

use crate::support::s3::{self, SeaweedFs};
use backup_action::error::{hint, one_line};
use backup_action::store::{
    Checksums, Key, S3Config, SealedObject, Store, StoreErrorKind, Tier, Upload,
};
use bytes::Bytes;

/// The smallest part that the server accepts.
const PART: u64 = 5 * 1024 * 1024;

fn key(text: &str) -> Key {
    Key::parse(text).expect("a good key")
}

/// Bytes without a period that a part or a member could hide.
fn noise(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(2) | 1;
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let bytes: Vec<u8> = std::iter::repeat_with(next)
        .take(length.div_ceil(8))
        .flatten()
        .collect();
    Bytes::from(bytes).slice(..length)
}

async fn open(config: S3Config) -> Store {
    Store::open_s3(config).await.expect("the store opens")
}

fn small_parts(config: S3Config) -> S3Config {
    S3Config {
        part_bytes: Some(PART),
        ..config
    }
}

/// Writes `bytes` in pieces of odd sizes.
async fn send(upload: &mut Upload, bytes: &Bytes) -> anyhow::Result<()> {
    let mut at = 0;
    for size in [1, 70_001, 1_048_577, 333_333].into_iter().cycle() {
        if at == bytes.len() {
            return Ok(());
        }
        let end = bytes.len().min(at + size);
        upload.write(bytes.slice(at..end)).await?;
        at = end;
    }
    Ok(())
}

async fn store_object(store: &Store, name: &str, bytes: &Bytes) -> anyhow::Result<SealedObject> {
    let mut upload = store.create(&key(name), bytes.len() as u64).await?;
    let handle = upload.abort_handle();
    match send(&mut upload, bytes).await {
        Ok(()) => upload.seal().await,
        Err(error) => {
            handle.abort().await?;
            Err(error)
        }
    }
}

/// The error's whole text, after checking that it has a hint and no secret.
fn told(error: &anyhow::Error) -> String {
    let text = one_line(error);
    let hint = hint(error).unwrap_or_else(|| panic!("no hint: {text}"));
    let all = format!("{text} / {hint} / {error:?}");
    for secret in [s3::SECRET_KEY, s3::READER_SECRET_KEY, "canary"] {
        assert!(!all.contains(secret), "a secret in {all}");
    }
    format!("{text} / {hint}")
}

fn kind(error: &anyhow::Error) -> Option<StoreErrorKind> {
    StoreErrorKind::of(error)
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_several_parts_and_of_one_come_back_whole() {
    let Some(server) = SeaweedFs::start("s3 round trip") else {
        return;
    };
    let prefix = server.prefix("round-trip");
    let store = open(small_parts(server.config(&prefix))).await;
    assert_eq!(store.tier(), Tier::Remote);
    assert_eq!(store.describe(), format!("s3://{}/{prefix}", s3::BUCKET));
    assert_eq!(store.free_space().await.unwrap(), None);
    for (name, length) in [
        ("a/empty", 0),
        ("a/one", 1),
        ("a/part", PART as usize),
        ("a/part+1", PART as usize + 1),
        ("a/parts", 3 * PART as usize + 12_345),
    ] {
        let bytes = noise(length, 7);
        let sealed = store_object(&store, name, &bytes).await.unwrap();
        assert_eq!((sealed.key.as_str(), sealed.bytes), (name, length as u64));
        assert_eq!(sealed.store_checksum.as_ref(), Some(&sealed.crc64nvme));
        assert_eq!(sealed.warnings, Vec::<String>::new());
        let head = store.head(&key(name)).await.unwrap().unwrap();
        assert_eq!(
            (head.bytes, head.crc64nvme),
            (length as u64, Some(sealed.crc64nvme))
        );
        assert!(store.get(&key(name), length as u64).await.unwrap() == bytes);
        let middle = length / 3..length - length / 4;
        let range = middle.start as u64..middle.end as u64;
        let read = store.get_range(&key(name), range).await.unwrap();
        assert!(read == bytes.slice(middle), "{name}");
    }
    // Longer than the object, or than what the caller allows.
    let error = store.get_range(&key("a/one"), 0..2).await.unwrap_err();
    assert!(told(&error).contains("bytes 0..2"), "{}", told(&error));
    let error = store.get(&key("a/part"), 1000).await.unwrap_err();
    assert!(
        told(&error).contains("larger than 1000"),
        "{}",
        told(&error)
    );
    let error = store.get(&key("a/none"), 10).await.unwrap_err();
    assert_eq!(
        kind(&error),
        Some(StoreErrorKind::NotFound),
        "{}",
        told(&error)
    );
    assert_eq!(store.head(&key("a/none")).await.unwrap(), None);
    // A second delete is no error.
    store.delete(&key("a/one")).await.unwrap();
    store.delete(&key("a/one")).await.unwrap();
    assert_eq!(store.head(&key("a/one")).await.unwrap(), None);
    assert_eq!(server.open_uploads(&prefix), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_existing_object_is_never_overwritten() {
    let Some(server) = SeaweedFs::start("s3 create-only") else {
        return;
    };
    let prefix = server.prefix("create-only");
    let store = open(small_parts(server.config(&prefix))).await;
    let first = Bytes::from_static(b"first");
    store
        .put(&key("x"), first.clone(), "text/plain")
        .await
        .unwrap();
    let put = store.put(&key("x"), noise(9, 1), "text/plain").await;
    let single = store_object(&store, "x", &noise(9, 1)).await.map(drop);
    let parts = noise(PART as usize + 1, 1);
    let multipart = store_object(&store, "x", &parts).await.map(drop);
    for result in [put, single, multipart] {
        let error = result.unwrap_err();
        assert_eq!(
            kind(&error),
            Some(StoreErrorKind::AlreadyExists),
            "{}",
            told(&error)
        );
    }
    assert_eq!(store.get(&key("x"), 99).await.unwrap(), first);
    assert_eq!(server.open_uploads(&prefix), Vec::<String>::new());
    // The one exception.
    store
        .replace(&key("x"), noise(9, 2), "text/plain")
        .await
        .unwrap();
    assert_eq!(store.get(&key("x"), 99).await.unwrap(), noise(9, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_goes_through_its_pages_and_leaves_foreign_names_out() {
    let Some(server) = SeaweedFs::start("s3 list") else {
        return;
    };
    let prefix = server.prefix("list");
    let store = open(S3Config {
        list_page: Some(2),
        ..server.config(&prefix)
    })
    .await;
    let names = [
        "2026-01/b",
        "2026-01/a",
        "2026-02/c",
        "2026-01/d",
        "RECOVERY.md",
    ];
    for name in names {
        store
            .put(&key(name), Bytes::from_static(b"1"), "text/plain")
            .await
            .unwrap();
    }
    let foreign = format!("{prefix}/2026-01/x.partial");
    server.ask(|client| async move {
        let put = client.put_object().bucket(s3::BUCKET).key(foreign);
        put.send().await.expect("the server stores");
    });
    let list = async |of: &str| {
        let found = store.list(of).await.unwrap();
        let keys = found.into_iter().map(|o| (o.key.to_string(), o.bytes));
        keys.collect::<Vec<_>>()
    };
    let all = [
        "2026-01/a",
        "2026-01/b",
        "2026-01/d",
        "2026-02/c",
        "RECOVERY.md",
    ];
    assert_eq!(list("").await, all.map(|name| (name.to_owned(), 1)));
    assert_eq!(list("2026-01/").await.len(), 3);
    assert_eq!(list("2026-02/c").await.len(), 1);
    assert_eq!(list("none/").await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_tells_what_the_store_can_do_and_leaves_nothing() {
    let Some(server) = SeaweedFs::start("s3 probe") else {
        return;
    };
    let prefix = server.prefix("probe");
    let store = open(server.config(&prefix)).await;
    let can = store.probe("n1").await.unwrap();
    assert!(can.conditional_writes && can.delete && can.abort);
    assert_eq!(can.checksums, Checksums::Verified);
    assert!(can.clock_skew.unwrap().abs().as_secs() <= 2);
    assert_eq!(
        can.to_string(),
        "create-only writes, checksums verified by the store"
    );
    assert_eq!(server.keys(&prefix), Vec::<String>::new());
    assert_eq!(server.open_uploads(&prefix), Vec::<String>::new());
}

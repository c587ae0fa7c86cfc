//! The S3 store against a real server: what it writes, refuses, reads, and cleans up. Broken
//! answers are in `faults`, the directory store in `dir`.

mod dir;
mod faults;

use crate::support::peer::{Action, Fault, Peer, When};
use crate::support::s3::{self, SeaweedFs};
use backup_action::error::{hint, is_usage, one_line};
use backup_action::secret::Secret;
use backup_action::store::{
    Checksums, Key, S3Config, S3Credentials, SealedObject, Store, StoreErrorKind, Tier, Upload,
};
use bytes::Bytes;
use std::time::{Duration, Instant};

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
    let started = Instant::now();
    let can = store.probe("n1").await.unwrap();
    println!("probe: {:?}", started.elapsed());
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

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_and_missing_rights_are_told_apart() {
    let Some(server) = SeaweedFs::start("s3 credentials") else {
        return;
    };
    let with = |id: &str, secret: &str| S3Config {
        credentials: Some(S3Credentials {
            access_key_id: id.to_owned(),
            secret_access_key: Secret::new(secret),
            session_token: None,
        }),
        ..server.config("credentials")
    };
    for (id, secret, expected, text) in [
        (
            s3::ACCESS_KEY,
            "wrong-canary",
            StoreErrorKind::Credentials,
            "secret key is wrong",
        ),
        (
            "nobody",
            "wrong-canary",
            StoreErrorKind::Credentials,
            "does not know this access key",
        ),
        (
            s3::READER_ACCESS_KEY,
            s3::READER_SECRET_KEY,
            StoreErrorKind::Denied,
            "Allow s3:PutObject on arn:aws:s3:::backups/credentials/*",
        ),
    ] {
        let store = open(with(id, secret)).await;
        let error = store.probe("n").await.unwrap_err();
        assert_eq!(kind(&error), Some(expected), "{}", told(&error));
        assert!(told(&error).contains(text), "{}", told(&error));
        let error = store
            .put(&key("x"), noise(1, 1), "text/plain")
            .await
            .unwrap_err();
        assert_eq!(kind(&error), Some(expected), "{}", told(&error));
        let multipart = store_object(&store, "y", &noise(1, 1)).await.unwrap_err();
        assert_eq!(kind(&multipart), Some(expected), "{}", told(&multipart));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_bucket_is_named_and_not_made() {
    let Some(server) = SeaweedFs::start("s3 missing bucket") else {
        return;
    };
    let bucket = "no-such-bucket";
    let store = open(small_parts(s3::config(&server.endpoint(), bucket, "x"))).await;
    let probe = store.probe("n").await.map(drop);
    let put = store.put(&key("x"), noise(1, 1), "text/plain").await;
    let upload = store_object(&store, "y", &noise(PART as usize + 1, 1))
        .await
        .map(drop);
    for (result, name) in [(probe, true), (put, false), (upload, false)] {
        let error = result.unwrap_err();
        println!("missing bucket: {}", told(&error));
        if name {
            assert_eq!(kind(&error), Some(StoreErrorKind::NoBucket));
            assert!(told(&error).contains(bucket));
        }
    }
    assert!(!server.has_bucket(bucket));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_down_is_told_quickly() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let store = open(small_parts(s3::config(&endpoint, "bucket", "x"))).await;
    let started = Instant::now();
    let error = store.probe("n").await.unwrap_err();
    assert_eq!(
        kind(&error),
        Some(StoreErrorKind::Unreachable),
        "{}",
        told(&error)
    );
    assert!(
        told(&error).contains("Nothing listens there"),
        "{}",
        told(&error)
    );
    let error = store_object(&store, "x", &noise(PART as usize + 1, 1))
        .await
        .unwrap_err();
    println!("endpoint down: {}", one_line(&error));
    let unknown = s3::config("http://no-such-host.invalid:80", "bucket", "x");
    let error = open(unknown).await.probe("n").await.unwrap_err();
    assert_eq!(
        kind(&error),
        Some(StoreErrorKind::Unreachable),
        "{}",
        told(&error)
    );
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_endpoint_ends_with_the_deadlines() {
    let Some(server) = SeaweedFs::start("s3 silence") else {
        return;
    };
    let peer = Peer::start(server.address());
    peer.inject(When::Always, Fault::Stall(Duration::from_secs(120)));
    let mut config = small_parts(s3::config(&peer.endpoint(), s3::BUCKET, "silence"));
    config.timeouts.attempt = Duration::from_millis(300);
    config.timeouts.attempts = 2;
    let store = open(config).await;
    let started = Instant::now();
    let error = store.probe("n").await.unwrap_err();
    assert_eq!(
        kind(&error),
        Some(StoreErrorKind::Unreachable),
        "{}",
        told(&error)
    );
    assert!(
        told(&error).contains("did not answer HeadBucket in time"),
        "{}",
        told(&error)
    );
    let error = store.get(&key("x"), 1).await.unwrap_err();
    assert_eq!(kind(&error), Some(StoreErrorKind::Unreachable));
    let error = store_object(&store, "x", &noise(PART as usize + 1, 1)).await;
    println!("silence: {}", one_line(&error.unwrap_err()));
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_leaves_no_parts_and_a_seal_survives_it() {
    let Some(server) = SeaweedFs::start("s3 abort") else {
        return;
    };
    let prefix = server.prefix("abort");
    let peer = Peer::start(server.address());
    let config = small_parts(s3::config(&peer.endpoint(), s3::BUCKET, &prefix));
    let store = open(config).await;
    // The parts are still on their way when the upload is dropped.
    peer.inject(
        When::Every(Action::UploadPart),
        Fault::SlowDrip(Duration::from_millis(2)),
    );
    let mut upload = store.create(&key("x"), 0).await.unwrap();
    let handle = upload.abort_handle();
    send(&mut upload, &noise(2 * PART as usize + 1, 3))
        .await
        .unwrap();
    drop(upload);
    assert_eq!(server.open_uploads(&prefix), [format!("{prefix}/x")]);
    let started = Instant::now();
    handle.abort().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(6));
    handle.abort().await.unwrap();
    peer.heal();
    assert_eq!(server.open_uploads(&prefix), Vec::<String>::new());
    // An upload that was aborted cannot be sealed.
    let mut upload = store.create(&key("x"), 0).await.unwrap();
    let handle = upload.abort_handle();
    send(&mut upload, &noise(PART as usize + 1, 3))
        .await
        .unwrap();
    handle.abort().await.unwrap();
    assert!(one_line(&upload.seal().await.unwrap_err()).contains("aborted"));
    assert_eq!(server.keys(&prefix), Vec::<String>::new());
    assert_eq!(server.open_uploads(&prefix), Vec::<String>::new());
    // A sealed object stays.
    let mut upload = store.create(&key("x"), 0).await.unwrap();
    let handle = upload.abort_handle();
    send(&mut upload, &noise(PART as usize + 1, 3))
        .await
        .unwrap();
    upload.seal().await.unwrap();
    handle.abort().await.unwrap();
    assert_eq!(server.keys(&prefix), [format!("{prefix}/x")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_that_is_cancelled_in_the_middle_leaves_no_object() {
    let Some(server) = SeaweedFs::start("s3 cancelled seal") else {
        return;
    };
    let prefix = server.prefix("cancelled-seal");
    let peer = Peer::start(server.address());
    let config = small_parts(s3::config(&peer.endpoint(), s3::BUCKET, &prefix));
    let store = open(config).await;
    for (action, length) in [
        (Action::CompleteMultipartUpload, PART as usize + 1),
        (Action::PutObject, 9),
    ] {
        // The server completes; its answer takes for ever.
        peer.inject(When::Every(action), Fault::SlowDrip(Duration::from_secs(5)));
        let mut upload = store.create(&key("x"), 0).await.unwrap();
        let handle = upload.abort_handle();
        send(&mut upload, &noise(length, 3)).await.unwrap();
        let seal = tokio::spawn(upload.seal());
        let visible = [format!("{prefix}/x")];
        let deadline = Instant::now() + Duration::from_secs(20);
        while server.keys(&prefix) != visible {
            assert!(Instant::now() < deadline, "the server never completed");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        seal.abort();
        assert!(seal.await.unwrap_err().is_cancelled());
        peer.heal();
        handle.abort().await.unwrap();
        assert_eq!(server.keys(&prefix), Vec::<String>::new());
        assert_eq!(server.open_uploads(&prefix), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_store_holds_the_sender_back() {
    let Some(server) = SeaweedFs::start("s3 memory") else {
        return;
    };
    let prefix = server.prefix("memory");
    let peer = Peer::start(server.address());
    peer.inject(
        When::Every(Action::UploadPart),
        Fault::Stall(Duration::from_secs(60)),
    );
    let config = small_parts(s3::config(&peer.endpoint(), s3::BUCKET, &prefix));
    let store = open(S3Config {
        max_concurrency: 2,
        ..config
    })
    .await;
    let mut upload = store.create(&key("x"), 0).await.unwrap();
    let handle = upload.abort_handle();
    let piece = noise(1024 * 1024, 1);
    let mut accepted = 0_u64;
    let filled = tokio::time::timeout(Duration::from_secs(3), async {
        for _ in 0..100 {
            upload.write(piece.clone()).await.unwrap();
            accepted += piece.len() as u64;
        }
    })
    .await;
    assert!(filled.is_err(), "100 MiB were taken");
    // Two parts on their way and one that is full.
    assert_eq!(accepted, 3 * PART);
    assert_eq!(peer.count(Action::UploadPart), 2);
    handle.abort().await.unwrap();
    assert_eq!(server.open_uploads(&prefix), Vec::<String>::new());
}

#[tokio::test]
async fn a_bad_url_is_a_usage_error() {
    for url in ["s3://", "bucket", "s3://b/../x"] {
        assert!(is_usage(&S3Config::parse(url).unwrap_err()), "{url}");
    }
}

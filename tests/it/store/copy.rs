//! Copies that the store makes: whole, and in parts; never over another object.

use super::{PART, key, kind, noise, open, small_parts, store_object, told};
use crate::support::peer::{Action, Fault, Peer, When};
use crate::support::s3::{self, SeaweedFs};
use backup_action::store::{CopyRequest, S3Config, Store, StoreErrorKind};
use bytes::Bytes;

/// Copies above three parts are made in parts.
fn copies_in_parts(config: S3Config) -> S3Config {
    S3Config {
        max_copy_bytes: PART,
        ..small_parts(config)
    }
}

async fn copy(
    store: &Store,
    from: &str,
    to: &str,
    bytes: &Bytes,
    class: Option<&str>,
) -> anyhow::Result<bool> {
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes);
    let crc = base64::Engine::encode(
        &base64::engine::general_purpose::STANDARD,
        crc.to_be_bytes(),
    );
    let (from, to) = (key(from), key(to));
    let request = CopyRequest {
        from: &from,
        to: &to,
        bytes: bytes.len() as u64,
        crc64nvme: Some(&crc),
        storage_class: class,
        content_type: "application/gzip",
    };
    let copied = store.copy(&request, &|_| {}).await?;
    Ok(copied.class_refused)
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_and_in_parts_the_copy_is_the_same() {
    let Some(server) = SeaweedFs::start("copies") else {
        return;
    };
    let prefix = server.prefix("copies with spaces");
    let peer = Peer::start(server.address());
    let config = s3::config(&peer.endpoint(), s3::BUCKET, &prefix);
    let store = open(copies_in_parts(config)).await;
    for (name, length, parts) in [
        ("small", 1_000, 0),
        ("limit", PART as usize, 0),
        ("large", 3 * PART as usize + 12_345, 4),
    ] {
        let bytes = noise(length, 11);
        store_object(&store, name, &bytes).await.unwrap();
        let before = peer.count(Action::UploadPart);
        let to = format!("archive/{name}");
        copy(&store, name, &to, &bytes, Some("GLACIER_IR"))
            .await
            .unwrap();
        assert_eq!(peer.count(Action::UploadPart) - before, parts, "{name}");
        let copied = store.get(&key(&to), u64::MAX).await.unwrap();
        assert!(copied == bytes, "{name}");
        let standing = store.standing(&key(&to)).await.unwrap().unwrap();
        assert_eq!(standing.marked, Some(true), "{name}");
        // Never over what is there, not even itself.
        let error = copy(&store, name, &to, &bytes, None).await.unwrap_err();
        assert_eq!(kind(&error), Some(StoreErrorKind::AlreadyExists));
        assert!(told(&error).contains("Nothing was overwritten"));
    }
    assert_eq!(server.open_uploads(&prefix), [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_fails_leaves_nothing() {
    let Some(server) = SeaweedFs::start("broken copies") else {
        return;
    };
    let prefix = server.prefix("broken-copies");
    let peer = Peer::start(server.address());
    let config = s3::config(&peer.endpoint(), s3::BUCKET, &prefix);
    let store = open(copies_in_parts(config)).await;
    let bytes = noise(2 * PART as usize, 3);
    store_object(&store, "a", &bytes).await.unwrap();
    for (when, fault) in [
        (When::Every(Action::UploadPart), Fault::Forbidden403),
        (
            When::Every(Action::CompleteMultipartUpload),
            Fault::Forbidden403,
        ),
        (
            When::Every(Action::CreateMultipartUpload),
            Fault::Forbidden403,
        ),
    ] {
        peer.inject(when, fault);
        let error = copy(&store, "a", "archive/a", &bytes, None)
            .await
            .unwrap_err();
        assert_eq!(kind(&error), Some(StoreErrorKind::Denied), "{error:#}");
        assert!(told(&error).contains("s3:PutObject"));
        peer.heal();
        assert_eq!(server.keys(&prefix), [format!("{prefix}/a")]);
        assert_eq!(server.open_uploads(&prefix), [] as [String; 0]);
    }
    // Lost answers are decided by looking.
    for action in [Action::UploadPart, Action::CompleteMultipartUpload] {
        peer.inject(When::First(action), Fault::ResetAfterApplied);
    }
    copy(&store, "a", "archive/a", &bytes, None).await.unwrap();
    peer.heal();
    let small = noise(100, 5);
    store_object(&store, "b", &small).await.unwrap();
    peer.inject(
        When::Target(Action::PutObject, "archive/b"),
        Fault::ResetAfterApplied,
    );
    copy(&store, "b", "archive/b", &small, None).await.unwrap();
    assert!(store.get(&key("archive/b"), 1000).await.unwrap() == small);
}

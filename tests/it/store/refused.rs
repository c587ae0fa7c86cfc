//! Stores that cannot be used: wrong keys, missing rights, no bucket, nothing there, silence.

use super::{PART, key, kind, noise, open, small_parts, store_object, told};
use crate::support::peer::{Fault, Peer, When};
use crate::support::s3::{self, SeaweedFs};
use backup_action::error::{is_usage, one_line};
use backup_action::secret::Secret;
use backup_action::store::{S3Config, S3Credentials, StoreErrorKind};
use std::time::{Duration, Instant};

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
    let error = probe.unwrap_err();
    assert_eq!(kind(&error), Some(StoreErrorKind::NoBucket));
    assert!(told(&error).contains(bucket), "{}", told(&error));
    // Without the probe: SeaweedFS tells a user who cannot make the bucket that he may not write.
    for error in [put.unwrap_err(), upload.unwrap_err()] {
        let refused = [StoreErrorKind::NoBucket, StoreErrorKind::Denied].map(Some);
        assert!(refused.contains(&kind(&error)), "{}", told(&error));
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
    assert!(one_line(&error).contains("Connection refused"), "{error:#}");
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
    let error = store_object(&store, "x", &noise(PART as usize + 1, 1))
        .await
        .unwrap_err();
    assert!(one_line(&error).contains("no answer in time"), "{error:#}");
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_bad_url_is_a_usage_error() {
    for url in ["s3://", "bucket", "s3://b/../x"] {
        assert!(is_usage(&S3Config::parse(url).unwrap_err()), "{url}");
    }
}

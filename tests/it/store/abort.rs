//! Uploads that are taken back: while parts are on their way, before and after the seal, in the
//! middle of it; and how much an upload holds in memory.

use super::{PART, key, noise, open, send, small_parts};
use crate::support::peer::{Action, Fault, Peer, When};
use crate::support::s3::{self, SeaweedFs};
use backup_action::error::one_line;
use backup_action::store::S3Config;
use std::time::{Duration, Instant};

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

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_nobody_ends_are_found_when_they_are_idle() {
    let Some(server) = SeaweedFs::start("unfinished uploads") else {
        return;
    };
    let prefix = server.prefix("unfinished");
    let store = open(small_parts(server.config(&prefix))).await;
    let bytes = noise(2 * PART as usize, 9);
    let names = [
        "2026-01/backup_2026-01-18_02-00-01Z.sql.gz",
        "2026-01/other.sql.gz",
    ];
    let mut uploads = Vec::new();
    for name in names {
        let mut upload = store
            .create(&key(name), bytes.len() as u64)
            .await
            .expect("it begins");
        send(&mut upload, &bytes).await.expect("it takes bytes");
        uploads.push(upload);
    }
    let now = jiff::Timestamp::now();
    let hour = jiff::SignedDuration::from_hours(1);
    let idle = |since| store.unfinished(since);
    assert_eq!(idle(now - hour).await.expect("a listing"), []);
    let found = idle(now + hour).await.expect("a listing");
    let ours: Vec<_> = found.iter().filter(|upload| upload.is_ours()).collect();
    assert_eq!((found.len(), ours.len()), (2, 1), "{found:?}");
    assert_eq!(ours[0].key, key(names[0]));
    store.discard(ours[0]).await.expect("it goes");
    // Twice is no mistake.
    store.discard(ours[0]).await.expect("it is gone");
    assert_eq!(idle(now + hour).await.expect("a listing").len(), 1);
    for upload in &uploads {
        upload
            .abort_handle()
            .abort()
            .await
            .expect("the test leaves nothing");
    }
}

//! Every kind of broken answer to every kind of request. Whatever happens: either the object is
//! there with its bytes, or nothing is visible, nothing is left open, and the message says why.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that cannot go on ends its test"
)]

use super::{PART, key, kind, noise, small_parts, store_object, told};
use crate::support::peer::{Action, Fault, Peer, When};
use crate::support::s3::{self, SeaweedFs};
use backup_action::store::{Checksums, Store, StoreErrorKind};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const STALL: Fault = Fault::Stall(Duration::from_secs(60));

const FAULTS: [Fault; 13] = [
    Fault::Status500,
    Fault::SlowDown503,
    Fault::ResetBefore,
    Fault::ResetAfterApplied,
    Fault::Status500AfterApplied,
    STALL,
    Fault::Ok200WithErrorBody,
    Fault::TruncatedBody,
    Fault::Garbage,
    Fault::WrongDigest,
    Fault::Forbidden403,
    Fault::NotFound404,
    Fault::SlowDrip(Duration::from_micros(50)),
];

/// Faults that a second attempt always survives.
fn is_transient(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::Status500
            | Fault::SlowDown503
            | Fault::ResetBefore
            | Fault::ResetAfterApplied
            | Fault::Status500AfterApplied
            | Fault::Stall(_)
            | Fault::Ok200WithErrorBody
            | Fault::TruncatedBody
            | Fault::Garbage
            | Fault::SlowDrip(_)
    )
}

/// A store behind a peer of its own, under a prefix of its own.
async fn behind_peer(server: &SeaweedFs, test: &str) -> (Peer, Store, String) {
    let prefix = server.prefix(test);
    let peer = Peer::start(server.address());
    let mut config = small_parts(s3::config(&peer.endpoint(), s3::BUCKET, &prefix));
    config.timeouts.attempt = Duration::from_millis(1500);
    config.timeouts.complete = Duration::from_millis(1500);
    config.timeouts.min_bytes_per_second = 2 * 1024 * 1024;
    config.timeouts.attempts = 3;
    let store = super::open(config).await;
    (peer, store, prefix)
}

/// Stores an object while `fault` happens at `when`, and checks what must hold in any case.
async fn upload_under(
    server: &SeaweedFs,
    when: When,
    fault: Fault,
    length: usize,
) -> anyhow::Result<()> {
    let case = format!("{fault:?} at {when:?}, {length} bytes");
    let (peer, store, prefix) = behind_peer(server, "fault").await;
    peer.inject(when, fault);
    let bytes = noise(length, 11);
    let result = store_object(&store, "x", &bytes).await;
    peer.heal();
    assert!(
        peer.seen().iter().any(|seen| seen.fault.is_some()),
        "{case}: never happened"
    );
    let (server_keys, open) =
        tokio::task::block_in_place(|| (server.keys(&prefix), server.open_uploads(&prefix)));
    assert_eq!(open, Vec::<String>::new(), "{case}: {result:?}");
    match result {
        Ok(sealed) => {
            assert_eq!(sealed.warnings, Vec::<String>::new(), "{case}");
            let stored = store.get(&key("x"), length as u64).await.unwrap();
            assert!(stored == bytes, "{case}: other bytes");
            Ok(())
        }
        Err(error) => {
            assert_eq!(server_keys, Vec::<String>::new(), "{case}: {error:?}");
            told(&error);
            Err(error)
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_upload_survives_a_fault_or_leaves_nothing() {
    let Some(server) = SeaweedFs::start("s3 faults") else {
        return;
    };
    let parts = PART as usize + 1;
    let mut cases = JoinSet::new();
    let slots = Arc::new(Semaphore::new(6));
    for fault in FAULTS {
        for (action, length) in [
            (Action::CreateMultipartUpload, parts),
            (Action::UploadPart, parts),
            (Action::CompleteMultipartUpload, parts),
            (Action::HeadObject, parts),
            (Action::PutObject, 9),
            (Action::HeadObject, 9),
        ] {
            for when in [When::First(action), When::Every(action)] {
                let slots = Arc::clone(&slots);
                cases.spawn(async move {
                    let _slot = slots.acquire().await.unwrap();
                    let result = upload_under(server, when, fault, length).await;
                    (when, fault, length, result)
                });
            }
        }
    }
    let mut wrong = Vec::new();
    for (when, fault, length, result) in cases.join_all().await {
        let outcome = match &result {
            Ok(()) => "stored".to_owned(),
            Err(error) => format!("{:?}: {}", kind(error), told(error)),
        };
        let once = matches!(when, When::First(_));
        // HEAD is how we decide: without it, or with a lie in it, the store proves nothing.
        if once && is_transient(fault) && result.is_err() {
            wrong.push(format!("{when:?} {fault:?} {length}: {outcome}"));
        }
        if fault == Fault::Forbidden403
            && result.as_ref().map_err(kind).err() != Some(Some(StoreErrorKind::Denied))
        {
            wrong.push(format!("{when:?} {fault:?} {length}: {outcome}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reads_survive_a_fault_or_say_why() {
    let Some(server) = SeaweedFs::start("s3 read faults") else {
        return;
    };
    let bytes = noise(300_000, 5);
    let mut cases = JoinSet::new();
    for fault in FAULTS {
        for when in [
            When::First(Action::GetObject),
            When::Every(Action::GetObject),
        ] {
            let bytes = bytes.clone();
            cases.spawn(async move {
                let (peer, store, _) = behind_peer(server, "read-fault").await;
                store
                    .put(&key("x"), bytes.clone(), "text/plain")
                    .await
                    .unwrap();
                peer.inject(when, fault);
                let whole = store.get(&key("x"), 300_000).await;
                peer.heal();
                let range = 1000..200_000;
                let wanted = bytes.slice(1000..200_000);
                // The rules count from here: a first read went by above.
                peer.inject(When::Index(peer.seen().len()), fault);
                let part = store.get_range(&key("x"), range).await;
                (
                    when,
                    fault,
                    whole.map(|read| read == bytes),
                    part.map(|read| read == wanted),
                )
            });
        }
    }
    for (when, fault, whole, part) in cases.join_all().await {
        for (result, once) in [(&whole, matches!(when, When::First(_))), (&part, true)] {
            if once && is_transient(fault) {
                assert!(matches!(result, Ok(true)), "{when:?} {fault:?}: {result:?}");
            }
            if let Err(error) = result {
                told(error);
            }
        }
        // Wrong bytes are seen where the store keeps a sum; a range has none.
        assert!(!matches!(whole, Ok(false)), "{when:?} {fault:?}");
        assert!(fault == Fault::WrongDigest || !matches!(part, Ok(false)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_decided_by_looking() {
    let Some(server) = SeaweedFs::start("s3 lost answers") else {
        return;
    };
    // Our own success, reported as 412 by the second attempt.
    let (peer, store, _) = behind_peer(server, "lost").await;
    peer.inject(When::First(Action::PutObject), Fault::ResetAfterApplied);
    store
        .put(&key("own"), noise(9, 1), "text/plain")
        .await
        .unwrap();
    assert_eq!(peer.count(Action::PutObject), 2);
    assert_eq!(peer.count(Action::HeadObject), 1);
    let seen = peer.seen();
    let seen: Vec<_> = seen
        .iter()
        .map(|s| (s.index, s.method.as_str(), s.action, s.fault))
        .collect();
    let lost = Some(Fault::ResetAfterApplied);
    assert_eq!(seen[0], (0, "PUT", Action::PutObject, lost));
    assert_eq!(seen[1], (1, "PUT", Action::PutObject, None));
    assert_eq!(seen[2], (2, "HEAD", Action::HeadObject, None));
    assert!(peer.seen()[0].target.contains("/own?"));
    // Every answer is lost, and still the object is ours.
    let (peer, store, _) = behind_peer(server, "lost").await;
    peer.inject(When::Every(Action::PutObject), Fault::ResetAfterApplied);
    store
        .put(&key("own"), noise(9, 1), "text/plain")
        .await
        .unwrap();
    peer.heal();
    assert_eq!(store.get(&key("own"), 9).await.unwrap(), noise(9, 1));
    // The same bytes, written by somebody else, are not ours.
    let (peer, store, _) = behind_peer(server, "lost").await;
    store
        .put(&key("theirs"), noise(9, 1), "text/plain")
        .await
        .unwrap();
    peer.inject(When::Every(Action::PutObject), Fault::ResetAfterApplied);
    let error = store
        .put(&key("theirs"), noise(9, 1), "text/plain")
        .await
        .unwrap_err();
    assert_eq!(
        kind(&error),
        Some(StoreErrorKind::AlreadyExists),
        "{}",
        told(&error)
    );
    // The same for the end of a multipart upload.
    let parts = noise(PART as usize + 1, 2);
    for fault in [
        Fault::ResetAfterApplied,
        Fault::Status500AfterApplied,
        STALL,
    ] {
        let (peer, store, prefix) = behind_peer(server, "lost").await;
        peer.inject(When::Every(Action::CompleteMultipartUpload), fault);
        let result = store_object(&store, "own", &parts).await;
        assert_eq!(result.is_ok(), fault != STALL, "{fault:?} {result:?}");
        assert_eq!(server.keys(&prefix).is_empty(), fault == STALL, "{fault:?}");
        assert_eq!(server.open_uploads(&prefix), Vec::<String>::new());
        let (peer, store, prefix) = behind_peer(server, "lost").await;
        store
            .put(&key("theirs"), noise(9, 1), "text/plain")
            .await
            .unwrap();
        peer.inject(When::Every(Action::CompleteMultipartUpload), fault);
        let error = store_object(&store, "theirs", &parts).await.unwrap_err();
        assert_eq!(
            kind(&error),
            Some(StoreErrorKind::AlreadyExists),
            "{}",
            told(&error)
        );
        assert_eq!(server.open_uploads(&prefix), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sums_of_a_store_that_does_not_compare_them_are_not_believed() {
    let Some(server) = SeaweedFs::start("s3 sums") else {
        return;
    };
    let (peer, store, _) = behind_peer(server, "sums").await;
    let bytes = noise(1000, 3);
    assert_eq!(
        store.probe("n1").await.unwrap().checksums,
        Checksums::Verified
    );
    let seen = peer.seen();
    let puts = seen
        .iter()
        .filter(|seen| seen.action == Action::PutObject)
        .collect::<Vec<_>>();
    let sealed = store_object(&store, "a", &bytes).await.unwrap();
    assert_eq!(sealed.store_checksum, Some(sealed.crc64nvme.clone()));
    let shown = store.head(&key("a")).await.unwrap().unwrap().crc64nvme;
    assert_eq!(shown, sealed.store_checksum);

    // The third write of a probe has a wrong sum; only an answer about the sum counts.
    let wrong_sum = peer.seen().len() + puts[2].index;
    peer.inject(When::Index(wrong_sum), Fault::Forbidden403);
    assert_eq!(
        store.probe("n2").await.unwrap().checksums,
        Checksums::Ignored
    );
    peer.heal();
    let sealed = store_object(&store, "b", &bytes).await.unwrap();
    assert_eq!(sealed.store_checksum, None);
    for name in ["a", "b"] {
        let info = store.head(&key(name)).await.unwrap().unwrap();
        assert_eq!((info.bytes, info.crc64nvme), (1000, None));
    }
}

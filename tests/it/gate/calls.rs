//! Every request of a gate run against S3 is broken once, and some kinds of requests for good.

use super::world::{World, assert_closed, large, sample};
use crate::support::cluster::Cluster;
use crate::support::peer::{Action, Fault, When};

/// The retries of a run are mostly waiting: several runs go side by side, each worker in a world of
/// its own that holds one backup.
const WORKERS: usize = 4;

/// Hands each item to one of the workers.
fn side_by_side<T: Copy + Sync>(
    test: &str,
    cluster: &'static Cluster,
    items: &[T],
    each: impl Fn(&mut World, T) + Sync,
) {
    let each = &each;
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            scope.spawn(move || {
                let Some(mut world) = World::remote(&format!("{test}-{worker}"), cluster) else {
                    return;
                };
                world.passes(world.gate());
                for item in items.iter().skip(worker).step_by(WORKERS) {
                    each(&mut world, *item);
                }
            });
        }
    });
}

/// Breaks the requests of a gate run one by one, a run each; all of them have to pass.
fn break_each(test: &str, fault: Fault) {
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(mut world) = World::remote(test, cluster) else {
        return;
    };
    world.passes(world.gate());
    let good = world.peer();
    world.passes(world.gate());
    let requests: Vec<(usize, Action)> = good
        .seen()
        .iter()
        .map(|seen| (seen.index, seen.action))
        .collect();
    assert!(requests.len() > 15, "{requests:?}");
    side_by_side(test, cluster, &requests, |world, (index, action)| {
        let peer = world.peer();
        peer.inject(When::Index(index), fault);
        let ended = world.passes(world.gate());
        let seconds = ended.seconds;
        assert!(seconds < 60.0, "{index} {action:?}: {}", ended.all());
        let broken = peer
            .seen()
            .iter()
            .filter(|seen| seen.fault.is_some())
            .count();
        assert_eq!(broken, 1, "request {index} {action:?} was not made");
    });
}

#[test]
fn a_request_that_fails_once_is_tried_again() {
    break_each("once-503", Fault::SlowDown503);
}

#[test]
fn a_connection_that_breaks_once_is_made_again() {
    break_each("once-reset", Fault::ResetBefore);
}

#[test]
fn an_answer_that_is_lost_after_the_fact_is_found_out() {
    break_each("once-applied", Fault::ResetAfterApplied);
}

#[test]
fn what_is_refused_for_good_closes_the_gate() {
    use Action::{GetObject, HeadObject, ListObjects, PutObject};
    let test = "for-good";
    let Some(cluster) = sample(test) else {
        return;
    };
    let cases = [
        (When::Always, Fault::Forbidden403, 1, "s3:"),
        (When::Always, Fault::Garbage, 3, "s3://"),
        (
            When::Every(PutObject),
            Fault::Forbidden403,
            1,
            "s3:PutObject",
        ),
        (
            When::Every(GetObject),
            Fault::Forbidden403,
            1,
            "s3:GetObject",
        ),
        (When::Every(HeadObject), Fault::Forbidden403, 1, "s3://"),
        (
            When::Every(ListObjects),
            Fault::Forbidden403,
            1,
            "s3:ListBucket",
        ),
        (
            When::Target(PutObject, ".sql.gz"),
            Fault::Forbidden403,
            1,
            "s3:PutObject",
        ),
        (
            When::Target(PutObject, ".sql.gz"),
            Fault::Status500,
            1,
            "s3://",
        ),
        (
            When::Target(PutObject, ".sql.gz"),
            Fault::Ok200WithErrorBody,
            1,
            "s3://",
        ),
        (
            When::Target(GetObject, ".sql.gz"),
            Fault::Status500,
            1,
            "s3://",
        ),
        (
            When::Target(PutObject, ".index.json.gz"),
            Fault::Status500,
            1,
            "could not store the index",
        ),
        (
            When::Target(PutObject, ".manifest.json"),
            Fault::Forbidden403,
            1,
            "could not store the manifest",
        ),
        (
            When::Target(GetObject, ".manifest.json"),
            Fault::TruncatedBody,
            3,
            "earlier backups could not be read",
        ),
    ];
    side_by_side(test, cluster, &cases, |world, (when, fault, code, says)| {
        let peer = world.peer();
        peer.inject(when, fault);
        let before = world.snapshot();
        let ended = world.start(world.gate()).going.end();
        peer.heal();
        let after = world.after_failure(&before, &ended);
        assert_eq!(ended.code, code, "{when:?} {fault:?}: {}", ended.all());
        assert_eq!(after, before, "{when:?} {fault:?}: {}", ended.all());
        assert_closed(world, &ended, &[says]);
    });
}

#[test]
fn a_manifest_that_does_not_read_back_makes_no_backup() {
    let test = "manifest-back";
    let Some(cluster) = sample(test) else {
        return;
    };
    // The first backup of a store: there is no other manifest to read.
    let Some(mut world) = World::remote(test, cluster) else {
        return;
    };
    let peer = world.peer();
    peer.inject(
        When::Target(Action::GetObject, ".manifest.json"),
        Fault::TruncatedBody,
    );
    let before = world.snapshot();
    let ended = world.start(world.gate()).going.end();
    peer.heal();
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert_eq!(ended.check("manifest-published")["outcome"], "failed");
    assert_eq!(
        world.after_failure(&before, &ended),
        before,
        "{}",
        ended.all()
    );
    assert_closed(&world, &ended, &["manifest"]);
}

#[test]
fn several_parts_are_sent_once_each_and_given_up_together() {
    use Action::{CompleteMultipartUpload, CreateMultipartUpload, UploadPart};
    let test = "parts";
    let Some(cluster) = large(test) else {
        return;
    };
    let Some(mut world) = World::remote(test, cluster) else {
        return;
    };
    let gate = |world: &World| world.gate().args(&["--level", "1"]);
    let peer = world.peer();
    world.passes(gate(&world));
    assert!(peer.count(UploadPart) > 1, "{:#?}", peer.seen());
    let archive = |action| When::Target(action, "/backup_");
    for (when, fault, code) in [
        (When::First(UploadPart), Fault::SlowDown503, 0),
        (When::First(UploadPart), Fault::ResetAfterApplied, 0),
        (
            When::First(CompleteMultipartUpload),
            Fault::ResetAfterApplied,
            0,
        ),
        (archive(CreateMultipartUpload), Fault::Forbidden403, 1),
        (When::Every(UploadPart), Fault::Forbidden403, 1),
        (When::Every(UploadPart), Fault::WrongDigest, 1),
        (
            When::Every(CompleteMultipartUpload),
            Fault::Ok200WithErrorBody,
            1,
        ),
        (When::Every(CompleteMultipartUpload), Fault::Forbidden403, 1),
    ] {
        let peer = world.peer();
        peer.inject(when, fault);
        if code == 0 {
            world.passes(gate(&world));
            continue;
        }
        let ended = world.closes(gate(&world), code, &["s3://"]);
        assert!(ended.seconds < 60.0, "{when:?} {fault:?}: {}", ended.all());
    }
}

//! Every request of a gate run against S3 is broken once, and some kinds of requests for good.

use super::world::{World, assert_closed, large, sample};
use crate::support::peer::{Action, Fault, When};

/// Breaks the requests of a run one by one, a run each. `each` looks at what became of it.
fn break_each(world: &mut World, fault: Fault, each: impl Fn(&World, usize, Action)) {
    let good = world.peer();
    world.passes(world.gate());
    let requests = good.seen();
    assert!(requests.len() > 15, "{requests:#?}");
    for index in 0..requests.len() {
        let peer = world.peer();
        peer.inject(When::Index(index), fault);
        each(world, index, requests[index].action);
        let broken = peer
            .seen()
            .iter()
            .filter(|seen| seen.fault.is_some())
            .count();
        assert_eq!(broken, 1, "request {index} was not made");
    }
}

#[test]
fn a_request_that_fails_once_is_tried_again() {
    let test = "once-503";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(mut world) = World::remote(test, cluster) else {
        return;
    };
    world.passes(world.gate());
    break_each(&mut world, Fault::SlowDown503, |world, index, action| {
        let ended = world.passes(world.gate());
        assert!(ended.seconds < 30.0, "{index} {action:?}: {}", ended.all());
    });
}

#[test]
fn a_connection_that_breaks_once_is_made_again() {
    let test = "once-reset";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(mut world) = World::remote(test, cluster) else {
        return;
    };
    world.passes(world.gate());
    break_each(&mut world, Fault::ResetBefore, |world, _, _| {
        world.passes(world.gate());
    });
}

#[test]
fn an_answer_that_is_lost_after_the_fact_is_found_out() {
    let test = "once-applied";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(mut world) = World::remote(test, cluster) else {
        return;
    };
    world.passes(world.gate());
    break_each(&mut world, Fault::ResetAfterApplied, |world, _, _| {
        world.passes(world.gate());
    });
}

#[test]
fn what_is_refused_for_good_closes_the_gate() {
    use Action::{GetObject, HeadObject, ListObjects, PutObject};
    let test = "for-good";
    let Some(cluster) = sample(test) else {
        return;
    };
    let Some(mut world) = World::remote(test, cluster) else {
        return;
    };
    world.passes(world.gate());
    for (when, fault, code, says) in [
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
            1,
            "manifest",
        ),
    ] {
        let peer = world.peer();
        peer.inject(when, fault);
        let before = world.snapshot();
        let ended = world.start(world.gate()).going.end();
        peer.heal();
        let after = world.snapshot();
        assert_eq!(ended.code, code, "{when:?} {fault:?}: {}", ended.all());
        assert_eq!(after, before, "{when:?} {fault:?}: {}", ended.all());
        assert_closed(&world, &ended, &[says]);
    }
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

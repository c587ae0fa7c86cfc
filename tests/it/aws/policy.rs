//! The rights that docs/aws.md asks for are those that the commands use: no more, no less.

use super::*;
use crate::drill::drill_in;
use crate::gate::world::{World, sample};
use crate::support::peer::{Action, Peer, Seen};
use crate::support::root;
use serde_json::Value;
use std::collections::BTreeSet;

/// Where the documentation says it: a JSON block below a comment with the name.
fn text_of(name: &str) -> Value {
    let text = std::fs::read_to_string(root().join("docs/aws.md")).expect("docs/aws.md");
    let (_, rest) = text
        .split_once(&format!("<!-- policy: {name} -->\n```json\n"))
        .expect("the policy");
    let (json, _) = rest.split_once("\n```").expect("its end");
    serde_json::from_str(json).expect("JSON")
}

/// The actions that a policy of the documentation allows.
fn documented(name: &str) -> BTreeSet<String> {
    let policy = text_of(name);
    let mut actions = BTreeSet::new();
    for statement in policy["Statement"].as_array().expect("statements") {
        assert_eq!(statement["Effect"], "Allow");
        let resources = statement["Resource"].as_array().expect("resources");
        assert!(resources.iter().all(|resource| resource != "*"));
        for action in statement["Action"].as_array().expect("actions") {
            let action = action.as_str().expect("text");
            // A right on objects does nothing for a bucket, and the other way round.
            let of_bucket = OF_BUCKET.contains(&action);
            for resource in resources {
                let is_object = resource.as_str().expect("text").ends_with("/*");
                assert_ne!(is_object, of_bucket, "{action} on {resource}");
            }
            assert!(!action.contains('*'), "{action}");
            actions.insert(action.to_owned());
        }
    }
    actions
}

const OF_BUCKET: &[&str] = &[
    "s3:ListBucket",
    "s3:ListBucketMultipartUploads",
    "s3:GetBucketVersioning",
    "s3:GetBucketObjectLockConfiguration",
    "s3:GetLifecycleConfiguration",
];

/// The rights that a request needs, by the service authorization reference of S3.
fn rights(seen: &Seen) -> &'static [&'static str] {
    let (_, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
    let asks = |name: &str| {
        query
            .split('&')
            .any(|part| part.split('=').next() == Some(name))
    };
    match (seen.method.as_str(), seen.action) {
        ("PUT", _) if asks("tagging") => &["s3:PutObjectTagging"],
        ("GET", _) if asks("tagging") => &["s3:GetObjectTagging"],
        ("GET", _) if asks("versioning") => &["s3:GetBucketVersioning"],
        ("GET", _) if asks("object-lock") => &["s3:GetBucketObjectLockConfiguration"],
        ("GET", _) if asks("lifecycle") => &["s3:GetLifecycleConfiguration"],
        (_, Action::HeadBucket | Action::ListObjects) => &["s3:ListBucket"],
        (_, Action::HeadObject | Action::GetObject) => &["s3:GetObject"],
        (_, Action::PutObject | Action::CreateMultipartUpload) => &["s3:PutObject"],
        (_, Action::UploadPart | Action::CompleteMultipartUpload) => &["s3:PutObject"],
        (_, Action::DeleteObject) => &["s3:DeleteObject"],
        (_, Action::AbortMultipartUpload) => &["s3:AbortMultipartUpload"],
        (_, Action::ListParts) => &["s3:ListMultipartUploadParts"],
        (_, Action::ListMultipartUploads) => &["s3:ListBucketMultipartUploads"],
        (method, Action::Other) => {
            assert!(method.is_empty(), "a request without a right: {seen:?}");
            &[]
        }
    }
}

#[test]
fn the_documented_policies_are_the_rights_that_the_commands_use() {
    let test = "aws-policy";
    let (Some(cluster), Some(moto)) = (sample(test), Moto::start(test)) else {
        return;
    };
    let remote = bucket(moto, "aws-policy");
    let world = World::local(cluster);
    let peer = Peer::start(moto.address());
    let at = |run: Run| {
        run.args(&["--remote", &remote, "--s3-endpoint", &peer.endpoint()])
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "any")
            .env("AWS_SECRET_ACCESS_KEY", "any")
    };
    let used = |run: Run| {
        let before = peer.seen().len();
        let ended = at(run).end();
        // moto gives no versioning where none was set, which doctor cannot read.
        assert_ne!(ended.code, 2, "{}", ended.all());
        peer.seen()[before..]
            .iter()
            .flat_map(rights)
            .map(|right| (*right).to_owned())
            .collect::<BTreeSet<String>>()
    };
    let sources = || {
        Run::new("gate")
            .env("BACKUP_ACTION_PG_BIN_DIR", &cluster.bin_dir)
            .env("BACKUP_ACTION_DATABASE_URL", &world.url)
    };
    let mut gate = used(sources());
    // Retention of another day: what the gate does when something is too old is what prune does.
    gate.extend(used(Run::new("prune")));
    let mut reading = used(Run::new("list"));
    for command in ["verify", "show", "history", "verify-receipt", "extract"] {
        reading.extend(used(Run::new(command)));
    }
    let drill = used(drill_in(Run::new("drill"), cluster));
    let doctor = used(Run::new("doctor"));
    let used = [
        ("gate", gate),
        ("read", reading),
        ("drill", drill),
        ("doctor", doctor),
    ];
    let documented = used.each_ref().map(|(name, _)| (*name, documented(name)));
    assert_eq!(
        documented, used,
        "docs/aws.md and the requests of the commands"
    );
}

/// The policy without one action; without any when none is named.
fn without(policy: &Value, action: &str) -> String {
    let mut policy = policy.clone();
    for statement in policy["Statement"].as_array_mut().expect("statements") {
        let actions = statement["Action"].as_array_mut().expect("actions");
        actions.retain(|found| found != action);
        // moto knows HeadBucket as an action, where AWS asks for s3:ListBucket.
        if actions.iter().any(|found| found == "s3:ListBucket") {
            actions.push("s3:HeadBucket".into());
        }
    }
    let text = policy.to_string();
    text.replace("company-backups/nostromo", "aws-rights/production")
        .replace("company-backups", "aws-rights")
}

#[test]
fn with_the_documented_policy_a_gate_passes_and_each_right_is_missed() {
    let test = "aws-rights";
    let (Some(cluster), Some(moto)) = (sample(test), Moto::own(test)) else {
        return;
    };
    let world = World::local(cluster);
    let remote = bucket(&moto, "aws-rights");
    moto.iam(&[("Action", "CreateUser"), ("UserName", "gate")]);
    let answer = moto.iam(&[("Action", "CreateAccessKey"), ("UserName", "gate")]);
    let between = |name: &str| {
        let (_, rest) = answer.split_once(&format!("<{name}>")).expect("the tag");
        rest.split_once('<').expect("its end").0.to_owned()
    };
    let (key, secret) = (between("AccessKeyId"), between("SecretAccessKey"));
    let policy = text_of("gate");
    let gate = |policy: &str| {
        moto.checks_rights(false);
        moto.iam(&[
            ("Action", "PutUserPolicy"),
            ("UserName", "gate"),
            ("PolicyName", "backups"),
            ("PolicyDocument", policy),
        ]);
        moto.checks_rights(true);
        let run = Run::new("gate")
            .args(&["--remote", &remote, "--s3-endpoint", &moto.endpoint()])
            .env("BACKUP_ACTION_PG_BIN_DIR", &cluster.bin_dir)
            .env("BACKUP_ACTION_DATABASE_URL", &world.url)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", &key)
            .secret_env("AWS_SECRET_ACCESS_KEY", &secret, &secret);
        run.end()
    };
    let whole = gate(&without(&policy, ""));
    assert_eq!(whole.code, 0, "{}", whole.all());
    let evidence = whole.check("store-writable")["evidence"].as_str().unwrap();
    assert!(!evidence.contains("NO right"), "{evidence}");
    for (action, says) in [
        ("s3:ListBucket", "Allow s3:ListBucket"),
        ("s3:GetObject", "s3:GetObject"),
        ("s3:PutObject", "Allow s3:PutObject"),
        ("s3:DeleteObject", "NO right to delete"),
        ("s3:AbortMultipartUpload", "NO right to abort uploads"),
    ] {
        let ended = gate(&without(&policy, action));
        let may_pass = says.starts_with("NO right");
        assert_eq!(ended.code == 0, may_pass, "{action}: {}", ended.all());
        let all = format!("{} {}", ended.all(), ended.report());
        assert!(all.contains(says), "{action}: {all}");
    }
    // Rights on another prefix are none.
    let elsewhere = without(&policy, "").replace("aws-rights/production", "aws-rights/other");
    let ended = gate(&elsewhere);
    assert_ne!(ended.code, 0, "{}", ended.all());
}

//! `credentials-lifetime` of a gate: what is known, what is not, and which of it opens.

use super::*;
use crate::gate::world::{World, sample};

#[test]
fn only_credentials_that_are_known_to_last_pass() {
    let test = "aws-lifetime";
    let (Some(cluster), Some(moto)) = (sample(test), Moto::start(test)) else {
        return;
    };
    let remote = bucket(moto, "aws-lifetime");
    let world = World::local(cluster);
    let dry = |more: &[(&str, &str)], args: &[&str]| {
        let mut run = world
            .gate()
            .args(&["--remote", &remote, "--s3-endpoint", &moto.endpoint()])
            .args(&["--dry-run"])
            .args(args)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "KEY")
            .secret_env("AWS_SECRET_ACCESS_KEY", "c4nary", "c4nary");
        for (name, value) in more {
            run = run.env(name, value);
        }
        run.end()
    };
    let soon = (Timestamp::now() + SignedDuration::from_mins(90)).to_string();
    let token = ("AWS_SESSION_TOKEN", "t");
    let end = ("AWS_CREDENTIAL_EXPIRATION", soon.as_str());
    let block = "--check=credentials-lifetime=block";
    for (more, args, code, outcome, says) in [
        (
            &[][..],
            &[][..],
            0,
            "passed",
            "long-lived key of the environment",
        ),
        (
            &[token][..],
            &[][..],
            0,
            "warned",
            "nothing says when they end",
        ),
        (
            &[token][..],
            &[block][..],
            1,
            "failed",
            "nothing says when they end",
        ),
        // There is no earlier backup: the whole --timeout counts.
        (&[token, end][..], &[][..], 0, "warned", "--timeout"),
        (
            &[token, end][..],
            &["--timeout", "1h"][..],
            0,
            "passed",
            "left, until",
        ),
    ] {
        let ended = dry(more, args);
        assert_eq!(ended.code, code, "{}", ended.all());
        let check = ended.check("credentials-lifetime");
        assert_eq!(check["outcome"], outcome, "{}", ended.all());
        let evidence = check["evidence"].as_str().unwrap();
        assert!(evidence.contains(says), "{evidence}");
        assert_eq!(check["hint"].is_null(), outcome == "passed");
    }
    // The last dump says more than the limit of time.
    world.passes(world.gate());
    let ended = dry(&[token, end], &[]);
    let check = ended.check("credentials-lifetime");
    assert_eq!(check["outcome"], "passed", "{}", ended.all());
    let evidence = check["evidence"].as_str().unwrap();
    assert!(evidence.contains("the last dump took"), "{evidence}");
    // Without a bucket there is nothing to end.
    let ended = world.gate().arg("--dry-run").end();
    assert_eq!(
        ended.check("credentials-lifetime")["evidence"],
        "no remote store"
    );
}

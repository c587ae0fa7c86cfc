//! The role: one token of GitHub for each call of STS, and what is said when somebody refuses.

use super::*;
use crate::gate::world::{World, sample};
use crate::support::peer::{Fault, Peer, When};

#[test]
fn credentials_that_end_are_replaced_with_a_new_token_each() {
    let test = "aws-role";
    let (Some(cluster), Some(moto)) = (sample(test), Moto::start(test)) else {
        return;
    };
    let world = World::local(cluster);
    let remote = bucket(moto, "aws-role");
    let peer = Peer::start(moto.address());
    // The first two have ended when they arrive: each request has to ask again, as after an hour.
    let github = Web::start(&[token("c4nary1"), token("c4nary2"), token("c4nary3")]);
    let sts = Web::start(&[
        credentials("FIRST", -1),
        credentials("SECOND", -1),
        credentials("THIRD", 3600),
    ]);
    let (run, _fake) = world.gate_with("writes-its-environment");
    let environment = run.dir().join("environment");
    let mut run = with_role(run, &remote, &peer.endpoint(), &github, &sts.url(""))
        .env("ENVIRONMENT_FILE", &environment)
        .env("GITHUB_ACTION_PATH", "/action")
        // Keys of the environment are not asked.
        .env("AWS_ACCESS_KEY_ID", "OTHER")
        .env("AWS_SECRET_ACCESS_KEY", "other");
    let canaries = ["c4nary1", "c4nary2", "c4nary3", "secret-of-", "session-of-"];
    for (index, canary) in canaries.into_iter().enumerate() {
        run = run.secret_env(&format!("IT_CANARY_{index}"), "", canary);
    }
    let ended = run.end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    let check = ended.check("credentials-lifetime");
    assert_eq!(check["outcome"], "passed");
    let evidence = check["evidence"].as_str().unwrap();
    assert!(evidence.contains("asked for again"), "{evidence}");
    assert!(evidence.contains(ROLE), "{evidence}");

    let heard = github.heard();
    // The page of the run opens the store once more.
    assert_eq!(heard.len(), 4, "{heard:?}");
    for request in &heard {
        assert_eq!(
            request.target,
            "/token?api-version=2.0&audience=sts.amazonaws.com"
        );
        assert_eq!(request.headers["authorization"], format!("Bearer {RIGHT}"));
    }
    let heard = sts.heard();
    assert_eq!(heard.len(), 4, "{heard:?}");
    for (request, canary) in heard.iter().zip(["c4nary1", "c4nary2", "c4nary3"]) {
        let body = percent_encoding::percent_decode_str(&request.body).decode_utf8_lossy();
        for part in [
            "Action=AssumeRoleWithWebIdentity".to_owned(),
            format!("RoleArn={ROLE}"),
            "RoleSessionName=backup-action-4711-2".to_owned(),
            format!("WebIdentityToken={}", jwt(canary)),
        ] {
            assert!(
                body.split('&').any(|found| found == part),
                "{part} in {body}"
            );
        }
        assert!(!request.headers.contains_key("authorization"));
    }
    let keys: Vec<_> = peer
        .seen()
        .into_iter()
        .map(|seen| seen.access_key.expect("signed"))
        .collect();
    assert_eq!(keys[0], "SECOND");
    assert!(keys.len() > 10);
    assert!(keys[1..].iter().all(|key| key == "THIRD"), "{keys:?}");
    // The runner blanks them from then on.
    for secret in [
        &jwt("c4nary3"),
        "secret-of-THIRD",
        "session-of-THIRD",
        "THIRD",
    ] {
        let mask = format!("::add-mask::{secret}");
        assert!(ended.stderr.lines().any(|line| line == mask), "{mask}");
    }
    let seen = std::fs::read_to_string(environment).unwrap();
    assert!(seen.contains("IT_MARKER="), "{seen}");
    assert!(!seen.contains("ACTIONS_ID_TOKEN"), "{seen}");
}

#[test]
fn whoever_refuses_is_named_with_what_to_do() {
    let test = "aws-refused";
    let Some(moto) = Moto::start(test) else {
        return;
    };
    let remote = bucket(moto, "aws-refused");
    let good = || Web::start(&[token("c4nary")]);
    let list = |github: &Web, sts: &str| {
        let run = with_role(Run::new("list"), &remote, &moto.endpoint(), github, sts)
            .secret_env("IT_JWT", "", "c4nary");
        run.end()
    };
    let said = |code: u16, name: &str, message: &str, words: &[&str]| {
        let (github, sts) = (good(), Web::start(&[refusal(code, name, message)]));
        let ended = list(&github, &sts.url(""));
        assert_eq!(ended.code, 3, "{}", ended.all());
        // Outside of the Action the screen may be a file: no secret is written there, not even to be hidden.
        assert!(!ended.all().contains("c4nary"), "{}", ended.all());
        for word in words {
            assert!(ended.stderr.contains(word), "{word} in {}", ended.all());
        }
    };
    said(
        403,
        "AccessDenied",
        "Not authorized to perform sts:AssumeRoleWithWebIdentity",
        &[
            "STS answered AccessDenied: Not authorized",
            "trust policy",
            SUBJECT,
            "aud \"sts.amazonaws.com\"",
            "aws iam get-role --role-name gate",
        ],
    );
    // STS repeats what it was sent.
    said(
        400,
        "InvalidIdentityToken",
        &format!("No provider found for {}", jwt("c4nary")),
        &[
            "create-open-id-connect-provider",
            "No provider found for ***",
        ],
    );
    said(400, "Surprise", "what", &["Surprise: what", SUBJECT]);

    let github = good();
    let ended = list(&github, &Web::nobody());
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(ended.stderr.contains("no answer of STS"), "{}", ended.all());

    let sts = Web::start(&[credentials("KEY", 3600)]);
    let no = |status: u16, body: &str| {
        Web::start(&[Answer::Says(status, String::new(), body.to_owned())])
    };
    for (github, words) in [
        (no(401, "c4nary"), "token service answered 401"),
        (no(200, "<html>"), "answered 200 without a token"),
        (
            no(200, "{\"value\":\"a b\"}"),
            "answered 200 without a token",
        ),
    ] {
        let ended = list(&github, &sts.url(""));
        assert_eq!(ended.code, 3, "{}", ended.all());
        assert!(ended.stderr.contains(words), "{words} in {}", ended.all());
    }
    assert!(sts.heard().is_empty());
    // One failure of the service is no reason to stop.
    let github = Web::start(&[Answer::status(503), token("c4nary")]);
    let ended = list(&github, &sts.url(""));
    assert_eq!(ended.code, 0, "{}", ended.all());

    let run = Run::new("list")
        .args(&["--remote", &remote, "--aws-role-to-assume", ROLE])
        .env("AWS_REGION", "us-east-1");
    let ended = run.env("GITHUB_ACTIONS", "true").end();
    assert_eq!(ended.code, 2, "{}", ended.all());
    assert!(ended.stderr.contains("id-token: write"), "{}", ended.all());
}

#[test]
fn a_token_that_ends_during_the_upload_closes_the_gate_and_says_what_to_do() {
    let test = "aws-expired";
    let Some(cluster) = sample(test) else { return };
    let Some(mut world) = World::remote(test, cluster) else {
        return;
    };
    let peer = world.peer();
    peer.inject(
        When::Target(crate::support::peer::Action::UploadPart, ".sql.gz"),
        Fault::Expired400,
    );
    peer.inject(
        When::Target(crate::support::peer::Action::PutObject, ".sql.gz"),
        Fault::Expired400,
    );
    let ended = world.closes(world.gate(), 1, &["ExpiredToken"]);
    assert!(
        ended.all().contains("--aws-role-to-assume ARN"),
        "{}",
        ended.all()
    );
}

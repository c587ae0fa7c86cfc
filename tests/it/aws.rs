//! Credentials for AWS: the job's own token for a role, renewed; profiles; what ends too early; and
//! the rights that the documentation asks for. The S3 server is moto; GitHub's token service and,
//! where it must say no, STS are stood in for by servers that are asked afterwards what they heard.
#![expect(
    clippy::expect_used,
    reason = "helpers of tests, which clippy does not see as tests"
)]

mod lifetime;
mod policy;
mod profile;
mod role;

use crate::support::moto::Moto;
use crate::support::run::Run;
use crate::support::web::{Answer, Web};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};

const ROLE: &str = "arn:aws:iam::123456789012:role/gate";
const SUBJECT: &str = "repo:acme/payroll:environment:production";
/// The right to ask for tokens.
const RIGHT: &str = "right-to-ask-canary";

/// A token of GitHub's; only its claims are real.
fn jwt(canary: &str) -> String {
    let claims = format!("{{\"sub\":\"{SUBJECT}\",\"aud\":\"sts.amazonaws.com\"}}");
    format!("e30.{}.{canary}", BASE64_URL_SAFE_NO_PAD.encode(claims))
}

/// GitHub's answer with that token.
fn token(canary: &str) -> Answer {
    let body = format!("{{\"count\":1,\"value\":\"{}\"}}", jwt(canary));
    Answer::Says(200, String::new(), body)
}

/// The answer of STS with credentials of that name that end in so many seconds.
fn credentials(name: &str, seconds: i64) -> Answer {
    let end = Timestamp::now() + SignedDuration::from_secs(seconds);
    let end = end.strftime("%Y-%m-%dT%H:%M:%SZ");
    Answer::Says(
        200,
        "Content-Type: text/xml\r\n".to_owned(),
        format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
             <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>{name}</AccessKeyId>\
             <SecretAccessKey>secret-of-{name}</SecretAccessKey>\
             <SessionToken>session-of-{name}</SessionToken><Expiration>{end}</Expiration></Credentials>\
             <SubjectFromWebIdentityToken>{SUBJECT}</SubjectFromWebIdentityToken>\
             </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        ),
    )
}

/// STS says no.
fn refusal(status: u16, code: &str, message: &str) -> Answer {
    Answer::Says(
        status,
        "Content-Type: text/xml\r\n".to_owned(),
        format!(
            "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
             <Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
        ),
    )
}

/// A bucket of moto's.
fn bucket(moto: &Moto, name: &str) -> String {
    let bucket = name.to_owned();
    moto.ask(|client| async move {
        let create = client.create_bucket().bucket(bucket).send().await;
        create.expect("a bucket");
    });
    format!("s3://{name}/production")
}

/// `name` over a store at `endpoint`, in a job that may have tokens of `github`, with the role.
fn with_role(run: Run, remote: &str, endpoint: &str, github: &Web, sts: &str) -> Run {
    run.args(&["--remote", remote, "--s3-endpoint", endpoint])
        .args(&["--aws-role-to-assume", ROLE])
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ENDPOINT_URL_STS", sts)
        .env(
            "ACTIONS_ID_TOKEN_REQUEST_URL",
            github.url("/token?api-version=2.0"),
        )
        .secret_env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", RIGHT, RIGHT)
}

//! What is said by HTTP: what is tried again, where it may go, and whom it trusts.

use super::{
    SLACK_TOKEN, WEBHOOK_TOKEN, channel, slack_message, test, webhook_report, with_slack,
    with_webhook,
};
use crate::support::mail::Certificates;
use crate::support::run::{Ended, Run};
use crate::support::web::{Answer, Web};
use std::time::Duration;

fn json(run: Run) -> Ended {
    run.args(&["--output", "json"]).end()
}

fn says(status: u16, headers: &str, body: &str) -> Answer {
    Answer::Says(status, headers.to_owned(), body.to_owned())
}

#[test]
fn what_may_work_later_is_tried_again() {
    let trouble = [
        Answer::status(503),
        Answer::Close,
        Answer::Garbage,
        says(500, "", "<html>oops</html>"),
        Answer::status(200),
    ];
    let slack = Web::start(&trouble);
    let hook = Web::start(&trouble);
    let run = with_slack(test(), &slack.url(SLACK_TOKEN));
    let ended = json(with_webhook(run, &hook.url(WEBHOOK_TOKEN)));
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(channel(&ended, "Slack")["attempts"], 5);
    slack
        .heard()
        .iter()
        .for_each(|heard| drop(slack_message(heard)));
    // A receiver can tell the repetitions, and each is signed.
    let heard = hook.heard();
    assert_eq!(heard.len(), 5);
    for again in &heard {
        webhook_report(again, "test");
        assert_eq!(
            again.headers["x-backup-action-id"],
            heard[0].headers["x-backup-action-id"]
        );
    }
}

#[test]
fn slack_is_not_asked_again_before_it_said() {
    let slack = Web::start(&[
        says(429, "Retry-After: 2\r\n", "rate_limited"),
        Answer::status(200),
    ]);
    let ended = json(with_slack(test(), &slack.url(SLACK_TOKEN)));
    assert_eq!(ended.code, 0, "{}", ended.all());
    let heard = slack.heard();
    assert_eq!(heard.len(), 2);
    let pause = heard[1].at - heard[0].at;
    assert!(pause >= Duration::from_secs(2), "{pause:?}");

    // Longer than we have: it is said at once.
    let slack = Web::start(&[says(429, "Retry-After: 3600\r\n", "rate_limited")]);
    let ended = json(with_slack(test(), &slack.url(SLACK_TOKEN)));
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert_eq!(
        channel(&ended, "Slack")["answer"],
        "answered 429 rate_limited"
    );
    assert_eq!(slack.heard().len(), 1);
    assert!(ended.seconds < 10.0, "{}", ended.all());
}

#[test]
fn a_no_is_a_no() {
    for status in [400, 401, 403, 404, 410, 413] {
        let slack = Web::start(&[says(status, "", "invalid_payload")]);
        let ended = json(with_slack(test(), &slack.url(SLACK_TOKEN)));
        assert_eq!(ended.code, 1, "{}", ended.all());
        let result = channel(&ended, "Slack");
        assert_eq!(
            result["answer"],
            format!("answered {status} invalid_payload")
        );
        assert_eq!((slack.heard().len(), &result["attempts"]), (1, &1.into()));
    }
}

#[test]
fn nothing_follows_a_redirect() {
    let other = Web::start(&[]);
    for status in [301, 302, 303, 307, 308] {
        let location = format!("Location: {}\r\n", other.url("/elsewhere"));
        let hook = Web::start(&[says(status, &location, "")]);
        let ended = json(with_webhook(test(), &hook.url(WEBHOOK_TOKEN)));
        assert_eq!(ended.code, 1, "{}", ended.all());
        let result = channel(&ended, "webhook");
        assert!(
            result["answer"].as_str().unwrap().contains("a redirect"),
            "{result}"
        );
        assert_eq!(hook.heard().len(), 1);
    }
    assert!(other.heard().is_empty());
}

#[test]
fn a_server_that_repeats_the_address_gives_no_secret_away() {
    // That no form of the token is shown is asserted after every run.
    let slack = Web::start(&[Answer::Repeats(404)]);
    let ended = json(with_slack(test(), &slack.url(SLACK_TOKEN)));
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert_eq!(
        channel(&ended, "Slack")["answer"],
        "answered 404 no *** here (***)"
    );
}

#[test]
fn only_trusted_certificates_are_spoken_to() {
    let Some(certificates) = Certificates::make("notify::web") else {
        return;
    };
    for (certificate, authority, is_trusted) in [
        ("here", "ca.pem", true),
        ("here", "other-ca.pem", false),
        ("elsewhere", "ca.pem", false),
        ("here", "nowhere.pem", false),
    ] {
        let slack = Web::with_tls(&[], &certificates, certificate);
        let run = with_slack(test(), &slack.url(SLACK_TOKEN));
        let ended = json(run.env("SSL_CERT_FILE", certificates.file(authority)));
        assert_eq!(ended.code == 0, is_trusted, "{}", ended.all());
        assert_eq!(
            slack.heard().len(),
            usize::from(is_trusted),
            "{}",
            ended.all()
        );
        let result = channel(&ended, "Slack");
        assert_eq!(result["attempts"], 1, "{result}");
        if !is_trusted {
            let answer = result["answer"].as_str().unwrap();
            assert!(answer.contains("no trusted connection"), "{result}");
        }
    }
}

#[test]
fn the_proxy_of_the_environment_is_used_and_left_out() {
    let proxy = Web::start(&[says(403, "", "")]);
    let slack = Web::start(&[]);
    let run = || with_slack(test(), &slack.url(SLACK_TOKEN)).env("HTTPS_PROXY", proxy.url(""));
    let ended = json(run());
    assert_eq!(ended.code, 1, "{}", ended.all());
    let answer = channel(&ended, "Slack")["answer"].to_string();
    assert!(answer.contains("the proxy refuses"), "{answer}");
    let asked = proxy.heard();
    assert!(
        asked.iter().all(|heard| heard.method == "CONNECT"),
        "{asked:?}"
    );
    assert!(!asked.is_empty() && slack.heard().is_empty());
    let ended = json(run().env("NO_PROXY", "localhost"));
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(slack.heard().len(), 1);
}

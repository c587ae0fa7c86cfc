//! Servers that are down or never answer: everything ends in time, and the run stays what it was.

use super::{
    HEARTBEAT_TOKEN, SLACK_TOKEN, WEBHOOK_TOKEN, channel, mail_server, test, with_heartbeat,
    with_mail, with_slack, with_webhook,
};
use crate::gate::world::{World, sample};
use crate::support::web::{Answer, Web};
use std::time::{Duration, Instant};

/// The deadline of thirty seconds, and a busy machine.
const LIMIT: f64 = 36.0;

#[test]
fn four_channels_that_never_answer_end_together() {
    let name = "notify::slow";
    let Some((certificates, mail)) = mail_server(name, "starttls", "slow") else {
        return;
    };
    let silent = Web::start(&[Answer::Silence]);
    let run = with_slack(test(), &silent.url(SLACK_TOKEN));
    let run = with_webhook(run, &silent.url(WEBHOOK_TOKEN));
    let run = with_heartbeat(run, &silent.url(HEARTBEAT_TOKEN));
    let run = with_mail(run, "smtp", mail.port, "?tls=required")
        .env("SSL_CERT_FILE", certificates.file("ca.pem"));
    let ended = run.args(&["--output", "json"]).end();
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!((25.0..LIMIT).contains(&ended.seconds), "{}", ended.all());
    for name in ["Slack", "e-mail", "webhook", "heartbeat"] {
        let result = channel(&ended, name);
        let answer = result["answer"].as_str().unwrap();
        assert!(answer.starts_with("no answer within"), "{result}");
        assert_eq!(result["attempts"], 3, "{result}");
    }
}

#[test]
fn nobody_listens() {
    let run = with_slack(test(), &Web::nobody());
    let ended = with_mail(run, "smtp", 9, "")
        .args(&["--output", "json"])
        .end();
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(ended.seconds < LIMIT, "{}", ended.all());
    for name in ["Slack", "e-mail"] {
        let result = channel(&ended, name);
        assert!(
            result["answer"].as_str().unwrap().contains("refused"),
            "{result}"
        );
        assert_eq!(result["attempts"], 5, "{result}");
    }
}

#[test]
fn an_open_gate_stays_open_when_nobody_can_be_told() {
    let name = "notify::open";
    let Some(cluster) = sample(name) else {
        return;
    };
    let world = World::local(cluster);
    let slack = Web::start(&[Answer::Silence]);
    let hook = Web::start(&[Answer::status(500)]);
    let run = with_slack(world.gate(), &slack.url(SLACK_TOKEN));
    let run = with_webhook(run, &hook.url(WEBHOOK_TOKEN)).args(&["--notify-on", "always"]);
    let ended = world.passes(run);
    assert!(ended.seconds < LIMIT + 10.0, "{}", ended.all());
    assert_eq!(ended.output("passed"), "true");
    assert!(!ended.output("receipt-key").is_empty());
    for says in [
        "::warning title=backup-action::could not tell Slack (localhost) after 3 attempts: no answer",
        "::warning title=backup-action::could not tell webhook (localhost) after 5 attempts: answered 500",
    ] {
        assert!(ended.stderr.contains(says), "{}", ended.all());
    }
}

/// GitHub kills 7.5 s after SIGINT.
#[test]
fn an_interrupted_gate_tells_in_the_time_it_has() {
    let name = "notify::interrupted";
    let Some(cluster) = sample(name) else {
        return;
    };
    let world = World::local(cluster);
    for (answer, is_told) in [(Answer::status(200), true), (Answer::Silence, false)] {
        let slack = Web::start(&[answer]);
        let (gate, _fake) = world.gate_with("hangs");
        let mut watched = world.start(with_slack(gate, &slack.url(SLACK_TOKEN)));
        let local = world.local.clone().unwrap();
        watched.going.until("the dump", || {
            let files = crate::support::run::files(&local);
            files
                .iter()
                .any(|path| path.extension().is_some_and(|e| e == "partial"))
        });
        let begun = Instant::now();
        watched.going.signal("INT");
        let ended = watched.closes(130, &["SIGINT"]);
        let took = begun.elapsed();
        assert!(
            took < Duration::from_millis(7_500),
            "{took:?}: {}",
            ended.all()
        );
        assert_eq!(slack.heard().len(), 1, "{}", ended.all());
        let text = super::slack_message(&slack.heard()[0]);
        assert!(
            text.contains("was interrupted by SIGINT — deploy blocked"),
            "{text}"
        );
        assert_eq!(
            ended.stderr.contains("told: Slack"),
            is_told,
            "{}",
            ended.all()
        );
    }
}

#[test]
fn a_second_signal_ends_the_telling_and_changes_nothing() {
    let name = "notify::impatient";
    let Some(cluster) = sample(name) else {
        return;
    };
    let world = World::local(cluster);
    let slack = Web::start(&[Answer::Silence]);
    let (gate, _fake) = world.gate_with("exits-1-at-start");
    let mut watched = world.start(with_slack(gate, &slack.url(SLACK_TOKEN)));
    watched
        .going
        .until("the message", || !slack.heard().is_empty());
    let begun = Instant::now();
    watched.going.signal("TERM");
    let ended = watched.closes(1, &["dump-exit"]);
    assert!(begun.elapsed() < Duration::from_secs(5), "{}", ended.all());
    assert!(
        ended.stderr.contains("interrupted by SIGTERM"),
        "{}",
        ended.all()
    );
}

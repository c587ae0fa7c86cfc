//! `notify --test`.

use super::{
    HEARTBEAT_TOKEN, SLACK_TOKEN, WEBHOOK_TOKEN, channel, mail_server, slack_message, test,
    webhook_report, with_heartbeat, with_mail, with_slack, with_webhook,
};
use crate::support::run::Run;
use crate::support::web::{Answer, Web};

#[test]
fn one_sample_goes_through_each_channel() {
    let name = "notify::command";
    let Some((certificates, mail)) = mail_server(name, "starttls", "accepts") else {
        return;
    };
    let (slack, hook, beat) = (Web::start(&[]), Web::start(&[]), Web::start(&[]));
    let run = || {
        let run = with_slack(test(), &slack.url(SLACK_TOKEN));
        let run = with_webhook(run, &hook.url(WEBHOOK_TOKEN));
        let run = with_heartbeat(run, &beat.url(HEARTBEAT_TOKEN));
        with_mail(run, "smtp", mail.port, "?tls=required")
            .env("SSL_CERT_FILE", certificates.file("ca.pem"))
    };
    let ended = run().args(&["--output", "json"]).end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    for (name, says) in [
        ("Slack", "200 ok"),
        ("e-mail", "250 2.0.0 queued as 4711"),
        ("webhook", "200 ok"),
        ("heartbeat", "200 ok"),
    ] {
        let result = channel(&ended, name);
        assert_eq!(result["sent"], true, "{result}");
        assert_eq!(result["answer"], says, "{result}");
        assert_eq!(result["attempts"], 1, "{result}");
    }
    // Everything says TEST, and names the run.
    let heard = slack.take();
    assert_eq!(heard.len(), 1);
    let text = slack_message(&heard[0]);
    assert!(
        text.contains("TEST: alerts of backup-action arrive here"),
        "{text}"
    );
    assert!(text.contains("/acme/payroll/actions/runs/4711"), "{text}");
    let heard = hook.take();
    let report = webhook_report(&heard[0], "test");
    assert_eq!(report["command"], "notify");
    assert_eq!(report["cluster"], "TEST");
    let heard = beat.take();
    assert_eq!((heard.len(), heard[0].method.as_str()), (1, "GET"));
    let mails = mail.received();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].header("Subject").contains("TEST"));

    // The same for people; the masks come before anything can be shown.
    let ended = run().end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(
        ended.stderr.contains("::add-mask::slack"),
        "{}",
        ended.all()
    );
    for says in [
        "Slack      ✓ localhost  200 ok",
        "e-mail     ✓ 2 recipients by localhost",
    ] {
        assert!(ended.screen().contains(says), "{}", ended.all());
    }
}

#[test]
fn what_is_not_configured_is_said() {
    let ended = test().end();
    assert_eq!(ended.code, 2, "{}", ended.all());
    assert!(
        ended.stderr.contains("no channel is configured"),
        "{}",
        ended.all()
    );
    let ended = Run::new("notify").end();
    assert_eq!(ended.code, 2, "{}", ended.all());
    assert!(ended.stderr.contains("Add --test"), "{}", ended.all());
    let ended = with_slack(test(), &format!("http://hooks.example{SLACK_TOKEN}")).end();
    assert_eq!(ended.code, 2, "{}", ended.all());
    assert!(
        ended.stderr.contains("does not begin with https://"),
        "{}",
        ended.all()
    );
}

#[test]
fn one_channel_that_refuses_does_not_keep_the_others() {
    let slack = Web::start(&[Answer::Says(404, String::new(), "no_service".to_owned())]);
    let beat = Web::start(&[]);
    let run = with_slack(test(), &slack.url(SLACK_TOKEN));
    let ended = with_heartbeat(run, &beat.url(HEARTBEAT_TOKEN)).end();
    assert_eq!(ended.code, 1, "{}", ended.all());
    assert!(
        ended
            .screen()
            .contains("Slack      ✗ localhost  answered 404 no_service"),
        "{}",
        ended.all()
    );
    assert!(ended.screen().contains("heartbeat  ✓"), "{}", ended.all());
    assert_eq!((slack.heard().len(), beat.heard().len()), (1, 1));
}

//! Alerts with the real binary: a real mail server receives the mails, local web servers stand in for
//! Slack, for receivers of the webhook and for monitors, and check what they hear.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests, which clippy does not see as tests"
)]

mod command;
mod gate;
mod heartbeat;
mod mail;
mod slow;
mod warnings;
mod web;

use crate::support::mail::{Certificates, MailServer, Speaks};
use crate::support::run::{Ended, Run};
use crate::support::web::Heard;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

/// A part of Slack's address that lets whoever knows it write to the channel.
const SLACK_TOKEN: &str = "/services/T0CANARY/B0CANARY/slack%2Dcanary%2Dtoken";
const HEARTBEAT_TOKEN: &str = "/heartbeat-canary-5a2e77";
const WEBHOOK_TOKEN: &str = "/hook?key=webhook-canary-key";
const WEBHOOK_SECRET: &str = "hmac-canary: s3cret";
/// With everything in it that an address needs to encode.
const SMTP_PASSWORD: &str = "smtp@canary/:p%41ss";

/// `notify --test`, without a channel.
fn test() -> Run {
    Run::new("notify").arg("--test")
}

fn with_slack(run: Run, url: &str) -> Run {
    run.secret_env("BACKUP_ACTION_SLACK_WEBHOOK_URL", url, SLACK_TOKEN)
}

fn with_webhook(run: Run, url: &str) -> Run {
    run.secret_env("BACKUP_ACTION_WEBHOOK_URL", url, "webhook-canary-key")
        .secret_env(
            "BACKUP_ACTION_WEBHOOK_SECRET",
            WEBHOOK_SECRET,
            WEBHOOK_SECRET,
        )
}

fn with_heartbeat(run: Run, url: &str) -> Run {
    run.secret_env("BACKUP_ACTION_HEARTBEAT_URL", url, HEARTBEAT_TOKEN)
}

/// Mail with a login; `rest` follows the port.
fn with_mail(run: Run, scheme: &str, port: u16, rest: &str) -> Run {
    let password =
        percent_encoding::utf8_percent_encode(SMTP_PASSWORD, percent_encoding::NON_ALPHANUMERIC);
    let url = format!("{scheme}://backup%40acme.example:{password}@localhost:{port}{rest}");
    run.secret_env("BACKUP_ACTION_SMTP_URL", &url, SMTP_PASSWORD)
        .env(
            "BACKUP_ACTION_EMAIL_TO",
            "ops@acme.example\nLead <lead@acme.example>",
        )
}

/// A mail server that wants the login of [`with_mail`], and its certificates.
fn mail_server(test: &str, tls: &str, behaviour: &str) -> Option<(Certificates, MailServer)> {
    let certificates = Certificates::make(test)?;
    let speaks = Speaks {
        tls,
        certificate: "here",
        login: Some(("backup@acme.example", SMTP_PASSWORD)),
        behaviour,
    };
    let server = MailServer::start(test, speaks, &certificates)?;
    Some((certificates, server))
}

/// The result of one channel, from `--output json`.
fn channel(ended: &Ended, name: &str) -> Value {
    let value: Value = serde_json::from_slice(&ended.stdout).expect("JSON on standard output");
    let channels = value["channels"].as_array().unwrap();
    let found: Vec<&Value> = channels.iter().filter(|c| c["channel"] == name).collect();
    assert_eq!(found.len(), 1, "{}", ended.all());
    found[0].clone()
}

/// Checks a message by the limits that Slack publishes for incoming webhooks and Block Kit; returns
/// every text in it.
fn slack_message(heard: &Heard) -> String {
    assert_eq!(heard.method, "POST");
    assert_eq!(heard.headers["content-type"], "application/json");
    let value: Value = serde_json::from_str(&heard.body).expect("JSON");
    let fallback = value["text"].as_str().unwrap();
    assert!(!fallback.is_empty() && fallback.chars().count() <= 3_000);
    let blocks = value["blocks"].as_array().unwrap();
    assert!((1..=50).contains(&blocks.len()));
    let mut texts = vec![fallback.to_owned()];
    for block in blocks {
        match block["type"].as_str().unwrap() {
            "header" => texts.push(slack_text(&block["text"], "plain_text", 150)),
            "section" => texts.push(slack_text(&block["text"], "mrkdwn", 3_000)),
            "context" => {
                let elements = block["elements"].as_array().unwrap();
                assert!((1..=10).contains(&elements.len()));
                let text = |element| slack_text(element, "mrkdwn", 3_000);
                texts.extend(elements.iter().map(text));
            }
            "actions" => {
                let elements = block["elements"].as_array().unwrap();
                assert!((1..=25).contains(&elements.len()));
                for element in elements {
                    assert_eq!(element["type"], "button");
                    slack_text(&element["text"], "plain_text", 75);
                    let url = element["url"].as_str().unwrap();
                    assert!(url.starts_with("https://") && url.len() <= 3_000, "{url}");
                    assert!(element["action_id"].as_str().unwrap().len() <= 255);
                    texts.push(url.to_owned());
                }
            }
            other => unreachable!("block {other}"),
        }
    }
    for text in &texts {
        for mention in ["<!", "<@", "<#", "<http"] {
            assert!(!text.contains(mention), "{mention} in {text}");
        }
    }
    texts.join("\n")
}

fn slack_text(text: &Value, kind: &str, limit: usize) -> String {
    assert_eq!(text["type"], kind);
    // Without it Slack makes links and mentions out of names.
    assert_eq!(text["verbatim"] == true, kind == "mrkdwn", "{text}");
    let text = text["text"].as_str().unwrap();
    assert!(
        !text.is_empty() && text.encode_utf16().count() <= limit,
        "{text}"
    );
    text.to_owned()
}

/// Does what a receiver of the webhook should do; returns the report.
fn webhook_report(heard: &Heard, event: &str) -> Value {
    assert_eq!(heard.method, "POST");
    assert_eq!(heard.target, WEBHOOK_TOKEN);
    let header = |name: &str| heard.headers[name].as_str();
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(header("x-backup-action-event"), event);
    assert_eq!(header("x-backup-action-id").len(), 32);
    let timestamp = header("x-backup-action-timestamp");
    let age = jiff::Timestamp::now().as_second() - timestamp.parse::<i64>().unwrap();
    assert!((0..120).contains(&age), "{age}");
    let mut mac = Hmac::<Sha256>::new_from_slice(WEBHOOK_SECRET.as_bytes()).unwrap();
    mac.update(format!("{timestamp}.{}", heard.body).as_bytes());
    let hex = header("x-backup-action-signature").strip_prefix("sha256=");
    let hex = hex.expect("the algorithm");
    let signature: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect();
    mac.verify_slice(&signature)
        .expect("the signature is right");
    serde_json::from_str(&heard.body).expect("the report is JSON")
}

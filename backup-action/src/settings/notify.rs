//! Settings of messages to people and machines.

use super::{PLAIN, Setting};

/// The commands whose verdict is told, and the one that tries the channels.
const TOLD: &[&str] = &[
    "gate",
    "verify",
    "verify-receipt",
    "restore",
    "drill",
    "prune",
    "notify",
];

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "notify-on",
        env: "BACKUP_ACTION_NOTIFY_ON",
        value: "failure|recovery|warning|always|never",
        default: "failure, recovery",
        help: "When Slack, e-mail and webhook are told: a run that did not pass, the first that passes \
               after it, one that passed with warnings (failures included), every run, or none.",
        list: true,
        commands: TOLD,
        ..PLAIN
    },
    Setting {
        name: "slack-webhook-url",
        env: "BACKUP_ACTION_SLACK_WEBHOOK_URL",
        value: "URL",
        help: "An incoming webhook of Slack.",
        secret: true,
        commands: TOLD,
        ..PLAIN
    },
    Setting {
        name: "smtp-url",
        env: "BACKUP_ACTION_SMTP_URL",
        value: "URL",
        help: "The mail server: smtps://user:password@host, or smtp:// with STARTTLS. \
               ?tls=none is for a server of the same network that has no TLS, and takes no password.",
        secret: true,
        commands: TOLD,
        ..PLAIN
    },
    Setting {
        name: "email-to",
        env: "BACKUP_ACTION_EMAIL_TO",
        value: "ADDRESS",
        help: "Who gets the mail.",
        list: true,
        commands: TOLD,
        ..PLAIN
    },
    Setting {
        name: "email-from",
        env: "BACKUP_ACTION_EMAIL_FROM",
        value: "ADDRESS",
        default: "the user of smtp-url when it is an address",
        help: "Who the mail is from.",
        commands: TOLD,
        ..PLAIN
    },
    Setting {
        name: "webhook-url",
        env: "BACKUP_ACTION_WEBHOOK_URL",
        value: "URL",
        help: "Gets the JSON report by POST.",
        secret: true,
        commands: TOLD,
        ..PLAIN
    },
    Setting {
        name: "webhook-secret",
        env: "BACKUP_ACTION_WEBHOOK_SECRET",
        value: "TEXT",
        help: "Signs what webhook-url gets: X-Backup-Action-Signature.",
        secret: true,
        commands: TOLD,
        ..PLAIN
    },
    Setting {
        name: "heartbeat-url",
        env: "BACKUP_ACTION_HEARTBEAT_URL",
        value: "URL",
        help: "Asked with GET after every gate and drill that passed, whatever notify-on says: a monitor then \
               notices runs that never happened.",
        secret: true,
        commands: TOLD,
        ..PLAIN
    },
    Setting {
        name: "test",
        env: "BACKUP_ACTION_TEST",
        help: "Send one sample, marked TEST, through each configured channel.",
        action: false,
        commands: &["notify"],
        ..PLAIN
    },
];

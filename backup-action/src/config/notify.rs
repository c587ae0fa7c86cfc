//! Who is told about a run, and how. Addresses are checked here, so that a mistyped one is found
//! before a run and not at its end.

use super::address::{HttpAddress, SmtpAddress};
use super::form::did_you_mean;
use super::values::Values;
use crate::error::Usage;
use crate::secret::Secret;
use lettre::message::{Mailbox, Mailboxes};

/// More people are a mailing list.
const MAX_RECIPIENTS: usize = 20;

/// Who is told about a run, and how.
#[derive(Debug)]
pub struct NotifyConfig {
    /// When people and the webhook are told.
    pub on: NotifyOn,
    /// Slack's incoming webhook.
    pub slack: Option<HttpAddress>,
    /// Mail.
    pub mail: Option<MailConfig>,
    /// Where the JSON report goes.
    pub webhook: Option<HttpAddress>,
    /// What signs it.
    pub webhook_secret: Option<Secret>,
    /// What is asked after a run that passed.
    pub heartbeat: Option<HttpAddress>,
    /// `notify --test`.
    pub test: bool,
}

/// Which runs are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotifyOn {
    /// A run that did not pass.
    pub failure: bool,
    /// The first that passes after it.
    pub recovery: bool,
    /// A run that passed with warnings.
    pub warning: bool,
    /// Any other run that passed.
    pub success: bool,
}

/// How mail is sent.
#[derive(Debug)]
pub struct MailConfig {
    /// The server.
    pub server: SmtpAddress,
    /// Who the mail is from.
    pub from: Mailbox,
    /// Who gets it; at least one.
    pub to: Vec<Mailbox>,
}

impl NotifyConfig {
    pub(super) fn resolve(values: &Values) -> anyhow::Result<NotifyConfig> {
        let http = |setting: &str| -> anyhow::Result<Option<HttpAddress>> {
            let Some(url) = values.text(setting)? else {
                return Ok(None);
            };
            Ok(Some(HttpAddress::parse(&values.name(setting), url.trim())?))
        };
        let webhook = http("webhook-url")?;
        let webhook_secret = values
            .text("webhook-secret")?
            .map(|text| Secret::new(text.trim_end_matches(['\r', '\n'])));
        if webhook.is_none() && webhook_secret.is_some() {
            let name = values.name("webhook-secret");
            return Err(Usage::new(format!("{name} needs webhook-url"))
                .hint("Set BACKUP_ACTION_WEBHOOK_URL, or leave both out.")
                .into());
        }
        Ok(NotifyConfig {
            on: notify_on(values)?,
            slack: http("slack-webhook-url")?,
            mail: mail(values)?,
            webhook,
            webhook_secret,
            heartbeat: http("heartbeat-url")?,
            test: values.switch("test", false)?,
        })
    }

    /// Whether anybody is told when a run is not as it should be.
    pub fn tells_anybody(&self) -> bool {
        self.slack.is_some() || self.mail.is_some() || self.webhook.is_some()
    }

    /// What must appear in no text, in every form in which a server could repeat it. Longest first.
    pub fn secrets(&self) -> Vec<Secret> {
        let mut forms: Vec<String> = Vec::new();
        for address in [&self.slack, &self.webhook, &self.heartbeat] {
            forms.extend(address.iter().flat_map(HttpAddress::secret_forms));
        }
        forms.extend(self.webhook_secret.iter().map(|s| s.expose().to_owned()));
        forms.extend(self.mail.iter().flat_map(|mail| mail.server.secret_forms()));
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        forms.into_iter().map(Secret::new).collect()
    }
}

fn notify_on(values: &Values) -> anyhow::Result<NotifyOn> {
    const NEVER: NotifyOn = NotifyOn {
        failure: false,
        recovery: false,
        warning: false,
        success: false,
    };
    const WORDS: [&str; 5] = ["failure", "recovery", "warning", "always", "never"];
    let given = values.list("notify-on");
    let words: Vec<&str> = given
        .iter()
        .flat_map(|item| item.split([',', ' ']))
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect();
    if words.is_empty() {
        return Ok(NotifyOn {
            failure: true,
            recovery: true,
            ..NEVER
        });
    }
    let name = values.name("notify-on");
    let mut on = NEVER;
    for word in &words {
        match *word {
            "failure" => on.failure = true,
            "recovery" => on.recovery = true,
            "warning" => (on.failure, on.warning) = (true, true),
            "always" => {
                on = NotifyOn {
                    failure: true,
                    recovery: true,
                    warning: true,
                    success: true,
                }
            }
            "never" if words.len() == 1 => {}
            "never" => {
                return Err(Usage::new(format!("{name}: never stands alone"))
                    .hint("Leave out \"never\", or everything else.")
                    .into());
            }
            other => {
                return Err(Usage::new(format!("{name}: invalid value \"{other}\""))
                    .hint(match did_you_mean(other, WORDS.into_iter()) {
                        nearest if nearest.starts_with("Did you mean") => nearest,
                        _ => format!("Use one or more of: {}.", WORDS.join(", ")),
                    })
                    .into());
            }
        }
    }
    Ok(on)
}

fn mail(values: &Values) -> anyhow::Result<Option<MailConfig>> {
    let Some(url) = values.text("smtp-url")? else {
        for setting in ["email-to", "email-from"] {
            if values.is_flag(setting) {
                return Err(Usage::new(format!("--{setting} needs smtp-url"))
                    .hint("Set BACKUP_ACTION_SMTP_URL, such as smtps://user:password@host.")
                    .into());
            }
        }
        return Ok(None);
    };
    let server = SmtpAddress::parse(&values.name("smtp-url"), url.trim())?;
    let mut to: Vec<Mailbox> = Vec::new();
    for item in values.list("email-to") {
        let parsed: Mailboxes = item
            .parse()
            .map_err(|_| not_an_address(values, "email-to", &item))?;
        to.extend(parsed);
    }
    if to.is_empty() {
        return Err(
            Usage::new(format!("{} needs email-to", values.name("smtp-url")))
                .hint("Say who gets the mail, such as --email-to ops@example.org.")
                .into(),
        );
    }
    if to.len() > MAX_RECIPIENTS {
        return Err(Usage::new(format!(
            "{}: {} addresses are more than {MAX_RECIPIENTS}",
            values.name("email-to"),
            to.len()
        ))
        .hint("Use the address of a mailing list.")
        .into());
    }
    let from = match values.text("email-from")? {
        Some(text) => text
            .parse()
            .map_err(|_| not_an_address(values, "email-from", &text))?,
        None => server
            .user
            .as_deref()
            .and_then(|user| user.parse().ok())
            .ok_or_else(|| {
                anyhow::Error::new(
                    Usage::new(format!("{} needs email-from", values.name("smtp-url")))
                        .hint("Say who the mail is from, such as --email-from backup@example.org."),
                )
            })?,
    };
    Ok(Some(MailConfig { server, from, to }))
}

fn not_an_address(values: &Values, setting: &str, text: &str) -> anyhow::Error {
    Usage::new(format!(
        "{}: invalid address {text:?}",
        values.name(setting)
    ))
    .hint("Write ops@example.org, or Operations <ops@example.org>.")
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;
    use crate::error;
    use std::ffi::OsString;

    fn resolve(env: &[(&str, &str)]) -> anyhow::Result<NotifyConfig> {
        let matches = cli::command()
            .try_get_matches_from(["backup-action", "gate"])
            .unwrap();
        let (name, matches) = matches.subcommand().unwrap();
        let config = super::super::Config::resolve(name, matches, &|wanted| {
            env.iter()
                .find(|(name, _)| wanted == format!("BACKUP_ACTION_{name}"))
                .map(|(_, value)| OsString::from(value))
        })?;
        Ok(config.notify)
    }

    fn on(text: &str) -> [bool; 4] {
        let on = resolve(&[("NOTIFY_ON", text)]).unwrap().on;
        [on.failure, on.recovery, on.warning, on.success]
    }

    #[test]
    fn the_words_of_notify_on_add_up() {
        assert_eq!(on(""), [true, true, false, false]);
        assert_eq!(on("failure"), [true, false, false, false]);
        assert_eq!(on("warning"), [true, false, true, false]);
        assert_eq!(on("recovery"), [false, true, false, false]);
        assert_eq!(on("warning, recovery"), [true, true, true, false]);
        assert_eq!(on("failure\nrecovery"), [true, true, false, false]);
        assert_eq!(on("always"), [true; 4]);
        assert_eq!(on("never"), [false; 4]);
    }

    #[test]
    fn everything_is_read_and_nothing_is_shown() {
        let config = resolve(&[
            (
                "SLACK_WEBHOOK_URL",
                " https://hooks.slack.example/services/T1/B1/canaryslack \n",
            ),
            ("WEBHOOK_URL", "https://hook.example/x?token=canary%2Dtoken"),
            ("WEBHOOK_SECRET", "canary secret"),
            (
                "HEARTBEAT_URL",
                "https://u:canarypw@beat.example/canary-uuid-1",
            ),
            (
                "SMTP_URL",
                "smtps://me%40example.org:can%40ry@mail.example:4465",
            ),
            (
                "EMAIL_TO",
                "ops@example.org, Who Ever <who@example.org>\nlist@example.org",
            ),
        ])
        .unwrap();
        let mail = config.mail.as_ref().unwrap();
        assert_eq!(mail.from.to_string(), "me@example.org");
        assert_eq!(mail.to.len(), 3);
        assert!(config.tells_anybody());
        let shown = format!("{config:?}");
        assert!(
            !shown.contains("canary") && !shown.contains("can@ry"),
            "{shown}"
        );
        let secrets = config.secrets();
        let hidden = crate::secret::redact(
            "canaryslack canary-token canary%2Dtoken canary secret canarypw canary-uuid-1 can@ry can%40ry \
             /services/T1/B1/canaryslack",
            &secrets,
        );
        assert!(
            !hidden.contains("canary") && !hidden.contains("can"),
            "{hidden}"
        );
        assert!(secrets.is_sorted_by_key(|secret| std::cmp::Reverse(secret.expose().len())));
    }

    #[test]
    fn what_cannot_be_used_is_said_without_the_secret() {
        let smtp = ("SMTP_URL", "smtp://me:canarypw@mail.example");
        let to = ("EMAIL_TO", "ops@example.org");
        let cases: &[(&[(&str, &str)], &str)] = &[
            (
                &[("NOTIFY_ON", "failures")],
                "BACKUP_ACTION_NOTIFY_ON: invalid value \"failures\"",
            ),
            (&[("NOTIFY_ON", "never, failure")], "never stands alone"),
            (
                &[("SLACK_WEBHOOK_URL", "hooks.example/canarypw")],
                "BACKUP_ACTION_SLACK_WEBHOOK_URL",
            ),
            (
                &[("SLACK_WEBHOOK_URL", "http://hooks.example/canarypw")],
                "does not begin with https://",
            ),
            (
                &[("WEBHOOK_URL", "https:///canarypw")],
                "not a valid address",
            ),
            (
                &[("HEARTBEAT_URL", "https://h/canarypw x")],
                "not a valid address",
            ),
            (&[("WEBHOOK_SECRET", "canarypw")], "needs webhook-url"),
            (&[smtp], "needs email-to"),
            (&[smtp, to], "needs email-from"),
            (
                &[smtp, to, ("EMAIL_FROM", "backup")],
                "BACKUP_ACTION_EMAIL_FROM: invalid address",
            ),
            (
                &[smtp, ("EMAIL_TO", "a@b.example\r\nBcc: x@y.example")],
                "invalid address",
            ),
            (
                &[smtp, ("EMAIL_TO", "ops")],
                "BACKUP_ACTION_EMAIL_TO: invalid address \"ops\"",
            ),
            (
                &[("SMTP_URL", "mail.example")],
                "does not begin with smtps:// or smtp://",
            ),
            (
                &[("SMTP_URL", "smtp://u:canarypw@mail.example?tls=maybe")],
                "tls",
            ),
            (
                &[("SMTP_URL", "smtp://u:canarypw@mail.example?tls=none")],
                "password",
            ),
            (
                &[("SMTP_URL", "smtps://u:canarypw@mail.example?tls=none")],
                "tls",
            ),
            (
                &[("SMTP_URL", "smtp://u:canarypw@mail.example:port")],
                "not a valid address",
            ),
            (
                &[("SMTP_URL", "smtp://u:canary/pw@mail.example")],
                "not a valid address",
            ),
            (&[("SMTP_URL", "smtp://u:canary%ff@mail.example")], "UTF-8"),
        ];
        for (env, says) in cases {
            let error = resolve(env)
                .err()
                .unwrap_or_else(|| panic!("accepted: {env:?}"));
            assert!(error::is_usage(&error), "{error:#}");
            let said = format!("{} {:?}", error::one_line(&error), error::hint(&error));
            assert!(said.contains(says), "{said} lacks {says}");
            assert!(!said.contains("canary"), "{said}");
            assert!(error::hint(&error).is_some(), "{said}");
        }
    }
}

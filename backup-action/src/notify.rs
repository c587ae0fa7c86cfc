//! Tells people and machines about a run: Slack, e-mail, a webhook, a heartbeat. All side by side,
//! under one deadline. Never changes a verdict, never holds a secret or a row.

mod client;
mod mail;
mod outcome;
mod retry;
mod signature;

pub use outcome::{Channel, Told};

use crate::config::{HttpAddress, NotifyConfig};
use crate::report::alert::Alert;
use crate::report::{escape, mail as mail_text, slack};
use crate::secret::{Secret, redact};
use anyhow::Context as _;
use client::Request;
use jiff::Timestamp;
use outcome::Failure;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long all of it may take.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// What is told.
pub struct News<'a> {
    /// The message for people; without it only the heartbeat is asked.
    pub alert: Option<&'a Alert>,
    /// The report as JSON, for the webhook.
    pub report: &'a str,
    /// Whether a gate or drill passed, so that the heartbeat is asked.
    pub is_alive: bool,
    /// When, for the signature.
    pub now: Timestamp,
}

/// Sends `news` through every configured channel; returns what became of it, in the order of the
/// channels. Ends by `deadline`, however slow the others are.
///
/// # Errors
/// The system gives no random bytes for the identifier of the event.
pub async fn tell(
    config: &NotifyConfig,
    news: &News<'_>,
    deadline: Instant,
) -> anyhow::Result<Vec<Told>> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).context("could not get random bytes")?;
    let id = crate::archive::index::to_hex(&id);
    let secrets = config.secrets();
    let slack = async {
        let (address, alert) = (config.slack.as_ref()?, news.alert?);
        let body = slack::payload(alert).to_string();
        let request = Request::post(address, body, Vec::new());
        Some(ask(Channel::Slack, address, request, deadline).await)
    };
    let mail = async {
        let (mail, alert) = (config.mail.as_ref()?, news.alert?);
        Some(mail::send(mail, &mail_text::render(alert), &id, deadline).await)
    };
    let webhook = async {
        let (address, alert) = (config.webhook.as_ref()?, news.alert?);
        let headers = signature::headers(
            config.webhook_secret.as_ref(),
            alert.occasion.word(),
            &id,
            news.now,
            news.report,
        );
        let request = Request::post(address, news.report.to_owned(), headers);
        Some(ask(Channel::Webhook, address, request, deadline).await)
    };
    let heartbeat = async {
        let address = config.heartbeat.as_ref().filter(|_| news.is_alive)?;
        Some(ask(Channel::Heartbeat, address, Request::get(address), deadline).await)
    };
    let (slack, mail, webhook, heartbeat) = tokio::join!(slack, mail, webhook, heartbeat);
    let told = [slack, mail, webhook, heartbeat].into_iter().flatten();
    Ok(told.map(|told| clean(told, &secrets)).collect())
}

async fn ask(channel: Channel, address: &HttpAddress, request: Request, deadline: Instant) -> Told {
    let begun = Instant::now();
    let request = Arc::new(request);
    let (attempts, result) = retry::until(deadline, async |limit| {
        client::send(Arc::clone(&request), limit).await
    })
    .await;
    Told {
        channel,
        to: address.host.clone(),
        attempts,
        seconds: begun.elapsed().as_secs_f64(),
        result: result.map_err(Failure::into_text),
    }
}

/// What is shown of an answer.
const MAX_SAID_CHARS: usize = 300;

/// Servers repeat what they were sent.
fn clean(mut told: Told, secrets: &[Secret]) -> Told {
    let (Ok(text) | Err(text)) = &mut told.result;
    // In this order: a secret is only found whole, and a password may hold an @.
    let text_shown = outcome::without_addresses(&redact(text, secrets));
    *text = escape::shorten(&text_shown, MAX_SAID_CHARS);
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_at_the_cut_is_hidden_as_well() {
        let secret = Secret::new("SECRETTOKEN0123456789abcdefghijklmnopqrstuvwxyz");
        for before in 0..MAX_SAID_CHARS + 20 {
            let said = format!("{}{}", "x".repeat(before), secret.expose());
            let told = Told {
                channel: Channel::Heartbeat,
                to: "monitor".to_owned(),
                attempts: 1,
                seconds: 0.0,
                result: Err(said),
            };
            let shown = clean(told, std::slice::from_ref(&secret))
                .result
                .unwrap_err();
            assert!(!shown.contains("SECRETTO"), "{before}: {shown}");
        }
    }
}

//! Mail by SMTP. A server that should speak TLS and does not, or whose certificate is not trusted,
//! gets neither the password nor the mail.

use super::outcome::{Channel, Failure, Told, words};
use super::retry;
use crate::config::{MailConfig, SmtpAddress, SmtpSecurity};
use crate::report::format;
use crate::report::mail::Mail;
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use std::error::Error as _;
use std::time::{Duration, Instant};

/// The answers of a server that concern one recipient or one mail, and not whoever logs in.
const ABOUT_RECIPIENT: std::ops::RangeInclusive<u16> = 550..=554;

/// Sends `mail` to everybody at once; where the server refuses somebody, to each alone, so that one
/// mistyped address does not keep the others from knowing.
pub(super) async fn send(config: &MailConfig, mail: &Mail, id: &str, deadline: Instant) -> Told {
    let begun = Instant::now();
    let everybody: Vec<Address> = config.to.iter().map(|to| to.email.clone()).collect();
    let (attempts, result) = match message(config, mail, id) {
        Err(text) => (0, Err(text)),
        Ok(message) => {
            let bytes = message.formatted();
            let (attempts, result) = deliver(config, &everybody, &bytes, deadline).await;
            match result {
                Err(refused) if refused.is_about_recipient && everybody.len() > 1 => {
                    let each = one_by_one(config, &everybody, &bytes, deadline).await;
                    (attempts + 1, each)
                }
                result => (attempts, result.map_err(|refused| refused.text)),
            }
        }
    };
    // Logs of public repositories are public.
    let recipients = format::counted(everybody.len() as u64, "recipient");
    Told {
        channel: Channel::Mail,
        to: format!("{recipients} by {}", config.server.host),
        attempts,
        seconds: begun.elapsed().as_secs_f64(),
        result,
    }
}

/// Why a mail was not accepted.
struct Refused {
    text: String,
    is_about_recipient: bool,
}

async fn one_by_one(
    config: &MailConfig,
    everybody: &[Address],
    bytes: &[u8],
    deadline: Instant,
) -> Result<String, String> {
    let all = everybody.len();
    let mut refused = Vec::new();
    // One after the other: servers count connections.
    for (at, address) in everybody.iter().enumerate() {
        let to = std::slice::from_ref(address);
        if let Err(refusal) = deliver(config, to, bytes, deadline).await.1 {
            // By its place in the configuration: the address is nobody's business.
            refused.push(format!("recipient {} of {all}: {}", at + 1, refusal.text));
        }
    }
    let accepted = all - refused.len();
    match refused.is_empty() {
        true => Ok(format!("accepted for each of {accepted}")),
        false => Err(format!(
            "accepted for {accepted} of {all}; {}",
            refused.join("; ")
        )),
    }
}

async fn deliver(
    config: &MailConfig,
    to: &[Address],
    bytes: &[u8],
    deadline: Instant,
) -> (u32, Result<String, Refused>) {
    let mut is_about_recipient = false;
    let (attempts, result) = retry::until(deadline, async |limit| {
        let envelope = Envelope::new(Some(config.from.email.clone()), to.to_vec())
            .map_err(|error| Failure::never(error.to_string()))?;
        let transport = transport(&config.server, limit).map_err(failure)?;
        match transport.send_raw(&envelope, bytes).await {
            Ok(response) => {
                let said: Vec<&str> = response.message().collect();
                Ok(format!("{} {}", response.code(), words(&said.join(" "))))
            }
            Err(error) => {
                let code = error.status().map(u16::from);
                is_about_recipient = code.is_some_and(|code| ABOUT_RECIPIENT.contains(&code));
                Err(failure(error))
            }
        }
    })
    .await;
    let result = result.map_err(|failure| Refused {
        text: failure.into_text(),
        is_about_recipient,
    });
    (attempts, result)
}

fn transport(
    server: &SmtpAddress,
    limit: Duration,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, SmtpError> {
    let tls = match server.security {
        SmtpSecurity::Tls => Tls::Wrapper(TlsParameters::new(server.host.clone())?),
        SmtpSecurity::StartTls => Tls::Required(TlsParameters::new(server.host.clone())?),
        SmtpSecurity::Plain => Tls::None,
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host)
        .port(server.port)
        .tls(tls)
        .timeout(Some(limit));
    if let (Some(user), Some(password)) = (&server.user, &server.password) {
        let credentials = Credentials::new(user.clone(), password.expose().to_owned());
        builder = builder.credentials(credentials);
    }
    Ok(builder.build())
}

/// The mail with its headers. They hold our own words, and names on one line.
fn message(config: &MailConfig, mail: &Mail, id: &str) -> Result<Message, String> {
    let mut builder = Message::builder()
        .from(config.from.clone())
        .subject(&mail.subject)
        // The same for every attempt: who gets it twice sees it once.
        .message_id(Some(format!("<{id}@{}>", domain(&config.from))));
    for to in &config.to {
        builder = builder.to(to.clone());
    }
    // So that nobody's holiday answers.
    for (name, value) in [
        ("Auto-Submitted", "auto-generated"),
        ("X-Auto-Response-Suppress", "All"),
    ] {
        builder = builder.raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str(name),
            value.to_owned(),
        ));
    }
    builder
        .multipart(MultiPart::alternative_plain_html(
            mail.text.clone(),
            mail.html.clone(),
        ))
        .map_err(|error| error.to_string())
}

fn domain(from: &Mailbox) -> &str {
    from.email.domain()
}

fn failure(error: SmtpError) -> Failure {
    if let Some(error) = tls(&error) {
        return Failure::never(format!("no trusted connection: {error}"));
    }
    let code = error.status().map(u16::from);
    let said = words(&error.source().map(ToString::to_string).unwrap_or_default());
    match code {
        Some(code) => {
            let text = format!("answered {code} {said}");
            match error.is_permanent() {
                true => Failure::never(text.trim_end()),
                false => Failure::soon(text.trim_end()),
            }
        }
        // A server without STARTTLS, or with other ways to log in, will not have them next time.
        None if error.is_client() => Failure::never(said),
        None if said.is_empty() => Failure::soon(error.to_string()),
        None => Failure::soon(said),
    }
}

/// What TLS objects to, wherever it is in the chain.
fn tls(error: &SmtpError) -> Option<&rustls::Error> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<std::io::Error>();
        if let Some(found) = inner
            .and_then(std::io::Error::get_ref)
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

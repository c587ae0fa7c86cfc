//! What becomes of one message, and whether trying again makes sense.

use std::time::Duration;

/// A way of telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Slack's incoming webhook.
    Slack,
    /// Mail.
    Mail,
    /// The JSON report by POST.
    Webhook,
    /// The monitor that waits for runs.
    Heartbeat,
}

impl Channel {
    /// The name shown to people.
    pub fn name(self) -> &'static str {
        match self {
            Channel::Slack => "Slack",
            Channel::Mail => "e-mail",
            Channel::Webhook => "webhook",
            Channel::Heartbeat => "heartbeat",
        }
    }
}

/// What became of one message.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The way.
    pub channel: Channel,
    /// To whom: a host, and how many people.
    pub to: String,
    /// How often it was tried.
    pub attempts: u32,
    /// How long that took.
    pub seconds: f64,
    /// The answer, or why it failed. Without secrets; may hold hostile text of the server.
    pub result: Result<String, String>,
}

/// An attempt that failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) text: String,
    pub(super) again: Again,
}

/// Whether the same request may work later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    Never,
    Soon,
    /// Not before the server said.
    After(Duration),
}

impl Failure {
    pub(super) fn never(text: impl Into<String>) -> Failure {
        Failure {
            text: text.into(),
            again: Again::Never,
        }
    }

    pub(super) fn soon(text: impl Into<String>) -> Failure {
        Failure {
            text: text.into(),
            again: Again::Soon,
        }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// A server's own words on one line; markup of an error page says nothing. Not shortened here: a
/// secret of which the end is cut off would not be found any more.
pub(super) fn words(text: &str) -> String {
    let text = text.trim();
    if text.starts_with('<') {
        return String::new();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A text without mail addresses: servers repeat them, and logs of public repositories are public.
pub(super) fn without_addresses(text: &str) -> String {
    let is_part = |c: char| !c.is_whitespace() && !"<>()[]\"',;:".contains(c);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        out.push_str(if word.contains('@') { "***" } else { word });
        let next = after.find(is_part).unwrap_or(after.len());
        let (between, following) = after.split_at(next);
        out.push_str(between);
        rest = following;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_is_left() {
        for (said, shown) in [
            (
                "5.1.1 <ops@acme.example>: user unknown (ops+x@acme.example)",
                "5.1.1 <***>: user unknown (***)",
            ),
            ("RCPT TO:<\"a b\"@acme.example>,", "RCPT TO:<\"a b\"***>,"),
            ("ü@acme.example", "***"),
            ("2.0.0 queued as 4711", "2.0.0 queued as 4711"),
            ("", ""),
        ] {
            assert_eq!(without_addresses(said), shown);
        }
    }
}

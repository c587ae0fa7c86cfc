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

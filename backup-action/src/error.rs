//! Errors that carry advice. The chain is printed once, in `main`; nothing here prints.
//!
//! Inside a step plain `anyhow` with context is enough. [`Explained`] is for the errors whose next
//! step we know, [`Usage`] for what the user typed. Wording follows PostgreSQL's message style:
//! lower case, no full stop, "could not" (may work later) against "cannot" (never will); a hint is
//! a full sentence with a full stop.

use std::error::Error;
use std::fmt;

/// A message with the next step to take, and the class that decides the exit code.
#[derive(Debug)]
pub struct Explained {
    message: String,
    hint: String,
    source: Option<anyhow::Error>,
}

impl Explained {
    /// An error that starts here.
    pub fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
            source: None,
        }
    }

    /// The next step to take.
    pub fn hint(&self) -> &str {
        &self.hint
    }

    /// An error with a cause below it. The message must not repeat the cause's text.
    pub fn caused_by(self, source: anyhow::Error) -> Self {
        Self {
            source: Some(source),
            ..self
        }
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Explained {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_ref()
            .map(|e| e.as_ref() as &(dyn Error + 'static))
    }
}

/// What was typed, or written in the configuration, cannot be used: exit code 2.
#[derive(Debug)]
pub struct Usage {
    message: String,
    hint: Option<String>,
}

impl Usage {
    /// A usage error; `message` names the flag, variable or key and the value.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    /// The same error with the fix.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Usage {}

/// The messages of an error from the outermost to the cause, one a line of output.
pub fn messages(error: &anyhow::Error) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    for cause in error.chain() {
        let message = cause.to_string();
        if messages.last() != Some(&message) {
            messages.push(message);
        }
    }
    messages
}

/// The messages joined by `: `, for evidence lines and JSON.
pub fn one_line(error: &anyhow::Error) -> String {
    messages(error).join(": ")
}

/// The hint nearest to the cause, when there is one.
pub fn hint(error: &anyhow::Error) -> Option<String> {
    error
        .chain()
        .filter_map(|cause| {
            cause
                .downcast_ref::<Explained>()
                .map(|e| e.hint.clone())
                .or_else(|| cause.downcast_ref::<Usage>().and_then(|e| e.hint.clone()))
        })
        .last()
}

/// Whether the error is about what the user typed or configured.
pub fn is_usage(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Usage>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_hint_survives_context_and_is_not_part_of_the_chain() {
        let error = anyhow::Error::new(
            Explained::new("could not read a", "Try b.")
                .caused_by(anyhow::anyhow!("permission denied")),
        );
        let error = Err::<(), _>(error)
            .context("could not start the gate")
            .unwrap_err();
        assert_eq!(
            one_line(&error),
            "could not start the gate: could not read a: permission denied"
        );
        assert_eq!(hint(&error).as_deref(), Some("Try b."));
        assert!(!is_usage(&error));
        assert!(is_usage(&anyhow::Error::new(Usage::new("bad"))));
    }
}

//! A value that must not be shown. It travels by environment or file, never argv.

use std::fmt;

/// A password, key or token. `Debug` and `Display` print `***`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. Appears only beside an environment variable, a 0600 file, or a mask.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing to hide.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Replaces every occurrence of a secret by `***`: servers repeat parts of what they could not read.
/// The longest secret comes first, so that none is left in half.
pub fn redact(text: &str, secrets: &[Secret]) -> String {
    let hidden = secrets.iter().filter(|secret| !secret.is_empty());
    hidden.fold(text.to_owned(), |text, secret| {
        text.replace(secret.expose(), "***")
    })
}

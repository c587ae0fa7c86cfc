//! What a store said no to. Commands branch on the kind; people read the message and its hint.

use crate::error::Explained;
use std::error::Error;
use std::fmt;

/// Why a store did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// No object of that name.
    NotFound,
    /// A create-only write found an object of that name, written by somebody else.
    AlreadyExists,
    /// The credentials are good but lack a right, or the directory's permissions do.
    Denied,
    /// No credentials, wrong ones, or expired ones.
    Credentials,
    /// No bucket of that name, or one in another region.
    NoBucket,
    /// No answer: name not resolved, refused, reset, silent.
    Unreachable,
    /// No space left.
    Full,
    /// Anything else, such as an answer that makes no sense.
    Other,
}

impl StoreErrorKind {
    /// The kind nearest to the outside of the chain, when a store made the error.
    pub fn of(error: &anyhow::Error) -> Option<Self> {
        error
            .chain()
            .find_map(|cause| cause.downcast_ref::<StoreError>())
            .map(StoreError::kind)
    }
}

/// An [`Explained`] error with its kind. Printing the chain shows the message once.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    explained: Explained,
}

impl StoreError {
    /// An error of `kind`.
    pub fn new(kind: StoreErrorKind, explained: Explained) -> Self {
        Self { kind, explained }
    }

    /// Why.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.explained.fmt(f)
    }
}

impl Error for StoreError {
    // The explained error itself, so that the hint is found; the equal message is printed once.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.explained)
    }
}

/// Shorthand: an `anyhow` error of `kind`.
pub(crate) fn store_error(
    kind: StoreErrorKind,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> anyhow::Error {
    StoreError::new(kind, Explained::new(message, hint)).into()
}

/// The same with a cause below it.
pub(crate) fn store_error_from(
    kind: StoreErrorKind,
    message: impl Into<String>,
    hint: impl Into<String>,
    cause: impl Into<anyhow::Error>,
) -> anyhow::Error {
    let explained = Explained::new(message, hint).caused_by(cause.into());
    StoreError::new(kind, explained).into()
}

/// `error`, when cleaning up after it failed with `second`. The kind stays that of `error`.
pub(crate) fn left_behind(error: anyhow::Error, second: &anyhow::Error) -> anyhow::Error {
    error.context(format!("something may be left behind ({second:#})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{hint, one_line};
    use anyhow::Context;

    #[test]
    fn the_kind_and_the_hint_survive_context_and_the_message_is_printed_once() {
        let error = store_error(StoreErrorKind::Full, "could not write", "Free some space.");
        let error = Err::<(), _>(error).context("could not store").unwrap_err();
        assert_eq!(StoreErrorKind::of(&error), Some(StoreErrorKind::Full));
        assert_eq!(one_line(&error), "could not store: could not write");
        assert_eq!(hint(&error).as_deref(), Some("Free some space."));
        assert_eq!(StoreErrorKind::of(&anyhow::anyhow!("x")), None);
    }
}

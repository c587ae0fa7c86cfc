//! How long a run waits for the lock of a store.

use super::values::Values;
use std::time::Duration;

/// `wait-lock`: unlike other durations it may be nothing.
pub(super) fn wait(values: &Values) -> anyhow::Result<Duration> {
    let is_zero = |text: &str| {
        let digits = text
            .trim()
            .trim_end_matches(|c: char| c.is_ascii_alphabetic());
        !digits.is_empty() && digits.bytes().all(|byte| byte == b'0')
    };
    match values.text("wait-lock")? {
        Some(text) if is_zero(&text) => Ok(Duration::ZERO),
        Some(_) | None => values.duration("wait-lock", "10m"),
    }
}

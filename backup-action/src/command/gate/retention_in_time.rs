//! Retention at the end of a gate, in a part of the time that is left: the backup is verified by then,
//! and a slow store must not cost it its receipt.

use crate::check::{Check, CheckId};
use crate::command::journal::Journal;
use crate::command::{Context, prune};
use crate::report::format;
use crate::store::Store;
use std::time::Duration;

/// The longest that a gate waits for it; the next one goes on where it was stopped.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// Archives and deletes; the answer is in the journal in any case.
pub(super) async fn retention_in_time(context: &Context, journal: &mut Journal, stores: &[Store]) {
    let limit = limit(context.config.timeout, journal.elapsed());
    let work = prune::after_gate(context, journal, stores);
    if tokio::time::timeout(limit, Box::pin(work)).await.is_err() {
        journal.check(Check::no(
            CheckId::RetentionApplied,
            context.config.severities.of(CheckId::RetentionApplied),
            format!(
                "it did not end within {}; the rest is left to the next run",
                format::duration(limit.as_secs_f64())
            ),
            "Run `backup-action prune` by itself, where it has all the time it needs, or raise --timeout.",
        ));
    }
}

/// Never more than half of what the run has left: the receipt comes after it.
fn limit(timeout: Duration, elapsed: Duration) -> Duration {
    LIMIT.min(timeout.saturating_sub(elapsed) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_is_left_and_ten_minutes_at_most() {
        let seconds = Duration::from_secs;
        for (timeout, elapsed, allowed) in [
            (21_600, 60, 600),
            (21_600, 21_500, 50),
            (30, 10, 10),
            (30, 31, 0),
        ] {
            assert_eq!(limit(seconds(timeout), seconds(elapsed)), seconds(allowed));
        }
    }
}

//! `credentials-lifetime`: whether the credentials of the S3 store outlive the run. Asked before the
//! dump, because the answer would otherwise come after hours, from the store.

use crate::check::{Check, CheckId, Severity};
use crate::manifest::Manifest;
use crate::report::format;
use crate::store::{CredentialsInfo, CredentialsLife, Store};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// No run is expected to be shorter.
const LEAST: SignedDuration = SignedDuration::from_mins(5);

const HINT: &str = "Let this program renew them: --aws-role-to-assume ARN with the permission id-token: write. \
    Or raise role-duration-seconds of aws-actions/configure-aws-credentials, and the role's own limit.";

/// How long the run may take, and how that is known.
struct Expected {
    time: SignedDuration,
    why: String,
}

/// The answer for the remote store, where there is one.
pub(super) fn ask(
    stores: &[Store],
    last: Option<&Manifest>,
    timeout: Duration,
    severity: Severity,
) -> Check {
    match stores.iter().find_map(Store::credentials) {
        None => Check::passed(CheckId::CredentialsLifetime, "no remote store"),
        Some(found) => judge(found, &expected(last, timeout), Timestamp::now(), severity),
    }
}

/// Three times the last dump: it is read back as well, and has grown. Without one what is allowed.
fn expected(last: Option<&Manifest>, timeout: Duration) -> Expected {
    let allowed = SignedDuration::try_from(timeout).unwrap_or(SignedDuration::MAX);
    let words = |time: SignedDuration| format::duration(time.as_secs_f64());
    match last.map(|last| last.finished_at.duration_since(last.started_at)) {
        Some(took) if took > SignedDuration::ZERO => {
            let time = took.saturating_mul(3).max(LEAST).min(allowed);
            Expected {
                why: format!(
                    "about {} are needed (the last dump took {})",
                    words(time),
                    words(took)
                ),
                time,
            }
        }
        Some(_) | None => Expected {
            why: format!(
                "up to {} may be needed (--timeout; there is no earlier backup to go by)",
                words(allowed)
            ),
            time: allowed,
        },
    }
}

fn judge(
    found: &CredentialsInfo,
    expected: &Expected,
    now: Timestamp,
    severity: Severity,
) -> Check {
    let id = CheckId::CredentialsLifetime;
    let (source, why) = (&found.source, &expected.why);
    match &found.life {
        CredentialsLife::Renewed => Check::passed(
            id,
            format!("temporary, of {source}: asked for again before they end"),
        ),
        CredentialsLife::Endless => Check::passed(
            id,
            format!(
                "a long-lived key of {source}: it does not end, and neither does a theft of it"
            ),
        ),
        CredentialsLife::Until(end) => {
            let left = end.duration_since(now);
            let words = match left.is_positive() {
                true => format!(
                    "temporary, of {source}: {} left, until {end}; {why}",
                    format::duration(left.as_secs_f64())
                ),
                false => format!("temporary, of {source}: ended at {end}"),
            };
            match left >= expected.time {
                true => Check::passed(id, words),
                false => Check::no(id, severity, words, HINT),
            }
        }
        CredentialsLife::Unknown => Check::no(
            id,
            severity,
            format!("temporary, of {source}: nothing says when they end; {why}"),
            HINT,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    fn asked(life: CredentialsLife, needed: i64, severity: Severity) -> Check {
        let found = CredentialsInfo {
            source: "the environment".to_owned(),
            life,
        };
        let expected = Expected {
            time: SignedDuration::from_secs(needed),
            why: "about it".to_owned(),
        };
        judge(
            &found,
            &expected,
            "2026-01-18T02:00:00Z".parse().unwrap(),
            severity,
        )
    }

    #[test]
    fn only_what_is_known_to_last_passes() {
        use CredentialsLife::{Endless, Renewed, Unknown, Until};
        let until = |text: &str| Until(text.parse().unwrap());
        for (life, needed, outcome) in [
            (Renewed, 1_000_000, Outcome::Passed),
            (Endless, 1_000_000, Outcome::Passed),
            (Unknown, 1, Outcome::Failed),
            (until("2026-01-18T03:00:00Z"), 3600, Outcome::Passed),
            (until("2026-01-18T03:00:00Z"), 3601, Outcome::Failed),
            (until("2026-01-18T01:59:59Z"), 0, Outcome::Failed),
        ] {
            let check = asked(life.clone(), needed, Severity::Block);
            assert_eq!(check.outcome, outcome, "{life:?}");
            assert_eq!(check.hint.is_some(), outcome != Outcome::Passed);
            let warned = asked(life, needed, Severity::Warn).outcome;
            assert_eq!(warned == Outcome::Warned, outcome == Outcome::Failed);
        }
    }

    #[test]
    fn without_an_earlier_backup_the_whole_time_counts() {
        let found = expected(None, Duration::from_secs(6 * 3600));
        assert_eq!(found.time, SignedDuration::from_hours(6));
        assert!(found.why.contains("--timeout"), "{}", found.why);
    }
}

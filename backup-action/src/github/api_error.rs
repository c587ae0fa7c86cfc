//! What GitHub's API can answer instead of what was asked for, in words, with what to do.

use crate::report::format;
use jiff::Timestamp;
use std::fmt;
use std::time::Duration;

/// A request that was not answered as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// What was attempted: `could not list the comments`.
    pub doing: String,
    /// What kind of answer it was.
    pub kind: Kind,
    /// What GitHub said, or the client did; bounded. Hostile.
    pub said: String,
}

/// The kinds of answers that something depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 401: no token, or one that is not valid.
    Unauthorized,
    /// 403 without a word of a rate limit: the token may not.
    Forbidden,
    /// 404 or 410: not there, or not for this token.
    NotFound,
    /// 422: GitHub understood and declines.
    Declined,
    /// 429, or 403 with a word of a rate limit; how long to wait, where it is known.
    RateLimited(Option<Duration>),
    /// 5xx. What was asked for may have been done.
    Server,
    /// No answer, or the end of one is missing. What was asked for may have been done.
    NoAnswer,
    /// An answer that is not what the API promises.
    Unexpected,
}

impl ApiError {
    /// An answer with this status that is not a success.
    pub(super) fn of_status(status: u16, headers: &Limits, said: String) -> ApiError {
        let kind = match status {
            401 => Kind::Unauthorized,
            429 => Kind::RateLimited(headers.wait),
            403 if headers.wait.is_some() || said.to_lowercase().contains("rate limit") => {
                Kind::RateLimited(headers.wait)
            }
            403 => Kind::Forbidden,
            404 | 410 => Kind::NotFound,
            422 => Kind::Declined,
            500.. => Kind::Server,
            _ => Kind::Unexpected,
        };
        ApiError {
            doing: String::new(),
            kind,
            said: format!("GitHub answered {status}: {said}"),
        }
    }

    pub(super) fn new(kind: Kind, said: impl Into<String>) -> ApiError {
        ApiError {
            doing: String::new(),
            kind,
            said: said.into(),
        }
    }

    pub(super) fn while_doing(self, doing: impl Into<String>) -> ApiError {
        ApiError {
            doing: doing.into(),
            ..self
        }
    }

    /// Nobody waits any longer.
    pub fn stopped(doing: &str) -> ApiError {
        ApiError::new(Kind::NoAnswer, "GitHub gave no answer in time").while_doing(doing)
    }

    /// Whether what was asked for may have been done all the same.
    pub fn may_have_happened(&self) -> bool {
        match self.kind {
            Kind::Server | Kind::NoAnswer => true,
            Kind::Unauthorized
            | Kind::Forbidden
            | Kind::NotFound
            | Kind::Declined
            | Kind::RateLimited(_)
            | Kind::Unexpected => false,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self.kind {
            Kind::Unauthorized => {
                "Look at the token: in a workflow it is ${{ github.token }}.".to_owned()
            }
            Kind::Forbidden => "Give the job the permission that it needs: pull-requests: write for the comment, deployments: write for the record.".to_owned(),
            Kind::NotFound => {
                "Look at the repository and at what the token may see; GITHUB_API_URL must be the API of the same GitHub.".to_owned()
            }
            Kind::RateLimited(Some(wait)) => format!(
                "Run it again in {}, when the rate limit allows it.",
                format::duration(wait.as_secs_f64())
            ),
            Kind::RateLimited(None) => {
                "Run it again later, when the rate limit allows it.".to_owned()
            }
            Kind::Server | Kind::NoAnswer => {
                "Run it again when GitHub's API answers.".to_owned()
            }
            Kind::Declined | Kind::Unexpected => {
                "Look at what GitHub said; report it if this program is at fault.".to_owned()
            }
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.doing, self.said)
    }
}

impl std::error::Error for ApiError {}

/// What the headers of an answer say about rate limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// How long to wait before the next request.
    wait: Option<Duration>,
}

impl Limits {
    /// `header` looks one header of the answer up.
    pub(super) fn of(header: &dyn Fn(&str) -> Option<String>, now: Timestamp) -> Limits {
        let number = |name: &str| header(name).and_then(|text| text.trim().parse::<i64>().ok());
        let seconds = match number("retry-after") {
            Some(seconds) => Some(seconds),
            None if number("x-ratelimit-remaining") == Some(0) => {
                number("x-ratelimit-reset").map(|reset| reset.saturating_sub(now.as_second()))
            }
            None => None,
        };
        Limits {
            wait: seconds.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, headers: &[(&str, &str)], said: &str) -> Kind {
        let header = |name: &str| {
            let found = headers.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let now = Timestamp::from_second(1_000).unwrap();
        ApiError::of_status(status, &Limits::of(&header, now), said.to_owned()).kind
    }

    #[test]
    fn a_limit_is_told_from_a_refusal() {
        let seconds = |n| Kind::RateLimited(Some(Duration::from_secs(n)));
        assert_eq!(kind(403, &[], "Resource not accessible"), Kind::Forbidden);
        assert_eq!(kind(403, &[("retry-after", "7")], ""), seconds(7));
        let spent = [
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1090"),
        ];
        assert_eq!(kind(403, &spent, ""), seconds(90));
        assert_eq!(kind(429, &spent[1..], ""), Kind::RateLimited(None));
        assert_eq!(
            kind(403, &[], "You have exceeded a secondary rate limit"),
            Kind::RateLimited(None)
        );
        // A reset that has passed is no wait, and nonsense is none either.
        let past = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1")];
        assert_eq!(kind(429, &past, ""), seconds(0));
        assert_eq!(
            kind(429, &[("retry-after", "soon")], ""),
            Kind::RateLimited(None)
        );
        let left = [
            ("x-ratelimit-remaining", "9"),
            ("x-ratelimit-reset", "1090"),
        ];
        assert_eq!(kind(403, &left, ""), Kind::Forbidden);
        for (status, wanted) in [
            (401, Kind::Unauthorized),
            (404, Kind::NotFound),
            (410, Kind::NotFound),
            (422, Kind::Declined),
            (418, Kind::Unexpected),
            (502, Kind::Server),
        ] {
            assert_eq!(kind(status, &[], ""), wanted);
        }
    }
}

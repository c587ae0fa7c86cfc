//! What is said about sizes over time, and which sizes are too small or change too much.

use super::form::parse_size;
use super::values::Values;
use crate::error::Usage;
use crate::history::growth::{Floor, Limits};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::path::PathBuf;
use std::time::Duration;

/// How far back a page of a gate or drill looks: a year, and the month that it is compared with.
const DEFAULT_SINCE: &str = "400d";

/// What is said about sizes over time.
#[derive(Debug)]
pub struct HistoryConfig {
    /// How far back to look.
    pub since: Since,
    /// Where the HTML report goes.
    pub html: Option<PathBuf>,
    /// What the size checks allow.
    pub limits: Limits,
}

/// How far back to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// From a day on, UTC.
    Day(Date),
    /// For a time before now.
    Ago(Duration),
}

impl Since {
    /// The time itself.
    pub fn before(self, now: Timestamp) -> Timestamp {
        let time = match self {
            Since::Day(day) => TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)),
            Since::Ago(ago) => SignedDuration::try_from(ago).and_then(|ago| now.checked_sub(ago)),
        };
        // Further back than any clock.
        time.unwrap_or(Timestamp::MIN)
    }
}

impl HistoryConfig {
    pub(super) fn resolve(values: &Values) -> anyhow::Result<HistoryConfig> {
        Ok(HistoryConfig {
            since: since(values)?,
            html: values.text("html")?.map(PathBuf::from),
            limits: Limits {
                floors: floors(values)?,
                max_growth_percent: percent(values, "max-growth-percent", 50, 1_000_000)?,
                growth_floor_bytes: size(values, "growth-floor", "50MB")?,
                max_shrink_percent: percent(values, "max-shrink-percent", 50, 99)?,
                shrink_floor_bytes: size(values, "shrink-floor", "10MB")?,
                accepted: values.list("accept-size-change"),
            },
        })
    }
}

fn since(values: &Values) -> anyhow::Result<Since> {
    let text = values
        .text("since")?
        .unwrap_or_else(|| DEFAULT_SINCE.to_owned());
    if let Ok(day) = text.parse::<Date>() {
        return Ok(Since::Day(day));
    }
    super::form::parse_duration(&text)
        .map(Since::Ago)
        .ok_or_else(|| {
            Usage::new(format!("{}: invalid time \"{text}\"", values.name("since")))
                .hint("Use a day such as 2026-01-01, or a duration such as 90d.")
                .into()
        })
}

fn floors(values: &Values) -> anyhow::Result<Vec<Floor>> {
    let floor = |item: &String| {
        // A name may hold the sign, a size cannot.
        let (part, text) = match item.rsplit_once('=') {
            Some((part, text)) => (Some(part.trim().to_owned()), text),
            None => (None, item.as_str()),
        };
        match parse_size(text) {
            Some(bytes) if part.as_deref() != Some("") => Ok(Floor { part, bytes }),
            Some(_) | None => Err(invalid_size(values, "size-floor", item)),
        }
    };
    values.list("size-floor").iter().map(floor).collect()
}

fn size(values: &Values, setting: &str, default: &str) -> anyhow::Result<u64> {
    let text = values.text(setting)?.unwrap_or_else(|| default.to_owned());
    parse_size(&text).ok_or_else(|| invalid_size(values, setting, &text))
}

fn invalid_size(values: &Values, setting: &str, text: &str) -> anyhow::Error {
    let hint = match setting {
        "size-floor" => "Use a size such as 500MB, or SCHEMA=SIZE such as central=1MB.",
        _ => "Use a whole number with a unit, such as 500kB, 10MB or 2GB.",
    };
    let name = values.name(setting);
    Usage::new(format!("{name}: invalid size \"{text}\""))
        .hint(hint)
        .into()
}

fn percent(values: &Values, setting: &str, default: u64, most: u64) -> anyhow::Result<u64> {
    let Some(text) = values.text(setting)? else {
        return Ok(default);
    };
    let digits = text.trim().trim_end_matches('%').trim_end();
    digits
        .parse::<u64>()
        .ok()
        .filter(|percent| (1..=most).contains(percent))
        .ok_or_else(|| {
            Usage::new(format!(
                "{}: invalid percentage \"{text}\"",
                values.name(setting)
            ))
            .hint(format!("Use a whole number from 1 to {most}."))
            .into()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_and_a_duration_are_times_before_now() {
        let now: Timestamp = "2026-01-18T02:00:00Z".parse().unwrap();
        let at = |since: Since| since.before(now).to_string();
        assert_eq!(
            at(Since::Day("2026-01-01".parse().unwrap())),
            "2026-01-01T00:00:00Z"
        );
        let week = Duration::from_secs(7 * 86_400);
        assert_eq!(at(Since::Ago(week)), "2026-01-11T02:00:00Z");
        assert_eq!(Since::Ago(Duration::MAX).before(now), Timestamp::MIN);
    }
}

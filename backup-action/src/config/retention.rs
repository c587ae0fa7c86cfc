//! What stays in the stores, and what goes.

use super::Config;
use super::values::Values;
use crate::error::Usage;
use crate::retention::{Limit, Policy};
use jiff::SignedDuration;

/// Who deletes old backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionMode {
    /// This program.
    Tool,
    /// The bucket's lifecycle rules; the program tags and copies.
    Lifecycle,
    /// Nobody.
    Off,
}

impl RetentionMode {
    /// The word of the configuration.
    pub fn word(self) -> &'static str {
        match self {
            RetentionMode::Tool => "tool",
            RetentionMode::Lifecycle => "lifecycle",
            RetentionMode::Off => "off",
        }
    }
}

/// What stays in the stores, and what goes.
#[derive(Debug)]
pub struct RetentionConfig {
    /// Who deletes.
    pub mode: RetentionMode,
    /// The limits.
    pub policy: Policy,
    /// The storage class of archives in the archive tier.
    pub archive_class: String,
    /// Whether `prune` takes every cluster.
    pub all_clusters: bool,
}

/// What is right on its own may make no sense together.
pub(super) fn agrees(config: &Config, values: &Values) -> anyhow::Result<()> {
    let retention = &config.retention;
    let is_lonely = retention.mode == RetentionMode::Lifecycle && config.remote.is_none();
    // A gate of a shared configuration file is not refused for it: its backup matters more.
    if is_lonely && config.command == "prune" {
        return Err(Usage::new(format!(
            "{}: lifecycle needs --remote, since a directory has no lifecycle rules",
            values.name("retention-mode")
        ))
        .hint("Use tool, or add --remote s3://BUCKET/PREFIX.")
        .into());
    }
    if retention.all_clusters && config.cluster.is_some() {
        return Err(Usage::new(format!(
            "{} and {} contradict each other",
            values.name("all-clusters"),
            values.name("cluster")
        ))
        .hint("Leave one of them out.")
        .into());
    }
    Ok(())
}

impl RetentionConfig {
    pub(super) fn resolve(values: &Values) -> anyhow::Result<RetentionConfig> {
        let archive = values.text("retention-archive")?;
        let archiving = archive.as_deref() != Some("off");
        Ok(RetentionConfig {
            mode: values.word(
                "retention-mode",
                &[
                    ("tool", RetentionMode::Tool),
                    ("lifecycle", RetentionMode::Lifecycle),
                    ("off", RetentionMode::Off),
                ],
            )?,
            policy: Policy {
                local: limit(values, "retention-local", "7d")?,
                remote: limit(values, "retention-remote", "30d")?,
                archive: match archiving {
                    true => limit(values, "retention-archive", "1y")?,
                    // What lies there already is not touched.
                    false => Limit::Forever,
                },
                archiving,
                min_keep: number(values, "retention-min-keep", 1..=10_000)?.unwrap_or(2),
                max_delete: number(values, "max-delete", 0..=1_000_000)?,
            },
            archive_class: values
                .text("retention-archive-class")?
                .unwrap_or_else(|| "GLACIER_IR".to_owned()),
            all_clusters: values.switch("all-clusters", false)?,
        })
    }
}

fn number(
    values: &Values,
    setting: &str,
    allowed: std::ops::RangeInclusive<usize>,
) -> anyhow::Result<Option<usize>> {
    let Some(text) = values.text(setting)? else {
        return Ok(None);
    };
    match text.trim().parse::<usize>() {
        Ok(number) if allowed.contains(&number) => Ok(Some(number)),
        _ => Err(Usage::new(format!(
            "{}: invalid number \"{text}\"",
            values.name(setting)
        ))
        .hint(format!("Use {} to {}.", allowed.start(), allowed.end()))
        .into()),
    }
}

/// A whole number of days, weeks or years. Everything shorter is a mistake: `7m` are minutes
/// elsewhere, and would delete all but the newest.
fn limit(values: &Values, setting: &str, default: &str) -> anyhow::Result<Limit> {
    const HOURS: i64 = 24;
    let text = values.text(setting)?;
    let text = text.as_deref().unwrap_or(default).trim();
    if text == "forever" {
        return Ok(Limit::Forever);
    }
    let (digits, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let days_per_unit = match unit.trim() {
        "d" => Some(1),
        "w" => Some(7),
        "y" => Some(365),
        _ => None,
    };
    let days = digits
        .parse::<i64>()
        .ok()
        .zip(days_per_unit)
        .and_then(|(number, days)| number.checked_mul(days))
        .filter(|days| (1..=100 * 366).contains(days));
    match days {
        Some(days) => Ok(Limit::Age(SignedDuration::from_hours(days * HOURS))),
        None => Err(Usage::new(format!(
            "{}: invalid retention \"{text}\"",
            values.name(setting)
        ))
        .hint(match (digits, days_per_unit) {
            ("" | "0", _) => "Use at least one day: 7d, 4w, 1y, or forever.".to_owned(),
            (digits, None) => format!(
                "Write {digits}d for {digits} days. A retention counts days, weeks or years: 7d, 4w, 1y, or forever."
            ),
            (_, Some(_)) => "Use at most 100 years, or forever.".to_owned(),
        })
        .into()),
    }
}

//! How sizes changed, in words and bars that every renderer says the same way.

use super::{Report, format};
use crate::history::series::day;
use crate::history::summary::Against;

/// How the size changed: `+1.2 % since yesterday`, `+6.8 % in a month`. Empty without an earlier backup.
pub fn growth(report: &Report) -> Vec<(String, String)> {
    let Some(history) = &report.history else {
        return Vec::new();
    };
    let now = report.started_at;
    let changed = |against: &Against| against.change_percent.map(format::signed_percent);
    let mut found = Vec::new();
    if let Some(previous) = &history.previous {
        let since = match day(now).since(day(previous.started_at)) {
            Ok(days) if days.get_days() == 0 => {
                format!("since {}", previous.started_at.strftime("%H:%M UTC"))
            }
            Ok(days) if days.get_days() == 1 => "since yesterday".to_owned(),
            _ => format!("since {}", day(previous.started_at)),
        };
        found.extend(changed(previous).map(|change| (change, since)));
    }
    let other = |baseline: &&Against| {
        let previous = history.previous.as_ref();
        previous.is_none_or(|previous| previous.key != baseline.key)
    };
    if let Some(baseline) = history.baseline.as_ref().filter(other) {
        let days = now.duration_since(baseline.started_at).as_hours() / 24;
        let since = match days {
            27..=33 => "in a month".to_owned(),
            days => format!("in {}", format::counted(days.max(0).unsigned_abs(), "day")),
        };
        found.extend(changed(baseline).map(|change| (change, since)));
    }
    found
}

/// The last sizes of the dump as bars; none without an earlier backup.
pub fn sizes(report: &Report) -> Option<(usize, String)> {
    let sizes = &report.history.as_ref()?.sizes;
    let bytes: Vec<u64> = sizes.iter().map(|size| size.dump_bytes).collect();
    (bytes.len() > 1).then(|| (bytes.len(), format::sparkline(&bytes)))
}

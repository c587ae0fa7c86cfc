//! Figures for people: sizes, durations, counts, ages, dates. The only place that rounds; JSON and
//! manifests carry exact numbers with the unit in the name.

use crate::history::series::percent;
use humansize::{DECIMAL, FormatSizeOptions, format_size};
use jiff::Timestamp;

/// A size in decimal units, to three digits: `240 MB`, `61.4 MB`, `1.05 GB`, `512 B`.
pub fn bytes(bytes: u64) -> String {
    let mut leading = bytes as f64;
    while leading >= 1000.0 {
        leading /= 1000.0;
    }
    let decimals = match leading {
        ..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    let size = format_size(
        bytes,
        FormatSizeOptions::from(DECIMAL).decimal_places(decimals),
    );
    match size.split_once(' ') {
        Some((figure, unit)) if figure.contains('.') => {
            let figure = figure.trim_end_matches('0').trim_end_matches('.');
            format!("{figure} {unit}")
        }
        _ => size,
    }
}

/// A speed: `79 MB/s`; nothing where the time is too short to say.
pub fn rate(size_bytes: u64, seconds: f64) -> Option<String> {
    let per_second = size_bytes as f64 / seconds;
    // Below 10 ms the clock says more about itself than about the work.
    (seconds >= 0.01 && per_second.is_finite()).then(|| format!("{}/s", bytes(per_second as u64)))
}

/// How long something took: `0.4 s`, `9 m 41 s`, `1 h 02 m`, `3 d 04 h`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "an unknown time".to_owned();
    }
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    let (minutes, hours, days) = (whole / 60, whole / 3600, whole / 86_400);
    match (days, hours) {
        (0, 0) => format!("{minutes} m {:02} s", whole % 60),
        (0, _) => format!("{hours} h {:02} m", minutes % 60),
        (_, _) => format!("{days} d {:02} h", hours % 24),
    }
}

/// How old something is: `45 s old` without the last word. A negative age is a clock that is wrong.
pub fn age(seconds: i64) -> String {
    match seconds {
        i64::MIN..=-1 => "from the future".to_owned(),
        0..=89 => format!("{seconds} s"),
        90..=5_399 => format!("{} min", seconds / 60),
        5_400..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", count((seconds / 86_400).unsigned_abs())),
    }
}

/// [`age`] with its last word: `23 h old`.
pub fn old(seconds: i64) -> String {
    if seconds < 0 {
        "dated in the future: a clock is wrong".to_owned()
    } else {
        format!("{} old", age(seconds))
    }
}

/// A count with thousands separators: `4,880,024`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count with its noun, `1 row`, `2 rows`. The noun takes a plain `s`.
pub fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// The first names, and how many more there are.
pub fn names<T: AsRef<str>>(names: &[T]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    let shown = shown.join("; ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

/// How many times smaller: `2.9 ×`.
pub fn ratio(ratio: f64) -> String {
    if ratio >= 100.0 {
        format!("{} ×", count(ratio as u64))
    } else {
        format!("{ratio:.1} ×")
    }
}

/// A change in percent, with its sign: `+1.2 %`, `−97 %`, `±0 %`; from nothing it is `new`.
pub fn change_percent(before: u64, now: u64) -> String {
    match percent(before, now) {
        Some(change) => signed_percent(change),
        None if now == 0 => "±0 %".to_owned(),
        None => "new".to_owned(),
    }
}

/// Percent with a sign.
pub fn signed_percent(change: f64) -> String {
    let sign = if change < 0.0 { '−' } else { '+' };
    match change.abs() {
        size if size >= 99.95 => format!("{sign}{} %", count(size.round() as u64)),
        size if size >= 0.05 => {
            let figure = format!("{size:.1}");
            let figure = figure.strip_suffix(".0").unwrap_or(&figure);
            format!("{sign}{figure} %")
        }
        size if size > 0.0 => format!("{sign}<0.1 %"),
        _ => "±0 %".to_owned(),
    }
}

/// A change in bytes, with its sign: `+38 MB`.
pub fn signed_bytes(change: i128) -> String {
    let size = bytes(u64::try_from(change.unsigned_abs()).unwrap_or(u64::MAX));
    match change {
        0 => "±0".to_owned(),
        1.. => format!("+{size}"),
        _ => format!("−{size}"),
    }
}

/// Values as bars, oldest first: `▁▃▅█`. The highest is full, nothing is the lowest; none when there
/// are no values.
pub fn sparkline(values: &[u64]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let highest = values.iter().copied().max().unwrap_or(0).max(1);
    let bar = |value: &u64| {
        let step = (*value as f64 / highest as f64 * 7.0).round() as usize;
        BARS[step.min(7)]
    };
    values.iter().map(bar).collect()
}

/// A time to the minute: `2026-01-18 02:00 UTC`.
pub fn minute(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn figures_read_as_people_write_them() {
        let sizes: Vec<_> = [0, 512, 1_000, 61_400_000, 240_000_000, 702_400_000]
            .into_iter()
            .chain([1_049_000_000, 20_000_000_000_000])
            .map(bytes)
            .collect();
        assert_eq!(
            sizes,
            [
                "0 B", "512 B", "1 kB", "61.4 MB", "240 MB", "702 MB", "1.05 GB", "20 TB"
            ]
        );
        let durations: Vec<_> = [0.04, 0.4, 59.94, 59.96, 581.0, 3_725.0, 273_600.0, f64::NAN]
            .into_iter()
            .map(duration)
            .collect();
        assert_eq!(
            durations,
            [
                "0.0 s",
                "0.4 s",
                "59.9 s",
                "1 m 00 s",
                "9 m 41 s",
                "1 h 02 m",
                "3 d 04 h",
                "an unknown time"
            ]
        );
        let ages: Vec<_> = [0, 89, 90, 5_400, 82_800, 172_800, 900_000_000]
            .into_iter()
            .map(age)
            .collect();
        assert_eq!(
            ages,
            [
                "0 s",
                "89 s",
                "1 min",
                "1 h",
                "23 h",
                "2 days",
                "10,416 days"
            ]
        );
        let changes = [
            (100, 100),
            (1000, 1012),
            (100, 3),
            (1, 2000),
            (100_000, 100_001),
            (0, 5),
            (0, 0),
        ];
        let changes: Vec<_> = changes
            .into_iter()
            .map(|(a, b)| change_percent(a, b))
            .collect();
        assert_eq!(
            changes,
            [
                "±0 %",
                "+1.2 %",
                "−97 %",
                "+199,900 %",
                "+<0.1 %",
                "new",
                "±0 %"
            ]
        );
        assert_eq!(signed_bytes(38_000_000), "+38 MB");
        assert_eq!(signed_bytes(-4), "−4 B");
        assert_eq!(sparkline(&[0, 350, 700, 500]), "▁▅█▆");
        assert_eq!(sparkline(&[0, 0]), "▁▁");
        assert_eq!(sparkline(&[]), "");
        assert_eq!(sparkline(&[u64::MAX, 1]), "█▁");
        assert_eq!(counted(1, "row"), "1 row");
        assert_eq!(counted(4_880_024, "row"), "4,880,024 rows");
        assert_eq!(rate(702_000_000, 8.9).as_deref(), Some("78.9 MB/s"));
        assert_eq!(rate(1, 0.0), None);
    }

    proptest! {
        #[test]
        fn no_figure_panics(n: u64, seconds: f64, old_seconds: i64) {
            prop_assert_eq!(count(n).replace(',', ""), n.to_string());
            for text in [bytes(n), duration(seconds), old(old_seconds), ratio(seconds)] {
                prop_assert!(!text.is_empty());
            }
            prop_assert!(rate(n, seconds).is_none_or(|text| !text.is_empty()));
        }
    }
}

//! The charts of sizes: over time, and growth month over month.

use super::axis::{MAX_MARKS, Span, dates, dot, hit, labels, path};
use super::folded;
use super::plot::{HEIGHT, Label, Plot, WIDTH, decimal_steps, empty, key, ticks};
use crate::history::series::{Backup, Series};
use crate::report::format;
use jiff::Timestamp;

/// Months of the growth chart.
const MAX_MONTHS: usize = 12;

/// Sizes of dump and archive.
pub(super) fn sizes(series: &Series, id: &str) -> String {
    const TITLE: &str = "Size of dump and archive";
    let backups = &series.backups;
    let (Some(first), Some(last)) = (backups.first(), backups.last()) else {
        return empty(TITLE, "Nothing to show before the first verified backup.");
    };
    let times: Vec<Timestamp> = backups.iter().map(|backup| backup.started_at).collect();
    let span = Span::over(&times);
    let most = backups.iter().map(|b| b.dump_bytes).max().unwrap_or(0);
    let scale = ticks(most as f64, decimal_steps());
    let top = scale.last().copied().unwrap_or(1.0);
    let points = |bytes: fn(&Backup) -> u64| -> Vec<(f64, f64)> {
        let point = |backup: &Backup| {
            let x = WIDTH * span.at(backup.started_at);
            (x, HEIGHT * (1.0 - bytes(backup) as f64 / top))
        };
        backups.iter().map(point).collect()
    };
    let raw = points(|backup| backup.dump_bytes);
    let has_archive = last.archive_bytes.is_some();
    let mut marks = String::new();
    let mut legend = key("<path class=\"line raw\" d=\"M0,7h14\"/>", "dump");
    if has_archive {
        let stored = points(|backup| backup.archive_bytes.unwrap_or(0));
        let (start, end) = (stored[0].0, stored[stored.len() - 1].0);
        let line = path(&stored);
        marks.push_str(&format!(
            "<path class=\"area\" d=\"{line}L{end:.1},{HEIGHT}L{start:.1},{HEIGHT}Z\"/><path class=\"line\" d=\"{line}\"/>"
        ));
        marks.extend(some_dots("", &stored));
        legend.push_str(&key(
            "<rect class=\"area\" y=\"6\" width=\"14\" height=\"8\"/><path class=\"line\" d=\"M0,6h14\"/>",
            "archive, compressed",
        ));
    }
    marks.push_str(&format!("<path class=\"line raw\" d=\"{}\"/>", path(&raw)));
    marks.extend(some_dots(" raw", &raw));
    for (at, backup) in backups.iter().enumerate() {
        marks.push_str(&hit(&raw, at, &said(backup)));
    }
    let rows: Vec<Vec<String>> = backups
        .iter()
        .rev()
        .map(|backup| {
            vec![
                format::minute(backup.started_at),
                format::bytes(backup.dump_bytes),
                backup.archive_bytes.map(format::bytes).unwrap_or_default(),
                format::count(backup.rows),
                backup.stores.len().to_string(),
            ]
        })
        .collect();
    let description = format!(
        "{} from {} to {}: the dump went from {} to {}, the archive from {} to {}.",
        format::counted(backups.len() as u64, "backup"),
        format::minute(first.started_at),
        format::minute(last.started_at),
        format::bytes(first.dump_bytes),
        format::bytes(last.dump_bytes),
        first
            .archive_bytes
            .map_or_else(|| "?".to_owned(), format::bytes),
        last.archive_bytes
            .map_or_else(|| "?".to_owned(), format::bytes),
    );
    Plot {
        id: &format!("{id}-sizes"),
        title: TITLE,
        description: &description,
        legend,
        y: labels(&scale, top, |bytes| format::bytes(bytes as u64)),
        x: dates(&times),
        marks,
        values: String::new(),
        table: folded(
            "Every backup",
            &["started", "dump", "archive", "rows", "stores"],
            &rows,
        ),
        class: "wide",
    }
    .render()
}

fn some_dots(class: &'static str, points: &[(f64, f64)]) -> impl Iterator<Item = String> {
    // The last one is always marked.
    let from = if points.len() > MAX_MARKS {
        points.len() - 1
    } else {
        0
    };
    points[from..].iter().map(move |point| dot(class, *point))
}

fn said(backup: &Backup) -> String {
    let archive = match backup.archive_bytes {
        Some(bytes) => format!(", archive {}", format::bytes(bytes)),
        None => String::new(),
    };
    format!(
        "{}: dump {}{archive}",
        format::minute(backup.started_at),
        format::bytes(backup.dump_bytes)
    )
}

/// Growth of the dump, month over month.
pub(super) fn growth(series: &Series, id: &str) -> String {
    const TITLE: &str = "Growth of the dump, month over month";
    let months = series.months();
    let known: Vec<_> = months
        .iter()
        .filter_map(|month| Some((month, month.change_percent?)))
        .collect();
    let known = &known[known.len().saturating_sub(MAX_MONTHS)..];
    if known.is_empty() {
        return empty(TITLE, "Needs backups of two months.");
    }
    let highest = known.iter().map(|(_, change)| *change).fold(0.0, f64::max);
    let lowest = known.iter().map(|(_, change)| *change).fold(0.0, f64::min);
    // Little change must look like little. Figures at the ends of the bars need room.
    let span = (highest - lowest).max(10.0);
    let down = if lowest < 0.0 {
        0.14 * span - lowest
    } else {
        0.0
    };
    let height = 1.14 * span + down + lowest;
    let zero = down / height;
    let y = |change: f64| HEIGHT * (1.0 - zero - change / height);
    let slot = WIDTH / known.len() as f64;
    let width = (slot * 0.62).min(90.0);
    let mut marks = format!(
        "<line class=\"gridline zero\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{0:.1}\" y2=\"{0:.1}\"/>",
        y(0.0)
    );
    let (mut values, mut x) = (String::new(), Vec::new());
    for (number, (month, change)) in known.iter().enumerate() {
        let middle = slot * (number as f64 + 0.5);
        let (top, bottom) = (y(change.max(0.0)), y(change.min(0.0)));
        let class = if *change < 0.0 { " down" } else { "" };
        marks.push_str(&format!(
            "<rect class=\"bar{class}\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{:.1}\"><title>{}: {}</title></rect>",
            middle - width / 2.0,
            (bottom - top).max(1.0),
            month.month.strftime("%Y-%m"),
            format::signed_percent(*change)
        ));
        let end = if *change < 0.0 { bottom } else { top };
        values.push_str(&format!(
            "<span class=\"v{class}\" aria-hidden=\"true\" style=\"left:{:.2}%;top:{:.2}%\">{}</span>",
            100.0 * middle / WIDTH,
            100.0 * end / HEIGHT,
            rounded(*change)
        ));
        x.push(Label {
            at: middle / WIDTH,
            text: month.month.strftime("%b").to_string(),
        });
    }
    let rows: Vec<Vec<String>> = months
        .iter()
        .rev()
        .map(|month| {
            vec![
                month.month.strftime("%Y-%m").to_string(),
                format::bytes(month.dump_bytes),
                month.archive_bytes.map(format::bytes).unwrap_or_default(),
                month
                    .change_percent
                    .map(format::signed_percent)
                    .unwrap_or_default(),
                format::count(month.backups),
            ]
        })
        .collect();
    let (last, change) = known[known.len() - 1];
    let description = format!(
        "{} The last is {}: {}.",
        format::counted(known.len() as u64, "month"),
        last.month.strftime("%Y-%m"),
        format::signed_percent(change)
    );
    Plot {
        id: &format!("{id}-growth"),
        title: TITLE,
        description: &description,
        legend: "percent, last backup of each month".to_owned(),
        y: Vec::new(),
        x,
        marks,
        values,
        table: folded(
            "Every month",
            &["month", "dump", "archive", "change", "backups"],
            &rows,
        ),
        class: "bars",
    }
    .render()
}

/// A figure that fits above a narrow bar.
fn rounded(change: f64) -> String {
    match change.round() {
        change if change > 0.0 => format!("+{}", format::count(change as u64)),
        change if change < 0.0 => format!("−{}", format::count(-change as u64)),
        _ => "0".to_owned(),
    }
}

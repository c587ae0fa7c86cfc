//! The calendar: a square a day, a small drawing a month. A shape as well as a colour says what a
//! day was.

use super::folded;
use super::plot::{empty, key};
use crate::history::calendar::Day;
use crate::history::series::Series;
use crate::report::format;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};

/// Days that are shown: a year and the month it began in.
const MAX_DAYS: i64 = 400;

/// Of a square and the space beside it.
const STEP: i32 = 16;
const SQUARE: i32 = 13;

const TITLE: &str = "Calendar of backups and drills";

/// The calendar of a cluster.
pub(super) fn section(series: &Series, now: Timestamp, id: &str) -> String {
    let days = series.days(now, MAX_DAYS);
    if days.is_empty() {
        return empty(TITLE, "No run has left anything yet.");
    }
    let months: String = days
        .chunk_by(|a, b| a.date.first_of_month() == b.date.first_of_month())
        .map(|days| month(days, id))
        .collect();
    let look: Vec<Vec<String>> = days
        .iter()
        .rev()
        .filter(|day| is_worth_a_look(day))
        .map(|day| vec![day.date.to_string(), said(day)])
        .collect();
    let table = if look.is_empty() {
        String::from("<p class=\"note\">No gap, no failed run, no drill in this time.</p>\n")
    } else {
        folded("Gaps, failed runs and drills", &["day", "what"], &look)
    };
    let legend = [
        key("<rect class=\"day backup\" width=\"13\" height=\"13\" rx=\"2\"/>", "backup"),
        key(
            "<rect class=\"day backup\" width=\"13\" height=\"13\" rx=\"2\"/><circle class=\"ring\" cx=\"6.5\" cy=\"6.5\" r=\"3\"/>",
            "and drill",
        ),
        key("<rect class=\"day gap\" x=\".7\" y=\".7\" width=\"11.6\" height=\"11.6\" rx=\"2\"/>", "missing"),
        key(
            "<rect class=\"day closed\" x=\".7\" y=\".7\" width=\"11.6\" height=\"11.6\" rx=\"2\"/><path class=\"cross\" d=\"M4,4l5,5m0,-5l-5,5\"/>",
            "failed run",
        ),
        key("<rect class=\"day\" width=\"13\" height=\"13\" rx=\"2\"/>", "none due"),
    ]
    .concat();
    format!(
        "<figure class=\"chart wide\" id=\"{id}-days\"><figcaption><h3>{TITLE}</h3><p class=\"legend\">{legend}</p></figcaption>\n\
         <div class=\"months\">\n{months}</div>\n{table}</figure>\n"
    )
}

fn is_worth_a_look(day: &Day) -> bool {
    day.is_gap || day.failed_gates + day.drills_passed + day.drills_failed > 0
}

fn said(day: &Day) -> String {
    let counts = [
        (day.backups, "backup"),
        (day.failed_gates, "closed gate"),
        (day.drills_passed, "passed drill"),
        (day.drills_failed, "failed drill"),
    ];
    let mut parts: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, noun)| format::counted(count, noun))
        .collect();
    if day.is_gap {
        parts.insert(0, "a backup is missing".to_owned());
    }
    match parts.is_empty() {
        true => "no backup was due".to_owned(),
        false => parts.join(", "),
    }
}

fn month(days: &[Day], id: &str) -> String {
    let Some(first) = days.first().map(|day| day.date.first_of_month()) else {
        return String::new();
    };
    let name = first.strftime("%b %Y").to_string();
    let id = format!("{id}-m{}", first.strftime("%Y%m"));
    let lead = i32::from(first.weekday().to_monday_zero_offset());
    let last = first.last_of_month();
    let rows = (lead + i32::from(last.day()) + 6) / 7;
    // The rest of the month is drawn faintly, or a single day would hang in the air.
    let outside: String = first
        .series(1.day())
        .take_while(|date| *date <= last)
        .filter(|date| !days.iter().any(|day| day.date == *date))
        .map(|date| {
            let (x, y) = place(date, lead);
            format!(
                "<rect class=\"day outside\" x=\"{x}.5\" y=\"{y}.5\" width=\"12\" height=\"12\" rx=\"2\"/>"
            )
        })
        .collect();
    let squares: String = days.iter().map(|day| square(day, lead)).collect();
    let count = |wanted: fn(&Day) -> bool| days.iter().filter(|day| wanted(day)).count() as u64;
    let about = format!(
        "{}, {}, {}, {}",
        format::counted(count(|day| day.backups > 0), "day") + " with a backup",
        format::counted(count(|day| day.is_gap), "day") + " without one that was due",
        format::counted(count(|day| day.failed_gates > 0), "day") + " with a closed gate",
        format::counted(
            count(|day| day.drills_passed + day.drills_failed > 0),
            "day"
        ) + " with a drill",
    );
    format!(
        "<div><p>{name}</p><svg viewBox=\"0 0 {} {}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
         <title id=\"{id}-t\">{name}</title><desc id=\"{id}-d\">{about}</desc>{outside}{squares}</svg></div>\n",
        7 * STEP - (STEP - SQUARE),
        rows * STEP - (STEP - SQUARE),
    )
}

/// Where a day stands; `lead` days of the week are before the first of the month.
fn place(date: Date, lead: i32) -> (i32, i32) {
    let at = lead + i32::from(date.day()) - 1;
    (at % 7 * STEP, at / 7 * STEP)
}

fn square(day: &Day, lead: i32) -> String {
    let (x, y) = place(day.date, lead);
    let failed = day.failed_gates + day.drills_failed > 0;
    let class = match (day.backups > 0, failed, day.is_gap) {
        (true, _, _) => " backup",
        (false, true, _) => " closed",
        (false, false, true) => " gap",
        (false, false, false) => "",
    };
    // An outline lies half outside of its square.
    let (inset, size) = match class {
        " closed" | " gap" => (0.7, f64::from(SQUARE) - 1.4),
        _ => (0.0, f64::from(SQUARE)),
    };
    let mut marks = String::new();
    if failed {
        marks.push_str("<path class=\"cross\" d=\"M4,4l5,5m0,-5l-5,5\"/>");
    } else if day.drills_passed > 0 {
        let alone = if day.backups > 0 { "" } else { " alone" };
        marks.push_str(&format!(
            "<circle class=\"ring{alone}\" cx=\"6.5\" cy=\"6.5\" r=\"3\"/>"
        ));
    }
    let on = if day.backups > 0 { " class=\"on\"" } else { "" };
    format!(
        "<g transform=\"translate({x} {y})\"{on}><title>{}: {}</title><rect class=\"day{class}\" x=\"{inset}\" y=\"{inset}\" width=\"{size}\" height=\"{size}\" rx=\"2\"/>{marks}</g>",
        day.date,
        said(day)
    )
}

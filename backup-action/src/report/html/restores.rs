//! How long the restores of drills took, against how long they may take.

use super::axis::{MAX_MARKS, Span, dates, dot, hit, labels, path};
use super::folded;
use super::plot::{HEIGHT, Plot, WIDTH, clock_steps, empty, key, ticks};
use crate::history::series::{Drill, Series};
use crate::report::format;
use jiff::Timestamp;

/// How long restores took.
pub(super) fn chart(series: &Series, id: &str) -> String {
    const TITLE: &str = "Restore time of drills";
    let drills: Vec<(&Drill, f64)> = series
        .drills
        .iter()
        .filter_map(|drill| Some((drill, drill.restore_seconds.filter(|s| s.is_finite())?)))
        .collect();
    let Some((last, _)) = drills.last() else {
        let why = match series.drills.len() {
            0 => "No drill yet: nobody knows how long a restore takes. Run `backup-action drill`.",
            _ => "No drill came to restoring anything.",
        };
        return empty(TITLE, why);
    };
    let times: Vec<Timestamp> = drills.iter().map(|(drill, _)| drill.finished_at).collect();
    let span = Span::over(&times);
    let target = last.max_restore_seconds;
    let slowest = drills
        .iter()
        .map(|(_, seconds)| *seconds)
        .fold(0.0, f64::max);
    let scale = ticks(slowest.max(target.unwrap_or(0.0)), clock_steps());
    let top = scale.last().copied().unwrap_or(1.0);
    let y = |seconds: f64| HEIGHT * (1.0 - seconds / top);
    let points: Vec<(f64, f64)> = drills
        .iter()
        .map(|(drill, seconds)| (WIDTH * span.at(drill.finished_at), y(*seconds)))
        .collect();
    let mut marks = format!("<path class=\"line\" d=\"{}\"/>", path(&points));
    let mut legend = key("<path class=\"dot\" d=\"M7,7h0\"/>", "passed");
    if let Some(target) = target {
        let y = y(target);
        marks.push_str(&format!("<path class=\"target\" d=\"M0,{y:.1}H{WIDTH}\"/>"));
        let said = format!("at most {}", format::duration(target));
        legend.push_str(&key("<path class=\"target\" d=\"M0,7h14\"/>", &said));
    }
    let mut failed = String::new();
    for (at, (drill, seconds)) in drills.iter().enumerate() {
        if drill.passed {
            if drills.len() <= MAX_MARKS || at + 1 == drills.len() {
                marks.push_str(&dot("", points[at]));
            }
        } else {
            // A shape of its own, for those who do not see the colour.
            failed.push_str(&format!(
                "<span class=\"v cross\" aria-hidden=\"true\" style=\"left:{:.2}%;top:{:.2}%\">✗</span>",
                100.0 * points[at].0 / WIDTH,
                100.0 * points[at].1 / HEIGHT
            ));
        }
        let said = format!(
            "{}: {}, {}",
            format::minute(drill.finished_at),
            format::duration(*seconds),
            outcome(drill)
        );
        marks.push_str(&hit(&points, at, &said));
    }
    if !failed.is_empty() {
        legend.push_str("<span class=\"key\"><span class=\"cross\">✗</span>failed</span>");
    }
    let rows: Vec<Vec<String>> = series
        .drills
        .iter()
        .rev()
        .map(|drill| {
            vec![
                format::minute(drill.finished_at),
                outcome(drill).to_owned(),
                drill
                    .restore_seconds
                    .map(format::duration)
                    .unwrap_or_default(),
                format::bytes(drill.dump_bytes),
            ]
        })
        .collect();
    let seconds = drills[drills.len() - 1].1;
    let description = format!(
        "{}; the last restored in {} and {}.",
        format::counted(drills.len() as u64, "drill"),
        format::duration(seconds),
        outcome(last)
    );
    Plot {
        id: &format!("{id}-restores"),
        title: TITLE,
        description: &description,
        legend,
        y: labels(&scale, top, clock),
        x: dates(&times),
        marks,
        values: failed,
        table: folded("Every drill", &["ended", "", "restore", "dump"], &rows),
        class: "",
    }
    .render()
}

fn outcome(drill: &Drill) -> &'static str {
    match drill.passed {
        true => "passed",
        false => "failed",
    }
}

/// A round time, short: `30 s`, `5 min`, `2 h`.
fn clock(seconds: f64) -> String {
    match seconds {
        0.0 => "0".to_owned(),
        s if s >= 3600.0 => format!("{} h", s / 3600.0),
        s if s >= 60.0 => format!("{} min", s / 60.0),
        s => format!("{} s", (s * 100.0).round() / 100.0),
    }
}

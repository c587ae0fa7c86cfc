//! Time along the width of a chart, values along its height, and the marks between them.

use super::plot::{HEIGHT, Label, WIDTH};
use super::text;
use crate::history::series::day;
use jiff::Timestamp;

/// Points that get a mark of their own; more would touch each other.
pub(super) const MAX_MARKS: usize = 40;

/// Positions of times between two ends, as shares of the width.
pub(super) struct Span {
    from: f64,
    seconds: f64,
}

impl Span {
    pub(super) fn over(times: &[Timestamp]) -> Span {
        let second = |time: Option<&Timestamp>| time.map_or(0, |time| time.as_second()) as f64;
        let from = second(times.first());
        Span {
            from,
            seconds: second(times.last()) - from,
        }
    }

    pub(super) fn at(&self, time: Timestamp) -> f64 {
        if self.seconds <= 0.0 {
            // All at once: in the middle.
            return 0.5;
        }
        (time.as_second() as f64 - self.from) / self.seconds
    }
}

/// The first day, the one in the middle, the last.
pub(super) fn dates(times: &[Timestamp]) -> Vec<Label> {
    let (Some(first), Some(last)) = (times.first(), times.last()) else {
        return Vec::new();
    };
    let label = |at: f64, time: Timestamp| Label {
        at,
        text: day(time).to_string(),
    };
    if day(*first) == day(*last) {
        return vec![label(0.5, *first)];
    }
    let middle = (first.as_second() + last.as_second()) / 2;
    let middle = Timestamp::from_second(middle).unwrap_or(*first);
    let mut labels = vec![label(0.0, *first), label(1.0, *last)];
    if day(middle) != day(*first) && day(middle) != day(*last) {
        labels.insert(1, label(0.5, middle));
    }
    labels
}

/// `M0,300 L500,20 L1000,10` through the points.
pub(super) fn path(points: &[(f64, f64)]) -> String {
    let mut out = String::new();
    for (number, (x, y)) in points.iter().enumerate() {
        let letter = if number == 0 { 'M' } else { 'L' };
        out.push_str(&format!("{letter}{x:.1},{y:.1}"));
    }
    out
}

pub(super) fn dot(class: &str, (x, y): (f64, f64)) -> String {
    // A line without length: its round ends stay round however the drawing is stretched.
    format!("<path class=\"dot{class}\" d=\"M{x:.1},{y:.1}h0\"/>")
}

/// The strip of a point that shows its figures when it is pointed at.
pub(super) fn hit(points: &[(f64, f64)], at: usize, said: &str) -> String {
    let middle = |a: usize, b: usize| (points[a].0 + points[b].0) / 2.0;
    let from = if at == 0 { 0.0 } else { middle(at - 1, at) };
    let to = if at + 1 == points.len() {
        WIDTH
    } else {
        middle(at, at + 1)
    };
    format!(
        "<rect class=\"hit\" x=\"{from:.1}\" y=\"0\" width=\"{:.1}\" height=\"{HEIGHT}\"><title>{}</title></rect>",
        (to - from).max(0.0),
        text(said)
    )
}

/// The labels of a scale.
pub(super) fn labels(scale: &[f64], top: f64, text: impl Fn(f64) -> String) -> Vec<Label> {
    scale
        .iter()
        .map(|value| Label {
            at: value / top,
            text: text(*value),
        })
        .collect()
}

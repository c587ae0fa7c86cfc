//! The frame of a chart: a drawing that stretches to the room it gets, with its labels beside it as
//! text, so that they are as large on a phone as anywhere; a title and a description for those who
//! do not see it; and its figures in a table.

use super::{prose, text};

/// The size of the drawing's own coordinates.
pub(super) const WIDTH: f64 = 1000.0;
pub(super) const HEIGHT: f64 = 400.0;

/// A label at a position, as a share of the width or height.
pub(super) struct Label {
    pub(super) at: f64,
    pub(super) text: String,
}

/// A chart without its frame.
pub(super) struct Plot<'a> {
    /// Unique on the page.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    /// What is seen, as a sentence.
    pub(super) description: &'a str,
    /// What the marks mean, as HTML.
    pub(super) legend: String,
    /// Labels of the vertical axis; a line is drawn at each.
    pub(super) y: Vec<Label>,
    pub(super) x: Vec<Label>,
    /// The marks, as SVG.
    pub(super) marks: String,
    /// Labels of marks, as HTML.
    pub(super) values: String,
    /// The table, as HTML.
    pub(super) table: String,
    pub(super) class: &'a str,
}

impl Plot<'_> {
    pub(super) fn render(&self) -> String {
        let mut lines = String::new();
        let mut labels = String::new();
        for label in &self.y {
            let y = HEIGHT * (1.0 - label.at);
            lines.push_str(&format!(
                "<line class=\"gridline\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
            ));
            labels.push_str(&format!(
                "<span class=\"y\" aria-hidden=\"true\" style=\"bottom:{:.2}%\">{}</span>",
                100.0 * label.at,
                text(&label.text)
            ));
        }
        for label in &self.x {
            // At the edges a label stays inside.
            let edge = match label.at {
                at if at <= 0.001 => " first",
                at if at >= 0.999 => " last",
                _ => "",
            };
            labels.push_str(&format!(
                "<span class=\"x{edge}\" aria-hidden=\"true\" style=\"left:{:.2}%\">{}</span>",
                100.0 * label.at,
                text(&label.text)
            ));
        }
        let Self {
            id, class, legend, ..
        } = self;
        format!(
            "<figure class=\"chart {class}\" id=\"{id}\">\n<figcaption><h3>{title}</h3><p class=\"legend\">{legend}</p></figcaption>\n\
             <div class=\"plot\"><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
             <title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{}</desc>{lines}{}</svg>{labels}{}</div>\n{}</figure>\n",
            text(self.description),
            self.marks,
            self.values,
            self.table,
            title = text(self.title),
        )
    }
}

/// An empty chart says why.
pub(super) fn empty(title: &str, why: &str) -> String {
    format!(
        "<div class=\"card\"><h3>{}</h3><p class=\"note\">{}</p></div>\n",
        text(title),
        prose(why)
    )
}

/// Round values from nothing to at least `most`: at most five of them.
pub(super) fn ticks(most: f64, steps: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut steps = steps.skip_while(|step| step * 4.0 < most);
    let step = steps.next().unwrap_or(most).max(f64::MIN_POSITIVE);
    let count = (most / step).ceil().max(1.0) as u32;
    (0..=count.min(4)).map(|i| f64::from(i) * step).collect()
}

/// Steps that are round in decimal: 1, 2, 2.5, 5, 10, ….
pub(super) fn decimal_steps() -> impl Iterator<Item = f64> {
    (0..20).flat_map(|power| [1.0, 2.0, 2.5, 5.0].map(|digit| digit * 10_f64.powi(power)))
}

/// Steps that are round for people who read a clock, in seconds.
pub(super) fn clock_steps() -> impl Iterator<Item = f64> {
    let small = [
        0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0,
        600.0, 900.0, 1800.0,
    ];
    let hours = decimal_steps().map(|hours| hours * 3600.0);
    small.into_iter().chain(hours)
}

/// A small sign for a legend, drawn in a square of 14, with what it means.
pub(super) fn key(sign: &str, meaning: &str) -> String {
    format!(
        "<span class=\"key\"><svg viewBox=\"0 0 14 14\" aria-hidden=\"true\">{sign}</svg>{}</span>",
        text(meaning)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_the_top() {
        assert_eq!(
            ticks(702.0, decimal_steps()),
            [0.0, 200.0, 400.0, 600.0, 800.0]
        );
        assert_eq!(ticks(240.0, decimal_steps()), [0.0, 100.0, 200.0, 300.0]);
        assert_eq!(ticks(581.0, clock_steps()), [0.0, 300.0, 600.0]);
        for most in [0.0, 0.5, 1.0, 4.0, 1e3, 1.8e19] {
            let found = ticks(most, decimal_steps());
            assert!((2..=5).contains(&found.len()), "{most}: {found:?}");
            assert!(found.last().is_some_and(|last| *last >= most), "{most}");
        }
    }
}

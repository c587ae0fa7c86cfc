//! Progress while a command runs: one live line on a terminal, one line every 30 s elsewhere.

use super::Context;
use crate::pipeline::progress::{Progress, Snapshot};
use crate::report::{escape, format, log_lines};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Nothing is shown of what takes less.
const PATIENCE: Duration = Duration::from_secs(2);

/// A line in a log.
const LOG_EVERY: Duration = Duration::from_secs(30);

/// Shows progress until it is told to end.
pub(crate) struct Display {
    task: JoinHandle<()>,
    bar: Option<ProgressBar>,
}

impl Display {
    /// Starts to show the progress of `command` on standard error.
    pub(crate) fn start(context: &Context, command: &str) -> Display {
        let progress = Arc::clone(&context.progress);
        if !std::io::stderr().is_terminal() {
            if let Some(line) = log_lines::begun(command, context.config.dry_run, Timestamp::now())
            {
                super::say(&line);
            }
            return Display {
                task: tokio::spawn(log(progress)),
                bar: None,
            };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("  {spinner} {wide_msg}") {
            bar.set_style(style);
        }
        Display {
            task: tokio::spawn(live(progress, bar.clone())),
            bar: Some(bar),
        }
    }

    /// Clears the live line.
    pub(crate) fn end(self) {
        self.task.abort();
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

async fn live(progress: Arc<Progress>, bar: ProgressBar) {
    let mut meter = Meter::new(&progress.snapshot());
    tokio::time::sleep(PATIENCE).await;
    loop {
        let line = meter.line(&progress.snapshot());
        bar.set_message(line);
        bar.tick();
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

async fn log(progress: Arc<Progress>) {
    let mut meter = Meter::new(&progress.snapshot());
    loop {
        tokio::time::sleep(LOG_EVERY).await;
        super::say(&format!("  … {}\n", meter.line(&progress.snapshot())));
    }
}

/// Turns counters into a line with a speed.
struct Meter {
    step: &'static str,
    since: Instant,
}

impl Meter {
    fn new(snapshot: &Snapshot) -> Meter {
        Meter {
            step: snapshot.step.name(),
            since: Instant::now(),
        }
    }

    fn line(&mut self, now: &Snapshot) -> String {
        if self.step != now.step.name() {
            *self = Meter::new(now);
        }
        let seconds = self.since.elapsed().as_secs_f64();
        let mut parts = vec![format!("{:<9}", self.step)];
        if now.done_bytes > 0 {
            parts.push(format::bytes(now.done_bytes));
            parts.extend(format::rate(now.done_bytes, seconds));
        }
        if !now.place.is_empty() {
            parts.push(escape::terminal(&escape::shorten(&now.place, 60)));
        }
        if let Some(left) = seconds_left(now, seconds) {
            parts.push(format!("about {} left", format::duration(left)));
        }
        parts.join(" · ")
    }
}

fn seconds_left(now: &Snapshot, seconds: f64) -> Option<f64> {
    // The first bytes say little about the speed of the rest; earlier runs say more.
    if let Some(expected) = now.expected
        && now.done_bytes < now.total_bytes / 5
    {
        let left = expected.as_secs_f64() - seconds;
        return (left > 0.0).then_some(left);
    }
    if now.done_bytes == 0 || now.total_bytes <= now.done_bytes || seconds < 1.0 {
        return None;
    }
    Some((now.total_bytes - now.done_bytes) as f64 / (now.done_bytes as f64 / seconds))
}

//! The very end of a judged command: a gate or drill that failed leaves its receipt, and whoever
//! wants to know is told. All of it best effort: what goes wrong here is a warning, and never changes the
//! verdict or the exit code.

use super::receipts;
use super::signals::interrupted;
use super::{Context, answer, say, trouble};
use crate::check::Outcome;
use crate::notify::{self, News, Told};
use crate::receipt::Kind;
use crate::report::alert::{self, Alert, Occasion};
use crate::report::words::{self, Ending};
use crate::report::{Report, escape, json};
use std::time::{Duration, Instant};

/// How long a store may take to keep a receipt, or to say how earlier runs ended.
const STORE_LIMIT: Duration = Duration::from_secs(5);

/// GitHub kills 7.5 s after its first signal; some of that went into taking back.
const AFTER_SIGNAL: Duration = Duration::from_millis(6_500);

/// A run that was interrupted tells no longer than this.
const INTERRUPTED_LIMIT: Duration = Duration::from_secs(4);

/// Keeps the receipt of a gate or drill that failed, and tells. `own_receipt` is the key of the receipt of
/// this run, `signalled` when it was interrupted.
pub(super) async fn tell(
    context: &Context,
    report: &Report,
    own_receipt: Option<&str>,
    signalled: Option<Instant>,
) {
    // A dry run is somebody looking.
    if report.dry_run {
        return;
    }
    let now = Instant::now();
    let deadline = match signalled {
        None => now + notify::DEADLINE,
        Some(at) => (at + AFTER_SIGNAL).min(now + INTERRUPTED_LIMIT),
    };
    let work = async {
        let ((), told) = tokio::join!(
            keep_failed_receipt(context, report, own_receipt),
            send(context, report, own_receipt, deadline)
        );
        told
    };
    // The first signal ended the run; one more ends the telling.
    let told = tokio::select! {
        told = work => told,
        signal = interrupted() => Err(anyhow::anyhow!(
            "nobody may have been told: interrupted by {}", signal.name
        )),
    };
    match told {
        Ok(told) => told.iter().for_each(|told| show(context, told)),
        Err(error) => answer::warn(context.runner.as_ref(), &error),
    }
}

async fn send(
    context: &Context,
    report: &Report,
    own_receipt: Option<&str>,
    deadline: Instant,
) -> anyhow::Result<Vec<Told>> {
    let config = &context.config.notify;
    let ending = Ending::of(report);
    let alert = match config.tells_anybody() {
        true => occasion(context, report, own_receipt)
            .await
            .map(|occasion| Alert::new(report, occasion)),
        false => None,
    };
    let is_alive = ending == Ending::Passed
        && config.heartbeat.is_some()
        // A prune or a look at old backups every day must not hide that no gate has run for weeks.
        && leaves_receipts(report).is_some();
    if alert.is_none() && !is_alive {
        return Ok(Vec::new());
    }
    let news = News {
        alert: alert.as_ref(),
        report: &json::render(&alert::without_answers(report))?,
        is_alive,
        now: report.finished_at,
    };
    notify::tell(config, &news, deadline).await
}

/// Why somebody is told; none when nobody is.
async fn occasion(
    context: &Context,
    report: &Report,
    own_receipt: Option<&str>,
) -> Option<Occasion> {
    let on = context.config.notify.on;
    match Ending::of(report) {
        Ending::Failed | Ending::Error | Ending::Interrupted => {
            return on.failure.then_some(Occasion::Failure);
        }
        // Nothing was written, so nothing is said.
        Ending::DryRun => return None,
        Ending::Passed => {}
    }
    if on.recovery
        && let Some(kind) = leaves_receipts(report)
    {
        let looked = trouble::before(&context.config, kind, report, own_receipt);
        match tokio::time::timeout(STORE_LIMIT, looked).await {
            Ok(Ok(Some(trouble))) => return Some(Occasion::Recovery(trouble)),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => answer::warn(
                context.runner.as_ref(),
                &error.context("could not find out how earlier runs ended"),
            ),
            Err(_) => answer::warn(
                context.runner.as_ref(),
                &anyhow::anyhow!(
                    "could not find out how earlier runs ended within {} s",
                    STORE_LIMIT.as_secs()
                ),
            ),
        }
    }
    let has_warnings = words::with(report, Outcome::Warned).next().is_some();
    if has_warnings && on.warning {
        return Some(Occasion::Warning);
    }
    on.success.then_some(Occasion::Success)
}

/// The kind of the receipts by which a later run knows how this one ended. A drill that restored
/// nothing, or no rows, ends no trouble, and is no sign of life.
fn leaves_receipts(report: &Report) -> Option<Kind> {
    match report.command.as_str() {
        "gate" => Some(Kind::Gate),
        "drill" if report.restored.is_some() && !words::is_schema_only(report) => Some(Kind::Drill),
        _ => None,
    }
}

async fn keep_failed_receipt(context: &Context, report: &Report, own_receipt: Option<&str>) {
    let kind = match report.command.as_str() {
        "gate" => Kind::Gate,
        "drill" => Kind::Drill,
        _ => return,
    };
    let config = &context.config;
    let has_store = config.local.is_some() || config.remote.is_some();
    let has_failed = matches!(report.exit_code, 1 | 3) && report.interrupted_by.is_none();
    // A drill that came to its end has left one already.
    let is_kept = own_receipt.is_some_and(|key| key.contains("Z_failed"));
    if !has_failed || !has_store || is_kept {
        return;
    }
    let stored = receipts::store_failed(config, kind, report);
    let messages = match tokio::time::timeout(STORE_LIMIT, stored).await {
        Ok(messages) => messages,
        Err(_) => vec![format!("no answer within {} s", STORE_LIMIT.as_secs())],
    };
    for message in messages {
        // The run failed for its own reason, which is mostly the same.
        say(&format!(
            "warning: no receipt of this failure was kept: {}\n",
            escape::terminal(&message)
        ));
    }
}

/// One line for each channel on standard error; what failed is also an annotation.
fn show(context: &Context, told: &Told) {
    let name = told.channel.name();
    match &told.result {
        Ok(answer) => say(&format!(
            "told: {name} ({}): {}\n",
            escape::terminal(&told.to),
            escape::terminal(answer)
        )),
        Err(why) => answer::warn(
            context.runner.as_ref(),
            &anyhow::anyhow!(
                "could not tell {name} ({}) after {}: {why}",
                told.to,
                crate::report::format::counted(u64::from(told.attempts), "attempt")
            ),
        ),
    }
}

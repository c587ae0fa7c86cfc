//! What the job summary says about sizes over time.

use super::folds::{code, details};
use super::{Report, format, growth_words};
use crate::history::{Amount, Delta};

/// ` · **+1.2 %** since yesterday`, for the row of the size.
pub(super) fn changes(report: &Report) -> String {
    growth_words::growth(report)
        .into_iter()
        .map(|(change, since)| format!(" · **{change}** {since}"))
        .collect()
}

/// The last sizes as bars.
pub(super) fn sizes(report: &Report) -> String {
    match growth_words::sizes(report) {
        None => String::new(),
        Some((count, bars)) => format!("Sizes of the dump, last {count}: {bars}\n"),
    }
}

/// The schemas that moved most.
pub(super) fn movers(report: &Report) -> String {
    let Some(history) = &report.history else {
        return String::new();
    };
    let Some(baseline) = history
        .baseline
        .as_ref()
        .filter(|_| !history.movers.is_empty())
    else {
        return String::new();
    };
    let mut out = format!(
        "Compared with {} of {}.\n\n| schema | database | then | now | change | |\n|---|---|--:|--:|--:|--:|\n",
        code(&baseline.key),
        format::minute(baseline.started_at)
    );
    for mover in &history.movers {
        out.push_str(&row(mover));
    }
    let more = history
        .moved_schemas
        .saturating_sub(history.movers.len() as u64);
    out.push_str(&format!(
        "\n{} more changed, {} did not.\n",
        format::count(more),
        format::count(history.unchanged_schemas)
    ));
    details("Schemas that changed most, new, gone", &out)
}

fn row(mover: &Delta) -> String {
    let size = |amount: Option<Amount>| match amount {
        Some(amount) => format::bytes(amount.bytes),
        None => String::new(),
    };
    let change = match (mover.before, mover.now) {
        (Some(before), Some(now)) => format::change_percent(before.bytes, now.bytes),
        (None, _) => "new".to_owned(),
        (_, None) => "gone".to_owned(),
    };
    let name = mover.schema.as_ref().unwrap_or(&mover.database);
    format!(
        "| {} | {} | {} | {} | **{}** | {change} |\n",
        code(&name.to_lossy()),
        code(&mover.database.to_lossy()),
        size(mover.before),
        size(mover.now),
        format::signed_bytes(mover.bytes())
    )
}

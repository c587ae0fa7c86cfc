//! `history`: sizes over time, growth, restore times and failed runs, from manifests and receipts
//! alone.

use super::page::Past;
use super::{Context, ExitStatus, answer, past, print, say, stores};
use crate::config::OutputFormat;
use crate::error::Explained;
use crate::history::series::{History, NotCounted};
use crate::report::{escape, history_json, history_text};
use jiff::Timestamp;

/// Runs the command.
///
/// # Errors
/// A store cannot be opened or read, the page cannot be written, or no backup holds what was named.
pub(crate) async fn run(context: &Context) -> anyhow::Result<ExitStatus> {
    let config = &context.config;
    let now = Timestamp::now();
    let stores = stores::open(config).await?;
    let mut history = past::history(&stores, config.history.since.before(now)).await?;
    narrow(context, &mut history)?;
    match config.output {
        OutputFormat::Json => print(&history_json::render(&history)?)?,
        OutputFormat::Text => print(&history_text::render(&history))?,
    }
    for NotCounted { place, reason } in &history.not_counted {
        let place = escape::terminal(place);
        say(&format!(
            "warning: {place} is not counted: {}\n",
            escape::terminal(reason)
        ));
    }
    if let Some(path) = &config.history.html {
        let past = Past { now, history };
        answer::write(path, &past.page(None))?;
    }
    Ok(ExitStatus::PASSED)
}

/// Keeps what `--database` and `--schema` name.
fn narrow(context: &Context, history: &mut History) -> anyhow::Result<()> {
    let (database, schema) = (&context.config.database, &context.config.schema);
    if database.is_none() && schema.is_none() {
        return Ok(());
    }
    let had_backups = history.series.iter().any(|one| !one.backups.is_empty());
    for series in &mut history.series {
        series.narrow(database.as_deref(), schema.as_deref());
    }
    history.series.retain(|series| !series.backups.is_empty());
    if had_backups && history.series.is_empty() {
        let wanted = match (database, schema) {
            (Some(database), Some(schema)) => format!("schema {schema} of database {database}"),
            (Some(name), None) => format!("database {name}"),
            (None, Some(name)) => format!("schema {name}"),
            (None, None) => String::new(),
        };
        return Err(Explained::new(
            format!("no backup of that time holds {wanted}"),
            "Run `backup-action show` to see what is in a backup, or look further back with --since.",
        )
        .into());
    }
    Ok(())
}

//! `history`: sizes over time, growth, restore times and failed runs, from manifests and receipts
//! alone; and the HTML page of it, which gate and drill leave as well.

use super::journal::TOOL;
use super::{Context, ExitStatus, answer, past, print, say, stores};
use crate::config::OutputFormat;
use crate::error::{self, Explained};
use crate::history::series::{History, Identity, NotCounted};
use crate::report::html::{self, Page};
use crate::report::{Report, escape, history_json, history_text};
use jiff::Timestamp;
use std::time::Duration;

/// How long the page of a run may wait for the stores: it is worth no more.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// What a page shows besides a run.
pub(crate) struct Past {
    now: Timestamp,
    history: History,
}

impl Past {
    /// The page, of a run when there was one.
    pub(crate) fn page(&self, run: Option<&Report>) -> String {
        html::render(&Page {
            now: self.now,
            tool: TOOL,
            run,
            history: &self.history,
        })
    }
}

/// The past of the cluster of a gate or drill that has ended. Trouble with it is said on the page,
/// and changes nothing else.
pub(crate) async fn past(context: &Context, report: &Report, status: ExitStatus) -> Past {
    let now = Timestamp::now();
    // Where a store gave no answer, asking again would only keep everybody waiting.
    let read = match status {
        ExitStatus::PASSED | ExitStatus::FAILED => {
            let since = context.config.history.since.before(now);
            let reading = async {
                let stores = stores::open(&context.config).await?;
                past::history(&stores, since).await
            };
            tokio::time::timeout(PATIENCE, reading)
                .await
                .unwrap_or_else(|_| Err(anyhow::anyhow!("the stores took too long to answer")))
        }
        _ => Ok(History::default()),
    };
    let mut history = read.unwrap_or_else(|error| History {
        not_counted: vec![NotCounted {
            place: "the past".to_owned(),
            reason: error::one_line(&error),
        }],
        ..History::default()
    });
    let source = report.source.as_ref();
    let identifier = source.and_then(|source| source.system_identifier.as_deref());
    let identity = Identity::of(&report.cluster, identifier);
    history.series.retain(|series| {
        series.identity == identity || (identifier.is_none() && series.cluster == report.cluster)
    });
    Past { now, history }
}

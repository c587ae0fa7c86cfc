//! The HTML page: of `history`, and the one that a gate or drill leaves with its verdict on top.

use super::journal::TOOL;
use super::signals::interrupted;
use super::{Context, ExitStatus, past, stores};
use crate::error;
use crate::history::series::{History, Identity, NotCounted};
use crate::report::Report;
use crate::report::html::{self, Page};
use jiff::Timestamp;
use std::time::Duration;

/// How long the page of a run may wait for the stores: it is worth no more.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a page shows besides a run.
pub(crate) struct Past {
    pub(crate) now: Timestamp,
    pub(crate) history: History,
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
            // The verdict is known already; whoever ends the run now still gets it.
            tokio::select! {
                read = reading => read,
                () = tokio::time::sleep(PATIENCE) => {
                    Err(anyhow::anyhow!("the stores took too long to answer"))
                }
                signal = interrupted() => Err(anyhow::anyhow!("{} came first", signal.name)),
            }
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

//! `drill`: a backup → a throw-away cluster → restore → proof → questions → receipt. Reads like
//! the runbook; production is not touched.

mod questions;
mod ready;
mod verdicts;

use super::journal::Journal;
use super::source::{self, Source};
use super::{Context, receipts, stores};
use crate::archive::index::{Index, Name, kind};
use crate::check::{Check, CheckId};
use crate::config::{Config, OncePer};
use crate::pipeline::cleanup::Undo;
use crate::pipeline::inspect;
use crate::postgres::dump::{self, DumpOptions};
use crate::postgres::throwaway::{self, Throwaway, Wanted};
use crate::process::Running;
use crate::report::words::Step;
use anyhow::Context as _;
use std::time::Instant;

/// Where pg_dumpall starts from; every cluster of ours has it.
const MAINTENANCE: &str = "postgres";

/// Runs the drill; the answers are in the journal.
///
/// # Errors
/// What is neither a check answered no nor one that could not be asked: usage, a backup that
/// cannot be found, an engine that does not start, and trouble of ours.
pub(crate) async fn run(context: &Context, journal: &mut Journal) -> anyhow::Result<()> {
    let config = &context.config;
    let stores = source::stores(config).await?;
    if let Some(check) = passed_already(config, &stores).await? {
        journal.required = vec![CheckId::DrillFresh];
        journal.check(check);
        return Ok(());
    }
    journal.required = required(config, &stores);
    sweep(config, journal).await;

    let source = source::open(context, &stores).await?;
    source.describe(journal);

    let begun = Instant::now();
    context.progress.begin(Step::Preflight, 0);
    let cluster = start(context, &source).await?;
    let ticket = context.cleanup.add(Undo::Cluster(cluster.remover()));
    journal.took(Step::Preflight, begun);

    replay_and_prove(context, journal, &source, &cluster).await?;

    match cluster.stop().await {
        Ok(()) => {
            context.cleanup.disarm(ticket);
            journal.check(Check::passed(CheckId::DrillCleaned, "nothing is left"));
        }
        Err(error) => journal.check(Check::no(
            CheckId::DrillCleaned,
            config.severities.of(CheckId::DrillCleaned),
            crate::error::one_line(&error),
            "The next drill tries again.",
        )),
    }
    receipts::store_drill(context, journal, &stores).await;
    Ok(())
}

//! The order of a restore: globals, then each database: before data, data, keys, after data.

use super::copy;
use super::facts::Facts;
use super::keys;
use super::plan::{DatabasePlan, Phase};
use super::script::{self, Place};
use super::settings::Settings;
use super::work::{Load, Loaded, Work};
use crate::pipeline::progress::Progress;
use crate::report::words::Step;
use anyhow::Context;
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;

/// Replays the plan into the server. Dropping the future ends every session at once.
///
/// # Errors
/// The first failure with the object's name, when failures stop the restore; always: an archive that
/// differs from its index, a store or server that does not answer, a psql that is too old.
pub async fn load(load: Load, progress: &Arc<Progress>) -> anyhow::Result<Loaded> {
    let work = Work::new(load, progress);
    progress.begin(Step::Restore, work.dump_bytes());
    let globals = &work.load.plan.globals;
    if !globals.is_empty() {
        let begun = Instant::now();
        let settings = Settings::read(&work.source, None, globals).await?;
        let place = Place {
            work: Arc::clone(&work),
            database: work.load.maintenance.clone(),
            settings,
            fresh: Arc::default(),
        };
        script::run(&place, globals, |_, _| {}).await?;
        work.took(Phase::Globals, begun);
    }
    for plan in &work.load.plan.databases {
        database(&work, plan).await?;
    }
    Ok(work.loaded())
}

async fn database(work: &Arc<Work>, plan: &DatabasePlan) -> anyhow::Result<()> {
    let begun = Instant::now();
    let place = place(work, plan).await?;
    let maintenance = Place {
        database: work.load.maintenance.clone(),
        ..place.clone()
    };
    script::run(&maintenance, &plan.create, |_, _| {}).await?;
    // Without the database there is nothing to connect to; its own failure says why.
    if work.failed_any(&plan.create) {
        return Ok(());
    }
    let mut facts = Facts::default();
    for connection in &plan.before_data {
        script::run(&place, connection, |number, statement| {
            let entry = work.entry(number);
            match work.load.replace.contains_key(&number) {
                true => facts.distrust(entry),
                false => facts.learn(entry, statement),
            }
        })
        .await?;
    }
    work.took(Phase::BeforeData, begun);

    let begun = Instant::now();
    let place = Place {
        fresh: fresh(work, plan, &facts),
        ..place
    };
    for stage in facts.stages(work.index(), &plan.data) {
        let batches = copy::batches(work, &stage);
        side_by_side(work, batches, |tables| {
            let place = place.clone();
            async move { copy::run(&place, &tables).await }
        })
        .await?;
    }
    work.took(Phase::Data, begun);

    let begun = Instant::now();
    let keys = keys::sort(&place, &facts, &plan.keys, &plan.data).await?;
    side_by_side(work, keys.batches, |entries| {
        let place = place.clone();
        async move { script::run(&place, &entries, |_, _| {}).await }
    })
    .await?;
    work.took(Phase::Keys, begun);

    let begun = Instant::now();
    let mut rest = [plan.after_data.as_slice(), &keys.rest].concat();
    rest.sort_unstable();
    script::run(&place, &rest, |_, _| {}).await?;
    work.took(Phase::AfterData, begun);
    Ok(())
}

/// Tables that nobody but this restore can have put rows into.
fn fresh(work: &Work, plan: &DatabasePlan, facts: &Facts) -> Arc<BTreeSet<usize>> {
    let is_new = work.load.little_wal && !plan.create.is_empty();
    let tables = plan.data.iter().copied();
    let plain = tables.filter(|table| is_new && facts.is_plain_table(work.entry(*table)));
    Arc::new(plain.collect())
}

/// Where the entries of a database run.
pub(super) async fn place(work: &Arc<Work>, plan: &DatabasePlan) -> anyhow::Result<Place> {
    let entries = plan.entries();
    let settings = Settings::read(&work.source, Some(&plan.database), &entries).await?;
    Ok(Place {
        work: Arc::clone(work),
        database: work.target(&plan.database),
        settings,
        fresh: Arc::default(),
    })
}

/// Runs `items` in order, as many at a time as there are jobs. The first error ends the others.
async fn side_by_side<T, F>(work: &Work, items: Vec<T>, run: impl Fn(T) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut waiting = items.into_iter();
    let mut tasks = JoinSet::new();
    loop {
        while tasks.len() < work.load.jobs.max(1)
            && let Some(item) = waiting.next()
        {
            tasks.spawn(run(item));
        }
        match tasks.join_next().await {
            Some(result) => result.context("a task of the restore panicked")??,
            None => return Ok(()),
        }
    }
}

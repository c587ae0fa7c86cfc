//! `drill`: a backup → a throw-away cluster → restore → proof → questions → receipt. Reads like
//! the runbook; production is not touched.

mod adapt;
mod questions;
mod ready;
mod verdicts;

use super::journal::Journal;
use super::source::{self, Source};
use super::{Context, proving, receipts, stores};
use crate::archive::index::{Index, Name, kind};
use crate::archive::validate::Damaged;
use crate::check::{Check, CheckId};
use crate::config::{Config, OncePer};
use crate::pipeline::cleanup::{Undo, Work};
use crate::pipeline::inspect::Inspected;
use crate::postgres::dump::DumpOptions;
use crate::postgres::throwaway::{self, Throwaway, Wanted};
use crate::proof::{self, Proof};
use crate::receipt::Kind;
use crate::report::restored::Restored;
use crate::report::words::Step;
use crate::report::{Report, format};
use crate::restore::plan::{self, Scope};
use crate::restore::{self, Archive, Load, Loaded, OnFailure};
use crate::store::Store;
use adapt::Adapted;
use jiff::tz::Offset;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long the start of the cluster may take, the image included.
const START_DEADLINE: Duration = Duration::from_secs(15 * 60);

/// How long its removal may take after a signal.
const REMOVAL_LIMIT: Duration = Duration::from_secs(6);

/// Where psql and pg_dumpall start from; every cluster has it.
fn maintenance() -> Name {
    Name::from("postgres")
}

/// Runs the drill; the answers are in the journal.
///
/// # Errors
/// What is neither a check answered no nor one that could not be asked: usage, a backup that
/// cannot be found, an engine that does not start, and trouble of ours.
pub(crate) async fn run(context: &Context, journal: &mut Journal) -> anyhow::Result<()> {
    let config = &context.config;
    let stores = stores(config).await?;
    sweep(config, journal).await;
    journal.required = required(config, !stores.is_empty());
    let Some(source) = source::resolve(context, journal).await? else {
        receipts::store(context, journal, &stores, Kind::Drill).await;
        return Ok(());
    };
    if let Some(check) = passed_already(config, &stores, &source, journal).await? {
        journal.required = vec![CheckId::ArchiveIntact, CheckId::DrillFresh];
        journal.check(check);
        return Ok(());
    }
    trend(journal, &stores, &source).await;
    if let Some(expected) = receipts::expected(&journal.trend, source.index.dump_bytes) {
        context.progress.expect(Step::Restore, expected);
    }

    match drill(context, journal, &source).await {
        Ok(()) => {}
        Err(error) if Damaged::is_cause_of(&error) => {
            source::damaged(context, journal, &source, &crate::error::one_line(&error)).await;
        }
        Err(error) => return Err(error),
    }
    receipts::store(context, journal, &stores, Kind::Drill).await;
    Ok(())
}

/// From the cluster's start to its end.
async fn drill(context: &Context, journal: &mut Journal, source: &Source) -> anyhow::Result<()> {
    let config = &context.config;
    let begun = Instant::now();
    context.progress.begin(Step::Preflight, 0);
    let cluster = start(config, source).await?;
    let remover = cluster.remover();
    let ticket = context.cleanup.add(Undo::Work(Work {
        what: "remove the throw-away cluster".to_owned(),
        limit: REMOVAL_LIMIT,
        run: Box::new(move || Box::pin(async move { remover.remove().await })),
    }));
    journal.restored = Some(describe(config, &cluster));
    journal.took(Step::Preflight, begun);

    replay_and_prove(context, journal, source, &cluster).await?;

    match cluster.stop().await {
        Ok(()) => {
            context.cleanup.disarm(ticket);
            journal.check(Check::passed(CheckId::DrillCleaned, "nothing is left"));
        }
        Err(error) => journal.check(Check::no(
            CheckId::DrillCleaned,
            config.severities.of(CheckId::DrillCleaned),
            crate::error::one_line(&error),
            "The next drill on this machine tries again.",
        )),
    }
    Ok(())
}

/// The stores that keep the receipt; none when a file is drilled and no store is named.
async fn stores(config: &Config) -> anyhow::Result<Vec<Store>> {
    match (&config.local, &config.remote) {
        (None, None) => Ok(Vec::new()),
        _ => stores::open(config).await,
    }
}

/// With `--once-per`: the answer that a drill of this cluster passed recently enough, so that none
/// is needed. A backup that was named is drilled unless that very backup was.
async fn passed_already(
    config: &Config,
    stores: &[Store],
    source: &Source,
    journal: &Journal,
) -> anyhow::Result<Option<Check>> {
    let Some(once_per) = config.drill.once_per else {
        return Ok(None);
    };
    let now = journal.started_at;
    let is_wanted = |report: &Report| {
        // A matrix over images drills each of them.
        let restored = report.restored.as_ref();
        let image = restored.and_then(|restored| restored.target.image.as_ref());
        let is_same_image = config.drill.image.is_none() || config.drill.image.as_ref() == image;
        let digest = report.archive.as_ref().map(|a| a.archive_sha256);
        let is_same_backup =
            config.backup == "latest" || digest == Some(source.index.archive_sha256);
        is_same_image && is_same_backup
    };
    let cluster = cluster(source);
    let drills = receipts::newest_passed_drill(stores, cluster, now, is_wanted).await?;
    let Some(found) = drills.newest else {
        return Ok(None);
    };
    let report = found.receipt.report();
    let day = |time| Offset::UTC.to_datetime(time).date();
    let (passed, today) = (day(report.finished_at), day(now));
    let age = now.duration_since(report.finished_at).as_secs();
    let is_recent = match once_per {
        OncePer::Month => (passed.year(), passed.month()) == (today.year(), today.month()),
        OncePer::Time(time) => age >= 0 && age.unsigned_abs() < time.as_secs(),
    };
    Ok(is_recent.then(|| {
        Check::passed(
            CheckId::DrillFresh,
            format!("not repeated: passed {}: {}", format::old(age), found.key),
        )
    }))
}

/// The cluster that the backup is of, as its manifest says.
fn cluster(source: &Source) -> Option<&crate::manifest::Source> {
    source.manifest.as_ref().map(|manifest| &manifest.source)
}

/// The restore times of earlier drills.
async fn trend(journal: &mut Journal, stores: &[Store], source: &Source) {
    match receipts::trend(stores, cluster(source)).await {
        Ok((past, unreadable)) => {
            journal.trend = past;
            journal.notes.extend(unreadable);
        }
        Err(error) => journal.notes.push(format!(
            "earlier drills could not be listed: {}",
            crate::error::one_line(&error)
        )),
    }
}

fn required(config: &Config, stored: bool) -> Vec<CheckId> {
    let mut required = vec![
        CheckId::ArchiveIntact,
        CheckId::TargetReady,
        CheckId::RestoreComplete,
        CheckId::RoundTrip,
        CheckId::DrillNotEmpty,
        CheckId::DrillCleaned,
    ];
    if config.drill.max_restore_time.is_some() {
        required.push(CheckId::RestoreTime);
    }
    if !config.drill.questions.is_empty() && !config.drill.schema_only {
        required.push(CheckId::Questions);
    }
    if stored {
        required.push(CheckId::ReceiptStored);
    }
    required
}

/// Removes what drills left that were killed.
async fn sweep(config: &Config, journal: &mut Journal) {
    let swept = throwaway::sweep(config.drill.dir.as_deref()).await;
    let removed = swept
        .removed
        .iter()
        .map(|what| format!("left by an earlier drill that was killed: {what}"));
    journal.notes.extend(removed);
    journal.notes.extend(swept.left);
}

async fn start(config: &Config, source: &Source) -> anyhow::Result<Throwaway> {
    let major = source.server_major().ok_or_else(|| {
        crate::error::Explained::new(
            format!("{} does not say which version it was made by", source.place),
            "Drill a backup that has its manifest, or a dump whose comments were kept.",
        )
    })?;
    let archive = source.archive();
    Throwaway::start(Wanted {
        engine: config.drill.engine,
        major,
        image: config.drill.image.clone(),
        pg_bin_dir: config.pg_bin_dir.clone(),
        base_dir: config.drill.dir.clone(),
        bootstrap: adapt::bootstrap(source),
        encoding: adapt::template_encoding(&archive).await?,
        jobs: config.jobs,
        tables: most_tables(&source.index),
        deadline: START_DEADLINE.min(config.timeout),
    })
    .await
}

/// Tables of the database that has most of them.
fn most_tables(index: &Index) -> u64 {
    let mut tables: BTreeMap<Option<&Name>, u64> = BTreeMap::new();
    for entry in &index.entries {
        if matches!(&*entry.kind, "TABLE" | "FOREIGN TABLE" | kind::TABLE_DATA) {
            *tables.entry(entry.database.as_ref()).or_default() += 1;
        }
    }
    tables.into_values().max().unwrap_or(0)
}

fn describe(config: &Config, cluster: &Throwaway) -> Restored {
    Restored {
        scope: "the whole cluster".to_owned(),
        target: verdicts::target(cluster, config.drill.image.as_deref()),
        schema_only: config.drill.schema_only,
        max_restore_seconds: config.drill.max_restore_time.map(|time| time.as_secs_f64()),
        tools: vec![
            format!("psql {}", cluster.tools.version),
            format!("pg_dumpall {}", cluster.tools.version),
        ],
        ..Restored::default()
    }
}

/// From the archive to the answers. A check that was answered no ends it early.
async fn replay_and_prove(
    context: &Context,
    journal: &mut Journal,
    source: &Source,
    cluster: &Throwaway,
) -> anyhow::Result<()> {
    let config = &context.config;
    let archive = source.archive();
    let ready = ready::check(&archive, source, cluster).await?;
    journal.notes.extend(ready.notes);
    journal.check(ready.check);
    if journal.is_closed() {
        return Ok(());
    }

    let begun = Instant::now();
    let mut adapted = adapt::adapt(&archive, &cluster.bootstrap, config.drill.schema_only).await?;
    let loaded = replay(context, &archive, cluster, &adapted).await;
    journal.took(Step::Restore, begun);
    let loaded = loaded?;

    let begun = Instant::now();
    let restored = dump_again(context, source, cluster).await?;
    adapt::locate(&mut adapted, cluster, &restored.index).await?;
    let proof = prove(&archive, &restored.index, cluster, &adapted, config).await?;
    let collations = ready::collations(source, cluster).await;
    journal.notes.extend(collations);
    verdicts::restored(config, journal, &loaded, proof, &restored, &archive.index);
    if !config.drill.schema_only {
        verdicts::questions(config, journal, cluster).await;
    }
    journal.took(Step::Prove, begun);
    Ok(())
}

async fn replay(
    context: &Context,
    archive: &Archive,
    cluster: &Throwaway,
    adapted: &Adapted,
) -> anyhow::Result<Loaded> {
    let config = &context.config;
    restore::load::load(
        Load {
            archive: archive.clone(),
            plan: plan::plan(&archive.index, &Scope::Cluster)?,
            psql: cluster.psql.clone(),
            maintenance: maintenance(),
            rename: BTreeMap::new(),
            skip: adapted.skip.clone(),
            replace: adapted.replace.clone(),
            jobs: config.jobs,
            on_failure: OnFailure::Continue,
            little_wal: true,
            stall_timeout: config.stall_timeout,
        },
        &context.progress,
    )
    .await
}

/// Dumps the restored cluster as the archived one was, through the same scanner.
async fn dump_again(
    context: &Context,
    source: &Source,
    cluster: &Throwaway,
) -> anyhow::Result<Inspected> {
    let archived = source.manifest.as_ref().map(|manifest| &manifest.source);
    let options = DumpOptions {
        role_passwords: archived.is_none_or(|archived| archived.role_passwords),
        lock_wait_timeout: context.config.lock_wait_timeout,
        extra_args: archived.map_or_else(Vec::new, |archived| archived.pg_dumpall_args.clone()),
    };
    context.progress.begin(Step::Prove, source.index.dump_bytes);
    proving::dump_again(
        context,
        &cluster.psql,
        &cluster.tools.pg_dumpall,
        &maintenance(),
        &options,
    )
    .await
}

async fn prove(
    archive: &Archive,
    restored: &Index,
    cluster: &Throwaway,
    adapted: &Adapted,
    config: &Config,
) -> anyhow::Result<Proof> {
    let context = proof::Context {
        drill_superuser: cluster.superuser.clone(),
        superusers: ready::superusers(cluster).await?,
        replaced: adapted.replaced.clone(),
        scope: proof::Scope::Cluster,
        rows: !config.drill.schema_only,
        renamed: None,
    };
    let mut proof = proof::compare(&archive.index, restored, &context);
    proving::settle(archive, &mut proof).await?;
    Ok(proof)
}

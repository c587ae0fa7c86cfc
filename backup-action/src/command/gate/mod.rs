//! `gate`: preflight → dump → seal → read back → manifest → receipt. Reads like the runbook; the
//! questions it asks are in the files beside this one.

mod before;
mod credentials_lifetime;
mod drill_fresh;
mod names;
mod record;
mod retention_in_time;
mod sizes;
mod stored_checks;
pub(super) mod stream_checks;

use super::journal::Journal;
use super::lock::{self, Asked};
use super::past::Earlier;
use super::{Context, receipts, stores};
use crate::archive::index::Index;
use crate::check::{Check, CheckId, Group};
use crate::manifest::Manifest;
use crate::manifest::{self, DatabaseSummary, Source};
use crate::pipeline::copies::OpenCopy;
use crate::pipeline::pass::Options;
use crate::pipeline::stream;
use crate::postgres::connection::Connection;
use crate::postgres::dump;
use crate::postgres::inventory::{self, Inventory};
use crate::postgres::preflight::{self, Server};
use crate::process::Running;
use crate::receipt::Kind;
use crate::report::words::Step;
use crate::store::{BackupKeys, Store};
use anyhow::Context as _;
use jiff::Timestamp;
use record::Draft;
use retention_in_time::retention_in_time;
use std::time::Instant;

/// Runs the gate; the answers are in the journal.
///
/// # Errors
/// What is neither a check answered no nor one that could not be asked: usage, and trouble of ours.
pub(crate) async fn run(context: &Context, journal: &mut Journal) -> anyhow::Result<()> {
    journal.dry_run = context.config.dry_run;
    journal.required = required_checks(context.config.dry_run);
    let stores = stores::open(&context.config).await?;

    let begun = Instant::now();
    context.progress.begin(Step::Preflight, 0);
    let found = preflight(context, journal, &stores).await?;
    journal.took(Step::Preflight, begun);
    let is_ready = !journal.is_closed() && !context.config.dry_run;
    let Some((server, waited)) = found.filter(|_| is_ready) else {
        return Ok(());
    };
    let Some(keys) = names::free(journal, &stores, waited).await else {
        return Ok(());
    };

    let earlier = sizes::earlier(context, journal, &stores).await;
    if journal.is_closed() {
        return Ok(());
    }
    let begun = Instant::now();
    let streamed = tokio::select! {
        streamed = dump(context, journal, &server, &stores, &keys, earlier.as_ref()) => streamed?,
        // Two dumps at once would only be slower.
        why = lock::loss(context) => {
            lock::lost(context, journal, why);
            None
        }
    };
    journal.took(Step::Dump, begun);
    let Some((streamed, finished_at)) = streamed else {
        return Ok(());
    };
    if !lock::may_seal(context, journal).await {
        return Ok(());
    }

    let begun = Instant::now();
    context.progress.begin(Step::Seal, 0);
    let sealed = streamed.seal(&journal.checks, &context.cleanup).await?;
    journal.took(Step::Seal, begun);

    let begun = Instant::now();
    context.progress.begin(
        Step::ReadBack,
        sealed.index.archive_bytes * sealed.copies.len() as u64,
    );
    let read_back = sealed
        .read_back(
            &keys.archive,
            context.config.verify,
            context.config.jobs,
            &context.progress,
            &context.cleanup,
        )
        .await;
    journal.took(Step::ReadBack, begun);
    stored_checks::stored(journal, &read_back);
    stored_checks::remote_copy(
        journal,
        &read_back,
        &stores,
        context.config.severities.of(CheckId::RemoteCopy),
    );
    if read_back.copies.is_empty() || !lock::still_ours(context, journal).await {
        return Ok(());
    }

    let begun = Instant::now();
    context.progress.begin(Step::Publish, 0);
    let draft = Draft::new(context, journal, &keys, finished_at, read_back.levels_used)?;
    let crc64nvme = read_back.copies[0].crc64nvme.clone();
    let published = read_back
        .publish(
            &keys,
            |index, bytes, sha256| draft.manifest(index, &crc64nvme, bytes, sha256),
            &context.cleanup,
        )
        .await;
    stored_checks::published(journal, published.as_ref(), &keys);
    if let Ok(published) = published {
        journal.archive = Some(published.manifest.archive.clone());
        journal.manifest_key = Some(keys.manifest.to_string());
        let copies = published.copies.iter();
        let copies: Vec<Store> = copies.map(|copy| copy.store.clone()).collect();
        record::recovery_texts(context, journal, &published.manifest, &copies).await;
        // A backup that is there stays there. But a gate that found anything wrong deletes nothing.
        if lock::still_ours(context, journal).await && !journal.is_closed() {
            retention_in_time(context, journal, &copies).await;
        }
        receipts::store(context, journal, &copies, Kind::Gate).await;
    }
    journal.took(Step::Publish, begun);
    Ok(())
}

/// Every check of the gate; those of the preflight when it stops there.
fn required_checks(dry_run: bool) -> Vec<CheckId> {
    CheckId::ALL
        .iter()
        .copied()
        .filter(|id| id.group().is_of_gate())
        .filter(|id| !dry_run || id.group() == Group::Preflight)
        .collect()
}

/// Asks the server and the stores side by side, then for the locks. Returns the server when the dump
/// may start, and whether another run was waited for.
async fn preflight(
    context: &Context,
    journal: &mut Journal,
    stores: &[Store],
) -> anyhow::Result<Option<(Server, bool)>> {
    let config = &context.config;
    let connection =
        Connection::resolve(config.database_url.as_ref(), &|name| std::env::var_os(name))?;
    journal.secrets = connection.secrets();
    super::mask(context, &journal.secrets);
    let reach = &config.reach;
    let (connection, run_as) = reach
        .way
        .open(connection, config.sudo_user.as_deref())
        .await?;
    journal.cluster = config
        .cluster
        .clone()
        .unwrap_or_else(|| connection.describe());
    let options = preflight::PreflightOptions {
        severity: &|id| config.severities.of(id),
        role_passwords: config.role_passwords,
        accepted_unconnectable: &config.accepted_unconnectable,
        pg_bin_dir: config.pg_bin_dir.clone(),
        run_as,
        client: reach.client.clone(),
    };
    let (mut found, probes) = tokio::join!(
        preflight::run(&connection, &options),
        before::probe_stores(stores, &context.cleanup)
    );
    let reachable = before::store_writable(journal, probes);
    let mut waited = false;
    if !journal.is_closed() && !Journal::closes(&found.checks) {
        waited = lock::ask(context, journal, &reachable).await == Asked::GoOn { waited: true };
        if waited {
            // What the server said is as old as the wait was long.
            found = preflight::run(&connection, &options).await;
        }
    }
    journal.checks.splice(0..0, found.checks);
    let outlasting = |last: Option<&Manifest>| {
        let severity = config.severities.of(CheckId::CredentialsLifetime);
        credentials_lifetime::ask(stores, last, config.timeout, severity)
    };
    let Some(server) = found.server else {
        // What still protects matters most when nothing new can be made.
        let last = before::last_good(journal, reachable).await;
        journal.check(outlasting(last.as_ref()));
        return Ok(None);
    };
    journal.server_ahead = Some(server.facts.clock_ahead);
    journal.source = Some(Source {
        cluster: journal.cluster.clone(),
        system_identifier: server.facts.system_identifier.clone(),
        server_version: server.facts.version.clone(),
        client_version: server.tools.version.text.clone(),
        role_passwords: server.facts.role_passwords,
        bootstrap_role: server.facts.bootstrap_role.clone(),
        pg_dumpall_args: config.pg_dumpall_args.clone(),
    });
    drill_fresh::ask(
        journal,
        &reachable,
        config.max_drill_age,
        config.severities.of(CheckId::DrillFresh),
    )
    .await;
    let last = before::last_good(journal, reachable).await;
    journal.check(outlasting(last.as_ref()));
    before::disk_space(
        journal,
        stores,
        last.map(|last| last.archive.archive_bytes),
        server.facts.total_bytes,
        config.severities.of(CheckId::DiskSpace),
    )
    .await;
    Ok(Some((server, waited)))
}

/// Runs pg_dumpall into every store and asks the checks of the stream. Returns the stream when
/// they are all answered yes.
async fn dump(
    context: &Context,
    journal: &mut Journal,
    server: &Server,
    stores: &[Store],
    keys: &BackupKeys,
    earlier: Option<&Earlier>,
) -> anyhow::Result<Option<(stream::Streamed, Timestamp)>> {
    let config = &context.config;
    let before = inventory::inventory(server)
        .await
        .context("could not read the catalogue before the dump")?;
    // A dump is rarely larger than the databases are on disk, and compression only makes it smaller.
    let expected_bytes = server.facts.total_bytes.saturating_mul(2);
    let mut copies = Vec::new();
    for store in stores {
        copies.push(OpenCopy::begin(store, &keys.archive, expected_bytes, &context.cleanup).await?);
    }
    context.progress.begin(Step::Dump, 0);
    let command = dump::dumpall_command(
        server,
        &dump::DumpOptions {
            role_passwords: server.facts.role_passwords,
            lock_wait_timeout: config.lock_wait_timeout,
            extra_args: config.pg_dumpall_args.clone(),
        },
    );
    let (child, stdout) = Running::start(command)?;
    let options = Options {
        level: config.level,
        jobs: config.jobs,
        stall_timeout: config.stall_timeout,
    };
    let streamed = stream::stream(child, stdout, copies, &options, &context.progress).await?;
    let finished_at = Timestamp::now();

    stream_checks::dump_exit(journal, &streamed, &server.psql);
    stream_checks::dump_complete(journal, &streamed);
    let Some(index) = streamed.index.as_ref().filter(|_| !journal.is_closed()) else {
        return Ok(None);
    };
    journal.databases = summarised(index, &before);
    stream_checks::not_empty(
        journal,
        index,
        &config.required_databases,
        &config.required_schemas,
    );
    stream_checks::gzip_stream(journal, index);
    let after = inventory::inventory(server).await;
    check_inventory(journal, index, &before, after);
    sizes::ask(context, journal, index, earlier);
    Ok((!journal.is_closed()).then_some((streamed, finished_at)))
}

/// What is inside, with what only the catalogue knows.
fn summarised(index: &Index, inventory: &Inventory) -> Vec<DatabaseSummary> {
    let mut databases = manifest::summarise(index);
    for database in &mut databases {
        let Some(known) = inventory.databases.get(&database.name) else {
            continue;
        };
        database.collation_version = known.collation_version.clone();
        for extension in &mut database.extensions {
            extension.version = known.extensions.get(&extension.name).cloned();
        }
    }
    databases
}

fn check_inventory(
    journal: &mut Journal,
    index: &Index,
    before: &Inventory,
    after: anyhow::Result<Inventory>,
) {
    let check = match after {
        Ok(after) => stream_checks::inventory(before, &after, index),
        Err(error) => Check::not_checked(
            CheckId::Inventory,
            format!(
                "could not read the catalogue after the dump: {}",
                crate::error::one_line(&error)
            ),
            crate::error::hint(&error),
        ),
    };
    journal.check(check);
}

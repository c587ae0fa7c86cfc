//! `restore`: a whole cluster into an empty one, one database beside the old one, or one schema in
//! one transaction. Nothing that exists is touched before its replacement was made and proved.

mod confirm;
mod database;
mod hooks;
mod names;
mod needs;
mod prepare;
mod prove;
mod roles;
mod schema;
mod view;

use super::journal::Journal;
use super::{Context, ExitStatus, print, proving, receipts};
use crate::archive::index::Name;
use crate::check::{Check, CheckId};
use crate::config::OutputFormat;
use crate::error::Explained;
use crate::report::format;
use crate::report::restored::{Restored, Target};
use crate::report::words::Step;
use crate::restore::load::load;
use crate::restore::plan::Scope;
use crate::restore::schema::{Around, CommitUnknown, load_schema};
use crate::restore::{Load, Loaded};
use anyhow::Context as _;
use hooks::Hooks;
use prepare::Prepared;
use std::time::Instant;

/// Runs the command; the answers are in the journal.
///
/// # Errors
/// What was typed cannot be used, nobody agreed to a replacement, a hook failed, or the restore did.
pub(crate) async fn run(context: &Context, journal: &mut Journal) -> anyhow::Result<()> {
    let hooks = Hooks::parse(context)?;
    journal.required = vec![
        CheckId::ArchiveIntact,
        CheckId::TargetReady,
        CheckId::RestoreComplete,
    ];
    let begun = Instant::now();
    let Some(prepared) = prepare::prepare(context, journal).await? else {
        return Ok(());
    };
    journal.took(Step::Preflight, begun);
    if journal.is_closed() {
        return Ok(());
    }
    if let Scope::Cluster | Scope::Database(_) = prepared.scope {
        journal.required.push(CheckId::RoundTrip);
    }
    tell_leftovers(journal, &prepared);
    confirm::confirm(context, &prepared, journal.started_at).await?;
    let armed = hooks.arm(context);
    let restored = match hooks.before(context).await {
        Ok(()) => restore(context, journal, &prepared).await,
        Err(error) => Err(error),
    };
    // The first error is the one to tell; the services come up in any case.
    let after = hooks.after(context, armed).await;
    restored.and(after)
}

/// `--plan`: prints what [`run`] would do.
///
/// # Errors
/// What was typed cannot be used, or what is asked cannot be reached.
pub(crate) async fn plan(context: &Context) -> anyhow::Result<ExitStatus> {
    let hooks = Hooks::parse(context)?;
    let mut journal = Journal::new("restore");
    let Some(prepared) = prepare::prepare(context, &mut journal).await? else {
        let why = journal.checks.last().map(|check| check.evidence.clone());
        anyhow::bail!("cannot restore this backup: {}", why.unwrap_or_default());
    };
    let view = view::View::of(context, &prepared, &hooks);
    match context.config.output {
        OutputFormat::Text => print(&view.text(&prepared))?,
        OutputFormat::Json => {
            let text = serde_json::to_string_pretty(&view).context("could not write the plan")?;
            print(&format!("{text}\n"))?;
        }
    }
    Ok(match view.is_possible() {
        true => ExitStatus::PASSED,
        false => ExitStatus::FAILED,
    })
}

async fn restore(
    context: &Context,
    journal: &mut Journal,
    prepared: &Prepared,
) -> anyhow::Result<()> {
    journal.restored = Some(Restored {
        scope: view::scope_text(&prepared.scope),
        target: Target {
            engine: "server".to_owned(),
            image: None,
            version: Some(prepared.server.version.clone()),
            place: Some(prepared.psql.connection.describe()),
        },
        tools: vec![format!("psql {}", prepared.tools.version)],
        ..Restored::default()
    });
    expect(context, prepared).await;
    create_roles(context, journal, prepared).await?;
    let begun = Instant::now();
    match &prepared.scope {
        Scope::Cluster => cluster(context, journal, prepared, begun).await,
        Scope::Database(name) => one_database(context, journal, prepared, name, begun).await,
        Scope::Schema { schema, .. } => one_schema(context, journal, prepared, schema, begun).await,
    }
}

/// Roles that are missing, first: they are harmless if the restore fails, and stay.
async fn create_roles(
    context: &Context,
    journal: &mut Journal,
    prepared: &Prepared,
) -> anyhow::Result<()> {
    let roles = &prepared.roles;
    if roles.create.is_empty() {
        return Ok(());
    }
    let made = Load {
        replace: roles.replace.clone(),
        ..prepared.load(context, roles.plan())
    };
    load(made, &context.progress)
        .await
        .context("could not create the missing roles")?;
    let names: Vec<String> = roles.create.iter().map(Name::to_lossy).collect();
    journal.notes.push(format!(
        "created roles as the archive has them: {}",
        names::few(&names)
    ));
    Ok(())
}

async fn cluster(
    context: &Context,
    journal: &mut Journal,
    prepared: &Prepared,
    begun: Instant,
) -> anyhow::Result<()> {
    let mut all = prepared.load(context, prepared.plan.clone());
    if let Some(spared) = &prepared.spared {
        all.skip.clone_from(&spared.skip);
        all.replace.clone_from(&spared.replace);
        let names: Vec<String> = spared.roles.iter().map(Name::to_lossy).collect();
        if !names.is_empty() {
            journal.notes.push(format!(
                "roles that existed are left as they are: {}",
                names::few(&names)
            ));
        }
    }
    let loaded = load(all, &context.progress).await.inspect_err(|_| {
        journal
            .notes
            .push("the cluster is restored in part: make it empty before the next try".to_owned());
    })?;
    complete(journal, &loaded, begun);
    let proof = prove::round_trip(context, journal, prepared, None).await?;
    proved(journal, proof);
    Ok(())
}

async fn one_database(
    context: &Context,
    journal: &mut Journal,
    prepared: &Prepared,
    name: &Name,
    begun: Instant,
) -> anyhow::Result<()> {
    let beside = database::beside(context, prepared, name)?;
    let mut load_beside = prepared.load(context, prepared.plan.clone());
    database::aim(&mut load_beside, prepared, name, &beside)?;
    let loaded = load(load_beside, &context.progress).await?;
    complete(journal, &loaded, begun);
    let proof = prove::round_trip(context, journal, prepared, Some((name, &beside.name))).await?;
    proved(journal, proof);
    if journal.is_closed() {
        // What differs does not get the name; the undo list drops it.
        journal.notes.push(format!(
            "database {name} was not replaced: what was restored differs from the backup"
        ));
        return Ok(());
    }
    let old = database::swap(context, prepared, name, beside, journal.started_at).await?;
    if let Some(old) = old {
        journal.notes.push(format!(
            "the old database is now {old}; drop it when it is not needed any more"
        ));
    }
    Ok(())
}

/// Tells the display how long drills took; without them it goes by the bytes alone.
async fn expect(context: &Context, prepared: &Prepared) {
    let manifest = prepared.source.manifest.as_ref();
    let cluster = manifest.map(|manifest| &manifest.source);
    let stores = [prepared.source.store.clone()];
    let bytes = prepared.plan.dump_bytes(&prepared.archive.index);
    if let Ok((trend, _)) = receipts::trend(&stores, cluster).await
        && let Some(expected) = receipts::expected(&trend, bytes)
    {
        context.progress.expect(Step::Restore, expected);
    }
}

async fn one_schema(
    context: &Context,
    journal: &mut Journal,
    prepared: &Prepared,
    schema: &Name,
    begun: Instant,
) -> anyhow::Result<()> {
    let around = schema::around(prepared, schema, journal.started_at)?;
    let one = Load {
        skip: schema::left_out(prepared, &prepared.plan),
        ..prepared.load(context, prepared.plan.clone())
    };
    let around = Around {
        before: around.before,
        after: around.after,
    };
    let loaded = match load_schema(one, around, &context.progress).await {
        Ok(loaded) => loaded,
        Err(error) if error.chain().any(|cause| cause.is::<CommitUnknown>()) => {
            return Err(Explained::new(
                "the schema is either as it was or restored",
                "Look at its tables before anything else is done; both are whole.",
            )
            .caused_by(error)
            .into());
        }
        Err(error) => return Err(error.context("the schema is as it was")),
    };
    complete(journal, &loaded, begun);
    journal.notes.push(
        "proved before COMMIT: every statement and row that was sent has the digest of the index, and the server counted every row".to_owned(),
    );
    Ok(())
}

/// Everything was replayed.
fn complete(journal: &mut Journal, loaded: &Loaded, begun: Instant) {
    journal.took(Step::Restore, begun);
    journal.check(Check::passed(
        CheckId::RestoreComplete,
        format!(
            "{}, {} and {} from {} of the archive",
            format::counted(loaded.schemas as u64, "schema"),
            format::counted(loaded.tables as u64, "table"),
            format::counted(loaded.rows, "row"),
            format::bytes(loaded.archive_bytes_read),
        ),
    ));
    let Some(restored) = &mut journal.restored else {
        return;
    };
    proving::replayed(restored, loaded);
    restored.counts.databases = loaded.databases as u64;
    restored.counts.schemas = loaded.schemas as u64;
    restored.counts.tables = loaded.tables as u64;
    restored.counts.rows = loaded.rows;
}

fn proved(journal: &mut Journal, proof: crate::report::restored::ProofSummary) {
    if let Some(restored) = &mut journal.restored {
        restored.proof = Some(proof);
    }
}

/// Databases of restores that were killed. Another run may still be at work on one, so they are
/// only named.
fn tell_leftovers(journal: &mut Journal, prepared: &Prepared) {
    let left: Vec<String> = prepared
        .server
        .databases
        .iter()
        .filter(|database| is_leftover(&database.name.to_lossy()))
        .map(|database| match database.sessions {
            0 => database.name.to_lossy(),
            _ => format!("{} (in use)", database.name),
        })
        .collect();
    if !left.is_empty() {
        journal.notes.push(format!(
            "databases of restores that did not end: {}; drop them unless another restore is running",
            names::few(&left)
        ));
    }
}

fn is_leftover(name: &str) -> bool {
    name.rsplit_once(database::RESTORING)
        .is_some_and(|(_, random)| {
            random.len() == 8 && random.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
}

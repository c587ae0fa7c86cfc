//! `prune`, and the same at the end of a gate: archive, then delete what is too old. The rules are
//! in `retention`; here they are carried out. Nothing in here makes a backup worse than late: a run
//! that ends anywhere leaves whole backups and leftovers, which the next run removes.

mod archive;
mod planning;
mod remove;
mod scope;

use super::Context;
use super::journal::Journal;
use super::lock::{self, Asked};
use super::stores::{self, Contents};
use crate::check::{Check, CheckId, Severity};
use crate::config::RetentionMode;
use crate::error;
use crate::report::retention::{Action, Line, Retention, TierSummary};
use crate::report::words::Step;
use crate::retention::clock::Clock;
use crate::retention::stop::Stop;
use crate::retention::{self, Backup, Tier};
use crate::store::{self, Store};
use jiff::{SignedDuration, Timestamp};
use planning::{planned, replanned};
use scope::{Scope, name_of, named_scope};
use std::collections::BTreeMap;

/// Leftovers are younger than this while their run may still be going on.
const IDLE: SignedDuration = SignedDuration::from_hours(24);

/// One store, and what lies in it.
struct Shelf {
    store: Store,
    contents: Contents,
}

/// What was done so far, and what to do about what did not work.
#[derive(Default)]
struct Done {
    retention: Retention,
    tiers: BTreeMap<(String, Tier), TierSummary>,
    hint: Option<String>,
    keeps_versions: bool,
}

impl Done {
    fn line(&mut self, tier: Tier, key: &str, action: Action, reason: impl Into<String>) {
        self.retention.objects.push(Line {
            tier: tier.to_string(),
            key: key.to_owned(),
            action,
            reason: reason.into(),
        });
    }

    fn trouble(&mut self, tier: Tier, key: &str, error: &anyhow::Error) {
        self.line(tier, key, Action::Trouble, error::one_line(error));
        self.hint = self.hint.take().or_else(|| error::hint(error));
    }

    fn tier(&mut self, store: &Store, tier: Tier) -> &mut TierSummary {
        self.tiers.entry((store.describe(), tier)).or_default()
    }
}

/// Runs the command; the answer is in the journal.
///
/// # Errors
/// No store, or several clusters in one and none of them named.
pub(crate) async fn run(context: &Context, journal: &mut Journal) -> anyhow::Result<()> {
    let config = &context.config;
    journal.dry_run = config.dry_run;
    journal.required = vec![CheckId::RetentionApplied];
    let severity = config
        .severities
        .of_or(CheckId::RetentionApplied, Severity::Block);
    context.progress.begin(Step::Retention, 0);
    let stores = stores::open(config).await?;
    if config.retention.mode == RetentionMode::Off {
        journal.cluster = "every cluster".to_owned();
        journal.check(off());
        return Ok(());
    }
    if !config.dry_run {
        // Whether the store's checksums can be believed decides how a copy is verified.
        for store in stores.iter().filter(|store| stores::is_remote(store)) {
            store.probe(&stores::nonce()?).await?;
        }
        journal.required.push(CheckId::StoreUnlocked);
        if lock::ask(context, journal, &stores).await == Asked::Stop {
            journal.cluster = "every cluster".to_owned();
            return Ok(());
        }
    }
    let mut done = Done::default();
    let shelves = shelves(&stores, &mut done).await;
    let scope = match config.retention.all_clusters {
        true => Scope::All,
        false => named_scope(&shelves, config.cluster.as_deref())?,
    };
    journal.cluster = match (&config.cluster, &scope) {
        (Some(name), _) => name.clone(),
        (None, Scope::All) => "every cluster".to_owned(),
        (None, Scope::Only(clusters)) => name_of(&shelves, clusters),
    };
    let check = apply(context, journal, shelves, &scope, done, severity).await;
    journal.check(check);
    Ok(())
}

/// Retention at the end of a gate that passed so far, in the stores that hold its backup.
pub(crate) async fn after_gate(context: &Context, journal: &mut Journal, stores: &[Store]) {
    let config = &context.config;
    let cluster = journal.source.as_ref().map(retention::identity);
    let check = match (config.retention.mode, cluster) {
        (RetentionMode::Off, _) => off(),
        (RetentionMode::Tool | RetentionMode::Lifecycle, None) => Check::not_checked(
            CheckId::RetentionApplied,
            "the server was not asked who it is",
            None,
        ),
        (RetentionMode::Tool | RetentionMode::Lifecycle, Some(cluster)) => {
            let scope = Scope::Only(vec![cluster.to_owned()]);
            context.progress.begin(Step::Retention, 0);
            let mut done = Done::default();
            let shelves = shelves(stores, &mut done).await;
            let severity = config.severities.of(CheckId::RetentionApplied);
            let check = apply(context, journal, shelves, &scope, done, severity).await;
            // What just stays is counted; its lines would come with every receipt and message.
            if let Some(retention) = &mut journal.retention {
                retention.objects.retain(|line| line.action != Action::Kept);
            }
            check
        }
    };
    journal.check(check);
}

fn off() -> Check {
    Check::passed(
        CheckId::RetentionApplied,
        "off: nothing is archived and nothing is deleted (retention-mode)",
    )
}

/// What lies in each store; one that cannot be listed is a trouble, and nothing happens there.
async fn shelves(stores: &[Store], done: &mut Done) -> Vec<Shelf> {
    let mut shelves = Vec::new();
    for store in stores {
        match stores::contents(store).await {
            Ok(contents) => shelves.push(Shelf {
                store: store.clone(),
                contents,
            }),
            Err(error) => done.trouble(tier_of(store), "", &error),
        }
    }
    shelves
}

fn tier_of(store: &Store) -> Tier {
    match store.tier() {
        store::Tier::Local => Tier::Local,
        store::Tier::Remote => Tier::Remote,
    }
}

/// Archives, deletes and sweeps; the answer to `retention-applied`.
async fn apply(
    context: &Context,
    journal: &mut Journal,
    mut shelves: Vec<Shelf>,
    scope: &Scope,
    mut done: Done,
    severity: Severity,
) -> Check {
    let config = &context.config.retention;
    let clock = clock(&shelves, journal);
    done.retention.mode = config.mode.word().to_owned();
    unreadable(&shelves, &mut done);

    let (first, candidates) = planned(&shelves, scope, config, &clock);
    let mut virtual_copies: Vec<Backup> = Vec::new();
    for index in first.copies() {
        let (backup, at) = &candidates[*index];
        let archived = Backup {
            tier: Tier::Archive,
            key: at.of(&shelves).keys.archived().archive.to_string(),
            ..backup.clone()
        };
        let key = archived.key.clone();
        if context.config.dry_run {
            virtual_copies.push(archived);
        } else {
            let found = at.of(&shelves);
            match archive::archive(context, found, &config.archive_class).await {
                Ok((copy, note)) => {
                    note_once(journal, note);
                    shelves[at.shelf].contents.archived.push(copy);
                }
                Err(error) => {
                    done.trouble(Tier::Archive, &key, &error);
                    continue;
                }
            }
        }
        let summary = done.tier(&shelves[at.shelf].store, Tier::Archive);
        summary.archived += 1;
        summary.limit = config.policy.archive.to_string();
        done.line(
            Tier::Archive,
            &key,
            Action::Archived,
            "the first verified backup of its month",
        );
    }

    let (plan, backups) = match virtual_copies.is_empty() {
        true => planned(&shelves, scope, config, &clock),
        false => replanned(candidates, virtual_copies, config, &clock),
    };
    // Where the bucket deletes, only the clock matters: nothing is archived by a wrong one.
    let is_tool = config.mode == RetentionMode::Tool;
    let is_trusted = !matches!(plan.stop, Some(Stop::Clock(_)));
    if let Some(stop) = plan.stop.as_ref().filter(|_| is_tool || !is_trusted) {
        done.retention.stopped = Some(stop.to_string());
        done.hint = Some(stop.hint());
    }
    if !context.config.dry_run && !lock::may_delete(context, journal).await {
        let evidence = "no proof that the locks of the stores are still ours: nothing was deleted";
        return Check::not_checked(CheckId::RetentionApplied, evidence, None);
    }
    remove::backups(context, &shelves, &plan, &backups, &mut done).await;
    if is_tool && is_trusted {
        remove::sweep(context, &shelves, scope, &clock, &mut done).await;
    }
    if !is_tool && !context.config.dry_run {
        remove::tag(&shelves, &plan, &backups, &mut done).await;
    }
    if done.keeps_versions {
        note_once(journal, Some(
            "the bucket keeps versions: what was deleted stays in it, and costs money, until a lifecycle rule \
             (NoncurrentVersionExpiration) removes it; `backup-action doctor` prints one".to_owned(),
        ));
    }
    ended(done, journal, context.config.dry_run, severity)
}

fn note_once(journal: &mut Journal, note: Option<String>) {
    if let Some(note) = note
        && !journal.notes.contains(&note)
    {
        journal.notes.push(note);
    }
}

/// What is known of the time: this machine's clock, the stores', the database server's, and the
/// seconds since the start.
fn clock(shelves: &[Shelf], journal: &Journal) -> Clock {
    let now = Timestamp::now();
    let elapsed = SignedDuration::try_from(journal.elapsed()).unwrap_or(SignedDuration::MAX);
    Clock {
        now,
        store_ahead: shelves
            .iter()
            .filter_map(|shelf| shelf.store.clock_skew())
            .max_by_key(|ahead| ahead.abs()),
        server_ahead: journal.server_ahead,
        jumped: now
            .duration_since(journal.started_at)
            .saturating_sub(elapsed),
    }
}

/// Manifests that cannot be read: kept, not counted, and said.
fn unreadable(shelves: &[Shelf], done: &mut Done) {
    for shelf in shelves {
        for (key, error) in &shelf.contents.unreadable {
            let tier = match store::BackupKeys::of_manifest(key) {
                Some(keys) if keys.is_archived() => Tier::Archive,
                Some(_) | None => tier_of(&shelf.store),
            };
            done.line(
                tier,
                key.as_str(),
                Action::Trouble,
                format!(
                    "kept, and not counted as a backup: {}",
                    error::one_line(error)
                ),
            );
            done.hint = done.hint.take().or_else(|| {
                error::hint(error).or_else(|| {
                    Some("Find out what changed the manifest; delete it by hand when the backup is not needed.".to_owned())
                })
            });
        }
    }
}

fn ended(mut done: Done, journal: &mut Journal, dry_run: bool, severity: Severity) -> Check {
    for ((store, tier), mut summary) in std::mem::take(&mut done.tiers) {
        summary.tier = tier.to_string();
        summary.store = store;
        done.retention.tiers.push(summary);
    }
    let evidence = done.retention.evidence(dry_run);
    let troubles: Vec<String> = done
        .retention
        .troubles()
        .map(|line| line.reason.clone())
        .collect();
    let is_good = troubles.is_empty() && done.retention.stopped.is_none();
    journal.retention = Some(done.retention);
    if is_good {
        return Check::passed(CheckId::RetentionApplied, evidence);
    }
    let evidence = match troubles.first() {
        None => evidence,
        Some(first) => format!("{evidence}: {first}"),
    };
    Check::no(
        CheckId::RetentionApplied,
        severity,
        evidence,
        done.hint
            .unwrap_or_else(|| "Run `backup-action prune --dry-run` to see the plan.".to_owned()),
    )
}

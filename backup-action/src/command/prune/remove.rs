//! What goes. Of one backup the manifest goes first: a run that ends in the middle leaves an archive
//! without a manifest, which is no backup, and which the next run removes.

use super::planning::At;
use super::scope::Scope;
use super::{Done, IDLE, Shelf, tier_of};
use crate::command::locks::Proof;
use crate::command::stores::Found;
use crate::command::{Context, receipts};
use crate::config::RetentionMode;
use crate::receipt::Kind;
use crate::report::retention::Action;
use crate::retention::clock::Clock;
use crate::retention::stop::{Stop, cap};
use crate::retention::{Backup, Decision, Limit, Plan, Tier, Why, loose};
use crate::store::{BackupKeys, Held, Key, Standing, Store, StoreErrorKind};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashSet;

/// Old receipts that one run deletes.
const MAX_RECEIPTS: usize = 200;

/// Carries the plan out, oldest first, and says what became of each backup.
pub(super) async fn backups(
    context: &Context,
    shelves: &[Shelf],
    plan: &Plan,
    backups: &[(Backup, At)],
    done: &mut Done,
) {
    let config = &context.config.retention;
    let is_ours = config.mode == RetentionMode::Tool;
    let goes: HashSet<usize> = plan.deletions().iter().copied().collect();
    for (index, ((backup, at), decision)) in backups.iter().zip(&plan.decisions).enumerate() {
        let summary = done.tier(&shelves[at.shelf].store, backup.tier);
        summary.limit = config.policy.limit(backup.tier).to_string();
        if !(is_ours && goes.contains(&index)) {
            summary.kept += 1;
            done.line(
                backup.tier,
                &backup.key,
                Action::Kept,
                match decision {
                    Decision::Keep(_) => decision.to_string(),
                    Decision::Delete(..) if is_ours => {
                        format!("{decision}, but the plan is refused")
                    }
                    Decision::Delete(..) => format!("{decision}, left to the bucket's rules"),
                },
            );
        }
    }
    if !is_ours {
        return;
    }
    for index in plan.deletions() {
        // What is only planned to be there is not deleted.
        let Some((backup, at)) = backups.get(*index) else {
            continue;
        };
        let reason = plan.decisions[*index].to_string();
        let found = at.of(shelves);
        let gone = match context.config.dry_run {
            true => true,
            // A run that slept here does not know what others did meanwhile.
            false => match context.locks.are_fresh().await {
                Proof::Held => one(found, backup, done).await,
                Proof::Lost(why) => {
                    done.line(backup.tier, &backup.key, Action::Trouble, why);
                    false
                }
                Proof::Unknown(error) => {
                    done.trouble(backup.tier, &backup.key, &error);
                    false
                }
            },
        };
        let summary = done.tier(&found.store, backup.tier);
        if gone {
            summary.deleted += 1;
            summary.freed_bytes = summary.freed_bytes.saturating_add(backup.bytes);
            done.line(backup.tier, &backup.key, Action::Deleted, reason);
        } else {
            summary.kept += 1;
        }
    }
}

/// Deletes one backup; false when it is still there.
async fn one(found: &Found, backup: &Backup, done: &mut Done) -> bool {
    let store = &found.store;
    let keys = [&found.keys.manifest, &found.keys.index, &found.keys.archive];
    for key in keys {
        match store.standing(key).await {
            Ok(standing) => {
                if let Some(held) = standing.and_then(|standing| standing.held)
                    && let Some(until) = until(held)
                {
                    done.line(backup.tier, &backup.key, Action::Held, until);
                    return false;
                }
            }
            Err(error) => {
                done.trouble(backup.tier, key.as_str(), &error);
                return false;
            }
        }
    }
    for (at, key) in keys.into_iter().enumerate() {
        match store.remove(key).await {
            Ok(versions) => done.keeps_versions |= versions,
            Err(error) => {
                done.trouble(backup.tier, key.as_str(), &error);
                // Without its manifest it is no backup any more; the rest is a leftover.
                if at == 0 {
                    return false;
                }
            }
        }
    }
    true
}

/// How long an object is held; none when that is over.
fn until(held: Held) -> Option<String> {
    match held {
        Held::LegalHold => Some("kept while its legal hold lasts".to_owned()),
        Held::Until(at) if at > Timestamp::now() => Some(format!(
            "object lock keeps it until {}",
            at.strftime("%Y-%m-%d %H:%M UTC")
        )),
        Held::Until(_) => None,
    }
}

/// Leftovers and old receipts.
pub(super) async fn sweep(
    context: &Context,
    shelves: &[Shelf],
    scope: &Scope,
    clock: &Clock,
    done: &mut Done,
) {
    // A run may take as long as its deadline, and others may have another one.
    let longest = SignedDuration::try_from(context.config.timeout.saturating_mul(2));
    let idle = IDLE.max(longest.unwrap_or(IDLE));
    for shelf in shelves {
        let ahead = shelf.store.clock_skew().unwrap_or(SignedDuration::ZERO);
        let store_now = clock.now.saturating_add(ahead).unwrap_or(clock.now);
        leftovers(context, shelf, store_now, idle, done).await;
        old_receipts(context, shelves, shelf, scope, clock.now, done).await;
    }
}

async fn leftovers(
    context: &Context,
    shelf: &Shelf,
    store_now: Timestamp,
    idle: SignedDuration,
    done: &mut Done,
) {
    let (store, contents) = (&shelf.store, &shelf.contents);
    let tier = tier_of(store);
    let left = loose::leftovers(&contents.objects, store_now, idle);
    let most = cap(
        contents.backups.len(),
        context.config.retention.policy.max_delete,
    );
    // Somebody who deleted all manifests must not lose all archives.
    if left.len() > 2 * most {
        done.line(
            tier,
            "",
            Action::Trouble,
            format!(
                "{} objects of backups have no manifest, and one run deletes at most {}",
                left.len(),
                2 * most
            ),
        );
        done.hint = done.hint.take().or_else(|| {
            Some("Find out what deleted the manifests. If those backups are not wanted, run `backup-action prune --max-delete N` once.".to_owned())
        });
    } else {
        for object in left {
            // This run, or another one, may have made a backup of it since the listing.
            match is_published(store, &object.key).await {
                Ok(false) => {}
                Ok(true) => continue,
                Err(error) => {
                    done.trouble(tier, object.key.as_str(), &error);
                    continue;
                }
            }
            sweep_one(
                context,
                store,
                &object.key,
                tier,
                "left by a run that did not end",
                done,
            )
            .await;
        }
    }
    let idle_since = store_now.saturating_sub(idle).unwrap_or(Timestamp::MIN);
    let unfinished = match store.unfinished(idle_since).await {
        Ok(unfinished) => unfinished,
        Err(error) => return done.trouble(tier, "", &error),
    };
    for item in unfinished.iter().filter(|item| item.is_ours()) {
        if !context.config.dry_run
            && let Err(error) = store.discard(item).await
        {
            done.trouble(tier, item.key.as_str(), &error);
            continue;
        }
        done.retention.swept += 1;
        done.line(tier, item.key.as_str(), Action::Swept, item.kind());
    }
}

/// Whether the backup that this is a part of has its manifest now.
async fn is_published(store: &Store, part: &Key) -> anyhow::Result<bool> {
    match BackupKeys::of_part(part) {
        Some(keys) => Ok(store.head(&keys.manifest).await?.is_some()),
        None => Ok(false),
    }
}

/// Deletes one object, unless it is held or not ours; whether it went.
async fn sweep_one(
    context: &Context,
    store: &Store,
    key: &Key,
    tier: Tier,
    reason: &str,
    done: &mut Done,
) -> bool {
    let gone = async {
        match store.standing(key).await? {
            // Its name is like ours, but somebody else wrote it; or it is gone.
            None
            | Some(Standing {
                marked: Some(false),
                ..
            }) => return Ok(false),
            Some(Standing {
                held: Some(held), ..
            }) if until(held).is_some() => return Ok(false),
            Some(_) => {}
        }
        if context.config.dry_run {
            return Ok(true);
        }
        store.remove(key).await.map(|versions| {
            done.keeps_versions |= versions;
            true
        })
    };
    match gone.await {
        Ok(true) => {
            done.retention.swept += 1;
            done.line(tier, key.as_str(), Action::Swept, reason);
            true
        }
        Ok(false) => false,
        Err(error) => {
            done.trouble(tier, key.as_str(), &error);
            false
        }
    }
}

/// Receipts that are older than every backup may get. The newest drill that passed stays.
async fn old_receipts(
    context: &Context,
    shelves: &[Shelf],
    shelf: &Shelf,
    scope: &Scope,
    now: Timestamp,
    done: &mut Done,
) {
    let store = &shelf.store;
    let tier = tier_of(store);
    let keys = shelf.contents.objects.iter().map(|object| &object.key);
    let limit = context.config.retention.policy.longest();
    let mut last_drills: HashSet<String> = HashSet::new();
    let names = scope.names(shelves);
    let mut gone = 0;
    for key in loose::old_receipts(keys, now, limit) {
        if gone == MAX_RECEIPTS {
            break;
        }
        let kind = match key.as_str().split('/').nth(1) {
            Some("gate") => Kind::Gate,
            Some("drill") => Kind::Drill,
            Some(_) | None => continue,
        };
        let receipt = match receipts::read(std::slice::from_ref(store), kind, key).await {
            Ok(receipt) => receipt,
            Err(error) => {
                match StoreErrorKind::of(&error) {
                    Some(StoreErrorKind::NotFound) => {}
                    Some(_) => done.trouble(tier, key.as_str(), &error),
                    // Not one of ours, or not any more: it stays.
                    None => {}
                }
                continue;
            }
        };
        let source = receipt.report().source.as_ref();
        // A run that never reached its server knows only the name that it was given.
        let cluster = source.map_or(&*receipt.report().cluster, crate::retention::identity);
        let is_in_scope = match source {
            Some(_) => scope.has(cluster),
            None => scope.is_all() || names.contains(cluster),
        };
        if !is_in_scope {
            continue;
        }
        if kind == Kind::Drill && last_drills.insert(cluster.to_owned()) {
            let stores: Vec<Store> = shelves.iter().map(|shelf| shelf.store.clone()).collect();
            match receipts::newest_passed_drill(&stores, source, now, |_| true).await {
                Ok(drills) => {
                    last_drills.extend(drills.newest.map(|found| found.key.to_string()));
                }
                Err(error) => {
                    done.trouble(tier, key.as_str(), &error);
                    return;
                }
            }
        }
        if last_drills.contains(key.as_str()) {
            continue;
        }
        let reason = format!("a receipt older than {limit}");
        gone += usize::from(sweep_one(context, store, key, tier, &reason, done).await);
    }
}

/// Tags what the bucket's rules look at. Only what age alone keeps is left to them: of the newest,
/// and of a month whose copy could not be made, a rule knows nothing.
pub(super) async fn tag(shelves: &[Shelf], plan: &Plan, backups: &[(Backup, At)], done: &mut Done) {
    let may_go = match plan.stop {
        None | Some(Stop::TooMany { .. } | Stop::OneClock { .. }) => true,
        Some(Stop::Clock(_) | Stop::Everything(_)) => false,
    };
    for (index, ((backup, at), decision)) in backups.iter().zip(&plan.decisions).enumerate() {
        let goes_by_age = match decision {
            Decision::Delete(..) | Decision::Keep(Why::Young(Limit::Age(_))) => true,
            Decision::Keep(_) => false,
        };
        let is_left = may_go && goes_by_age && !plan.copies().contains(&index);
        let value = match (backup.tier, is_left) {
            (Tier::Local, _) => continue,
            (Tier::Remote | Tier::Archive, false) => "keep",
            (Tier::Remote, true) => "daily",
            (Tier::Archive, true) => "archive",
        };
        let found = at.of(shelves);
        for key in [&found.keys.manifest, &found.keys.index, &found.keys.archive] {
            if let Err(error) = found.store.tag_tier(key, value).await {
                done.trouble(backup.tier, key.as_str(), &error);
            }
        }
    }
}

//! What the stores know of the past: manifests of earlier backups, and receipts of drills and
//! closed gates, as the rules of `history` take them. What cannot be used is said, never counted.

use super::receipts::{self, Usable, usable};
use super::stores;
use crate::check::Outcome;
use crate::history::series::{self, Drill, FailedGate, History, NotCounted, Stored};
use crate::history::{baseline, month_before};
use crate::manifest::{self, ClusterId, Manifest};
use crate::receipt::{Kind, Receipt};
use crate::store::{BackupKeys, Key, Store};
use anyhow::Context as _;
use jiff::Timestamp;
use std::collections::BTreeMap;
use tokio::task::JoinSet;

/// Objects that are read at the same time.
const AT_ONCE: usize = 16;

/// Manifests that a gate reads to find the newest of its own cluster, among those of others.
const MAX_READ: usize = 60;

/// The directory of the archive tier; what is in it is named as outside of it.
const ARCHIVE_TIER: &str = "archive/";

/// A manifest of a listing.
struct Listed {
    store: Store,
    key: Key,
    /// The names that its content has to agree with.
    keys: BackupKeys,
    /// By its name.
    started_at: Timestamp,
}

/// The manifests of a store, oldest first, and how many objects are none of ours.
async fn list(store: &Store) -> anyhow::Result<(Vec<Listed>, u64)> {
    let objects = store
        .list("")
        .await
        .with_context(|| format!("could not list {}", store.describe()))?;
    let mut listed = Vec::new();
    let mut foreign = 0;
    for object in objects {
        match manifest_keys(&object.key) {
            Some((keys, started_at)) => listed.push(Listed {
                store: store.clone(),
                key: object.key,
                keys,
                started_at,
            }),
            None if is_ours(&object.key) => {}
            None => foreign += 1,
        }
    }
    listed.sort_by_key(|found| found.started_at);
    Ok((listed, foreign))
}

fn manifest_keys(key: &Key) -> Option<(BackupKeys, Timestamp)> {
    let keys = match key.as_str().strip_prefix(ARCHIVE_TIER) {
        None => BackupKeys::of_manifest(key)?,
        Some(rest) => BackupKeys::of_manifest(&Key::parse(rest).ok()?)?,
    };
    let started_at = keys.started_at()?;
    Some((keys, started_at))
}

/// Whether an object that is no manifest has a name of ours.
fn is_ours(key: &Key) -> bool {
    let text = key.as_str();
    let text = text.strip_prefix(ARCHIVE_TIER).unwrap_or(text);
    let of_backup = text
        .split_once('/')
        .is_some_and(|(_, name)| name.starts_with("backup_"));
    let places = ["receipts/", "probes/", "schemas/", "locks/"];
    of_backup || *key == Key::recovery() || places.iter().any(|place| text.starts_with(place))
}

/// Reads a manifest. Its content has to agree with its name.
async fn read(listed: &Listed) -> anyhow::Result<Manifest> {
    let bytes = listed.store.get(&listed.key, manifest::MAX_BYTES).await?;
    let mut manifest = Manifest::parse(&bytes)?;
    // A copy of the archive tier may say where it is; it is the same backup.
    for key in [&mut manifest.archive_key, &mut manifest.index_key] {
        if let Some(name) = key.strip_prefix(ARCHIVE_TIER) {
            *key = name.to_owned();
        }
    }
    stores::agrees(&manifest, &listed.keys)?;
    Ok(manifest)
}

/// Everything since a time, in all stores.
///
/// # Errors
/// A store cannot be listed, or does not answer.
pub(crate) async fn history(stores: &[Store], since: Timestamp) -> anyhow::Result<History> {
    let mut backups: Vec<Stored> = Vec::new();
    let mut not_counted = Vec::new();
    let mut foreign_objects = 0;
    for store in stores {
        let (listed, foreign) = list(store).await?;
        foreign_objects += foreign;
        let wanted = listed
            .into_iter()
            .filter(|found| found.started_at >= since)
            .collect();
        let found = all(wanted, |listed: Listed| async move {
            let manifest = read(&listed).await;
            (
                listed.store.describe(),
                listed.store.locate(&listed.key),
                manifest,
            )
        })
        .await?;
        for (store, place, manifest) in found {
            match usable(manifest)? {
                Usable::Yes(manifest) => backups.push(Stored {
                    store,
                    place,
                    manifest,
                }),
                Usable::Gone => {}
                Usable::No(reason) => not_counted.push(NotCounted { place, reason }),
            }
        }
    }
    let drills = receipts_since(stores, Kind::Drill, since, &mut not_counted, |_| true).await?;
    let drills = drills.iter().filter_map(|(key, found)| drill(key, found));
    // A gate that passed left a manifest, which says more.
    let failed = receipts_since(
        stores,
        Kind::Gate,
        since,
        &mut not_counted,
        receipts::is_named_failed,
    )
    .await?;
    let failed = failed.iter().map(|(key, found)| failed_gate(key, found));
    let (series, disagreements) = series::series(backups, drills.collect(), failed.collect());
    not_counted.extend(disagreements);
    Ok(History {
        series,
        not_counted,
        foreign_objects,
        since: Some(since),
    })
}

/// Does something to all items, a few at a time; the results are in no order.
async fn all<T, R, F>(items: Vec<T>, work: impl Fn(T) -> F) -> anyhow::Result<Vec<R>>
where
    F: Future<Output = R> + Send + 'static,
    R: Send + 'static,
{
    let mut results = Vec::with_capacity(items.len());
    let mut tasks = JoinSet::new();
    for item in items {
        if tasks.len() == AT_ONCE
            && let Some(done) = tasks.join_next().await
        {
            results.push(done.context("could not read an object")?);
        }
        tasks.spawn(work(item));
    }
    while let Some(done) = tasks.join_next().await {
        results.push(done.context("could not read an object")?);
    }
    Ok(results)
}

async fn receipts_since(
    stores: &[Store],
    kind: Kind,
    since: Timestamp,
    not_counted: &mut Vec<NotCounted>,
    is_wanted: fn(&Key) -> bool,
) -> anyhow::Result<Vec<(Key, Receipt)>> {
    let wanted: Vec<(Key, Vec<Store>)> = receipts::keys(stores, kind)
        .await?
        .into_iter()
        .filter(|(key, _)| key.receipt_time().is_some_and(|at| at >= since))
        .filter(|(key, _)| is_wanted(key))
        .collect();
    let read = all(wanted, |(key, holders): (Key, Vec<Store>)| async move {
        let receipt = receipts::read(&holders, kind, &key).await;
        (key, receipt)
    })
    .await?;
    let mut found = Vec::new();
    for (key, receipt) in read {
        match usable(receipt)? {
            Usable::Yes(receipt) => found.push((key, receipt)),
            Usable::Gone => {}
            Usable::No(reason) => not_counted.push(NotCounted {
                place: key.to_string(),
                reason,
            }),
        }
    }
    Ok(found)
}

/// A drill that restored rows.
fn drill(key: &Key, receipt: &Receipt) -> Option<Drill> {
    let report = receipt.report();
    let restored = report.restored.as_ref().filter(|done| !done.schema_only)?;
    let source = report.source.as_ref();
    Some(Drill {
        key: key.to_string(),
        cluster: report.cluster.clone(),
        system_identifier: source.and_then(|source| source.system_identifier.clone()),
        finished_at: report.finished_at,
        passed: receipt.passed(),
        restore_seconds: report.durations.restore_seconds,
        max_restore_seconds: restored.max_restore_seconds,
        dump_bytes: restored.dump_bytes,
    })
}

fn failed_gate(key: &Key, receipt: &Receipt) -> FailedGate {
    let report = receipt.report();
    let source = report.source.as_ref();
    let closing = report.checks.iter().filter(|check| match check.outcome {
        Outcome::Failed => true,
        // The first one that was not reached would say nothing of the reason.
        Outcome::NotChecked => check.hint.is_some(),
        Outcome::Passed | Outcome::Warned => false,
    });
    FailedGate {
        key: key.to_string(),
        cluster: report.cluster.clone(),
        system_identifier: source.and_then(|source| source.system_identifier.clone()),
        started_at: report.started_at,
        closed_by: closing.map(|check| check.id.id().to_owned()).collect(),
    }
}

/// What a new backup is compared with.
pub(crate) struct Earlier {
    /// The newest verified backups of the cluster, newest first. None among too many of others.
    pub(crate) newest: Vec<Manifest>,
    /// The one nearest to a month ago; none when there is no other that can be read.
    pub(crate) baseline: Option<Manifest>,
    /// Manifests that were passed over, with the reason.
    pub(crate) passed_over: Vec<String>,
}

/// Finds what a backup of this cluster is compared with, without reading every manifest: names
/// hold the time, so the newest are read, and those nearest to a month ago until one is usable.
///
/// # Errors
/// A store cannot be listed, or does not answer.
pub(crate) async fn earlier(
    stores: &[Store],
    cluster: &ClusterId,
    now: Timestamp,
    count: usize,
) -> anyhow::Result<Earlier> {
    let mut places: BTreeMap<(Timestamp, Key), Listed> = BTreeMap::new();
    for store in stores {
        for found in list(store).await?.0 {
            // What a wrong clock dates into the future is no earlier backup.
            if found.started_at < now {
                let name = (found.started_at, found.keys.manifest.clone());
                places.entry(name).or_insert(found);
            }
        }
    }
    let mut places: Vec<Listed> = places.into_values().collect();
    let mut earlier = Earlier {
        newest: Vec::new(),
        baseline: None,
        passed_over: Vec::new(),
    };
    let mut reads = 0;
    while earlier.newest.len() < count && reads < MAX_READ {
        let Some(place) = places.pop() else { break };
        reads += 1;
        let found = own(vec![place], cluster, &mut earlier.passed_over).await?;
        earlier.newest.extend(found);
    }
    // The newest ones may be the nearest, too: of a young store, or of one that is seldom used.
    let month_ago = month_before(now);
    let near = baseline(&earlier.newest, now, |found| found.started_at).cloned();
    let distance = |at: Timestamp| at.duration_since(month_ago).abs();
    let limit = near.as_ref().map(|near| distance(near.started_at));
    // Those that are no nearer than what is there already need not be read. Without anything to
    // compare with all of them are, or a store that others fill would look like an empty one.
    places.retain(|place| limit.is_none_or(|limit| distance(place.started_at) < limit));
    places.sort_by_key(|place| std::cmp::Reverse(distance(place.started_at)));
    let at_most = match near {
        Some(_) => (2 * MAX_READ).saturating_sub(reads),
        None => usize::MAX,
    };
    let nearer = last_own(places, at_most, cluster, &mut earlier.passed_over).await?;
    earlier.baseline = nearer.or(near);
    Ok(earlier)
}

/// The newest backup of a cluster in a store, and the manifests that were passed over.
///
/// # Errors
/// The store cannot be listed, or does not answer.
pub(crate) async fn newest(
    store: &Store,
    cluster: &ClusterId,
) -> anyhow::Result<(Option<Manifest>, Vec<String>)> {
    let mut passed_over = Vec::new();
    let (places, _) = list(store).await?;
    let found = last_own(places, usize::MAX, cluster, &mut passed_over).await?;
    Ok((found, passed_over))
}

/// The last manifest of this cluster; mostly that is the last of all.
async fn last_own(
    mut places: Vec<Listed>,
    at_most: usize,
    cluster: &ClusterId,
    passed_over: &mut Vec<String>,
) -> anyhow::Result<Option<Manifest>> {
    let (mut reads, mut at_once) = (0, 1);
    while !places.is_empty() && reads < at_most {
        let rest = places.len().saturating_sub(at_once);
        let last: Vec<Listed> = places.drain(rest..).rev().collect();
        reads += last.len();
        let found = own(last, cluster, passed_over).await?;
        if found.is_some() {
            return Ok(found);
        }
        at_once = AT_ONCE.min(2 * at_once);
    }
    Ok(None)
}

/// The first manifest of this cluster.
async fn own(
    places: Vec<Listed>,
    cluster: &ClusterId,
    passed_over: &mut Vec<String>,
) -> anyhow::Result<Option<Manifest>> {
    let places = places.into_iter().enumerate().collect();
    let mut read = all(places, |(order, place): (usize, Listed)| async move {
        (order, place.store.locate(&place.key), read(&place).await)
    })
    .await?;
    read.sort_by_key(|(order, _, _)| *order);
    for (_, place, manifest) in read {
        match usable(manifest)? {
            Usable::Yes(manifest) => {
                if manifest.source.id().is(cluster) {
                    return Ok(Some(manifest));
                }
            }
            Usable::Gone => {}
            Usable::No(reason) => passed_over.push(format!("{place}: {reason}")),
        }
    }
    Ok(None)
}

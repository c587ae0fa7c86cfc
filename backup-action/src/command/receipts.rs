//! Receipts in the stores: written at the end of a gate or drill, found again by the gate's
//! `drill-fresh`, by `verify-receipt` and for the trend of a drill.

use super::journal::Journal;
use super::{Context, ExitStatus, stores};
use crate::check::{Check, CheckId, Verdict};
use crate::config::Config;
use crate::error;
use crate::manifest::{CiRun, Source};
use crate::pipeline::cleanup::{Cleanup, Ticket, Undo};
use crate::receipt::{Kind, MAX_BYTES, Receipt};
use crate::report::restored::PastDrill;
use crate::report::{Report, json};
use crate::store::{Key, Store, StoreErrorKind};
use anyhow::Context as _;
use bytes::Bytes;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// Drills of the trend.
const TREND: usize = 12;

/// Receipts that are read to find one that counts: enough for a year of daily drills.
const MAX_READ: usize = 400;

/// A receipt that lies in a store.
pub(crate) struct Found {
    pub(crate) key: Key,
    pub(crate) receipt: Receipt,
}

/// The keys of the receipts of `kind`, newest first, each with the stores that have it.
///
/// # Errors
/// A store cannot be listed.
pub(crate) async fn keys(stores: &[Store], kind: Kind) -> anyhow::Result<Vec<(Key, Vec<Store>)>> {
    let prefix = format!("receipts/{}/", kind.name());
    let mut found: BTreeMap<Key, Vec<Store>> = BTreeMap::new();
    for store in stores {
        let objects = store
            .list(&prefix)
            .await
            .with_context(|| format!("could not list the receipts in {}", store.describe()))?;
        for object in objects {
            if object.key.as_str().ends_with(".json") {
                found.entry(object.key).or_default().push(store.clone());
            }
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    // Keys begin with the time of the start. Of two of one second the failed one comes first: whoever
    // asks for the latest must not be told yes where one said no.
    found.sort_by(|(one, _), (other, _)| newest_first(one).cmp(&newest_first(other)));
    Ok(found)
}

fn newest_first(key: &Key) -> impl Ord + use<'_> {
    let (time, _) = key.as_str().split_once("Z_").unwrap_or((key.as_str(), ""));
    std::cmp::Reverse((time, is_named_failed(key), key.as_str()))
}

/// Reads a receipt from the first of `stores` that has it.
///
/// # Errors
/// No store has it ([`StoreErrorKind::NotFound`]), a store does not answer, or it is damaged.
pub(crate) async fn read(stores: &[Store], kind: Kind, key: &Key) -> anyhow::Result<Receipt> {
    let mut missing = None;
    for store in stores {
        match store.get(key, MAX_BYTES).await {
            Ok(bytes) => {
                let receipt = Receipt::parse(kind, &bytes)
                    .and_then(|receipt| named_after_its_start(receipt, kind, key))
                    .with_context(|| format!("could not use {}", store.locate(key)))?;
                return Ok(receipt);
            }
            Err(error) if StoreErrorKind::of(&error) == Some(StoreErrorKind::NotFound) => {
                missing = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(missing.unwrap_or_else(|| anyhow::anyhow!("no store has {key}")))
}

/// What became of reading an object of a listing.
pub(crate) enum Usable<T> {
    Yes(T),
    /// Deleted since the listing.
    Gone,
    /// With the reason.
    No(String),
}

/// Tells an object that cannot be used from a store that does not answer.
///
/// # Errors
/// The store does not answer.
pub(crate) fn usable<T>(read: anyhow::Result<T>) -> anyhow::Result<Usable<T>> {
    let error = match read {
        Ok(found) => return Ok(Usable::Yes(found)),
        Err(error) => error,
    };
    match StoreErrorKind::of(&error) {
        Some(StoreErrorKind::NotFound) => Ok(Usable::Gone),
        // Too large, or no regular file.
        Some(StoreErrorKind::Other) | None => Ok(Usable::No(error::one_line(&error))),
        Some(_) => Err(error),
    }
}

/// A receipt under another's name is not what it is taken for.
fn named_after_its_start(receipt: Receipt, kind: Kind, key: &Key) -> anyhow::Result<Receipt> {
    let named = Key::receipt(kind.name(), receipt.report().started_at, "");
    // The empty identifier is written as `%`.
    let stem = named.as_str().trim_end_matches("%.json");
    anyhow::ensure!(
        key.as_str().starts_with(stem),
        "it is of a run that started at {}, and not of the one it is named after",
        receipt.report().started_at
    );
    Ok(receipt)
}

/// What was found when a drill that counts was looked for.
pub(crate) struct Drills {
    /// The newest passed drill of the cluster.
    pub(crate) newest: Option<Found>,
    /// How many receipts were looked at.
    pub(crate) looked_at: u64,
    /// Why newer receipts do not count: damaged, of another cluster, from the future, ….
    pub(crate) passed_over: Vec<String>,
}

/// Looks for the newest passed drill of the cluster that `is_wanted`. Drills without rows and failed ones never
/// count; a receipt that should count and cannot be used is said.
///
/// # Errors
/// A store does not answer.
pub(crate) async fn newest_passed_drill(
    stores: &[Store],
    cluster: Option<&Source>,
    now: Timestamp,
    is_wanted: impl Fn(&Report) -> bool,
) -> anyhow::Result<Drills> {
    let mut drills = Drills {
        newest: None,
        looked_at: 0,
        passed_over: Vec::new(),
    };
    for (key, holders) in keys(stores, Kind::Drill).await?.into_iter().take(MAX_READ) {
        drills.looked_at += 1;
        // What says of itself that it failed needs no reading.
        if is_named_failed(&key) {
            continue;
        }
        let receipt = match usable(read(&holders, Kind::Drill, &key).await)? {
            Usable::Yes(receipt) => receipt,
            Usable::Gone => continue,
            Usable::No(reason) => {
                drills.passed_over.push(reason);
                continue;
            }
        };
        let objection = if !is_of(&receipt, cluster) {
            Some("is of another cluster")
        } else if receipt.age_seconds(now).is_none() {
            Some("is from the future: look at the clocks")
        } else if receipt
            .report()
            .restored
            .as_ref()
            .is_some_and(|r| r.schema_only)
        {
            Some("restored no rows")
        } else if !receipt.passed() {
            Some("does not prove a round trip")
        } else {
            None
        };
        if objection.is_none() && !is_wanted(receipt.report()) {
            continue;
        }
        match objection {
            Some(objection) => drills.passed_over.push(format!("{key} {objection}")),
            None => {
                drills.newest = Some(Found { key, receipt });
                break;
            }
        }
    }
    Ok(drills)
}

/// An archive without a manifest does not say whose it is, so nothing speaks against a receipt.
fn is_of(receipt: &Receipt, cluster: Option<&Source>) -> bool {
    cluster.is_none_or(|source| receipt.is_of(source))
}

/// Whether a receipt says of itself that its run failed.
pub(crate) fn is_named_failed(key: &Key) -> bool {
    key.split()
        .1
        .split_once("Z_")
        .is_some_and(|(_, id)| id.starts_with("failed"))
}

/// The last drills of the cluster that restored rows, oldest first, and receipts that could not be
/// read, as sentences.
///
/// # Errors
/// A store does not answer.
pub(crate) async fn trend(
    stores: &[Store],
    cluster: Option<&Source>,
) -> anyhow::Result<(Vec<PastDrill>, Vec<String>)> {
    let (mut past, mut unreadable) = (Vec::new(), Vec::new());
    for (key, holders) in keys(stores, Kind::Drill).await?.into_iter().take(MAX_READ) {
        if past.len() == TREND {
            break;
        }
        match usable(read(&holders, Kind::Drill, &key).await)? {
            Usable::Yes(receipt) => {
                let with_rows = receipt
                    .report()
                    .restored
                    .as_ref()
                    .is_some_and(|r| !r.schema_only);
                if with_rows && is_of(&receipt, cluster) {
                    past.push(receipt.past_drill(key.as_str()));
                }
            }
            Usable::Gone => {}
            Usable::No(reason) => unreadable.push(reason),
        }
    }
    past.reverse();
    Ok((past, unreadable))
}

/// How long it will take to restore `dump_bytes`, by the last drill that passed.
pub(crate) fn expected(trend: &[PastDrill], dump_bytes: u64) -> Option<Duration> {
    let last = trend
        .iter()
        .rfind(|drill| drill.verdict == Verdict::Passed && drill.dump_bytes > 0)?;
    let seconds = last.restore_seconds? * dump_bytes as f64 / last.dump_bytes as f64;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Keeps the report as the receipt that the deploy job and the auditor ask for. The one of a gate
/// that failed is not written here but at the very end, by [`store_failed`]. A drill leaves one in
/// any case, named after its verdict; only the one that passed can be taken back, when its verdict
/// could not be told.
pub(crate) async fn store(context: &Context, journal: &mut Journal, stores: &[Store], kind: Kind) {
    if stores.is_empty() {
        journal.notes.push(
            "no receipt was kept: name a store with --local DIR, --remote s3://BUCKET/PREFIX, or both"
                .to_owned(),
        );
        return;
    }
    let run = context.runner.as_ref().map(|runner| runner.run.clone());
    let required: Vec<CheckId> = journal
        .required
        .iter()
        .copied()
        .filter(|id| *id != CheckId::ReceiptStored)
        .collect();
    let status = ExitStatus::of(Verdict::of(&journal.checks, &required));
    let word = match (kind, status) {
        (_, ExitStatus::PASSED) => "passed",
        (Kind::Gate, _) => return,
        (Kind::Drill, _) => "failed",
    };
    let key = key(kind, word, journal.started_at, run.as_ref());
    let mut report = journal.report(status.0, run);
    report
        .checks
        .retain(|check| check.id != CheckId::ReceiptStored);
    let result = match json::render(&report) {
        Ok(text) => put_everywhere(stores, &key, Bytes::from(text), &context.cleanup).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(tickets) => {
            journal.receipt_key = Some(key.to_string());
            if status == ExitStatus::PASSED {
                // Taken back unless the run ends with exit code 0.
                journal.receipts = tickets;
            } else {
                tickets
                    .into_iter()
                    .for_each(|ticket| context.cleanup.disarm(ticket));
            }
            journal.check(Check::passed(CheckId::ReceiptStored, key.to_string()));
        }
        Err(error) => journal.check(Check::not_checked(
            CheckId::ReceiptStored,
            error::one_line(&error),
            Some(match kind {
                Kind::Gate => "The backup itself is published; run the gate again for a receipt.",
                Kind::Drill => "Without a receipt nobody will know of this drill; look at the store and run it again.",
            }
            .to_owned()),
        )),
    }
}

/// `receipts/gate/<time>_<word>_<run>.json`
fn key(kind: Kind, word: &str, started_at: Timestamp, run: Option<&CiRun>) -> Key {
    let id = match run {
        Some(run) if !run.run_id.is_empty() => format!("{word}_{}_{}", run.run_id, run.run_attempt),
        // Two of them may start in the same second; of gates that pass only one can.
        Some(_) | None if kind == Kind::Drill || word == "failed" => {
            format!("{word}_{:08x}", std::process::id())
        }
        Some(_) | None => word.to_owned(),
    };
    Key::receipt(kind.name(), started_at, &id)
}

/// Keeps the report of a run that failed, so that the next that passes is known to be a recovery,
/// and a deploy job that asks for the latest receipt of a gate is told no. In every store that takes it;
/// returns why the others did not.
pub(crate) async fn store_failed(config: &Config, kind: Kind, report: &Report) -> Vec<String> {
    let stored = async {
        let key = key(kind, "failed", report.started_at, report.run.as_ref());
        let bytes = Bytes::from(json::render(report)?);
        let mut failed = Vec::new();
        for store in stores::open(config).await? {
            if let Err(error) = store.put(&key, bytes.clone(), "application/json").await {
                failed.push(error::one_line(&error));
            }
        }
        anyhow::Ok(failed)
    };
    match stored.await {
        Ok(failed) => failed,
        Err(error) => vec![error::one_line(&error)],
    }
}

/// Puts a small object into every store; all stay on the undo list.
async fn put_everywhere(
    stores: &[Store],
    key: &Key,
    bytes: Bytes,
    cleanup: &Cleanup,
) -> anyhow::Result<Vec<Ticket>> {
    let mut tickets = Vec::new();
    for store in stores {
        let ticket = cleanup.add(Undo::Delete(store.clone(), key.clone()));
        tickets.push(ticket);
        store
            .put(key, bytes.clone(), "application/json")
            .await
            .inspect_err(|error| cleanup.disarm_foreign(ticket, error))
            .with_context(|| format!("could not store {}", store.locate(key)))?;
    }
    Ok(tickets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_passed_drill_says_how_long_it_takes() {
        let drill = |seconds: Option<f64>, dump_bytes, verdict| PastDrill {
            key: String::new(),
            finished_at: Timestamp::UNIX_EPOCH,
            restore_seconds: seconds,
            dump_bytes,
            verdict,
        };
        let trend = [
            drill(Some(9.0), 10, Verdict::Passed),
            drill(Some(5.0), 10, Verdict::Passed),
            drill(Some(1.0), 10, Verdict::Failed),
        ];
        assert_eq!(expected(&trend, 20), Some(Duration::from_secs(10)));
        assert_eq!(expected(&[], 20), None);
        assert_eq!(expected(&[drill(None, 10, Verdict::Passed)], 20), None);
        assert_eq!(
            expected(&[drill(Some(f64::MAX), 1, Verdict::Passed)], u64::MAX),
            None
        );
    }
}

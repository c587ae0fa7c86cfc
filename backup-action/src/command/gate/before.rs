//! The questions about stores and disks before the dump, and the masks. Each function records its
//! answer in the journal.

use crate::check::{Check, CheckId, Outcome, Severity};
use crate::command::journal::Journal;
use crate::command::past;
use crate::command::stores;
use crate::error;
use crate::manifest::Manifest;
use crate::pipeline::cleanup::{Cleanup, Undo};
use crate::report::{LastGood, format};
use crate::store::{Key, Store, StoreErrorKind};
use std::sync::Mutex;

/// The answer of one store to a small object.
pub(super) struct Probe {
    store: Store,
    result: anyhow::Result<String>,
}

impl Probe {
    /// A store that said no.
    pub(super) fn failed(store: Store, error: anyhow::Error) -> Probe {
        let result = Err(error);
        Probe { store, result }
    }
}

/// Writes, reads and deletes a small object in every store.
pub(super) async fn probe_stores(stores: &[Store], cleanup: &Cleanup) -> Vec<Probe> {
    let mut probes = Vec::new();
    for store in stores {
        probes.push(Probe {
            store: store.clone(),
            result: probe(store, cleanup).await,
        });
    }
    probes
}

async fn probe(store: &Store, cleanup: &Cleanup) -> anyhow::Result<String> {
    let nonce = stores::nonce()?;
    // The probe cleans up by itself; these are for a run that is interrupted in the middle of it.
    let [object, parts] = Key::probes(&nonce);
    let tickets = Mutex::new(vec![cleanup.add(Undo::Delete(store.clone(), object))]);
    let capabilities = store
        .probe_watched(&nonce, &|handle| {
            let undo = Undo::Abort(store.clone(), parts.clone(), handle);
            match tickets.lock() {
                Ok(mut tickets) => tickets.push(cleanup.add(undo)),
                Err(poisoned) => poisoned.into_inner().push(cleanup.add(undo)),
            }
        })
        .await;
    let tickets = match tickets.into_inner() {
        Ok(tickets) => tickets,
        Err(poisoned) => poisoned.into_inner(),
    };
    for ticket in tickets {
        cleanup.disarm(ticket);
    }
    let capabilities = capabilities?;
    Ok(capabilities.to_string())
}

/// Finds the newest verified backup of this cluster in `stores`, for the journal, and returns it.
/// That of another cluster protects nobody here.
pub(super) async fn last_good(journal: &mut Journal, stores: Vec<Store>) -> Option<Manifest> {
    let cluster = journal.cluster_id();
    let mut newest: Option<(Store, Manifest)> = None;
    for store in stores {
        let found = match past::newest(&store, &cluster).await {
            Ok((found, passed_over)) => {
                let passed_over = passed_over.iter();
                let passed_over =
                    passed_over.map(|place| format!("not counted as a backup: {place}"));
                journal.notes.extend(passed_over);
                found
            }
            Err(error) => {
                journal.notes.push(format!(
                    "earlier backups could not be listed: {}",
                    error::one_line(&error)
                ));
                None
            }
        };
        let is_newer = |found: &Manifest| {
            newest
                .as_ref()
                .is_none_or(|(_, best)| best.finished_at < found.finished_at)
        };
        if let Some(found) = found.filter(is_newer) {
            newest = Some((store, found));
        }
    }
    let (store, manifest) = newest?;
    journal.last_good = Some(LastGood {
        key: manifest.archive_key.clone(),
        finished_at: manifest.finished_at,
        age_seconds: 0,
        tier: store.tier().to_string(),
        archive_bytes: manifest.archive.archive_bytes,
    });
    Some(manifest)
}

/// One answer over all stores; returns the stores that can be read.
pub(super) fn store_writable(journal: &mut Journal, probes: Vec<Probe>) -> Vec<Store> {
    let (mut good, mut evidence, mut hint) = (Vec::new(), Vec::new(), None);
    let mut outcome = Outcome::Passed;
    for probe in probes {
        match probe.result {
            Ok(capabilities) => {
                evidence.push(format!("{}: {capabilities}", probe.store.describe()));
                good.push(probe.store);
            }
            Err(error) => {
                evidence.push(format!(
                    "{}: {}",
                    probe.store.describe(),
                    error::one_line(&error)
                ));
                hint = hint.or_else(|| error::hint(&error));
                // A store that said no can still be asked what it has.
                if is_answer(&error) {
                    good.push(probe.store);
                }
                outcome = match (outcome, is_answer(&error)) {
                    (Outcome::Failed, _) | (_, true) => Outcome::Failed,
                    (_, false) => Outcome::NotChecked,
                };
            }
        }
    }
    journal.check(Check {
        id: CheckId::StoreWritable,
        outcome,
        evidence: evidence.join("; "),
        hint,
    });
    good
}

/// Whether the store said no, rather than nothing that could be believed.
fn is_answer(error: &anyhow::Error) -> bool {
    match StoreErrorKind::of(error) {
        Some(
            StoreErrorKind::AlreadyExists
            | StoreErrorKind::Denied
            | StoreErrorKind::NoBucket
            | StoreErrorKind::Full
            | StoreErrorKind::NotFound,
        ) => true,
        Some(StoreErrorKind::Credentials | StoreErrorKind::Unreachable | StoreErrorKind::Other) => {
            false
        }
        // Our own answer, such as a name that is taken.
        None => error.chain().any(|cause| cause.is::<error::Explained>()),
    }
}

/// Whether the local directory has room for the archive: by the last one, else by the databases.
pub(super) async fn disk_space(
    journal: &mut Journal,
    stores: &[Store],
    last_archive_bytes: Option<u64>,
    database_bytes: u64,
    severity: Severity,
) {
    // Dumps compress to less than a third of what the databases take on disk, indexes included;
    // the last archive is a better guide, with room to grow.
    let need = match last_archive_bytes {
        Some(bytes) => bytes.saturating_add(bytes / 2),
        None => database_bytes / 3,
    };
    let mut evidence = Vec::new();
    for store in stores {
        match store.free_space().await {
            Ok(None) => {}
            Ok(Some(free)) if free.available_bytes >= need => evidence.push(format!(
                "{} free on {}, about {} needed",
                format::bytes(free.available_bytes),
                free.mount_point.display(),
                format::bytes(need)
            )),
            Ok(Some(free)) => {
                journal.check(Check::no(
                    CheckId::DiskSpace,
                    severity,
                    format!(
                        "{} has {} free on {}, about {} needed",
                        store.describe(),
                        format::bytes(free.available_bytes),
                        free.mount_point.display(),
                        format::bytes(need)
                    ),
                    "Free space there, or name another directory with --local.",
                ));
                return;
            }
            Err(error) => {
                journal.check(Check::not_checked(
                    CheckId::DiskSpace,
                    error::one_line(&error),
                    error::hint(&error),
                ));
                return;
            }
        }
    }
    let evidence = if evidence.is_empty() {
        "no local store".to_owned()
    } else {
        evidence.join("; ")
    };
    journal.check(Check::passed(CheckId::DiskSpace, evidence));
}

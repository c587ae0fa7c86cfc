//! The names of a gate's backup: those of the second in which it starts, which nobody else may have.

use super::before;
use crate::check::CheckId;
use crate::command::journal::Journal;
use crate::error::Explained;
use crate::store::{BackupKeys, Key, Store};
use jiff::Timestamp;
use std::time::Duration;

/// Another run takes one second, not all of them.
const TRIES: usize = 4;

/// Names that are free in every store. The clock is read again when this run waited for another one,
/// or started in the same second. None: the answer to `store-writable` is no after all.
pub(super) async fn free(
    journal: &mut Journal,
    stores: &[Store],
    waited: bool,
) -> Option<BackupKeys> {
    if waited {
        journal.begin_again();
    }
    for _ in 0..TRIES {
        let keys = Key::backup(journal.started_at, None);
        match taken(stores, &keys).await {
            Ok(None) => return Some(keys),
            Ok(Some(_)) => {}
            Err((store, error)) => return refused(journal, store, error),
        }
        tokio::time::sleep(until_next_second(Timestamp::now())).await;
        journal.begin_again();
    }
    let keys = Key::backup(journal.started_at, None);
    match taken(stores, &keys).await {
        Ok(None) => Some(keys),
        Ok(Some((store, key))) => {
            let error = Explained::new(
                format!("{} already exists", store.locate(&key)),
                "Another run started in the same second; nothing is overwritten. Run the gate again.",
            );
            refused(journal, store, error.into())
        }
        Err((store, error)) => refused(journal, store, error),
    }
}

fn refused(journal: &mut Journal, store: Store, error: anyhow::Error) -> Option<BackupKeys> {
    let id = CheckId::StoreWritable;
    journal.checks.retain(|check| check.id != id);
    let none = before::store_writable(journal, vec![before::Probe::failed(store, error)]);
    drop(none);
    None
}

/// The first object that has one of the names.
async fn taken(
    stores: &[Store],
    keys: &BackupKeys,
) -> Result<Option<(Store, Key)>, (Store, anyhow::Error)> {
    for store in stores {
        for key in [&keys.archive, &keys.index, &keys.manifest] {
            match store.head(key).await {
                Ok(None) => {}
                Ok(Some(_)) => return Ok(Some((store.clone(), key.clone()))),
                Err(error) => return Err((store.clone(), error)),
            }
        }
    }
    Ok(None)
}

fn until_next_second(now: Timestamp) -> Duration {
    let past = u64::try_from(now.subsec_nanosecond()).unwrap_or_default();
    Duration::from_nanos(1_000_000_000_u64.saturating_sub(past))
}

//! The questions about what the stores hold, and whether the backup exists. Each function records
//! its answer in the journal.

use crate::check::{Check, CheckId, Severity};
use crate::command::journal::Journal;
use crate::command::stores;
use crate::error;
use crate::pipeline::publish::Published;
use crate::pipeline::readback::ReadBack;
use crate::report::{Copy, format};
use crate::store::{BackupKeys, Store};

/// What the stores hold.
pub(super) fn stored(journal: &mut Journal, read_back: &ReadBack) {
    let bytes = format::bytes(read_back.index.archive_bytes);
    let places = |test: &dyn Fn(&crate::pipeline::readback::VerifiedCopy) -> bool| {
        let places: Vec<_> = read_back
            .copies
            .iter()
            .filter(|copy| test(copy))
            .map(|copy| copy.store.tier().to_string())
            .collect();
        places.join(", ")
    };
    journal.copies = read_back
        .copies
        .iter()
        .map(|copy| Copy {
            tier: copy.store.tier().to_string(),
            store: copy.store.describe(),
            published: false,
            detail: match (copy.read_back, copy.store_checksum) {
                (true, true) => "read back and decoded; the store's checksum is equal".to_owned(),
                (true, false) => "read back and decoded".to_owned(),
                (false, _) => "the store's checksum and length are equal".to_owned(),
            },
        })
        .chain(read_back.lost.iter().map(|lost| Copy {
            tier: lost.store.tier().to_string(),
            store: lost.store.describe(),
            published: false,
            detail: error::one_line(&lost.error),
        }))
        .collect();
    if let Some(lost) = read_back.lost.first() {
        let all: Vec<_> = read_back
            .lost
            .iter()
            .map(|lost| {
                format!(
                    "{}: {}",
                    lost.store.describe(),
                    error::one_line(&lost.error)
                )
            })
            .collect();
        let hint = error::hint(&lost.error).unwrap_or_else(|| {
            "The copy was not published; look at the store and run the gate again.".to_owned()
        });
        for id in [
            CheckId::StoredLength,
            CheckId::StoredChecksum,
            CheckId::StoredReadback,
        ] {
            journal.check(Check::failed(id, all.join("; "), hint.clone()));
        }
    } else {
        journal.check(Check::passed(
            CheckId::StoredLength,
            format!("{bytes} in {}", places(&|_| true)),
        ));
        let by_store = places(&|copy| copy.store_checksum);
        journal.check(Check::passed(
            CheckId::StoredChecksum,
            match by_store.as_str() {
                "" => "SHA-256 of the bytes that were read back".to_owned(),
                by_store => {
                    format!("CRC-64/NVME kept by {by_store}; SHA-256 of what was read back")
                }
            },
        ));
        let unread: Vec<_> = read_back
            .copies
            .iter()
            .filter(|copy| !copy.read_back)
            .map(|copy| copy.store.tier().to_string())
            .collect();
        journal.check(if unread.is_empty() {
            Check::passed(
                CheckId::StoredReadback,
                format!("{bytes} decoded and compared in {}", places(&|_| true)),
            )
        } else {
            Check::warned(
                CheckId::StoredReadback,
                format!(
                    "not read back in {}: the store's checksum was believed",
                    unread.join(", ")
                ),
                "Leave --verify at readback to have every stored byte decoded.",
            )
        });
    }
}

/// Whether a verified copy lies off this machine.
pub(super) fn remote_copy(
    journal: &mut Journal,
    read_back: &ReadBack,
    stores: &[Store],
    severity: Severity,
) {
    let check = match read_back
        .copies
        .iter()
        .find(|copy| stores::is_remote(&copy.store))
    {
        Some(copy) => Check::passed(CheckId::RemoteCopy, copy.store.describe()),
        None if stores.iter().any(stores::is_remote) => Check::failed(
            CheckId::RemoteCopy,
            "the copy off this machine failed",
            "See the stored checks for the reason; the local copy alone does not outlive this machine.",
        ),
        None => Check::no(
            CheckId::RemoteCopy,
            severity,
            "no remote store is configured: the only copy is on this machine",
            "Add --remote s3://BUCKET/PREFIX.",
        ),
    };
    journal.check(check);
}

/// The manifests.
pub(super) fn published(
    journal: &mut Journal,
    published: Result<&Published, &anyhow::Error>,
    keys: &BackupKeys,
) {
    let check = match published {
        Err(error) => Check::failed(
            CheckId::ManifestPublished,
            error::one_line(error),
            error::hint(error).unwrap_or_else(|| {
                "There is no backup of this run; look at the store and run the gate again."
                    .to_owned()
            }),
        ),
        Ok(published) => {
            for copy in &published.copies {
                let store = copy.store.describe();
                journal
                    .copies
                    .iter_mut()
                    .filter(|line| line.store == store)
                    .for_each(|line| line.published = true);
            }
            // A copy that was lost before was already said to be.
            let late: Vec<_> = published
                .lost
                .iter()
                .filter(|lost| {
                    journal.copies.iter().any(|line| {
                        line.store == lost.store.describe()
                            && line.detail != error::one_line(&lost.error)
                    })
                })
                .map(|lost| {
                    format!(
                        "{}: {}",
                        lost.store.describe(),
                        error::one_line(&lost.error)
                    )
                })
                .collect();
            if late.is_empty() {
                Check::passed(CheckId::ManifestPublished, keys.manifest.to_string())
            } else {
                Check::failed(
                    CheckId::ManifestPublished,
                    late.join("; "),
                    "The other copy is published; look at this store and run the gate again.",
                )
            }
        }
    };
    journal.check(check);
}

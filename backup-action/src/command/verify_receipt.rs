//! `verify-receipt`: the first step of the deploy job. The gate's receipt is there, passed, belongs
//! to this commit, is young, and its archive is still what was verified.

use super::journal::Journal;
use super::{Context, receipts, stores};
use crate::check::{Check, CheckId, Group};
use crate::error;
use crate::manifest::{ArchiveSummary, CiRun, Manifest};
use crate::receipt::{Kind, Receipt};
use crate::report::words::{self, Step};
use crate::report::{Copy, format};
use crate::store::{Key, ObjectInfo, Store, StoreErrorKind};
use anyhow::Context as _;
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};

const RUN_AGAIN: &str = "Run the gate again, and deploy what it opened for.";

/// How much of an archive is read at once where the store keeps no checksum.
const SPAN_BYTES: u64 = 8 * 1024 * 1024;

/// Runs the command; the answers are in the journal.
///
/// # Errors
/// A store does not answer, or what was typed cannot be used.
pub(crate) async fn run(context: &Context, journal: &mut Journal) -> anyhow::Result<()> {
    let config = &context.config;
    journal.required = CheckId::ALL
        .iter()
        .copied()
        .filter(|id| id.group() == Group::Receipt)
        .collect();
    let stores = stores::open(config).await?;
    let Some((key, receipt)) = find(journal, &stores, &config.receipt.receipt).await? else {
        return Ok(());
    };
    let report = receipt.report();
    journal.receipt_key = Some(key.to_string());
    journal.cluster = report.cluster.clone();
    journal.source = report.source.clone();
    journal.databases = report.databases.clone();
    journal.check(passed(&receipt));
    journal.check(belongs(
        report.run.as_ref(),
        context.runner.as_ref().map(|runner| &runner.run),
        config.receipt.allow_other_sha,
    ));
    let fresh = fresh(journal, &receipt, config.receipt.max_age);
    journal.check(fresh);
    let Some(archive) = &report.archive else {
        journal.check(Check::failed(
            CheckId::ArchiveUnchanged,
            "the receipt names no archive",
            RUN_AGAIN,
        ));
        return Ok(());
    };
    journal.archive = Some(archive.clone());
    let begun = Instant::now();
    context
        .progress
        .begin(Step::ReadBack, archive.archive_bytes);
    let listed: Vec<&str> = report
        .copies
        .iter()
        .filter(|copy| copy.published)
        .map(|copy| copy.store.as_str())
        .collect();
    archive_unchanged(context, journal, &stores, archive, &listed).await?;
    journal.took(Step::ReadBack, begun);
    Ok(())
}

/// Finds the receipt that was asked for; none when the answer is no, which is in the journal.
async fn find(
    journal: &mut Journal,
    stores: &[Store],
    wanted: &str,
) -> anyhow::Result<Option<(Key, Receipt)>> {
    let found = match wanted {
        "latest" => receipts::keys(stores, Kind::Gate).await?.into_iter().next(),
        key => {
            let key = Key::parse(key)?;
            let is_receipt = key.as_str().starts_with("receipts/gate/");
            is_receipt.then(|| (key, stores.to_vec()))
        }
    };
    let places: Vec<_> = stores.iter().map(Store::describe).collect();
    let missing = |what: &str| {
        Check::failed(
            CheckId::ReceiptFound,
            format!("{what} in {}", places.join(", ")),
            "Let the deploy job wait for the gate's, give it the output receipt-key, and let both name the same store.",
        )
    };
    let Some((key, holders)) = found else {
        journal.check(match wanted {
            "latest" => missing("there is no receipt of a gate"),
            other => missing(&format!("{other} is no receipt of a gate")),
        });
        return Ok(None);
    };
    match receipts::read(&holders, Kind::Gate, &key).await {
        Ok(receipt) => {
            journal.check(Check::passed(CheckId::ReceiptFound, key.to_string()));
            Ok(Some((key, receipt)))
        }
        Err(error) => match StoreErrorKind::of(&error) {
            Some(StoreErrorKind::NotFound) => {
                journal.check(missing(&format!("{key} is not")));
                Ok(None)
            }
            Some(_) => Err(error.context(format!("could not read {key}"))),
            // Never in silence an older one in its place.
            None => {
                journal.check(Check::failed(
                    CheckId::ReceiptFound,
                    error::one_line(&error),
                    error::hint(&error).unwrap_or_else(|| {
                        "Find out what changed the receipt, and run the gate again.".to_owned()
                    }),
                ));
                Ok(None)
            }
        },
    }
}

fn passed(receipt: &Receipt) -> Check {
    let report = receipt.report();
    let said = format!(
        "{} at {}",
        words::headline(report),
        format::minute(report.finished_at)
    );
    match receipt.passed() {
        true => Check::passed(CheckId::ReceiptPassed, said),
        false => Check::failed(
            CheckId::ReceiptPassed,
            format!("it does not say that the gate passed: {said}"),
            RUN_AGAIN,
        ),
    }
}

/// Whether the receipt is of this repository and commit.
fn belongs(receipt: Option<&CiRun>, here: Option<&CiRun>, allow_other_sha: bool) -> Check {
    const ID: CheckId = CheckId::ReceiptRun;
    let Some(here) = here else {
        return Check::warned(
            ID,
            "not in a workflow: there is no repository and no commit to compare with",
            "Compare the repository and the commit of the receipt yourself, or run this in the deploy job.",
        );
    };
    if here.repository.is_empty() || here.sha.is_empty() {
        return Check::not_checked(
            ID,
            "GITHUB_REPOSITORY or GITHUB_SHA is empty",
            Some("Run this as a step of a workflow.".to_owned()),
        );
    }
    let Some(receipt) = receipt else {
        return Check::failed(
            ID,
            "the receipt was not made in a workflow, so it belongs to no commit",
            "Run the gate in a job of this workflow.",
        );
    };
    if receipt.repository != here.repository {
        return Check::failed(
            ID,
            format!(
                "it belongs to repository {}, this is {}",
                receipt.repository, here.repository
            ),
            "Give every repository a prefix of its own in the bucket.",
        );
    }
    let same = receipt.sha == here.sha;
    if same || allow_other_sha {
        let other = if same {
            ""
        } else {
            ", another commit, as allowed"
        };
        return Check::passed(
            ID,
            format!("{} at {}{other}", receipt.repository, receipt.sha),
        );
    }
    Check::failed(
        ID,
        format!("it belongs to commit {}, this is {}", receipt.sha, here.sha),
        "Run the gate for this commit, or accept another one with --allow-other-sha.",
    )
}

fn fresh(journal: &Journal, receipt: &Receipt, max_age: Duration) -> Check {
    const ID: CheckId = CheckId::ReceiptFresh;
    let limit = format::age(i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX));
    match receipt.age_seconds(journal.started_at) {
        None => Check::failed(
            ID,
            format!(
                "it is from the future: {}, and now is {}",
                receipt.report().finished_at,
                journal.started_at
            ),
            "Set the clocks of both machines; until then nobody can say how old it is.",
        ),
        Some(age) => {
            let old = format::old(i64::try_from(age).unwrap_or(i64::MAX));
            if age <= max_age.as_secs() {
                Check::passed(ID, format!("{old}, at most {limit} are allowed"))
            } else {
                Check::failed(
                    ID,
                    format!("{old}, more than {limit}"),
                    "Run the gate again right before the deploy, or allow more with --max-receipt-age.",
                )
            }
        }
    }
}

/// Whether every configured store that should have the archive has it unchanged.
async fn archive_unchanged(
    context: &Context,
    journal: &mut Journal,
    stores: &[Store],
    archive: &ArchiveSummary,
    listed: &[&str],
) -> anyhow::Result<()> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for store in stores {
        let place = store.describe();
        let answer = match copy(context, store, archive).await? {
            Answer::Unchanged(how) => Ok(how),
            Answer::Changed(why) => Err(why),
            // The receipt does not say that this store has a copy.
            Answer::Absent if !listed.contains(&place.as_str()) => {
                journal
                    .notes
                    .push(format!("{place} has no copy of the archive"));
                continue;
            }
            Answer::Absent => Err("the backup is gone".to_owned()),
        };
        journal.copies.push(Copy {
            tier: store.tier().to_string(),
            store: place.clone(),
            published: answer.is_ok(),
            detail: match &answer {
                Ok(text) | Err(text) => text.clone(),
            },
        });
        match answer {
            Ok(how) => good.push(format!("{place}: {how}")),
            Err(why) => bad.push(format!("{place}: {why}")),
        }
    }
    journal.check(if !bad.is_empty() {
        Check::failed(CheckId::ArchiveUnchanged, bad.join("; "), RUN_AGAIN)
    } else if good.is_empty() {
        Check::failed(
            CheckId::ArchiveUnchanged,
            format!("no store has {}", archive.key),
            RUN_AGAIN,
        )
    } else {
        Check::passed(CheckId::ArchiveUnchanged, good.join("; "))
    });
    Ok(())
}

enum Answer {
    Unchanged(String),
    Changed(String),
    Absent,
}

async fn copy(
    context: &Context,
    store: &Store,
    archive: &ArchiveSummary,
) -> anyhow::Result<Answer> {
    let manifest = match stores::by_name(store, &archive.key).await {
        Ok(None) => return Ok(Answer::Absent),
        Ok(Some(found)) => found.manifest,
        Err(error) => {
            return match StoreErrorKind::of(&error) {
                Some(StoreErrorKind::NotFound) => Ok(Answer::Absent),
                Some(_) => Err(error),
                None => Ok(Answer::Changed(error::one_line(&error))),
            };
        }
    };
    if let Some(changed) = other_manifest(&manifest, archive) {
        return Ok(Answer::Changed(changed));
    }
    let key = Key::parse(&archive.key)?;
    let Some(info) = store.head(&key).await? else {
        return Ok(Answer::Changed(
            "the archive is gone although its manifest is there".to_owned(),
        ));
    };
    if info.bytes != archive.archive_bytes {
        return Ok(Answer::Changed(format!(
            "the archive has {} bytes instead of {}",
            info.bytes, archive.archive_bytes
        )));
    }
    same_bytes(context, store, &info, archive).await
}

fn other_manifest(manifest: &Manifest, archive: &ArchiveSummary) -> Option<String> {
    let found = &manifest.archive;
    if found == archive {
        return None;
    }
    Some(if found.archive_sha256 == archive.archive_sha256 {
        "its manifest is not the one of the receipt".to_owned()
    } else {
        format!(
            "its manifest names another archive, SHA-256 {}",
            found.archive_sha256
        )
    })
}

/// The store's own checksum where it keeps one, else the SHA-256 of what it gives.
async fn same_bytes(
    context: &Context,
    store: &Store,
    info: &ObjectInfo,
    archive: &ArchiveSummary,
) -> anyhow::Result<Answer> {
    if let Some(crc) = &info.crc64nvme {
        return Ok(if *crc == archive.archive_crc64nvme {
            Answer::Unchanged(format!("CRC-64/NVME {crc}, kept by the store"))
        } else {
            Answer::Changed(format!(
                "the store keeps CRC-64/NVME {crc} instead of {}",
                archive.archive_crc64nvme
            ))
        });
    }
    let mut sha256 = Sha256::new();
    let mut start = 0;
    while start < info.bytes {
        let end = info.bytes.min(start + SPAN_BYTES);
        let bytes = store
            .get_range(&info.key, start..end)
            .await
            .with_context(|| format!("could not read {}", store.locate(&info.key)))?;
        sha256.update(&bytes);
        context.progress.advance(end - start);
        start = end;
    }
    let found = crate::archive::index::Sha256Digest(sha256.finalize().into());
    Ok(if found == archive.archive_sha256 {
        Answer::Unchanged(format!("every byte was read, SHA-256 {found}"))
    } else {
        Answer::Changed(format!(
            "the archive has SHA-256 {found} instead of {}",
            archive.archive_sha256
        ))
    })
}

//! The questions of the gate that need more than one module to answer. Each function records its
//! answer in the journal.

use super::Context;
use super::journal::Journal;
use super::say;
use super::stores;
use crate::archive::index::Index;
use crate::check::{Check, CheckId, Outcome, Severity};
use crate::error;
use crate::github::commands;
use crate::pipeline::cleanup::{Cleanup, Undo};
use crate::pipeline::publish::Published;
use crate::pipeline::readback::ReadBack;
use crate::pipeline::stream::Streamed;
use crate::postgres::dump;
use crate::postgres::inventory::{self, ArchivedInventory, Inventory};
use crate::report::{Copy, format};
use crate::secret::Secret;
use crate::store::{BackupKeys, Key, Store, StoreErrorKind};
use anyhow::Context as _;
use bytes::Bytes;
use std::sync::Mutex;

/// Registers the masks of `secrets` with the runner, before any child starts.
pub(super) fn mask(context: &Context, secrets: &[Secret]) {
    if context.runner.is_none() {
        return;
    }
    for secret in secrets {
        for line in commands::masks(secret) {
            say(&format!("{line}\n"));
        }
    }
}

/// The answer of one store to a small object.
pub(super) struct Probe {
    store: Store,
    result: anyhow::Result<String>,
}

/// Writes, reads and deletes a small object in every store, and looks whether the names of this
/// backup are free.
pub(super) async fn probe_stores(
    stores: &[Store],
    keys: &BackupKeys,
    cleanup: &Cleanup,
) -> Vec<Probe> {
    let mut probes = Vec::new();
    for store in stores {
        probes.push(Probe {
            store: store.clone(),
            result: probe(store, keys, cleanup).await,
        });
    }
    probes
}

async fn probe(store: &Store, keys: &BackupKeys, cleanup: &Cleanup) -> anyhow::Result<String> {
    let mut nonce = [0; 8];
    getrandom::fill(&mut nonce).context("could not get random bytes")?;
    let nonce = crate::archive::index::to_hex(&nonce);
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
    for key in [&keys.archive, &keys.index, &keys.manifest] {
        if store.head(key).await?.is_some() {
            return Err(error::Explained::new(
                format!("{} already exists", store.locate(key)),
                "Another run started in the same second; nothing is overwritten. Run the gate again.",
            )
            .into());
        }
    }
    Ok(capabilities.to_string())
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

/// How pg_dumpall ended, and what ended the stream when it was not pg_dumpall.
pub(super) fn dump_exit(journal: &mut Journal, streamed: &Streamed) {
    let finished = &streamed.finished;
    let place = &streamed.completeness.ended_in;
    if let Some(fault) = streamed.fault.as_ref().filter(|_| !streamed.unreadable) {
        let lost: Vec<String> = lost(streamed)
            .map(|(store, error)| format!("; {}: {}", store.describe(), error::one_line(error)))
            .collect();
        journal.check(Check::failed(
            CheckId::DumpExit,
            format!(
                "the dump was ended: {}{}",
                error::one_line(fault),
                lost.concat()
            ),
            error::hint(fault)
                .or_else(|| lost_hint(streamed))
                .unwrap_or_else(|| "Look at the message and run the gate again.".to_owned()),
        ));
    } else if finished.exit.is_success() {
        journal.check(Check::passed(
            CheckId::DumpExit,
            format!("pg_dumpall ended with {}", finished.exit),
        ));
        journal.warnings = finished
            .stderr_tail
            .lines()
            .take(100)
            .map(str::to_owned)
            .collect();
    } else {
        let explained = anyhow::Error::new(dump::explain_failure(
            &finished.exit,
            &finished.stderr_tail,
            &journal.secrets,
        ));
        journal.check(Check::failed(
            CheckId::DumpExit,
            format!("{}; the dump ended {place}", error::one_line(&explained)),
            error::hint(&explained).unwrap_or_default(),
        ));
        journal.warnings = finished
            .stderr_tail
            .lines()
            .take(100)
            .map(str::to_owned)
            .collect();
    }
}

fn lost_hint(streamed: &Streamed) -> Option<String> {
    lost(streamed).find_map(|(_, error)| error::hint(error))
}

/// The stores that were given up while the dump ran.
fn lost(streamed: &Streamed) -> impl Iterator<Item = (&Store, &anyhow::Error)> {
    let copies = streamed.copies.iter();
    copies.filter_map(|copy| Some((&copy.store, copy.failure.as_ref()?)))
}

/// The trailers.
pub(super) fn dump_complete(journal: &mut Journal, streamed: &Streamed) {
    // We ended the dump ourselves, and `dump-exit` says why: nothing is known about its end.
    if streamed.fault.is_some() && !streamed.unreadable {
        return;
    }
    let completeness = &streamed.completeness;
    let incomplete: Vec<_> = completeness
        .databases
        .iter()
        .filter(|(_, complete)| !complete)
        .map(|(name, _)| name.to_lossy())
        .collect();
    let check = if let Some(fault) = streamed.fault.as_ref().filter(|_| streamed.unreadable) {
        Check::failed(
            CheckId::DumpComplete,
            format!(
                "what pg_dumpall printed is not a dump: {}",
                error::one_line(fault)
            ),
            "Look for a wrapper or an option that changes the output of pg_dumpall.",
        )
    } else if !completeness.cluster_trailer {
        Check::failed(
            CheckId::DumpComplete,
            format!(
                "the trailer of the cluster is missing: the dump ended {}",
                completeness.ended_in
            ),
            "The dump is not whole, whatever its exit status said; look at how pg_dumpall ended.",
        )
    } else if !incomplete.is_empty() {
        Check::failed(
            CheckId::DumpComplete,
            format!("no trailer for {}", shown(&incomplete)),
            "The dump of these databases is not whole; look at what pg_dumpall wrote to stderr.",
        )
    } else {
        Check::passed(
            CheckId::DumpComplete,
            format!(
                "trailers of the cluster and of {}",
                format::counted(completeness.databases.len() as u64, "database")
            ),
        )
    };
    journal.check(check);
}

/// Something is inside, and what the configuration requires.
pub(super) fn not_empty(
    journal: &mut Journal,
    index: &Index,
    databases: &[String],
    schemas: &[String],
) {
    let found = &journal.databases;
    let has_schema = |wanted: &str| {
        found.iter().any(|database| {
            database.schemas.iter().any(|schema| {
                let name = schema.name.to_lossy();
                name == wanted || format!("{}.{name}", database.name) == wanted
            })
        })
    };
    let mut missing: Vec<String> = databases
        .iter()
        .filter(|wanted| {
            !found
                .iter()
                .any(|database| database.name.to_lossy() == **wanted)
        })
        .map(|wanted| format!("database {wanted}"))
        .collect();
    missing.extend(
        schemas
            .iter()
            .filter(|wanted| !has_schema(wanted))
            .map(|wanted| format!("schema {wanted}")),
    );
    let check = if index.dump_bytes == 0 || found.is_empty() {
        Check::failed(
            CheckId::NotEmpty,
            format!(
                "the dump has {} and no database",
                format::counted(index.dump_bytes, "byte")
            ),
            "Look at what pg_dumpall wrote to stderr.",
        )
    } else if !missing.is_empty() {
        Check::failed(
            CheckId::NotEmpty,
            format!("required and not in the archive: {}", shown(&missing)),
            "Correct the name, or find out where it went before deploying.",
        )
    } else {
        Check::passed(
            CheckId::NotEmpty,
            format!(
                "{}, {}",
                format::bytes(index.dump_bytes),
                format::counted(index.rows(), "row")
            ),
        )
    };
    journal.check(check);
}

/// Every member was decoded and compared when it was made; here they are counted.
pub(super) fn gzip_stream(journal: &mut Journal, index: &Index) {
    let inside: u64 = index
        .members
        .iter()
        .map(|member| u64::from(member.dump_bytes))
        .sum();
    let check = if inside == index.dump_bytes {
        Check::passed(
            CheckId::GzipStream,
            format!(
                "{}, each decoded and compared",
                format::counted(index.members.len() as u64, "member")
            ),
        )
    } else {
        Check::failed(
            CheckId::GzipStream,
            format!("the members hold {inside} bytes of {}", index.dump_bytes),
            "This is a defect of backup-action; please report it.",
        )
    };
    journal.check(check);
}

/// The catalogue before and after the dump against the archive.
pub(super) fn inventory(before: &Inventory, after: &Inventory, index: &Index) -> Check {
    inventory::compare(before, after, &archived(index))
}

fn archived(index: &Index) -> ArchivedInventory {
    let mut archived = ArchivedInventory::default();
    for database in index.databases() {
        archived.databases.insert(database.clone());
    }
    for entry in &index.entries {
        let Some(database) = &entry.database else {
            continue;
        };
        match (&*entry.kind, &entry.schema) {
            ("SCHEMA", _) => {
                archived
                    .schemas
                    .insert((database.clone(), entry.name.clone()));
            }
            ("TABLE" | "FOREIGN TABLE" | "MATERIALIZED VIEW", Some(schema)) => {
                archived
                    .tables
                    .insert((database.clone(), schema.clone(), entry.name.clone()));
            }
            _ => {}
        }
    }
    archived
}

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

/// Puts a small object into every store, or leaves it in none.
pub(super) async fn put_everywhere(
    stores: &[Store],
    key: &Key,
    bytes: Bytes,
    cleanup: &Cleanup,
) -> anyhow::Result<()> {
    let mut tickets = Vec::new();
    for store in stores {
        tickets.push(cleanup.add(Undo::Delete(store.clone(), key.clone())));
        store
            .put(key, bytes.clone(), "application/json")
            .await
            .with_context(|| format!("could not store {}", store.locate(key)))?;
    }
    for ticket in tickets {
        cleanup.disarm(ticket);
    }
    Ok(())
}

fn shown(names: &[String]) -> String {
    let more = names.len().saturating_sub(10);
    let first = names[..names.len().min(10)].join(", ");
    if more > 0 {
        format!("{first} and {more} more")
    } else {
        first
    }
}

//! The questions about the dump as it came out of pg_dumpall. Each function records its answer in
//! the journal.

use crate::archive::extract;
use crate::archive::index::Index;
use crate::check::{Check, CheckId};
use crate::command::journal::Journal;
use crate::error;
use crate::pipeline::stream::Streamed;
use crate::postgres::dump;
use crate::postgres::inventory::{self, ArchivedInventory, Inventory};
use crate::postgres::psql::Psql;
use crate::report::format;
use crate::store::Store;

/// How pg_dumpall ended, and what ended the stream when it was not pg_dumpall.
pub(super) fn dump_exit(journal: &mut Journal, streamed: &Streamed, psql: &Psql) {
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
        let dump = dump::explain_failure(&finished.exit, &finished.stderr_tail, &journal.secrets);
        let way = psql.trouble(finished.exit, &finished.stderr_tail);
        let explained = way.unwrap_or_else(|| dump.into());
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
    } else if !completeness.cluster_header {
        Check::failed(
            CheckId::DumpComplete,
            "the dump does not start with the header of a cluster dump",
            "Look for a wrapper that prints something before pg_dumpall, or loses its beginning.",
        )
    } else if let Some(fault) = &completeness.restrict_fault {
        Check::failed(
            CheckId::DumpComplete,
            format!("\\restrict and \\unrestrict do not fit: {fault}"),
            "Look for a wrapper that changes the output of pg_dumpall.",
        )
    } else if !incomplete.is_empty() {
        Check::failed(
            CheckId::DumpComplete,
            format!("no trailer for {}", shown(&incomplete)),
            "The dump of these databases is not whole; look at what pg_dumpall wrote to stderr.",
        )
    } else if !completeness.is_complete() {
        Check::failed(
            CheckId::DumpComplete,
            format!("the dump is not whole: it ended {}", completeness.ended_in),
            "Look at how pg_dumpall ended.",
        )
    } else if let Some(first) = streamed.unreadable_by_psql.first() {
        Check::warned(
            CheckId::DumpComplete,
            format!(
                "whole, but psql cannot restore {} of its statements as they are (first: {first}): it takes the name `begin` for BEGIN ATOMIC",
                streamed.unreadable_by_psql.len()
            ),
            "Rename these functions; until then a restore with psql stops there.",
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
pub(in crate::command) fn not_empty(
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
    let check = if !index.entries.iter().any(extract::is_object) {
        Check::failed(
            CheckId::NotEmpty,
            format!(
                "the dump has {} and no object in any database",
                format::counted(index.dump_bytes, "byte")
            ),
            "Look at the connection: a new, empty cluster is rarely the one to back up.",
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

fn shown(names: &[String]) -> String {
    let more = names.len().saturating_sub(10);
    let first = names[..names.len().min(10)].join(", ");
    if more > 0 {
        format!("{first} and {more} more")
    } else {
        first
    }
}

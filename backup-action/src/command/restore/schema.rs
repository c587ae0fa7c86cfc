//! One schema, in one transaction: the old one is renamed away first, so that the new one can be
//! built under its name, and dropped last, so that its locks are held for a moment only. A failure
//! at any point leaves the old one as it was.

use super::names::suffixed;
use super::prepare::Prepared;
use crate::archive::index::{Name, kind};
use crate::postgres::target::{dependents_sql, literal, quoted};
use crate::restore::plan::Plan;
use jiff::Timestamp;
use std::collections::BTreeSet;

/// How long to wait for the lock of another session before giving up: who waits for an ACCESS
/// EXCLUSIVE lock makes everybody behind it wait.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '10s';\n";

/// What stands around the entries of the schema inside the transaction.
pub(super) struct Around {
    pub(super) before: Vec<u8>,
    pub(super) after: Vec<u8>,
}

/// SQL before and behind the entries.
///
/// # Errors
/// A name that cannot be extended.
pub(super) fn around(prepared: &Prepared, schema: &Name, now: Timestamp) -> anyhow::Result<Around> {
    let mut before = LOCK_TIMEOUT.as_bytes().to_vec();
    let mut after = LOCK_TIMEOUT.as_bytes().to_vec();
    if prepared.existing_schema.is_some() {
        let old = suffixed(schema, &now.strftime("_before_%Y%m%d_%H%M%S").to_string())?;
        before.extend(
            [
                b"ALTER SCHEMA ",
                quoted(schema).as_slice(),
                b" RENAME TO ",
                &quoted(&old),
                b";\n",
            ]
            .concat(),
        );
        // What was looked at before may have changed since; from here on nobody can add to it.
        after.extend(
            format!(
                "DO $backup_action$ declare found text; begin \
                 for found in select c.oid::regclass::text from pg_class c \
                 where c.relnamespace = {}::regnamespace and c.relkind in ('r', 'p') loop \
                 execute 'LOCK TABLE ' || found || ' IN ACCESS EXCLUSIVE MODE'; end loop; \
                 select string_agg(what, ', ') into found from ({}) as dependents; \
                 if found is not null then \
                 raise exception 'objects outside of the schema depend on it: %', found; \
                 end if; end $backup_action$;\n",
                literal(&Name::from(quoted(&old))),
                dependents_sql(&literal(&old))
            )
            .into_bytes(),
        );
        after.extend([b"DROP SCHEMA ", quoted(&old).as_slice(), b" CASCADE;\n"].concat());
    }
    // pg_dump does not write CREATE SCHEMA for what every new database has.
    let index = &prepared.archive.index;
    let is_created = prepared
        .plan
        .entries()
        .into_iter()
        .any(|number| &*index.entries[number].kind == "SCHEMA");
    if !is_created {
        before.extend([b"CREATE SCHEMA ", quoted(schema).as_slice(), b";\n"].concat());
    }
    Ok(Around { before, after })
}

/// Settings of the dump that would let the transaction wait for ever.
pub(super) fn left_out(prepared: &Prepared, plan: &Plan) -> BTreeSet<usize> {
    let index = &prepared.archive.index;
    let database = plan.databases.first().map(|plan| &plan.database);
    let entries = index.entries.iter().enumerate();
    entries
        .filter(|(_, entry)| {
            entry.database.as_ref() == database
                && &*entry.kind == kind::SETTING
                && entry.name.as_bytes() == b"lock_timeout"
        })
        .map(|(number, _)| number)
        .collect()
}

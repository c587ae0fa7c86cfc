//! What takes part in a comparison, and under which name.

use super::{Context, Counts, Scope, place};
use crate::archive::extract;
use crate::archive::index::{Entry, Index, Name, kind};
use std::collections::BTreeSet;

/// Database, kind, schema and name.
pub(super) type Key<'a> = (Option<&'a Name>, &'a str, Option<&'a Name>, &'a [u8]);

/// What an entry is matched by. A database that was restored under another name is matched by its
/// archived one.
pub(super) fn key<'a>(entry: &'a Entry, kind: &'a str, context: &'a Context) -> Key<'a> {
    let database = entry.database.as_ref();
    let is_about_database = entry.schema.is_none()
        && (matches!(kind, "DATABASE" | "DATABASE PROPERTIES")
            || matches!(kind, "ACL" | "COMMENT" | "SECURITY LABEL")
                && entry.name.as_bytes().starts_with(b"DATABASE "));
    // There is one database that these can be about, and its name may have been changed.
    let name = match is_about_database {
        true => b"".as_slice(),
        false => entry.name.as_bytes(),
    };
    (
        database.map(|name| archived_name(name, context)),
        kind,
        entry.schema.as_ref(),
        name,
    )
}

fn archived_name<'a>(name: &'a Name, context: &'a Context) -> &'a Name {
    match &context.renamed {
        Some((archived, restored)) if name == restored => archived,
        _ => name,
    }
}

/// Whether an entry was to be restored, and says something that can be compared.
pub(super) fn is_compared(entry: &Entry, context: &Context) -> bool {
    if matches!(&*entry.kind, kind::META | kind::COMMENT)
        || (!context.rows && is_data(entry))
        || is_place(entry)
    {
        return false;
    }
    let in_database = |wanted: &Name| {
        entry
            .database
            .as_ref()
            .is_some_and(|name| archived_name(name, context) == wanted)
    };
    match &context.scope {
        Scope::Cluster => true,
        Scope::Database(name) => in_database(name),
        Scope::Schema { database, schema } => {
            in_database(database)
                && &*entry.kind != kind::SETTING
                && extract::is_in_schema(entry, schema)
        }
    }
}

/// Settings that are compared with what they place.
fn is_place(entry: &Entry) -> bool {
    &*entry.kind == kind::SETTING && place::SETTINGS.contains(&entry.name.as_bytes())
}

/// What `--schema-only` does not restore: rows, and what only rows give.
pub fn is_data(entry: &Entry) -> bool {
    matches!(
        &*entry.kind,
        kind::TABLE_DATA
            | "SEQUENCE SET"
            | "MATERIALIZED VIEW DATA"
            | "BLOB"
            | "BLOBS"
            | "BLOB METADATA"
            | "BLOB COMMENTS"
            | "STATISTICS DATA"
    ) || (entry.schema.is_none()
        && matches!(&*entry.kind, "ACL" | "COMMENT" | "SECURITY LABEL")
        && entry.name.as_bytes().starts_with(b"LARGE OBJECT"))
}

/// The databases that take part, by their archived names.
pub(super) fn databases<'a>(index: &'a Index, context: &'a Context) -> BTreeSet<&'a Name> {
    index
        .databases()
        .into_iter()
        .map(|name| archived_name(name, context))
        .filter(|name| match &context.scope {
            Scope::Cluster => true,
            Scope::Database(wanted) => *name == wanted,
            Scope::Schema { database, .. } => *name == database,
        })
        .collect()
}

/// How much takes part. Settings are compared too, but a dump of one database has others than that
/// of a cluster; and the drill's own role is nothing that came back.
pub(super) fn counts(index: &Index, context: &Context) -> Counts {
    let mut counts = Counts {
        databases: databases(index, context).len() as u64,
        ..Counts::default()
    };
    let mut schemas = BTreeSet::new();
    for entry in &index.entries {
        if !is_compared(entry, context) {
            continue;
        }
        let is_ours = &*entry.kind == kind::GLOBAL && entry.name == context.drill_superuser;
        if !is_ours && &*entry.kind != kind::SETTING {
            counts.entries += 1;
        }
        let schema = match &*entry.kind {
            "SCHEMA" => Some(&entry.name),
            _ => entry.schema.as_ref(),
        };
        if let Some(schema) = schema {
            schemas.insert((&entry.database, schema));
        }
        if let Some(copy) = &entry.copy {
            counts.tables += 1;
            counts.rows = counts.rows.saturating_add(copy.rows);
        }
    }
    counts.schemas = schemas.len() as u64;
    counts
}

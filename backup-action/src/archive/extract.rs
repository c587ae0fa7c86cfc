//! Which entries make up one database, schema or table. Pure selection over the index; reading the
//! bytes is the caller's.

use super::index::{Entry, Index, Name, kind};
use crate::error::Explained;
use std::collections::BTreeSet;

/// What to extract. Nothing set means the whole dump.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only this database.
    pub database: Option<Name>,
    /// Only this schema.
    pub schema: Option<Name>,
    /// Only this table.
    pub table: Option<Name>,
}

/// The chosen entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The database that they belong to.
    pub database: Name,
    /// Indices into [`Index::entries`], in the order of the dump, settings included.
    pub entries: Vec<usize>,
    /// Indices of entries whose statement has to be read to know (an index does not name its table
    /// in the dump's comments); see [`is_on_table`].
    pub undecided: Vec<usize>,
    /// Whether the dump guards psql with `\restrict`, so that the output should too.
    pub restricted: bool,
}

/// Chooses the entries.
///
/// # Errors
/// A database, schema or table that is not in the archive, or a schema or table that stands in
/// several places and needs a narrower question; the hint lists them.
pub fn select(index: &Index, filter: &Filter) -> anyhow::Result<Selection> {
    let database = choose_database(index, filter)?;
    let in_database = |entry: &Entry| entry.database.as_ref() == Some(&database);
    let schema = match (&filter.schema, &filter.table) {
        (None, Some(table)) => Some(choose_schema(index, &database, table)?),
        (schema, _) => schema.clone(),
    };
    let mut chosen = Vec::new();
    let mut undecided = Vec::new();
    for (number, entry) in index
        .entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| in_database(entry))
    {
        if &*entry.kind == kind::SETTING {
            chosen.push(number);
            continue;
        }
        if not_part_of_a_database(entry)
            || schema
                .as_ref()
                .is_some_and(|schema| !is_in_schema(entry, schema))
        {
            continue;
        }
        match &filter.table {
            None => chosen.push(number),
            Some(table) if is_of_table(entry, table) => chosen.push(number),
            Some(_) if &*entry.kind == "INDEX" => undecided.push(number),
            Some(_) => {}
        }
    }
    let is_setting = |number: &usize| &*index.entries[*number].kind == kind::SETTING;
    if chosen.iter().all(is_setting) {
        let wanted = [&filter.database, &filter.schema, &filter.table];
        let wanted: Vec<_> = wanted.into_iter().flatten().map(Name::to_lossy).collect();
        return Err(Explained::new(
            format!("\"{}\" is not in the archive", wanted.join(".")),
            "Run `backup-action show` to see what is.",
        )
        .into());
    }
    let restricted = index
        .entries
        .iter()
        .any(|entry| &*entry.kind == kind::META && entry.name.as_bytes() == b"restrict");
    Ok(Selection {
        database,
        entries: chosen,
        undecided,
        restricted,
    })
}

/// Whether an INDEX statement is on `schema.table`. pg_dump writes
/// `CREATE [UNIQUE] INDEX name ON [ONLY] schema.table USING …`.
pub fn is_on_table(statement: &[u8], schema: &Name, table: &Name) -> bool {
    spellings(schema).iter().any(|schema| {
        spellings(table).iter().any(|table| {
            [&b" ON "[..], b" ON ONLY "].iter().any(|on| {
                let wanted = [*on, schema.as_slice(), b".", table.as_slice(), b" USING "].concat();
                memchr::memmem::find(statement, &wanted).is_some()
            })
        })
    })
}

/// The schema whose table was chosen, for [`is_on_table`].
pub fn schema_of(index: &Index, selection: &Selection) -> Option<Name> {
    selection
        .entries
        .iter()
        .find_map(|number| index.entries[*number].schema.clone())
}

/// An identifier as pg_dump may write it: bare or quoted.
fn spellings(name: &Name) -> [Vec<u8>; 2] {
    let mut quoted = vec![b'"'];
    for byte in name.as_bytes() {
        if *byte == b'"' {
            quoted.push(b'"');
        }
        quoted.push(*byte);
    }
    quoted.push(b'"');
    [name.as_bytes().to_vec(), quoted]
}

fn choose_database(index: &Index, filter: &Filter) -> anyhow::Result<Name> {
    if let Some(database) = &filter.database {
        let known = index.databases();
        if known.contains(&database) {
            return Ok(database.clone());
        }
        return Err(Explained::new(
            format!("database \"{database}\" is not in the archive"),
            format!("The archive holds: {}.", list(known.into_iter())),
        )
        .into());
    }
    let mut found = BTreeSet::new();
    for entry in &index.entries {
        let Some(database) = &entry.database else {
            continue;
        };
        let schema_fits = filter.schema.as_ref().is_none_or(|schema| {
            &*entry.kind == "SCHEMA" && entry.name == *schema
                || entry.schema.as_ref() == Some(schema)
        });
        let table_fits = filter
            .table
            .as_ref()
            .is_none_or(|table| is_relation(entry) && entry.name == *table);
        if schema_fits
            && table_fits
            && !not_part_of_a_database(entry)
            && &*entry.kind != kind::SETTING
        {
            found.insert(database);
        }
    }
    let wanted = filter.table.as_ref().or(filter.schema.as_ref());
    match (found.len(), found.iter().next(), wanted) {
        (1, Some(database), _) => Ok((*database).clone()),
        (0, _, Some(wanted)) => Err(Explained::new(
            format!("\"{wanted}\" is not in the archive"),
            "Run `backup-action show` to see what is.",
        )
        .into()),
        (0, _, None) => anyhow::bail!("the archive holds no database"),
        (_, _, Some(wanted)) => Err(Explained::new(
            format!("\"{wanted}\" is in several databases"),
            format!("Add --database with one of: {}.", list(found.into_iter())),
        )
        .into()),
        (_, _, None) => Err(Explained::new(
            "the archive holds several databases",
            format!("Add --database with one of: {}.", list(found.into_iter())),
        )
        .into()),
    }
}

fn choose_schema(index: &Index, database: &Name, table: &Name) -> anyhow::Result<Name> {
    let found: BTreeSet<&Name> = index
        .entries
        .iter()
        .filter(|entry| {
            entry.database.as_ref() == Some(database) && is_relation(entry) && entry.name == *table
        })
        .filter_map(|entry| entry.schema.as_ref())
        .collect();
    match (found.len(), found.iter().next()) {
        (1, Some(schema)) => Ok((*schema).clone()),
        (0, _) => Err(Explained::new(
            format!("table \"{table}\" is not in database \"{database}\""),
            "Run `backup-action show` to see what is.",
        )
        .into()),
        _ => Err(Explained::new(
            format!("table \"{table}\" is in several schemas"),
            format!("Add --schema with one of: {}.", list(found.into_iter())),
        )
        .into()),
    }
}

fn list<'a>(names: impl Iterator<Item = &'a Name>) -> String {
    let mut names: Vec<_> = names.map(Name::to_lossy).collect();
    let more = names.len().saturating_sub(20);
    names.truncate(20);
    let shown = names.join(", ");
    if more > 0 {
        format!("{shown} and {more} more")
    } else {
        shown
    }
}

/// Whether the entry is something in a database, and not only what every empty one has too.
pub fn is_object(entry: &Entry) -> bool {
    entry.database.is_some() && &*entry.kind != kind::SETTING && !not_part_of_a_database(entry)
}

/// What creates or connects to the database itself: the output goes into one that exists.
fn not_part_of_a_database(entry: &Entry) -> bool {
    matches!(
        &*entry.kind,
        "DATABASE" | "DATABASE PROPERTIES" | kind::META | kind::COMMENT | kind::GLOBAL
    ) || (entry.schema.is_none()
        && entry.name.as_bytes().starts_with(b"DATABASE ")
        && matches!(&*entry.kind, "ACL" | "COMMENT" | "SECURITY LABEL"))
}

/// Whether the entry is the schema itself or lies in it.
pub fn is_in_schema(entry: &Entry, schema: &Name) -> bool {
    if let Some(of) = &entry.schema {
        return of == schema;
    }
    match &*entry.kind {
        "SCHEMA" => entry.name == *schema,
        "ACL" | "COMMENT" | "SECURITY LABEL" => entry
            .name
            .as_bytes()
            .strip_prefix(b"SCHEMA ")
            .is_some_and(|name| spellings(schema).iter().any(|spelling| spelling == name)),
        _ => false,
    }
}

fn is_relation(entry: &Entry) -> bool {
    matches!(
        &*entry.kind,
        "TABLE" | "TABLE DATA" | "FOREIGN TABLE" | "VIEW" | "MATERIALIZED VIEW" | "SEQUENCE"
    )
}

fn is_of_table(entry: &Entry, table: &Name) -> bool {
    let name = entry.name.as_bytes();
    let starts_with_table = || {
        spellings(table).iter().any(|table| {
            name.strip_prefix(table.as_slice())
                .is_some_and(|rest| rest.first() == Some(&b' '))
        })
    };
    let names_table = |prefix: &[u8]| {
        spellings(table).iter().any(|table| {
            name.strip_prefix(prefix)
                .is_some_and(|rest| rest == table.as_slice())
        })
    };
    let names_column = || {
        name.strip_prefix(b"COLUMN ").is_some_and(|rest| {
            spellings(table).iter().any(|table| {
                rest.strip_prefix(table.as_slice())
                    .is_some_and(|rest| rest.first() == Some(&b'.'))
            })
        })
    };
    match &*entry.kind {
        "TABLE"
        | "TABLE DATA"
        | "FOREIGN TABLE"
        | "VIEW"
        | "MATERIALIZED VIEW"
        | "MATERIALIZED VIEW DATA"
        | "SEQUENCE"
        | "SEQUENCE SET"
        | "ROW SECURITY"
        | "TABLE ATTACH" => entry.name == *table,
        "CONSTRAINT" | "FK CONSTRAINT" | "CHECK CONSTRAINT" | "DEFAULT" | "TRIGGER" | "RULE"
        | "POLICY" => starts_with_table(),
        "ACL" | "COMMENT" | "SECURITY LABEL" => {
            names_table(b"TABLE ") || names_table(b"VIEW ") || names_column()
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::index::{ByteRange, FORMAT, Sha256Digest};
    use super::*;

    fn entry(database: &str, kind: &str, schema: Option<&str>, name: &str) -> Entry {
        Entry {
            database: Some(database.into()),
            kind: kind.into(),
            schema: schema.map(Name::from),
            name: name.into(),
            owner: None,
            ranges: vec![ByteRange { start: 0, end: 1 }],
            sha256: Sha256Digest([0; 32]),
            copy: None,
        }
    }

    fn index() -> Index {
        Index {
            format: FORMAT,
            dump_bytes: 0,
            archive_bytes: 0,
            dump_sha256: Sha256Digest([0; 32]),
            archive_sha256: Sha256Digest([0; 32]),
            entries: vec![
                entry("nostromo", "DATABASE", None, "nostromo"),
                entry("nostromo", kind::META, None, "connect"),
                entry("nostromo", kind::SETTING, None, "client_encoding"),
                entry("nostromo", "SCHEMA", None, "t1"),
                entry("nostromo", "ACL", None, "SCHEMA t1"),
                entry("nostromo", "SCHEMA", None, "t2"),
                entry("nostromo", "TABLE", Some("t1"), "payroll"),
                entry("nostromo", "TABLE DATA", Some("t1"), "payroll"),
                entry("nostromo", "TABLE", Some("t1"), "pay"),
                entry("nostromo", "TABLE", Some("t2"), "payroll"),
                entry("nostromo", "CONSTRAINT", Some("t1"), "payroll payroll_pkey"),
                entry("nostromo", "CONSTRAINT", Some("t1"), "pay pay_pkey"),
                entry("nostromo", "COMMENT", Some("t1"), "COLUMN payroll.amount"),
                entry("nostromo", "INDEX", Some("t1"), "by_amount"),
                entry("postgres", "SCHEMA", None, "other"),
            ],
            members: Vec::new(),
        }
    }

    fn names(filter: Filter) -> Vec<String> {
        let index = index();
        let selection = select(&index, &filter).unwrap();
        selection
            .entries
            .iter()
            .map(|n| format!("{} {}", index.entries[*n].kind, index.entries[*n].name))
            .collect()
    }

    #[test]
    fn a_schema_is_its_entries_with_the_settings_they_need() {
        assert_eq!(
            names(Filter {
                schema: Some("t1".into()),
                ..Filter::default()
            }),
            [
                "SETTING client_encoding",
                "SCHEMA t1",
                "ACL SCHEMA t1",
                "TABLE payroll",
                "TABLE DATA payroll",
                "TABLE pay",
                "CONSTRAINT payroll payroll_pkey",
                "CONSTRAINT pay pay_pkey",
                "COMMENT COLUMN payroll.amount",
                "INDEX by_amount",
            ]
        );
    }

    #[test]
    fn a_table_takes_what_hangs_on_it_and_not_its_namesakes() {
        let filter = Filter {
            schema: Some("t1".into()),
            table: Some("payroll".into()),
            ..Filter::default()
        };
        assert_eq!(
            names(filter.clone()),
            [
                "SETTING client_encoding",
                "TABLE payroll",
                "TABLE DATA payroll",
                "CONSTRAINT payroll payroll_pkey",
                "COMMENT COLUMN payroll.amount",
            ]
        );
        assert_eq!(select(&index(), &filter).unwrap().undecided.len(), 1);
    }

    #[test]
    fn an_unclear_or_unknown_name_says_what_there_is() {
        let ask = |filter| crate::error::hint(&select(&index(), &filter).unwrap_err()).unwrap();
        let table = Some(Name::from("payroll"));
        assert!(
            ask(Filter {
                table,
                ..Filter::default()
            })
            .contains("t1, t2")
        );
        assert!(
            ask(Filter {
                database: Some("nope".into()),
                ..Filter::default()
            })
            .contains("nostromo, postgres")
        );
        assert!(
            ask(Filter {
                schema: Some("nope".into()),
                ..Filter::default()
            })
            .contains("show")
        );
        assert!(ask(Filter::default()).contains("nostromo, postgres"));
    }

    #[test]
    fn an_index_belongs_to_the_table_it_is_on() {
        let (schema, table) = (Name::from("t1"), Name::from("pay roll"));
        assert!(is_on_table(
            b"CREATE INDEX i ON t1.\"pay roll\" USING btree (a);",
            &schema,
            &table
        ));
        assert!(is_on_table(
            b"CREATE UNIQUE INDEX i ON ONLY t1.\"pay roll\" USING btree (a);",
            &schema,
            &table
        ));
        assert!(!is_on_table(
            b"CREATE INDEX i ON t1.\"pay roll 2\" USING btree (a);",
            &schema,
            &table
        ));
        assert!(!is_on_table(
            b"CREATE INDEX i ON t2.\"pay roll\" USING btree (a);",
            &schema,
            &table
        ));
    }
}

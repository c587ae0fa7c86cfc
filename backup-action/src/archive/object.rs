//! What an entry is called: one name for screens, reports, failures of a restore, and what
//! `[[drill.acknowledge]]` writes. Names only; what they are used for is the caller's.

use super::index::{Entry, Index, Name, kind};
use super::scanned::shown;
use std::collections::BTreeMap;

/// The names of an index's entries.
///
/// `TABLE nostromo: central.tenants`: kind, database, schema and name; `SCHEMA nostromo: central`
/// where there is no schema; `DATABASE nostromo` for the database itself. The globals have no type
/// in the dump; theirs is the heading that they stand under: `ROLE app_owner` (each statement that
/// makes it), `ROLE SETTING app_owner`, `ROLE MEMBERSHIP app_owner` (the role that is granted),
/// `TABLESPACE fast`, `PARAMETER work_mem`, else `GLOBAL …`. Control characters are escaped, and
/// bytes that are not UTF-8 shown as U+FFFD, so that a name is one line of text. It depends on
/// nothing but the dump.
pub struct Objects<'a> {
    index: &'a Index,
    /// Kinds of the globals, by position.
    globals: BTreeMap<usize, &'static str>,
}

impl<'a> Objects<'a> {
    /// Reads the headings of `index`.
    pub fn of(index: &'a Index) -> Objects<'a> {
        let mut globals = BTreeMap::new();
        let mut heading = kind::GLOBAL;
        for (number, entry) in index.entries.iter().enumerate() {
            match (&*entry.kind, &entry.database) {
                (kind::COMMENT, None) => heading = under(entry.name.as_bytes()).unwrap_or(heading),
                (kind::GLOBAL, _) => {
                    globals.insert(number, heading);
                }
                _ => {}
            }
        }
        Objects { index, globals }
    }

    /// The kind of entry `number` as its name begins; empty when there is no such entry.
    pub fn kind(&self, number: usize) -> &'a str {
        match (self.globals.get(&number), self.index.entries.get(number)) {
            (Some(kind), _) => kind,
            (None, Some(entry)) => &entry.kind,
            (None, None) => "",
        }
    }

    /// The name of entry `number`.
    pub fn name(&self, number: usize) -> String {
        match self.index.entries.get(number) {
            Some(entry) => name(self.kind(number), entry),
            None => format!("entry {number}"),
        }
    }
}

/// What a database is called that has no entry of its own.
pub fn database(name: &Name) -> String {
    format!("DATABASE {}", shown(name))
}

fn name(kind: &str, entry: &Entry) -> String {
    match (&entry.database, &entry.schema) {
        (Some(database), None)
            if matches!(kind, "DATABASE" | "DATABASE PROPERTIES") && entry.name == *database =>
        {
            format!("{kind} {}", shown(database))
        }
        (Some(database), Some(schema)) => format!(
            "{kind} {}: {}.{}",
            shown(database),
            shown(schema),
            shown(&entry.name)
        ),
        (Some(database), None) => format!("{kind} {}: {}", shown(database), shown(&entry.name)),
        (None, _) => format!("{kind} {}", shown(&entry.name)),
    }
}

/// The kind of what stands under a heading of the globals; none for a comment that is no heading.
fn under(heading: &[u8]) -> Option<&'static str> {
    const HEADINGS: [(&[u8], &str); 7] = [
        (b"Roles", "ROLE"),
        (b"User Config", "ROLE SETTING"),
        (b"Role memberships", "ROLE MEMBERSHIP"),
        (b"Role privileges on configuration parameters", "PARAMETER"),
        (b"Tablespaces", "TABLESPACE"),
        (b"Per-Database Role Settings", "ROLE SETTING"),
        (b"Databases", kind::GLOBAL),
    ];
    HEADINGS
        .iter()
        .find(|(start, _)| heading.starts_with(start))
        .map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::rebuild::rebuild;
    use std::io::Write;

    fn index(sql: &str) -> Index {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(sql.as_bytes()).unwrap();
        rebuild(&gzip.finish().unwrap()[..], |_| {}).unwrap().index
    }

    #[test]
    fn every_kind_of_object_has_a_name() {
        let index = index(concat!(
            "--\n-- PostgreSQL database cluster dump\n--\n\n",
            "--\n-- Roles\n--\n\nCREATE ROLE \"a\tb\";\nALTER ROLE \"a\tb\" WITH NOLOGIN;\n\n",
            "--\n-- User Configurations\n--\n\n--\n-- User Config \"x\"\n--\n\nALTER ROLE x SET work_mem TO '5MB';\n",
            "--\n-- Role memberships\n--\n\nGRANT g TO x;\n",
            "--\n-- Role privileges on configuration parameters\n--\n\nGRANT SET ON PARAMETER work_mem TO x;\n",
            "--\n-- Tablespaces\n--\n\nCREATE TABLESPACE fast OWNER x LOCATION '/x';\n",
            "--\n-- Databases\n--\n\n--\n-- Database \"d\" dump\n--\n\n",
            "--\n-- Name: d; Type: DATABASE; Schema: -; Owner: x\n--\n\nCREATE DATABASE d;\n\n",
            "\\connect d\n\nSET x = 1;\n",
            "--\n-- Name: s; Type: SCHEMA; Schema: -; Owner: x\n--\n\nCREATE SCHEMA s;\n\n",
            "--\n-- Name: t; Type: TABLE; Schema: s; Owner: x\n--\n\nCREATE TABLE s.t (\n);\n\n",
        ));
        let objects = Objects::of(&index);
        let names: Vec<String> = (0..index.entries.len())
            .filter(|n| !matches!(objects.kind(*n), kind::COMMENT | kind::META))
            .map(|n| objects.name(n))
            .collect();
        assert_eq!(
            names,
            [
                "ROLE a\\tb",
                "ROLE a\\tb",
                "ROLE SETTING x",
                "ROLE MEMBERSHIP g",
                "PARAMETER work_mem",
                "TABLESPACE fast",
                "DATABASE d",
                "SETTING d: x",
                "SCHEMA d: s",
                "TABLE d: s.t",
            ]
        );
    }
}

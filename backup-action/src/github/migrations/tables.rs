//! The tables of a backup, and what the mentions of a file come to against them: tables of many
//! tenants are one line, `tenant_*.payroll`. Pure.

use super::mentions::{Mention, Verb};
use crate::archive::index::{Entry, Index, Name, kind};
use crate::report::sizes::Touch;
use std::collections::{BTreeMap, BTreeSet};

/// Rows and bytes of every table of an index.
#[derive(Debug, Default)]
pub struct Tables {
    by_name: BTreeMap<Name, Vec<Table>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Table {
    database: Name,
    schema: Name,
    rows: u64,
    bytes: u64,
}

impl Tables {
    /// The tables of an index. One without rows of its own, such as a partitioned one, counts nothing.
    pub fn of(index: &Index) -> Tables {
        let mut found: BTreeMap<(&Name, &Name, &Name), (u64, u64)> = BTreeMap::new();
        for entry in &index.entries {
            let (Some(database), Some(schema)) = (&entry.database, &entry.schema) else {
                continue;
            };
            let (rows, bytes) = match &*entry.kind {
                "TABLE" => (0, 0),
                kind::TABLE_DATA => amount(entry),
                _ => continue,
            };
            let sums = found.entry((&entry.name, database, schema)).or_default();
            sums.0 += rows;
            sums.1 += bytes;
        }
        let mut tables = Tables::default();
        for ((name, database, schema), (rows, bytes)) in found {
            tables.by_name.entry(name.clone()).or_default().push(Table {
                database: database.clone(),
                schema: schema.clone(),
                rows,
                bytes,
            });
        }
        tables
    }

    /// What the file does to tables that the backup knows, in the order of the lines.
    pub fn touches(&self, file: &str, mentions: &[Mention]) -> Vec<Touch> {
        let mut groups: BTreeMap<(&Name, &Name, String), Group> = BTreeMap::new();
        for mention in mentions {
            for table in self.meant(mention) {
                let family = family(&table.schema.to_lossy());
                let group = groups
                    .entry((&mention.table, &table.database, family))
                    .or_insert_with(|| Group::begin(mention.line));
                group.tables.insert(table);
                group.verbs.insert(mention.verb);
                group.line = group.line.min(mention.line);
            }
        }
        let mut touches: Vec<Touch> = groups
            .into_iter()
            .map(|((name, database, _), group)| Touch {
                file: file.to_owned(),
                line: group.line,
                does: group.verbs.iter().map(|v| v.word().to_owned()).collect(),
                database: database.to_lossy(),
                tables: format!("{}.{name}", group.pattern()),
                table_count: group.tables.len() as u64,
                rows: group.sum(|table| table.rows),
                bytes: group.sum(|table| table.bytes),
            })
            .collect();
        touches.sort_by(|a, b| (a.line, &a.tables).cmp(&(b.line, &b.tables)));
        touches
    }

    /// The tables that a mention can mean: an unqualified one those on the search path that the
    /// file sets, else those of that name in any schema, because a migration of tenants runs in each.
    fn meant<'a>(&'a self, mention: &'a Mention) -> Vec<&'a Table> {
        let of_name = self.by_name.get(&mention.table);
        let all = || of_name.into_iter().flatten();
        let inside = |schemas: &[Name]| -> Vec<&Table> {
            all()
                .filter(|table| schemas.contains(&table.schema))
                .collect()
        };
        match &mention.schema {
            Some(schema) => inside(std::slice::from_ref(schema)),
            None => match inside(&mention.search_path) {
                on_path if on_path.is_empty() => all().collect(),
                on_path => on_path,
            },
        }
    }
}

/// Tables of one name in schemas of one kind, and what is done to them.
struct Group<'a> {
    tables: BTreeSet<&'a Table>,
    verbs: BTreeSet<Verb>,
    line: u32,
}

impl Group<'_> {
    fn begin(line: u32) -> Self {
        Group {
            tables: BTreeSet::new(),
            verbs: BTreeSet::new(),
            line,
        }
    }

    fn pattern(&self) -> String {
        let schemas: Vec<String> = self.tables.iter().map(|t| t.schema.to_lossy()).collect();
        pattern(&schemas)
    }

    fn sum(&self, of: fn(&Table) -> u64) -> u64 {
        self.tables
            .iter()
            .fold(0, |sum, table| sum.saturating_add(of(table)))
    }
}

fn amount(entry: &Entry) -> (u64, u64) {
    let rows = entry.copy.as_ref().map_or(0, |copy| copy.rows);
    (rows, entry.bytes())
}

fn is_separator(c: char) -> bool {
    matches!(c, '_' | '-' | '.')
}

/// What schemas of one kind have in common: the name up to its first separator or digit.
fn family(schema: &str) -> String {
    let end = schema
        .find(|c: char| is_separator(c) || c.is_ascii_digit())
        .unwrap_or(schema.len());
    schema[..end].to_owned()
}

/// One schema as it is, several as their common start and `*`.
fn pattern(schemas: &[String]) -> String {
    let [first, rest @ ..] = schemas else {
        return String::new();
    };
    if rest.is_empty() {
        return first.clone();
    }
    let mut common = first.as_str();
    for schema in rest {
        let same = common
            .char_indices()
            .zip(schema.chars())
            .find(|((_, a), b)| a != b)
            .map_or(common.len().min(schema.len()), |((at, _), _)| at);
        common = &common[..same];
    }
    let end = match common.rfind(is_separator) {
        Some(at) => at + 1,
        None => common.trim_end_matches(|c: char| c.is_ascii_digit()).len(),
    };
    format!("{}*", &common[..end])
}

#[cfg(test)]
mod tests {
    use super::super::mentions::mentions;
    use super::*;

    fn tables(names: &[(&str, &str, &str, u64)]) -> Tables {
        let mut tables = Tables::default();
        for (database, schema, table, rows) in names {
            tables
                .by_name
                .entry((*table).into())
                .or_default()
                .push(Table {
                    database: (*database).into(),
                    schema: (*schema).into(),
                    rows: *rows,
                    bytes: rows * 10,
                });
        }
        tables
    }

    fn said(text: &str) -> Vec<String> {
        let known = tables(&[
            ("n", "central", "users", 5),
            ("n", "tenant_empresa_1", "payroll", 10),
            ("n", "tenant_empresa_2", "payroll", 20),
            ("n", "tenant_otra_1", "payroll", 30),
            ("n", "tenant_empresa_1", "users", 1),
            ("n", "tenant_empresa_2", "users", 1),
            ("m", "public", "users", 7),
        ]);
        known
            .touches("f", &mentions(text.as_bytes()))
            .iter()
            .map(|touch| {
                format!(
                    "{} {} {}/{} {} {} {}",
                    touch.line,
                    touch.does.join("+"),
                    touch.database,
                    touch.tables,
                    touch.table_count,
                    touch.rows,
                    touch.bytes
                )
            })
            .collect()
    }

    #[test]
    fn tenants_are_one_line_and_others_their_own() {
        assert_eq!(
            said("\nUPDATE payroll SET a = 1; ALTER TABLE payroll ADD b int; DROP TABLE nowhere;"),
            ["2 alters+updates n/tenant_*.payroll 3 60 600"]
        );
        assert_eq!(
            said(
                "ALTER TABLE tenant_empresa_1.payroll ADD b int;\nALTER TABLE tenant_empresa_2.payroll ADD b int"
            ),
            ["1 alters n/tenant_empresa_*.payroll 2 30 300"]
        );
        assert_eq!(
            said("DELETE FROM users"),
            [
                "1 deletes from n/central.users 1 5 50",
                "1 deletes from m/public.users 1 7 70",
                "1 deletes from n/tenant_empresa_*.users 2 2 20",
            ]
        );
        assert_eq!(
            said(
                "SET search_path = tenant_empresa_2; TRUNCATE users; SET search_path = elsewhere; TRUNCATE payroll"
            ),
            [
                "1 empties n/tenant_*.payroll 3 60 600",
                "1 empties n/tenant_empresa_2.users 1 1 10",
            ]
        );
    }

    #[test]
    fn patterns_end_where_names_differ() {
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            pattern(&names)
        };
        assert_eq!(of(&["a"]), "a");
        assert_eq!(of(&["tenant_1", "tenant_12"]), "tenant_*");
        assert_eq!(of(&["t1", "t12", "t2"]), "t*");
        assert_eq!(of(&["tenant_añ_1", "tenant_ao_2"]), "tenant_*");
        assert_eq!(family("t12"), family("t2"));
        assert_ne!(family("central"), family("tenant_1"));
    }
}

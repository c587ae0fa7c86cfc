//! What the catalogue says is in the cluster, and whether the archive holds it. Asked before and
//! after the dump, so that what was created or dropped meanwhile is no false alarm.

use super::list_names;
use super::preflight::{HexName, Server, is_missing_database};
use crate::archive::index::Name;
use crate::check::{Check, CheckId};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The databases, schemas and tables that pg_dumpall would dump, each with its object identifier:
/// an object that was dropped and made anew under its old name is another one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// By name.
    pub databases: BTreeMap<Name, DatabaseInventory>,
}

/// What is in one database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseInventory {
    /// The database's own identifier.
    pub oid: u32,
    /// Schemas except `public`, which pg_dump writes only when it was changed.
    pub schemas: BTreeMap<Name, u32>,
    /// Schema and name of ordinary, partitioned and foreign tables and materialised views.
    pub tables: BTreeMap<(Name, Name), u32>,
    /// Extensions with their versions.
    pub extensions: BTreeMap<Name, String>,
    /// The version of the collation library that the database was made with, where the server
    /// says it.
    pub collation_version: Option<String>,
}

impl Inventory {
    /// How many tables there are in all databases.
    pub fn tables(&self) -> usize {
        self.databases.values().map(|d| d.tables.len()).sum()
    }
}

/// What an archive holds, collected from its index by the caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchivedInventory {
    /// Databases that the dump connects to.
    pub databases: BTreeSet<Name>,
    /// Database and schema.
    pub schemas: BTreeSet<(Name, Name)>,
    /// Database, schema and table (also foreign tables and materialised views).
    pub tables: BTreeSet<(Name, Name, Name)>,
}

#[derive(Deserialize)]
struct Answer {
    schemas: Vec<(HexName, u32)>,
    tables: Vec<(HexName, HexName, u32)>,
    extensions: Vec<(HexName, String)>,
    collation_version: Option<String>,
}

const DATABASES: &str = "select coalesce(json_agg(json_build_array(\
    encode(namesend(datname), 'hex'), oid::bigint)), '[]') \
    from pg_database where datallowconn and datconnlimit <> -2";

/// The rules by which pg_dump chooses: nothing of the system, of sessions, or of extensions.
const CONTENTS: &str = "with \
    schemas as (select n.oid, n.nspname from pg_namespace n \
        where n.nspname !~ '^pg_' and n.nspname <> 'information_schema'), \
    members as (select d.objid, d.classid from pg_depend d where d.deptype = 'e') \
    select json_build_object(\
    'collation_version', (select to_jsonb(d) ->> 'datcollversion' from pg_database d where d.datname = current_database()), \
    'extensions', (select coalesce(json_agg(json_build_array(encode(namesend(extname), 'hex'), extversion)), '[]') from pg_extension), \
    'schemas', (select coalesce(json_agg(json_build_array(encode(namesend(s.nspname), 'hex'), s.oid::bigint)), '[]') \
        from schemas s where s.nspname <> 'public' \
        and not exists (select 1 from members m where m.classid = 'pg_namespace'::regclass and m.objid = s.oid)), \
    'tables', (select coalesce(json_agg(json_build_array(\
            encode(namesend(s.nspname), 'hex'), encode(namesend(c.relname), 'hex'), c.oid::bigint)), '[]') \
        from pg_class c join schemas s on s.oid = c.relnamespace \
        where c.relkind in ('r', 'p', 'f', 'm') and c.relpersistence <> 't' \
        and not exists (select 1 from members m where m.classid = 'pg_class'::regclass and m.objid = c.oid)))";

/// Asks every database for its schemas and tables, a few databases at a time. Names are the bytes
/// that the dump holds: those of the database's own encoding.
///
/// # Errors
/// The server or one of its databases could not be asked. A database that disappears meanwhile is
/// left out.
pub async fn inventory(server: &Server) -> anyhow::Result<Inventory> {
    let psql = &server.psql;
    let maintenance = &server.facts.maintenance_database;
    let listed: Vec<(HexName, u32)> = psql.query_json(maintenance, DATABASES).await?;
    let oids: BTreeMap<Name, u32> = listed.into_iter().map(|(n, oid)| (n.into(), oid)).collect();
    let names = oids.keys().cloned().collect();
    let mut inventory = Inventory::default();
    for (name, answer) in psql.query_each::<Answer>(names, CONTENTS).await {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if is_missing_database(&error) => continue,
            Err(error) => return Err(error),
        };
        let database = DatabaseInventory {
            oid: oids.get(&name).copied().unwrap_or_default(),
            schemas: answer
                .schemas
                .into_iter()
                .map(|(n, oid)| (n.into(), oid))
                .collect(),
            tables: answer
                .tables
                .into_iter()
                .map(|(schema, table, oid)| ((schema.into(), table.into()), oid))
                .collect(),
            extensions: answer
                .extensions
                .into_iter()
                .map(|(name, version)| (name.into(), version))
                .collect(),
            collation_version: answer.collation_version,
        };
        inventory.databases.insert(name, database);
    }
    Ok(inventory)
}

/// Whether everything that was there before *and* after the dump is in the archive. Always blocks:
/// an incomplete backup is none.
pub fn compare(before: &Inventory, after: &Inventory, archived: &ArchivedInventory) -> Check {
    let mut seen = Comparison::default();
    for (name, then) in &before.databases {
        match after.databases.get(name).filter(|now| now.oid == then.oid) {
            Some(now) => seen.database(name, then, now, archived),
            None => seen.dropped.push(format!("database {name}")),
        }
    }
    for (name, now) in &after.databases {
        if before
            .databases
            .get(name)
            .is_none_or(|then| then.oid != now.oid)
        {
            seen.created.push(format!("database {name}"));
        }
    }
    seen.verdict()
}

#[derive(Default)]
struct Comparison {
    databases: usize,
    schemas: usize,
    tables: usize,
    missing: Vec<String>,
    created: Vec<String>,
    dropped: Vec<String>,
}

impl Comparison {
    fn database(
        &mut self,
        name: &Name,
        then: &DatabaseInventory,
        now: &DatabaseInventory,
        archived: &ArchivedInventory,
    ) {
        if !archived.databases.contains(name) {
            return self.missing.push(format!("database {name}"));
        }
        self.databases += 1;
        self.schemas += self.each(
            &then.schemas,
            &now.schemas,
            |schema| archived.schemas.contains(&(name.clone(), schema.clone())),
            |schema| format!("schema {name}.{schema}"),
        );
        self.tables += self.each(
            &then.tables,
            &now.tables,
            |(schema, table)| {
                let key = (name.clone(), schema.clone(), table.clone());
                archived.tables.contains(&key)
            },
            |(schema, table)| format!("table {name}.{schema}.{table}"),
        );
    }

    /// Compares one kind of object and returns how many are in the archive.
    fn each<K: Ord>(
        &mut self,
        then: &BTreeMap<K, u32>,
        now: &BTreeMap<K, u32>,
        is_archived: impl Fn(&K) -> bool,
        describe: impl Fn(&K) -> String,
    ) -> usize {
        let mut found = 0;
        for (key, oid) in then {
            if now.get(key) != Some(oid) {
                self.dropped.push(describe(key));
            } else if is_archived(key) {
                found += 1;
            } else {
                self.missing.push(describe(key));
            }
        }
        let new = now.iter().filter(|(key, oid)| then.get(key) != Some(oid));
        self.created.extend(new.map(|(key, _)| describe(key)));
        found
    }

    fn verdict(self) -> Check {
        let mut evidence = format!(
            "{} databases, {} schemas and {} tables of the catalogue are in the archive",
            self.databases, self.schemas, self.tables
        );
        for (what, names) in [("created", &self.created), ("dropped", &self.dropped)] {
            if !names.is_empty() {
                evidence.push_str(&format!("; {what} during the dump: {}", list_names(names)));
            }
        }
        if self.missing.is_empty() {
            return Check::passed(CheckId::Inventory, evidence);
        }
        let count = self.missing.len();
        Check::failed(
            CheckId::Inventory,
            format!(
                "{count} missing from the archive: {}; {evidence}",
                list_names(&self.missing)
            ),
            "Look at the role's rights and at the options of pg_dumpall; the backup is incomplete.",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    fn inventory(tables: &[(&str, u32)]) -> Inventory {
        let database = DatabaseInventory {
            oid: 5,
            schemas: BTreeMap::from([(Name::from("s"), 7)]),
            tables: tables
                .iter()
                .map(|(name, oid)| ((Name::from("s"), Name::from(*name)), *oid))
                .collect(),
            ..DatabaseInventory::default()
        };
        Inventory {
            databases: BTreeMap::from([(Name::from("d"), database)]),
        }
    }

    fn archived(tables: &[&str]) -> ArchivedInventory {
        let d = || Name::from("d");
        ArchivedInventory {
            databases: BTreeSet::from([d()]),
            schemas: BTreeSet::from([(d(), Name::from("s"))]),
            tables: tables
                .iter()
                .map(|name| (d(), Name::from("s"), Name::from(*name)))
                .collect(),
        }
    }

    #[test]
    fn what_stayed_must_be_archived_and_what_moved_is_told_apart() {
        let before = inventory(&[("a", 1), ("gone", 2), ("remade", 3)]);
        let after = inventory(&[("a", 1), ("remade", 9), ("new", 4)]);
        let check = compare(&before, &after, &archived(&["a"]));
        assert_eq!(check.outcome, Outcome::Passed, "{}", check.evidence);
        expect_test::expect!["1 databases, 1 schemas and 1 tables of the catalogue are in the archive; created during the dump: table d.s.new, table d.s.remade; dropped during the dump: table d.s.gone, table d.s.remade"].assert_eq(&check.evidence);
        let check = compare(&before, &after, &archived(&["gone", "remade", "new"]));
        assert_eq!(check.outcome, Outcome::Failed);
        assert!(
            check
                .evidence
                .starts_with("1 missing from the archive: table d.s.a;"),
            "{}",
            check.evidence
        );
    }

    #[test]
    fn a_missing_database_or_schema_is_named_once() {
        let both = inventory(&[("a", 1), ("b", 2)]);
        let check = compare(&both, &both, &ArchivedInventory::default());
        assert_eq!(check.outcome, Outcome::Failed);
        assert!(
            check
                .evidence
                .starts_with("1 missing from the archive: database d;"),
            "{}",
            check.evidence
        );
        let mut without_schema = archived(&["a", "b"]);
        without_schema.schemas.clear();
        let check = compare(&both, &both, &without_schema);
        assert!(
            check
                .evidence
                .starts_with("1 missing from the archive: schema d.s;"),
            "{}",
            check.evidence
        );
    }
}

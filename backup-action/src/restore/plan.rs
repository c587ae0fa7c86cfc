//! Which entries of an archive are replayed, in which phase. Pure: the index alone decides. What may
//! run side by side within a phase depends on the statements, and is decided in `facts`.

use crate::archive::extract::{self, Filter};
use crate::archive::index::{Index, Name, kind};
use std::fmt;

/// What to restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Globals and every database.
    Cluster,
    /// One database.
    Database(Name),
    /// One schema of a database.
    Schema {
        /// The database in the archive.
        database: Name,
        /// The schema.
        schema: Name,
    },
}

/// A phase of a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Roles, memberships, tablespaces, settings of roles.
    Globals,
    /// Databases, and in each what stands before the first rows.
    BeforeData,
    /// Rows.
    Data,
    /// Indexes, primary keys, unique and exclusion constraints.
    Keys,
    /// Everything else, in order.
    AfterData,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Globals => "globals",
            Phase::BeforeData => "before data",
            Phase::Data => "data",
            Phase::Keys => "indexes and keys",
            Phase::AfterData => "after data",
        })
    }
}

/// What one database needs; every list in the order of the dump, as positions in
/// [`Index::entries`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabasePlan {
    /// Its name in the archive.
    pub database: Name,
    /// What runs while connected to another database: CREATE DATABASE.
    pub create: Vec<usize>,
    /// What stands before the first rows, a list for each connection that the dump makes.
    pub before_data: Vec<Vec<usize>>,
    /// Rows.
    pub data: Vec<usize>,
    /// Indexes and constraints behind the first rows. Those that cannot be proved independent run
    /// with `after_data`.
    pub keys: Vec<usize>,
    /// Everything else behind the first rows.
    pub after_data: Vec<usize>,
}

/// The entries to replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Statements for the whole cluster.
    pub globals: Vec<usize>,
    /// The databases in the order of the dump.
    pub databases: Vec<DatabasePlan>,
}

/// Entries of one phase of one database, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedStep {
    /// Which phase.
    pub phase: Phase,
    /// The database; none for globals.
    pub database: Option<Name>,
    /// How many entries.
    pub entries: usize,
    /// Their size in the dump.
    pub dump_bytes: u64,
}

/// Chooses the entries of `scope`. Comments of the dump and meta-commands are not among them;
/// settings come with the entries that need them.
///
/// # Errors
/// A database or schema that is not in the archive.
pub fn plan(index: &Index, scope: &Scope) -> anyhow::Result<Plan> {
    let (globals, databases) = match scope {
        Scope::Cluster => {
            let databases = index.databases().into_iter().cloned();
            (globals(index), databases.collect())
        }
        Scope::Database(database) => {
            let filter = Filter {
                database: Some(database.clone()),
                ..Filter::default()
            };
            // An empty database holds nothing to select, but can be restored.
            if !index.databases().contains(&database) {
                extract::select(index, &filter)?;
            }
            (Vec::new(), vec![database.clone()])
        }
        Scope::Schema { database, schema } => {
            let filter = Filter {
                database: Some(database.clone()),
                schema: Some(schema.clone()),
                table: None,
            };
            let chosen = extract::select(index, &filter)?.entries;
            return Ok(Plan {
                globals: Vec::new(),
                databases: vec![sort_in(index, database.clone(), chosen.into_iter())],
            });
        }
    };
    let databases = databases.into_iter().map(|name| {
        let own = (0..index.entries.len())
            .filter(|n| index.entries[*n].database.as_ref() == Some(&name))
            .collect::<Vec<_>>();
        sort_in(index, name, own.into_iter())
    });
    Ok(Plan {
        globals,
        databases: databases.collect(),
    })
}

fn globals(index: &Index) -> Vec<usize> {
    let entries = index.entries.iter().enumerate();
    let own = entries.filter(|(_, entry)| entry.database.is_none() && is_replayed(&entry.kind));
    own.map(|(number, _)| number).collect()
}

fn is_replayed(of: &str) -> bool {
    !matches!(of, kind::META | kind::COMMENT | kind::SETTING)
}

fn sort_in(index: &Index, database: Name, entries: impl Iterator<Item = usize>) -> DatabasePlan {
    let mut plan = DatabasePlan {
        database,
        create: Vec::new(),
        before_data: Vec::new(),
        data: Vec::new(),
        keys: Vec::new(),
        after_data: Vec::new(),
    };
    let mut connection = Vec::new();
    for number in entries {
        let entry = &index.entries[number];
        if &*entry.kind == kind::META && entry.name.as_bytes() == b"connect" {
            plan.before_data.push(std::mem::take(&mut connection));
        }
        if !is_replayed(&entry.kind) {
            continue;
        }
        match &*entry.kind {
            "DATABASE" => plan.create.push(number),
            kind::TABLE_DATA if entry.copy.is_some() => plan.data.push(number),
            _ if plan.data.is_empty() => connection.push(number),
            "INDEX" | "CONSTRAINT" => plan.keys.push(number),
            _ => plan.after_data.push(number),
        }
    }
    plan.before_data.push(connection);
    plan.before_data.retain(|entries| !entries.is_empty());
    plan
}

impl DatabasePlan {
    /// Every entry, in the order of the dump.
    pub fn entries(&self) -> Vec<usize> {
        let mut all = self.create.clone();
        all.extend(self.before_data.iter().flatten());
        all.extend(&self.data);
        all.extend(&self.keys);
        all.extend(&self.after_data);
        all.sort_unstable();
        all
    }
}

impl Plan {
    /// Every entry, in the order of the dump.
    pub fn entries(&self) -> Vec<usize> {
        let databases = self.databases.iter().flat_map(DatabasePlan::entries);
        let mut all: Vec<usize> = self.globals.iter().copied().chain(databases).collect();
        all.sort_unstable();
        all
    }

    /// The size of all entries in the dump.
    pub fn dump_bytes(&self, index: &Index) -> u64 {
        size(index, &self.entries())
    }

    /// What will be done, in order; phases without entries are left out.
    pub fn steps(&self, index: &Index) -> Vec<PlannedStep> {
        let mut steps = Vec::new();
        let mut push = |phase, database: Option<&Name>, entries: &[usize]| {
            if !entries.is_empty() {
                steps.push(PlannedStep {
                    phase,
                    database: database.cloned(),
                    entries: entries.len(),
                    dump_bytes: size(index, entries),
                });
            }
        };
        push(Phase::Globals, None, &self.globals);
        for plan in &self.databases {
            let before = plan.create.iter().chain(plan.before_data.iter().flatten());
            let before: Vec<usize> = before.copied().collect();
            for (phase, entries) in [
                (Phase::BeforeData, &before),
                (Phase::Data, &plan.data),
                (Phase::Keys, &plan.keys),
                (Phase::AfterData, &plan.after_data),
            ] {
                push(phase, Some(&plan.database), entries);
            }
        }
        steps
    }
}

fn size(index: &Index, entries: &[usize]) -> u64 {
    entries.iter().map(|n| index.entries[*n].bytes()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::compress::Encoder;
    use crate::archive::rebuild::rebuild;

    fn index() -> Index {
        let dump = "--\n-- PostgreSQL database cluster dump\n--\n\nSET client_encoding = 'UTF8';\n\nCREATE ROLE r;\n\n\
            --\n-- Database \"d\" dump\n--\n\nSET x = 1;\n\n\
            --\n-- Name: d; Type: DATABASE; Schema: -; Owner: r\n--\n\nCREATE DATABASE d;\n\n\\connect d\n\nSET x = 1;\n\n\
            --\n-- Name: d; Type: DATABASE PROPERTIES; Schema: -; Owner: r\n--\n\nALTER DATABASE d SET y TO '1';\n\n\\connect d\n\nSET x = 1;\n\n\
            --\n-- Name: s; Type: SCHEMA; Schema: -; Owner: r\n--\n\nCREATE SCHEMA s;\n\n\
            --\n-- Name: t; Type: TABLE; Schema: s; Owner: r\n--\n\nCREATE TABLE s.t (a int);\n\n\
            --\n-- Name: o; Type: TABLE; Schema: z; Owner: r\n--\n\nCREATE TABLE z.o (a int);\n\n\
            --\n-- Data for Name: t; Type: TABLE DATA; Schema: s; Owner: r\n--\n\nCOPY s.t (a) FROM stdin;\n1\n\\.\n\n\
            --\n-- Name: q; Type: SEQUENCE SET; Schema: s; Owner: r\n--\n\nSELECT pg_catalog.setval('s.q', 1, true);\n\n\
            --\n-- Name: t c; Type: CONSTRAINT; Schema: s; Owner: r\n--\n\nALTER TABLE ONLY s.t ADD CONSTRAINT c PRIMARY KEY (a);\n\n\
            --\n-- Name: t f; Type: FK CONSTRAINT; Schema: s; Owner: r\n--\n\nALTER TABLE ONLY s.t ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES s.t(a);\n\n\
            --\n-- PostgreSQL database dump complete\n--\n\n--\n-- PostgreSQL database cluster dump complete\n--\n\n";
        let member = Encoder::default().encode(dump.as_bytes(), 1).unwrap();
        rebuild(&member.bytes[..], |_| {}).unwrap().index
    }

    fn shown(index: &Index, entries: &[usize]) -> Vec<String> {
        let entries = entries.iter().map(|n| &index.entries[*n]);
        entries.map(|e| format!("{} {}", e.kind, e.name)).collect()
    }

    #[test]
    fn every_entry_has_its_phase_and_every_connection_its_list() {
        let index = index();
        let whole = plan(&index, &Scope::Cluster).unwrap();
        assert_eq!(shown(&index, &whole.globals), ["GLOBAL r"]);
        let [d] = whole.databases.as_slice() else {
            panic!("one database")
        };
        assert_eq!(shown(&index, &d.create), ["DATABASE d"]);
        let lists: Vec<_> = d.before_data.iter().map(|l| shown(&index, l)).collect();
        assert_eq!(
            lists,
            [
                vec!["DATABASE PROPERTIES d"],
                vec!["SCHEMA s", "TABLE t", "TABLE o"]
            ]
        );
        assert_eq!(shown(&index, &d.data), ["TABLE DATA t"]);
        assert_eq!(shown(&index, &d.keys), ["CONSTRAINT t c"]);
        assert_eq!(
            shown(&index, &d.after_data),
            ["SEQUENCE SET q", "FK CONSTRAINT t f"]
        );
        assert_eq!(whole.entries().len(), 10);
        assert_eq!(whole.steps(&index).len(), 5);
    }

    #[test]
    fn a_schema_is_its_own_entries_and_an_unknown_one_an_error() {
        let index = index();
        let scope = |schema: &str| Scope::Schema {
            database: "d".into(),
            schema: schema.into(),
        };
        let tenant = plan(&index, &scope("s")).unwrap();
        let d = &tenant.databases[0];
        assert!(d.create.is_empty() && tenant.globals.is_empty());
        assert_eq!(
            shown(&index, &d.before_data.concat()),
            ["SCHEMA s", "TABLE t"]
        );
        assert!(plan(&index, &scope("nope")).is_err());
        assert!(plan(&index, &Scope::Database("nope".into())).is_err());
    }
}

//! What the chosen entries need of the server: roles, extensions, tablespaces. Read from the index
//! and from the few statements that say it.

use crate::archive::index::{Index, Name, kind};
use crate::archive::named::{self, Global};
use crate::archive::statements::Statement;
use crate::restore::plan::{Plan, Scope};
use crate::restore::{Archive, read};
use std::collections::{BTreeMap, BTreeSet};

/// What a restore needs.
pub(super) struct Needs {
    /// Owners, grantees, and whoever else the statements name.
    pub(super) roles: BTreeSet<Name>,
    /// Extensions that are created.
    pub(super) extensions: BTreeSet<Name>,
    /// Tablespaces that are named, those that the archive itself creates left out.
    pub(super) tablespaces: BTreeSet<Name>,
    /// The statements of the globals, with their entries, in the order of the dump.
    pub(super) globals: Vec<(usize, Global, Statement)>,
    /// Statements of other entries that were read.
    pub(super) statements: BTreeMap<usize, Vec<Statement>>,
}

impl Needs {
    /// Whether the archive knows the role.
    pub(super) fn has_role(&self, role: &Name) -> bool {
        let created = |global: &Global| matches!(global, Global::CreateRole(name) if name == role);
        self.globals.iter().any(|(_, global, _)| created(global))
    }
}

/// Reads what `plan` needs.
///
/// # Errors
/// The store's, or an archive that differs from its index.
pub(super) async fn read(archive: &Archive, scope: &Scope, plan: &Plan) -> anyhow::Result<Needs> {
    let index = &archive.index;
    let chosen = plan.entries();
    let globals: Vec<usize> = numbers(index, |number| {
        let entry = &index.entries[number];
        entry.database.is_none() && &*entry.kind == kind::GLOBAL
    });
    let mut wanted = globals.clone();
    wanted.extend(chosen.iter().filter(|n| names_more(index, **n)));
    if let Scope::Database(_) | Scope::Schema { .. } = scope {
        wanted.extend(settings(index, scope));
    }
    let mut statements = read::statements(archive, &wanted).await?;
    let mut needs = Needs {
        roles: BTreeSet::new(),
        extensions: BTreeSet::new(),
        tablespaces: BTreeSet::new(),
        globals: Vec::new(),
        statements: BTreeMap::new(),
    };
    for number in globals {
        for statement in statements.remove(&number).unwrap_or_default() {
            needs
                .globals
                .push((number, named::global(&statement), statement));
        }
    }
    for number in &chosen {
        let entry = &index.entries[*number];
        match &*entry.kind {
            "EXTENSION" => {
                needs.extensions.insert(entry.name.clone());
            }
            // Comments on extensions carry no owner that matters; rows need none.
            kind::TABLE_DATA => {}
            // pg_dump leaves the owner of an extension's comment empty.
            _ => needs.roles.extend(
                entry
                    .owner
                    .clone()
                    .filter(|owner| !owner.as_bytes().is_empty()),
            ),
        }
    }
    for statement in statements.values().flatten() {
        needs.roles.extend(named::roles(statement));
        needs.tablespaces.extend(named::tablespace(statement));
    }
    needs.statements = statements;
    for (_, global, _) in &needs.globals {
        if let (Global::Tablespace(name), Scope::Cluster) = (global, scope) {
            needs.tablespaces.remove(name);
        }
    }
    Ok(needs)
}

fn numbers(index: &Index, wanted: impl Fn(usize) -> bool) -> Vec<usize> {
    (0..index.entries.len()).filter(|n| wanted(*n)).collect()
}

/// Whether the statements of an entry name roles or tablespaces that the index does not know.
fn names_more(index: &Index, number: usize) -> bool {
    matches!(
        &*index.entries[number].kind,
        "ACL" | "DEFAULT ACL" | "POLICY" | "USER MAPPING" | "DATABASE" | "DATABASE PROPERTIES"
    ) || is_of_database(index, number)
}

/// Whether an entry is about its database itself: what runs once that has its final name.
pub(super) fn is_of_database(index: &Index, number: usize) -> bool {
    let entry = &index.entries[number];
    match &*entry.kind {
        "DATABASE PROPERTIES" => true,
        "COMMENT" | "ACL" | "SECURITY LABEL" => {
            entry.schema.is_none() && entry.name.as_bytes().starts_with(b"DATABASE ")
        }
        _ => false,
    }
}

/// The settings of tablespaces in the database of the scope.
fn settings(index: &Index, scope: &Scope) -> Vec<usize> {
    let database = match scope {
        Scope::Cluster => return Vec::new(),
        Scope::Database(database) | Scope::Schema { database, .. } => database,
    };
    numbers(index, |number| {
        let entry = &index.entries[number];
        entry.database.as_ref() == Some(database)
            && &*entry.kind == kind::SETTING
            && entry.name.as_bytes() == b"default_tablespace"
    })
}

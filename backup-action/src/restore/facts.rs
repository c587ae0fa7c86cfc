//! What the statements of a database say about which work may run side by side. Everything here errs
//! on one side: what cannot be shown to be independent is not.
//!
//! Rows are checked by the server with expressions of CHECK constraints, generated columns,
//! partition keys and domains. When such an expression calls code of a user, that may read other
//! tables, and the order of the dump is the only one that is known to work. pg_dump runs with an
//! empty search_path, so whatever is not PostgreSQL's own is written with its schema.

use super::statement::{Qualified, calls_out, parts, qualified};
use crate::archive::index::{Entry, Index, Name};
use crate::archive::statements::Statement;
use crate::archive::token::Token;
use std::collections::{BTreeMap, BTreeSet};

/// What was learnt of one database.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Tables, domains and types.
    objects: BTreeMap<Qualified, Object>,
    /// Tables and materialised views, each with its family: parents, children, partitions.
    families: Families,
    /// Casts, operators or operator classes of a user: expressions call them without naming them.
    hidden_calls: bool,
    /// Checks of which it is not known what they are on.
    unknown_checks: bool,
}

#[derive(Debug, Default)]
struct Object {
    is_table: bool,
    is_partitioned: bool,
    /// Checks or computes something for each row.
    has_expressions: bool,
    /// Calls what is not PostgreSQL's own for each row.
    calls_out: bool,
    /// Every name in its statement: parents and types among them.
    names: BTreeSet<Qualified>,
}

impl Facts {
    /// Looks at a statement from before the data.
    pub(super) fn learn(&mut self, entry: &Entry, statement: &Statement) {
        let tokens = &statement.tokens;
        match &*entry.kind {
            "TABLE" | "DOMAIN" | "TYPE" if tokens.first().is_some_and(|t| t.is("CREATE")) => {
                self.learn_object(entry, tokens);
            }
            "TABLE ATTACH" => {
                let names: Vec<Qualified> = qualified(tokens).collect();
                if let [parent, child, ..] = names.as_slice() {
                    self.families.join(parent, child);
                    let child = self.objects.entry(child.clone()).or_default();
                    child.names.insert(parent.clone());
                }
            }
            "MATERIALIZED VIEW" => {
                if let Some(name) = own_name(entry) {
                    self.families.add(name);
                }
            }
            // Checks that were taken out of their table.
            "CHECK CONSTRAINT" => self.unknown_checks = true,
            "CAST" | "OPERATOR" | "OPERATOR CLASS" | "OPERATOR FAMILY" => self.hidden_calls = true,
            _ => {}
        }
    }

    /// The entry's SQL is not the dump's: nothing is known of it.
    pub(super) fn distrust(&mut self, entry: &Entry) {
        if let Some(name) = own_name(entry) {
            self.objects.entry(name).or_default().calls_out = true;
        }
    }

    fn learn_object(&mut self, entry: &Entry, tokens: &[Token]) {
        let Some(name) = own_name(entry) else { return };
        let names: BTreeSet<Qualified> = qualified(tokens).filter(|n| *n != name).collect();
        let parts = parts(tokens);
        let is_table = &*entry.kind == "TABLE";
        if is_table {
            self.families.add(name.clone());
            for parent in &parts.parents {
                self.families.join(parent, &name);
            }
        }
        let object = self.objects.entry(name).or_default();
        object.is_table = is_table;
        object.is_partitioned = parts.is_partitioned;
        // The functions of a range's subtype are not expressions, but run for each row too.
        object.has_expressions |= !parts.expressions.is_empty() || parts.is_range;
        object.calls_out |= parts.expressions.iter().any(|part| calls_out(part));
        object.names.extend(names);
    }

    /// Cuts the tables of `data` into stages: those of one stage may be loaded in any order and side
    /// by side, each stage behind the one before it.
    pub(super) fn stages(&self, index: &Index, data: &[usize]) -> Vec<Vec<usize>> {
        let mut memo = BTreeMap::new();
        let mut stages = Vec::new();
        let mut open = Vec::new();
        for table in data {
            if self.may_look_elsewhere(&index.entries[*table], &mut memo) {
                stages.push(std::mem::take(&mut open));
                stages.push(vec![*table]);
            } else {
                open.push(*table);
            }
        }
        stages.push(open);
        stages.retain(|stage| !stage.is_empty());
        stages
    }

    /// Whether the entry's rows go into a table of this database that is no root of partitions.
    pub(super) fn is_plain_table(&self, entry: &Entry) -> bool {
        let object = own_name(entry).and_then(|name| self.objects.get(&name));
        object.is_some_and(|object| object.is_table && !object.is_partitioned)
    }

    fn may_look_elsewhere(&self, entry: &Entry, memo: &mut BTreeMap<Qualified, bool>) -> bool {
        let Some(name) = own_name(entry) else {
            return true;
        };
        match self.objects.get(&name) {
            // Loaded by way of the root of its partitions.
            Some(object) if object.is_table && !object.is_partitioned => {
                self.is_suspect(&name, memo)
            }
            // A table of an extension may have triggers already.
            Some(_) | None => true,
        }
    }

    /// Whether rows of `name`, of its parents or of its types call out.
    fn is_suspect(&self, name: &Qualified, memo: &mut BTreeMap<Qualified, bool>) -> bool {
        if let Some(known) = memo.get(name) {
            return *known;
        }
        let mut seen = BTreeSet::new();
        let mut waiting = vec![name];
        let mut suspect = self.unknown_checks;
        while let Some(name) = waiting.pop() {
            let Some(object) = self.objects.get(name) else {
                continue;
            };
            suspect |= object.calls_out || object.has_expressions && self.hidden_calls;
            for next in &object.names {
                if seen.insert(next) {
                    waiting.push(next);
                }
            }
        }
        memo.insert(name.clone(), suspect);
        suspect
    }

    /// The family of the table that an INDEX or CONSTRAINT entry is on, when building it touches no
    /// other; by the family's first table.
    pub(super) fn family(&self, statements: &[Statement]) -> Option<Qualified> {
        let (first, more) = statements.split_first()?;
        let (table, expressions) = super::statement::key(&first.tokens)?;
        let same_table = more
            .iter()
            .all(|statement| super::statement::follows_key(&statement.tokens, &table));
        if self.hidden_calls || !same_table || calls_out(expressions) {
            return None;
        }
        self.families.of(&table)
    }
}

impl Facts {
    /// The family of a table or materialised view that was created before the data.
    pub(super) fn family_of(&self, table: &Qualified) -> Option<Qualified> {
        self.families.of(table)
    }
}

/// The name of the entry's object.
pub(super) fn own_name(entry: &Entry) -> Option<Qualified> {
    Some((entry.schema.clone()?, entry.name.clone()))
}

/// Sets of tables that are connected.
#[derive(Debug, Default)]
struct Families {
    /// Each table's next one on the way to the one that stands for its family.
    parent: BTreeMap<Qualified, Qualified>,
}

impl Families {
    fn add(&mut self, name: Qualified) {
        self.parent.entry(name.clone()).or_insert(name);
    }

    fn join(&mut self, a: &Qualified, b: &Qualified) {
        self.add(a.clone());
        self.add(b.clone());
        if let (Some(a), Some(b)) = (self.of(a), self.of(b)) {
            self.parent.insert(b, a);
        }
    }

    fn of(&self, name: &Qualified) -> Option<Qualified> {
        let mut at = self.parent.get_key_value(name)?;
        while at.0 != at.1 {
            at = self.parent.get_key_value(at.1)?;
        }
        Some(at.1.clone())
    }
}

/// The rows of each table, for weighing its indexes.
pub(super) fn sizes(index: &Index, data: &[usize]) -> BTreeMap<(Name, Name), u64> {
    let mut sizes = BTreeMap::new();
    for table in data {
        let entry = &index.entries[*table];
        if let Some(name) = own_name(entry) {
            *sizes.entry(name).or_default() += entry.bytes();
        }
    }
    sizes
}

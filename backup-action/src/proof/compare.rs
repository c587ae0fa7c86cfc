//! The comparison itself: entries grouped by what they are, each group judged. The rules are said
//! in `proof`; what takes part is in `scope`, the judgement of rows in `rows`.

use super::place::Places;
use super::rows::{self, Rows};
use super::scope::{self, Key};
use super::{Context, Difference, DifferenceKind, Harmless, Proof, Rule, Undecided};
use crate::archive::index::{CopyData, Entry, Index, Name, Sha256Digest, kind};
use crate::archive::object::{self, Objects};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

/// Compares the archive with a dump of what was restored from it.
pub fn compare(archive: &Index, restored: &Index, context: &Context) -> Proof {
    let mut comparison = Comparison {
        archive: Side::of(archive),
        restored: Side::of(restored),
        context,
        owners: Vec::new(),
        proof: Proof::default(),
    };
    comparison.missing_databases();
    for group in comparison.groups() {
        if group.kind == kind::TABLE_DATA {
            comparison.data(&group);
        } else {
            comparison.statements(&group);
        }
    }
    comparison.judge_owners();
    let mut proof = comparison.proof;
    proof.archived = scope::counts(archive, context);
    proof.restored = scope::counts(restored, context);
    // Everything that was added stands at the end, whatever it was found with.
    proof
        .differences
        .sort_by_key(|difference| difference.kind == DifferenceKind::Added);
    proof
}

struct Side<'a> {
    index: &'a Index,
    objects: Objects<'a>,
    places: Places,
}

impl<'a> Side<'a> {
    fn of(index: &'a Index) -> Side<'a> {
        Side {
            index,
            objects: Objects::of(index),
            places: Places::of(index),
        }
    }

    /// Whether the database is an entry of its own, as every one is but the two that each new
    /// cluster has.
    fn has_entry_of_database(&self, name: &Name) -> bool {
        let is_it =
            |entry: &Entry| &*entry.kind == "DATABASE" && entry.database.as_ref() == Some(name);
        self.index.entries.iter().any(is_it)
    }

    /// What the settings in force put the object of an entry into: digests of `SET`s.
    fn place(&self, number: usize) -> [Option<Sha256Digest>; 2] {
        self.places
            .of_entry(number)
            .map(|setting| setting.map(|number| self.index.entries[number].sha256))
    }

    fn entry(&self, number: usize) -> &'a Entry {
        &self.index.entries[number]
    }

    fn name(&self, number: usize) -> String {
        self.objects.name(number)
    }
}

/// Entries of the same database, kind, schema and name.
struct Group<'a> {
    kind: &'a str,
    archive: Vec<usize>,
    restored: Vec<usize>,
}

struct OwnerMismatch {
    object: String,
    archived: Option<Name>,
    restored: Option<Name>,
}

struct Comparison<'a> {
    archive: Side<'a>,
    restored: Side<'a>,
    context: &'a Context,
    owners: Vec<OwnerMismatch>,
    proof: Proof,
}

impl<'a> Comparison<'a> {
    fn differ(&mut self, kind: DifferenceKind, object: String, detail: impl Into<String>) {
        self.proof.differences.push(Difference {
            kind,
            object,
            detail: detail.into(),
        });
    }

    fn harmless(&mut self, rule: Rule, object: String, detail: impl Into<String>) {
        self.proof.harmless.push(Harmless {
            rule,
            object,
            detail: detail.into(),
        });
    }

    /// `postgres` and `template1` are created by no statement whose absence could be noticed.
    fn missing_databases(&mut self) {
        let sides = [
            (&self.archive, &self.restored, DifferenceKind::Missing),
            (&self.restored, &self.archive, DifferenceKind::Added),
        ];
        let mut found = Vec::new();
        for (one, other, kind) in sides {
            let others = scope::databases(other.index, self.context);
            for name in scope::databases(one.index, self.context) {
                if !others.contains(name) && !one.has_entry_of_database(name) {
                    found.push((kind, object::database(name)));
                }
            }
        }
        for (kind, object) in found {
            let detail = match kind {
                DifferenceKind::Missing => "the database did not come back",
                _ => "the database is not in the archive",
            };
            self.differ(kind, object, detail);
        }
    }

    /// In the order of the archive, then of what only the restored side has.
    fn groups(&self) -> Vec<Group<'a>> {
        let mut groups: Vec<Group<'a>> = Vec::new();
        let mut position: HashMap<Key<'a>, usize> = HashMap::new();
        for (side, is_restored) in [(&self.archive, false), (&self.restored, true)] {
            for (number, entry) in side.index.entries.iter().enumerate() {
                let kind = side.objects.kind(number);
                if !scope::is_compared(entry, self.context) {
                    continue;
                }
                let key = scope::key(entry, kind, self.context);
                let at = *position.entry(key).or_insert_with(|| {
                    groups.push(Group {
                        kind,
                        archive: Vec::new(),
                        restored: Vec::new(),
                    });
                    groups.len() - 1
                });
                let group = &mut groups[at];
                match is_restored {
                    false => group.archive.push(number),
                    true => group.restored.push(number),
                }
            }
        }
        groups
    }

    fn statements(&mut self, group: &Group<'_>) {
        let mut waiting: HashMap<Sha256Digest, VecDeque<usize>> = HashMap::new();
        for number in distinct(&self.restored, group.kind, &group.restored) {
            let number = &number;
            let digest = self.restored.entry(*number).sha256;
            waiting.entry(digest).or_default().push_back(*number);
        }
        let mut gone = Vec::new();
        for number in &distinct(&self.archive, group.kind, &group.archive) {
            let replaced = self.context.replaced.get(number);
            let wanted = replaced.map_or(self.archive.entry(*number).sha256, |r| r.sha256);
            match waiting.get_mut(&wanted).and_then(VecDeque::pop_front) {
                Some(other) => {
                    if let Some(replaced) = replaced {
                        let object = self.archive.name(*number);
                        self.harmless(Rule::Replaced, object, replaced.what.clone());
                    }
                    self.same_owner(*number, other);
                    self.same_place(*number, other);
                }
                None => gone.push(*number),
            }
        }
        let mut new: Vec<usize> = waiting.into_values().flatten().collect();
        new.sort_unstable();
        let changed = gone.len().min(new.len());
        for number in &gone[..changed] {
            let object = self.archive.name(*number);
            self.differ(
                DifferenceKind::Statement,
                object,
                "its statement is another than in the archive",
            );
        }
        for number in &gone[changed..] {
            let object = self.archive.name(*number);
            self.differ(DifferenceKind::Missing, object, "it did not come back");
        }
        for number in &new[changed..] {
            self.added(*number);
        }
    }

    fn added(&mut self, number: usize) {
        let object = self.restored.name(number);
        let entry = self.restored.entry(number);
        let is_drill_superuser = self.restored.objects.kind(number) == "ROLE"
            && entry.name == self.context.drill_superuser;
        if is_drill_superuser && !self.archive_has_role(&entry.name) {
            self.harmless(
                Rule::DrillSuperuser,
                object,
                "the role that the server of the drill was made with",
            );
        } else {
            self.differ(DifferenceKind::Added, object, "it is not in the archive");
        }
    }

    fn archive_has_role(&self, name: &Name) -> bool {
        let entries = &self.archive.index.entries;
        (0..entries.len()).any(|number| {
            self.archive.objects.kind(number) == "ROLE" && entries[number].name == *name
        })
    }

    fn same_owner(&mut self, archive: usize, restored: usize) {
        let archived = &self.archive.entry(archive).owner;
        let restored = &self.restored.entry(restored).owner;
        if archived != restored {
            self.owners.push(OwnerMismatch {
                object: self.archive.name(archive),
                archived: archived.clone(),
                restored: restored.clone(),
            });
        }
    }

    fn same_place(&mut self, archive: usize, restored: usize) {
        let is_placed = matches!(
            &*self.archive.entry(archive).kind,
            "TABLE" | "MATERIALIZED VIEW" | "INDEX" | "CONSTRAINT"
        );
        if is_placed && self.archive.place(archive) != self.restored.place(restored) {
            let object = self.archive.name(archive);
            self.differ(
                DifferenceKind::Statement,
                object,
                "its tablespace or access method is another than in the archive",
            );
        }
    }

    fn judge_owners(&mut self) {
        let drill = Some(&self.context.drill_superuser);
        let archived: BTreeSet<_> = self
            .owners
            .iter()
            .filter(|mismatch| mismatch.restored.as_ref() == drill)
            .map(|mismatch| mismatch.archived.as_ref())
            .collect();
        let bootstrap = match archived.first() {
            Some(Some(role)) if archived.len() == 1 && self.context.superusers.contains(role) => {
                Some((*role).clone())
            }
            _ => None,
        };
        for mismatch in std::mem::take(&mut self.owners) {
            let shown = |name: &Option<Name>| match name {
                Some(name) => format!("\"{name}\""),
                None => "nobody".to_owned(),
            };
            let detail = format!(
                "owner {} instead of {}",
                shown(&mismatch.restored),
                shown(&mismatch.archived)
            );
            let is_harmless = bootstrap.is_some()
                && mismatch.restored.as_ref() == drill
                && mismatch.archived == bootstrap;
            if is_harmless {
                self.harmless(Rule::BootstrapOwner, mismatch.object, detail);
            } else {
                self.differ(DifferenceKind::Owner, mismatch.object, detail);
            }
        }
    }

    /// The rows of one table, or of all leaves that are loaded through one root.
    fn data(&mut self, group: &Group<'_>) {
        let (archive, restored) = (group.archive.len(), group.restored.len());
        for number in group.archive.iter().skip(restored) {
            let object = self.archive.name(*number);
            self.differ(
                DifferenceKind::Missing,
                object,
                "its rows did not come back",
            );
        }
        for number in group.restored.iter().skip(archive) {
            self.added(*number);
        }
        let both = archive.min(restored);
        for (one, other) in group.archive.iter().zip(&group.restored) {
            self.same_owner(*one, *other);
        }
        if both == 0 || archive != restored {
            return;
        }
        let object = self.archive.name(group.archive[0]);
        let verdict = rows::judge(
            &table_data(self.archive.index, &group.archive),
            &table_data(self.restored.index, &group.restored),
        );
        match verdict {
            Rows::Equal => {}
            Rows::Differ(kind, detail) => self.differ(kind, object, detail),
            Rows::Harmless(rule, detail) => self.harmless(rule, object, detail),
            Rows::Undecided { order, wanted } => self.proof.undecided.push(Undecided {
                object,
                archive: group.archive[0],
                order,
                wanted,
            }),
        }
    }
}

/// A setting is printed again wherever it changes back and forth, and behind every reconnect: how
/// often says nothing about it.
fn distinct(side: &Side<'_>, kind: &str, numbers: &[usize]) -> Vec<usize> {
    let mut seen = HashSet::new();
    let is_setting = kind == kind::SETTING;
    numbers
        .iter()
        .copied()
        .filter(|number| !is_setting || seen.insert(side.entry(*number).sha256))
        .collect()
}

/// COPY line and rows of each of `numbers`.
fn table_data<'a>(index: &'a Index, numbers: &[usize]) -> Vec<(Sha256Digest, &'a CopyData)> {
    numbers
        .iter()
        .filter_map(|number| {
            let entry = &index.entries[*number];
            Some((entry.sha256, entry.copy.as_ref()?))
        })
        .collect()
}

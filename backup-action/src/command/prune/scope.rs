//! Whose backups may go: one cluster's, unless somebody said otherwise.

use super::Shelf;
use crate::command::stores::Found;
use crate::error::Usage;
use crate::manifest::Source;
use crate::retention;
use std::collections::{BTreeMap, HashSet};

/// Whose backups may go.
pub(super) enum Scope {
    All,
    Only(Vec<String>),
}

impl Scope {
    pub(super) fn has(&self, cluster: &str) -> bool {
        match self {
            Scope::All => true,
            Scope::Only(clusters) => clusters.iter().any(|own| own == cluster),
        }
    }

    pub(super) fn is_all(&self) -> bool {
        match self {
            Scope::All => true,
            Scope::Only(_) => false,
        }
    }

    /// The names that these clusters have in their backups, and no other has.
    pub(super) fn names<'a>(&self, shelves: &'a [Shelf]) -> HashSet<&'a str> {
        let (own, others): (Vec<&Source>, Vec<&Source>) = found(shelves)
            .map(|found| &found.manifest.source)
            .partition(|source| self.has(retention::identity(source)));
        let others: HashSet<&str> = others.iter().map(|source| &*source.cluster).collect();
        own.iter()
            .map(|source| &*source.cluster)
            .filter(|name| !others.contains(name))
            .collect()
    }
}

fn found(shelves: &[Shelf]) -> impl Iterator<Item = &Found> {
    shelves.iter().flat_map(|shelf| {
        shelf
            .contents
            .backups
            .iter()
            .chain(&shelf.contents.archived)
    })
}

/// The cluster that was named, or the only one there is.
pub(super) fn named_scope(shelves: &[Shelf], named: Option<&str>) -> anyhow::Result<Scope> {
    let mut clusters: BTreeMap<String, String> = BTreeMap::new();
    for backup in found(shelves) {
        let source = &backup.manifest.source;
        clusters.insert(
            retention::identity(source).to_owned(),
            source.cluster.clone(),
        );
    }
    let list = || {
        let names: Vec<String> = clusters
            .iter()
            .map(|(id, name)| match id == name {
                true => format!("\"{name}\""),
                false => format!("\"{name}\" ({id})"),
            })
            .collect();
        names.join(", ")
    };
    let Some(named) = named else {
        return match clusters.len() {
            0 | 1 => Ok(Scope::Only(clusters.into_keys().collect())),
            n => Err(Usage::new(format!(
                "the stores hold backups of {n} clusters: {}",
                list()
            ))
            .hint("Say whose backups may be deleted: --cluster NAME, --cluster ID, or --all-clusters.")
            .into()),
        };
    };
    // One name may have had several clusters: after a major upgrade, for instance.
    let own: Vec<String> = clusters
        .iter()
        .filter(|(id, name)| *id == named || *name == named)
        .map(|(id, _)| id.clone())
        .collect();
    if own.is_empty() && !clusters.is_empty() {
        return Err(Usage::new(format!(
            "--cluster: no backup is of \"{named}\"; there are backups of {}",
            list()
        ))
        .hint("Take the name or the identifier from there.")
        .into());
    }
    Ok(Scope::Only(own))
}

pub(super) fn name_of(shelves: &[Shelf], clusters: &[String]) -> String {
    found(shelves)
        .map(|found| &found.manifest.source)
        .find(|source| clusters.iter().any(|id| id == retention::identity(source)))
        .map_or_else(
            || "no cluster yet".to_owned(),
            |source| source.cluster.clone(),
        )
}

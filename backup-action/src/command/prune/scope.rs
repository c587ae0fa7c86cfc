//! Whose backups may go: one cluster's, unless somebody said otherwise.

use super::Shelf;
use crate::command::clusters::Clusters;
use crate::command::stores::Found;
use crate::error::Usage;
use crate::manifest::Source;
use crate::retention;
use std::collections::HashSet;

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
    let clusters = Clusters::of(found(shelves));
    if let Some(named) = named {
        return Ok(Scope::Only(clusters.named(named)?));
    }
    match clusters.len() {
        0 | 1 => Ok(Scope::Only(clusters.into_identities())),
        n => Err(Usage::new(format!(
            "the stores hold backups of {n} clusters: {}",
            clusters.list()
        ))
        .hint("Say whose backups may be deleted: --cluster NAME, --cluster ID, or --all-clusters.")
        .into()),
    }
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

//! The clusters that share a prefix, and which of them was meant.

use super::stores::Found;
use crate::error::Usage;
use crate::retention::identity;
use std::collections::BTreeMap;

/// Every cluster that has a backup: its identity, and what it is called.
pub(super) struct Clusters(BTreeMap<String, String>);

impl Clusters {
    pub(super) fn of<'a>(backups: impl Iterator<Item = &'a Found>) -> Clusters {
        let sources = backups.map(|found| &found.manifest.source);
        Clusters(
            sources
                .map(|source| (identity(source).to_owned(), source.cluster.clone()))
                .collect(),
        )
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn into_identities(self) -> Vec<String> {
        self.0.into_keys().collect()
    }

    /// For people: `"prod" (7300000000000000001), "staging"`.
    pub(super) fn list(&self) -> String {
        let names: Vec<String> = self
            .0
            .iter()
            .map(|(id, name)| match id == name {
                true => format!("\"{name}\""),
                false => format!("\"{name}\" ({id})"),
            })
            .collect();
        names.join(", ")
    }

    /// The identities of the one that was named, by name or identifier. One name may have had
    /// several clusters: after a major upgrade, for instance.
    ///
    /// # Errors
    /// There are backups, and none is of that cluster.
    pub(super) fn named(&self, named: &str) -> anyhow::Result<Vec<String>> {
        let own: Vec<String> = self
            .0
            .iter()
            .filter(|(id, name)| *id == named || *name == named)
            .map(|(id, _)| id.clone())
            .collect();
        if own.is_empty() && !self.0.is_empty() {
            return Err(Usage::new(format!(
                "--cluster: no backup is of \"{named}\"; there are backups of {}",
                self.list()
            ))
            .hint("Take the name or the identifier from there.")
            .into());
        }
        Ok(own)
    }
}

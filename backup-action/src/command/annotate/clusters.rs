//! Which cluster of those that share a prefix is shown.

use crate::command::stores::Found;
use crate::error::Usage;
use crate::retention::identity;
use std::collections::{BTreeMap, BTreeSet};

/// The backups of the cluster that was `named` by name or identifier; all of them when none was,
/// which is worth a note where there are several clusters.
///
/// # Errors
/// There are backups, and none is of that cluster.
pub(super) fn only(
    mut backups: Vec<Found>,
    named: Option<&str>,
    notes: &mut Vec<String>,
) -> anyhow::Result<Vec<Found>> {
    let clusters: BTreeMap<String, String> = backups
        .iter()
        .map(|found| &found.manifest.source)
        .map(|source| (identity(source).to_owned(), source.cluster.clone()))
        .collect();
    let Some(named) = named else {
        if clusters.len() > 1 {
            notes.push(format!(
                "the stores hold backups of {} clusters; --cluster NAME or --cluster ID says which is shown",
                clusters.len()
            ));
        }
        return Ok(backups);
    };
    let own: BTreeSet<&str> = clusters
        .iter()
        .filter(|(id, name)| *id == named || *name == named)
        .map(|(id, _)| id.as_str())
        .collect();
    if own.is_empty() && !clusters.is_empty() {
        let names: Vec<String> = clusters
            .iter()
            .map(|(id, name)| match id == name {
                true => format!("\"{name}\""),
                false => format!("\"{name}\" ({id})"),
            })
            .collect();
        return Err(Usage::new(format!(
            "--cluster: no backup is of \"{named}\"; there are backups of {}",
            names.join(", ")
        ))
        .hint("Take the name or the identifier from there.")
        .into());
    }
    backups.retain(|found| own.contains(identity(&found.manifest.source)));
    Ok(backups)
}

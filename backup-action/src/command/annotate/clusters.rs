//! Which cluster of those that share a prefix is shown.

use crate::command::clusters::Clusters;
use crate::command::stores::Found;
use crate::retention::identity;

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
    let clusters = Clusters::of(backups.iter());
    let Some(named) = named else {
        if clusters.len() > 1 {
            notes.push(format!(
                "the stores hold backups of {} clusters; --cluster NAME or --cluster ID says which is shown",
                clusters.len()
            ));
        }
        return Ok(backups);
    };
    let own = clusters.named(named)?;
    backups.retain(|found| own.iter().any(|id| id == identity(&found.manifest.source)));
    Ok(backups)
}

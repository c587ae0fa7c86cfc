//! What belongs to no backup: the leftovers of runs that ended early, and receipts.

use super::Limit;
use crate::store::{BackupKeys, Key, ObjectInfo};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashSet;

/// Our own objects without a manifest, and what probes left, when the store says that they are older
/// than `idle`. `store_now` is the time by the store's own clock, which dated them. Where there is a
/// manifest, readable or not, its archive and index are no leftovers.
pub fn leftovers(
    objects: &[ObjectInfo],
    store_now: Timestamp,
    idle: SignedDuration,
) -> Vec<&ObjectInfo> {
    let manifests: HashSet<&Key> = objects
        .iter()
        .map(|object| &object.key)
        .filter(|key| BackupKeys::of_manifest(key).is_some())
        .collect();
    let is_left = |key: &Key| match BackupKeys::of_part(key) {
        Some(keys) => !manifests.contains(&keys.manifest),
        None => key.is_probe(),
    };
    objects
        .iter()
        .filter(|object| is_left(&object.key))
        .filter(|object| {
            object
                .modified
                .is_some_and(|modified| store_now.duration_since(modified) > idle)
        })
        .collect()
}

/// The receipts that are older than `limit` by their names, oldest first. What they say themselves
/// has to be asked before they are deleted.
pub fn old_receipts<'a>(
    keys: impl Iterator<Item = &'a Key>,
    now: Timestamp,
    limit: Limit,
) -> Vec<&'a Key> {
    let mut old: Vec<&Key> = keys
        .filter(|key| {
            key.receipt_time()
                .is_some_and(|at| limit.is_over(now.duration_since(at)))
        })
        .collect();
    old.sort_by_key(|key| key.receipt_time());
    old
}

#[cfg(test)]
mod tests {
    use super::super::properties::time;
    use super::*;

    fn object(key: &str, modified: Option<&str>) -> ObjectInfo {
        ObjectInfo {
            key: Key::parse(key).unwrap(),
            bytes: 1,
            crc64nvme: None,
            modified: modified.map(time),
        }
    }

    #[test]
    fn only_old_objects_of_ours_without_a_manifest_are_leftovers() {
        let now = time("2026-03-20T02:00:00Z");
        let old = Some("2026-03-19T01:59:59Z");
        let is_left = |objects: &[ObjectInfo]| -> Vec<String> {
            leftovers(objects, now, SignedDuration::from_hours(24))
                .iter()
                .map(|object| object.key.to_string())
                .collect()
        };
        let stem = "2026-03/backup_2026-03-01_02-00-01Z";
        let kept = [
            object(&format!("{stem}.sql.gz"), Some("2026-03-19T02:00:00Z")),
            object(&format!("{stem}.index.json.gz"), None),
            object("2026-03/backup_of_the_cat.sql.gz", old),
            object("other/2026-03/backup_2026-03-01_02-00-01Z.sql.gz", old),
            object("README.md", old),
            object("receipts/gate/2026-03-01_02-00-01Z_passed.json", old),
        ];
        assert_eq!(is_left(&kept), [] as [&str; 0]);
        let parts = [
            object(&format!("{stem}.sql.gz"), old),
            object(&format!("{stem}.index.json.gz"), old),
            object(&format!("archive/{stem}.sql.gz"), old),
            object("probes/probe_00_object", old),
        ];
        assert_eq!(is_left(&parts).len(), 4);
        let mut with_manifest = parts.to_vec();
        with_manifest.push(object(&format!("{stem}.manifest.json"), old));
        assert_eq!(
            is_left(&with_manifest),
            [&format!("archive/{stem}.sql.gz"), "probes/probe_00_object"]
        );
    }

    #[test]
    fn receipts_go_by_their_names_first() {
        let now = time("2026-03-20T02:00:00Z");
        let keys: Vec<Key> = [
            "receipts/gate/2025-03-01_02-00-01Z_passed.json",
            "receipts/gate/2025-02-01_02-00-01Z_passed.json",
            "receipts/drill/2026-03-01_02-00-01Z_failed_1.json",
            "receipts/drill/notes.json",
        ]
        .map(|key| Key::parse(key).unwrap())
        .to_vec();
        let year = Limit::Age(SignedDuration::from_hours(365 * 24));
        let old = old_receipts(keys.iter(), now, year);
        assert_eq!(old, [&keys[1], &keys[0]]);
        assert!(old_receipts(keys.iter(), now, Limit::Forever).is_empty());
    }
}

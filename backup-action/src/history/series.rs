//! Backups and runs as one series a cluster, and what a series says by month and day. Two clusters
//! that share a prefix are never mixed; a backup that lies in several stores is one.

use super::baseline;
use crate::archive::index::Sha256Digest;
use crate::manifest::{DatabaseSummary, Manifest};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::collections::BTreeMap;

/// What tells clusters apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// PostgreSQL's own identifier.
    System(String),
    /// The name, where the role may not read the identifier.
    Name(String),
}

impl Identity {
    /// The identity of a cluster.
    pub fn of(cluster: &str, system_identifier: Option<&str>) -> Identity {
        match system_identifier {
            Some(id) => Identity::System(id.to_owned()),
            None => Identity::Name(cluster.to_owned()),
        }
    }
}

/// What stores hold about the past.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// One a cluster, by name.
    pub series: Vec<Series>,
    /// What lies there and is not counted.
    pub not_counted: Vec<NotCounted>,
    /// Objects that are none of ours.
    pub foreign_objects: u64,
    /// Nothing older was looked at.
    pub since: Option<Timestamp>,
}

/// Something that looks like ours and cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotCounted {
    /// Where it is.
    pub place: String,
    /// Why it is not counted.
    pub reason: String,
}

/// A manifest and the store that has it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The store, for people.
    pub store: String,
    /// The object, for people.
    pub place: String,
    /// Its content.
    pub manifest: Manifest,
}

/// The past of one cluster.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name, as the newest backup has it.
    pub cluster: String,
    /// What tells it from others.
    pub identity: Identity,
    /// Verified backups, oldest first.
    pub backups: Vec<Backup>,
    /// Drills that restored rows, oldest first.
    pub drills: Vec<Drill>,
    /// Gates that stayed closed, oldest first.
    pub failed_gates: Vec<FailedGate>,
}

/// One backup, in however many stores.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Backup {
    /// Key of the archive.
    pub key: String,
    /// When the dump started.
    pub started_at: Timestamp,
    /// When the archive was complete.
    pub finished_at: Timestamp,
    /// Size of the dump, or of the part that was asked for.
    pub dump_bytes: u64,
    /// Size of the archive; none for a part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive_bytes: Option<u64>,
    /// Rows.
    pub rows: u64,
    /// SHA-256 of the archive.
    pub archive_sha256: Sha256Digest,
    /// The stores that have it.
    pub stores: Vec<String>,
    /// What is inside.
    #[serde(skip)]
    pub databases: Vec<DatabaseSummary>,
}

/// One drill.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drill {
    /// Key of its receipt.
    pub key: String,
    /// The cluster whose backup it restored.
    pub cluster: String,
    /// The identifier of that cluster.
    #[serde(skip)]
    pub system_identifier: Option<String>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Whether it proved a round trip.
    pub passed: bool,
    /// How long the restore took.
    pub restore_seconds: Option<f64>,
    /// How long it may take.
    pub max_restore_seconds: Option<f64>,
    /// Bytes of the dump that were replayed.
    pub dump_bytes: u64,
}

/// One gate that stayed closed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailedGate {
    /// Key of its receipt.
    pub key: String,
    /// The cluster.
    pub cluster: String,
    /// Its identifier, where the server was reached.
    #[serde(skip)]
    pub system_identifier: Option<String>,
    /// When it started.
    pub started_at: Timestamp,
    /// The checks that closed it.
    pub closed_by: Vec<String>,
}

/// Sorts what was found into series. What two stores disagree about is counted once, and said.
pub fn series(
    backups: Vec<Stored>,
    drills: Vec<Drill>,
    failed_gates: Vec<FailedGate>,
) -> (Vec<Series>, Vec<NotCounted>) {
    let mut found: BTreeMap<Identity, BTreeMap<(Timestamp, String), Backup>> = BTreeMap::new();
    let mut names: BTreeMap<Identity, (Timestamp, String)> = BTreeMap::new();
    let mut not_counted = Vec::new();
    for Stored {
        store,
        place,
        manifest,
    } in backups
    {
        let source = &manifest.source;
        let identity = Identity::of(&source.cluster, source.system_identifier.as_deref());
        let name = (manifest.started_at, source.cluster.clone());
        let newest = names
            .entry(identity.clone())
            .or_insert_with(|| name.clone());
        if newest.0 < name.0 {
            *newest = name;
        }
        let key = manifest.archive_key.clone();
        let all = found.entry(identity).or_default();
        let backup = all
            .entry((manifest.started_at, key.clone()))
            .or_insert_with(|| Backup {
                key,
                started_at: manifest.started_at,
                finished_at: manifest.finished_at,
                dump_bytes: manifest.archive.dump_bytes,
                archive_bytes: Some(manifest.archive.archive_bytes),
                rows: manifest.archive.rows,
                archive_sha256: manifest.archive.archive_sha256,
                stores: Vec::new(),
                databases: manifest.databases,
            });
        if backup.archive_sha256 != manifest.archive.archive_sha256 {
            not_counted.push(NotCounted {
                place,
                reason: format!(
                    "it is of another archive than the manifest of that name in {}",
                    backup.stores.join(", ")
                ),
            });
        } else if !backup.stores.contains(&store) {
            backup.stores.push(store);
        }
    }
    let mut series: Vec<Series> = found
        .into_iter()
        .map(|(identity, backups)| Series {
            cluster: names
                .remove(&identity)
                .map(|(_, name)| name)
                .unwrap_or_default(),
            identity,
            backups: backups.into_values().collect(),
            drills: Vec::new(),
            failed_gates: Vec::new(),
        })
        .collect();
    for drill in drills {
        of(
            &mut series,
            &drill.cluster,
            drill.system_identifier.as_deref(),
        )
        .drills
        .push(drill);
    }
    for gate in failed_gates {
        of(
            &mut series,
            &gate.cluster,
            gate.system_identifier.as_deref(),
        )
        .failed_gates
        .push(gate);
    }
    for one in &mut series {
        one.drills.sort_by_key(|drill| drill.finished_at);
        one.failed_gates.sort_by_key(|gate| gate.started_at);
    }
    series.sort_by(|a, b| (&a.cluster, &a.identity).cmp(&(&b.cluster, &b.identity)));
    (series, not_counted)
}

/// The series of a run. One that never reached its server is known by its name only.
fn of<'a>(
    series: &'a mut Vec<Series>,
    cluster: &str,
    system_identifier: Option<&str>,
) -> &'a mut Series {
    let identity = Identity::of(cluster, system_identifier);
    let at = series
        .iter()
        .position(|one| one.identity == identity)
        .or_else(|| {
            system_identifier
                .is_none()
                .then(|| series.iter().position(|one| one.cluster == cluster))
                .flatten()
        });
    let at = at.unwrap_or_else(|| {
        series.push(Series {
            cluster: cluster.to_owned(),
            identity,
            backups: Vec::new(),
            drills: Vec::new(),
            failed_gates: Vec::new(),
        });
        series.len() - 1
    });
    &mut series[at]
}

/// The last backup of a month, and what changed since the last month that has one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Month {
    /// Its first day.
    pub month: Date,
    /// Backups in it.
    pub backups: u64,
    /// Size of the last one's dump.
    pub dump_bytes: u64,
    /// Size of the last one's archive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive_bytes: Option<u64>,
    /// Rows of the last one.
    pub rows: u64,
    /// Growth of the dump in percent.
    pub change_percent: Option<f64>,
}

/// The day of a time, UTC.
pub fn day(time: Timestamp) -> Date {
    TimeZone::UTC.to_datetime(time).date()
}

/// Growth in percent; none from nothing.
pub fn percent(before: u64, now: u64) -> Option<f64> {
    (before > 0).then(|| (now as f64 - before as f64) * 100.0 / before as f64)
}

impl Series {
    /// The newest backup.
    pub fn newest(&self) -> Option<&Backup> {
        self.backups.last()
    }

    /// The backup that the newest one is compared with: of the earlier ones, the one nearest to a
    /// month before it.
    pub fn baseline(&self) -> Option<&Backup> {
        let (newest, earlier) = self.backups.split_last()?;
        baseline(earlier, newest.started_at, |backup| backup.started_at)
    }

    /// One line a month, oldest first.
    pub fn months(&self) -> Vec<Month> {
        let mut months: Vec<Month> = Vec::new();
        for backup in &self.backups {
            let month = day(backup.started_at).first_of_month();
            let same = months.last().is_some_and(|last| last.month == month);
            let count = if same {
                months.pop().map_or(0, |last| last.backups)
            } else {
                0
            };
            months.push(Month {
                month,
                backups: count + 1,
                dump_bytes: backup.dump_bytes,
                archive_bytes: backup.archive_bytes,
                rows: backup.rows,
                change_percent: months
                    .last()
                    .and_then(|before| percent(before.dump_bytes, backup.dump_bytes)),
            });
        }
        months
    }

    /// Drills and closed gates of the series that did not pass.
    pub fn failures(&self) -> usize {
        self.failed_gates.len() + self.drills.iter().filter(|drill| !drill.passed).count()
    }

    /// Keeps only what is in one database, or one schema of it or of any. Backups without it go.
    pub fn narrow(&mut self, database: Option<&str>, schema: Option<&str>) {
        for backup in &mut self.backups {
            backup
                .databases
                .retain(|found| database.is_none_or(|name| found.name.to_lossy() == name));
            if let Some(schema) = schema {
                for found in &mut backup.databases {
                    found
                        .schemas
                        .retain(|found| found.name.to_lossy() == schema);
                    found.bytes = found.schemas.iter().map(|schema| schema.bytes).sum();
                    found.rows = found.schemas.iter().map(|schema| schema.rows).sum();
                }
                backup.databases.retain(|found| !found.schemas.is_empty());
            }
            backup.dump_bytes = backup.databases.iter().map(|found| found.bytes).sum();
            backup.rows = backup.databases.iter().map(|found| found.rows).sum();
            backup.archive_bytes = None;
        }
        self.backups.retain(|backup| !backup.databases.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{drill, one, stored, time};
    use super::*;

    #[test]
    fn a_backup_in_two_stores_is_one_and_two_clusters_are_two() {
        let at = "2026-01-18T02:00:01Z";
        let all = vec![
            stored("dir", "prod", Some("1"), at, 300),
            stored("s3", "prod", Some("1"), at, 300),
            // The archive tier's copy.
            stored("s3", "prod", Some("1"), at, 300),
            stored("s3", "prod", Some("2"), at, 300),
            stored("s3", "prod", None, at, 300),
            stored("s3", "other name", Some("1"), "2026-01-17T02:00:01Z", 299),
        ];
        let failed = FailedGate {
            key: String::new(),
            cluster: "prod".to_owned(),
            system_identifier: None,
            started_at: time(at),
            closed_by: Vec::new(),
        };
        let unknown = FailedGate {
            cluster: "never seen".to_owned(),
            ..failed.clone()
        };
        let (all, not_counted) = series(all, vec![drill(at, true)], vec![failed, unknown]);
        assert!(not_counted.is_empty());
        let seen: Vec<_> = all
            .iter()
            .map(|s| {
                (
                    s.cluster.as_str(),
                    s.backups.len(),
                    s.drills.len(),
                    s.failed_gates.len(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("never seen", 0, 0, 1),
                ("prod", 2, 1, 0),
                ("prod", 1, 0, 0),
                ("prod", 1, 0, 1)
            ]
        );
        assert_eq!(all[1].backups[1].stores, ["dir", "s3"]);
    }

    #[test]
    fn stores_that_disagree_about_a_backup_are_said() {
        let at = "2026-01-18T02:00:01Z";
        let (all, not_counted) = series(
            vec![
                stored("dir", "prod", Some("1"), at, 300),
                stored("s3", "prod", Some("1"), at, 301),
            ],
            Vec::new(),
            Vec::new(),
        );
        assert_eq!(all[0].backups.len(), 1);
        assert!(not_counted[0].reason.contains("another archive"));
        assert!(not_counted[0].place.starts_with("s3/"));
    }

    #[test]
    fn months_compare_their_last_backups() {
        let series = one(vec![
            stored("s", "p", None, "2025-11-02T00:00:00Z", 100),
            stored("s", "p", None, "2025-11-30T00:00:00Z", 120),
            stored("s", "p", None, "2026-01-01T00:00:00Z", 90),
        ]);
        let months: Vec<_> = series
            .months()
            .into_iter()
            .map(|m| {
                (
                    m.month.to_string(),
                    m.backups,
                    m.dump_bytes,
                    m.change_percent,
                )
            })
            .collect();
        assert_eq!(
            months,
            [
                ("2025-11-01".to_owned(), 2, 120, None),
                ("2026-01-01".to_owned(), 1, 90, Some(-25.0))
            ]
        );
    }
}

//! What a report says about sizes over time: the last ones, what changed since the backup before
//! and since the baseline, and which schemas moved most.

use super::growth::Sizes;
use super::series::percent;
use super::{Delta, deltas};
use crate::manifest::Manifest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How many sizes are kept, this backup's included.
pub const SIZES: usize = 12;

/// How many schemas are named.
const MOVERS: usize = 10;

/// The past of a backup.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// The last sizes, oldest first; the last one is this backup.
    pub sizes: Vec<Size>,
    /// The verified backup before this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<Against>,
    /// The verified backup nearest to a month ago.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Against>,
    /// The schemas that changed most since the baseline, new and gone ones included.
    pub movers: Vec<Delta>,
    /// How many schemas changed at all.
    pub moved_schemas: u64,
    /// How many did not.
    pub unchanged_schemas: u64,
}

/// The size of one backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// When its dump started.
    pub started_at: Timestamp,
    /// Size of the dump.
    pub dump_bytes: u64,
    /// Size of the archive.
    pub archive_bytes: u64,
}

/// An earlier backup that this one is compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Against {
    /// Key of its archive.
    pub key: String,
    /// When its dump started.
    pub started_at: Timestamp,
    /// Size of its dump.
    pub dump_bytes: u64,
    /// Growth of the dump since then, in percent.
    pub change_percent: Option<f64>,
}

impl Summary {
    /// Sums up. `earlier` are verified backups of the same cluster, newest first.
    pub fn new(
        started_at: Timestamp,
        archive_bytes: u64,
        now: &Sizes<'_>,
        earlier: &[Manifest],
        baseline: Option<&Manifest>,
    ) -> Summary {
        let against = |manifest: &Manifest| Against {
            key: manifest.archive_key.clone(),
            started_at: manifest.started_at,
            dump_bytes: manifest.archive.dump_bytes,
            change_percent: percent(manifest.archive.dump_bytes, now.dump_bytes),
        };
        let mut sizes: Vec<Size> = earlier
            .iter()
            .take(SIZES - 1)
            .map(|manifest| Size {
                started_at: manifest.started_at,
                dump_bytes: manifest.archive.dump_bytes,
                archive_bytes: manifest.archive.archive_bytes,
            })
            .rev()
            .collect();
        sizes.push(Size {
            started_at,
            dump_bytes: now.dump_bytes,
            archive_bytes,
        });
        let schemas: Vec<Delta> = baseline
            .map(|baseline| deltas(&baseline.databases, now.databases))
            .unwrap_or_default()
            .into_iter()
            .filter(|delta| delta.schema.is_some())
            .collect();
        let (mut movers, unchanged): (Vec<Delta>, Vec<Delta>) =
            schemas.into_iter().partition(|delta| delta.bytes() != 0);
        movers.sort_by_key(|delta| std::cmp::Reverse(delta.bytes().unsigned_abs()));
        let moved_schemas = movers.len() as u64;
        movers.truncate(MOVERS);
        Summary {
            sizes,
            previous: earlier.first().map(against),
            baseline: baseline.map(against),
            movers,
            moved_schemas,
            unchanged_schemas: unchanged.len() as u64,
        }
    }
}

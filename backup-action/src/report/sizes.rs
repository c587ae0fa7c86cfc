//! What `annotate` has to say: the sizes of a backup against others, and what the changed SQL files
//! of a pull request touch. Values and the sums over them; the renderer is `comment`.

use crate::history::{self, Amount, Delta};
use crate::manifest::Manifest;
use jiff::Timestamp;
use serde::Serialize;

/// The version of the JSON that `annotate --output json` prints.
pub const FORMAT: u32 = 1;

/// Backups whose sizes are shown.
const TREND: usize = 12;

/// Everything that the comment says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sizes {
    /// [`FORMAT`].
    pub format: u32,
    /// Always `annotate`.
    pub command: String,
    /// Name and version of this program.
    pub tool: String,
    /// When this was found out, UTC: ages count from here.
    pub now: Timestamp,
    /// The backups and their differences; none when there is no backup.
    pub comparison: Option<Comparison>,
    /// The newest gate that passed.
    pub last_gate: Option<Run>,
    /// Among how many receipts of gates it was looked for, the newest first.
    pub gate_receipts: u64,
    /// The newest drill that passed.
    pub last_drill: Option<Run>,
    /// The same for drills.
    pub drill_receipts: u64,
    /// What the changed files do to tables of the backup, file by file.
    pub touches: Vec<Touch>,
    /// Changed files that were read.
    pub files_read: u64,
    /// Things worth knowing, as sentences. May hold hostile text.
    pub notes: Vec<String>,
}

/// A backup against its baselines.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The name of the cluster for people.
    pub cluster: String,
    /// The backup in question.
    pub head: Shown,
    /// What it is compared with.
    pub base: Option<Shown>,
    /// The backup nearest to a month before it.
    pub month_ago: Option<Shown>,
    /// Databases, largest first.
    pub databases: Vec<Change>,
    /// Schemas that differ from the base, the largest difference first; without a base the largest.
    pub schemas: Vec<Change>,
    /// Schemas that are as large as in the base.
    pub unchanged_schemas: u64,
    /// Sizes of the last dumps, oldest first; the head is the last.
    pub trend_bytes: Vec<u64>,
}

/// One backup of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shown {
    /// Key of the archive.
    pub key: String,
    /// When its dump started.
    pub started_at: Timestamp,
    /// How it was chosen: `the newest`, `` `main`'s last ``, …. May hold a branch's name.
    pub name: String,
    /// Size of the archive.
    pub archive_bytes: u64,
    /// Size of the dump.
    pub dump_bytes: u64,
    /// Rows of all tables.
    pub rows: u64,
}

/// A database, or a schema of one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// The database.
    pub database: String,
    /// The schema; none for the database as a whole.
    pub schema: Option<String>,
    /// In the head; none when it is gone.
    pub now: Option<Size>,
    /// Against the base; none without one.
    pub change_bytes: Option<i64>,
    /// Against the backup of a month ago; none without one.
    pub month_change_bytes: Option<i64>,
    /// Whether the base does not have it.
    pub is_new: bool,
}

/// How large something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Bytes of the dump.
    pub bytes: u64,
    /// Rows.
    pub rows: u64,
}

/// A gate or a drill that passed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// Key of its receipt.
    pub receipt_key: String,
    /// When it ended.
    pub finished_at: Timestamp,
    /// How long restoring took, of a drill.
    pub restore_seconds: Option<f64>,
    /// Where the run can be looked at.
    pub url: Option<String>,
}

/// What a file does to tables that the backup knows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Touch {
    /// The file, from the root of the repository. Hostile.
    pub file: String,
    /// The first line that names the table, from 1.
    pub line: u32,
    /// `alters`, `drops`, …: the hardest first.
    pub does: Vec<String>,
    /// The database. Hostile, as the next.
    pub database: String,
    /// `schema.table`, or `tenant_*.table` for several.
    pub tables: String,
    /// How many tables that are.
    pub table_count: u64,
    /// Their rows.
    pub rows: u64,
    /// Their bytes in the dump.
    pub bytes: u64,
}

impl Shown {
    /// A backup under the name that it is shown by.
    pub fn of(manifest: &Manifest, name: String) -> Shown {
        Shown {
            key: manifest.archive_key.clone(),
            started_at: manifest.started_at,
            name,
            archive_bytes: manifest.archive.archive_bytes,
            dump_bytes: manifest.archive.dump_bytes,
            rows: manifest.archive.rows,
        }
    }
}

impl Comparison {
    /// Compares `head` with its baselines, each under the name that it is shown by. `earlier` are
    /// the backups of the cluster for the trend, oldest first.
    pub fn new<'a>(
        head: (&Manifest, String),
        base: Option<(&Manifest, String)>,
        month_ago: Option<(&Manifest, String)>,
        earlier: impl IntoIterator<Item = &'a Manifest>,
    ) -> Comparison {
        let (mut databases, mut schemas) = (Vec::new(), Vec::new());
        let against = |baseline: &Option<(&Manifest, String)>| {
            baseline
                .as_ref()
                .map(|(manifest, _)| history::deltas(&manifest.databases, &head.0.databases))
        };
        let of_month = against(&month_ago);
        let of_base = against(&base);
        let none = history::deltas(&[], &head.0.databases);
        for delta in of_base.as_ref().unwrap_or(&none) {
            let in_month = of_month
                .iter()
                .flatten()
                .find(|other| other.database == delta.database && other.schema == delta.schema);
            let change = Change {
                database: delta.database.to_lossy(),
                schema: delta.schema.as_ref().map(|schema| schema.to_lossy()),
                now: delta.now.map(size),
                change_bytes: of_base.is_some().then(|| in_bytes(delta)),
                month_change_bytes: in_month.map(in_bytes),
                is_new: of_base.is_some() && delta.before.is_none(),
            };
            match change.schema {
                None => databases.push(change),
                Some(_) => schemas.push(change),
            }
        }
        let bytes = |change: &Change| change.now.map_or(0, |now| now.bytes);
        let moved = |change: &Change| change.change_bytes.unwrap_or_default().unsigned_abs();
        databases.sort_by_key(|change| std::cmp::Reverse(bytes(change)));
        schemas.sort_by_key(|change| std::cmp::Reverse((moved(change), bytes(change))));
        let all = schemas.len();
        if base.is_some() {
            schemas.retain(|change| change.change_bytes != Some(0));
        }
        let mut trend_bytes: Vec<u64> = earlier
            .into_iter()
            .map(|manifest| manifest.archive.dump_bytes)
            .collect();
        trend_bytes.push(head.0.archive.dump_bytes);
        trend_bytes.drain(..trend_bytes.len().saturating_sub(TREND));
        Comparison {
            cluster: head.0.source.cluster.clone(),
            unchanged_schemas: (all - schemas.len()) as u64,
            databases,
            schemas,
            trend_bytes,
            head: Shown::of(head.0, head.1),
            base: base.map(|(manifest, name)| Shown::of(manifest, name)),
            month_ago: month_ago.map(|(manifest, name)| Shown::of(manifest, name)),
        }
    }
}

/// A difference as JSON can hold it.
fn in_bytes(delta: &Delta) -> i64 {
    let bytes = delta.bytes();
    i64::try_from(bytes).unwrap_or(if bytes < 0 { i64::MIN } else { i64::MAX })
}

fn size(amount: Amount) -> Size {
    Size {
        bytes: amount.bytes,
        rows: amount.rows,
    }
}

impl Touch {
    /// `alters and updates`.
    pub fn verbs(&self) -> String {
        match self.does.as_slice() {
            [] => String::new(),
            [one] => one.clone(),
            [first @ .., last] => format!("{} and {last}", first.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::backup;
    use super::*;
    use crate::history::samples::database;

    fn holding(day: i64, schemas: &[(&str, u64)]) -> Manifest {
        let mut manifest = backup(day, "", "");
        manifest.archive.dump_bytes = (day + 20).unsigned_abs();
        manifest.databases = vec![database("n", schemas)];
        manifest
    }

    #[test]
    fn the_largest_difference_comes_first_and_twelve_sizes_are_kept() {
        let month = holding(-30, &[("a", 1)]);
        let base = holding(-1, &[("a", 10), ("b", 500), ("same", 7), ("gone", 20)]);
        let head = holding(0, &[("a", 15), ("b", 400), ("same", 7), ("new", 3)]);
        let all: Vec<Manifest> = (-19..0).map(|day| holding(day, &[])).collect();
        let named = |manifest, name: &str| (manifest, name.to_owned());
        let comparison = Comparison::new(
            named(&head, "head"),
            Some(named(&base, "base")),
            Some(named(&month, "month")),
            &all,
        );
        assert_eq!(comparison.trend_bytes, (9..=20).collect::<Vec<u64>>());
        assert_eq!(comparison.unchanged_schemas, 1);
        let shown: Vec<_> = comparison
            .schemas
            .iter()
            .map(|change| {
                let name = change.schema.as_deref().unwrap_or_default();
                let bytes = (change.change_bytes, change.month_change_bytes);
                (name, bytes, change.now.is_some(), change.is_new)
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("b", (Some(-100), Some(400)), true, false),
                ("gone", (Some(-20), None), false, false),
                ("a", (Some(5), Some(14)), true, false),
                ("new", (Some(3), Some(3)), true, true),
            ]
        );
        assert_eq!(comparison.databases[0].change_bytes, Some(-112));
        // Without a base there is no difference to show, so all are shown by their size.
        let first = Comparison::new(named(&head, "head"), None, None, []);
        let names: Vec<_> = first
            .schemas
            .iter()
            .filter_map(|c| c.schema.as_deref())
            .collect();
        assert_eq!(names, ["b", "a", "same", "new"]);
        assert_eq!(first.schemas[0].change_bytes, None);
        assert_eq!(first.unchanged_schemas, 0);
    }

    #[test]
    fn sizes_beyond_reason_are_still_json() {
        let base = holding(-1, &[("a", u64::MAX)]);
        let head = holding(0, &[("b", u64::MAX)]);
        let named = |manifest| (manifest, String::new());
        let comparison = Comparison::new(named(&head), Some(named(&base)), None, []);
        let json = serde_json::to_value(&comparison).unwrap();
        assert_eq!(json["schemas"][0]["change_bytes"], i64::MIN);
    }
}

//! Sizes over time, growth, and the baseline to compare with: pure rules over manifests. No I/O.

pub mod calendar;
pub mod growth;
#[cfg(test)]
pub(crate) mod samples;
pub mod series;
pub mod summary;
pub mod tenants;

use crate::archive::index::Name;
use crate::manifest::DatabaseSummary;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How much one part of a cluster holds in two backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// The database.
    pub database: Name,
    /// The schema; none for the database as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Name>,
    /// In the older backup; none when it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Amount>,
    /// In the newer backup; none when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<Amount>,
}

/// How much of something is in a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Bytes of the dump.
    pub bytes: u64,
    /// Rows of all tables.
    pub rows: u64,
}

impl Delta {
    /// By how many bytes it grew; negative when it shrank.
    pub fn bytes(&self) -> i128 {
        let of = |amount: Option<Amount>| i128::from(amount.unwrap_or_default().bytes);
        of(self.now) - of(self.before)
    }
}

/// Every database, and every schema after its database, of either backup; in the order of names.
pub fn deltas(before: &[DatabaseSummary], now: &[DatabaseSummary]) -> Vec<Delta> {
    type Two = (Option<Amount>, Option<Amount>);
    let mut found: BTreeMap<(&Name, Option<&Name>), Two> = BTreeMap::new();
    for database in before {
        for (part, amount) in parts(database) {
            found.entry((&database.name, part)).or_default().0 = Some(amount);
        }
    }
    for database in now {
        for (part, amount) in parts(database) {
            found.entry((&database.name, part)).or_default().1 = Some(amount);
        }
    }
    found
        .into_iter()
        .map(|((database, schema), (before, now))| Delta {
            database: database.clone(),
            schema: schema.cloned(),
            before,
            now,
        })
        .collect()
}

fn parts(database: &DatabaseSummary) -> impl Iterator<Item = (Option<&Name>, Amount)> {
    let whole = Amount {
        bytes: database.bytes,
        rows: database.rows,
    };
    let schemas = database.schemas.iter().map(|schema| {
        let amount = Amount {
            bytes: schema.bytes,
            rows: schema.rows,
        };
        (Some(&schema.name), amount)
    });
    std::iter::once((None, whole)).chain(schemas)
}

/// The one that a backup of `now` is compared with: that whose time is nearest to a month before, of
/// two that are equally near the first. However far that is: the age is said, and the limits allow
/// for it.
pub fn baseline<T>(
    items: impl IntoIterator<Item = T>,
    now: Timestamp,
    time: impl Fn(&T) -> Timestamp,
) -> Option<T> {
    let month_ago = month_before(now);
    items
        .into_iter()
        .min_by_key(|item| time(item).duration_since(month_ago).abs())
}

/// How far back the baseline of growth lies.
pub const MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A month before `now`: the time that a baseline should be of.
pub fn month_before(now: Timestamp) -> Timestamp {
    now.checked_sub(MONTH).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests {
    use super::samples::database;
    use super::*;

    #[test]
    fn what_came_and_what_went_is_in_the_deltas() {
        let before = [database("a", &[("x", 10), ("gone", 5)])];
        let now = [database("a", &[("x", 30), ("new", 7)]), database("b", &[])];
        let found: Vec<_> = deltas(&before, &now)
            .into_iter()
            .map(|delta| {
                let schema = delta.schema.as_ref().map(Name::to_lossy);
                (delta.database.to_lossy(), schema, delta.bytes())
            })
            .collect();
        let wanted = [
            ("a", None, 22),
            ("a", Some("gone"), -5),
            ("a", Some("new"), 7),
            ("a", Some("x"), 20),
            ("b", None, 0),
        ]
        .map(|(name, schema, bytes)| (name.to_owned(), schema.map(str::to_owned), bytes));
        assert_eq!(found, wanted);
    }
}

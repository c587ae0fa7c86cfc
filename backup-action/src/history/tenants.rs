//! The schemas of the newest backup against those of earlier ones.

use super::Amount;
use super::series::{Backup, Series};
use crate::archive::index::Name;
use std::collections::BTreeMap;

/// A schema of the newest backup.
#[derive(Clone, Debug, PartialEq)]
pub struct Tenant {
    /// Its database.
    pub database: Name,
    /// Its name.
    pub schema: Name,
    /// What it holds.
    pub now: Amount,
    /// What it held in the baseline; none when it was not there, or there is no baseline.
    pub before: Option<Amount>,
    /// Its bytes in up to twelve backups, oldest first.
    pub trend: Vec<u64>,
}

impl Series {
    /// The schemas of the newest backup, largest first.
    pub fn tenants(&self) -> Vec<Tenant> {
        let Some(newest) = self.newest() else {
            return Vec::new();
        };
        let baseline = self.baseline().map(amounts);
        let sampled: Vec<_> = self.sampled(12).into_iter().map(amounts).collect();
        let mut tenants: Vec<Tenant> = amounts(newest)
            .into_iter()
            .map(|(name, now)| Tenant {
                database: name.0.clone(),
                schema: name.1.clone(),
                now,
                before: baseline.as_ref().and_then(|b| b.get(&name).copied()),
                trend: sampled
                    .iter()
                    .map(|amounts| amounts.get(&name).map_or(0, |amount| amount.bytes))
                    .collect(),
            })
            .collect();
        tenants.sort_by_key(|tenant| std::cmp::Reverse(tenant.now.bytes));
        tenants
    }

    /// Up to `most` backups, evenly spread, the newest among them.
    fn sampled(&self, most: usize) -> Vec<&Backup> {
        let count = self.backups.len();
        let shown = most.min(count);
        (1..=shown)
            .map(|i| &self.backups[i * count / shown - 1])
            .collect()
    }
}

fn amounts(backup: &Backup) -> BTreeMap<(&Name, &Name), Amount> {
    let mut found = BTreeMap::new();
    for database in &backup.databases {
        for schema in &database.schemas {
            let amount = Amount {
                bytes: schema.bytes,
                rows: schema.rows,
            };
            found.insert((&database.name, &schema.name), amount);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::samples::{one, stored};

    #[test]
    fn tenants_are_compared_with_the_backup_of_a_month_ago() {
        let series = one(vec![
            stored("s", "p", None, "2025-10-01T00:00:00Z", 40),
            stored("s", "p", None, "2025-12-17T00:00:00Z", 80),
            stored("s", "p", None, "2026-01-17T00:00:00Z", 100),
            stored("s", "p", None, "2026-01-18T00:00:00Z", 120),
        ]);
        assert_eq!(series.baseline().unwrap().dump_bytes, 80);
        let tenants = series.tenants();
        assert_eq!(tenants[0].schema.to_lossy(), "a");
        assert_eq!(tenants[0].now.bytes, 60);
        assert_eq!(tenants[0].before.unwrap().bytes, 40);
        assert_eq!(tenants[0].trend, [20, 40, 50, 60]);
        let mut narrow = series;
        narrow.narrow(Some("d"), Some("b"));
        assert_eq!(narrow.newest().unwrap().dump_bytes, 30);
        assert_eq!(narrow.newest().unwrap().archive_bytes, None);
        narrow.narrow(Some("gone"), None);
        assert!(narrow.backups.is_empty() && narrow.tenants().is_empty());
    }
}

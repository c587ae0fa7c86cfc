//! From what lies on the shelves to a plan, and from a decision back to what it is about.

use super::scope::Scope;
use super::{Shelf, tier_of};
use crate::command::stores::Found;
use crate::config::RetentionConfig;
use crate::retention::clock::Clock;
use crate::retention::{self, Backup, Plan, Tier};

/// Where a backup was found.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub(super) shelf: usize,
    archived: bool,
    index: usize,
}

impl At {
    pub(super) fn of(self, shelves: &[Shelf]) -> &Found {
        let contents = &shelves[self.shelf].contents;
        match self.archived {
            true => &contents.archived[self.index],
            false => &contents.backups[self.index],
        }
    }
}

pub(super) type Planned = Vec<(Backup, At)>;

/// The plan for what lies on the shelves.
pub(super) fn planned(
    shelves: &[Shelf],
    scope: &Scope,
    config: &RetentionConfig,
    clock: &Clock,
) -> (Plan, Planned) {
    let mut all = Vec::new();
    for (shelf, Shelf { store, contents }) in shelves.iter().enumerate() {
        for (archived, list) in [(false, &contents.backups), (true, &contents.archived)] {
            // The archive tier is in the bucket. What lies in `archive/` of a directory was brought
            // there by somebody: it replaces no copy, and it is theirs.
            if archived && tier_of(store) == Tier::Local {
                continue;
            }
            for (index, found) in list.iter().enumerate() {
                let tier = match archived {
                    true => Tier::Archive,
                    false => tier_of(store),
                };
                let backup = Backup::of(&found.manifest, found.keys.archive.as_str(), tier);
                if scope.has(&backup.cluster) {
                    all.push((
                        backup,
                        At {
                            shelf,
                            archived,
                            index,
                        },
                    ));
                }
            }
        }
    }
    (plan_of(&all, config, clock), all)
}

/// The plan as it would be with these copies. They have no place yet, and are too new to go.
pub(super) fn replanned(
    candidates: Planned,
    copies: Vec<Backup>,
    config: &RetentionConfig,
    clock: &Clock,
) -> (Plan, Planned) {
    let count = candidates.len();
    let place = candidates.first().map(|(_, at)| *at);
    let copies = copies.into_iter().zip(place.into_iter().cycle());
    let mut all = candidates;
    all.extend(copies);
    let mut plan = plan_of(&all, config, clock);
    plan.decisions.truncate(count);
    all.truncate(count);
    (plan, all)
}

fn plan_of(all: &Planned, config: &RetentionConfig, clock: &Clock) -> Plan {
    let backups: Vec<Backup> = all.iter().map(|(backup, _)| backup.clone()).collect();
    retention::plan(&backups, &config.policy, clock)
}

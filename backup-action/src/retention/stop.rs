//! Why a plan is not carried out, and what to do about it.

use super::clock::{Clock, Distrust};
use super::{Backup, Group, Limit, Policy, Tier, group};
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// How many of `total` may go in one run when nobody said otherwise: half of them, or 10.
pub fn cap(total: usize, max_delete: Option<usize>) -> usize {
    max_delete.unwrap_or((total / 2).max(10))
}

/// So many backups may go by one clock while only the newest stay: where backups come seldom, each
/// gate deletes the one before the last.
const FEW: usize = 3;

/// Why a plan is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The clocks cannot be believed.
    Clock(Distrust),
    /// It would delete more than a run may.
    TooMany {
        /// Where.
        tier: Tier,
        /// So many would go …
        planned: usize,
        /// … of so many …
        total: usize,
        /// … and no more than this may.
        cap: usize,
    },
    /// Only the machine's own clock says that all but the newest are too old. One that is ahead says
    /// so of good backups.
    OneClock {
        /// Where.
        tier: Tier,
        /// So many would go …
        planned: usize,
        /// … of so many.
        total: usize,
    },
    /// It would leave nothing of a kind.
    Everything(Tier),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Clock(distrust) => write!(f, "clock untrusted: {distrust}"),
            Stop::TooMany {
                tier,
                planned,
                total,
                cap,
            } => write!(
                f,
                "{planned} of {total} backups of the {tier} tier are too old, and one run deletes at most {cap}"
            ),
            Stop::OneClock {
                tier,
                planned,
                total,
            } => write!(
                f,
                "{planned} of {total} backups of the {tier} tier would go and only the newest {} stay, and there is no second clock to say that this machine's is right",
                total - planned
            ),
            Stop::Everything(tier) => {
                write!(f, "the plan would leave no backup in the {tier} tier")
            }
        }
    }
}

impl Stop {
    /// What to do about it, as a sentence.
    pub fn hint(&self) -> String {
        match self {
            Stop::Clock(distrust) => distrust.hint(),
            Stop::TooMany { planned, .. } => format!(
                "After a long pause this is right: look at `backup-action prune --dry-run`, then run `backup-action prune --max-delete {planned}` once."
            ),
            Stop::OneClock { planned, .. } => format!(
                "Compare this machine's clock with another. If it is right, run `backup-action prune --max-delete {planned}` once, or wait: when a few backups are young, the old ones go."
            ),
            Stop::Everything(_) => {
                "This is a fault of the program: nothing was deleted; please report it.".to_owned()
            }
        }
    }
}

/// A guard that stands by itself: whatever the rules above do, something of each group stays.
pub(super) fn emptied(backups: &[Backup], deletions: &[usize]) -> Option<Stop> {
    let gone: HashSet<usize> = deletions.iter().copied().collect();
    let mut left: BTreeMap<Group<'_>, bool> = BTreeMap::new();
    for (index, backup) in backups.iter().enumerate() {
        *left.entry(group(backup)).or_default() |= !gone.contains(&index);
    }
    left.into_iter()
        .find(|(_, is_left)| !is_left)
        .map(|((_, _, tier), _)| Stop::Everything(tier))
}

/// Without a second clock, what leaves only the newest of a group: more than a few, or any when the
/// newest of them is itself twice as old as the limit. Daily use does neither, since some of the rest
/// are young then. Somebody who said how many may go has looked.
pub(super) fn by_one_clock(
    backups: &[Backup],
    deletions: &[usize],
    policy: &Policy,
    clock: &Clock,
) -> Option<Stop> {
    if clock.store_ahead.is_some() || policy.max_delete.is_some() {
        return None;
    }
    let mut groups: BTreeMap<Group<'_>, (Vec<usize>, usize)> = BTreeMap::new();
    for (index, backup) in backups.iter().enumerate() {
        groups.entry(group(backup)).or_default().0.push(index);
    }
    for index in deletions {
        groups.entry(group(&backups[*index])).or_default().1 += 1;
    }
    groups
        .into_iter()
        .find_map(|((_, _, tier), (members, planned))| {
            let total = members.len();
            let newest = members
                .iter()
                .map(|index| backups[*index].started_at)
                .max()?;
            let is_stale = match policy.limit(tier) {
                Limit::Forever => false,
                Limit::Age(limit) => clock.now.duration_since(newest) > limit.saturating_mul(2),
            };
            let only_newest_stay = total - planned <= policy.min_keep.max(1);
            let is_odd = planned > FEW && only_newest_stay || planned > 0 && is_stale;
            is_odd.then_some(Stop::OneClock {
                tier,
                planned,
                total,
            })
        })
}

pub(super) fn too_many(backups: &[Backup], deletions: &[usize], policy: &Policy) -> Option<Stop> {
    [Tier::Local, Tier::Remote, Tier::Archive]
        .into_iter()
        .find_map(|tier| {
            let total = backups.iter().filter(|backup| backup.tier == tier).count();
            let planned = deletions
                .iter()
                .filter(|index| backups[**index].tier == tier)
                .count();
            let cap = cap(total, policy.max_delete);
            (planned > cap).then_some(Stop::TooMany {
                tier,
                planned,
                total,
                cap,
            })
        })
}

//! What stays in the stores, what goes, and why: pure rules over what the manifests say. No I/O.
//!
//! Only verified backups get in here, and a backup is verified when its manifest is there and can be
//! read. Ages come from the time that was recorded in it, never from a name or a store.

pub mod clock;
pub mod loose;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod simulation;
pub mod stop;

use crate::manifest::{Manifest, Source};
use clock::Clock;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use stop::{Stop, by_one_clock, emptied, too_many};

/// Where a backup lies. Each tier has its own limit, and keeps its own newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// The directory on this machine.
    Local,
    /// The bucket.
    Remote,
    /// `archive/` in the bucket: the first verified backup of each month.
    Archive,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tier::Local => "local",
            Tier::Remote => "remote",
            Tier::Archive => "archive",
        })
    }
}

/// What a backup is of. The newest of one kind says nothing about another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A whole cluster.
    Full,
}

/// A verified backup in one tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Where it lies.
    pub tier: Tier,
    /// What it is of.
    pub kind: Kind,
    /// Which cluster: see [`identity`].
    pub cluster: String,
    /// The key of its archive.
    pub key: String,
    /// When its dump began, as its manifest says.
    pub started_at: Timestamp,
    /// When its dump was complete.
    pub finished_at: Timestamp,
    /// Keys of other backups of the tier that it cannot be restored without.
    pub needs: Vec<String>,
    /// What it takes in the store.
    pub bytes: u64,
}

impl Backup {
    /// The backup that `manifest` makes, under `key` in `tier`.
    pub fn of(manifest: &Manifest, key: &str, tier: Tier) -> Backup {
        Backup {
            tier,
            kind: Kind::Full,
            cluster: identity(&manifest.source).to_owned(),
            key: key.to_owned(),
            started_at: manifest.started_at,
            finished_at: manifest.finished_at,
            needs: Vec::new(),
            bytes: manifest
                .archive
                .archive_bytes
                .saturating_add(manifest.index_bytes),
        }
    }
}

/// What tells clusters apart that share a store: PostgreSQL's own identifier, where the role could
/// read it, else the name.
pub fn identity(source: &Source) -> &str {
    source
        .system_identifier
        .as_deref()
        .unwrap_or(&source.cluster)
}

/// How old a backup may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// As old as it likes.
    Forever,
    /// So old.
    Age(SignedDuration),
}

impl Limit {
    fn is_over(self, age: SignedDuration) -> bool {
        match self {
            Limit::Forever => false,
            Limit::Age(limit) => age > limit,
        }
    }

    /// The longer of two.
    pub fn longer(self, other: Limit) -> Limit {
        match (self, other) {
            (Limit::Age(one), Limit::Age(two)) => Limit::Age(one.max(two)),
            (Limit::Forever, _) | (_, Limit::Forever) => Limit::Forever,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Forever => f.write_str("for ever"),
            Limit::Age(limit) => write!(f, "{} d", limit.as_hours() / 24),
        }
    }
}

/// What the configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// In the directory.
    pub local: Limit,
    /// In the bucket.
    pub remote: Limit,
    /// In the archive tier.
    pub archive: Limit,
    /// Whether each month's first backup is copied into the archive tier.
    pub archiving: bool,
    /// So many of the newest stay in each tier, whatever their age. Never 0.
    pub min_keep: usize,
    /// More deletions than this in one tier are refused; see [`stop::cap`] for what holds without it.
    pub max_delete: Option<usize>,
}

impl Policy {
    /// The limit of a tier.
    pub fn limit(&self, tier: Tier) -> Limit {
        match tier {
            Tier::Local => self.local,
            Tier::Remote => self.remote,
            Tier::Archive => self.archive,
        }
    }

    /// The longest of all limits: what proves a backup stays at least as long as the backup.
    pub fn longest(&self) -> Limit {
        self.local.longer(self.remote).longer(self.archive)
    }
}

/// What happens to a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It stays.
    Keep(Why),
    /// It goes: it is so old, and may only be as old as the limit.
    Delete(SignedDuration, Limit),
}

/// Why a backup stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is one of the newest of its kind.
    Newest(usize),
    /// It is not older than the limit.
    Young(Limit),
    /// It is its month's first, and not yet in the archive tier.
    ToBeArchived,
    /// Another backup that stays needs it.
    Needed(String),
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::Keep(Why::Newest(1)) => f.write_str("the newest"),
            Decision::Keep(Why::Newest(n)) => write!(f, "one of the newest {n}"),
            Decision::Keep(Why::Young(Limit::Forever)) => f.write_str("kept for ever"),
            Decision::Keep(Why::Young(limit)) => write!(f, "not older than {limit}"),
            Decision::Keep(Why::ToBeArchived) => {
                f.write_str("the first of its month, and not yet in the archive tier")
            }
            Decision::Keep(Why::Needed(by)) => write!(f, "{by} needs it"),
            Decision::Delete(_, limit) => write!(f, "older than {limit}"),
        }
    }
}

/// What happens to each backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// In the order of the backups that were given.
    pub decisions: Vec<Decision>,
    /// Why it is not carried out.
    pub stop: Option<Stop>,
    deletions: Vec<usize>,
    copies: Vec<usize>,
}

impl Plan {
    /// The backups to delete, oldest first; none when the plan is not carried out.
    pub fn deletions(&self) -> &[usize] {
        match self.stop {
            None => &self.deletions,
            Some(_) => &[],
        }
    }

    /// The backups of the remote tier to copy into the archive tier, oldest first; none when the
    /// clocks cannot be believed. Plan again when they were copied.
    pub fn copies(&self) -> &[usize] {
        match self.stop {
            None | Some(Stop::TooMany { .. } | Stop::OneClock { .. } | Stop::Everything(_)) => {
                &self.copies
            }
            Some(Stop::Clock(_)) => &[],
        }
    }
}

/// Decides what happens to `backups`, which are of one or several clusters.
pub fn plan(backups: &[Backup], policy: &Policy, clock: &Clock) -> Plan {
    let mut decisions = by_age(backups, policy, clock.now);
    let copies = to_archive(backups, policy, clock.now);
    for index in &copies {
        if let Decision::Delete(..) = decisions[*index] {
            decisions[*index] = Decision::Keep(Why::ToBeArchived);
        }
    }
    keep_what_is_needed(backups, &mut decisions);
    let mut deletions: Vec<usize> = (0..backups.len())
        .filter(|index| matches!(decisions[*index], Decision::Delete(..)))
        .collect();
    deletions.sort_by_key(|index| order(&backups[*index]));
    let stop = clock
        .distrust(backups)
        .map(Stop::Clock)
        .or_else(|| emptied(backups, &deletions))
        .or_else(|| too_many(backups, &deletions, policy))
        .or_else(|| by_one_clock(backups, &deletions, policy, clock));
    Plan {
        decisions,
        stop,
        deletions,
        copies,
    }
}

/// Older before newer; the key decides between equal times.
fn order(backup: &Backup) -> (Timestamp, &str) {
    (backup.started_at, &backup.key)
}

type Group<'a> = (Kind, &'a str, Tier);

fn group(backup: &Backup) -> Group<'_> {
    (backup.kind, &backup.cluster, backup.tier)
}

/// The newest of each group stay, and what is young.
fn by_age(backups: &[Backup], policy: &Policy, now: Timestamp) -> Vec<Decision> {
    let mut groups: BTreeMap<Group<'_>, Vec<usize>> = BTreeMap::new();
    for (index, backup) in backups.iter().enumerate() {
        groups.entry(group(backup)).or_default().push(index);
    }
    let min_keep = policy.min_keep.max(1);
    let mut decisions = vec![Decision::Keep(Why::Newest(min_keep)); backups.len()];
    for ((_, _, tier), mut members) in groups {
        members.sort_by_key(|index| Reverse(order(&backups[*index])));
        let limit = policy.limit(tier);
        // What is listed twice is still one backup.
        let mut newest: HashSet<&str> = HashSet::new();
        for index in members {
            let backup = &backups[index];
            if newest.len() < min_keep || newest.contains(&*backup.key) {
                newest.insert(&backup.key);
                continue;
            }
            let age = now.duration_since(backup.started_at);
            decisions[index] = match limit.is_over(age) {
                true => Decision::Delete(age, limit),
                false => Decision::Keep(Why::Young(limit)),
            };
        }
    }
    decisions
}

/// Each month's first backup of the remote tier, unless the archive tier has one of that month, or
/// it would be too old there.
fn to_archive(backups: &[Backup], policy: &Policy, now: Timestamp) -> Vec<usize> {
    if !policy.archiving {
        return Vec::new();
    }
    let in_tier = |tier: Tier| {
        let indices = 0..backups.len();
        indices.filter(move |index| backups[*index].tier == tier)
    };
    let mut done: HashSet<(Kind, &str, String)> = in_tier(Tier::Archive)
        .map(|index| &backups[index])
        .map(|backup| (backup.kind, &*backup.cluster, month(backup.started_at)))
        .collect();
    let mut remote: Vec<usize> = in_tier(Tier::Remote).collect();
    remote.sort_by_key(|index| order(&backups[*index]));
    remote.retain(|index| {
        let backup = &backups[*index];
        let is_first = done.insert((backup.kind, &backup.cluster, month(backup.started_at)));
        // By the age of the month: else, when its first backup leaves the archive, its second would
        // follow it there.
        let age = now.duration_since(beginning_of_month(backup.started_at));
        is_first && !policy.archive.is_over(age)
    });
    remote
}

/// `2026-01`, in UTC.
fn month(at: Timestamp) -> String {
    at.strftime("%Y-%m").to_string()
}

fn beginning_of_month(at: Timestamp) -> Timestamp {
    let date = TimeZone::UTC.to_datetime(at).date().first_of_month();
    // Only the first month that a timestamp can express has no beginning.
    TimeZone::UTC
        .to_timestamp(date.to_datetime(Time::midnight()))
        .unwrap_or(at)
}

/// What a backup that stays needs stays as well; and what is listed twice has one fate.
fn keep_what_is_needed(backups: &[Backup], decisions: &mut [Decision]) {
    let mut by_key: HashMap<(Tier, &str), Vec<usize>> = HashMap::new();
    for (index, backup) in backups.iter().enumerate() {
        by_key
            .entry((backup.tier, &backup.key))
            .or_default()
            .push(index);
    }
    let mut todo: Vec<usize> = (0..backups.len())
        .filter(|index| matches!(decisions[*index], Decision::Keep(_)))
        .collect();
    while let Some(index) = todo.pop() {
        let backup = &backups[index];
        let needed = backup.needs.iter().map(String::as_str);
        for key in needed.chain([backup.key.as_str()]) {
            for other in by_key.get(&(backup.tier, key)).into_iter().flatten() {
                if let Decision::Delete(..) = decisions[*other] {
                    decisions[*other] = Decision::Keep(Why::Needed(backup.key.clone()));
                    todo.push(*other);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::properties::{backup, policy, time};
    use super::*;

    fn texts(plan: &Plan) -> Vec<String> {
        plan.decisions.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_decision_says_why() {
        let now = time("2026-03-20T02:00:00Z");
        let backups = [
            backup(Tier::Remote, "2026-03-20T01:00:00Z"),
            backup(Tier::Remote, "2026-03-19T02:00:00Z"),
            backup(Tier::Remote, "2026-03-01T02:00:00Z"),
            backup(Tier::Remote, "2026-02-03T02:00:00Z"),
            backup(Tier::Remote, "2026-02-02T02:00:00Z"),
            backup(Tier::Remote, "2026-01-31T02:00:00Z"),
            backup(Tier::Archive, "2026-01-01T02:00:00Z"),
        ];
        let plan = plan(&backups, &policy(), &Clock::certain(now));
        assert_eq!(
            texts(&plan),
            [
                "one of the newest 2",
                "one of the newest 2",
                "not older than 30 d",
                "older than 30 d",
                "the first of its month, and not yet in the archive tier",
                "older than 30 d",
                "one of the newest 2",
            ]
        );
        assert_eq!(plan.deletions(), [5, 3]);
        assert_eq!(plan.copies(), [4, 2]);
        assert_eq!(plan.stop, None);
    }

    #[test]
    fn a_week_of_failures_leaves_the_newest() {
        let now = time("2026-06-20T02:00:00Z");
        let backups: Vec<Backup> = (1..9)
            .map(|day| backup(Tier::Local, &format!("2026-01-0{day}T02:00:00Z")))
            .collect();
        let plan = plan(&backups, &policy(), &Clock::certain(now));
        assert_eq!(plan.deletions(), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn what_is_needed_stays_and_its_needs_too() {
        let now = time("2026-06-20T02:00:00Z");
        let mut backups: Vec<Backup> = (1..6)
            .map(|day| backup(Tier::Local, &format!("2026-01-0{day}T02:00:00Z")))
            .collect();
        backups[4].needs = vec![backups[2].key.clone()];
        backups[2].needs = vec![backups[0].key.clone(), "of nobody".to_owned()];
        let plan = plan(&backups, &policy(), &Clock::certain(now));
        assert_eq!(plan.deletions(), [1]);
        assert_eq!(
            texts(&plan)[0],
            "2026-01/backup_2026-01-03_02-00-00Z.sql.gz needs it"
        );
    }

    #[test]
    fn a_plan_above_the_cap_is_shown_and_not_carried_out() {
        let now = time("2026-06-20T02:00:00Z");
        let backups: Vec<Backup> = (10..28)
            .map(|day| backup(Tier::Local, &format!("2026-01-{day}T02:00:00Z")))
            .collect();
        let stopped = plan(&backups, &policy(), &Clock::certain(now));
        assert_eq!(stopped.deletions(), [] as [usize; 0]);
        let stop = stopped.stop.unwrap();
        assert_eq!(
            stop.to_string(),
            "16 of 18 backups of the local tier are too old, and one run deletes at most 10"
        );
        assert!(stop.hint().contains("--max-delete 16"));
        let deletes = stopped.decisions.iter();
        let deletes = deletes.filter(|decision| matches!(decision, Decision::Delete(..)));
        assert_eq!(deletes.count(), 16);
        let allowed = Policy {
            max_delete: Some(16),
            ..policy()
        };
        assert_eq!(
            plan(&backups, &allowed, &Clock::certain(now)).deletions(),
            (0..16).collect::<Vec<_>>()
        );
    }

    #[test]
    fn one_clock_alone_leaves_more_than_the_newest() {
        let now = time("2026-06-20T02:00:00Z");
        let alone = Clock {
            store_ahead: None,
            // It may be the same machine's.
            server_ahead: Some(SignedDuration::ZERO),
            ..Clock::certain(now)
        };
        let aged = |ages: &[i64]| -> Vec<Backup> {
            let at = |age: &i64| now - SignedDuration::from_hours(24 * age);
            ages.iter()
                .map(|age| backup(Tier::Local, &at(age).to_string()))
                .collect()
        };
        let stops = |ages: &[i64], policy: &Policy, clock: &Clock| {
            let plan = plan(&aged(ages), policy, clock);
            matches!(plan.stop, Some(Stop::OneClock { .. }))
        };
        for (ages, is_odd) in [
            // Daily, weekly, after a pause with two backups behind it, with three.
            (&[0, 1, 2, 3, 4, 5, 6, 7, 8][..], false),
            (&[0, 7, 14], false),
            (&[0, 1, 40, 41, 42, 43, 44], true),
            (&[0, 1, 2, 40, 41, 42, 43, 44], false),
            (&[0, 31, 32, 33, 34], false),
            (&[0, 31, 32, 33, 34, 35], true),
            // Only what is stale is left.
            (&[13, 15, 16], false),
            (&[15, 16], false),
            (&[15, 16, 17], true),
        ] {
            assert_eq!(stops(ages, &policy(), &alone), is_odd, "{ages:?}");
            assert!(!stops(ages, &policy(), &Clock::certain(now)), "{ages:?}");
            let allowed = Policy {
                max_delete: Some(9),
                ..policy()
            };
            assert!(!stops(ages, &allowed, &alone), "{ages:?}");
        }
    }

    #[test]
    fn the_guard_stands_by_itself() {
        let backups = [
            backup(Tier::Local, "2026-01-01T02:00:00Z"),
            backup(Tier::Remote, "2026-01-01T02:00:00Z"),
        ];
        assert_eq!(emptied(&backups, &[]), None);
        assert_eq!(
            emptied(&backups, &[1]),
            Some(Stop::Everything(Tier::Remote))
        );
        assert_eq!(emptied(&[], &[]), None);
    }
}

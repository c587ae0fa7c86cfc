//! Whether a dump is as large as it should be, against limits and against earlier backups: the
//! rules of `size-floor`, `size-shrink` and `size-growth`. Answers are values; the sentences are
//! the command's.
//!
//! Sizes are those of the dump. Those of the archive follow the level of compression, which may
//! differ from run to run.

use super::{Delta, MONTH, deltas};
use crate::archive::index::Name;
use crate::manifest::DatabaseSummary;
use jiff::SignedDuration;

/// What is too small, and how much change is too much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The least sizes.
    pub floors: Vec<Floor>,
    /// More growth in a month is too much, in percent.
    pub max_growth_percent: u64,
    /// Growth by fewer bytes never is.
    pub growth_floor_bytes: u64,
    /// A greater loss is too much, in percent.
    pub max_shrink_percent: u64,
    /// A loss of fewer bytes never is.
    pub shrink_floor_bytes: u64,
    /// What may change as it likes: a schema, `database.schema`, a database, or `all`.
    pub accepted: Vec<String>,
}

/// The least size of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Floor {
    /// A schema or `database.schema`; none for the whole dump.
    pub part: Option<String>,
    /// Its least size.
    pub bytes: u64,
}

/// What one dump holds.
#[derive(Clone, Copy, Debug)]
pub struct Sizes<'a> {
    /// Size of the dump.
    pub dump_bytes: u64,
    /// What is inside.
    pub databases: &'a [DatabaseSummary],
}

/// Something whose size is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The whole dump.
    Cluster,
    /// A schema of a database.
    Schema(Name, Name),
}

/// In which direction a size went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Up.
    Growth,
    /// Down.
    Shrink,
}

/// A part that changed by more than the limits allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which.
    pub part: Part,
    /// Bytes in the baseline.
    pub before_bytes: u64,
    /// Bytes now; zero when it is gone.
    pub now_bytes: u64,
    /// Why it is let through, when it is.
    pub excuse: Option<Excuse>,
}

/// Why a change that is too large is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excuse {
    /// The configuration names it.
    Accepted,
    /// The newest verified backup had it already, and little has changed since then.
    Known,
}

/// The parts that are smaller than their floor: what, how large it is, how large it should be. A
/// schema that is not there has no bytes.
pub fn below_floor<'a>(now: &Sizes<'_>, floors: &'a [Floor]) -> Vec<(&'a Floor, u64)> {
    floors
        .iter()
        .filter_map(|floor| {
            let bytes = match &floor.part {
                None => now.dump_bytes,
                // Where several databases have a schema of that name, each has to reach the floor.
                Some(part) => schemas(now.databases)
                    .filter(|(database, schema, _)| is_named(part, database, schema))
                    .map(|(_, _, bytes)| bytes)
                    .min()
                    .unwrap_or(0),
            };
            (bytes < floor.bytes).then_some((floor, bytes))
        })
        .collect()
}

/// What changed by more than the limits allow since `baseline`: the whole dump first, then schemas,
/// the greatest change first. A new schema has not grown, since there is nothing to compare it
/// with; one that is gone has lost everything.
pub fn moves(
    direction: Direction,
    now: &Sizes<'_>,
    baseline: &Sizes<'_>,
    baseline_age: SignedDuration,
    newest: &Sizes<'_>,
    limits: &Limits,
) -> Vec<Move> {
    let (percent, one_percent) = match direction {
        Direction::Growth => (
            growth_percent(limits.max_growth_percent, baseline_age),
            limits.max_growth_percent,
        ),
        Direction::Shrink => (limits.max_shrink_percent, limits.max_shrink_percent),
    };
    let rule = Rule {
        direction,
        percent,
        more_percent: one_percent / 2,
        floor_bytes: match direction {
            Direction::Growth => limits.growth_floor_bytes,
            Direction::Shrink => limits.shrink_floor_bytes,
        },
    };
    let changes: Vec<Delta> = deltas(baseline.databases, now.databases);
    let known = deltas(newest.databases, now.databases);
    let mut found = Vec::new();
    // What is accepted counts as unchanged also for the whole.
    let accepted_bytes: i128 = changes
        .iter()
        .filter(|delta| is_accepted(&limits.accepted, delta))
        .map(Delta::bytes)
        .sum();
    let whole = i128::from(now.dump_bytes) - accepted_bytes;
    let all = limits.accepted.iter().any(|name| name == ALL);
    let unchanged_whole = u64::try_from(whole.max(0)).unwrap_or(u64::MAX);
    if rule.trips(baseline.dump_bytes, now.dump_bytes) {
        let excuse = if all || !rule.trips(baseline.dump_bytes, unchanged_whole) {
            Some(Excuse::Accepted)
        } else {
            rule.known(baseline.dump_bytes, newest.dump_bytes, now.dump_bytes)
        };
        found.push(Move {
            part: Part::Cluster,
            before_bytes: baseline.dump_bytes,
            now_bytes: now.dump_bytes,
            excuse,
        });
    }
    let mut parts = Vec::new();
    for delta in changes {
        let (Some(schema), Some(before)) = (&delta.schema, delta.before) else {
            continue;
        };
        let now_bytes = delta.now.unwrap_or_default().bytes;
        if !rule.trips(before.bytes, now_bytes) {
            continue;
        }
        let excuse = if is_accepted(&limits.accepted, &delta) {
            Some(Excuse::Accepted)
        } else {
            let newest_bytes = known
                .iter()
                .find(|other| other.database == delta.database && other.schema == delta.schema)
                .and_then(|other| other.before)
                .map_or(0, |amount| amount.bytes);
            rule.known(before.bytes, newest_bytes, now_bytes)
        };
        parts.push(Move {
            part: Part::Schema(delta.database.clone(), schema.clone()),
            before_bytes: before.bytes,
            now_bytes,
            excuse,
        });
    }
    parts.sort_by_key(|moved| std::cmp::Reverse(moved.before_bytes.abs_diff(moved.now_bytes)));
    found.append(&mut parts);
    found
}

/// The word that accepts every change.
pub const ALL: &str = "all";

/// A baseline of up to two months counts as a month: less time is stricter, not laxer. What is older
/// is allowed the growth of its months, or a year without a backup would look like a leak.
fn growth_percent(per_month: u64, age: SignedDuration) -> u64 {
    let months = age.as_secs().max(0).unsigned_abs() / MONTH.as_secs().unsigned_abs();
    match months {
        0..=1 => per_month,
        months => per_month.saturating_mul(months),
    }
}

struct Rule {
    direction: Direction,
    percent: u64,
    /// More than this since the newest backup is a change of its own. The whole limit would let
    /// through one such change a run, until a month is over.
    more_percent: u64,
    floor_bytes: u64,
}

impl Rule {
    fn trips(&self, before: u64, now: u64) -> bool {
        self.exceeds(self.percent, before, now)
    }

    fn exceeds(&self, percent: u64, before: u64, now: u64) -> bool {
        let change = match self.direction {
            Direction::Growth => now.checked_sub(before),
            Direction::Shrink => before.checked_sub(now),
        };
        change.is_some_and(|change| {
            change > 0
                && change >= self.floor_bytes
                && u128::from(change) * 100 > u128::from(before) * u128::from(percent)
        })
    }

    /// Whether the newest backup had the change already, and little was added to it.
    fn known(&self, before: u64, newest: u64, now: u64) -> Option<Excuse> {
        let is_more = self.exceeds(self.more_percent, newest, now);
        (self.trips(before, newest) && !is_more).then_some(Excuse::Known)
    }
}

fn is_accepted(accepted: &[String], delta: &Delta) -> bool {
    let Some(schema) = &delta.schema else {
        return false;
    };
    accepted.iter().any(|name| {
        name == ALL || *name == delta.database.to_lossy() || is_named(name, &delta.database, schema)
    })
}

fn is_named(name: &str, database: &Name, schema: &Name) -> bool {
    let schema = schema.to_lossy();
    name == schema || name == format!("{database}.{schema}")
}

fn schemas(databases: &[DatabaseSummary]) -> impl Iterator<Item = (&Name, &Name, u64)> {
    databases.iter().flat_map(|database| {
        let of = database.schemas.iter();
        of.map(|schema| (&database.name, &schema.name, schema.bytes))
    })
}

#[cfg(test)]
mod tests {
    use super::super::samples::database;
    use super::*;
    use proptest::prelude::*;

    const MB: u64 = 1_000_000;
    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn limits() -> Limits {
        Limits {
            floors: Vec::new(),
            max_growth_percent: 50,
            growth_floor_bytes: 50 * MB,
            max_shrink_percent: 50,
            shrink_floor_bytes: 10 * MB,
            accepted: Vec::new(),
        }
    }

    /// Moves as text: `whole 20→31 Accepted`.
    fn found(
        direction: Direction,
        [baseline, newest, now]: [&[(&str, u64)]; 3],
        age: SignedDuration,
        limits: &Limits,
    ) -> Vec<String> {
        let of = |schemas: &[(&str, u64)]| {
            let schemas: Vec<_> = schemas.iter().map(|(n, mb)| (*n, mb * MB)).collect();
            [database("d", &schemas)]
        };
        let (baseline, newest, now) = (of(baseline), of(newest), of(now));
        let sizes = |databases| Sizes {
            dump_bytes: {
                let d: &[DatabaseSummary] = databases;
                d[0].bytes
            },
            databases,
        };
        let moves = moves(
            direction,
            &sizes(&now),
            &sizes(&baseline),
            age,
            &sizes(&newest),
            limits,
        );
        moves
            .into_iter()
            .map(|moved| {
                let part = match moved.part {
                    Part::Cluster => "whole".to_owned(),
                    Part::Schema(_, schema) => schema.to_lossy(),
                };
                let excuse = moved.excuse.map(|e| format!(" {e:?}")).unwrap_or_default();
                let (before, now) = (moved.before_bytes / MB, moved.now_bytes / MB);
                format!("{part} {before}→{now}{excuse}")
            })
            .collect()
    }

    fn two(direction: Direction, before: &[(&str, u64)], now: &[(&str, u64)]) -> Vec<String> {
        found(direction, [before, before, now], 30 * DAY, &limits())
    }

    #[test]
    fn a_leak_is_found_in_the_whole_and_in_the_tenant_and_small_change_is_not() {
        use Direction::Growth;
        assert_eq!(
            two(Growth, &[("a", 20)], &[("a", 31)]),
            Vec::<String>::new()
        );
        assert_eq!(
            two(Growth, &[("a", 20)], &[("a", 69)]),
            Vec::<String>::new()
        );
        assert_eq!(
            two(Growth, &[("a", 20)], &[("a", 70)]),
            ["whole 20→70", "a 20→70"]
        );
        // Exactly the limit is allowed.
        assert_eq!(
            two(Growth, &[("a", 100)], &[("a", 150)]),
            Vec::<String>::new()
        );
        assert_eq!(
            two(Growth, &[("a", 200), ("b", 800)], &[("a", 320), ("b", 800)]),
            ["a 200→320"]
        );
        // A new tenant is no growth of itself; it is part of the whole.
        assert_eq!(
            two(Growth, &[("a", 100)], &[("a", 100), ("b", 90)]),
            ["whole 100→190"]
        );
    }

    #[test]
    fn a_loss_is_found_and_what_is_gone_lost_all() {
        use Direction::Shrink;
        assert_eq!(
            two(Shrink, &[("a", 19)], &[("a", 10)]),
            Vec::<String>::new()
        );
        assert_eq!(
            two(Shrink, &[("a", 40)], &[("a", 20)]),
            Vec::<String>::new()
        );
        assert_eq!(
            two(Shrink, &[("a", 41)], &[("a", 20)]),
            ["whole 41→20", "a 41→20"]
        );
        assert_eq!(
            two(Shrink, &[("a", 12), ("b", 90)], &[("b", 90)]),
            ["a 12→0"]
        );
        assert_eq!(
            two(Shrink, &[("a", 9), ("b", 90)], &[("b", 90)]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn what_is_accepted_counts_as_unchanged_also_for_the_whole() {
        let before: &[(&str, u64)] = &[("a", 80), ("b", 40)];
        let now: &[(&str, u64)] = &[("a", 1), ("b", 40)];
        let accept = |names: &[&str]| {
            let limits = Limits {
                accepted: names.iter().map(|&n| n.to_owned()).collect(),
                ..limits()
            };
            found(Direction::Shrink, [before, before, now], 30 * DAY, &limits)
        };
        assert_eq!(accept(&[]), ["whole 120→41", "a 80→1"]);
        for name in ["a", "d.a", "d", "all"] {
            assert_eq!(
                accept(&[name]),
                ["whole 120→41 Accepted", "a 80→1 Accepted"],
                "{name}"
            );
        }
        assert_eq!(accept(&["b", "x.a"]), ["whole 120→41", "a 80→1"]);
    }

    #[test]
    fn what_the_newest_backup_had_is_known_and_a_second_step_is_not() {
        let shrink = |newest: u64, now: u64| {
            found(
                Direction::Shrink,
                [&[("a", 100)], &[("a", newest)], &[("a", now)]],
                30 * DAY,
                &limits(),
            )
        };
        assert_eq!(shrink(20, 20), ["whole 100→20 Known", "a 100→20 Known"]);
        assert_eq!(shrink(45, 15), ["whole 100→15", "a 100→15"]);
        // In two steps, each of them allowed.
        assert_eq!(shrink(60, 36), ["whole 100→36", "a 100→36"]);
        // After one that was accepted, another half.
        assert_eq!(shrink(45, 23), ["whole 100→23", "a 100→23"]);
        assert_eq!(shrink(44, 33), ["whole 100→33 Known", "a 100→33 Known"]);
        assert_eq!(shrink(44, 32), ["whole 100→32", "a 100→32"]);
        // Few bytes are not: the floor is 10.
        assert_eq!(shrink(12, 3), ["whole 100→3 Known", "a 100→3 Known"]);
    }

    #[test]
    fn one_accepted_growth_does_not_let_the_next_one_through() {
        let grow = |days: i32, newest: u64, now: u64| {
            found(
                Direction::Growth,
                [&[("a", 100)], &[("a", newest)], &[("a", now)]],
                DAY * days,
                &limits(),
            )
        };
        assert_eq!(
            grow(30, 151, 160),
            ["whole 100→160 Known", "a 100→160 Known"]
        );
        assert_eq!(grow(30, 151, 220), ["whole 100→220", "a 100→220"]);
        assert_eq!(grow(30, 220, 320), ["whole 100→320", "a 100→320"]);
        // An old baseline allows more since then, not more since the newest.
        assert_eq!(grow(365, 800, 1100), ["whole 100→1100", "a 100→1100"]);
    }

    #[test]
    fn an_old_baseline_is_allowed_the_growth_of_its_months() {
        let grow = |days: i32, now: u64| {
            found(
                Direction::Growth,
                [&[("a", 100)], &[("a", 100)], &[("a", now)]],
                DAY * days,
                &limits(),
            )
            .len()
        };
        for days in [1, 7, 30, 59] {
            assert_eq!((grow(days, 150), grow(days, 151)), (0, 2), "{days}");
        }
        assert_eq!((grow(60, 200), grow(60, 201)), (0, 2));
        assert_eq!((grow(365, 700), grow(365, 701)), (0, 2));
    }

    #[test]
    fn floors_are_for_the_whole_and_for_schemas() {
        let databases = [
            database("d", &[("a", 5), ("b", 50)]),
            database("e", &[("a", 70)]),
        ];
        let now = Sizes {
            dump_bytes: 125,
            databases: &databases,
        };
        let floors: Vec<Floor> = [
            (None, 125),
            (None, 126),
            (Some("b"), 50),
            (Some("d.b"), 51),
            (Some("a"), 6),
            (Some("e.a"), 70),
            (Some("gone"), 1),
        ]
        .map(|(part, bytes)| Floor {
            part: part.map(str::to_owned),
            bytes,
        })
        .to_vec();
        let found: Vec<_> = below_floor(&now, &floors)
            .into_iter()
            .map(|(floor, bytes)| (floor.part.as_deref(), floor.bytes, bytes))
            .collect();
        assert_eq!(
            found,
            [
                (None, 126, 125),
                (Some("d.b"), 51, 50),
                (Some("a"), 6, 5),
                (Some("gone"), 1, 0)
            ]
        );
    }

    proptest! {
        #[test]
        fn no_size_overflows_and_no_move_goes_both_ways(
            before: u64, newest: u64, now: u64, percent: u64, floor: u64, age_seconds: i64,
        ) {
            let limits = Limits {
                max_growth_percent: percent,
                growth_floor_bytes: floor,
                max_shrink_percent: percent,
                shrink_floor_bytes: floor,
                ..limits()
            };
            let sizes = |dump_bytes| Sizes { dump_bytes, databases: &[] };
            let age = SignedDuration::from_secs(age_seconds);
            let of = |direction| {
                moves(direction, &sizes(now), &sizes(before), age, &sizes(newest), &limits).len()
            };
            prop_assert!(of(Direction::Growth) + of(Direction::Shrink) <= 1);
        }
    }
}

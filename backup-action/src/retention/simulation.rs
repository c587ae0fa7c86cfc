//! Three years of gates: daily ones, weekly ones of another cluster in the same store, failed ones,
//! long outages, and clocks that are wrong now and then. What must hold is asked every day.
#![expect(clippy::print_stdout, reason = "figures, shown with --nocapture")]

use super::clock::Clock;
use super::properties::{archived, days, named, policy, time};
use super::*;

/// How wrong a clock may be, in minutes.
const FAULTS: &[i64] = &[
    -20_000 * 1440,
    -400 * 1440,
    -10 * 1440,
    -1440,
    -20,
    -10,
    10,
    20,
    1440,
    10 * 1440,
    400 * 1440,
    20_000 * 1440,
];

/// A small generator: the same world for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

/// What lies in the stores; beside each backup when it really was made.
struct World {
    dice: Dice,
    /// Whether there is a bucket, whose clock is right.
    bucket: bool,
    stored: Vec<(Backup, Timestamp)>,
    stuck_days: u32,
    refused_runs: u32,
    figures: Figures,
}

#[derive(Debug, Default)]
struct Figures {
    days: u32,
    gates: u32,
    failed: u32,
    wrong_clocks: u32,
    distrusted: u32,
    refused: u32,
    archived: u32,
    deleted: u32,
    most: usize,
    removed_by_hand: u32,
}

impl World {
    fn new(seed: u64, bucket: bool) -> World {
        World {
            dice: Dice(seed.wrapping_mul(2_654_435_761) | 1),
            bucket,
            stored: Vec::new(),
            stuck_days: 0,
            refused_runs: 0,
            figures: Figures::default(),
        }
    }

    fn backups(&self, cluster: &str) -> Vec<Backup> {
        let stored = self.stored.iter().map(|(backup, _)| backup);
        stored.filter(|b| b.cluster == cluster).cloned().collect()
    }

    /// A gate of `cluster` at `truth`.
    fn gate(&mut self, cluster: &str, truth: Timestamp, fails: bool) {
        let fault = match self.dice.roll(25) {
            0 => FAULTS[self.dice.roll(FAULTS.len() as u64) as usize],
            _ => 0,
        };
        self.figures.gates += 1;
        self.figures.wrong_clocks += u32::from(fault != 0);
        if fails {
            // A gate that did not verify deletes nothing: it does not come to retention.
            self.figures.failed += 1;
            return;
        }
        let now = truth + SignedDuration::from_mins(fault);
        let tiers: &[Tier] = match self.bucket {
            true => &[Tier::Local, Tier::Remote],
            false => &[Tier::Local],
        };
        for tier in tiers {
            let made = named(cluster, *tier, now);
            if self
                .stored
                .iter()
                .any(|(b, _)| (b.tier, &b.key) == (*tier, &made.key))
            {
                return;
            }
            self.stored.push((made, truth));
        }
        let clock = Clock {
            now,
            store_ahead: self.bucket.then(|| truth.duration_since(now)),
            server_ahead: None,
            jumped: SignedDuration::ZERO,
        };
        self.prune(cluster, truth, &clock);
    }

    fn prune(&mut self, cluster: &str, truth: Timestamp, clock: &Clock) {
        let before = self.stored.clone();
        let first = plan(&self.backups(cluster), &policy(), clock);
        let own = self.backups(cluster);
        for index in first.copies() {
            self.figures.archived += 1;
            // A copy fails now and then, and is tried again by the next run.
            if self.dice.roll(10) != 0 {
                self.stored.push((archived(&own[*index]), truth));
            }
        }
        let own = self.backups(cluster);
        let max_delete = (self.refused_runs > 7).then_some(1_000);
        let policy = || Policy {
            max_delete,
            ..policy()
        };
        let second = plan(&own, &policy(), clock);
        let gone: HashSet<(Tier, &str)> = second
            .deletions()
            .iter()
            .map(|index| (own[*index].tier, &*own[*index].key))
            .collect();
        self.stored
            .retain(|(b, _)| b.cluster != cluster || !gone.contains(&(b.tier, &b.key)));
        self.figures.deleted += gone.len() as u32;
        let is_future = matches!(second.stop, Some(Stop::Clock(clock::Distrust::Future(..))));
        match second.stop {
            Some(Stop::Clock(_)) => {
                self.figures.distrusted += 1;
                assert_eq!(self.stored, before, "something happened by a wrong clock");
            }
            Some(Stop::TooMany { .. } | Stop::OneClock { .. }) => self.figures.refused += 1,
            Some(Stop::Everything(_)) => panic!("a plan that leaves nothing"),
            None => self.stuck_days = 0,
        }
        let again = plan(&self.backups(cluster), &policy(), clock);
        assert_eq!(
            again.deletions(),
            [] as [usize; 0],
            "a second run deletes more"
        );
        self.ask(&before, cluster, truth);
        // People read warnings: after a week they do what the hints say.
        self.stuck_days += u32::from(is_future);
        self.refused_runs = match &second.stop {
            Some(Stop::TooMany { .. } | Stop::OneClock { .. }) => self.refused_runs + 1,
            Some(Stop::Clock(_) | Stop::Everything(_)) => self.refused_runs,
            None => 0,
        };
        if self.stuck_days > 7 {
            let count = self.stored.len();
            self.stored
                .retain(|(b, _)| b.started_at <= truth + SignedDuration::from_mins(15));
            self.figures.removed_by_hand += (count - self.stored.len()) as u32;
            self.stuck_days = 0;
        }
    }

    /// What must hold after every run.
    fn ask(&self, before: &[(Backup, Timestamp)], cluster: &str, truth: Timestamp) {
        let stored: HashSet<(Tier, &str)> =
            self.stored.iter().map(|(b, _)| (b.tier, &*b.key)).collect();
        let has = |b: &Backup| stored.contains(&(b.tier, &*b.key));
        // Another cluster's backups are as they were.
        for (backup, _) in before.iter().filter(|(b, _)| b.cluster != cluster) {
            assert!(has(backup), "{backup:?} is of another cluster");
        }
        for tier in [Tier::Local, Tier::Remote, Tier::Archive] {
            let mut group: Vec<&Backup> = before
                .iter()
                .map(|(backup, _)| backup)
                .filter(|b| b.cluster == cluster && b.tier == tier)
                .collect();
            group.sort_by_key(|b| Reverse(order(b)));
            // Into the archive come copies, which are newer than what was there.
            if tier != Tier::Archive {
                for newest in group.iter().take(2) {
                    assert!(has(newest), "{newest:?} is one of the newest");
                }
            }
            let left = self
                .stored
                .iter()
                .filter(|(b, _)| b.cluster == cluster && b.tier == tier);
            assert!(left.count() >= group.len().min(2), "{tier}");
        }
        if !self.bucket {
            return;
        }
        let months: HashSet<(&str, String)> = self
            .stored
            .iter()
            .filter(|(b, _)| b.tier != Tier::Local)
            .map(|(b, _)| (&*b.cluster, month(b.started_at)))
            .collect();
        for (backup, made) in before {
            let was_right = backup.started_at == *made;
            let age = truth.duration_since(*made);
            // By the real time, not by any clock of the runs.
            if was_right
                && backup.tier != Tier::Archive
                && !policy().limit(backup.tier).is_over(age)
            {
                assert!(has(backup), "{backup:?} is not too old");
            }
            // A month that had a backup still has one, here or in the archive, until its
            // beginning is a year ago.
            if was_right && backup.tier == Tier::Remote && age <= days(330) {
                let same = (&*backup.cluster, month(backup.started_at));
                assert!(months.contains(&same), "no {}", backup.key);
            }
        }
    }

    fn live(&mut self, start: Timestamp, day_count: i64) {
        let mut outage = 0_u64;
        for day in 0..day_count {
            let at = start + days(day);
            let at = at + SignedDuration::from_secs(self.dice.roll(7_200) as i64);
            if outage == 0 && self.dice.roll(120) == 0 {
                outage = 1 + self.dice.roll(40);
            }
            outage = outage.saturating_sub(1);
            let fails = outage > 0 || self.dice.roll(12) == 0;
            self.figures.days += 1;
            self.gate("nostromo", at, fails);
            if day % 7 == 3 {
                let fails = self.dice.roll(5) == 0;
                self.gate("sulaco", at + SignedDuration::from_hours(3), fails);
            }
            self.figures.most = self.figures.most.max(self.stored.len());
        }
    }
}

#[test]
fn three_years() {
    let mut all = Vec::new();
    for seed in 1..=5 {
        for bucket in [true, false] {
            let mut world = World::new(seed, bucket);
            world.live(time("2024-01-01T02:00:00Z"), 3 * 365 + 1);
            all.push((bucket, world));
        }
    }
    for (bucket, world) in &all {
        let figures = &world.figures;
        // The worlds were eventful, and the stores did not fill up.
        assert!(figures.gates > 1_200 && figures.failed > 100 && figures.wrong_clocks > 20);
        assert!(figures.deleted > 500, "{figures:?}");
        if *bucket {
            assert!(
                figures.archived >= 36 && figures.distrusted > 10,
                "{figures:?}"
            );
            assert!(figures.most < 700, "{figures:?}");
        }
    }
    // Shown with --nocapture.
    for (bucket, world) in all.iter().take(2) {
        println!("bucket {bucket}: {:?}", world.figures);
    }
}

//! What each day of a series was: backups, failed runs, drills, gaps.

use super::series::{Series, day};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use std::collections::BTreeMap;

/// One day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day {
    /// The day, UTC.
    pub date: Date,
    /// Verified backups that were started on it.
    pub backups: u64,
    /// Gates that stayed closed.
    pub failed_gates: u64,
    /// Drills that passed.
    pub drills_passed: u64,
    /// Drills that did not.
    pub drills_failed: u64,
    /// Whether a backup was due and there is none.
    pub is_gap: bool,
}

impl Day {
    /// A day on which nothing was due and nothing happened.
    fn empty(date: Date) -> Day {
        Day {
            date,
            backups: 0,
            failed_gates: 0,
            drills_passed: 0,
            drills_failed: 0,
            is_gap: false,
        }
    }
}

impl Series {
    /// The days from the first of the series, at most `most` of them, to that of `now`. A day is a
    /// gap when no backup was started within the usual distance before its end; the day of `now`
    /// is not over.
    pub fn days(&self, now: Timestamp, most: i64) -> Vec<Day> {
        let today = day(now);
        let mut days: BTreeMap<Date, Day> = BTreeMap::new();
        let mut at = |time: Timestamp, change: fn(&mut Day)| {
            let date = day(time);
            change(days.entry(date).or_insert(Day::empty(date)));
        };
        for backup in &self.backups {
            at(backup.started_at, |day| day.backups += 1);
        }
        for gate in &self.failed_gates {
            at(gate.started_at, |day| day.failed_gates += 1);
        }
        for drill in &self.drills {
            match drill.passed {
                true => at(drill.finished_at, |day| day.drills_passed += 1),
                false => at(drill.finished_at, |day| day.drills_failed += 1),
            }
        }
        let usual = self.usual_days();
        let earliest = today.checked_sub((most.max(1) - 1).days());
        let first = match (days.keys().next(), earliest) {
            (Some(first), Ok(earliest)) => (*first).max(earliest),
            _ => return Vec::new(),
        };
        let mut last_backup: Option<Date> = days
            .range(..first)
            .rev()
            .find(|(_, day)| day.backups > 0)
            .map(|(date, _)| *date);
        let mut shown = Vec::new();
        for date in first.series(1.day()).take_while(|date| *date <= today) {
            let mut day = days.get(&date).copied().unwrap_or(Day::empty(date));
            if day.backups > 0 {
                last_backup = Some(date);
            }
            let since = last_backup.map(|last| days_between(last, date));
            day.is_gap = date < today && since.is_some_and(|since| since >= usual);
            shown.push(day);
        }
        shown
    }

    /// Whether a day that is over has no backup although one was due.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.newest().is_some_and(|newest| {
            days_between(day(newest.started_at), day(now)) > self.usual_days()
        })
    }

    /// The usual distance of two backups in days: the median, at least one.
    fn usual_days(&self) -> i64 {
        let mut dates: Vec<Date> = self.backups.iter().map(|b| day(b.started_at)).collect();
        dates.dedup();
        let mut distances: Vec<i64> = dates
            .windows(2)
            .map(|pair| days_between(pair[0], pair[1]))
            .collect();
        distances.sort_unstable();
        distances
            .get(distances.len() / 2)
            .copied()
            .unwrap_or(1)
            .max(1)
    }
}

fn days_between(from: Date, to: Date) -> i64 {
    from.duration_until(to).as_hours() / 24
}

#[cfg(test)]
mod tests {
    use super::super::samples::{drill, one, stored, time};
    use super::super::series::series;
    use super::*;
    use proptest::prelude::*;

    fn picture(days: &[Day]) -> String {
        days.iter()
            .map(|day| match (day.backups, day.is_gap) {
                (0, true) => 'x',
                (0, false) => '.',
                _ => 'B',
            })
            .collect()
    }

    #[test]
    fn a_gap_is_a_day_on_which_a_backup_was_due() {
        let on = |dates: &[&str]| {
            let all = dates
                .iter()
                .map(|date| stored("s", "p", None, &format!("{date}T02:00:00Z"), 9))
                .collect();
            one(all)
        };
        let days = |dates: &[&str], now: &str| picture(&on(dates).days(time(now), 400));
        let daily = ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-06"];
        assert_eq!(days(&daily, "2026-01-08T01:00:00Z"), "BBBxxBx.");
        let weekly = ["2026-01-01", "2026-01-08", "2026-01-15"];
        assert_eq!(
            days(&weekly, "2026-01-24T01:00:00Z"),
            "B......B......B......xx."
        );
        assert_eq!(days(&["2026-01-01"], "2026-01-01T05:00:00Z"), "B");
        let overdue = |dates: &[&str], now: &str| on(dates).is_overdue(time(now));
        assert!(!overdue(&daily, "2026-01-07T23:00:00Z"));
        assert!(overdue(&daily, "2026-01-08T01:00:00Z"));
        assert!(!overdue(&weekly, "2026-01-22T23:00:00Z"));
        assert_eq!(
            picture(&on(&weekly).days(time("2026-01-16T00:00:00Z"), 3)),
            ".B."
        );
    }

    #[test]
    fn drills_and_failures_stand_on_their_day() {
        let (all, _) = series(
            vec![stored("s", "prod", Some("1"), "2026-01-01T02:00:00Z", 9)],
            vec![
                drill("2026-01-02T02:00:00Z", true),
                drill("2026-01-02T03:00:00Z", false),
            ],
            Vec::new(),
        );
        let days = all[0].days(time("2026-01-02T09:00:00Z"), 400);
        assert_eq!((days[1].drills_passed, days[1].drills_failed), (1, 1));
        assert_eq!(all[0].failures(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_time_breaks_the_calendar(seconds in proptest::collection::vec(0_i64..4_000_000_000, 0..6), now in 0_i64..4_000_000_000) {
            let all = seconds.iter().map(|s| {
                let at = Timestamp::from_second(*s).unwrap().to_string();
                stored("s", "p", None, &at, 9)
            }).collect();
            let (all, _) = series(all, Vec::new(), Vec::new());
            let now = Timestamp::from_second(now).unwrap();
            for one in all {
                let days = one.days(now, 30);
                prop_assert!(days.len() <= 30);
                prop_assert!(days.windows(2).all(|pair| pair[0].date < pair[1].date));
                prop_assert!(!one.months().is_empty());
            }
        }
    }
}

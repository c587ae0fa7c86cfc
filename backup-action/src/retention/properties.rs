//! What must hold for every set of backups, every policy and every clock. Tests only; the helpers
//! also serve the tests beside this file.
#![expect(clippy::print_stdout, reason = "figures, shown with --nocapture")]

use super::clock::{Clock, MAX_SKEW};
use super::stop::cap;
use super::*;
use proptest::prelude::*;

pub(super) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A backup of the cluster `nostromo` that began then.
pub(super) fn backup(tier: Tier, started_at: &str) -> Backup {
    named("nostromo", tier, time(started_at))
}

pub(super) fn named(cluster: &str, tier: Tier, started_at: Timestamp) -> Backup {
    let prefix = match tier {
        Tier::Local | Tier::Remote => "",
        Tier::Archive => "archive/",
    };
    Backup {
        tier,
        kind: Kind::Full,
        cluster: cluster.to_owned(),
        key: format!(
            "{prefix}{}.sql.gz",
            started_at.strftime("%Y-%m/backup_%Y-%m-%d_%H-%M-%SZ")
        ),
        started_at,
        finished_at: started_at,
        needs: Vec::new(),
        bytes: 1000,
    }
}

pub(super) fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

/// The runbook's policy.
pub(super) fn policy() -> Policy {
    Policy {
        local: Limit::Age(days(7)),
        remote: Limit::Age(days(30)),
        archive: Limit::Age(days(365)),
        archiving: true,
        min_keep: 2,
        max_delete: None,
    }
}

/// The same backup in the archive tier.
pub(super) fn archived(backup: &Backup) -> Backup {
    Backup {
        tier: Tier::Archive,
        key: format!("archive/{}", backup.key),
        ..backup.clone()
    }
}

/// Carries a plan out as the command does: copies, a second plan, deletions.
pub(super) fn carry_out(backups: &[Backup], policy: &Policy, clock: &Clock) -> Vec<Backup> {
    let mut after = backups.to_vec();
    let copies = plan(backups, policy, clock);
    after.extend(
        copies
            .copies()
            .iter()
            .map(|index| archived(&backups[*index])),
    );
    let second = plan(&after, policy, clock);
    let gone: HashSet<usize> = second.deletions().iter().copied().collect();
    let mut index = 0;
    after.retain(|_| {
        index += 1;
        !gone.contains(&(index - 1))
    });
    after
}

fn now() -> Timestamp {
    time("2026-03-20T02:00:00Z")
}

fn tiers() -> impl Strategy<Value = Tier> {
    prop_oneof![Just(Tier::Local), Just(Tier::Remote), Just(Tier::Archive)]
}

prop_compose! {
    fn any_backup()(
        cluster in 0..3_usize,
        tier in tiers(),
        // Few distinct times, so that some are equal and some keys are listed twice.
        age_hours in prop_oneof![0..60_i64, 0..900_i64, 0..12_000_i64],
        offset in 0..3_i64,
        needs in proptest::collection::vec(0..60_usize, 0..2),
    ) -> (Backup, Vec<usize>) {
        let started = now() - SignedDuration::from_hours(age_hours / 12 * 12) + SignedDuration::from_secs(offset);
        (named(&format!("cluster {cluster}"), tier, started), needs)
    }
}

prop_compose! {
    /// Now and then one comes from the future, or from the year 1970.
    fn any_backups()(
        drafts in proptest::collection::vec(any_backup(), 0..60),
        odd in proptest::option::weighted(0.2, (0..60_usize, prop_oneof![Just(-20_000_i64), Just(-400), Just(1), Just(400)])),
        chains in any::<bool>(),
    ) -> Vec<Backup> {
        let mut backups: Vec<Backup> = drafts.iter().map(|(backup, _)| backup.clone()).collect();
        if let Some((index, offset_days)) = odd && let Some(odd) = backups.get_mut(index) {
            *odd = named(&odd.cluster, odd.tier, now() + days(offset_days));
        }
        if chains {
            let keys: Vec<String> = backups.iter().map(|backup| backup.key.clone()).collect();
            for (backup, (_, needs)) in backups.iter_mut().zip(&drafts) {
                backup.needs = needs.iter().filter_map(|index| keys.get(*index).cloned()).collect();
            }
        }
        backups
    }
}

prop_compose! {
    fn any_policy()(
        local in 1..40_i64,
        remote in 1..400_i64,
        archive in proptest::option::of(1..500_i64),
        archiving in any::<bool>(),
        min_keep in 0..5_usize,
        max_delete in prop_oneof![Just(None), (0..80_usize).prop_map(Some)],
    ) -> Policy {
        Policy {
            local: Limit::Age(days(local)),
            remote: Limit::Age(days(remote)),
            archive: archive.map_or(Limit::Forever, |archive| Limit::Age(days(archive))),
            archiving,
            min_keep,
            max_delete,
        }
    }
}

prop_compose! {
    fn any_clock()(
        offset_days in prop_oneof![8 => Just(0_i64), 1 => -20_000..0_i64, 1 => 0..20_000_i64],
        store_ahead in proptest::option::of(prop_oneof![4 => -900..900_i64, 1 => -100_000_000..100_000_000_i64]),
        jumped in prop_oneof![8 => Just(0_i64), 1 => -100_000..100_000_i64],
    ) -> Clock {
        Clock {
            now: now() + days(offset_days),
            store_ahead: store_ahead.map(SignedDuration::from_secs),
            server_ahead: None,
            jumped: SignedDuration::from_secs(jumped),
        }
    }
}

fn deleted(plan: &Plan) -> HashSet<usize> {
    plan.deletions().iter().copied().collect()
}

/// The keys of each group, newest first.
fn groups(backups: &[Backup]) -> BTreeMap<(String, Tier), Vec<(Timestamp, String)>> {
    let mut groups: BTreeMap<(String, Tier), Vec<(Timestamp, String)>> = BTreeMap::new();
    for backup in backups {
        groups
            .entry((backup.cluster.clone(), backup.tier))
            .or_default()
            .push((backup.started_at, backup.key.clone()));
    }
    for members in groups.values_mut() {
        members.sort_by(|a, b| b.cmp(a));
        members.dedup();
    }
    groups
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn the_newest_of_each_kind_cluster_and_tier_stay(
        backups in any_backups(), policy in any_policy(), clock in any_clock(),
    ) {
        let after = groups(&carry_out(&backups, &policy, &clock));
        for (group, before) in groups(&backups) {
            let left: HashSet<&String> = after
                .get(&group)
                .into_iter()
                .flatten()
                .map(|(_, key)| key)
                .collect();
            // Into the archive come copies, which may be newer than what was there.
            if group.1 != Tier::Archive {
                for (_, key) in before.iter().take(policy.min_keep.max(1)) {
                    prop_assert!(left.contains(key), "{key} of {group:?}");
                }
            }
            prop_assert!(left.len() >= before.len().min(policy.min_keep.max(1)));
        }
    }

    #[test]
    fn only_what_is_too_old_goes(
        backups in any_backups(), policy in any_policy(), clock in any_clock(),
    ) {
        let plan = plan(&backups, &policy, &clock);
        for index in plan.deletions() {
            let backup = &backups[*index];
            let Limit::Age(limit) = policy.limit(backup.tier) else {
                panic!("deleted although it is kept for ever");
            };
            prop_assert!(clock.now.duration_since(backup.started_at) > limit);
        }
    }

    #[test]
    fn what_stays_has_what_it_needs(
        backups in any_backups(), policy in any_policy(), clock in any_clock(),
    ) {
        let gone = deleted(&plan(&backups, &policy, &clock));
        let gone_keys: HashSet<(Tier, &String)> =
            gone.iter().map(|index| (backups[*index].tier, &backups[*index].key)).collect();
        for (index, backup) in backups.iter().enumerate() {
            if !gone.contains(&index) {
                prop_assert!(!gone_keys.contains(&(backup.tier, &backup.key)));
                for key in &backup.needs {
                    prop_assert!(!gone_keys.contains(&(backup.tier, key)), "{key}");
                }
            }
        }
    }

    #[test]
    fn no_month_is_lost_on_its_way_to_the_archive(
        backups in any_backups(), policy in any_policy(), clock in any_clock(),
    ) {
        // Without a single copy: every one of them failed.
        let gone = deleted(&plan(&backups, &policy, &clock));
        let lies_in = |tier: Tier, like: &Backup, index: usize| {
            let other = &backups[index];
            other.tier == tier && other.cluster == like.cluster && month(other.started_at) == month(like.started_at)
        };
        for backup in &backups {
            let begun = beginning_of_month(backup.started_at);
            let too_old = policy.archive.is_over(clock.now.duration_since(begun));
            if !policy.archiving || backup.tier != Tier::Remote || too_old {
                continue;
            }
            let archived = (0..backups.len()).any(|index| lies_in(Tier::Archive, backup, index));
            let left = (0..backups.len())
                .any(|index| !gone.contains(&index) && lies_in(Tier::Remote, backup, index));
            prop_assert!(archived || left, "{}", backup.key);
        }
    }

    #[test]
    fn nothing_happens_by_a_clock_that_cannot_be_believed(
        backups in any_backups(), policy in any_policy(), clock in any_clock(),
    ) {
        let plan = plan(&backups, &policy, &clock);
        let is_future = backups.iter().any(|b| b.started_at.duration_since(clock.now) > MAX_SKEW);
        let is_off = clock.store_ahead.is_some_and(|ahead| ahead.abs() > MAX_SKEW);
        if is_future || is_off || clock.jumped.abs() > MAX_SKEW {
            prop_assert!(matches!(plan.stop, Some(Stop::Clock(_))));
            prop_assert!(plan.deletions().is_empty() && plan.copies().is_empty());
        } else {
            prop_assert!(!matches!(plan.stop, Some(Stop::Clock(_))));
        }
    }

    #[test]
    fn a_run_deletes_no_more_than_it_may(
        backups in any_backups(), policy in any_policy(), clock in any_clock(),
    ) {
        let plan = plan(&backups, &policy, &clock);
        prop_assert!(!matches!(plan.stop, Some(Stop::Everything(_))));
        for tier in [Tier::Local, Tier::Remote, Tier::Archive] {
            let in_tier = |index: &&usize| backups[**index].tier == tier;
            let total = backups.iter().filter(|backup| backup.tier == tier).count();
            prop_assert!(plan.deletions().iter().filter(in_tier).count() <= cap(total, policy.max_delete));
        }
    }

    #[test]
    fn a_second_run_does_nothing_more(
        backups in any_backups(), policy in any_policy(), clock in any_clock(),
    ) {
        let once = carry_out(&backups, &policy, &clock);
        let again = plan(&once, &policy, &clock);
        prop_assert!(again.deletions().is_empty(), "{again:?}");
        prop_assert!(again.copies().is_empty(), "{again:?}");
    }

    #[test]
    fn the_order_of_a_listing_decides_nothing(
        backups in any_backups(), policy in any_policy(), clock in any_clock(), turn in 0..60_usize,
    ) {
        let fates = |backups: &[Backup]| {
            let gone = deleted(&plan(backups, &policy, &clock));
            let mut fates: Vec<_> = backups
                .iter()
                .enumerate()
                .map(|(index, b)| (b.tier, b.key.clone(), b.cluster.clone(), gone.contains(&index)))
                .collect();
            fates.sort();
            fates
        };
        let mut turned = backups.clone();
        turned.reverse();
        if !turned.is_empty() {
            let by = turn % turned.len();
            turned.rotate_left(by);
        }
        prop_assert_eq!(fates(&turned), fates(&backups));
    }
}

#[test]
fn ten_thousand_backups_are_planned_while_one_blinks() {
    let backups: Vec<Backup> = (0..10_000)
        .map(|n| {
            let tier = [Tier::Local, Tier::Remote, Tier::Archive][n % 3];
            let mut backup = named(
                &format!("cluster {}", n % 7),
                tier,
                now() - SignedDuration::from_mins(n as i64 * 37),
            );
            backup.needs = vec![backup.key.clone()];
            backup
        })
        .collect();
    let begun = std::time::Instant::now();
    let plan = plan(&backups, &policy(), &Clock::certain(now()));
    // A measurement, not a rule: shown with --nocapture.
    println!("10,000 backups planned in {:?}", begun.elapsed());
    assert_eq!(plan.decisions.len(), 10_000);
    assert!(plan.stop.is_some());
}

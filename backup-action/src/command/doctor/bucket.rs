//! What a bucket does by itself, its versions, locks and lifecycle rules, against what retention
//! wants of it. Nothing is asked here.

use super::{Finding, Level};
use crate::config::RetentionMode;
use crate::error;
use crate::retention::{Limit, Policy};
use crate::store::{Bucket, LifecycleRule};
use jiff::SignedDuration;
use serde_json::{Value, json};

/// Days that unfinished uploads may lie in the bucket, and old versions.
const ABORT_DAYS: i32 = 2;
const NONCURRENT_DAYS: i32 = 7;

/// The rules that do what retention does, or what it cannot do.
pub(super) fn wanted(bucket: &Bucket, policy: &Policy, mode: RetentionMode) -> Vec<LifecycleRule> {
    let rule = |id: &str, below: &str| LifecycleRule {
        id: format!("backup-action-{id}"),
        prefix: format!("{}{below}", bucket.prefix),
        ..LifecycleRule::default()
    };
    let mut rules = vec![LifecycleRule {
        abort_days: Some(ABORT_DAYS),
        noncurrent_days: matches!(bucket.versions, Ok(true)).then_some(NONCURRENT_DAYS),
        ..rule("unfinished", "")
    }];
    if mode == RetentionMode::Lifecycle {
        // Backups lie in directories of their months: only a tag tells them from the rest. The newest
        // of each tier have another one.
        rules.push(LifecycleRule {
            tags: vec![("tier".to_owned(), "daily".to_owned())],
            expire_days: days(policy.remote),
            ..rule("daily", "")
        });
        rules.push(LifecycleRule {
            tags: vec![("tier".to_owned(), "archive".to_owned())],
            expire_days: days(policy.archive),
            ..rule("archive", "archive/")
        });
        rules.push(LifecycleRule {
            expire_days: days(policy.longest()),
            ..rule("receipts", "receipts/")
        });
        rules.push(LifecycleRule {
            expire_days: Some(ABORT_DAYS),
            ..rule("probes", "probes/")
        });
    }
    rules.retain(|rule| {
        rule.expire_days.is_some() || rule.abort_days.is_some() || rule.noncurrent_days.is_some()
    });
    rules
}

fn days(limit: Limit) -> Option<i32> {
    const DAY: SignedDuration = SignedDuration::from_hours(24);
    match limit {
        Limit::Forever => None,
        Limit::Age(limit) => i32::try_from(limit.as_hours() / DAY.as_hours()).ok(),
    }
}

/// Whether some rule of the bucket does what `wanted` does, to at least as many objects.
fn does(rules: &[LifecycleRule], wanted: &LifecycleRule) -> bool {
    let covers = |rule: &&LifecycleRule| {
        wanted.prefix.starts_with(&rule.prefix)
            && !rule.sized
            && rule.tags.iter().all(|tag| wanted.tags.contains(tag))
    };
    let is_there = |wanted: Option<i32>, of: fn(&LifecycleRule) -> Option<i32>| {
        wanted.is_none() || rules.iter().filter(covers).any(|rule| of(rule).is_some())
    };
    // Days may differ: the team may know better. An expiry may not be shorter than what was asked.
    let expires = match wanted.expire_days {
        None => true,
        Some(days) => rules
            .iter()
            .filter(covers)
            .filter(|rule| rule.tags == wanted.tags)
            .any(|rule| rule.expire_days.is_some_and(|found| found >= days)),
    };
    expires
        && is_there(wanted.abort_days, |rule| rule.abort_days)
        && is_there(wanted.noncurrent_days, |rule| rule.noncurrent_days)
}

/// A rule that deletes backups, whatever this program decides.
fn deletes_backups(rule: &LifecycleRule, bucket: &Bucket) -> bool {
    let overlaps =
        rule.prefix.starts_with(&bucket.prefix) || bucket.prefix.starts_with(&rule.prefix);
    rule.expire_days.is_some() && overlaps && rule.tags.is_empty() && !is_aside(rule, bucket)
}

fn is_aside(rule: &LifecycleRule, bucket: &Bucket) -> bool {
    ["archive/", "receipts/", "probes/"].iter().any(|below| {
        rule.prefix
            .starts_with(&format!("{}{below}", bucket.prefix))
    })
}

pub(super) fn look(
    place: &str,
    bucket: &Bucket,
    wanted: &[LifecycleRule],
    findings: &mut Vec<Finding>,
) {
    let mut add = |id, level, found: String, fix: Option<String>| {
        findings.push(Finding {
            id,
            store: place.to_owned(),
            level,
            found,
            fix,
        });
    };
    match &bucket.versions {
        Ok(true) => add(
            "versioning",
            Level::Good,
            "on: what is deleted stays as a version".to_owned(),
            None,
        ),
        Ok(false) => add(
            "versioning",
            Level::Good,
            "off: what is deleted is gone".to_owned(),
            None,
        ),
        Err(error) => add(
            "versioning",
            Level::Unknown,
            error::one_line(error),
            error::hint(error),
        ),
    }
    match &bucket.object_lock {
        Ok(Some(lock)) => add("object-lock", Level::Good, lock.clone(), None),
        Ok(None) => add(
            "object-lock",
            Level::Good,
            "off: whoever may delete can delete every backup".to_owned(),
            None,
        ),
        Err(error) => add(
            "object-lock",
            Level::Unknown,
            error::one_line(error),
            error::hint(error),
        ),
    }
    let rules = match &bucket.rules {
        Ok(rules) => rules,
        Err(error) => {
            return add(
                "lifecycle-rules",
                Level::Unknown,
                error::one_line(error),
                error::hint(error),
            );
        }
    };
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|wanted| !does(rules, wanted))
        .map(|wanted| wanted.id.as_str())
        .collect();
    match missing.as_slice() {
        [] => add(
            "lifecycle-rules",
            Level::Good,
            format!("all {} are there", wanted.len()),
            None,
        ),
        missing => add(
            "lifecycle-rules",
            Level::Fix,
            format!("missing: {}", missing.join(", ")),
            Some("Add the rules below.".to_owned()),
        ),
    }
    for rule in rules.iter().filter(|rule| deletes_backups(rule, bucket)) {
        add(
            "lifecycle-expiry",
            Level::Fix,
            format!(
                "rule \"{}\" deletes every object after {} days, the newest backup as well",
                rule.id,
                rule.expire_days.unwrap_or_default()
            ),
            Some("Limit it to the tag tier=daily, or remove it.".to_owned()),
        );
    }
}

/// As `aws s3api` takes it.
pub(super) fn as_json(rule: &LifecycleRule) -> Value {
    let tags: Vec<Value> = rule
        .tags
        .iter()
        .map(|(key, value)| json!({ "Key": key, "Value": value }))
        .collect();
    let filter = match tags.is_empty() {
        true => json!({ "Prefix": rule.prefix }),
        false => json!({ "And": { "Prefix": rule.prefix, "Tags": tags } }),
    };
    let mut out = json!({ "ID": rule.id, "Status": "Enabled", "Filter": filter });
    if let Some(days) = rule.expire_days {
        out["Expiration"] = json!({ "Days": days });
    }
    if let Some(days) = rule.noncurrent_days {
        out["NoncurrentVersionExpiration"] = json!({ "NoncurrentDays": days });
    }
    if let Some(days) = rule.abort_days {
        out["AbortIncompleteMultipartUpload"] = json!({ "DaysAfterInitiation": days });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket() -> Bucket {
        Bucket {
            name: "b".to_owned(),
            prefix: "p/".to_owned(),
            versions: Ok(true),
            object_lock: Ok(None),
            rules: Ok(Vec::new()),
        }
    }

    fn policy() -> Policy {
        let age = |days: i64| Limit::Age(SignedDuration::from_hours(24 * days));
        Policy {
            local: age(7),
            remote: age(30),
            archive: age(365),
            archiving: true,
            min_keep: 2,
            max_delete: None,
        }
    }

    #[test]
    fn rules_are_recognised_by_what_they_do() {
        let wanted = wanted(&bucket(), &policy(), RetentionMode::Lifecycle);
        assert_eq!(wanted.len(), 5);
        for (index, rule) in wanted.iter().enumerate() {
            assert!(does(&wanted, rule), "{rule:?}");
            let others: Vec<_> = wanted
                .iter()
                .enumerate()
                .filter(|(other, _)| *other != index)
                .map(|(_, rule)| rule.clone())
                .collect();
            assert!(!does(&others, rule), "{rule:?}");
            let wider = LifecycleRule {
                prefix: String::new(),
                id: "of the team".to_owned(),
                ..rule.clone()
            };
            assert!(does(std::slice::from_ref(&wider), rule));
            let sized = LifecycleRule {
                sized: true,
                ..wider.clone()
            };
            assert!(!does(&[sized], rule));
            let sooner = LifecycleRule {
                expire_days: wider.expire_days.map(|days| days - 1),
                ..wider
            };
            assert_eq!(does(&[sooner], rule), rule.expire_days.is_none());
        }
    }

    #[test]
    fn a_rule_that_deletes_everything_is_found() {
        let rule = |prefix: &str, tags: &[(&str, &str)]| LifecycleRule {
            prefix: prefix.to_owned(),
            tags: tags
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
            expire_days: Some(30),
            ..LifecycleRule::default()
        };
        for (rule, is_bad) in [
            (rule("", &[]), true),
            (rule("p/", &[]), true),
            (rule("p/2026", &[]), true),
            (rule("q/", &[]), false),
            (rule("p/archive/", &[]), false),
            (rule("p/", &[("tier", "daily")]), false),
        ] {
            assert_eq!(deletes_backups(&rule, &bucket()), is_bad, "{rule:?}");
        }
    }

    #[test]
    fn the_rules_are_written_as_aws_takes_them() {
        let rules = wanted(&bucket(), &policy(), RetentionMode::Lifecycle);
        let rules: Vec<Value> = rules.iter().map(as_json).collect();
        assert_eq!(
            rules[0],
            json!({
                "ID": "backup-action-unfinished", "Status": "Enabled", "Filter": { "Prefix": "p/" },
                "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": 2 },
                "NoncurrentVersionExpiration": { "NoncurrentDays": 7 },
            })
        );
        assert_eq!(
            rules[1],
            json!({
                "ID": "backup-action-daily", "Status": "Enabled",
                "Filter": { "And": { "Prefix": "p/", "Tags": [{ "Key": "tier", "Value": "daily" }] } },
                "Expiration": { "Days": 30 },
            })
        );
    }
}

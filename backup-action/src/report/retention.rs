//! What was deleted, archived and kept, as a report says it. Pure values and sentences; escaping is
//! the renderer's.

use super::format;
use serde::{Deserialize, Serialize};

/// What retention did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Retention {
    /// `tool`, `lifecycle` or `off`.
    pub mode: String,
    /// One line a tier of a store.
    pub tiers: Vec<TierSummary>,
    /// Why no backup was deleted although some are too old, or could be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// Leftovers of runs that ended early, and old receipts, that were deleted.
    #[serde(default)]
    pub swept: u64,
    /// Every object that something was decided about; in a gate without those that just stay.
    pub objects: Vec<Line>,
}

/// One tier of a store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TierSummary {
    /// `local`, `remote` or `archive`.
    pub tier: String,
    /// Where the store is.
    pub store: String,
    /// How old backups may get: `30 d`, `for ever`.
    pub limit: String,
    /// Backups that are there afterwards.
    pub kept: u64,
    /// Backups that were deleted.
    pub deleted: u64,
    /// Backups that came from the remote tier.
    pub archived: u64,
    /// What they took.
    pub freed_bytes: u64,
}

/// What happened to one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A backup that stays.
    Kept,
    /// A backup that could not be deleted yet: locked.
    Held,
    /// A backup, and its objects, that went.
    Deleted,
    /// A copy that was made in the archive tier.
    Archived,
    /// A leftover or an old receipt that went.
    Swept,
    /// Something that did not work.
    Trouble,
}

/// One object, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// `local`, `remote` or `archive`.
    pub tier: String,
    /// Its key; empty for a store as a whole.
    pub key: String,
    /// What happened.
    pub action: Action,
    /// Why. May hold text from a store.
    pub reason: String,
}

impl Retention {
    /// `kept 31, deleted 1 (remote, older than 30 d)`
    pub fn evidence(&self, dry_run: bool) -> String {
        let sum = |of: fn(&TierSummary) -> u64| self.tiers.iter().map(of).sum::<u64>();
        let (keep, delete, archive) = match dry_run {
            true => ("would keep", "delete", "archive"),
            false => ("kept", "deleted", "archived"),
        };
        let mut said = format!("{keep} {}", format::count(sum(|tier| tier.kept)));
        let deletions: Vec<String> = self
            .tiers
            .iter()
            .filter(|tier| tier.deleted > 0)
            .map(|tier| {
                format!(
                    "{delete} {} ({}, older than {})",
                    format::count(tier.deleted),
                    tier.tier,
                    tier.limit
                )
            })
            .collect();
        match deletions.as_slice() {
            [] => said.push_str(&format!(", {delete} none")),
            some => said.push_str(&format!(", {}", some.join(", "))),
        }
        match sum(|tier| tier.archived) {
            0 => {}
            n => said.push_str(&format!(", {archive} {}", format::count(n))),
        }
        match self.swept {
            0 => {}
            1 => said.push_str(&format!(", {delete} 1 leftover or old receipt")),
            n => said.push_str(&format!(
                ", {delete} {} leftovers or old receipts",
                format::count(n)
            )),
        }
        let troubles = self.troubles().count() as u64;
        if troubles > 0 {
            said.push_str(&format!(", {} in trouble", format::count(troubles)));
        }
        if self.mode == "lifecycle" {
            said.push_str("; the bucket's lifecycle rules delete");
        }
        if let Some(why) = &self.stopped {
            said.push_str(&format!("; no backup was deleted: {why}"));
        }
        said
    }

    /// What did not work.
    pub fn troubles(&self) -> impl Iterator<Item = &Line> {
        self.objects
            .iter()
            .filter(|line| line.action == Action::Trouble)
    }

    /// One line an object, troubles first; those that just stay only when the `whole` plan is wanted.
    pub fn lines(&self, dry_run: bool, whole: bool) -> Vec<String> {
        let order = |action: Action| match action {
            Action::Trouble => 0,
            Action::Held => 1,
            Action::Deleted => 2,
            Action::Archived => 3,
            Action::Swept => 4,
            Action::Kept => 5,
        };
        let mut lines: Vec<&Line> = self
            .objects
            .iter()
            .filter(|line| whole || line.action != Action::Kept)
            .collect();
        lines.sort_by_key(|line| order(line.action));
        lines
            .iter()
            .map(|line| {
                let done = match (line.action, dry_run) {
                    (Action::Trouble, _) => "could not",
                    (Action::Kept, _) => "keep",
                    (Action::Held, _) => "locked",
                    (Action::Deleted | Action::Swept, false) => "deleted",
                    (Action::Deleted | Action::Swept, true) => "would delete",
                    (Action::Archived, false) => "archived",
                    (Action::Archived, true) => "would archive",
                };
                let key = match line.key.as_str() {
                    "" => String::new(),
                    key => format!(" {key}"),
                };
                match line.action {
                    Action::Trouble => format!("{}{key}: {}", line.tier, line.reason),
                    _ => format!("{done} {}{key}: {}", line.tier, line.reason),
                }
            })
            .collect()
    }

    /// The texts that came from outside.
    pub fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        self.objects
            .iter_mut()
            .map(|line| &mut line.reason)
            .chain(self.stopped.iter_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn sample() -> Retention {
        let tier = |tier: &str, limit: &str, kept, deleted| TierSummary {
            tier: tier.to_owned(),
            store: "s".to_owned(),
            limit: limit.to_owned(),
            kept,
            deleted,
            archived: u64::from(tier == "archive"),
            freed_bytes: deleted * 1000,
        };
        let line = |tier: &str, key: &str, action, reason: &str| Line {
            tier: tier.to_owned(),
            key: key.to_owned(),
            action,
            reason: reason.to_owned(),
        };
        Retention {
            mode: "tool".to_owned(),
            tiers: vec![
                tier("local", "7 d", 8, 0),
                tier("remote", "30 d", 31, 1),
                tier("archive", "365 d", 12, 0),
            ],
            stopped: None,
            swept: 2,
            objects: vec![
                line("remote", "a", Action::Kept, "one of the newest 2"),
                line("remote", "b", Action::Deleted, "older than 30 d"),
                line("remote", "c", Action::Held, "until 2026-03-01"),
                line("remote", "d", Action::Trouble, "could not delete s3://x/d"),
                line("archive", "e", Action::Archived, "the first of its month"),
            ],
        }
    }

    #[test]
    fn the_evidence_is_one_line() {
        let mut retention = sample();
        expect!["kept 51, deleted 1 (remote, older than 30 d), archived 1, deleted 2 leftovers or old receipts, 1 in trouble"]
            .assert_eq(&retention.evidence(false));
        retention.swept = 0;
        retention.objects.clear();
        retention.stopped = Some("clock untrusted".to_owned());
        retention.tiers[1].deleted = 0;
        retention.tiers[2].archived = 0;
        expect!["would keep 51, delete none; no backup was deleted: clock untrusted"]
            .assert_eq(&retention.evidence(true));
    }

    #[test]
    fn troubles_come_first() {
        expect![[r#"
            [
                "remote d: could not delete s3://x/d",
                "locked remote c: until 2026-03-01",
                "would delete remote b: older than 30 d",
                "would archive archive e: the first of its month",
            ]
        "#]]
        .assert_debug_eq(&sample().lines(true, false));
        assert_eq!(sample().lines(false, true).len(), 5);
    }
}

//! Which backup a pull request is about, and which ones it is compared with. Pure.

use super::event::PullRequest;
use crate::history;
use crate::manifest::Manifest;

/// Why a backup was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It was made from the head of the pull request.
    Head,
    /// It is the newest there is.
    Newest,
    /// It is the newest older one that was made from this branch.
    Branch(String),
    /// It is the one before.
    Previous,
}

/// The backup in question and its baselines.
#[derive(Clone, Debug)]
pub struct Choice<'a> {
    /// What is shown.
    pub head: (&'a Manifest, Why),
    /// What it is compared with; none for the first backup.
    pub base: Option<(&'a Manifest, Why)>,
    /// What a gate would compare the head with: the backup nearest to a month before it; none when
    /// that is the base.
    pub month_ago: Option<&'a Manifest>,
}

/// Chooses among `backups`, which are sorted by time, oldest first. `shas` are the commits that
/// stand for the head of the pull request; `repository` is where it was opened.
pub fn choose<'a>(
    backups: &[&'a Manifest],
    pull: Option<&PullRequest>,
    shas: &[&str],
    repository: &str,
) -> Option<Choice<'a>> {
    let made_here = |backup: &Manifest| {
        backup
            .run
            .as_ref()
            .is_some_and(|run| run.repository == repository)
    };
    let sha = |backup: &Manifest| backup.run.as_ref().map(|run| run.sha.clone());
    let of_head = backups.iter().rev().copied().find(|backup| {
        made_here(backup)
            && sha(backup).is_some_and(|sha| !sha.is_empty() && shas.contains(&sha.as_str()))
    });
    let (head, why) = match of_head.filter(|_| pull.is_some()) {
        Some(head) => (head, Why::Head),
        None => (*backups.last()?, Why::Newest),
    };
    let before: Vec<&Manifest> = backups
        .iter()
        .copied()
        .filter(|backup| {
            backup.started_at < head.started_at && backup.source.id().is(&head.source.id())
        })
        .collect();
    let of_branch = pull.and_then(|pull| {
        let branch = format!("refs/heads/{}", pull.base_branch);
        before
            .iter()
            .rev()
            .filter(|backup| made_here(backup))
            .find(|backup| backup.run.as_ref().is_some_and(|run| run.git_ref == branch))
            .map(|backup| (*backup, Why::Branch(pull.base_branch.clone())))
    });
    let base = of_branch.or_else(|| before.last().map(|backup| (*backup, Why::Previous)));
    let is_base = |backup: &Manifest| {
        base.as_ref()
            .is_some_and(|(base, _)| base.archive_key == backup.archive_key)
    };
    let time = |backup: &&Manifest| backup.started_at;
    let month_ago = history::baseline(before.iter().copied(), head.started_at, time)
        .filter(|backup| !is_base(backup));
    Some(Choice {
        head: (head, why),
        base,
        month_ago,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::backup;

    const MAIN: &str = "refs/heads/main";

    /// Days of head, base and month ago, with the reasons.
    fn chosen(backups: &[Manifest], shas: &[&str], pull: bool) -> String {
        let opened = PullRequest {
            number: 1,
            head_sha: "h".to_owned(),
            base_branch: "main".to_owned(),
            is_fork: false,
        };
        let pull = Some(&opened).filter(|_| pull);
        let backups: Vec<&Manifest> = backups.iter().collect();
        match choose(&backups, pull, shas, "acme/payroll") {
            None => "nothing".to_owned(),
            Some(choice) => {
                let (head, why) = choice.head;
                let base = choice.base.map(|(base, why)| (&base.archive_key, why));
                let month = choice.month_ago.map(|month| &month.archive_key);
                format!("{} {why:?} / {base:?} / {month:?}", head.archive_key)
            }
        }
    }

    #[test]
    fn head_base_and_month_are_the_ones_that_people_mean() {
        assert_eq!(chosen(&[], &["h"], true), "nothing");
        let one = [backup(0, "m", MAIN)];
        assert_eq!(chosen(&one, &["h"], true), "0.sql.gz Newest / None / None");
        let backups = [
            backup(-32, "m", MAIN),
            backup(-1, "m", MAIN),
            backup(0, "h", "refs/pull/1/merge"),
            backup(1, "x", "refs/heads/other"),
        ];
        // The head's own backup, against the branch it goes into.
        assert_eq!(
            chosen(&backups, &["h", ""], true),
            "0.sql.gz Head / Some((\"-1.sql.gz\", Branch(\"main\"))) / Some(\"-32.sql.gz\")"
        );
        // None of the head: the newest, against the branch all the same.
        assert_eq!(
            chosen(&backups, &["z"], true),
            "1.sql.gz Newest / Some((\"-1.sql.gz\", Branch(\"main\"))) / Some(\"-32.sql.gz\")"
        );
        // However far from a month ago: as the gate does.
        let old = [
            backup(-90, "m", MAIN),
            backup(-1, "m", MAIN),
            backup(0, "m", MAIN),
        ];
        assert_eq!(
            chosen(&old, &[], false),
            "0.sql.gz Newest / Some((\"-1.sql.gz\", Previous)) / None"
        );
        assert_eq!(
            chosen(
                &[
                    backup(-58, "m", MAIN),
                    backup(-1, "m", MAIN),
                    backup(0, "m", MAIN)
                ],
                &[],
                false
            ),
            "0.sql.gz Newest / Some((\"-1.sql.gz\", Previous)) / Some(\"-58.sql.gz\")"
        );
        // No pull request: the newest, against the one before.
        assert_eq!(
            chosen(&backups, &["h"], false),
            "1.sql.gz Newest / Some((\"0.sql.gz\", Previous)) / Some(\"-32.sql.gz\")"
        );
    }

    #[test]
    fn other_clusters_and_repositories_are_not_compared() {
        let mut other = backup(-1, "m", MAIN);
        other.source.system_identifier = Some("2".to_owned());
        let mut elsewhere = backup(1, "h", MAIN);
        elsewhere.run.as_mut().unwrap().repository = "eve/payroll".to_owned();
        let backups = [
            backup(-2, "m", "refs/heads/x"),
            other,
            backup(0, "m", MAIN),
            elsewhere,
        ];
        assert_eq!(
            chosen(&backups, &["h"], true),
            "1.sql.gz Newest / Some((\"0.sql.gz\", Branch(\"main\"))) / Some(\"-2.sql.gz\")"
        );
        assert_eq!(
            chosen(&backups[..3], &["h"], true),
            "0.sql.gz Newest / Some((\"-2.sql.gz\", Previous)) / None"
        );
    }
}

//! What the stores hold: the backups to compare, and the last gate and drill.

use crate::command::receipts::{self, Usable, usable};
use crate::command::stores::{self, Found};
use crate::error;
use crate::github::choice::{self, Why};
use crate::github::event::PullRequest;
use crate::github::runner::Runner;
use crate::manifest::{Manifest, Source};
use crate::receipt::{Kind, Receipt};
use crate::report::sizes::{Comparison, Run};
use crate::store::Store;
use jiff::Timestamp;

/// Receipts of gates that are read to find one that counts.
const MAX_GATES: usize = 20;

/// Every backup of the stores, oldest first, once; manifests that cannot be used become notes.
///
/// # Errors
/// A store cannot be listed.
pub(super) async fn backups(
    stores: &[Store],
    notes: &mut Vec<String>,
) -> anyhow::Result<Vec<Found>> {
    let mut all: Vec<Found> = Vec::new();
    for store in stores {
        let contents = stores::contents(store).await?;
        for (key, error) in &contents.unreadable {
            notes.push(format!(
                "{} is not counted as a backup: {}",
                store.locate(key),
                error::one_line(error)
            ));
        }
        // The archive tier has what the retention has taken out of the others.
        for found in contents.backups.into_iter().chain(contents.archived) {
            let is_known = all.iter().any(|known| {
                known.manifest.started_at == found.manifest.started_at
                    && known.manifest.archive.dump_sha256 == found.manifest.archive.dump_sha256
            });
            if !is_known {
                all.push(found);
            }
        }
    }
    all.sort_by_key(|found| found.manifest.started_at);
    Ok(all)
}

/// The comparison, and the backup that it is about; none when there is no backup.
pub(super) fn comparison<'a>(
    backups: &'a [Found],
    pull: Option<&PullRequest>,
    runner: Option<&Runner>,
) -> Option<(Comparison, &'a Found)> {
    let manifests: Vec<&Manifest> = backups.iter().map(|found| &found.manifest).collect();
    let run = runner.map(|runner| &runner.run);
    let shas: Vec<&str> = pull
        .map(|pull| pull.head_sha.as_str())
        .into_iter()
        // What a gate in a run of this pull request was made from: the merge commit.
        .chain(run.map(|run| run.sha.as_str()))
        .collect();
    let repository = run.map_or("", |run| run.repository.as_str());
    let choice = choice::choose(&manifests, pull, &shas, repository)?;
    let (head, why) = choice.head;
    let found = backups
        .iter()
        .find(|found| std::ptr::eq(&found.manifest, head))?;
    let earlier = manifests.iter().copied().filter(|other| {
        other.started_at < head.started_at && other.source.id().is(&head.source.id())
    });
    let named = |(manifest, why): (&'a Manifest, Why)| (manifest, name(&why));
    let comparison = Comparison::new(
        (head, name(&why)),
        choice.base.map(named),
        choice
            .month_ago
            .map(|manifest| (manifest, "a month ago".to_owned())),
        earlier,
    );
    Some((comparison, found))
}

fn name(why: &Why) -> String {
    match why {
        Why::Head => "of this pull request's head".to_owned(),
        Why::Newest => "the newest backup".to_owned(),
        Why::Branch(branch) => format!("`{branch}`'s last backup"),
        Why::Previous => "the backup before".to_owned(),
    }
}

/// The last run of a kind that passed, and among how many receipts it was looked for.
#[derive(Default)]
pub(super) struct Looked {
    pub(super) newest: Option<Run>,
    pub(super) receipts: u64,
}

/// The last gate and the last drill that passed, of the cluster of `head`.
///
/// # Errors
/// A store does not answer.
pub(super) async fn runs(
    stores: &[Store],
    head: Option<&&Found>,
    runner: Option<&Runner>,
    now: Timestamp,
    notes: &mut Vec<String>,
) -> anyhow::Result<(Looked, Looked)> {
    let Some(head) = head else {
        return Ok((Looked::default(), Looked::default()));
    };
    let home = runner
        .and_then(|runner| runner.run.url.split_once("/actions/"))
        .map(|(repository, _)| format!("{repository}/actions/"));
    let home = home.as_deref();
    let cluster = &head.manifest.source;
    let (gate, gate_receipts) = last_gate(stores, cluster, now, notes).await?;
    let gates = Looked {
        newest: gate.map(|(key, receipt)| run(key, &receipt, home)),
        receipts: gate_receipts,
    };
    let found = receipts::newest_passed_drill(stores, Some(cluster), now, |_| true).await?;
    let drills = Looked {
        newest: found
            .newest
            .map(|found| run(found.key.to_string(), &found.receipt, home)),
        receipts: found.looked_at,
    };
    // One that is passed over for a drill that counts is old news.
    if drills.newest.is_none() {
        notes.extend(found.passed_over);
    }
    Ok((gates, drills))
}

async fn last_gate(
    stores: &[Store],
    cluster: &Source,
    now: Timestamp,
    notes: &mut Vec<String>,
) -> anyhow::Result<(Option<(String, Receipt)>, u64)> {
    let keys = receipts::keys(stores, Kind::Gate).await?;
    let mut looked_at = 0;
    for (key, holders) in keys.into_iter().take(MAX_GATES) {
        looked_at += 1;
        match usable(receipts::read(&holders, Kind::Gate, &key).await)? {
            Usable::Yes(receipt) => {
                let counts = receipt.passed()
                    && receipt.is_of(cluster)
                    && receipt.age_seconds(now).is_some();
                if counts {
                    return Ok((Some((key.to_string(), receipt)), looked_at));
                }
            }
            Usable::Gone => {}
            Usable::No(reason) => notes.push(reason),
        }
    }
    Ok((None, looked_at))
}

/// `home` is where this repository is: a receipt may have been changed by anybody who can write to
/// the store, and a comment of ours leads nowhere else.
fn run(receipt_key: String, receipt: &Receipt, home: Option<&str>) -> Run {
    let report = receipt.report();
    let is_ours = |url: &String| home.is_some_and(|home| url.starts_with(home));
    Run {
        receipt_key,
        finished_at: report.finished_at,
        restore_seconds: report.durations.restore_seconds,
        url: report
            .run
            .as_ref()
            .map(|run| run.url.clone())
            .filter(is_ours),
    }
}

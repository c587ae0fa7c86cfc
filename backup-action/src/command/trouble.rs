//! How the runs before this one ended, by their receipts: a run that passes after others had not is a
//! recovery.

use super::receipts::{keys, read};
use super::stores;
use crate::config::Config;
use crate::manifest::ClusterId;
use crate::receipt::Kind;
use crate::report::alert::Trouble;
use crate::report::{Report, words};

/// Receipts that are read to find out how runs before this one ended.
const MAX_BEFORE: usize = 50;

/// The failures of the same cluster that came right before `report`, which passed; none when the
/// run before it passed as well. `own` is the key of its own receipt.
///
/// # Errors
/// A store does not answer.
pub(crate) async fn before(
    config: &Config,
    kind: Kind,
    report: &Report,
    own: Option<&str>,
) -> anyhow::Result<Option<Trouble>> {
    let stores = stores::open(config).await?;
    let earlier = keys(&stores, kind).await?.into_iter();
    let earlier = earlier.filter(|(key, _)| Some(key.as_str()) != own);
    let mut trouble: Option<Trouble> = None;
    for (key, holders) in earlier.take(MAX_BEFORE) {
        // What cannot be read says nothing, neither good nor bad.
        let Ok(receipt) = read(&holders, kind, &key).await else {
            continue;
        };
        let before = receipt.report();
        if before.started_at > report.started_at
            || !is_of_same_cluster(before, report)
            || words::is_schema_only(before)
        {
            continue;
        }
        if receipt.passed() {
            break;
        }
        trouble = Some(match trouble {
            None => Trouble {
                failures: 1,
                since: before.started_at,
                last: words::headline(before),
            },
            Some(later) => Trouble {
                failures: later.failures + 1,
                since: before.started_at,
                ..later
            },
        });
    }
    Ok(trouble)
}

/// A gate that knew neither a server nor a name may be of any.
fn is_of_same_cluster(one: &Report, other: &Report) -> bool {
    let id = |report: &Report| ClusterId {
        name: report.cluster.clone(),
        system_identifier: report
            .source
            .as_ref()
            .and_then(|source| source.system_identifier.clone()),
    };
    let (one, other) = (id(one), id(other));
    one.is(&other) || (one.name.is_empty() && one.system_identifier.is_none())
}

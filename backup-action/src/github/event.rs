//! The event that started the run, as far as it is about a pull request: the JSON of
//! `GITHUB_EVENT_PATH`. Bytes in, facts out; branch names and the like are hostile.

use anyhow::Context;
use serde::Deserialize;

/// The largest event that is read; GitHub itself ends at 25 MB.
pub const MAX_BYTES: u64 = 32 * 1024 * 1024;

/// The pull request that a run is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// Its number.
    pub number: u64,
    /// The commit at its head, not the merge commit that `GITHUB_SHA` is.
    pub head_sha: String,
    /// The branch that it goes into, without `refs/heads/`.
    pub base_branch: String,
    /// Whether its head lies in another repository, so that the job's token can only read.
    pub is_fork: bool,
}

#[derive(Deserialize)]
struct Event {
    pull_request: Option<Pull>,
}

#[derive(Deserialize)]
struct Pull {
    number: u64,
    head: Side,
    base: Side,
}

#[derive(Deserialize)]
struct Side {
    sha: String,
    #[serde(rename = "ref")]
    branch: String,
    /// Null when a fork was deleted.
    repo: Option<Repository>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
}

/// The pull request of an event; none when the event is of another kind.
///
/// # Errors
/// Not JSON, or a pull request without number, head and base.
pub fn pull_request(event: &[u8]) -> anyhow::Result<Option<PullRequest>> {
    let event: Event =
        serde_json::from_slice(event).context("the event of the run cannot be read")?;
    Ok(event.pull_request.map(|pull| PullRequest {
        number: pull.number,
        // `fork` of the head's repository would also be true inside a fork of one's own.
        is_fork: match (&pull.head.repo, &pull.base.repo) {
            (Some(head), Some(base)) => !head.full_name.eq_ignore_ascii_case(&base.full_name),
            (None, _) | (_, None) => true,
        },
        head_sha: pull.head.sha,
        base_branch: pull.base.branch,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(head: &str, base: &str) -> Vec<u8> {
        json!({ "action": "opened", "pull_request": {
            "number": 7,
            "head": { "sha": "aa", "ref": "feature", "repo": { "full_name": head, "fork": true } },
            "base": { "sha": "bb", "ref": "main", "repo": { "full_name": base, "fork": true } },
        }})
        .to_string()
        .into_bytes()
    }

    #[test]
    fn a_fork_is_another_repository() {
        let own = pull_request(&event("acme/payroll", "Acme/payroll"))
            .unwrap()
            .unwrap();
        assert_eq!((own.number, own.head_sha.as_str()), (7, "aa"));
        assert_eq!((own.base_branch.as_str(), own.is_fork), ("main", false));
        let fork = pull_request(&event("eve/payroll", "acme/payroll")).unwrap();
        assert!(fork.unwrap().is_fork);
        let gone = String::from_utf8(event("x", "y")).unwrap();
        let gone = gone.replace(r#"{"fork":true,"full_name":"x"}"#, "null");
        assert!(pull_request(gone.as_bytes()).unwrap().unwrap().is_fork);
    }

    #[test]
    fn other_events_are_no_pull_request() {
        assert_eq!(pull_request(br#"{"ref":"refs/heads/main"}"#).unwrap(), None);
        for bad in ["", "[]", r#"{"pull_request":{"number":"7"}}"#] {
            assert!(pull_request(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}

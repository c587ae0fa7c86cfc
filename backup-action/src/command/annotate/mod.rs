//! `annotate`: what a pull request does to the backups, as a comment, a job summary and annotations
//! of its SQL files. Reads manifests and receipts, never the database. It has no verdict: what goes
//! wrong at GitHub is a warning, and only the command line and the stores can fail it.

mod clusters;
mod gather;
mod say;
mod sql_files;

use super::{Context, ExitStatus, mask, stores};
use crate::config::GitHubConfig;
use crate::github::api::Api;
use crate::github::api_error::ApiError;
use crate::github::event::{self, PullRequest};
use crate::github::runner::Runner;
use crate::github::sticky;
use crate::report::{comment, sizes};
use anyhow::Context as _;
use jiff::Timestamp;
use say::Comment;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// All that GitHub is asked ends in this time, and then all that it is told.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the command.
///
/// # Errors
/// The command line cannot be used, or a store cannot be read.
pub(crate) async fn run(context: &Context) -> anyhow::Result<ExitStatus> {
    let github = &context.config.github;
    mask(context, github.token.as_slice());
    let now = Timestamp::now();
    let stores = stores::open(&context.config).await?;
    let mut notes = Vec::new();
    let pull = match &context.runner {
        Some(runner) => pull_request(runner, &mut notes),
        None => None,
    };

    let backups = gather::backups(&stores, &mut notes).await?;
    let cluster = context.config.cluster.as_deref();
    let backups = clusters::only(backups, cluster, &mut notes)?;
    let comparison = gather::comparison(&backups, pull.as_ref(), context.runner.as_ref());
    let head = comparison.as_ref().map(|(_, head)| head);
    let (gates, drills) =
        gather::runs(&stores, head, context.runner.as_ref(), now, &mut notes).await?;
    let api = match (&context.runner, &pull, &github.token) {
        (Some(runner), Some(_), Some(token)) => Some(Api::new(runner, token, PATIENCE)),
        (_, _, _) => None,
    };
    let client = api.as_ref().and_then(|api| api.as_ref().ok());
    let (touches, files_read) = match (&context.runner, client, &pull, head) {
        (Some(runner), Some(api), Some(pull), Some(head)) => {
            sql_files::touches(api, runner, pull, head, github, &mut notes).await
        }
        (_, _, _, _) => (Vec::new(), 0),
    };

    let sizes = sizes::Sizes {
        format: sizes::FORMAT,
        command: "annotate".to_owned(),
        tool: super::journal::TOOL.to_owned(),
        now,
        comparison: comparison.map(|(comparison, _)| comparison),
        last_gate: gates.newest,
        gate_receipts: gates.receipts,
        last_drill: drills.newest,
        drill_receipts: drills.receipts,
        touches,
        files_read,
        notes,
    };
    let text = comment::comment(&sizes);
    let told = if context.config.dry_run {
        Comment::DryRun
    } else {
        tell(api, pull.as_ref(), context.runner.as_ref(), github, &text).await
    };
    say::everywhere(context, &sizes, &text, &told)?;
    Ok(ExitStatus::PASSED)
}

/// Posts the comment, where there is a place for one.
async fn tell(
    api: Option<Result<Api, ApiError>>,
    pull: Option<&PullRequest>,
    runner: Option<&Runner>,
    github: &GitHubConfig,
    text: &str,
) -> Comment {
    let (Some(runner), Some(pull)) = (runner, pull) else {
        return Comment::no_place("this run is not for a pull request");
    };
    // The token of such a run can only read; one of `pull_request_target` can write.
    if pull.is_fork && runner.event == "pull_request" {
        return Comment::no_place("the pull request comes from a fork, so the token can only read");
    }
    let api = match api {
        None => {
            return Comment::no_place(
                "no token: give github-token, or GITHUB_TOKEN in the environment",
            );
        }
        Some(Err(error)) => return Comment::Failed(error),
        Some(Ok(api)) => api.afresh(PATIENCE),
    };
    let author = github.comment_author.as_deref();
    let posted = sticky::post(&api, pull.number, &github.comment_key, author, text).await;
    match posted {
        Ok(posted) => Comment::Posted(posted),
        Err(error) if sticky::is_read_only(&error) => Comment::ReadOnly(error),
        Err(error) => Comment::Failed(error),
    }
}

/// The pull request of the event; an event that cannot be read is a note.
fn pull_request(runner: &Runner, notes: &mut Vec<String>) -> Option<PullRequest> {
    let path = runner.event_path.as_ref()?;
    let found = read_event(path).and_then(|bytes| event::pull_request(&bytes));
    found.unwrap_or_else(|error| {
        notes.push(crate::error::one_line(&error));
        None
    })
}

fn read_event(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(event::MAX_BYTES).read_to_end(&mut bytes))
        .with_context(|| format!("could not read the event in {}", path.display()))?;
    Ok(bytes)
}

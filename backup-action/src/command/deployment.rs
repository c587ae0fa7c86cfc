//! The deployment record of a gate, beside the gate: it never waits for GitHub, and GitHub's trouble
//! is a warning. Off unless an environment is named.

use super::answer::warn;
use super::{Context, ExitStatus};
use crate::github::api::Api;
use crate::github::api_error::ApiError;
use crate::github::deployment::{self, Deployment, State};
use std::time::Duration;
use tokio::task::JoinHandle;

/// A cancelled job has 7.5 s between the first signal and the second; the gate's own clean-up comes
/// before this.
const HURRY: Duration = Duration::from_secs(4);

/// How long anybody waits for the record at the end of a gate.
const PATIENCE: Duration = Duration::from_secs(15);

/// Runs a gate with its record, where one is wanted.
pub(super) async fn recorded(
    context: &Context,
    gate: impl Future<Output = ExitStatus>,
) -> ExitStatus {
    let record = begin(context);
    let status = gate.await;
    if let Some(record) = record {
        end(context, record, status).await;
    }
    status
}

/// A record under way.
struct Record {
    begun: JoinHandle<Result<(Api, Deployment), ApiError>>,
    log_url: String,
}

/// Begins the record of this gate, in the background.
fn begin(context: &Context) -> Option<Record> {
    let github = &context.config.github;
    let environment = github.deployment.clone()?;
    // Nothing is stored, so nothing is recorded.
    if context.config.dry_run {
        return None;
    }
    let (Some(runner), Some(token)) = (&context.runner, &github.token) else {
        warn(
            context.runner.as_ref(),
            &anyhow::anyhow!(
                "no deployment record: it needs a run of GitHub Actions and a token. Give github-token."
            ),
        );
        return None;
    };
    super::mask(context, github.token.as_slice());
    let sha = runner.run.sha.clone();
    let log_url = runner.run.url.clone();
    let api = Api::new(runner, token, PATIENCE);
    let url = log_url.clone();
    let begun = tokio::spawn(async move {
        let api = api?;
        let record = deployment::create(&api, &environment, &sha).await?;
        let said = "The backup gate is running.";
        // The last status is the one that counts, so it alone is worth a warning.
        drop(deployment::set(&api, record, State::InProgress, said, &url).await);
        Ok((api, record))
    });
    Some(Record { begun, log_url })
}

/// Says how the gate ended.
async fn end(context: &Context, record: Record, status: ExitStatus) {
    let (state, said) = match status {
        ExitStatus::PASSED => (
            State::Success,
            "The backup gate passed: the deploy may go on.",
        ),
        ExitStatus::FAILED => (State::Failure, "The backup gate is closed: a check failed."),
        ExitStatus::USAGE | ExitStatus::ERROR => (State::Error, "The backup gate could not check."),
        ExitStatus(_) => (State::Error, "The backup gate was interrupted."),
    };
    let patience = match status {
        ExitStatus::PASSED | ExitStatus::FAILED | ExitStatus::USAGE | ExitStatus::ERROR => PATIENCE,
        ExitStatus(_) => HURRY,
    };
    let abort = record.begun.abort_handle();
    let told = tokio::time::timeout(patience, async {
        match record.begun.await {
            Ok(begun) => {
                let (api, deployment) = begun?;
                let api = api.afresh(patience);
                deployment::set(&api, deployment, state, said, &record.log_url).await
            }
            Err(_) => Err(ApiError::stopped("could not finish the deployment record")),
        }
    });
    let error = match told.await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(_) => {
            abort.abort();
            ApiError::stopped("could not finish the deployment record")
        }
    };
    let hint = error.hint();
    warn(context.runner.as_ref(), &anyhow::anyhow!("{error}. {hint}"));
}

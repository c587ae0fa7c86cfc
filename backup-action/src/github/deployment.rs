//! A deployment record of the gate: in progress at the start, then what it came to, with a link to
//! the run. Says nothing about the deploy itself, and changes no verdict.

use super::api::Api;
use super::api_error::ApiError;
use serde::Deserialize;
use serde_json::json;

/// GitHub cuts no description, it declines a longer one.
const MAX_DESCRIPTION_CHARS: usize = 140;

/// A record that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Deployment {
    id: u64,
}

/// How a gate ended, in GitHub's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    InProgress,
    /// It passed.
    Success,
    /// It is closed.
    Failure,
    /// It could not check, or was interrupted.
    Error,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::InProgress => "in_progress",
            State::Success => "success",
            State::Failure => "failure",
            State::Error => "error",
        }
    }
}

/// Creates the record for commit `sha` in `environment`.
///
/// # Errors
/// See [`ApiError`]. Never sent twice.
pub async fn create(api: &Api, environment: &str, sha: &str) -> Result<Deployment, ApiError> {
    let body = json!({
        "ref": sha,
        "task": "backup-gate",
        // Without these GitHub merges the default branch into the commit, and waits for checks.
        "auto_merge": false,
        "required_contexts": [],
        "environment": environment,
        "description": shortened("Backup gate: a verified backup before the deploy"),
        // A gate deploys nothing: it must not look as if production had changed.
        "production_environment": false,
        "transient_environment": false,
    });
    let doing = "could not create the deployment record";
    api.create(doing, &api.path("/deployments"), &body).await
}

/// Says how far it is.
///
/// # Errors
/// See [`ApiError`].
pub async fn set(
    api: &Api,
    deployment: Deployment,
    state: State,
    description: &str,
    log_url: &str,
) -> Result<(), ApiError> {
    let mut body = json!({
        "state": state.word(),
        "description": shortened(description),
        // The deployments that went before it into this environment are still what they were.
        "auto_inactive": false,
    });
    if !log_url.is_empty() {
        body["log_url"] = log_url.into();
    }
    let doing = format!("could not set the deployment record to {}", state.word());
    let path = api.path(&format!("/deployments/{}/statuses", deployment.id));
    api.append(&doing, &path, &body).await
}

fn shortened(text: &str) -> String {
    crate::report::escape::shorten(text, MAX_DESCRIPTION_CHARS)
}

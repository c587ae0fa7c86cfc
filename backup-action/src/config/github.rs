//! What GitHub is told.

use super::values::Values;
use crate::error::Usage;
use crate::secret::Secret;
use std::ffi::OsString;
use std::path::PathBuf;

/// Changed files that are read where no other pattern is given.
const MIGRATIONS: &str = "**/*.sql";

/// What GitHub is told.
#[derive(Debug)]
pub struct GitHubConfig {
    /// `--github-token`, else `GITHUB_TOKEN`.
    pub token: Option<Secret>,
    /// Which comment of the pull request is ours: a word of letters, digits, `.`, `_` and `-`.
    pub comment_key: String,
    /// Whose comments are ours, when the token does not say it.
    pub comment_author: Option<String>,
    /// Globs of the files that are read for tables.
    pub migration_paths: Vec<String>,
    /// The environment whose deployment record is kept.
    pub deployment: Option<String>,
    /// Workflows that `doctor` looks at instead of the stores.
    pub workflows: Vec<PathBuf>,
}

impl GitHubConfig {
    pub(super) fn resolve(
        values: &Values,
        env: &dyn Fn(&str) -> Option<OsString>,
    ) -> anyhow::Result<GitHubConfig> {
        let mut migration_paths = values.list("migration-path");
        if migration_paths.is_empty() {
            migration_paths.push(MIGRATIONS.to_owned());
        }
        Ok(GitHubConfig {
            token: token(values, env)?,
            comment_key: comment_key(values)?,
            comment_author: values.text("comment-author")?,
            migration_paths,
            deployment: deployment(values)?,
            workflows: values
                .list("workflow")
                .into_iter()
                .map(PathBuf::from)
                .collect(),
        })
    }
}

fn token(
    values: &Values,
    env: &dyn Fn(&str) -> Option<OsString>,
) -> anyhow::Result<Option<Secret>> {
    let is_token = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    if let Some(given) = values.text("github-token")? {
        let given = given.trim();
        if !is_token(given) {
            return Err(
                Usage::new(format!("{} is not a token", values.name("github-token")))
                    .hint("In a workflow the token is ${{ github.token }}.")
                    .into(),
            );
        }
        return Ok(Some(Secret::new(given)));
    }
    // Nobody said that this one is for us, so it cannot be a mistake of theirs.
    Ok(env("GITHUB_TOKEN")
        .and_then(|token| token.into_string().ok())
        .filter(|token| is_token(token))
        .map(Secret::new))
}

fn comment_key(values: &Values) -> anyhow::Result<String> {
    let key = values
        .text("comment-key")?
        .unwrap_or_else(|| "backup".to_owned());
    let is_word = key.len() <= 64
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        // It stands in an HTML comment, which this would end.
        && !key.contains("--");
    if !is_word {
        return Err(Usage::new(format!(
            "{}: invalid value {key:?}",
            values.name("comment-key")
        ))
        .hint(
            "Use at most 64 letters, digits, dots, underscores and single dashes, such as payroll.",
        )
        .into());
    }
    Ok(key)
}

fn deployment(values: &Values) -> anyhow::Result<Option<String>> {
    let Some(environment) = values.text("deployment")? else {
        return Ok(None);
    };
    if environment.chars().count() > 255 || environment.chars().any(char::is_control) {
        return Err(Usage::new(format!(
            "{}: invalid name of an environment",
            values.name("deployment")
        ))
        .hint("Use at most 255 characters on one line, such as production-backup.")
        .into());
    }
    Ok(Some(environment))
}

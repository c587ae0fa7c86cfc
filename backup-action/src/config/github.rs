//! What GitHub is told.

use super::values::Values;

/// What GitHub is told.
#[derive(Debug)]
pub struct GitHubConfig {}

impl GitHubConfig {
    pub(super) fn resolve(_values: &Values) -> anyhow::Result<GitHubConfig> {
        Ok(GitHubConfig {})
    }
}

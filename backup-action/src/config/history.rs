//! What is said about sizes over time.

use super::values::Values;

/// What is said about sizes over time.
#[derive(Debug)]
pub struct HistoryConfig {}

impl HistoryConfig {
    pub(super) fn resolve(_values: &Values) -> anyhow::Result<HistoryConfig> {
        Ok(HistoryConfig {})
    }
}

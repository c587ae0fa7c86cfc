//! What stays in the stores, and what goes.

use super::values::Values;

/// What stays in the stores, and what goes.
#[derive(Debug)]
pub struct RetentionConfig {}

impl RetentionConfig {
    pub(super) fn resolve(_values: &Values) -> anyhow::Result<RetentionConfig> {
        Ok(RetentionConfig {})
    }
}

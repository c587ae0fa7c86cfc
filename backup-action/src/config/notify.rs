//! Who is told about a run, and how.

use super::values::Values;

/// Who is told about a run, and how.
#[derive(Debug)]
pub struct NotifyConfig {}

impl NotifyConfig {
    pub(super) fn resolve(_values: &Values) -> anyhow::Result<NotifyConfig> {
        Ok(NotifyConfig {})
    }
}

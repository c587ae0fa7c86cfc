//! What `restore` and `verify-receipt` were told.

use super::values::Values;
use crate::secret::Secret;
use std::time::Duration;

/// What `restore` was told.
#[derive(Debug)]
pub struct RestoreConfig {
    /// The server to restore into; without it libpq's environment decides.
    pub into: Option<Secret>,
    /// Print the plan and stop.
    pub plan: bool,
    /// Replace an existing database by swapping names.
    pub swap: bool,
    /// Create missing roles, or refuse.
    pub missing_roles: MissingRoles,
    /// Do not ask.
    pub yes: bool,
    /// Commands to run first.
    pub before: Vec<String>,
    /// Commands to run at the end.
    pub after: Vec<String>,
    /// Whether those commands go through `sh -c`.
    pub hook_shell: bool,
}

/// What to do about roles that the target does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingRoles {
    /// Create them as the archive has them.
    Create,
    /// Refuse, with the list.
    Refuse,
}

/// What `verify-receipt` was told.
#[derive(Debug)]
pub struct ReceiptConfig {
    /// `latest`, or a key.
    pub receipt: String,
    /// How old it may be.
    pub max_age: Duration,
    /// Accept another commit.
    pub allow_other_sha: bool,
}

impl RestoreConfig {
    pub(super) fn resolve(values: &Values) -> anyhow::Result<RestoreConfig> {
        Ok(RestoreConfig {
            into: values.text("into")?.map(Secret::new),
            plan: values.switch("plan", false)?,
            swap: values.switch("swap", false)?,
            missing_roles: values.word(
                "missing-roles",
                &[
                    ("create", MissingRoles::Create),
                    ("refuse", MissingRoles::Refuse),
                ],
            )?,
            yes: values.switch("yes", false)?,
            before: values.list("before"),
            after: values.list("after"),
            hook_shell: values.switch("hook-shell", false)?,
        })
    }
}

impl ReceiptConfig {
    pub(super) fn resolve(values: &Values) -> anyhow::Result<ReceiptConfig> {
        Ok(ReceiptConfig {
            receipt: values
                .text("receipt")?
                .unwrap_or_else(|| "latest".to_owned()),
            max_age: values.duration("max-receipt-age", "2h")?,
            allow_other_sha: values.switch("allow-other-sha", false)?,
        })
    }
}

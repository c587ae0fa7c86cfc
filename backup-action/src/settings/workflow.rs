//! Settings of the review of workflows.

use super::{PLAIN, Setting};

pub(super) const SETTINGS: &[Setting] = &[Setting {
    name: "workflow",
    env: "BACKUP_ACTION_WORKFLOW",
    value: "FILE|DIR",
    list: true,
    help: "Look for holes in this workflow instead of the stores; a directory means each of its workflows that uses this program.",
    action: false,
    commands: &["doctor"],
    ..PLAIN
}];

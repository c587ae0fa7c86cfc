//! Settings of the lock that keeps two runs from writing into one store.

use super::{PLAIN, Setting};

pub(super) const SETTINGS: &[Setting] = &[Setting {
    name: "wait-lock",
    env: "BACKUP_ACTION_WAIT_LOCK",
    value: "DURATION",
    default: "10m",
    help: "How long to wait for another run that holds the lock of a store; 0 fails at once.",
    commands: &["gate", "prune"],
    ..PLAIN
}];

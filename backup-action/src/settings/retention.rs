//! Settings of prune, and of what a gate removes at its end.

use super::{PLAIN, Setting};

const PRUNING: &[&str] = &["gate", "prune", "doctor"];

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "retention-mode",
        env: "BACKUP_ACTION_RETENTION_MODE",
        value: "tool|lifecycle|off",
        default: "tool",
        help: "Who deletes old backups: this program, the bucket's lifecycle rules (it only tags and copies), or nobody.",
        commands: PRUNING,
        ..PLAIN
    },
    Setting {
        name: "retention-local",
        env: "BACKUP_ACTION_RETENTION_LOCAL",
        value: "DAYS|forever",
        default: "7d",
        help: "How old backups in --local may get.",
        commands: PRUNING,
        ..PLAIN
    },
    Setting {
        name: "retention-remote",
        env: "BACKUP_ACTION_RETENTION_REMOTE",
        value: "DAYS|forever",
        default: "30d",
        help: "How old backups in --remote may get.",
        commands: PRUNING,
        ..PLAIN
    },
    Setting {
        name: "retention-archive",
        env: "BACKUP_ACTION_RETENTION_ARCHIVE",
        value: "DAYS|forever|off",
        default: "1y",
        help: "How old each month's first backup may get, which is copied to archive/ in --remote; off copies none.",
        commands: PRUNING,
        ..PLAIN
    },
    Setting {
        name: "retention-archive-class",
        env: "BACKUP_ACTION_RETENTION_ARCHIVE_CLASS",
        value: "CLASS",
        default: "GLACIER_IR",
        help: "The storage class of archives in archive/.",
        commands: &["gate", "prune"],
        ..PLAIN
    },
    Setting {
        name: "retention-min-keep",
        env: "BACKUP_ACTION_RETENTION_MIN_KEEP",
        value: "N",
        default: "2",
        help: "How many of the newest backups stay in each tier, whatever their age.",
        commands: PRUNING,
        ..PLAIN
    },
    Setting {
        name: "max-delete",
        env: "BACKUP_ACTION_MAX_DELETE",
        value: "N",
        default: "10, or half of the tier",
        help: "How many backups of a tier one run may delete; when more are too old, none is deleted.",
        commands: &["gate", "prune"],
        ..PLAIN
    },
    Setting {
        name: "all-clusters",
        env: "BACKUP_ACTION_ALL_CLUSTERS",
        help: "Prune the backups of every cluster in the stores, not of one.",
        action: false,
        commands: &["prune"],
        ..PLAIN
    },
];

//! Settings of history, of the size checks and of the HTML report.

use super::{PLAIN, Setting};

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "size-floor",
        env: "BACKUP_ACTION_SIZE_FLOOR",
        value: "SIZE|SCHEMA=SIZE",
        list: true,
        help: "The least size of the dump, or of a schema in it, such as 500MB or nostromo.central=1MB.",
        ..PLAIN
    },
    Setting {
        name: "max-growth-percent",
        env: "BACKUP_ACTION_MAX_GROWTH_PERCENT",
        value: "N",
        default: "50",
        help: "How much the dump, or a schema in it, may grow in a month.",
        ..PLAIN
    },
    Setting {
        name: "growth-floor",
        env: "BACKUP_ACTION_GROWTH_FLOOR",
        value: "SIZE",
        default: "50MB",
        help: "Growth by fewer bytes is never too much.",
        ..PLAIN
    },
    Setting {
        name: "max-shrink-percent",
        env: "BACKUP_ACTION_MAX_SHRINK_PERCENT",
        value: "N",
        default: "50",
        help: "How much smaller than a month ago the dump, or a schema in it, may be.",
        ..PLAIN
    },
    Setting {
        name: "shrink-floor",
        env: "BACKUP_ACTION_SHRINK_FLOOR",
        value: "SIZE",
        default: "10MB",
        help: "A loss of fewer bytes is never too much.",
        ..PLAIN
    },
    Setting {
        name: "accept-size-change",
        env: "BACKUP_ACTION_ACCEPT_SIZE_CHANGE",
        value: "NAME",
        list: true,
        help: "A schema, database.schema or database whose size may change as it has, or all: for an \
               intended clean-up or import. Needed for one run only.",
        ..PLAIN
    },
    Setting {
        name: "html",
        env: "BACKUP_ACTION_HTML",
        value: "FILE",
        default: "in the job's directory in Actions",
        help: "Write the HTML report to this file: the run, and sizes and restore times over time.",
        commands: &["gate", "drill", "history"],
        ..PLAIN
    },
    Setting {
        name: "since",
        env: "BACKUP_ACTION_SINCE",
        value: "DATE|DURATION",
        default: "400d",
        help: "How far back to look, such as 2026-01-01 or 90d.",
        action: false,
        commands: &["history"],
        ..PLAIN
    },
];

//! Settings of `restore`, `drill`, `verify-receipt`, and of what the gate asks about them.

use super::{PLAIN, Setting};

const RESTORE: &[&str] = &["restore"];
const DRILL: &[&str] = &["drill"];
const VERIFY_RECEIPT: &[&str] = &["verify-receipt"];

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "into",
        env: "BACKUP_ACTION_INTO",
        value: "URL",
        default: "the libpq environment",
        help: "The server to restore into: postgres://user:password@host:5432/postgres.",
        secret: true,
        action: false,
        commands: RESTORE,
        ..PLAIN
    },
    Setting {
        name: "plan",
        env: "BACKUP_ACTION_PLAN",
        help: "Print the steps with their sizes and what would be replaced, and stop there; nothing is changed.",
        action: false,
        commands: RESTORE,
        ..PLAIN
    },
    Setting {
        name: "swap",
        env: "BACKUP_ACTION_SWAP",
        help: "Restore an existing database beside itself, prove it, then swap the names; the old one stays as NAME_before_TIME.",
        action: false,
        commands: RESTORE,
        ..PLAIN
    },
    Setting {
        name: "missing-roles",
        env: "BACKUP_ACTION_MISSING_ROLES",
        value: "create|refuse",
        default: "create",
        help: "What to do about roles that the restored objects need and the server does not have.",
        action: false,
        commands: RESTORE,
        ..PLAIN
    },
    Setting {
        name: "yes",
        env: "BACKUP_ACTION_YES",
        help: "Do not ask before something is replaced.",
        action: false,
        commands: RESTORE,
        ..PLAIN
    },
    Setting {
        name: "before",
        env: "BACKUP_ACTION_BEFORE",
        value: "COMMAND",
        help: "A command to run before anything is changed, such as one that stops a service; no shell.",
        action: false,
        list: true,
        commands: RESTORE,
        ..PLAIN
    },
    Setting {
        name: "after",
        env: "BACKUP_ACTION_AFTER",
        value: "COMMAND",
        help: "A command to run at the end, also after a failure, such as one that starts a service; no shell.",
        action: false,
        list: true,
        commands: RESTORE,
        ..PLAIN
    },
    Setting {
        name: "hook-shell",
        env: "BACKUP_ACTION_HOOK_SHELL",
        help: "Run the commands of --before and --after through sh -c.",
        action: false,
        commands: RESTORE,
        ..PLAIN
    },
    Setting {
        name: "engine",
        env: "BACKUP_ACTION_ENGINE",
        value: "auto|docker|local",
        default: "auto",
        help: "Where a drill restores: a container, or a server of its own on this machine; auto takes Docker when it answers.",
        commands: DRILL,
        ..PLAIN
    },
    Setting {
        name: "image",
        env: "BACKUP_ACTION_IMAGE",
        value: "IMAGE",
        default: "postgres:MAJOR",
        help: "The image of the container, best with its digest: postgres:17@sha256:….",
        commands: DRILL,
        ..PLAIN
    },
    Setting {
        name: "drill-dir",
        env: "BACKUP_ACTION_DRILL_DIR",
        value: "DIR",
        default: "the temporary directory",
        help: "Where a drill without Docker keeps its cluster while it runs.",
        commands: DRILL,
        ..PLAIN
    },
    Setting {
        name: "schema-only",
        env: "BACKUP_ACTION_SCHEMA_ONLY",
        help: "Restore and compare everything but rows: quick, and never counted as a drill.",
        commands: DRILL,
        ..PLAIN
    },
    Setting {
        name: "max-restore-time",
        env: "BACKUP_ACTION_MAX_RESTORE_TIME",
        value: "DURATION",
        help: "The restore time objective: a drill that takes longer fails.",
        commands: DRILL,
        ..PLAIN
    },
    Setting {
        name: "allow-empty",
        env: "BACKUP_ACTION_ALLOW_EMPTY",
        help: "Let a drill of a cluster without tables or rows pass.",
        commands: DRILL,
        ..PLAIN
    },
    Setting {
        name: "once-per",
        env: "BACKUP_ACTION_ONCE_PER",
        value: "month|DURATION",
        help: "Do nothing when a drill passed in this calendar month (UTC), or within this time: a frequent schedule then heals a dropped run.",
        commands: DRILL,
        ..PLAIN
    },
    Setting {
        name: "max-drill-age",
        env: "BACKUP_ACTION_MAX_DRILL_AGE",
        value: "DURATION",
        default: "35d",
        help: "How old the newest passed drill may be before drill-fresh says no.",
        commands: &["gate"],
        ..PLAIN
    },
    Setting {
        name: "receipt",
        env: "BACKUP_ACTION_RECEIPT",
        value: "KEY",
        default: "latest",
        help: "The receipt to verify: latest, or a key such as the output receipt-key.",
        commands: VERIFY_RECEIPT,
        ..PLAIN
    },
    Setting {
        name: "max-receipt-age",
        env: "BACKUP_ACTION_MAX_RECEIPT_AGE",
        value: "DURATION",
        default: "2h",
        help: "How old a receipt may be.",
        commands: VERIFY_RECEIPT,
        ..PLAIN
    },
    Setting {
        name: "allow-other-sha",
        env: "BACKUP_ACTION_ALLOW_OTHER_SHA",
        help: "Accept the receipt of another commit of the same repository.",
        commands: VERIFY_RECEIPT,
        ..PLAIN
    },
];

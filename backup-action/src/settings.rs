//! The single list of settings: flags, environment variables, keys of the file, inputs of the
//! action. Only the table; parsing is `cli`'s and `config`'s.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Flag and key, kebab-case.
    pub name: &'static str,
    /// Environment variable, `BACKUP_ACTION_…`.
    pub env: &'static str,
    /// Placeholder of the value; empty for a switch.
    pub value: &'static str,
    /// What holds when nothing is said; empty when nothing does.
    pub default: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Whether the value must not be shown.
    pub secret: bool,
    /// Whether it is an input of the action.
    pub action: bool,
    /// The commands that read it.
    pub commands: &'static [&'static str],
}

/// Every setting.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "database-url",
        env: "BACKUP_ACTION_DATABASE_URL",
        value: "URL",
        default: "",
        help: "Address of the cluster; without it libpq's variables (`PGHOST`, …) count.",
        secret: true,
        action: true,
        commands: &["gate", "backup"],
    },
    Setting {
        name: "local",
        env: "BACKUP_ACTION_LOCAL",
        value: "DIR",
        default: "",
        help: "Directory to store backups in.",
        secret: false,
        action: true,
        commands: &["gate", "backup", "verify"],
    },
    Setting {
        name: "verify",
        env: "BACKUP_ACTION_VERIFY",
        value: "readback|checksum",
        default: "readback",
        help: "How stored bytes are verified.",
        secret: false,
        action: true,
        commands: &["gate", "backup"],
    },
];

//! Every setting of every command, once: the flag, its environment variable, its key in the
//! configuration file, its default and its text. `--help`, action.yml and the README table are
//! made from this list; nothing else names a setting.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Flag without `--`, key of the configuration file, input of the Action.
    pub name: &'static str,
    /// Environment variable; an empty value counts as not set, because a composite action passes
    /// its unset inputs as empty strings.
    pub env: &'static str,
    /// Placeholder of the value; empty for a switch.
    pub value: &'static str,
    /// What holds when nothing is said, for people; empty when there is none.
    pub default: &'static str,
    /// What it is for, as a sentence.
    pub help: &'static str,
    /// Whether the value must not be shown, nor stand in the configuration file.
    pub secret: bool,
    /// Whether it is an input of the Action.
    pub action: bool,
    /// Whether it may be given several times (in the file: a list; in the environment: one a line).
    pub list: bool,
    /// The commands that take it.
    pub commands: &'static [&'static str],
}

const GATE: &[&str] = &["gate"];
const STORE_READERS: &[&str] = &["gate", "verify", "list", "show", "extract"];
const ALL: &[&str] = &["gate", "verify", "list", "show", "extract"];
const READERS: &[&str] = &["show", "extract"];

const PLAIN: Setting = Setting {
    name: "",
    env: "",
    value: "",
    default: "",
    help: "",
    secret: false,
    action: true,
    list: false,
    commands: GATE,
};

/// The settings, in the order in which `--help` shows them.
pub const SETTINGS: &[Setting] = &[
    Setting {
        name: "database-url",
        env: "BACKUP_ACTION_DATABASE_URL",
        value: "URL",
        help: "Where the cluster is: postgres://user:password@host:5432/postgres?sslmode=verify-full. \
               Without it DATABASE_URL, then libpq's own PGHOST, PGSERVICE, PGPASSFILE … decide.",
        secret: true,
        ..PLAIN
    },
    Setting {
        name: "cluster",
        env: "BACKUP_ACTION_CLUSTER",
        value: "NAME",
        default: "host:port",
        help: "The name of the cluster in reports.",
        ..PLAIN
    },
    Setting {
        name: "local",
        env: "BACKUP_ACTION_LOCAL",
        value: "DIR",
        help: "The directory that keeps backups on this machine.",
        commands: STORE_READERS,
        ..PLAIN
    },
    Setting {
        name: "remote",
        env: "BACKUP_ACTION_REMOTE",
        value: "s3://BUCKET/PREFIX",
        help: "The S3 bucket and prefix that keep backups off this machine.",
        commands: STORE_READERS,
        ..PLAIN
    },
    Setting {
        name: "s3-endpoint",
        env: "BACKUP_ACTION_S3_ENDPOINT",
        value: "URL",
        help: "The address of an S3-compatible store; without it AWS.",
        commands: STORE_READERS,
        ..PLAIN
    },
    Setting {
        name: "s3-path-style",
        env: "BACKUP_ACTION_S3_PATH_STYLE",
        default: "true with --s3-endpoint",
        help: "Put the bucket into the path instead of the host name.",
        commands: STORE_READERS,
        ..PLAIN
    },
    Setting {
        name: "s3-region",
        env: "BACKUP_ACTION_S3_REGION",
        value: "REGION",
        default: "AWS_REGION, else us-east-1",
        help: "The region of the bucket.",
        commands: STORE_READERS,
        ..PLAIN
    },
    Setting {
        name: "s3-sse",
        env: "BACKUP_ACTION_S3_SSE",
        value: "AES256|aws:kms",
        default: "the bucket's",
        help: "Encryption by the store itself.",
        ..PLAIN
    },
    Setting {
        name: "s3-kms-key-id",
        env: "BACKUP_ACTION_S3_KMS_KEY_ID",
        value: "KEY",
        help: "The KMS key for --s3-sse aws:kms.",
        ..PLAIN
    },
    Setting {
        name: "s3-storage-class",
        env: "BACKUP_ACTION_S3_STORAGE_CLASS",
        value: "CLASS",
        default: "the bucket's",
        help: "The storage class of new archives, such as STANDARD_IA.",
        ..PLAIN
    },
    Setting {
        name: "pg-bin-dir",
        env: "BACKUP_ACTION_PG_BIN_DIR",
        value: "DIR",
        default: "found by the server's major version",
        help: "The directory of pg_dumpall, pg_dump and psql.",
        ..PLAIN
    },
    Setting {
        name: "sudo-user",
        env: "BACKUP_ACTION_SUDO_USER",
        value: "NAME",
        help: "Run PostgreSQL's programs as this user of the operating system (peer authentication).",
        ..PLAIN
    },
    Setting {
        name: "role-passwords",
        env: "BACKUP_ACTION_ROLE_PASSWORDS",
        value: "auto|include|exclude",
        default: "auto",
        help: "Whether the roles' password verifiers are dumped; auto leaves them out where the role \
               may not read them (managed services), and says so.",
        ..PLAIN
    },
    Setting {
        name: "pg-dumpall-arg",
        env: "BACKUP_ACTION_PG_DUMPALL_ARG",
        value: "OPTION",
        list: true,
        help: "A further option of pg_dumpall, from a list of safe ones.",
        ..PLAIN
    },
    Setting {
        name: "lock-wait-timeout",
        env: "BACKUP_ACTION_LOCK_WAIT_TIMEOUT",
        value: "DURATION",
        default: "5m",
        help: "How long pg_dump waits for one table's lock.",
        ..PLAIN
    },
    Setting {
        name: "stall-timeout",
        env: "BACKUP_ACTION_STALL_TIMEOUT",
        value: "DURATION",
        default: "10m",
        help: "How long the dump may send no byte before it is ended.",
        ..PLAIN
    },
    Setting {
        name: "timeout",
        env: "BACKUP_ACTION_TIMEOUT",
        value: "DURATION",
        default: "6h",
        help: "How long the whole run may take.",
        ..PLAIN
    },
    Setting {
        name: "verify",
        env: "BACKUP_ACTION_VERIFY",
        value: "readback|checksum",
        default: "readback",
        help: "Read every stored byte back and decode it, or trust the store's checksum and length.",
        ..PLAIN
    },
    Setting {
        name: "level",
        env: "BACKUP_ACTION_LEVEL",
        value: "auto|1..12",
        default: "auto",
        help: "Compression level; auto is as strong as the speed of the dump allows.",
        ..PLAIN
    },
    Setting {
        name: "jobs",
        env: "BACKUP_ACTION_JOBS",
        value: "N",
        default: "the number of cores",
        help: "How many threads compress and decode.",
        commands: &["gate", "verify", "extract"],
        ..PLAIN
    },
    Setting {
        name: "require-database",
        env: "BACKUP_ACTION_REQUIRE_DATABASE",
        value: "NAME",
        list: true,
        help: "A database that must be in the archive.",
        ..PLAIN
    },
    Setting {
        name: "require-schema",
        env: "BACKUP_ACTION_REQUIRE_SCHEMA",
        value: "NAME",
        list: true,
        help: "A schema that must be in the archive, as schema or database.schema.",
        ..PLAIN
    },
    Setting {
        name: "accept-unconnectable",
        env: "BACKUP_ACTION_ACCEPT_UNCONNECTABLE",
        value: "NAME",
        list: true,
        help: "A database with datallowconn = false that may be missing from the dump.",
        ..PLAIN
    },
    Setting {
        name: "check",
        env: "BACKUP_ACTION_CHECK",
        value: "ID=warn|block",
        list: true,
        help: "What a failing check does; see the table of checks.",
        ..PLAIN
    },
    Setting {
        name: "database",
        env: "BACKUP_ACTION_DATABASE",
        value: "NAME",
        help: "Only this database.",
        action: false,
        commands: READERS,
        ..PLAIN
    },
    Setting {
        name: "schema",
        env: "BACKUP_ACTION_SCHEMA",
        value: "NAME",
        help: "Only this schema.",
        action: false,
        commands: READERS,
        ..PLAIN
    },
    Setting {
        name: "table",
        env: "BACKUP_ACTION_TABLE",
        value: "NAME",
        help: "Only this table.",
        action: false,
        commands: READERS,
        ..PLAIN
    },
    Setting {
        name: "report",
        env: "BACKUP_ACTION_REPORT",
        value: "FILE",
        help: "Write the JSON report to this file.",
        commands: &["gate", "verify"],
        ..PLAIN
    },
    Setting {
        name: "summary",
        env: "BACKUP_ACTION_SUMMARY",
        value: "FILE",
        default: "GITHUB_STEP_SUMMARY",
        help: "Write the Markdown summary to this file as well.",
        ..PLAIN
    },
    Setting {
        name: "output",
        env: "BACKUP_ACTION_OUTPUT",
        value: "text|json",
        default: "text",
        help: "What standard output shows.",
        action: false,
        commands: ALL,
        ..PLAIN
    },
    Setting {
        name: "config",
        env: "BACKUP_ACTION_CONFIG",
        value: "FILE",
        default: ".github/backup-action.toml when present",
        help: "The configuration file; its keys are the names of these settings.",
        commands: ALL,
        ..PLAIN
    },
    Setting {
        name: "dry-run",
        env: "BACKUP_ACTION_DRY_RUN",
        help: "Run the checks before the dump and stop there; nothing is stored.",
        ..PLAIN
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_variables_follow_one_rule() {
        let mut names = Vec::new();
        for setting in SETTINGS {
            let env = format!(
                "BACKUP_ACTION_{}",
                setting.name.to_uppercase().replace('-', "_")
            );
            assert_eq!(setting.env, env);
            assert!(setting.help.ends_with('.'), "{}", setting.name);
            names.push(setting.name);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SETTINGS.len());
    }
}

//! Settings of the gate, of the stores, and of what every command shares.

use super::{EVERY, PLAIN, Setting, WITH_STORES};

const JUDGED: &[&str] = &[
    "gate",
    "verify",
    "restore",
    "drill",
    "verify-receipt",
    "prune",
];
const NARROWED: &[&str] = &["show", "extract", "restore", "history"];

/// The settings, in the order in which `--help` shows them.
pub(super) const SETTINGS: &[Setting] = &[
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
        help: "The name of the cluster in reports; for prune and annotate the name or identifier of the cluster whose backups may go or are shown.",
        commands: &["gate", "prune", "annotate"],
        ..PLAIN
    },
    Setting {
        name: "local",
        env: "BACKUP_ACTION_LOCAL",
        value: "DIR",
        help: "The directory that keeps backups on this machine.",
        commands: WITH_STORES,
        ..PLAIN
    },
    Setting {
        name: "remote",
        env: "BACKUP_ACTION_REMOTE",
        value: "s3://BUCKET/PREFIX",
        help: "The S3 bucket and prefix that keep backups off this machine.",
        commands: WITH_STORES,
        ..PLAIN
    },
    Setting {
        name: "s3-endpoint",
        env: "BACKUP_ACTION_S3_ENDPOINT",
        value: "URL",
        help: "The address of an S3-compatible store; without it AWS.",
        commands: WITH_STORES,
        ..PLAIN
    },
    Setting {
        name: "s3-path-style",
        env: "BACKUP_ACTION_S3_PATH_STYLE",
        default: "true with --s3-endpoint",
        help: "Put the bucket into the path instead of the host name.",
        commands: WITH_STORES,
        ..PLAIN
    },
    Setting {
        name: "s3-region",
        env: "BACKUP_ACTION_S3_REGION",
        value: "REGION",
        default: "AWS_REGION or the profile's; us-east-1 with --s3-endpoint",
        help: "The region of the bucket.",
        commands: WITH_STORES,
        ..PLAIN
    },
    Setting {
        name: "s3-sse",
        env: "BACKUP_ACTION_S3_SSE",
        value: "AES256|aws:kms",
        default: "the bucket's",
        help: "Encryption by the store itself.",
        commands: &["gate", "drill", "prune"],
        ..PLAIN
    },
    Setting {
        name: "s3-kms-key-id",
        env: "BACKUP_ACTION_S3_KMS_KEY_ID",
        value: "KEY",
        help: "The KMS key for --s3-sse aws:kms.",
        commands: &["gate", "drill", "prune"],
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
        help: "The directory of PostgreSQL's programs: pg_dumpall, pg_dump and psql; for a drill without Docker also initdb and postgres.",
        commands: &["gate", "restore", "drill"],
        ..PLAIN
    },
    Setting {
        name: "sudo-user",
        env: "BACKUP_ACTION_SUDO_USER",
        value: "NAME",
        help: "Run PostgreSQL's programs as this user of the operating system (peer authentication).",
        commands: &["gate", "restore"],
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
        help: "How long a dump may send no byte, or a restore take none, before it is ended.",
        commands: &["gate", "restore", "drill"],
        ..PLAIN
    },
    Setting {
        name: "timeout",
        env: "BACKUP_ACTION_TIMEOUT",
        value: "DURATION",
        default: "6h",
        help: "How long the whole run may take.",
        commands: JUDGED,
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
        help: "How many threads compress and decode, and how many sessions restore.",
        commands: &["gate", "verify", "extract", "restore", "drill"],
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
        commands: &["gate", "drill", "prune"],
        ..PLAIN
    },
    Setting {
        name: "database",
        env: "BACKUP_ACTION_DATABASE",
        value: "NAME",
        help: "Only this database.",
        action: false,
        commands: NARROWED,
        ..PLAIN
    },
    Setting {
        name: "schema",
        env: "BACKUP_ACTION_SCHEMA",
        value: "NAME",
        help: "Only this schema.",
        action: false,
        commands: NARROWED,
        ..PLAIN
    },
    Setting {
        name: "table",
        env: "BACKUP_ACTION_TABLE",
        value: "NAME",
        help: "Only this table.",
        action: false,
        commands: &["show", "extract"],
        ..PLAIN
    },
    Setting {
        name: "report",
        env: "BACKUP_ACTION_REPORT",
        value: "FILE",
        help: "Write the JSON report to this file.",
        commands: JUDGED,
        ..PLAIN
    },
    Setting {
        name: "summary",
        env: "BACKUP_ACTION_SUMMARY",
        value: "FILE",
        default: "GITHUB_STEP_SUMMARY",
        help: "Write the Markdown summary to this file as well.",
        commands: JUDGED,
        ..PLAIN
    },
    Setting {
        name: "output",
        env: "BACKUP_ACTION_OUTPUT",
        value: "text|json",
        default: "text",
        help: "What standard output shows.",
        action: false,
        commands: EVERY,
        ..PLAIN
    },
    Setting {
        name: "config",
        env: "BACKUP_ACTION_CONFIG",
        value: "FILE",
        default: ".github/backup-action.toml when present",
        help: "The configuration file; its keys are the names of these settings.",
        commands: EVERY,
        ..PLAIN
    },
    Setting {
        name: "dry-run",
        env: "BACKUP_ACTION_DRY_RUN",
        help: "Run the checks before the dump and stop there; nothing is stored. For prune: show the plan, delete nothing. For annotate: print the comment instead of posting it.",
        commands: &["gate", "prune", "annotate"],
        ..PLAIN
    },
];

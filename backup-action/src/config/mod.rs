//! Flags, environment and file → one validated [`Config`]. Each value remembers where it came from,
//! so that an error names the flag, the variable or the key.

mod address;
mod aws;
mod drill;
mod form;
mod github;
mod history;
mod lock;
mod notify;
mod reach;
mod restore;
mod retention;
mod severities;
mod values;

pub use address::{HttpAddress, SmtpAddress, SmtpSecurity};
pub use aws::AwsConfig;
pub use drill::{Acknowledged, DefectKind, DrillConfig, Expected, OncePer, Question};
pub use github::GitHubConfig;
pub use history::{HistoryConfig, Since};
pub use notify::{MailConfig, NotifyConfig, NotifyOn};
pub use reach::ReachConfig;
pub use restore::{MissingRoles, ReceiptConfig, RestoreConfig};
pub use retention::{RetentionConfig, RetentionMode};
pub use severities::Severities;

use crate::error::Usage;
use crate::postgres::args;
use crate::postgres::preflight::RolePasswords;
use crate::secret::Secret;
use anyhow::Context as _;
use clap::ArgMatches;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use values::Values;

/// Everything that a command was told, validated.
#[derive(Debug)]
pub struct Config {
    /// The command's name.
    pub command: String,
    /// `latest`, a key, a time or a file.
    pub backup: String,
    /// `--database-url` or `DATABASE_URL`.
    pub database_url: Option<Secret>,
    /// The name of the cluster for people.
    pub cluster: Option<String>,
    /// The directory store.
    pub local: Option<PathBuf>,
    /// The S3 store.
    pub remote: Option<Remote>,
    /// Its credentials.
    pub aws: AwsConfig,
    /// Where PostgreSQL's programs are.
    pub pg_bin_dir: Option<PathBuf>,
    /// The user of the operating system that runs them.
    pub sudo_user: Option<String>,
    /// The way to the server.
    pub reach: ReachConfig,
    /// `auto`, `include` or `exclude`.
    pub role_passwords: RolePasswords,
    /// Further options of pg_dumpall, all from the list of safe ones.
    pub pg_dumpall_args: Vec<String>,
    /// For pg_dump's `--lock-wait-timeout`.
    pub lock_wait_timeout: Duration,
    /// How long the dump may be silent.
    pub stall_timeout: Duration,
    /// The deadline of the whole run.
    pub timeout: Duration,
    /// How stored bytes are verified.
    pub verify: Verify,
    /// How strong the compression is.
    pub level: Level,
    /// Threads that compress and decode.
    pub jobs: usize,
    /// Databases that must be in the archive.
    pub required_databases: Vec<String>,
    /// Schemas that must be in the archive, `schema` or `database.schema`.
    pub required_schemas: Vec<String>,
    /// Databases that may be missing because nobody can connect to them.
    pub accepted_unconnectable: Vec<String>,
    /// What a failing check does.
    pub severities: Severities,
    /// `--database` of `show` and `extract`.
    pub database: Option<String>,
    /// `--schema`.
    pub schema: Option<String>,
    /// `--table`.
    pub table: Option<String>,
    /// Where the JSON report goes.
    pub report: Option<PathBuf>,
    /// Where the Markdown summary goes besides the job's.
    pub summary: Option<PathBuf>,
    /// What standard output shows.
    pub output: OutputFormat,
    /// Stop before anything is written.
    pub dry_run: bool,
    /// What only `restore` takes.
    pub restore: RestoreConfig,
    /// What only `drill` takes.
    pub drill: DrillConfig,
    /// How old the newest passed drill may be.
    pub max_drill_age: Duration,
    /// What only `verify-receipt` takes.
    pub receipt: ReceiptConfig,
    /// How long to wait for the lock of a store.
    pub wait_lock: Duration,
    /// What stays in the stores, and what goes.
    pub retention: RetentionConfig,
    /// What is said about sizes over time.
    pub history: HistoryConfig,
    /// Who is told about a run, and how.
    pub notify: NotifyConfig,
    /// What GitHub is told.
    pub github: GitHubConfig,
}

/// The S3 store as configured; the store itself checks bucket and prefix.
#[derive(Debug)]
pub struct Remote {
    /// `s3://bucket/prefix`.
    pub url: String,
    /// Another endpoint than AWS.
    pub endpoint: Option<String>,
    /// Bucket in the path.
    pub path_style: bool,
    /// Region, if named.
    pub region: Option<String>,
    /// `AES256` or `aws:kms`.
    pub sse: Option<String>,
    /// Key for `aws:kms`.
    pub kms_key_id: Option<String>,
    /// Storage class of new archives.
    pub storage_class: Option<String>,
}

/// How stored bytes are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Every byte is read back and decoded.
    Readback,
    /// The store's full-object checksum and length are believed.
    Checksum,
}

/// How strong the compression is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// As strong as the speed of the dump allows.
    Auto,
    /// libdeflate's level, 1 to 12.
    Fixed(u32),
}

/// What standard output shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    /// For people.
    Text,
    /// The JSON report.
    Json,
}

impl Config {
    /// Resolves every setting: flag, then environment, then file, then default.
    ///
    /// # Errors
    /// [`Usage`] for an unknown key, a value of the wrong form, or an unreadable file.
    pub fn resolve(
        command: &str,
        matches: &ArgMatches,
        env: &dyn Fn(&str) -> Option<OsString>,
    ) -> anyhow::Result<Config> {
        let values = Values::collect(command, matches, env)?;
        let severities = severities::severities(&values)?;
        let config = Config {
            command: command.to_owned(),
            backup: backup(matches, env)?,
            database_url: database_url(&values, env)?,
            cluster: values.text("cluster")?,
            local: values.text("local")?.map(PathBuf::from),
            remote: remote(&values)?,
            aws: AwsConfig::resolve(&values)?,
            pg_bin_dir: values.text("pg-bin-dir")?.map(PathBuf::from),
            sudo_user: values.text("sudo-user")?,
            reach: ReachConfig::resolve(&values)?,
            role_passwords: values.word(
                "role-passwords",
                &[
                    ("auto", RolePasswords::Auto),
                    ("include", RolePasswords::Include),
                    ("exclude", RolePasswords::Exclude),
                ],
            )?,
            pg_dumpall_args: args::check_extra(&values.list("pg-dumpall-arg"))
                .with_context(|| values.name("pg-dumpall-arg"))?,
            lock_wait_timeout: values.duration("lock-wait-timeout", "5m")?,
            stall_timeout: values.duration("stall-timeout", "10m")?,
            timeout: values.duration("timeout", "6h")?,
            verify: values.word(
                "verify",
                &[
                    ("readback", Verify::Readback),
                    ("checksum", Verify::Checksum),
                ],
            )?,
            level: level(&values)?,
            jobs: jobs(&values)?,
            required_databases: values.list("require-database"),
            required_schemas: values.list("require-schema"),
            accepted_unconnectable: values.list("accept-unconnectable"),
            severities,
            database: values.text("database")?,
            schema: values.text("schema")?,
            table: values.text("table")?,
            report: values.text("report")?.map(PathBuf::from),
            summary: values.text("summary")?.map(PathBuf::from),
            output: values.word(
                "output",
                &[("text", OutputFormat::Text), ("json", OutputFormat::Json)],
            )?,
            dry_run: values.switch("dry-run", false)?,
            restore: RestoreConfig::resolve(&values)?,
            drill: DrillConfig::resolve(&values)?,
            max_drill_age: values.duration("max-drill-age", "35d")?,
            receipt: ReceiptConfig::resolve(&values)?,
            wait_lock: lock::wait(&values)?,
            retention: RetentionConfig::resolve(&values)?,
            history: HistoryConfig::resolve(&values)?,
            notify: NotifyConfig::resolve(&values)?,
            github: GitHubConfig::resolve(&values, env)?,
        };
        retention::agrees(&config, &values)?;
        Ok(config)
    }
}

/// `[BACKUP]`, else the Action's input of that name.
fn backup(matches: &ArgMatches, env: &dyn Fn(&str) -> Option<OsString>) -> anyhow::Result<String> {
    const VARIABLE: &str = "BACKUP_ACTION_BACKUP";
    let typed = match matches.try_get_one::<String>("backup") {
        Ok(typed) => typed.cloned(),
        // The command takes none.
        Err(_) => return Ok("latest".to_owned()),
    };
    match typed.map(OsString::from).or_else(|| env(VARIABLE)) {
        None => Ok("latest".to_owned()),
        Some(text) if text.is_empty() => Ok("latest".to_owned()),
        Some(text) => text
            .into_string()
            .map_err(|_| Usage::new(format!("{VARIABLE} is not valid UTF-8")).into()),
    }
}

fn level(values: &Values) -> anyhow::Result<Level> {
    let Some(text) = values.text("level")? else {
        return Ok(Level::Auto);
    };
    match text.parse::<u32>() {
        _ if text == "auto" => Ok(Level::Auto),
        Ok(level @ 1..=12) => Ok(Level::Fixed(level)),
        _ => Err(Usage::new(format!(
            "{}: invalid level \"{text}\"",
            values.name("level")
        ))
        .hint("Use auto or 1 to 12.")
        .into()),
    }
}

fn jobs(values: &Values) -> anyhow::Result<usize> {
    let Some(text) = values.text("jobs")? else {
        return Ok(std::thread::available_parallelism()
            .map_or(2, usize::from)
            .min(64));
    };
    text.parse::<usize>()
        .ok()
        .filter(|jobs| (1..=256).contains(jobs))
        .ok_or_else(|| {
            Usage::new(format!(
                "{}: invalid number \"{text}\"",
                values.name("jobs")
            ))
            .hint("Use 1 to 256.")
            .into()
        })
}

fn database_url(
    values: &Values,
    env: &dyn Fn(&str) -> Option<OsString>,
) -> anyhow::Result<Option<Secret>> {
    if let Some(url) = values.text("database-url")? {
        return Ok(Some(Secret::new(url)));
    }
    match env("DATABASE_URL").filter(|url| !url.is_empty()) {
        None => Ok(None),
        Some(url) => match url.into_string() {
            Ok(url) => Ok(Some(Secret::new(url))),
            Err(_) => Err(Usage::new("DATABASE_URL is not valid UTF-8").into()),
        },
    }
}

fn remote(values: &Values) -> anyhow::Result<Option<Remote>> {
    let Some(url) = values.text("remote")? else {
        for setting in ["s3-endpoint", "s3-sse", "s3-kms-key-id", "s3-storage-class"] {
            if values.is_flag(setting) {
                return Err(Usage::new(format!("--{setting} needs --remote"))
                    .hint("Add --remote s3://BUCKET/PREFIX.")
                    .into());
            }
        }
        return Ok(None);
    };
    let endpoint = values.text("s3-endpoint")?;
    Ok(Some(Remote {
        url,
        path_style: values.switch("s3-path-style", endpoint.is_some())?,
        endpoint,
        region: values.text("s3-region")?,
        sse: values.text("s3-sse")?,
        kms_key_id: values.text("s3-kms-key-id")?,
        storage_class: values.text("s3-storage-class")?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;
    use crate::error;

    fn resolve(args: &[&str], env: &[(&str, &str)]) -> anyhow::Result<Config> {
        let matches = cli::command()
            .try_get_matches_from(["backup-action"].iter().chain(args))
            .unwrap();
        let (name, matches) = matches.subcommand().unwrap();
        Config::resolve(name, matches, &|wanted| {
            env.iter()
                .find(|(name, _)| *name == wanted)
                .map(|(_, value)| OsString::from(value))
        })
    }

    fn with_file(text: &str, args: &[&str]) -> anyhow::Result<Config> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("backup-action.toml");
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap().to_owned();
        resolve(&[args, &["--config", &file]].concat(), &[])
    }

    #[test]
    fn flag_beats_environment_beats_file_beats_default() {
        let env = [("BACKUP_ACTION_LEVEL", "3"), ("BACKUP_ACTION_JOBS", "")];
        assert_eq!(
            resolve(&["gate", "--level", "9"], &env).unwrap().level,
            Level::Fixed(9)
        );
        assert_eq!(resolve(&["gate"], &env).unwrap().level, Level::Fixed(3));
        assert_eq!(resolve(&["gate"], &[]).unwrap().level, Level::Auto);
        assert_eq!(
            with_file("level = 5", &["gate"]).unwrap().level,
            Level::Fixed(5)
        );
        assert_eq!(
            with_file("level = 5", &["gate", "--level", "2"])
                .unwrap()
                .level,
            Level::Fixed(2)
        );
        assert!(with_file("dry-run = true", &["gate"]).unwrap().dry_run);
        assert!(
            !with_file("dry-run = true", &["gate", "--dry-run=false"])
                .unwrap()
                .dry_run
        );
    }

    #[test]
    fn every_mistake_is_a_usage_error_that_names_its_place() {
        for (result, wanted) in [
            (with_file("levle = 5", &["gate"]), "unknown key \"levle\""),
            (
                with_file("[checks]\nclient-patchd = \"block\"", &["gate"]),
                "unknown check \"client-patchd\"",
            ),
            (
                with_file("[checks]\nclient-patched = \"no\"", &["gate"]),
                "invalid value \"no\"",
            ),
            (
                with_file("[checks]\ndump-exit = \"warn\"", &["gate"]),
                "cannot be turned into a warning",
            ),
            (with_file("database-url = \"x\"", &["gate"]), "is a secret"),
            (with_file("level = ", &["gate"]), "not valid TOML"),
            (
                with_file("dry-run = \"yes\"", &["gate"]),
                "must be true or false",
            ),
            (with_file("local = [1.5]", &["gate"]), "must be a string"),
            (
                resolve(&["gate", "--level", "13"], &[]),
                "--level: invalid level \"13\"",
            ),
            (
                resolve(&["gate"], &[("BACKUP_ACTION_TIMEOUT", "7x")]),
                "BACKUP_ACTION_TIMEOUT: invalid duration",
            ),
            (
                resolve(&["gate", "--timeout", "0s"], &[]),
                "invalid duration",
            ),
            (resolve(&["gate", "--jobs", "0"], &[]), "invalid number"),
            (resolve(&["gate", "--local", ""], &[]), "--local is empty"),
            (
                resolve(&["gate", "--s3-endpoint", "http://x"], &[]),
                "--s3-endpoint needs --remote",
            ),
            (
                resolve(&["gate", "--config", "/does/not/exist.toml"], &[]),
                "could not read configuration file",
            ),
            (
                resolve(&["gate", "--check", "lock-budget"], &[]),
                "invalid value \"lock-budget\"",
            ),
        ] {
            let error = result.err().unwrap_or_else(|| panic!("accepted: {wanted}"));
            assert!(error::is_usage(&error), "{error:#}");
            assert!(
                error::one_line(&error).contains(wanted),
                "{error:#} lacks {wanted}"
            );
        }
    }

    #[test]
    fn retention_is_a_section_or_flat_keys_and_typos_are_refused() {
        use crate::retention::Limit;
        use jiff::SignedDuration;
        let days = |days: i64| Limit::Age(SignedDuration::from_hours(24 * days));
        let config = with_file(
            "[retention]\nlocal = \"10d\"\nremote = \"6w\"\narchive = \"forever\"\nmode = \"lifecycle\"\nmin-keep = 3",
            &["gate"],
        );
        let retention = config.unwrap().retention;
        assert_eq!(retention.mode, RetentionMode::Lifecycle);
        for (args, wanted) in [
            (
                ["--local", "/x", "--retention-mode", "lifecycle"],
                "needs --remote",
            ),
            (
                ["--all-clusters", "--local", "/x", "--cluster=prod"],
                "contradict",
            ),
        ] {
            let error = resolve(&[&["prune"][..], &args].concat(), &[]).unwrap_err();
            assert!(error::is_usage(&error));
            assert!(error::one_line(&error).contains(wanted), "{error:#}");
        }
        let policy = retention.policy;
        assert_eq!((policy.local, policy.remote), (days(10), days(42)));
        assert_eq!((policy.archive, policy.min_keep), (Limit::Forever, 3));
        let flat = with_file("retention-local = \"10d\"", &["prune"]).unwrap();
        assert_eq!(flat.retention.policy.local, days(10));
        let defaults = resolve(&["gate"], &[]).unwrap().retention.policy;
        assert_eq!((defaults.local, defaults.remote), (days(7), days(30)));
        assert_eq!((defaults.archive, defaults.min_keep), (days(365), 2));
        let off = resolve(&["gate", "--retention-archive", "off"], &[]).unwrap();
        assert!(!off.retention.policy.archiving);
        for (given, hint) in [
            ("7m", "Write 7d for 7 days."),
            ("7", "Write 7d for 7 days."),
            ("24h", "Write 24d"),
            ("0d", "at least one day"),
            ("-7d", "at least one day"),
            ("d", "at least one day"),
            ("1000y", "at most 100 years"),
            ("99999999999999999999d", "at most 100 years"),
        ] {
            let arg = format!("--retention-local={given}");
            let error = resolve(&["prune", &arg], &[]).unwrap_err();
            assert!(error::is_usage(&error), "{given}");
            assert!(
                error::hint(&error).unwrap().contains(hint),
                "{given}: {error:#}"
            );
        }
        for (file, says) in [
            (
                "[retention]\nlocl = \"7d\"",
                "unknown key \"retention.locl\"",
            ),
            ("[retention]\nlocal = \"\"", "is empty"),
            ("retention = 7", "\"retention\" is not a table"),
            (
                "[retention]\nlocal = \"7d\"\n\n[retention.x]\ny = 1",
                "unknown key \"retention.x\"",
            ),
            (
                "retention-local = \"7d\"\n[retention]\nlocal = \"8d\"",
                "is set twice",
            ),
            ("[retention]\nmin-keep = 0", "invalid number \"0\""),
        ] {
            let error = with_file(file, &["prune"]).unwrap_err();
            assert!(error::is_usage(&error), "{file}");
            assert!(error::one_line(&error).contains(says), "{file}: {error:#}");
        }
    }

    #[test]
    fn the_nearest_name_is_offered() {
        let error = with_file("levle = 5", &["gate"]).unwrap_err();
        assert_eq!(
            error::hint(&error).as_deref(),
            Some("Did you mean \"level\"?")
        );
    }

    #[test]
    fn lists_come_from_flags_lines_and_arrays() {
        let args = ["gate", "--require-schema", "a", "--require-schema", "b"];
        assert_eq!(resolve(&args, &[]).unwrap().required_schemas, ["a", "b"]);
        let env = [("BACKUP_ACTION_REQUIRE_SCHEMA", "a\n\n b \n")];
        assert_eq!(
            resolve(&["gate"], &env).unwrap().required_schemas,
            ["a", "b"]
        );
        assert_eq!(
            with_file("require-schema = [\"a\", \"b\"]", &["gate"])
                .unwrap()
                .required_schemas,
            ["a", "b"]
        );
    }

    #[test]
    fn sizes_and_percentages_are_read_or_refused_with_their_place() {
        let limits = |args: &[&str]| {
            resolve(&[&["gate"], args].concat(), &[])
                .unwrap()
                .history
                .limits
        };
        let set = limits(&[
            "--size-floor",
            "500MB",
            "--size-floor",
            "nostromo.a=b=1kB",
            "--max-growth-percent",
            "120%",
            "--shrink-floor",
            "0",
            "--accept-size-change",
            "all",
        ]);
        assert_eq!(set.floors[0].bytes, 500_000_000);
        assert_eq!(set.floors[1].part.as_deref(), Some("nostromo.a=b"));
        assert_eq!((set.max_growth_percent, set.shrink_floor_bytes), (120, 0));
        assert_eq!(set.accepted, ["all"]);
        let default = limits(&[]);
        assert_eq!(
            (default.max_growth_percent, default.max_shrink_percent),
            (50, 50)
        );
        assert_eq!(
            (default.growth_floor_bytes, default.shrink_floor_bytes),
            (50_000_000, 10_000_000)
        );
        for (args, says) in [
            (
                ["gate", "--size-floor", "=1MB"],
                "--size-floor: invalid size \"=1MB\"",
            ),
            (
                ["gate", "--size-floor", "central"],
                "--size-floor: invalid size \"central\"",
            ),
            (
                ["gate", "--growth-floor", "10X"],
                "--growth-floor: invalid size \"10X\"",
            ),
            (
                ["gate", "--max-shrink-percent", "100"],
                "--max-shrink-percent: invalid percentage \"100\"",
            ),
            (
                ["gate", "--max-growth-percent", "0"],
                "--max-growth-percent: invalid percentage \"0\"",
            ),
            (
                ["history", "--since", "yesterday"],
                "--since: invalid time \"yesterday\"",
            ),
        ] {
            let error = resolve(&args, &[]).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            assert!(error::hint(&error).is_some(), "{args:?}");
        }
    }

    #[test]
    fn the_database_url_is_not_printed() {
        let config = resolve(&["gate", "--database-url", "postgres://u:hunter2@h/d"], &[]).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}

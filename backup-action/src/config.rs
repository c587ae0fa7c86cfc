//! Flags, environment and file → one validated [`Config`]. Each value remembers where it came from,
//! so that an error names the flag, the variable or the key. Reads the configuration file; no other
//! I/O.

use crate::check::{CheckId, Severity};
use crate::cli;
use crate::error::Usage;
use crate::postgres::args;
use crate::postgres::preflight::RolePasswords;
use crate::secret::Secret;
use crate::settings::Setting;
use anyhow::Context;
use clap::ArgMatches;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file that is read when it is there and no other is named.
pub const DEFAULT_FILE: &str = ".github/backup-action.toml";

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
    /// Where PostgreSQL's programs are.
    pub pg_bin_dir: Option<PathBuf>,
    /// The user of the operating system that runs them.
    pub sudo_user: Option<String>,
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

/// What each failing check does.
#[derive(Clone, Debug, Default)]
pub struct Severities(BTreeMap<CheckId, Severity>);

impl Severities {
    /// The configured severity, else the check's own.
    pub fn of(&self, id: CheckId) -> Severity {
        self.0
            .get(&id)
            .copied()
            .unwrap_or_else(|| id.default_severity())
    }
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
        let mut values = Values::collect(command, matches, env)?;
        let severities = values.severities()?;
        let config = Config {
            command: command.to_owned(),
            backup: match matches.try_get_one::<String>("backup") {
                Ok(Some(backup)) => backup.clone(),
                Ok(None) | Err(_) => "latest".to_owned(),
            },
            database_url: values.database_url(env)?,
            cluster: values.text("cluster")?,
            local: values.text("local")?.map(PathBuf::from),
            remote: values.remote()?,
            pg_bin_dir: values.text("pg-bin-dir")?.map(PathBuf::from),
            sudo_user: values.text("sudo-user")?,
            role_passwords: values.word(
                "role-passwords",
                &[
                    ("auto", RolePasswords::Auto),
                    ("include", RolePasswords::Include),
                    ("exclude", RolePasswords::Exclude),
                ],
            )?,
            pg_dumpall_args: args::check_extra(&values.list("pg-dumpall-arg"))?,
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
            level: values.level()?,
            jobs: values.jobs()?,
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
        };
        Ok(config)
    }
}

/// Where a value came from, for messages.
#[derive(Clone, Debug)]
enum Origin {
    Flag,
    Environment,
    File(PathBuf),
}

struct Values {
    command: String,
    /// Setting → its values and where they came from.
    given: BTreeMap<&'static str, (Vec<String>, Origin)>,
    /// `[checks]` of the file.
    file_checks: Vec<(String, String)>,
    file: PathBuf,
}

impl Values {
    fn collect(
        command: &str,
        matches: &ArgMatches,
        env: &dyn Fn(&str) -> Option<OsString>,
    ) -> anyhow::Result<Values> {
        let mut values = Values {
            command: command.to_owned(),
            given: BTreeMap::new(),
            file_checks: Vec::new(),
            file: PathBuf::from(DEFAULT_FILE),
        };
        for setting in cli::settings_of(command) {
            if let Some(given) = cli::given(matches, setting) {
                values.given.insert(setting.name, (given, Origin::Flag));
            } else if let Some(given) = from_environment(setting, env)? {
                values
                    .given
                    .insert(setting.name, (given, Origin::Environment));
            }
        }
        let named = values.text("config")?.map(PathBuf::from);
        let file = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
        if named.is_some() || file.exists() {
            values.read_file(&file)?;
        }
        Ok(values)
    }

    fn read_file(&mut self, path: &Path) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            anyhow::Error::new(
                Usage::new(format!(
                    "could not read configuration file {}: {error}",
                    path.display()
                ))
                .hint("Name an existing file with --config, or leave it out."),
            )
        })?;
        let table: toml::Table = toml::from_str(&text).map_err(|error| {
            anyhow::Error::new(
                Usage::new(format!(
                    "configuration file {} is not valid TOML: {}",
                    path.display(),
                    error.message()
                ))
                .hint(match error.span() {
                    Some(span) => format!(
                        "Look at line {}.",
                        text[..span.start.min(text.len())].lines().count().max(1)
                    ),
                    None => "See the README for an example.".to_owned(),
                }),
            )
        })?;
        self.file = path.to_owned();
        for (key, value) in table {
            if key == "checks" {
                self.read_checks(value)?;
                continue;
            }
            let Some(setting) = crate::settings::SETTINGS
                .iter()
                .find(|setting| setting.name == key)
            else {
                return Err(unknown_key(&key, path));
            };
            if setting.secret {
                return Err(Usage::new(format!(
                    "configuration file {}: \"{key}\" is a secret",
                    path.display()
                ))
                .hint(format!(
                    "Pass it in the environment variable {}.",
                    setting.env
                ))
                .into());
            }
            let values = file_values(setting, value)
                .with_context(|| format!("configuration file {}", path.display()))?;
            // Other commands share the file: what this command does not take is only checked for its form.
            if setting.commands.contains(&self.command.as_str()) {
                self.given
                    .entry(setting.name)
                    .or_insert((values, Origin::File(path.to_owned())));
            }
        }
        Ok(())
    }

    fn read_checks(&mut self, value: toml::Value) -> anyhow::Result<()> {
        let toml::Value::Table(table) = value else {
            return Err(Usage::new(format!(
                "configuration file {}: \"checks\" is not a table",
                self.file.display()
            ))
            .hint("Write it as [checks] with lines such as client-patched = \"block\".")
            .into());
        };
        for (id, severity) in table {
            self.file_checks.push((
                id,
                severity
                    .as_str()
                    .map(str::to_owned)
                    .unwrap_or_else(|| format!("{severity:?}")),
            ));
        }
        Ok(())
    }

    /// Where a setting's value came from, as the user knows it.
    fn name(&self, setting: &str) -> String {
        match self.given.get(setting) {
            Some((_, Origin::Environment)) => {
                format!("BACKUP_ACTION_{}", setting.to_uppercase().replace('-', "_"))
            }
            Some((_, Origin::File(path))) => format!("\"{setting}\" in {}", path.display()),
            Some((_, Origin::Flag)) | None => format!("--{setting}"),
        }
    }

    fn text(&self, setting: &str) -> anyhow::Result<Option<String>> {
        match self.given.get(setting) {
            None => Ok(None),
            Some((values, _)) => match values.as_slice() {
                [one] if one.trim().is_empty() => {
                    Err(Usage::new(format!("{} is empty", self.name(setting))).into())
                }
                [one] => Ok(Some(one.clone())),
                _ => Err(Usage::new(format!("{} takes one value", self.name(setting))).into()),
            },
        }
    }

    fn list(&self, setting: &str) -> Vec<String> {
        self.given
            .get(setting)
            .map(|(values, _)| values.clone())
            .unwrap_or_default()
    }

    fn switch(&self, setting: &str, default: bool) -> anyhow::Result<bool> {
        match self.text(setting)?.as_deref() {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(Usage::new(format!(
                "{}: invalid value \"{other}\"",
                self.name(setting)
            ))
            .hint("Use true or false.")
            .into()),
        }
    }

    /// One of a few words; the first is the default.
    fn word<T: Copy>(&self, setting: &str, words: &[(&str, T)]) -> anyhow::Result<T> {
        let Some(given) = self.text(setting)? else {
            return Ok(words[0].1);
        };
        words
            .iter()
            .find(|(word, _)| *word == given)
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                Usage::new(format!("{}: invalid value \"{given}\"", self.name(setting)))
                    .hint(format!("Use one of: {}.", known.join(", ")))
                    .into()
            })
    }

    fn duration(&self, setting: &str, default: &str) -> anyhow::Result<Duration> {
        let text = self.text(setting)?.unwrap_or_else(|| default.to_owned());
        parse_duration(&text).ok_or_else(|| {
            Usage::new(format!(
                "{}: invalid duration \"{text}\"",
                self.name(setting)
            ))
            .hint("Use a whole number above 0 with a unit, such as 90s, 10m, 6h or 1d.")
            .into()
        })
    }

    fn level(&self) -> anyhow::Result<Level> {
        let Some(text) = self.text("level")? else {
            return Ok(Level::Auto);
        };
        match text.parse::<u32>() {
            _ if text == "auto" => Ok(Level::Auto),
            Ok(level @ 1..=12) => Ok(Level::Fixed(level)),
            _ => Err(
                Usage::new(format!("{}: invalid level \"{text}\"", self.name("level")))
                    .hint("Use auto or 1 to 12.")
                    .into(),
            ),
        }
    }

    fn jobs(&self) -> anyhow::Result<usize> {
        let Some(text) = self.text("jobs")? else {
            return Ok(std::thread::available_parallelism()
                .map_or(2, usize::from)
                .min(64));
        };
        text.parse::<usize>()
            .ok()
            .filter(|jobs| (1..=256).contains(jobs))
            .ok_or_else(|| {
                Usage::new(format!("{}: invalid number \"{text}\"", self.name("jobs")))
                    .hint("Use 1 to 256.")
                    .into()
            })
    }

    fn database_url(
        &self,
        env: &dyn Fn(&str) -> Option<OsString>,
    ) -> anyhow::Result<Option<Secret>> {
        if let Some(url) = self.text("database-url")? {
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

    fn remote(&self) -> anyhow::Result<Option<Remote>> {
        let Some(url) = self.text("remote")? else {
            for setting in ["s3-endpoint", "s3-sse", "s3-kms-key-id", "s3-storage-class"] {
                if let Some((_, Origin::Flag)) = self.given.get(setting) {
                    return Err(Usage::new(format!("--{setting} needs --remote"))
                        .hint("Add --remote s3://BUCKET/PREFIX.")
                        .into());
                }
            }
            return Ok(None);
        };
        let endpoint = self.text("s3-endpoint")?;
        Ok(Some(Remote {
            url,
            path_style: self.switch("s3-path-style", endpoint.is_some())?,
            endpoint,
            region: self.text("s3-region")?,
            sse: self.text("s3-sse")?,
            kms_key_id: self.text("s3-kms-key-id")?,
            storage_class: self.text("s3-storage-class")?,
        }))
    }

    fn severities(&mut self) -> anyhow::Result<Severities> {
        let mut severities = BTreeMap::new();
        let from_flags: Vec<(String, String)> = self
            .list("check")
            .iter()
            .map(|item| {
                item.split_once('=')
                    .map(|(id, word)| (id.trim().to_owned(), word.trim().to_owned()))
                    .ok_or_else(|| {
                        anyhow::Error::new(
                            Usage::new(format!("{}: invalid value \"{item}\"", self.name("check")))
                                .hint("Write ID=warn or ID=block, such as client-patched=block."),
                        )
                    })
            })
            .collect::<anyhow::Result<_>>()?;
        let file = format!("[checks] in {}", self.file.display());
        let check = self.name("check");
        let all = self
            .file_checks
            .iter()
            .map(|item| (item, &file))
            .chain(from_flags.iter().map(|item| (item, &check)));
        for ((id, word), place) in all {
            let known = CheckId::ALL
                .iter()
                .copied()
                .find(|check| check.id() == id)
                .ok_or_else(|| {
                    anyhow::Error::new(Usage::new(format!("{place}: unknown check \"{id}\"")).hint(
                        did_you_mean(id, CheckId::ALL.iter().map(|check| check.id())),
                    ))
                })?;
            let severity = match word.as_str() {
                "warn" => Severity::Warn,
                "block" => Severity::Block,
                other => {
                    return Err(Usage::new(format!(
                        "{place}: check {id}: invalid value \"{other}\""
                    ))
                    .hint("Use warn or block.")
                    .into());
                }
            };
            if severity == Severity::Warn && !known.may_warn() {
                return Err(Usage::new(format!(
                    "{place}: check {id} cannot be turned into a warning"
                ))
                .hint("Without it \"passed\" would mean nothing; leave it at block.")
                .into());
            }
            severities.insert(known, severity);
        }
        Ok(Severities(severities))
    }
}

fn from_environment(
    setting: &Setting,
    env: &dyn Fn(&str) -> Option<OsString>,
) -> anyhow::Result<Option<Vec<String>>> {
    let Some(value) = env(setting.env).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let value = value.into_string().map_err(|_| {
        anyhow::Error::new(Usage::new(format!("{} is not valid UTF-8", setting.env)))
    })?;
    if !setting.list {
        return Ok(Some(vec![value]));
    }
    let items: Vec<_> = value
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    Ok((!items.is_empty()).then_some(items))
}

fn file_values(setting: &Setting, value: toml::Value) -> anyhow::Result<Vec<String>> {
    let wrong = |wanted: &str| {
        anyhow::Error::new(Usage::new(format!("\"{}\" must be {wanted}", setting.name)))
    };
    let scalar = |value: &toml::Value| match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(yes) => Some(yes.to_string()),
        _ => None,
    };
    match (&value, setting.list) {
        (toml::Value::Array(items), true) => items
            .iter()
            .map(scalar)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| wrong("a list of strings")),
        (_, true) => scalar(&value)
            .map(|one| vec![one])
            .ok_or_else(|| wrong("a list of strings")),
        (toml::Value::Boolean(_), false) if !setting.value.is_empty() => Err(wrong("a string")),
        (_, false) if setting.value.is_empty() && !matches!(value, toml::Value::Boolean(_)) => {
            Err(wrong("true or false"))
        }
        (_, false) => scalar(&value)
            .map(|one| vec![one])
            .ok_or_else(|| wrong("a string")),
    }
}

fn unknown_key(key: &str, path: &Path) -> anyhow::Error {
    let names = crate::settings::SETTINGS
        .iter()
        .filter(|setting| !setting.secret)
        .map(|setting| setting.name)
        .chain(["checks"]);
    Usage::new(format!(
        "configuration file {}: unknown key \"{key}\"",
        path.display()
    ))
    .hint(did_you_mean(key, names))
    .into()
}

/// The nearest known names, as a hint.
pub fn did_you_mean<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> String {
    let best = known
        .map(|name| (strsim::jaro_winkler(typed, name), name))
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match best {
        Some((likeness, name)) if likeness > 0.7 => format!("Did you mean \"{name}\"?"),
        _ => "The README lists the known names.".to_owned(),
    }
}

/// A whole number above 0 with the unit `s`, `m`, `h` or `d`; no unit means seconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (digits, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let seconds_per_unit = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let seconds = digits.parse::<u64>().ok()?.checked_mul(seconds_per_unit)?;
    // A century is longer than any run; it keeps additions to the clock from overflowing.
    (1..=100 * 366 * 86_400)
        .contains(&seconds)
        .then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn the_database_url_is_not_printed() {
        let config = resolve(&["gate", "--database-url", "postgres://u:hunter2@h/d"], &[]).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn durations_have_a_unit_and_a_bound() {
        assert_eq!(parse_duration("90"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("5m"), Some(Duration::from_secs(300)));
        assert_eq!(parse_duration("1d"), Some(Duration::from_secs(86_400)));
        for bad in [
            "",
            "m",
            "-1s",
            "1.5h",
            "7w",
            "99999999999999999999s",
            "99999999999d",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}

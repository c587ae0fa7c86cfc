//! Where each value comes from: the command line, the environment, the configuration file. Reads
//! that file; knows the form of a value (text, list, switch, word, duration), not its meaning.

use super::form::{did_you_mean, parse_duration};
use crate::cli;
use crate::error::Usage;
use crate::settings::Setting;
use anyhow::Context;
use clap::ArgMatches;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file that is read when it is there and no other is named.
pub(super) const DEFAULT_FILE: &str = ".github/backup-action.toml";

/// Tables of the file whose keys are settings without the name of the table in front.
const SECTIONS: &[&str] = &["retention"];

/// More than anybody writes by hand.
const MAX_BYTES: u64 = 1024 * 1024;

/// Where a value came from, for messages.
#[derive(Clone, Debug)]
enum Origin {
    Flag,
    Environment,
    /// The environment of a step of the Action, which makes it from its inputs.
    Input,
    File(PathBuf),
}

/// What was given for each setting of one command.
pub(super) struct Values {
    command: String,
    /// Setting → its values and where they came from.
    given: BTreeMap<&'static str, (Vec<String>, Origin)>,
    /// `[checks]` of the file.
    pub(super) file_checks: Vec<(String, String)>,
    /// `[drill]` of the file.
    pub(super) file_drill: Option<toml::Table>,
    pub(super) file: PathBuf,
    /// The settings that the file has, so that none is there twice.
    file_keys: BTreeSet<&'static str>,
}

impl Values {
    pub(super) fn collect(
        command: &str,
        matches: &ArgMatches,
        env: &dyn Fn(&str) -> Option<OsString>,
    ) -> anyhow::Result<Values> {
        let mut values = Values {
            command: command.to_owned(),
            given: BTreeMap::new(),
            file_checks: Vec::new(),
            file_drill: None,
            file: PathBuf::from(DEFAULT_FILE),
            file_keys: BTreeSet::new(),
        };
        // The runner says this in a composite action only.
        let in_action = env("GITHUB_ACTION_PATH").is_some_and(|path| !path.is_empty());
        for setting in cli::settings_of(command) {
            if let Some(given) = cli::given(matches, setting) {
                values.given.insert(setting.name, (given, Origin::Flag));
            } else if let Some(given) = from_environment(setting, env)? {
                let origin = match in_action && setting.action {
                    true => Origin::Input,
                    false => Origin::Environment,
                };
                values.given.insert(setting.name, (given, origin));
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
        let text = read_config(path).map_err(|error| {
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
                    None => "See docs/reference.md for an example.".to_owned(),
                }),
            )
        })?;
        self.file = path.to_owned();
        for (key, value) in table {
            if key == "checks" {
                self.read_checks(value)?;
                continue;
            }
            if key == "drill" {
                self.file_drill = Some(self.table(&key, value)?);
                continue;
            }
            if SECTIONS.contains(&&*key) {
                for (name, value) in self.table(&key, value)? {
                    self.read_key(&format!("{key}-{name}"), &format!("{key}.{name}"), value)?;
                }
                continue;
            }
            self.read_key(&key, &key, value)?;
        }
        Ok(())
    }

    /// One setting of the file, which wrote it as `key`.
    fn read_key(&mut self, name: &str, key: &str, value: toml::Value) -> anyhow::Result<()> {
        let path = self.file.clone();
        let Some(setting) = crate::settings::SETTINGS
            .iter()
            .find(|setting| setting.name == name)
        else {
            return Err(unknown_key(key, &path));
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
        if !self.file_keys.insert(setting.name) {
            return Err(Usage::new(format!(
                "configuration file {}: \"{key}\" is set twice",
                path.display()
            ))
            .hint(format!(
                "Write it once, as {} or in a section.",
                setting.name
            ))
            .into());
        }
        // Other commands share the file: what this command does not take is only checked for its form.
        if setting.is_of(&self.command) {
            self.given
                .entry(setting.name)
                .or_insert((values, Origin::File(path)));
        }
        Ok(())
    }

    fn read_checks(&mut self, value: toml::Value) -> anyhow::Result<()> {
        for (id, severity) in self.table("checks", value)? {
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

    fn table(&self, key: &str, value: toml::Value) -> anyhow::Result<toml::Table> {
        let example = match key {
            "checks" => "[checks] with lines such as client-patched = \"block\"",
            "retention" => "[retention] with lines such as local = \"7d\"",
            _ => "[[drill.question]] and [[drill.acknowledge]]",
        };
        match value {
            toml::Value::Table(table) => Ok(table),
            _ => Err(Usage::new(format!(
                "configuration file {}: \"{key}\" is not a table",
                self.file.display()
            ))
            .hint(format!("Write it as {example}."))
            .into()),
        }
    }

    /// Where a setting's value came from, as the user knows it.
    pub(super) fn name(&self, setting: &str) -> String {
        match self.given.get(setting) {
            Some((_, Origin::Environment)) => {
                format!("BACKUP_ACTION_{}", setting.to_uppercase().replace('-', "_"))
            }
            Some((_, Origin::Input)) => format!("input {setting}"),
            Some((_, Origin::File(path))) => format!("\"{setting}\" in {}", path.display()),
            Some((_, Origin::Flag)) | None => format!("--{setting}"),
        }
    }

    /// Whether the setting was given on the command line.
    pub(super) fn is_flag(&self, setting: &str) -> bool {
        matches!(self.given.get(setting), Some((_, Origin::Flag)))
    }

    /// The one value of a setting.
    pub(super) fn text(&self, setting: &str) -> anyhow::Result<Option<String>> {
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

    pub(super) fn list(&self, setting: &str) -> Vec<String> {
        self.given
            .get(setting)
            .map(|(values, _)| values.clone())
            .unwrap_or_default()
    }

    pub(super) fn switch(&self, setting: &str, default: bool) -> anyhow::Result<bool> {
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
    pub(super) fn word<T: Copy>(&self, setting: &str, words: &[(&str, T)]) -> anyhow::Result<T> {
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

    pub(super) fn duration(&self, setting: &str, default: &str) -> anyhow::Result<Duration> {
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
}

/// The text of a regular file of at most [`MAX_BYTES`]: a pipe could keep the run waiting for ever.
fn read_config(path: &Path) -> std::io::Result<String> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    if metadata.len() > MAX_BYTES {
        return Err(std::io::Error::other("larger than 1 MiB"));
    }
    std::fs::read_to_string(path)
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
        .chain(["checks", "drill"])
        .chain(SECTIONS.iter().copied());
    Usage::new(format!(
        "configuration file {}: unknown key \"{key}\"",
        path.display()
    ))
    .hint(did_you_mean(key, names))
    .into()
}

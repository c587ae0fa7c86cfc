//! Every setting of every command, once: the flag, its environment variable, its key in the
//! configuration file, its default and its text. `--help`, action.yml and the table of docs/reference.md are
//! made from this list; nothing else names a setting.

mod aws;
mod backup;
mod github;
mod headings;
mod history;
mod lock;
mod notify;
mod reach;
mod restore;
mod retention;
mod workflow;

pub use headings::{heading, rank};

use std::sync::LazyLock;

/// The settings, in the order in which `--help` shows them.
pub static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
    [
        backup::SETTINGS,
        reach::SETTINGS,
        restore::SETTINGS,
        retention::SETTINGS,
        lock::SETTINGS,
        history::SETTINGS,
        notify::SETTINGS,
        github::SETTINGS,
        workflow::SETTINGS,
        aws::SETTINGS,
    ]
    .concat()
});

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
    /// What action.yml gives when the workflow gives nothing. Empty for nearly all: what the Action
    /// passes on would win over the configuration file.
    pub action_default: &'static str,
    /// Whether it may be given several times (in the file: a list; in the environment: one a line).
    pub list: bool,
    /// The commands that take it; empty for all.
    pub commands: &'static [&'static str],
}

impl Setting {
    /// Whether `command` takes it.
    pub fn is_of(&self, command: &str) -> bool {
        self.commands.is_empty() || self.commands.contains(&command)
    }
}

const EVERY: &[&str] = &[];
const GATE: &[&str] = &["gate"];

/// The commands that open stores.
const WITH_STORES: &[&str] = &[
    "gate",
    "verify",
    "list",
    "show",
    "extract",
    "restore",
    "drill",
    "verify-receipt",
    "annotate",
    "history",
    "prune",
    "doctor",
];

const PLAIN: Setting = Setting {
    name: "",
    env: "",
    value: "",
    default: "",
    help: "",
    secret: false,
    action: true,
    action_default: "",
    list: false,
    commands: GATE,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_variables_follow_one_rule() {
        let mut names = Vec::new();
        for setting in SETTINGS.iter() {
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

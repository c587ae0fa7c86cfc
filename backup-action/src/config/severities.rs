//! What a failing check does: `--check ID=warn` and `[checks]` of the file.

use super::form::did_you_mean;
use super::values::Values;
use crate::check::{CheckId, Severity};
use crate::error::Usage;
use std::collections::BTreeMap;

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

    /// The configured severity, else `otherwise`: for a command whose own purpose the check is.
    pub fn of_or(&self, id: CheckId, otherwise: Severity) -> Severity {
        self.0.get(&id).copied().unwrap_or(otherwise)
    }
}

pub(super) fn severities(values: &Values) -> anyhow::Result<Severities> {
    let mut severities = BTreeMap::new();
    let from_flags: Vec<(String, String)> = values
        .list("check")
        .iter()
        .map(|item| {
            item.split_once('=')
                .map(|(id, word)| (id.trim().to_owned(), word.trim().to_owned()))
                .ok_or_else(|| {
                    anyhow::Error::new(
                        Usage::new(format!(
                            "{}: invalid value \"{item}\"",
                            values.name("check")
                        ))
                        .hint("Write ID=warn or ID=block, such as client-patched=block."),
                    )
                })
        })
        .collect::<anyhow::Result<_>>()?;
    let file = format!("[checks] in {}", values.file.display());
    let check = values.name("check");
    let all = values
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
                return Err(
                    Usage::new(format!("{place}: check {id}: invalid value \"{other}\""))
                        .hint("Use warn or block.")
                        .into(),
                );
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

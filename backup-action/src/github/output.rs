//! The runner's files: step outputs and the job summary. The only file access of `github/`.

use super::action::OUTPUTS;
use crate::error::Explained;
use crate::report::Report;
use crate::report::words::{self, Ending};
use anyhow::Context;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The longest value that is written; all outputs of a job together may have 1 MiB.
pub const MAX_VALUE_BYTES: usize = 32 * 1024;

/// The step outputs of one run. Made by [`Outputs::begin`], which closes the gate; only
/// [`Outputs::finish`] opens it, as its last act.
#[derive(Debug)]
pub struct Outputs {
    path: PathBuf,
}

/// What a report does not hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra<'a> {
    /// Key of the receipt in the store.
    pub receipt_key: Option<&'a str>,
    /// Key of the manifest in the store.
    pub manifest_key: Option<&'a str>,
    /// The JSON report on this machine.
    pub report_path: Option<&'a Path>,
    /// The HTML report on this machine.
    pub html_path: Option<&'a Path>,
}

impl Outputs {
    /// Writes `passed=false`, before anything can go wrong: whatever ends the run later, the deploy
    /// job finds a closed gate.
    ///
    /// # Errors
    /// No file was named, or it cannot be written: the caller ends with exit code 3, since the
    /// deploy job reads it.
    pub fn begin(path: Option<&Path>) -> anyhow::Result<Outputs> {
        let path = path.ok_or_else(|| {
            Explained::new(
                "GITHUB_OUTPUT is not set although this is a step of GitHub Actions",
                "Pass the runner's environment on to backup-action; do not clear it with sudo or env -i.",
            )
        })?;
        let outputs = Outputs {
            path: path.to_owned(),
        };
        outputs.set("passed", "false")?;
        Ok(outputs)
    }

    /// Sets one output. A value above [`MAX_VALUE_BYTES`] is cut, with `…` at the end.
    ///
    /// # Errors
    /// The name is not one of [`OUTPUTS`], or the file cannot be written.
    pub fn set(&self, name: &str, value: &str) -> anyhow::Result<()> {
        anyhow::ensure!(
            OUTPUTS.iter().any(|(known, _)| *known == name),
            "output {name:?} is not declared in action.yml"
        );
        let block = block(name, value, &random_hex()?)?;
        append(&self.path, &block).map_err(|source| {
            Explained::new(
                format!("could not write step output {name} to {}", self.path.display()),
                "The deploy job reads the outputs, so the gate stays closed. Check free space and permissions on the runner.",
            )
            .caused_by(source)
            .into()
        })
    }

    /// Writes every output, `passed` last.
    ///
    /// # Errors
    /// The file cannot be written; `passed` is `false` then.
    pub fn finish(self, report: &Report, extra: Extra<'_>) -> anyhow::Result<()> {
        for (name, value) in values(report, extra) {
            self.set(name, &value)?;
        }
        Ok(())
    }
}

fn shown(path: Option<&Path>) -> String {
    path.map(|path| path.display().to_string())
        .unwrap_or_default()
}

/// The outputs of a report in the order in which they are written: `passed` is the last.
pub fn values(report: &Report, extra: Extra<'_>) -> Vec<(&'static str, String)> {
    let closed_by: Vec<&str> = report
        .checks
        .iter()
        .filter(|check| match check.outcome {
            crate::check::Outcome::Failed | crate::check::Outcome::NotChecked => true,
            crate::check::Outcome::Passed | crate::check::Outcome::Warned => false,
        })
        .map(|check| check.id.id())
        .collect();
    let mut values = vec![
        ("status", Ending::of(report).word().to_owned()),
        ("failed-checks", closed_by.join(",")),
        (
            "receipt-key",
            extra.receipt_key.unwrap_or_default().to_owned(),
        ),
        (
            "manifest-key",
            extra.manifest_key.unwrap_or_default().to_owned(),
        ),
        ("report-path", shown(extra.report_path)),
        ("html-path", shown(extra.html_path)),
        ("database-count", report.databases.len().to_string()),
        (
            "duration-seconds",
            format!("{:.1}", report.durations.total_seconds),
        ),
    ];
    if let Some(source) = &report.source {
        values.push(("server-version", source.server_version.clone()));
        values.push(("client-version", source.client_version.clone()));
    }
    // Without a published copy there is no archive that anyone should go and look for.
    if let Some(archive) = report
        .archive
        .as_ref()
        .filter(|_| words::copies_published(report) > 0)
    {
        values.push(("archive-key", archive.key.clone()));
        values.push(("archive-sha256", archive.archive_sha256.to_string()));
        values.push(("dump-sha256", archive.dump_sha256.to_string()));
        values.push(("archive-size-bytes", archive.archive_bytes.to_string()));
        values.push(("dump-size-bytes", archive.dump_bytes.to_string()));
    }
    let passed = match Ending::of(report) {
        Ending::Passed => "true",
        Ending::DryRun | Ending::Failed | Ending::Error | Ending::Interrupted => "false",
    };
    values.push(("passed", passed.to_owned()));
    values
}

/// Appends the job summary.
///
/// # Errors
/// The file cannot be written, or the text is above 1 MiB, which the runner would drop whole.
/// Never changes a verdict: the caller warns.
pub fn write_summary(path: &Path, markdown: &str) -> anyhow::Result<()> {
    anyhow::ensure!(
        markdown.len() <= 1024 * 1024,
        "job summary of {} bytes is above the runner's limit",
        markdown.len()
    );
    append(path, markdown)
        .with_context(|| format!("could not write the job summary to {}", path.display()))
}

/// One value of the file in heredoc form. The delimiter is random, so that no value can end itself
/// and set another output behind it.
fn block(name: &str, value: &str, random: &str) -> anyhow::Result<String> {
    let mut end = value.len().min(MAX_VALUE_BYTES);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let cut = if end < value.len() { "…" } else { "" };
    let value = &value[..end];
    let delimiter = format!("ghadelimiter_{random}");
    anyhow::ensure!(
        !value.contains(&delimiter),
        "output {name} contains its own delimiter"
    );
    Ok(format!("{name}<<{delimiter}\n{value}{cut}\n{delimiter}\n"))
}

fn append(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    // A block that a full disk cut has no delimiter: the runner then fails the step by itself.
    file.write_all(text.as_bytes())?;
    file.flush()?;
    Ok(())
}

/// 128 random bits as hexadecimal digits.
///
/// # Errors
/// The system gives none.
pub(super) fn random_hex() -> anyhow::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).context("could not get random bytes from the system")?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

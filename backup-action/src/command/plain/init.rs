//! `init`: from a few answers to the configuration file and the workflows. Writes all of them or
//! none, and never over a file that says something else.

use super::answers::Answers;
use super::files::{self, File};
use super::questions;
use crate::command::{ExitStatus, print, say};
use crate::error::Usage;
use crate::report::escape;
use anyhow::Context as _;
use clap::ArgMatches;
use std::fs;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

/// Runs the command.
pub(super) fn run(matches: &ArgMatches) -> anyhow::Result<ExitStatus> {
    let given = |name: &str| matches.get_one::<String>(name).cloned();
    let root = PathBuf::from(given("dir").unwrap_or_else(|| ".".to_owned()));
    if !root.join(".git").exists() {
        return Err(Usage::new(format!(
            "{} is not the root of a repository",
            root.display()
        ))
        .hint(
            "Run it where `git rev-parse --show-toplevel` says, or name that directory with --dir.",
        )
        .into());
    }
    let (yes, dry_run) = (matches.get_flag("yes"), matches.get_flag("dry-run"));
    let asks = !yes && !dry_run;
    if asks && !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(Usage::new("there is no terminal to ask on")
            .hint("Give the answers as flags, and --yes; `backup-action init --help` lists them.")
            .into());
    }
    let mut answers = from_flags(matches);
    if asks {
        questions::ask(&mut answers, &|name| {
            matches.contains_id(name) && given(name).is_some()
        })?;
    }
    answers.check()?;
    let files = files::files(&answers);
    if dry_run {
        for file in &files {
            print(&format!("# {}\n{}\n", file.path, file.text))?;
        }
        return Ok(ExitStatus::PASSED);
    }
    let missing = not_there_yet(&root, &files)?;
    if missing.is_empty() {
        say("Every file is there already; nothing to do.\n");
        return Ok(ExitStatus::PASSED);
    }
    if asks && !questions::agree(&missing)? {
        return Err(Usage::new("nothing was written")
            .hint("Run it again to answer otherwise.")
            .into());
    }
    write(&root, &missing)?;
    for file in &missing {
        say(&format!("wrote {}\n", file.path));
    }
    say(&next(&answers));
    Ok(ExitStatus::PASSED)
}

fn from_flags(matches: &ArgMatches) -> Answers {
    let given = |name: &str| matches.get_one::<String>(name).cloned();
    let otherwise = Answers::default();
    Answers {
        action_ref: given("action-ref").unwrap_or_default(),
        remote: given("remote"),
        local: given("local"),
        s3_endpoint: given("s3-endpoint"),
        s3_region: given("s3-region"),
        role: given("aws-role"),
        database_secret: given("database-secret").unwrap_or(otherwise.database_secret),
        deploy: given("deploy").unwrap_or(otherwise.deploy),
        branch: given("branch").unwrap_or(otherwise.branch),
        runner: given("runner").unwrap_or(otherwise.runner),
        drill_cron: given("drill-cron").unwrap_or(otherwise.drill_cron),
        slack: matches.get_flag("slack"),
        pr_size: matches.get_flag("pr-size"),
    }
}

/// The files that are not there; those that are must say the same already.
fn not_there_yet(root: &Path, files: &[File]) -> anyhow::Result<Vec<File>> {
    let (mut missing, mut others) = (Vec::new(), Vec::new());
    for file in files {
        match fs::read(root.join(file.path)) {
            Ok(text) if text == file.text.as_bytes() => {
                say(&format!("{} is there already\n", file.path))
            }
            Ok(_) => others.push(file.path),
            // A link that leads nowhere is there as well.
            Err(error)
                if error.kind() == ErrorKind::NotFound
                    && fs::symlink_metadata(root.join(file.path)).is_err() =>
            {
                missing.push(File {
                    path: file.path,
                    text: file.text.clone(),
                });
            }
            Err(error) => {
                return Err(error).with_context(|| format!("could not read {}", file.path));
            }
        }
    }
    if others.is_empty() {
        return Ok(missing);
    }
    Err(Usage::new(format!(
        "{} exists and says something else; nothing was written",
        others.join(", ")
    ))
    .hint("Compare with what --dry-run prints, or move the file away.")
    .into())
}

/// All or none: complete files first, under names of their own, then their names.
fn write(root: &Path, files: &[File]) -> anyhow::Result<()> {
    let mut ready = Vec::new();
    for file in files {
        let path = root.join(file.path);
        let dir = path.parent().unwrap_or(root);
        let failed = || format!("could not write {}", file.path);
        fs::create_dir_all(dir).with_context(failed)?;
        let mut draft = tempfile::Builder::new()
            .prefix(".backup-action-")
            .permissions(readable())
            .tempfile_in(dir)
            .with_context(failed)?;
        draft.write_all(file.text.as_bytes()).with_context(failed)?;
        draft.as_file().sync_all().with_context(failed)?;
        ready.push((path, draft));
    }
    let mut written: Vec<PathBuf> = Vec::new();
    for (path, draft) in ready {
        if let Err(error) = draft.persist_noclobber(&path) {
            for path in &written {
                if let Err(left) = fs::remove_file(path) {
                    say(&format!(
                        "warning: could not remove {}: {left}\n",
                        escape::terminal(&path.to_string_lossy())
                    ));
                }
            }
            return Err(error.error).with_context(|| format!("could not write {}", path.display()));
        }
        written.push(path);
    }
    Ok(())
}

/// What git would check out.
fn readable() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    fs::Permissions::from_mode(0o644)
}

fn next(answers: &Answers) -> String {
    let mut lines = vec![format!(
        "\nNext:\n  gh secret set {}          the URL of the database: postgresql://USER:PASSWORD@HOST:5432/postgres?sslmode=verify-full",
        answers.database_secret
    )];
    if answers.remote.is_some() && answers.role.is_none() {
        lines.push("  gh secret set BACKUP_KEY_ID && gh secret set BACKUP_KEY          the keys of the store".to_owned());
    }
    if answers.slack {
        lines.push("  gh secret set SLACK_WEBHOOK_URL".to_owned());
    }
    lines.push(
        "  backup-action doctor --workflow .github/workflows          after every change"
            .to_owned(),
    );
    lines.push("  git add .github && git commit && git push".to_owned());
    lines.join("\n") + "\n"
}

//! `init`: from a few answers to the configuration file and the workflows. Writes all of them or
//! none, and never over a file that says something else.

use super::files::{self, File};
use super::questions;
use crate::command::{ExitStatus, print, say};
use crate::error::Usage;
use crate::report::escape;
use crate::store::S3Config;
use anyhow::Context as _;
use clap::ArgMatches;
use std::fs;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

/// What was answered.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    pub(super) action_ref: String,
    pub(super) remote: Option<String>,
    pub(super) local: Option<String>,
    pub(super) s3_endpoint: Option<String>,
    pub(super) s3_region: Option<String>,
    pub(super) aws_role: Option<String>,
    pub(super) database_secret: String,
    pub(super) deploy: String,
    pub(super) branch: String,
    pub(super) runner: String,
    pub(super) drill_cron: String,
    pub(super) slack: bool,
    pub(super) pr_size: bool,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            action_ref: String::new(),
            remote: None,
            local: None,
            s3_endpoint: None,
            s3_region: None,
            aws_role: None,
            database_secret: "DATABASE_URL".to_owned(),
            deploy: "./deploy.sh".to_owned(),
            branch: "main".to_owned(),
            runner: "ubuntu-24.04".to_owned(),
            drill_cron: "43 4 * * 3".to_owned(),
            slack: false,
            pr_size: false,
        }
    }
}

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
        aws_role: given("aws-role"),
        database_secret: given("database-secret").unwrap_or(otherwise.database_secret),
        deploy: given("deploy").unwrap_or(otherwise.deploy),
        branch: given("branch").unwrap_or(otherwise.branch),
        runner: given("runner").unwrap_or(otherwise.runner),
        drill_cron: given("drill-cron").unwrap_or(otherwise.drill_cron),
        slack: matches.get_flag("slack"),
        pr_size: matches.get_flag("pr-size"),
    }
}

impl Answers {
    /// Whether every answer is what it says. Answers become parts of files that are run, so each may
    /// hold only what its kind holds.
    ///
    /// # Errors
    /// [`Usage`] with the flag of the first answer that is not.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        action_ref(&self.action_ref)?;
        if let Some(remote) = &self.remote {
            let parsed = S3Config::parse(remote).context("--remote")?;
            if let Some(endpoint) = &self.s3_endpoint {
                parsed.with_endpoint(endpoint).context("--s3-endpoint")?;
            }
        } else if let Some(name) = [
            ("--s3-endpoint", &self.s3_endpoint),
            ("--s3-region", &self.s3_region),
            ("--aws-role", &self.aws_role),
        ]
        .iter()
        .find_map(|(name, value)| value.as_ref().map(|_| *name))
        {
            return Err(Usage::new(format!("{name} needs --remote"))
                .hint("Add --remote s3://BUCKET/PREFIX.")
                .into());
        }
        match (&self.remote, &self.local) {
            (None, None) => {
                return Err(Usage::new("no store is named")
                    .hint(
                        "Add --remote s3://BUCKET/PREFIX, or --local DIR on a runner of your own.",
                    )
                    .into());
            }
            (None, Some(_)) if self.runner.starts_with("ubuntu-") => {
                return Err(Usage::new("--local alone keeps backups on a machine that is gone after the job")
                    .hint("Add --remote s3://BUCKET/PREFIX, or name a runner of your own with --runner self-hosted.")
                    .into());
            }
            _ => {}
        }
        let plain = |c: char, others: &str| c.is_ascii_alphanumeric() || others.contains(c);
        let words = |others: &'static str| {
            move |text: &str| !text.is_empty() && text.chars().all(|c| plain(c, others))
        };
        let no_tricks = |text: &str| {
            !text.trim().is_empty() && !text.chars().any(char::is_control) && !text.contains("${{")
        };
        one(
            "--local",
            self.local.as_deref(),
            &no_tricks,
            "Use the path of a directory, on one line.",
        )?;
        one(
            "--s3-endpoint",
            self.s3_endpoint.as_deref(),
            &no_tricks,
            "Use https://HOST.",
        )?;
        one(
            "--s3-region",
            self.s3_region.as_deref(),
            &words("-"),
            "Use a region such as eu-west-1.",
        )?;
        let is_role = |text: &str| {
            text.starts_with("arn:aws")
                && text.contains(":iam::")
                && text.contains(":role/")
                && words(":/+=,.@_-")(text)
        };
        one(
            "--aws-role",
            self.aws_role.as_deref(),
            &is_role,
            "Use arn:aws:iam::ACCOUNT:role/NAME.",
        )?;
        let is_secret = |text: &str| {
            words("_")(text)
                && !text.starts_with(|c: char| c.is_ascii_digit())
                && !text.to_uppercase().starts_with("GITHUB_")
        };
        one(
            "--database-secret",
            Some(&self.database_secret),
            &is_secret,
            "Use the name of a secret, such as DATABASE_URL; not the URL itself.",
        )?;
        one(
            "--deploy",
            Some(&self.deploy),
            &|text| no_tricks(text) && text.trim() == text,
            "Use a command of one line without ${{ }}, such as ./deploy.sh.",
        )?;
        let is_branch = |text: &str| {
            words("._/-")(text)
                && text.starts_with(|c: char| c.is_ascii_alphabetic())
                && !["true", "false", "null", "on", "off", "yes", "no"].contains(&text)
        };
        one(
            "--branch",
            Some(&self.branch),
            &is_branch,
            "Use the name of a branch, such as main.",
        )?;
        let is_label =
            |text: &str| words("._-")(text) && text.starts_with(|c: char| c.is_ascii_alphabetic());
        one(
            "--runner",
            Some(&self.runner),
            &is_label,
            "Use a label, such as ubuntu-24.04 or self-hosted.",
        )?;
        let is_cron =
            |text: &str| text.split(' ').count() == 5 && text.split(' ').all(words("*/,-"));
        one(
            "--drill-cron",
            Some(&self.drill_cron),
            &is_cron,
            "Use five fields, such as 43 4 * * 3.",
        )
    }
}

fn one(
    flag: &str,
    value: Option<&str>,
    is_good: &dyn Fn(&str) -> bool,
    hint: &str,
) -> anyhow::Result<()> {
    match value {
        Some(text) if !is_good(text) => Err(Usage::new(format!("{flag}: invalid value {text:?}"))
            .hint(hint)
            .into()),
        Some(_) | None => Ok(()),
    }
}

/// A full commit hash, since a tag can be moved; or a directory of the repository itself.
fn action_ref(text: &str) -> anyhow::Result<()> {
    let hint = "Give backup-action/backup-action@COMMIT with the full hash of a release, which `git ls-remote --tags https://github.com/backup-action/backup-action` lists, or ./DIR for a copy in this repository.";
    if text.is_empty() {
        return Err(Usage::new("--action-ref is missing").hint(hint).into());
    }
    let is_path = |text: &str| {
        text.chars()
            .all(|c| c.is_ascii_alphanumeric() || "._/-".contains(c))
            && !text.split('/').any(|part| part == "..")
    };
    let is_commit =
        |text: &str| text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_good = match text.split_once('@') {
        None => (text == "./" || text.starts_with("./")) && is_path(text),
        Some((name, commit)) => {
            name.split('/').count() >= 2
                && name
                    .split('/')
                    .all(|part| !part.is_empty() && !part.starts_with('.'))
                && is_path(name)
                && is_commit(commit)
        }
    };
    match is_good {
        true => Ok(()),
        false => Err(Usage::new(format!("--action-ref: invalid value {text:?}"))
            .hint(hint)
            .into()),
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
    if answers.remote.is_some() && answers.aws_role.is_none() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error;

    fn good() -> Answers {
        Answers {
            action_ref: "./".to_owned(),
            remote: Some("s3://company-backups/nostromo".to_owned()),
            ..Answers::default()
        }
    }

    #[test]
    fn hostile_answers_are_refused_by_name() {
        good().check().unwrap();
        let hostile = [
            "",
            " ",
            "a\nb: c",
            "${{ secrets.X }}",
            "x\u{1b}[31m",
            "x\" # y",
            "$(id)",
            "`id`",
            "a'b",
        ];
        let set: &[(&str, fn(&mut Answers, String))] = &[
            ("--action-ref", |a, v| a.action_ref = v),
            ("--s3-region", |a, v| a.s3_region = Some(v)),
            ("--aws-role", |a, v| a.aws_role = Some(v)),
            ("--database-secret", |a, v| a.database_secret = v),
            ("--branch", |a, v| a.branch = v),
            ("--runner", |a, v| a.runner = v),
            ("--drill-cron", |a, v| a.drill_cron = v),
        ];
        for (flag, set) in set {
            for value in hostile {
                let mut answers = good();
                set(&mut answers, value.to_owned());
                let error = answers.check().expect_err(&format!("{flag} {value:?}"));
                assert!(error::is_usage(&error) && error::hint(&error).is_some());
                assert!(error::one_line(&error).contains(flag), "{error:#}");
                assert!(!error::one_line(&error).contains('\u{1b}'), "{error:#}");
            }
        }
        // Shell is what a command is for; more than one line, or an expression, it is not.
        for (value, is_good) in [
            ("make deploy && echo \"$(id)\"", true),
            ("a\nb", false),
            ("echo ${{ x }}", false),
            ("", false),
        ] {
            let answers = Answers {
                deploy: value.to_owned(),
                ..good()
            };
            assert_eq!(answers.check().is_ok(), is_good, "{value:?}");
        }
    }

    #[test]
    fn an_action_is_a_commit_or_a_directory() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        for (text, is_good) in [
            ("./", true),
            ("./.github/backup-action", true),
            (&*format!("backup-action/backup-action@{commit}"), true),
            ("backup-action/backup-action@v1", false),
            ("backup-action/backup-action", false),
            (&*format!("backup-action@{commit}"), false),
            (&*format!("../x@{commit}"), false),
            ("./../x", false),
            ("/x", false),
        ] {
            assert_eq!(action_ref(text).is_ok(), is_good, "{text}");
        }
    }

    #[test]
    fn a_store_is_named_and_outlives_the_job() {
        let of = |remote: Option<&str>, local: Option<&str>, runner: &str| Answers {
            remote: remote.map(str::to_owned),
            local: local.map(str::to_owned),
            runner: runner.to_owned(),
            ..good()
        };
        assert!(of(None, None, "ubuntu-24.04").check().is_err());
        assert!(of(None, Some("/b"), "ubuntu-24.04").check().is_err());
        assert!(of(None, Some("/b"), "self-hosted").check().is_ok());
        assert!(
            of(Some("s3://bucket"), Some("/b"), "ubuntu-24.04")
                .check()
                .is_ok()
        );
        assert!(of(Some("s3://BU"), None, "ubuntu-24.04").check().is_err());
        let role = Answers {
            aws_role: Some("arn:aws:iam::1:role/x".to_owned()),
            ..of(None, Some("/b"), "self-hosted")
        };
        assert!(role.check().is_err());
    }
}

//! The answers that `init` was given, and what each may hold. They become parts of files that are
//! run, so nothing is taken that could be more than its kind. Pure.

use crate::error::Usage;
use crate::store::S3Config;
use anyhow::Context as _;

/// What was answered.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    pub(super) action_ref: String,
    pub(super) remote: Option<String>,
    pub(super) local: Option<String>,
    pub(super) s3_endpoint: Option<String>,
    pub(super) s3_region: Option<String>,
    pub(super) role: Option<String>,
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
            role: None,
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
            ("--aws-role", &self.role),
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
            self.role.as_deref(),
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
        type Set = fn(&mut Answers, String);
        let set: &[(&str, Set)] = &[
            ("--action-ref", |a, v| a.action_ref = v),
            ("--s3-region", |a, v| a.s3_region = Some(v)),
            ("--aws-role", |a, v| a.role = Some(v)),
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
            role: Some("arn:aws:iam::1:role/x".to_owned()),
            ..of(None, Some("/b"), "self-hosted")
        };
        assert!(role.check().is_err());
    }
}

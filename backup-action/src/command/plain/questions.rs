//! The questions of `init`, on a terminal. Each names its default; an end of input is no answer, and
//! nothing was written then.

use super::answers::Answers;
use super::files::File;
use crate::command::say;
use crate::error::Usage;
use crate::report::escape;
use anyhow::Context as _;

/// Asks what no flag has said. `given` tells whether a flag was given.
pub(super) fn ask(answers: &mut Answers, given: &dyn Fn(&str) -> bool) -> anyhow::Result<()> {
    say("Each question names its default; press Enter to take it, Ctrl-C to write nothing.\n\n");
    let wanted = |name: &str| !given(name);
    if wanted("action-ref") {
        answers.action_ref = line(
            "The action (OWNER/NAME@COMMIT, or ./DIR in this repository)",
            "",
        )?;
    }
    if wanted("remote") && wanted("local") {
        answers.remote = optional("Bucket for the backups (s3://BUCKET/PREFIX; empty for none)")?;
        if answers.remote.is_none() {
            answers.local = optional("Directory of the runner for the backups")?;
        }
    }
    if answers.remote.is_some() {
        if wanted("s3-endpoint") {
            answers.s3_endpoint = optional("URL of the store (empty for AWS)")?;
        }
        if wanted("s3-region") {
            answers.s3_region = optional("Region of the bucket")?;
        }
        if wanted("aws-role") && answers.s3_endpoint.is_none() {
            answers.role = optional("Role to assume (arn:aws:iam::…; empty for keys in secrets)")?;
        }
    }
    let texts: [(&str, &str, &mut String); 5] = [
        (
            "database-secret",
            "Secret with the URL of the database",
            &mut answers.database_secret,
        ),
        ("deploy", "Command that deploys", &mut answers.deploy),
        ("branch", "Branch that is deployed", &mut answers.branch),
        ("runner", "Label of the runners", &mut answers.runner),
        (
            "drill-cron",
            "When to look whether a restore drill is due (cron, UTC)",
            &mut answers.drill_cron,
        ),
    ];
    for (name, question, value) in texts {
        if wanted(name) {
            *value = line(question, value)?;
        }
    }
    answers.slack = answers.slack || yes("Tell Slack about failures?")?;
    answers.pr_size = answers.pr_size || yes("Comment on pull requests?")?;
    Ok(())
}

/// Shows what will be written, and asks for a yes.
pub(super) fn agree(files: &[File]) -> anyhow::Result<bool> {
    say("\n");
    for file in files {
        say(&format!(
            "  {} ({} lines)\n",
            file.path,
            file.text.lines().count()
        ));
    }
    yes("Write these files?")
}

fn yes(question: &str) -> anyhow::Result<bool> {
    let answer = line(&format!("{question} (y/n)"), "n")?;
    Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
}

fn optional(question: &str) -> anyhow::Result<Option<String>> {
    let answer = line(question, "")?;
    Ok(Some(answer).filter(|answer| !answer.is_empty()))
}

fn line(question: &str, default: &str) -> anyhow::Result<String> {
    match default {
        "" => say(&format!("{question}: ")),
        default => say(&format!("{question} [{}]: ", escape::terminal(default))),
    }
    let mut answer = String::new();
    let read = std::io::stdin()
        .read_line(&mut answer)
        .context("could not read the answer")?;
    if read == 0 {
        say("\n");
        return Err(
            Usage::new("the input ended before the last answer; nothing was written").into(),
        );
    }
    match answer.trim() {
        "" => Ok(default.to_owned()),
        answer => Ok(answer.to_owned()),
    }
}

//! The commands without settings: they read no configuration, no environment and no store.

use super::INTERNALS;
use clap::{Arg, ArgAction, Command};

/// The shells that `completions` knows.
const SHELLS: &[&str] = &["bash", "zsh", "fish"];

/// Every command without settings.
pub(super) fn commands() -> [Command; 4] {
    [init(), completions(), man(), internals()]
}

fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .action(ArgAction::SetTrue)
        .help(help)
}

fn init() -> Command {
    Command::new("init")
        .about("Write the configuration file and the workflows, after a few questions or from flags")
        .after_long_help(
            "\
Examples:
  backup-action init
        asks what it was not told, shows what it will write, and asks again
  backup-action init --yes --action-ref backup-action/backup-action@COMMIT \\
        --remote s3://company-backups/nostromo --aws-role arn:aws:iam::111122223333:role/backup \\
        --s3-region eu-west-1 --deploy ./deploy.sh
  backup-action init --dry-run --action-ref ./backup-action --local /backup --runner self-hosted

Writes .github/backup-action.toml, .github/workflows/deploy-gate.yml and restore-drill.yml, and
pr-size.yml with --pr-size: all of them or none, and never over a file that says something else.
Exit codes: 0 written, or nothing to do; 2 refused, and nothing was written.",
        )
        .args([
            option("dir", "DIR", "The root of the repository [default: .]"),
            option(
                "action-ref",
                "OWNER/NAME@COMMIT|./DIR",
                "The action: its repository at a full commit hash, or a directory of this repository that holds it",
            ),
            option("remote", "s3://BUCKET/PREFIX", "Where backups go: a bucket of S3 or of a store like it"),
            option("local", "DIR", "Where backups go: a directory of the runner; alone it needs a --runner of your own"),
            option("s3-endpoint", "URL", "The store, when it is not AWS"),
            option("s3-region", "REGION", "The region of the bucket"),
            option(
                "aws-role",
                "ARN",
                "The role that the jobs assume without keys; else the secrets BACKUP_KEY_ID and BACKUP_KEY are used",
            ),
            option("database-secret", "NAME", "The secret that holds the URL of the database [default: DATABASE_URL]"),
            option("deploy", "COMMAND", "What deploys, in a shell [default: ./deploy.sh]"),
            option("branch", "NAME", "The branch whose pushes are deployed [default: main]"),
            option("runner", "LABEL", "The label of the runners [default: ubuntu-24.04]"),
            option("drill-cron", "CRON", "When to look whether this month's drill is due [default: 43 4 * * 3]"),
            switch("slack", "Tell Slack, by the secret SLACK_WEBHOOK_URL"),
            switch("pr-size", "Also comment on pull requests"),
            switch("yes", "Ask nothing"),
            switch("dry-run", "Print the files, write nothing, ask nothing"),
        ])
}

fn completions() -> Command {
    Command::new("completions")
        .about("Print the completions of a shell")
        .after_long_help(
            "\
Examples:
  source <(backup-action completions bash)                                       for this shell
  backup-action completions bash > /etc/bash_completion.d/backup-action
  backup-action completions zsh > /usr/local/share/zsh/site-functions/_backup-action
  backup-action completions fish > ~/.config/fish/completions/backup-action.fish",
        )
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(clap::builder::PossibleValuesParser::new(SHELLS)),
        )
}

fn man() -> Command {
    Command::new("man")
        .about("Print the manual page, or write one for each command")
        .after_long_help(
            "\
Examples:
  backup-action man | man -l -
  backup-action man gate | man -l -
  backup-action man --dir /usr/local/share/man/man1",
        )
        .args([
            Arg::new("command")
                .value_name("COMMAND")
                .help("The command; without it the program"),
            option(
                "dir",
                "DIR",
                "Write backup-action.1 and a page for each command into this directory",
            )
            .conflicts_with("command"),
        ])
}

/// What is generated from the lists in the code.
fn internals() -> Command {
    Command::new(INTERNALS)
        .hide(true)
        .arg(Arg::new("what").required(true).num_args(1..))
}

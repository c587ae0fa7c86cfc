//! The commands around a restore that stop and start services. They are run without a shell unless
//! one was asked for, with a deadline, without anything secret in their environment, and what they
//! print is shown.

use crate::command::{Context, say};
use crate::error::{Explained, Usage};
use crate::github::commands;
use crate::pipeline::cleanup::{self, Cleanup, Ticket, Undo};
use crate::process::{Command, Output, capture};
use crate::report::escape;
use anyhow::Context as _;
use std::time::Duration;

/// Longer than any service takes to stop or start.
const DEADLINE: Duration = Duration::from_secs(600);

/// After a signal nobody waits that long: a runner kills the job.
const DEADLINE_AFTER_SIGNAL: Duration = Duration::from_secs(60);

const MAX_OUTPUT_BYTES: usize = 4 * 1024 * 1024;

/// The commands, ready to run.
pub(super) struct Hooks {
    before: Vec<Hook>,
    after: Vec<Hook>,
}

#[derive(Clone)]
struct Hook {
    /// As it was written.
    text: String,
    words: Vec<String>,
}

/// The after-hooks are on the undo list: a signal or a deadline runs them too.
pub(super) struct Armed {
    ticket: Ticket,
}

impl Hooks {
    /// Splits the commands into words.
    ///
    /// # Errors
    /// [`Usage`] for one that has none, or an open quote.
    pub(super) fn parse(context: &Context) -> anyhow::Result<Hooks> {
        let config = &context.config.restore;
        let all = |flag: &str, texts: &[String]| {
            texts
                .iter()
                .map(|text| Hook::parse(flag, text, config.hook_shell))
                .collect::<anyhow::Result<Vec<_>>>()
        };
        Ok(Hooks {
            before: all("--before", &config.before)?,
            after: all("--after", &config.after)?,
        })
    }

    /// The commands as they were written: before, and after.
    pub(super) fn texts(&self) -> (Vec<String>, Vec<String>) {
        let texts = |hooks: &[Hook]| hooks.iter().map(|hook| hook.text.clone()).collect();
        (texts(&self.before), texts(&self.after))
    }

    /// Makes sure that the after-hooks run, whatever happens from now on.
    pub(super) fn arm(&self, context: &Context) -> Armed {
        let hooks = self.after.clone();
        let in_runner = context.runner.is_some();
        let ticket = context.cleanup.add(Undo::Work(cleanup::Work {
            what: "run every after-hook".to_owned(),
            limit: DEADLINE_AFTER_SIGNAL,
            run: Box::new(move || {
                Box::pin(async move { run_all(&hooks, in_runner, "after", true).await })
            }),
        }));
        Armed { ticket }
    }

    /// Runs the before-hooks, in order, up to the first that fails.
    ///
    /// # Errors
    /// One could not be started, did not end in time or failed: nothing may be changed then.
    pub(super) async fn before(&self, context: &Context) -> anyhow::Result<()> {
        run_all(&self.before, context.runner.is_some(), "before", false).await
    }

    /// Runs every after-hook, also behind one that fails.
    ///
    /// # Errors
    /// The first that failed.
    pub(super) async fn after(&self, context: &Context, armed: Armed) -> anyhow::Result<()> {
        let done = run_all(&self.after, context.runner.is_some(), "after", true).await;
        armed.disarm(&context.cleanup);
        done
    }
}

impl Armed {
    fn disarm(self, cleanup: &Cleanup) {
        cleanup.disarm(self.ticket);
    }
}

impl Hook {
    fn parse(flag: &str, text: &str, shell: bool) -> anyhow::Result<Hook> {
        let words = match shell {
            true => vec!["sh".to_owned(), "-c".to_owned(), text.to_owned()],
            false => shell_words::split(text).map_err(|error| {
                Usage::new(format!("{flag}: cannot split {text:?} into words: {error}"))
                    .hint("Close every quote, or add --hook-shell to run it through sh -c.")
            })?,
        };
        if text.trim().is_empty() || words.is_empty() {
            return Err(Usage::new(format!("{flag}: the command is empty")).into());
        }
        Ok(Hook {
            text: text.to_owned(),
            words,
        })
    }

    async fn run(&self, in_runner: bool, when: &str) -> anyhow::Result<()> {
        let mut words = self.words.iter();
        let program = words.next().context("the command is empty")?;
        let command = words.fold(Command::new(program), |command, word| command.arg(word));
        let command = command.without_credentials();
        let failed = |error: anyhow::Error| {
            Explained::new(
                format!("the {when}-hook `{}` failed", self.text),
                match when {
                    "before" => "Nothing was changed. Make the command work by itself, then run the restore again.",
                    _ => "Run the command by hand: the service may be down.",
                },
            )
            .caused_by(error)
        };
        let output = capture(command, DEADLINE, MAX_OUTPUT_BYTES)
            .await
            .map_err(failed)?;
        self.show(&output, in_runner)?;
        match output.status.is_success() {
            true => Ok(()),
            false => Err(failed(anyhow::anyhow!("it ended with {}", output.status)).into()),
        }
    }

    /// What it printed, each line behind its name; a runner is told not to read it.
    fn show(&self, output: &Output, in_runner: bool) -> anyhow::Result<()> {
        let stdout = String::from_utf8_lossy(&output.stdout);
        let name = self.words.first().map_or("", String::as_str);
        let name = name.rsplit('/').next().unwrap_or(name);
        let lines = stdout.lines().chain(output.stderr.lines());
        let text: String = lines.map(|line| format!("{name}: {line}\n")).collect();
        if in_runner && !text.is_empty() {
            say(&commands::relay(&text)?);
        } else {
            for line in text.lines() {
                say(&format!("  {}\n", escape::terminal(line)));
            }
        }
        Ok(())
    }
}

async fn run_all(
    hooks: &[Hook],
    in_runner: bool,
    when: &str,
    all_of_them: bool,
) -> anyhow::Result<()> {
    let mut first = Ok(());
    for hook in hooks {
        say(&format!(
            "  {when}-hook: {}\n",
            escape::terminal(&hook.text)
        ));
        if let Err(error) = hook.run(in_runner, when).await {
            if !all_of_them {
                return Err(error);
            }
            first = first.and(Err(error));
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_like_a_shell_would_and_nothing_is_expanded() {
        let words = |text: &str, shell| Hook::parse("--before", text, shell).map(|hook| hook.words);
        assert_eq!(
            words("systemctl stop 'my service' $HOME ; rm", false).unwrap(),
            ["systemctl", "stop", "my service", "$HOME", ";", "rm"]
        );
        assert_eq!(words("a; b", true).unwrap(), ["sh", "-c", "a; b"]);
        assert!(words("a 'b", false).is_err());
        assert!(words("  ", false).is_err() && words("  ", true).is_err());
    }
}

//! One file per command; each reads like the runbook, top to bottom. Only these compose the
//! modules below. Here: what every command shares, from the command line to the exit code.

mod annotate;
mod answer;
mod aws;
mod clusters;
mod damage;
mod deployment;
mod display;
mod doctor;
mod drill;
mod extract;
mod gate;
mod history;
mod journal;
mod list;
mod lock;
mod locks;
mod notify;
mod page;
mod past;
mod plain;
mod proving;
mod prune;
mod receipts;
mod restore;
mod show;
mod signals;
mod source;
mod stores;
mod tell;
mod trouble;
mod verify;
mod verify_receipt;

use crate::check::Verdict;
use crate::cli;
use crate::config::{Config, OutputFormat};
use crate::error;
use crate::github::commands;
use crate::github::output::Outputs;
use crate::github::runner::Runner;
use crate::pipeline::cleanup::Cleanup;
use crate::pipeline::progress::Progress;
use crate::report::{ReportedError, json, text};
use crate::secret::Secret;
use anyhow::Context as _;
use clap::error::ErrorKind;
use journal::Journal;
use signals::{Interrupt, interrupted, interruptible};
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Instant;

/// What a run ends with. `main` turns it into the process's exit code; nothing else decides one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus(pub u8);

impl ExitStatus {
    /// Every check passed, or the command did what it was asked.
    pub const PASSED: ExitStatus = ExitStatus(0);
    /// A check failed: the gate is closed.
    pub const FAILED: ExitStatus = ExitStatus(1);
    /// What was typed or configured cannot be used.
    pub const USAGE: ExitStatus = ExitStatus(2);
    /// Could not check: network, credentials, tools, trouble of our own.
    pub const ERROR: ExitStatus = ExitStatus(3);

    fn of(verdict: Verdict) -> ExitStatus {
        match verdict {
            Verdict::Passed => ExitStatus::PASSED,
            Verdict::Failed => ExitStatus::FAILED,
            Verdict::Error => ExitStatus::ERROR,
        }
    }
}

/// What a command works with.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) runner: Option<Runner>,
    pub(crate) cleanup: Cleanup,
    pub(crate) locks: locks::Locks,
    pub(crate) progress: Arc<Progress>,
}

/// Runs the command line `args` to its end and returns the exit status. Prints everything.
pub async fn main(args: Vec<OsString>) -> ExitStatus {
    let matches = match cli::command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => return usage_shown(&error),
    };
    let Some((name, matches)) = matches.subcommand() else {
        return ExitStatus::USAGE;
    };
    if let Some(ended) = plain::run(name, matches) {
        return finish_plain(ended);
    }
    let runner = Runner::detect(&|name| std::env::var(name).ok());
    // The gate is closed before anything can go wrong, a bad flag included.
    let outputs = match begin_outputs(name, runner.as_ref()) {
        Ok(outputs) => outputs,
        Err(error) => return finish_plain(Err(error)),
    };
    let config = match Config::resolve(name, matches, &|name| std::env::var_os(name)) {
        Ok(config) => config,
        Err(error) => return refused(name, runner.as_ref(), outputs, error),
    };
    let context = &Context {
        config,
        runner,
        cleanup: Cleanup::default(),
        locks: locks::Locks::default(),
        progress: Arc::default(),
    };
    mask(context, &context.config.notify.secrets());
    match name {
        "gate" => {
            let run = judged(context, outputs, "gate", async |j| {
                gate::run(context, j).await
            });
            Box::pin(deployment::recorded(context, run)).await
        }
        "restore" if context.config.restore.plan => {
            finish_plain(interruptible(restore::plan(context)).await)
        }
        "restore" => {
            judged(context, outputs, "restore", async |j| {
                restore::run(context, j).await
            })
            .await
        }
        "verify" => {
            judged(context, outputs, "verify", async |j| {
                verify::run(context, j).await
            })
            .await
        }
        "verify-receipt" => {
            judged(context, outputs, "verify-receipt", async |j| {
                verify_receipt::run(context, j).await
            })
            .await
        }
        "drill" => {
            judged(context, outputs, "drill", async |j| {
                drill::run(context, j).await
            })
            .await
        }
        "prune" => {
            judged(context, outputs, "prune", async |j| {
                prune::run(context, j).await
            })
            .await
        }
        "doctor" => finish_plain(interruptible(doctor::run(context)).await),
        "notify" => finish_plain(interruptible(notify::run(context)).await),
        "annotate" => finish_plain(interruptible(Box::pin(annotate::run(context))).await),
        "history" => finish_plain(interruptible(history::run(context)).await),
        "list" => finish_plain(interruptible(list::run(context)).await),
        "show" => finish_plain(interruptible(show::run(context)).await),
        "extract" => match interruptible(extract::run(context)).await {
            // A cut stream of SQL must not end as a success, though the reader itself closed it.
            Err(error) if is_broken_pipe(&error) => ExitStatus::ERROR,
            ended => finish_plain(ended),
        },
        other => finish_plain(Err(anyhow::anyhow!("command \"{other}\" is not built in"))),
    }
}

/// The commands whose verdict another job of the workflow waits for, by their static names.
fn waited_for(command: &str) -> Option<&'static str> {
    ["gate", "drill", "verify-receipt"]
        .into_iter()
        .find(|name| *name == command)
}

/// A command line or a configuration that cannot be used: shown, and in a workflow, for a command
/// that somebody waits for, also in the job summary and the outputs.
fn refused(
    command: &str,
    runner: Option<&Runner>,
    outputs: Option<Outputs>,
    error: anyhow::Error,
) -> ExitStatus {
    let shown = reported(&error);
    let status = finish_plain(Err(error));
    let Some(command) = waited_for(command) else {
        return status;
    };
    let mut journal = Journal::new(command);
    journal.error = Some(shown);
    let finished = journal.into_report(status.0, runner.map(|runner| runner.run.clone()));
    answer::refuse(runner, outputs, finished, status)
}

fn begin_outputs(command: &str, runner: Option<&Runner>) -> anyhow::Result<Option<Outputs>> {
    match runner {
        Some(runner) if waited_for(command).is_some() => {
            Ok(Some(Outputs::begin(runner.output.as_deref())?))
        }
        Some(_) | None => Ok(None),
    }
}

/// Runs a command that ends in a verdict: with a deadline, with signals, with clean-up, and with
/// the report shown everywhere it belongs.
async fn judged(
    context: &Context,
    outputs: Option<Outputs>,
    command: &'static str,
    run: impl AsyncFnOnce(&mut Journal) -> anyhow::Result<()>,
) -> ExitStatus {
    let mut journal = Journal::new(command);
    let file_size_limit = signals::file_size_limit();
    let display = display::Display::start(context, command);
    let ended = tokio::select! {
        // On the heap: the futures of all commands inside one another are deeper than rustc looks.
        ended = Box::pin(run(&mut journal)) => End::Itself(ended),
        signal = interrupted() => End::Signal(signal),
        () = tokio::time::sleep(context.config.timeout) => End::Deadline,
    };
    let mut signalled = None;
    let status = match ended {
        End::Itself(Ok(())) => ExitStatus::of(journal.verdict()),
        End::Itself(Err(error)) => {
            journal.error = Some(reported(&error));
            // A check that was answered no is the reason, whatever came after it.
            match journal.verdict() {
                Verdict::Failed => ExitStatus::FAILED,
                Verdict::Passed | Verdict::Error if error::is_usage(&error) => ExitStatus::USAGE,
                Verdict::Passed | Verdict::Error => ExitStatus::ERROR,
            }
        }
        End::Signal(signal) => {
            journal.interrupted_by = Some(signal.name.to_owned());
            signalled = Some(Instant::now());
            ExitStatus(signal.exit_code)
        }
        End::Deadline => {
            journal.error = Some(ReportedError {
                messages: vec![format!(
                    "the run did not end within {} s",
                    context.config.timeout.as_secs()
                )],
                hint: Some(
                    "Raise --timeout, or find out what is slow in the durations above.".to_owned(),
                ),
            });
            ExitStatus::ERROR
        }
    };
    if status != ExitStatus::PASSED {
        for left in context.cleanup.run().await {
            journal.notes.push(left);
        }
    }
    display.end();
    drop(file_size_limit);
    let receipts = std::mem::take(&mut journal.receipts);
    let mut finished = journal.into_report(
        status.0,
        context.runner.as_ref().map(|runner| runner.run.clone()),
    );
    let status = answer::give(context, outputs, &mut finished, status).await;
    // A receipt says "passed": it stays only when that could be said everywhere.
    if status == ExitStatus::PASSED {
        receipts
            .into_iter()
            .for_each(|ticket| context.cleanup.disarm(ticket));
    }
    let mut left = context.cleanup.run().await;
    // Last: whoever waits for the locks must not meet what is being taken back.
    left.extend(context.locks.release().await);
    for left in left {
        say(&format!(
            "warning: {}\n",
            crate::report::escape::terminal(&left)
        ));
    }
    let own_receipt = finished.receipt_key.as_deref();
    Box::pin(tell::tell(
        context,
        &finished.report,
        own_receipt,
        signalled,
    ))
    .await;
    status
}

enum End {
    Itself(anyhow::Result<()>),
    Signal(Interrupt),
    Deadline,
}

fn reported(error: &anyhow::Error) -> ReportedError {
    ReportedError {
        messages: error::messages(error),
        hint: error::hint(error),
    }
}

/// Ends a command that has no report.
fn finish_plain(result: anyhow::Result<ExitStatus>) -> ExitStatus {
    let error = match result {
        Ok(status) => return status,
        Err(error) => error,
    };
    if is_broken_pipe(&error) {
        // Whoever read our output has seen enough.
        return ExitStatus::PASSED;
    }
    let mut lines = String::new();
    for (level, message) in error::messages(&error).iter().enumerate() {
        let label = ["backup-action", "  because"][level.min(1)];
        lines.push_str(&format!(
            "{label}: {}\n",
            crate::report::escape::terminal(message)
        ));
    }
    if let Some(hint) = error::hint(&error) {
        lines.push_str(&format!(
            "Hint: {}\n",
            crate::report::escape::terminal(&hint)
        ));
    }
    say(&lines);
    if error::is_usage(&error) {
        ExitStatus::USAGE
    } else {
        ExitStatus::ERROR
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

fn usage_shown(error: &clap::Error) -> ExitStatus {
    let status = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitStatus::PASSED,
        _ => ExitStatus::USAGE,
    };
    match error.print() {
        Ok(()) => status,
        Err(_) => ExitStatus::USAGE,
    }
}

/// Registers the masks of `secrets` with the runner, before any child starts.
fn mask(context: &Context, secrets: &[Secret]) {
    if context.runner.is_none() {
        return;
    }
    for secret in secrets {
        for line in commands::masks(secret) {
            say(&format!("{line}\n"));
        }
    }
}

/// Writes to standard error; there is nowhere to report a failure of that to.
fn say(text: &str) {
    drop(std::io::stderr().lock().write_all(text.as_bytes()));
}

/// Writes to standard output.
///
/// # Errors
/// Standard output is closed or full.
fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .context("could not write to standard output")
}

/// How the screen looks, from where standard output goes.
fn style() -> text::Style {
    let color = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    text::Style { color, width: 120 }
}

/// The report as standard output wants it.
fn rendered(report: &crate::report::Report, output: OutputFormat) -> anyhow::Result<String> {
    match output {
        OutputFormat::Text => Ok(text::render(report, style())),
        OutputFormat::Json => json::render(report),
    }
}

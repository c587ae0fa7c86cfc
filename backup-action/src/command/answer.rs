//! The end of a judged command: the report goes to the screen, to files, and to the runner. Only an
//! output that the deploy job reads can change the exit status; everything else is a warning.

use super::journal::Finished;
use super::{Context, ExitStatus, page, print, rendered, reported, say};
use crate::check::Verdict;
use crate::error;
use crate::github::commands;
use crate::github::output::{self, Extra, Outputs};
use crate::github::runner::Runner;
use crate::report::{Report, escape, json, log_lines, markdown};
use anyhow::Context as _;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Shows and stores the report, which is final then; returns the final exit status.
pub(crate) async fn give(
    context: &Context,
    outputs: Option<Outputs>,
    finished: &mut Finished,
    status: ExitStatus,
) -> ExitStatus {
    let files = Files::of(context);
    let judged = status;
    // The outputs come first: when they fail, everything after them says so.
    let status = write_outputs(outputs, finished, &files, status);
    let report = &finished.report;
    match rendered(report, context.config.output).and_then(|text| print(&text)) {
        Ok(()) => {}
        Err(error) => warn(context.runner.as_ref(), &error),
    }
    if let Some(path) = &files.report
        && let Err(error) = json::render(report).and_then(|text| write(path, &text))
    {
        warn(context.runner.as_ref(), &error);
    }
    if let Some(path) = &context.config.summary
        && let Err(error) = write(path, &markdown::summary(report))
    {
        warn(context.runner.as_ref(), &error);
    }
    // Last on a server's log; on a terminal the report itself is the last thing to see.
    if !std::io::stderr().is_terminal()
        && let Some(line) = log_lines::ended(report)
    {
        say(&line);
    }
    tell_runner(context.runner.as_ref(), report);
    // The page asks the stores for its past, and may wait for them: whoever loses patience and kills
    // the run has everything else already.
    if let Some(path) = &files.html {
        let past = page::past(context, report, judged).await;
        if let Err(error) = write(path, &past.page(Some(report))) {
            warn(context.runner.as_ref(), &error);
        }
    }
    status
}

/// Tells the runner about a gate that could not start; the message itself is shown by the caller.
pub(crate) fn refuse(
    runner: Option<&Runner>,
    outputs: Option<Outputs>,
    mut finished: Finished,
    status: ExitStatus,
) -> ExitStatus {
    let status = write_outputs(outputs, &mut finished, &Files::default(), status);
    tell_runner(runner, &finished.report);
    status
}

/// Annotations and the job summary.
fn tell_runner(runner: Option<&Runner>, report: &Report) {
    let Some(found) = runner else { return };
    // The JSON on standard output stays parseable: commands go to standard error.
    for line in commands::annotations(report) {
        say(&format!("{line}\n"));
    }
    if let Some(path) = &found.summary
        && let Err(error) = output::write_summary(path, &markdown::summary(report))
    {
        warn(runner, &error);
    }
}

/// Writes the step outputs. What the deploy job cannot read must not be called passed.
fn write_outputs(
    outputs: Option<Outputs>,
    finished: &mut Finished,
    files: &Files,
    status: ExitStatus,
) -> ExitStatus {
    let Some(outputs) = outputs else {
        return status;
    };
    let extra = Extra {
        receipt_key: finished.receipt_key.as_deref(),
        manifest_key: finished.manifest_key.as_deref(),
        report_path: files.report.as_deref(),
        html_path: files.html.as_deref(),
    };
    let Err(error) = outputs.finish(&finished.report, extra) else {
        return status;
    };
    let report = &mut finished.report;
    // A closed gate stays closed for its own reason; an open one could not be said to be open.
    if status != ExitStatus::PASSED {
        report.notes.push(error::one_line(&error));
        return status;
    }
    report.verdict = Verdict::Error;
    report.exit_code = ExitStatus::ERROR.0;
    report.error = Some(reported(&error));
    ExitStatus::ERROR
}

/// The files that a run leaves on this machine.
#[derive(Default)]
struct Files {
    /// The JSON report.
    report: Option<PathBuf>,
    /// The HTML report.
    html: Option<PathBuf>,
}

impl Files {
    /// As asked, else in the job's own directory.
    fn of(context: &Context) -> Files {
        let config = &context.config;
        let in_job = |name: &str| Some(context.runner.as_ref()?.temp.as_ref()?.join(name));
        let has_page = matches!(config.command.as_str(), "gate" | "drill");
        Files {
            report: config
                .report
                .clone()
                .or_else(|| in_job("backup-action-report.json")),
            html: config
                .history
                .html
                .clone()
                .or_else(|| in_job("backup-action-report.html"))
                .filter(|_| has_page),
        }
    }
}

pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("could not write {}", path.display()))
}

/// A warning for people, in a workflow as an annotation.
pub(super) fn warn(runner: Option<&Runner>, error: &anyhow::Error) {
    let message = error::one_line(error);
    match runner {
        Some(_) => say(&format!(
            "{}\n",
            commands::annotation(commands::Level::Warning, "backup-action", &message)
        )),
        None => say(&format!("warning: {}\n", escape::terminal(&message))),
    }
}

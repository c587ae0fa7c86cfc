//! The end of a judged command: the report goes to the screen, to files, and to the runner. Only an
//! output that the deploy job reads can change the exit status; everything else is a warning.

use super::journal::Finished;
use super::{Context, ExitStatus, print, rendered, say};
use crate::error;
use crate::github::commands;
use crate::github::output::{self, Extra, Outputs};
use crate::report::{escape, json, markdown};
use anyhow::Context as _;
use std::path::{Path, PathBuf};

/// Shows and stores the report; returns the final exit status.
pub(crate) fn give(
    context: &Context,
    outputs: Option<Outputs>,
    finished: &Finished,
    status: ExitStatus,
) -> ExitStatus {
    let report = &finished.report;
    let mut status = status;
    match rendered(report, context.config.output).and_then(|text| print(&text)) {
        Ok(()) => {}
        Err(error) => warn(context, &error),
    }
    if context.runner.is_some() {
        // The JSON on standard output stays parseable: commands go to standard error then.
        for line in commands::annotations(report) {
            say(&format!("{line}\n"));
        }
    }
    let report_file = report_file(context);
    if let Some(path) = &report_file
        && let Err(error) = json::render(report).and_then(|text| write(path, &text))
    {
        warn(context, &error);
    }
    let summary = markdown::summary(report);
    if let Some(path) = &context.config.summary
        && let Err(error) = write(path, &summary)
    {
        warn(context, &error);
    }
    let job_summary = context
        .runner
        .as_ref()
        .and_then(|runner| runner.summary.as_deref());
    if let Some(path) = job_summary
        && let Err(error) = output::write_summary(path, &summary)
    {
        warn(context, &error);
    }
    let Some(outputs) = outputs else {
        return status;
    };
    let extra = Extra {
        receipt_key: finished.receipt_key.as_deref(),
        manifest_key: finished.manifest_key.as_deref(),
        report_path: report_file.as_deref(),
    };
    if let Err(error) = outputs.finish(report, extra) {
        warn(context, &error);
        // A closed gate stays closed for its own reason; an open one could not be said to be open.
        if status == ExitStatus::PASSED {
            status = ExitStatus::ERROR;
        }
    }
    status
}

/// Where the JSON report goes: as asked, else into the job's own directory.
fn report_file(context: &Context) -> Option<PathBuf> {
    context.config.report.clone().or_else(|| {
        let temp = context.runner.as_ref()?.temp.as_ref()?;
        Some(temp.join("backup-action-report.json"))
    })
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("could not write {}", path.display()))
}

fn warn(context: &Context, error: &anyhow::Error) {
    let message = error::one_line(error);
    match context.runner {
        Some(_) => say(&format!(
            "{}\n",
            commands::annotation(commands::Level::Warning, "backup-action", &message)
        )),
        None => say(&format!("warning: {}\n", escape::terminal(&message))),
    }
}

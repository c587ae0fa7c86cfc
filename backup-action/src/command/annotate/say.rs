//! Where `annotate` says what it found: standard output, the job summary, annotations, and what
//! became of the comment.

use crate::command::answer::warn;
use crate::command::{Context, print, say};
use crate::config::OutputFormat;
use crate::github::api_error::ApiError;
use crate::github::commands::{self, Level};
use crate::github::output;
use crate::github::sticky::Posted;
use crate::report::sizes::Sizes;
use crate::report::{comment, escape, json};
use serde_json::json;

/// What became of the comment.
pub(super) enum Comment {
    Posted(Posted),
    /// There is no place for one, which is no fault.
    NoPlace(String),
    /// The token may not write.
    ReadOnly(ApiError),
    Failed(ApiError),
    DryRun,
}

impl Comment {
    pub(super) fn no_place(why: &str) -> Comment {
        Comment::NoPlace(why.to_owned())
    }

    fn outcome(&self) -> &'static str {
        match self {
            Comment::Posted(posted) => posted.how,
            Comment::NoPlace(_) | Comment::ReadOnly(_) | Comment::Failed(_) => "not_posted",
            Comment::DryRun => "dry_run",
        }
    }

    /// Why there is none, or why there may be two.
    fn reason(&self) -> Option<String> {
        match self {
            Comment::Posted(posted) => posted.unsettled.as_ref().map(ToString::to_string),
            Comment::NoPlace(why) => Some(why.clone()),
            Comment::ReadOnly(error) | Comment::Failed(error) => Some(error.to_string()),
            Comment::DryRun => None,
        }
    }
}

/// Says everything.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn everywhere(
    context: &Context,
    sizes: &Sizes,
    text: &str,
    told: &Comment,
) -> anyhow::Result<()> {
    let shown = match context.config.output {
        OutputFormat::Json => as_json(sizes, text, told)?,
        OutputFormat::Text if matches!(told, Comment::DryRun) => text.to_owned(),
        OutputFormat::Text => as_text(sizes, told),
    };
    print(&shown)?;
    if matches!(told, Comment::DryRun) {
        return Ok(());
    }
    tell_runner(context, sizes, text);
    let (level, hint) = match told {
        Comment::Posted(posted) => match &posted.unsettled {
            None => return Ok(()),
            Some(error) => (Level::Warning, error.hint()),
        },
        Comment::NoPlace(_) => (Level::Notice, String::new()),
        Comment::ReadOnly(error) => (Level::Notice, error.hint()),
        Comment::Failed(error) => (Level::Warning, error.hint()),
        Comment::DryRun => return Ok(()),
    };
    let reason = told.reason().unwrap_or_default();
    let message = match told {
        Comment::Posted(_) => format!("there may be two comments: {reason}. {hint}"),
        _ => format!("no comment on the pull request: {reason}. {hint}"),
    };
    let title = "backup-action annotate";
    match (&context.runner, level) {
        (Some(_), _) => say(&format!(
            "{}\n",
            commands::annotation(level, title, message.trim_end())
        )),
        (None, Level::Notice) => {}
        (None, _) => say(&format!("warning: {}\n", escape::terminal(&message))),
    }
    Ok(())
}

/// The job summary, and an annotation for each file and what it touches.
fn tell_runner(context: &Context, sizes: &Sizes, text: &str) {
    let Some(runner) = &context.runner else {
        return;
    };
    let annotations = sizes
        .touches
        .iter()
        .map(|touch| {
            let message = comment::touch_in_short(touch, sizes.last_drill.as_ref());
            let title = format!("{} {}", touch.verbs(), touch.tables);
            commands::file_annotation(Level::Notice, &touch.file, touch.line, &title, &message)
        })
        .collect();
    let more = "the comment and the job summary name the others";
    for line in commands::few(annotations, Level::Notice, more) {
        say(&format!("{line}\n"));
    }
    if let Some(path) = &runner.summary
        && let Err(error) = output::write_summary(path, text)
    {
        warn(Some(runner), &error);
    }
}

fn as_text(sizes: &Sizes, told: &Comment) -> String {
    let mut lines = vec![comment::in_short(sizes)];
    for touch in &sizes.touches {
        lines.push(format!(
            "{}:{}: {}",
            touch.file,
            touch.line,
            comment::touch_in_short(touch, sizes.last_drill.as_ref())
        ));
    }
    lines.extend(sizes.notes.iter().map(|note| format!("note: {note}")));
    lines.push(match told {
        Comment::Posted(posted) => format!("comment {}: {}", posted.how, posted.url),
        _ => format!("no comment: {}", told.reason().unwrap_or_default()),
    });
    lines
        .iter()
        .map(|line| {
            format!(
                "{}\n",
                escape::terminal(&escape::shorten(line, escape::MAX_TEXT_CHARS))
            )
        })
        .collect()
}

fn as_json(sizes: &Sizes, text: &str, told: &Comment) -> anyhow::Result<String> {
    let mut value = serde_json::to_value(sizes)?;
    value["comment"] = json!({
        "outcome": told.outcome(),
        "url": match told {
            Comment::Posted(posted) => Some(&posted.url),
            _ => None,
        },
        "reason": told.reason(),
        "body": text,
    });
    json::inert(&value)
}

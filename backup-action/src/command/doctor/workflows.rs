//! `doctor --workflow`: the holes of workflow files, on the screen and at their lines. Needs no store
//! and no database, and writes nothing.

use crate::command::{Context, ExitStatus, print, say};
use crate::config::OutputFormat;
use crate::error::Usage;
use crate::github::commands::{self, Level};
use crate::github::workflow::yaml::{MAX_BYTES, Place};
use crate::github::workflow::{self, Review, Severity};
use crate::report::escape;
use crate::report::format::counted;
use anyhow::Context as _;
use serde_json::{Value, json};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// One file and what came of it.
struct Looked {
    name: String,
    review: Result<Review, Trouble>,
}

/// Why a file could not be looked at.
struct Trouble {
    at: Option<Place>,
    message: String,
}

/// Runs the review: 0 without holes, 1 with some, 2 when a file is no workflow.
pub(super) fn run(context: &Context) -> anyhow::Result<ExitStatus> {
    let mut looked = Vec::new();
    for path in &context.config.github.workflows {
        if path.is_dir() {
            looked.extend(in_dir(path)?);
        } else {
            looked.push(look(path));
        }
    }
    if context.runner.is_some() {
        annotate(&looked);
    }
    print(&match context.config.output {
        OutputFormat::Text => as_text(&looked),
        OutputFormat::Json => format!("{:#}\n", as_json(&looked)),
    })?;
    let is_unreadable = looked.iter().any(|file| file.review.is_err());
    Ok(match (is_unreadable, holes(&looked)) {
        (true, _) => ExitStatus::USAGE,
        (false, 0) => ExitStatus::PASSED,
        (false, _) => ExitStatus::FAILED,
    })
}

fn holes(looked: &[Looked]) -> usize {
    looked
        .iter()
        .filter_map(|file| file.review.as_ref().ok())
        .map(|review| review.holes.len())
        .sum()
}

/// The workflows of a directory that use this program, and those that cannot be read.
fn in_dir(dir: &Path) -> anyhow::Result<Vec<Looked>> {
    let entries =
        fs::read_dir(dir).with_context(|| format!("could not read directory {}", dir.display()))?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<PathBuf>, _>>()
        .with_context(|| format!("could not read directory {}", dir.display()))?;
    paths.retain(|path| {
        path.extension()
            .is_some_and(|end| end == "yml" || end == "yaml")
    });
    paths.sort();
    let mut looked: Vec<Looked> = paths.iter().map(|path| look(path)).collect();
    looked.retain(|file| file.review.as_ref().map_or(true, |review| review.is_ours));
    if looked.is_empty() {
        return Err(Usage::new(format!(
            "no workflow in {} uses backup-action",
            dir.display()
        ))
        .hint("Make one with `backup-action init`, or name another directory.")
        .into());
    }
    Ok(looked)
}

fn look(path: &Path) -> Looked {
    let review = read(path)
        .map_err(|message| Trouble { at: None, message })
        .and_then(|bytes| {
            workflow::review(&bytes).map_err(|error| Trouble {
                at: Some(error.at),
                message: error.message,
            })
        });
    Looked {
        name: path.to_string_lossy().into_owned(),
        review,
    }
}

/// A regular file, up to one byte more than is allowed.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("could not read workflow: {error}");
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err("could not read workflow: not a file".to_owned());
    }
    let limit = u64::try_from(MAX_BYTES + 1).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(failed)?;
    Ok(bytes)
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// Lines that editors and people jump from: `file:line:column: kind: message`.
fn as_text(looked: &[Looked]) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&escape::terminal(&text));
        out.push('\n');
    };
    for Looked { name, review } in looked {
        let review = match review {
            Ok(review) => review,
            Err(Trouble { at: None, message }) => {
                line(format!("{name}: {message}"));
                continue;
            }
            Err(Trouble {
                at: Some(at),
                message,
            }) => {
                line(format!("{name}:{}:{}: {message}", at.line, at.column));
                continue;
            }
        };
        for hole in &review.holes {
            let (at, kind) = (hole.at, word(hole.severity));
            line(format!(
                "{name}:{}:{}: {kind}: {} ({})",
                at.line, at.column, hole.message, hole.id
            ));
            line(format!("    {}", hole.fix));
        }
        for (at, note) in &review.notes {
            line(format!("{name}:{}:{}: note: {note}", at.line, at.column));
        }
        if !review.is_ours {
            line(format!(
                "{name}: note: it does not use backup-action, so nothing was looked for"
            ));
        }
    }
    let files = counted(u64::try_from(looked.len()).unwrap_or(u64::MAX), "file");
    let found = match holes(looked) {
        0 if looked.iter().any(|file| file.review.is_err()) => {
            "not every file could be read".to_owned()
        }
        0 => "no hole found".to_owned(),
        n => format!(
            "{} found",
            counted(u64::try_from(n).unwrap_or(u64::MAX), "hole")
        ),
    };
    line(format!("{files}: {found}"));
    out
}

fn as_json(looked: &[Looked]) -> Value {
    let files: Vec<Value> = looked
        .iter()
        .map(|Looked { name, review }| match review {
            Err(Trouble { at, message }) => json!({
                "file": name,
                "error": { "line": at.map(|at| at.line), "column": at.map(|at| at.column), "message": message },
            }),
            Ok(review) => json!({
                "file": name,
                "uses_backup_action": review.is_ours,
                "findings": review.holes.iter().map(|hole| json!({
                    "id": hole.id,
                    "severity": word(hole.severity),
                    "line": hole.at.line,
                    "column": hole.at.column,
                    "message": hole.message,
                    "fix": hole.fix,
                })).collect::<Vec<_>>(),
                "notes": review.notes.iter().map(|(at, note)| json!({
                    "line": at.line, "column": at.column, "message": note,
                })).collect::<Vec<_>>(),
            }),
        })
        .collect();
    json!({ "format": 1, "command": "doctor", "files": files })
}

/// At the lines of the files; standard output stays what it is.
fn annotate(looked: &[Looked]) {
    let (mut errors, mut warnings) = (Vec::new(), Vec::new());
    for Looked { name, review } in looked {
        match review {
            Err(Trouble { at, message }) => {
                errors.push(at_line(Level::Error, name, *at, "no workflow", message))
            }
            Ok(review) => {
                for hole in &review.holes {
                    let message = format!("{}. {}", hole.message, hole.fix);
                    let (level, lines) = match hole.severity {
                        Severity::Error => (Level::Error, &mut errors),
                        Severity::Warning => (Level::Warning, &mut warnings),
                    };
                    lines.push(at_line(level, name, Some(hole.at), hole.id, &message));
                }
            }
        }
    }
    for (level, lines) in [(Level::Error, errors), (Level::Warning, warnings)] {
        for line in commands::few(lines, level, "See the log.") {
            say(&format!("{line}\n"));
        }
    }
}

fn at_line(level: Level, file: &str, at: Option<Place>, title: &str, message: &str) -> String {
    let line = at.map_or(1, |at| u32::try_from(at.line).unwrap_or(u32::MAX));
    // GitHub wants paths from the root of the repository.
    let file = file.strip_prefix("./").unwrap_or(file);
    commands::file_annotation(level, file, line, title, message)
}

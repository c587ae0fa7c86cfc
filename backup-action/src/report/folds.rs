//! The parts of the job summary that start folded, and the small pieces of Markdown that it is made
//! of. What stands open, and the order, is `markdown`'s.

use super::escape::{self, MAX_NAME_CHARS, MAX_TEXT_CHARS};
use super::{Report, format, instructions, words};
use crate::check::Outcome;
use crate::manifest::SchemaSummary;

/// Rows of the table of schemas, biggest first.
const MAX_SCHEMAS: usize = 100;

/// Rows of the table of databases, lines of stderr, notes, copies.
pub(super) const MAX_ROWS: usize = 50;

/// Every check with its evidence.
pub(super) fn checks(report: &Report) -> String {
    if report.checks.is_empty() {
        return String::new();
    }
    let counts: Vec<String> = [
        Outcome::Failed,
        Outcome::NotChecked,
        Outcome::Warned,
        Outcome::Passed,
    ]
    .into_iter()
    .filter_map(|outcome| match words::with(report, outcome).count() {
        0 => None,
        n => Some(format!("{n} {}", sign(outcome).1)),
    })
    .collect();
    let mut rows = String::from("| | check | evidence |\n|---|---|---|\n");
    for check in report.checks.iter().take(2 * MAX_ROWS) {
        rows.push_str(&format!(
            "| {} | `{}` | {} |\n",
            sign(check.outcome).0,
            check.id,
            text(&check.evidence)
        ));
    }
    let title = format!("Checks: {}", counts.join(", "));
    details(&title, &rows)
}

/// Databases, and the biggest schemas.
pub(super) fn contents(report: &Report) -> String {
    if report.databases.is_empty() {
        return String::new();
    }
    let mut out =
        String::from("| database | schemas | tables | rows | size |\n|---|--:|--:|--:|--:|\n");
    for database in report.databases.iter().take(MAX_ROWS) {
        out.push_str(&format!(
            "| {} | {} | {} | {} | {} |\n",
            code(&database.name.to_lossy()),
            format::count(database.schemas.len() as u64),
            format::count(database.tables),
            format::count(database.rows),
            format::bytes(database.bytes)
        ));
    }
    push_more(&mut out, "\n", report.databases.len(), MAX_ROWS);
    out.push_str("\n| schema | database | tables | rows | size |\n|---|---|--:|--:|--:|\n");
    let mut schemas: Vec<(String, &SchemaSummary)> = report
        .databases
        .iter()
        .flat_map(|database| {
            let name = database.name.to_lossy();
            database
                .schemas
                .iter()
                .map(move |schema| (name.clone(), schema))
        })
        .collect();
    schemas.sort_by(|(_, a), (_, b)| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    for (database, schema) in schemas.iter().take(MAX_SCHEMAS) {
        out.push_str(&format!(
            "| {} | {} | {} | {} | {} |\n",
            code(&schema.name.to_lossy()),
            code(database),
            format::count(schema.tables),
            format::count(schema.rows),
            format::bytes(schema.bytes)
        ));
    }
    push_more(&mut out, "\n", schemas.len(), MAX_SCHEMAS);
    details("Databases and schemas, biggest first", &out)
}

/// What pg_dumpall wrote although it succeeded.
pub(super) fn stderr(report: &Report) -> String {
    if report.warnings.is_empty() {
        return String::new();
    }
    let mut lines: Vec<String> = report
        .warnings
        .iter()
        .take(MAX_ROWS)
        .map(|line| escape::terminal(&escape::shorten(line, MAX_TEXT_CHARS)))
        .collect();
    if report.warnings.len() > MAX_ROWS {
        let more = format::count((report.warnings.len() - MAX_ROWS) as u64);
        lines.push(format!("… and {more} more"));
    }
    let title = "What pg_dumpall wrote to stderr";
    details(title, &escape::markdown_block("text", &lines.join("\n")))
}

/// The commands that get the backup back, for each published copy.
pub(super) fn restore(report: &Report) -> String {
    let Some(archive) = &report.archive else {
        return String::new();
    };
    let mut out = String::new();
    for copy in report.copies.iter().filter(|c| c.published).take(MAX_ROWS) {
        out.push_str(&format!("From {}:\n\n", code(&copy.store)));
        let with_tool = instructions::with_this_tool(&copy.tier, &copy.store, &archive.key);
        let with_psql = instructions::with_psql_alone(&copy.store, &archive.key);
        out.push_str(&escape::markdown_block(
            "sh",
            &format!("{with_tool}\n{with_psql}"),
        ));
        out.push('\n');
    }
    if out.is_empty() {
        return out;
    }
    out.push_str("`RECOVERY.md` in the store says more.\n");
    details("How to restore this backup", &out)
}

/// A part that starts folded.
pub(super) fn details(title: &str, body: &str) -> String {
    format!("<details><summary>{title}</summary>\n\n{body}\n</details>\n")
}

/// The line for what a list leaves out.
pub(super) fn push_more(out: &mut String, lead: &str, total: usize, shown: usize) {
    if total > shown {
        let more = format::count((total - shown) as u64);
        out.push_str(&format!("{lead}… and {more} more\n"));
    }
}

/// The sign and the word of an outcome.
pub(super) fn sign(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Passed => ("✅", "passed"),
        Outcome::Warned => ("⚠️", "warned"),
        Outcome::Failed => ("❌", "failed"),
        Outcome::NotChecked => ("❔", "not checked"),
    }
}

/// A name, shortened, as code.
pub(super) fn code(name: &str) -> String {
    escape::markdown_code(&escape::shorten(name, MAX_NAME_CHARS))
}

/// A sentence, shortened.
pub(super) fn text(text: &str) -> String {
    escape::markdown_prose(&escape::shorten(text, MAX_TEXT_CHARS))
}

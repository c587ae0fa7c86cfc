//! The top of the page of a gate or drill: the verdict, what decided it, what to do, and every check.

use super::{folded, name, prose, text};
use crate::check::{Check, Outcome};
use crate::report::words::{self, Ending};
use crate::report::{Report, format, growth_words, restored_words};

/// Rows of a list; the JSON has them all.
const MAX_ROWS: usize = 100;

/// Everything that the page says of the run.
pub(super) fn section(report: &Report) -> String {
    let mut out = header(report);
    out.push_str(&findings(report));
    out.push_str(&facts(report));
    out.push_str(&restored(report));
    out.push_str(&checks(report));
    out
}

fn header(report: &Report) -> String {
    let (_, word) = words::predicate(report);
    let class = match Ending::of(report) {
        Ending::Passed => "good",
        Ending::DryRun => "warn",
        Ending::Failed | Ending::Error | Ending::Interrupted => "bad",
    };
    let exit = match Ending::of(report) {
        Ending::Passed => String::new(),
        _ => format!(" · exit code {}", report.exit_code),
    };
    let protection = match (&report.last_good, Ending::of(report)) {
        (_, Ending::Passed) => String::new(),
        (Some(good), _) => format!(
            "<p>What still protects you: the backup of {}, {}.</p>",
            format::minute(good.finished_at),
            format::old(good.age_seconds)
        ),
        (None, _) if words::is_about_backups(report) => {
            "<p>No earlier verified backup is known.</p>".to_owned()
        }
        (None, _) => String::new(),
    };
    format!(
        "<header class=\"verdict {class}\"><p class=\"kicker\">{} · {} · {}{exit}</p>\
         <h1>{} <span class=\"word\">{}</span></h1><p>{}.</p>{protection}</header>\n",
        name(&report.cluster),
        format::minute(report.started_at),
        format::duration(report.durations.total_seconds),
        text(&words::subject(report)),
        text(&word),
        text(&capital(words::consequence(report))),
    )
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// What failed or warned, why, and what to do.
fn findings(report: &Report) -> String {
    let mut items = String::new();
    if let Some(error) = &report.error {
        let hint = hint(error.hint.as_deref());
        items.push_str(&format!(
            "<li><span class=\"pill failed\">error</span> {}{hint}</li>\n",
            text(&error.messages.join(": "))
        ));
    }
    for outcome in [Outcome::Failed, Outcome::NotChecked, Outcome::Warned] {
        // What was only not reached says nothing of the reason.
        let said = |check: &&Check| outcome != Outcome::NotChecked || check.hint.is_some();
        for check in words::with(report, outcome).filter(said) {
            items.push_str(&format!(
                "<li>{} <code>{}</code> {}{}</li>\n",
                pill(check.outcome),
                check.id,
                text(&check.evidence),
                hint(check.hint.as_deref())
            ));
        }
    }
    if items.is_empty() {
        return items;
    }
    format!(
        "<section class=\"card\"><h2>What to look at</h2><ul class=\"findings\">\n{items}</ul></section>\n"
    )
}

fn hint(hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("<p>→ {}</p>", prose(hint)),
        None => String::new(),
    }
}

fn pill(outcome: Outcome) -> String {
    let (class, word) = match outcome {
        Outcome::Passed => ("passed", "passed"),
        Outcome::Warned => ("warned", "warned"),
        Outcome::Failed => ("failed", "failed"),
        Outcome::NotChecked => ("open", "not checked"),
    };
    format!("<span class=\"pill {class}\">{word}</span>")
}

fn facts(report: &Report) -> String {
    let mut facts: Vec<(&str, String)> = Vec::new();
    if let Some(archive) = &report.archive {
        facts.push(("Archive", format!("<code>{}</code>", name(&archive.key))));
        let mut size = format!(
            "{} from {}, {} smaller",
            format::bytes(archive.archive_bytes),
            format::bytes(archive.dump_bytes),
            format::ratio(archive.ratio())
        );
        for (change, since) in growth_words::growth(report) {
            size.push_str(&format!(" · {change} {since}"));
        }
        facts.push(("Size", text(&size)));
        facts.push(("Contents", text(&words::contents(report))));
        facts.push((
            "SHA-256",
            format!("<code>{}</code>", archive.archive_sha256),
        ));
    }
    for copy in report.copies.iter().take(MAX_ROWS) {
        let outcome = if copy.published {
            Outcome::Passed
        } else {
            Outcome::Failed
        };
        let said = format!(
            "{} <code>{}</code> {}",
            pill(outcome),
            name(&copy.store),
            text(&copy.detail)
        );
        facts.push(("Copy", said));
    }
    if let Some(source) = &report.source {
        let versions = format!(
            "server {}, pg_dumpall {}",
            source.server_version, source.client_version
        );
        facts.push(("PostgreSQL", text(&versions)));
    }
    if let Some(run) = report.run.as_ref().filter(|run| !run.run_id.is_empty()) {
        let said = format!(
            "{} run {} attempt {}",
            run.repository, run.run_id, run.run_attempt
        );
        facts.push(("Run", text(&said)));
    }
    if facts.is_empty() {
        return String::new();
    }
    let items: String = facts
        .iter()
        .map(|(name, value)| format!("<dt>{name}</dt><dd>{value}</dd>\n"))
        .collect();
    format!(
        "<section class=\"card\"><h2>This run</h2><dl class=\"facts\">\n{items}</dl></section>\n"
    )
}

/// What a drill restored, and what that proved.
fn restored(report: &Report) -> String {
    let Some(done) = &report.restored else {
        return String::new();
    };
    let into = format!("{} into {}", done.scope, restored_words::target(done));
    let mut out = format!(
        "<section class=\"card\"><h2>Restored</h2><p class=\"note\">{}</p>\n",
        text(&capital(&into))
    );
    let cells = |row: &[String]| row.iter().map(|cell| text(cell)).collect();
    if let Some(proof) = &done.proof {
        let rows = restored_words::rows(proof);
        let rows: Vec<Vec<String>> = rows.iter().map(|row| cells(row)).collect();
        let columns = ["", "in the archive", "restored"];
        out.push_str(&super::table("What came back", &columns, &rows));
    }
    let phases = restored_words::phases(done);
    if !phases.is_empty() {
        let rows: Vec<Vec<String>> = phases.iter().map(|row| cells(row)).collect();
        out.push_str(&folded(
            "How long each phase took",
            &["phase", "time"],
            &rows,
        ));
    }
    for (title, lines) in restored_words::findings(done) {
        if lines.is_empty() {
            continue;
        }
        let more = lines.len().saturating_sub(MAX_ROWS);
        let mut items: String = lines
            .iter()
            .take(MAX_ROWS)
            .map(|line| format!("<li>{}</li>\n", text(line)))
            .collect();
        if more > 0 {
            items.push_str(&format!(
                "<li>… and {} more</li>\n",
                format::count(more as u64)
            ));
        }
        out.push_str(&format!(
            "<h3>{title}</h3><ul class=\"findings\">\n{items}</ul>\n"
        ));
    }
    out.push_str("</section>\n");
    out
}

fn checks(report: &Report) -> String {
    if report.checks.is_empty() {
        return String::new();
    }
    let counts: Vec<String> = [
        (Outcome::Failed, "failed"),
        (Outcome::NotChecked, "not checked"),
        (Outcome::Warned, "warned"),
        (Outcome::Passed, "passed"),
    ]
    .into_iter()
    .map(|(outcome, word)| (words::with(report, outcome).count(), word))
    .filter(|(count, _)| *count > 0)
    .map(|(count, word)| format!("{count} {word}"))
    .collect();
    let rows: Vec<Vec<String>> = report
        .checks
        .iter()
        .take(MAX_ROWS)
        .map(|check| {
            vec![
                format!("<code>{}</code>", check.id),
                pill(check.outcome),
                text(&check.evidence),
            ]
        })
        .collect();
    format!(
        "<section class=\"card words\"><h2>Checks</h2><p class=\"note\">{}</p>\n{}</section>\n",
        counts.join(", "),
        folded(
            "Every check and its evidence",
            &["check", "", "evidence"],
            &rows
        )
    )
}

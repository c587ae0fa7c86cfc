//! The HTML report: one file that needs nothing else. No script, no request, charts as inline SVG
//! with their figures in a table behind each. A page of a run opens with its verdict; then, for
//! each cluster, sizes, growth, restore times, tenants and a calendar. Pure.

mod axis;
mod calendar;
mod charts;
mod plot;
mod restores;
mod run;
mod style;
mod tenants;

use super::escape::{self, MAX_NAME_CHARS, MAX_TEXT_CHARS};
use super::{Report, format, words};
use crate::history::series::{History, Identity, Series};
use jiff::Timestamp;

/// What a page is made of.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// When it is made.
    pub now: Timestamp,
    /// Name and version of this program.
    pub tool: &'a str,
    /// The run that it is of.
    pub run: Option<&'a Report>,
    /// The past.
    pub history: &'a History,
}

/// Rows of the list of what is not counted.
const MAX_NOT_COUNTED: usize = 50;

/// The page.
pub fn render(page: &Page<'_>) -> String {
    let all = &page.history.series;
    let title = match (page.run, all.as_slice()) {
        (Some(report), _) => format!("{} of {}", words::subject(report), report.cluster),
        (None, [one]) => format!("Backups of {}", one.cluster),
        (None, _) => "Backups over time".to_owned(),
    };
    let mut body = String::new();
    if let Some(report) = page.run {
        body.push_str(&run::section(report));
    }
    if page.run.is_none() {
        body.push_str(&contents(all));
    }
    for (number, series) in all.iter().enumerate() {
        body.push_str(&section(page, series, number));
    }
    if all.is_empty() && page.run.is_none() {
        body.push_str(
            "<header class=\"verdict bad\"><p class=\"kicker\">Backups</p><h1>No backup yet</h1>\
             <p>The stores hold no verified backup. <code>backup-action gate</code> makes one.</p></header>\n",
        );
    }
    body.push_str(&not_counted(page.history));
    let since = page.history.since.map_or(String::new(), |since| {
        format!(" Looked back to {}.", format::minute(since))
    });
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n{body}</main>\n\
         <footer><p>Made {} by {} from manifests and receipts. Sizes are decimal, times UTC.{since}</p></footer>\n\
         </body>\n</html>\n",
        text(&title),
        style::CSS,
        format::minute(page.now),
        text(page.tool),
    )
}

/// Links to the clusters, when there are several.
fn contents(all: &[Series]) -> String {
    if all.len() < 2 {
        return String::new();
    }
    let count = format::counted(all.len() as u64, "cluster");
    let items: String = all
        .iter()
        .enumerate()
        .map(|(number, series)| {
            format!(
                "<li><a href=\"#c{number}\">{}</a></li>",
                label(series, false)
            )
        })
        .collect();
    format!("<h1>Backups of {count}</h1>\n<nav aria-label=\"Clusters\"><ul>{items}</ul></nav>\n")
}

/// The cluster, where there are several with what tells it from another of that name.
fn label(series: &Series, is_alone: bool) -> String {
    match &series.identity {
        Identity::System(id) if !is_alone => format!(
            "{} <span class=\"muted\">{}</span>",
            name(&series.cluster),
            name(id)
        ),
        Identity::System(_) | Identity::Name(_) => name(&series.cluster),
    }
}

fn section(page: &Page<'_>, series: &Series, number: usize) -> String {
    let id = format!("c{number}");
    let mut out = format!("<section id=\"{id}\" class=\"cluster\">\n");
    out.push_str(&head(page, series));
    out.push_str(&tiles(page.now, series));
    out.push_str("<div class=\"grid\">\n");
    out.push_str(&charts::sizes(series, &id));
    out.push_str(&charts::growth(series, &id));
    out.push_str(&restores::chart(series, &id));
    out.push_str(&calendar::section(series, page.now, &id));
    out.push_str("</div>\n");
    out.push_str(&tenants::section(series, &id));
    out.push_str("</section>\n");
    out
}

/// The verdict of the cluster; below that of a run it is only its name.
fn head(page: &Page<'_>, series: &Series) -> String {
    if page.run.is_some() {
        let cluster = name(&series.cluster);
        return format!("<h2 class=\"over\">Over time: {cluster}</h2>\n");
    }
    let newest = series.newest();
    let failed_since = |since: Timestamp| {
        let failed = series.failed_gates.iter();
        failed.filter(|gate| gate.started_at > since).count() as u64
    };
    let (class, said) = match newest {
        None => ("bad", "No verified backup".to_owned()),
        Some(newest) => {
            let age = page.now.duration_since(newest.finished_at).as_secs();
            let said = format!("Last verified backup is {}", format::old(age));
            match (failed_since(newest.started_at), series.is_overdue(page.now)) {
                (0, false) => ("good", said),
                (0, true) => ("warn", format!("{said}; the next one is overdue")),
                (n, _) => (
                    "bad",
                    format!("{said}; {} since", format::counted(n, "closed gate")),
                ),
            }
        }
    };
    // A page has one first heading.
    let (level, below) = match page.history.series.len() {
        1 => ("h1", "<h2 class=\"unseen\">Over time</h2>\n"),
        _ => ("h2", ""),
    };
    format!(
        "<header class=\"verdict {class}\"><p class=\"kicker\">{}</p><{level}>{}</{level}></header>\n{below}",
        label(series, page.history.series.len() == 1),
        text(&said)
    )
}

/// The figures that are asked for most.
fn tiles(now: Timestamp, series: &Series) -> String {
    let mut tiles: Vec<[String; 3]> = Vec::new();
    if let Some(newest) = series.newest() {
        let size = match newest.archive_bytes {
            Some(archive) => [
                "Archive".to_owned(),
                format::bytes(archive),
                format!("from a dump of {}", format::bytes(newest.dump_bytes)),
            ],
            None => [
                "Dump".to_owned(),
                format::bytes(newest.dump_bytes),
                format::counted(newest.rows, "row"),
            ],
        };
        tiles.push(size);
    }
    if let (Some(newest), Some(then)) = (series.newest(), series.baseline()) {
        tiles.push([
            "Growth of the dump".to_owned(),
            format::change_percent(then.dump_bytes, newest.dump_bytes),
            format!("since {}", format::minute(then.started_at)),
        ]);
    }
    tiles.push(match series.drills.last() {
        None => [
            "Last drill".to_owned(),
            "never".to_owned(),
            "no backup was ever restored".to_owned(),
        ],
        Some(drill) => {
            let age = now.duration_since(drill.finished_at).as_secs();
            let took = drill.restore_seconds.map(format::duration);
            let took = took.unwrap_or_else(|| "an unknown time".to_owned());
            [
                "Last drill".to_owned(),
                if drill.passed { "passed" } else { "failed" }.to_owned(),
                format!("{}, restored in {took}", format::old(age)),
            ]
        }
    });
    tiles.push([
        "Runs that failed".to_owned(),
        format::count(series.failures() as u64),
        format!(
            "beside {}",
            format::counted(series.backups.len() as u64, "verified backup")
        ),
    ]);
    let tiles: String = tiles
        .iter()
        .map(|[name, value, about]| {
            format!(
                "<div><dt>{}</dt><dd class=\"value\">{}</dd><dd>{}</dd></div>\n",
                text(name),
                text(value),
                text(about)
            )
        })
        .collect();
    format!("<dl class=\"tiles\">\n{tiles}</dl>\n")
}

fn not_counted(history: &History) -> String {
    let mut items: String = history
        .not_counted
        .iter()
        .take(MAX_NOT_COUNTED)
        .map(|one| {
            format!(
                "<li><code>{}</code>: {}</li>\n",
                name(&one.place),
                text(&one.reason)
            )
        })
        .collect();
    if history.not_counted.len() > MAX_NOT_COUNTED {
        let more = history.not_counted.len() - MAX_NOT_COUNTED;
        items.push_str(&format!(
            "<li>… and {} more</li>\n",
            format::count(more as u64)
        ));
    }
    if history.foreign_objects > 0 {
        items.push_str(&format!(
            "<li>{} that backup-action did not make</li>\n",
            format::counted(history.foreign_objects, "object")
        ));
    }
    if items.is_empty() {
        return String::new();
    }
    format!("<section class=\"card\"><h2>Not counted</h2><ul>\n{items}</ul></section>\n")
}

/// A table in a region that scrolls by itself, on small screens also by keyboard. The cells are
/// escaped already; the first column is a heading.
fn table(about: &str, columns: &[&str], rows: &[Vec<String>]) -> String {
    let head: String = columns
        .iter()
        .map(|column| format!("<th scope=\"col\">{column}</th>"))
        .collect();
    let rows: String = rows
        .iter()
        .map(|row| {
            let cells: String = row
                .iter()
                .enumerate()
                .map(|(at, cell)| match at {
                    0 => format!("<th scope=\"row\">{cell}</th>"),
                    _ => format!("<td>{cell}</td>"),
                })
                .collect();
            format!("<tr>{cells}</tr>\n")
        })
        .collect();
    format!(
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{about}\"><table>\n\
         <thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n"
    )
}

/// A table behind something.
fn folded(title: &str, columns: &[&str], rows: &[Vec<String>]) -> String {
    format!(
        "<details><summary>{title}</summary>\n{}</details>\n",
        table(title, columns, rows)
    )
}

/// A name, shortened, in HTML.
fn name(name: &str) -> String {
    escape::html(&escape::shorten(name, MAX_NAME_CHARS))
}

/// A sentence of ours, shortened, which may mark commands and names with backticks.
fn prose(text: &str) -> String {
    let parts: Vec<String> = escape::shorten(text, MAX_TEXT_CHARS)
        .split('`')
        .map(escape::html)
        .collect();
    let paired = parts.len() % 2 == 1;
    let mut out = String::new();
    for (at, part) in parts.iter().enumerate() {
        match (at % 2, paired) {
            (_, false) if at > 0 => out.push_str(&format!("`{part}")),
            (1, true) => out.push_str(&format!("<code>{part}</code>")),
            _ => out.push_str(part),
        }
    }
    out
}

/// A sentence, shortened, in HTML.
fn text(text: &str) -> String {
    escape::html(&escape::shorten(text, MAX_TEXT_CHARS))
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::history::series::{NotCounted, Stored, series};

    fn history() -> History {
        let mut older = samples::manifest();
        older.started_at -= jiff::SignedDuration::from_hours(31 * 24);
        older.archive_key = "2025-12/backup_2025-12-18_02-00-01Z.sql.gz".to_owned();
        let stored = [older, samples::manifest()].map(|manifest| Stored {
            store: "local".to_owned(),
            place: String::new(),
            manifest,
        });
        let (series, _) = series(stored.to_vec(), Vec::new(), Vec::new());
        History {
            series,
            not_counted: vec![NotCounted {
                place: "<img src=x onerror=alert(1)>".to_owned(),
                reason: "</script>\u{202e}".to_owned(),
            }],
            foreign_objects: 3,
            since: None,
        }
    }

    /// Every element that is opened is closed, in order; returns their names.
    fn elements(page: &str) -> Vec<String> {
        let mut open: Vec<String> = Vec::new();
        let mut seen = Vec::new();
        let (before, rest) = page.split_once("<style>").unwrap();
        let after = rest.split_once("</style>").unwrap().1;
        for part in format!("{before}{after}").split('<').skip(1) {
            let (tag, _) = part.split_once('>').unwrap();
            let name: String = tag
                .trim_start_matches('/')
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric())
                .collect();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "in {part}");
            } else if !tag.ends_with('/') && name != "meta" && !tag.starts_with('!') {
                open.push(name.clone());
                seen.push(name);
            }
        }
        assert_eq!(open, Vec::<String>::new());
        seen
    }

    #[test]
    fn every_page_is_well_formed_and_holds_nothing_that_acts() {
        let history = history();
        let now = "2026-01-18T05:00:00Z".parse().unwrap();
        let reports = [
            samples::passed(),
            samples::failed(),
            samples::error(),
            samples::interrupted(),
            samples::drill_passed(),
            samples::drill_failed(),
            samples::drill_schema_only(),
            samples::hostile(),
            samples::hostile_drill(),
            samples::crowded(),
        ];
        for run in reports.iter().map(Some).chain([None]) {
            for history in [&history, &History::default()] {
                let page = render(&Page {
                    now,
                    tool: "backup-action 0.1.0",
                    run,
                    history,
                });
                let names = elements(&page);
                for name in ["script", "img", "iframe", "link", "object", "form", "b"] {
                    assert!(!names.iter().any(|seen| seen == name), "{name} in {page}");
                }
                assert!(!page.contains(['\u{202e}', '\u{200b}', '\u{1b}']));
                assert_eq!(page.matches("<h1>").count(), 1);
                assert!(page.contains("default-src 'none'"));
            }
        }
    }

    #[test]
    fn the_verdict_comes_first_and_says_what_to_do() {
        let report = samples::failed();
        let history = history();
        let page = render(&Page {
            now: report.finished_at,
            tool: "t",
            run: Some(&report),
            history: &history,
        });
        let at = |words: &str| page.find(words).unwrap_or_else(|| panic!("{words}"));
        assert!(at("Backup gate <span class=\"word\">failed") < at("dump-exit"));
        assert!(at("dump-exit") < at("Over time: nostromo-prod"));
        assert!(page.contains("→ The kernel&#39;s out-of-memory killer"));
        assert!(page.contains("What still protects you: the backup of 2026-01-17 02:00 UTC"));
    }
}

//! The comment of a pull request, in Markdown: the size first, then what moved, what the changed
//! files touch, and how far away the last gate and drill are. Pure, and shorter than what GitHub
//! accepts, whatever the names are.

use super::changes::{change, percent, signed};
use super::escape::{self, MAX_NAME_CHARS};
use super::folds::{code, text};
use super::format;
use super::last_runs::runs;
use super::sizes::{Change, Comparison, Run, Shown, Sizes, Touch};

/// GitHub ends at 65,536 characters.
pub const MAX_BYTES: usize = 60 * 1024;

/// Rows of each table.
const MAX_DATABASES: usize = 10;
const MAX_SCHEMAS: usize = 10;
const MAX_TOUCHES: usize = 50;
const MAX_NOTES: usize = 10;

/// Bytes of one list: a name may be long, and escaping makes it longer. Five lists fit.
const MAX_LIST_BYTES: usize = 10 * 1024;

/// The body of the comment, without the marker.
pub fn comment(sizes: &Sizes) -> String {
    let mut sections = Vec::new();
    match &sizes.comparison {
        None => sections.push(
            "### No backup yet\n\nThe stores hold no verified backup: run the gate once, and the next comment compares sizes.\n"
                .to_owned(),
        ),
        Some(comparison) => sections.extend([
            headline(comparison),
            totals(comparison),
            schemas(comparison),
            trend(comparison),
        ]),
    }
    sections.push(touches(sizes));
    sections.push(runs(sizes));
    sections.push(notes(sizes));
    sections.push(footer(sizes));
    sections.retain(|section| !section.is_empty());
    sections.join("\n")
}

/// One line for a screen, and the title of the comment: `240 MB, +37 MB (+18.4 %) since …`.
pub fn in_short(sizes: &Sizes) -> String {
    let Some(comparison) = &sizes.comparison else {
        return "no backup yet: run the gate once".to_owned();
    };
    let size = format::bytes(comparison.head.archive_bytes);
    match &comparison.base {
        None => format!("backup size: {size}, the first backup"),
        Some(base) => format!(
            "backup size: {size}, {} since {}",
            change(comparison.head.archive_bytes, base.archive_bytes),
            escape::shorten(&base.name, MAX_NAME_CHARS)
        ),
    }
}

/// What a file does to tables, as one sentence without marks.
pub fn touch_in_short(touch: &Touch, last_drill: Option<&Run>) -> String {
    let tables = escape::shorten(&touch.tables, MAX_NAME_CHARS);
    let restored = match last_drill.map(|drill| (drill.restore_seconds, drill.finished_at)) {
        Some((Some(seconds), time)) => format!(
            "; the last drill restored everything in {} ({})",
            format::duration(seconds),
            time.strftime("%Y-%m-%d")
        ),
        // Of the receipts that were looked at; there may have been others.
        Some((None, _)) | None => {
            "; no receipt says how long a drill took to restore it".to_owned()
        }
    };
    format!(
        "this file {} {tables}: {}{restored}",
        touch.verbs(),
        amounts(touch)
    )
}

fn amounts(touch: &Touch) -> String {
    format!(
        "{}, {}, {}",
        format::counted(touch.table_count, "table"),
        format::counted(touch.rows, "row"),
        format::bytes(touch.bytes)
    )
}

fn headline(comparison: &Comparison) -> String {
    let size = format::bytes(comparison.head.archive_bytes);
    match &comparison.base {
        None => format!(
            "### Backup size: {size}\n\nThe first backup: there is nothing to compare with.\n"
        ),
        Some(base) => format!(
            "### Backup size: {size}, **{}** since {}\n",
            change(comparison.head.archive_bytes, base.archive_bytes),
            label(&base.name)
        ),
    }
}

fn totals(comparison: &Comparison) -> String {
    let head = &comparison.head;
    let baselines: Vec<&Shown> = [&comparison.base, &comparison.month_ago]
        .into_iter()
        .flatten()
        .collect();
    let mut out = String::from("| | now |");
    for baseline in &baselines {
        out.push_str(&format!(
            " {}, {} |",
            label(&baseline.name),
            baseline.started_at.strftime("%Y-%m-%d")
        ));
    }
    out.push_str("\n|---|--:|");
    out.push_str(&"--:|".repeat(baselines.len()));
    out.push('\n');
    let mut row = |name: &str, of: fn(&Shown) -> u64, shown: fn(u64) -> String| {
        out.push_str(&format!("| {name} | {} |", shown(of(head))));
        for baseline in &baselines {
            let difference = i128::from(of(head)) - i128::from(of(baseline));
            let percent = percent(of(head), of(baseline));
            out.push_str(&format!(" {}{percent} |", signed(difference, shown)));
        }
        out.push('\n');
    };
    row("archive", |b| b.archive_bytes, format::bytes);
    row("dump", |b| b.dump_bytes, format::bytes);
    row("rows", |b| b.rows, format::count);
    let rows = comparison.databases.iter().map(|database| {
        let mut line = format!("| {} |", name(&database.database));
        line.push_str(&format!(" {} |", size_of(database)));
        if comparison.base.is_some() {
            line.push_str(&format!(" {} |", change_of(database)));
        }
        if comparison.month_ago.is_some() {
            line.push_str(&format!(" {} |", optional(database.month_change_bytes)));
        }
        line.push('\n');
        line
    });
    out.push_str(&bounded(rows, MAX_DATABASES, "databases"));
    out
}

fn schemas(comparison: &Comparison) -> String {
    let title = match comparison.base {
        Some(_) => "What moved most",
        None => "Largest schemas",
    };
    let mut out = format!("**{title}**\n\n| schema | rows | size |");
    let mut line = String::from("\n|---|--:|--:|");
    for (wanted, title) in [
        (comparison.base.is_some(), " change |"),
        (comparison.month_ago.is_some(), " in a month |"),
    ] {
        if wanted {
            out.push_str(title);
            line.push_str("--:|");
        }
    }
    out.push_str(&line);
    out.push('\n');
    let several = comparison.databases.len() > 1;
    let rows = comparison.schemas.iter().map(|schema| {
        let mut named = name(schema.schema.as_deref().unwrap_or_default());
        if several {
            named.push_str(&format!(" in {}", name(&schema.database)));
        }
        let rows = schema
            .now
            .map_or(String::new(), |now| format::count(now.rows));
        let mut line = format!("| {named} | {rows} | {} |", size_of(schema));
        if comparison.base.is_some() {
            line.push_str(&format!(" {} |", change_of(schema)));
        }
        if comparison.month_ago.is_some() {
            line.push_str(&format!(" {} |", optional(schema.month_change_bytes)));
        }
        line.push('\n');
        line
    });
    let unchanged = format::counted(comparison.unchanged_schemas, "schema");
    if comparison.schemas.is_empty() {
        return match comparison.base {
            Some(_) => format!("No schema changed its size; {unchanged} compared.\n"),
            None => String::new(),
        };
    }
    out.push_str(&bounded(rows, MAX_SCHEMAS, "schemas"));
    if comparison.unchanged_schemas > 0 {
        out.push_str(&format!("\n{unchanged} unchanged.\n"));
    }
    out
}

fn trend(comparison: &Comparison) -> String {
    let [first, .., last] = comparison.trend_bytes.as_slice() else {
        return String::new();
    };
    format!(
        "Sizes of the dump, last {}: {} {} → {}\n",
        comparison.trend_bytes.len(),
        format::sparkline(&comparison.trend_bytes),
        format::bytes(*first),
        format::bytes(*last)
    )
}

fn touches(sizes: &Sizes) -> String {
    if sizes.touches.is_empty() {
        return match sizes.files_read {
            0 => String::new(),
            read => format!(
                "{} of this pull request: no table of the backup is changed.\n",
                format::counted(read, "SQL file")
            ),
        };
    }
    let database = |touch: &Touch| {
        let is_only = sizes
            .touches
            .iter()
            .all(|other| other.database == touch.database);
        if is_only {
            String::new()
        } else {
            format!(" in {}", name(&touch.database))
        }
    };
    let rows = sizes.touches.iter().map(|touch| {
        format!(
            "- {} line {} {} **{}**{}: {}\n",
            name(&touch.file),
            touch.line,
            touch.verbs(),
            name(&touch.tables),
            database(touch),
            amounts(touch)
        )
    });
    let mut out = String::from("**Tables that this pull request changes**\n\n");
    out.push_str(&bounded_items(rows, MAX_TOUCHES, "tables"));
    let last = sizes.last_drill.as_ref();
    if let Some((seconds, drill)) = last.and_then(|d| d.restore_seconds.map(|s| (s, d))) {
        out.push_str(&format!(
            "\nThe last drill restored everything in {} ({}).\n",
            format::duration(seconds),
            drill.finished_at.strftime("%Y-%m-%d")
        ));
    }
    out
}

fn notes(sizes: &Sizes) -> String {
    let rows = sizes
        .notes
        .iter()
        .map(|note| format!("- ℹ️ {}\n", text(note)));
    bounded_items(rows, MAX_NOTES, "notes")
}

fn footer(sizes: &Sizes) -> String {
    let Some(comparison) = &sizes.comparison else {
        return format!("<sub>{}</sub>\n", label(&sizes.tool));
    };
    let shown = |backup: &Shown| {
        format!(
            "{} ({}, {})",
            name(&backup.key),
            label(&backup.name),
            format::minute(backup.started_at)
        )
    };
    let with = match &comparison.base {
        Some(base) => format!(" compared with {}", shown(base)),
        None => String::new(),
    };
    format!(
        "<sub>{}: {}{with} · {}</sub>\n",
        name(&comparison.cluster),
        shown(&comparison.head),
        label(&sizes.tool)
    )
}

/// Rows of a table while there is room, then how many more there are.
fn bounded(rows: impl ExactSizeIterator<Item = String>, max: usize, what: &str) -> String {
    limited(rows, max, |more| {
        format!("| … and {} more {what} |\n", format::count(more))
    })
}

/// Items of a list while there is room, then how many more there are.
fn bounded_items(rows: impl ExactSizeIterator<Item = String>, max: usize, what: &str) -> String {
    limited(rows, max, |more| {
        format!("- … and {} more {what}\n", format::count(more))
    })
}

fn limited(
    rows: impl ExactSizeIterator<Item = String>,
    max: usize,
    and_more: impl Fn(u64) -> String,
) -> String {
    let all = rows.len();
    let mut out = String::new();
    for (shown, row) in rows.enumerate() {
        if shown == max || out.len() + row.len() > MAX_LIST_BYTES {
            out.push_str(&and_more((all - shown) as u64));
            break;
        }
        out.push_str(&row);
    }
    out
}

/// A name as code, short enough that a list of them is worth reading.
fn name(name: &str) -> String {
    code(&escape::shorten(name, 120))
}

/// What a backup is called, which may hold the name of a branch.
fn label(name: &str) -> String {
    text(&escape::shorten(name, 120))
}

fn size_of(change: &Change) -> String {
    match change.now {
        Some(now) => format::bytes(now.bytes),
        None => "gone".to_owned(),
    }
}

fn change_of(change: &Change) -> String {
    let bytes = change.change_bytes.unwrap_or_default();
    let sign = match bytes {
        _ if change.is_new => " new",
        ..0 => " ▼",
        0 => "",
        1.. => " ▲",
    };
    format!("{}{sign}", signed(bytes.into(), format::bytes))
}

fn optional(bytes: Option<i64>) -> String {
    bytes.map_or(String::new(), |bytes| signed(bytes.into(), format::bytes))
}

#[cfg(test)]
mod tests {
    use super::super::last_runs::link;
    use super::super::sizes::{FORMAT, Size};
    use super::*;
    use expect_test::expect;
    use jiff::Timestamp;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn shown(day: &str, name: &str, mb: u64) -> Shown {
        Shown {
            key: format!("2026-01/backup_{day}_02-00-01Z.sql.gz"),
            started_at: time(&format!("{day}T02:00:01Z")),
            name: name.to_owned(),
            archive_bytes: mb * 1_000_000,
            dump_bytes: mb * 3_000_000,
            rows: mb * 20_000,
        }
    }

    fn change_in(schema: Option<&str>, bytes: u64, by: i64, is_new: bool) -> Change {
        Change {
            database: "nostromo".to_owned(),
            schema: schema.map(str::to_owned),
            now: Some(Size {
                bytes,
                rows: 1_204_331,
            }),
            change_bytes: Some(by),
            month_change_bytes: Some(2 * by),
            is_new,
        }
    }

    fn sample() -> Sizes {
        let run = |day: &str, restore_seconds| Run {
            receipt_key: String::new(),
            finished_at: time(&format!("{day}T03:00:00Z")),
            restore_seconds,
            url: Some("https://github.com/acme/payroll/actions/runs/1".to_owned()),
        };
        Sizes {
            format: FORMAT,
            command: "annotate".to_owned(),
            tool: "backup-action 0.1.0".to_owned(),
            now: time("2026-01-18T04:00:00Z"),
            comparison: Some(Comparison {
                cluster: "nostromo-prod".to_owned(),
                head: shown("2026-01-18", "the newest backup", 240),
                base: Some(shown("2026-01-17", "`main`'s last backup", 203)),
                month_ago: Some(shown("2025-12-19", "a month ago", 180)),
                databases: vec![change_in(None, 702_000_000, 38_000_000, false)],
                schemas: vec![
                    change_in(Some("tenant_empresa_7"), 61_000_000, 38_000_000, false),
                    change_in(Some("tenant_empresa_9"), 90_000, 90_000, true),
                    Change {
                        now: None,
                        ..change_in(Some("tenant_empresa_1"), 0, -5_000, false)
                    },
                ],
                unchanged_schemas: 22,
                trend_bytes: vec![180_000_000, 203_000_000, 240_000_000],
            }),
            last_gate: Some(run("2026-01-18", None)),
            gate_receipts: 1,
            last_drill: Some(run("2026-01-09", Some(581.0))),
            drill_receipts: 1,
            touches: vec![Touch {
                file: "migrations/0042_payroll.sql".to_owned(),
                line: 3,
                does: vec!["alters".to_owned(), "updates".to_owned()],
                database: "nostromo".to_owned(),
                tables: "tenant_*.payroll".to_owned(),
                table_count: 24,
                rows: 2_880_000,
                bytes: 410_000_000,
            }],
            files_read: 1,
            notes: vec!["something to know".to_owned()],
        }
    }

    #[test]
    fn the_comment_reads_from_what_matters_to_what_explains_it() {
        let sizes = sample();
        expect![[r#"
            ### Backup size: 240 MB, **+37 MB (+18.2 %)** since `main`'s last backup

            | | now | `main`'s last backup, 2026-01-17 | a month ago, 2025-12-19 |
            |---|--:|--:|--:|
            | archive | 240 MB | +37 MB (+18.2 %) | +60 MB (+33.3 %) |
            | dump | 720 MB | +111 MB (+18.2 %) | +180 MB (+33.3 %) |
            | rows | 4,800,000 | +740,000 (+18.2 %) | +1,200,000 (+33.3 %) |
            | `nostromo` | 702 MB | +38 MB ▲ | +76 MB |

            **What moved most**

            | schema | rows | size | change | in a month |
            |---|--:|--:|--:|--:|
            | `tenant_empresa_7` | 1,204,331 | 61 MB | +38 MB ▲ | +76 MB |
            | `tenant_empresa_9` | 1,204,331 | 90 kB | +90 kB new | +180 kB |
            | `tenant_empresa_1` |  | gone | −5 kB ▼ | −10 kB |

            22 schemas unchanged.

            Sizes of the dump, last 3: ▆▇█ 180 MB → 240 MB

            **Tables that this pull request changes**

            - `migrations/0042_payroll.sql` line 3 alters and updates **`tenant_*.payroll`**: 24 tables, 2,880,000 rows, 410 MB

            The last drill restored everything in 9 m 41 s (2026-01-09).

            Last gate ✅ [60 min ago](https://github.com/acme/payroll/actions/runs/1) · last drill ✅ [9 days ago](https://github.com/acme/payroll/actions/runs/1) (restore 9 m 41 s)

            - ℹ️ something to know

            <sub>`nostromo-prod`: `2026-01/backup_2026-01-18_02-00-01Z.sql.gz` (the newest backup, 2026-01-18 02:00 UTC) compared with `2026-01/backup_2026-01-17_02-00-01Z.sql.gz` (`main`'s last backup, 2026-01-17 02:00 UTC) · backup-action 0.1.0</sub>
        "#]].assert_eq(&comment(&sizes));
        assert_eq!(
            touch_in_short(&sizes.touches[0], sizes.last_drill.as_ref()),
            "this file alters and updates tenant_*.payroll: 24 tables, 2,880,000 rows, 410 MB; the last drill restored everything in 9 m 41 s (2026-01-09)"
        );
        assert_eq!(
            in_short(&sizes),
            "backup size: 240 MB, +37 MB (+18.2 %) since `main`'s last backup"
        );
    }

    #[test]
    fn without_baselines_there_are_no_columns_for_them() {
        let mut sizes = sample();
        sizes.last_drill = None;
        sizes.touches.clear();
        sizes.notes.clear();
        if let Some(comparison) = &mut sizes.comparison {
            comparison.base = None;
            comparison.month_ago = None;
            comparison.trend_bytes.truncate(1);
        }
        let text = comment(&sizes);
        assert!(
            text.contains("| | now |\n|---|--:|\n| archive | 240 MB |\n"),
            "{text}"
        );
        assert!(
            text.contains("| schema | rows | size |\n|---|--:|--:|\n"),
            "{text}"
        );
        assert!(!text.contains("Sizes of the dump"), "{text}");
        sizes.comparison = None;
        let text = comment(&sizes);
        assert!(text.starts_with("### No backup yet\n"), "{text}");
        // Nobody looked for them.
        assert!(
            !text.contains(" gate ✅") && !text.contains("receipt"),
            "{text}"
        );
    }

    #[test]
    fn what_was_not_found_is_said_of_where_it_was_looked_for() {
        let mut sizes = sample();
        sizes.last_gate = None;
        sizes.last_drill = None;
        let mut line = |gates, drills| {
            (sizes.gate_receipts, sizes.drill_receipts) = (gates, drills);
            runs(&sizes)
        };
        expect![[r#"
            No receipt of a gate was found · ⚠️ no receipt of a drill was found
            ⚠️ No passed gate of this cluster in the last receipt of a gate · ⚠️ no passed drill of this cluster in the last receipt of a drill
            ⚠️ No passed gate of this cluster in the last 20 receipts of gates · ⚠️ no passed drill of this cluster in the last 400 receipts of drills
        "#]]
        .assert_eq(&[line(0, 0), line(1, 1), line(20, 400)].concat());
        let touch = touch_in_short(&sizes.touches[0], None);
        assert!(
            touch.ends_with("; no receipt says how long a drill took to restore it"),
            "{touch}"
        );
    }

    #[test]
    fn no_name_makes_it_longer_than_github_takes() {
        for name in ["|", "`", "\u{202e}", "a", "@"] {
            let name = name.repeat(4_000);
            let mut sizes = sample();
            sizes.tool = name.clone();
            sizes.notes = vec![name.clone(); 1_000];
            sizes.touches[0].file = name.clone();
            sizes.touches[0].tables = name.clone();
            sizes.touches = vec![sizes.touches[0].clone(); 1_000];
            if let Some(comparison) = &mut sizes.comparison {
                comparison.cluster = name.clone();
                comparison.head.key = name.clone();
                comparison.head.name = name.clone();
                for change in [&mut comparison.databases, &mut comparison.schemas] {
                    change[0].database = name.clone();
                    change[0].schema = Some(name.clone());
                    *change = vec![change[0].clone(); 1_000];
                }
                let base = comparison.base.iter_mut();
                base.chain(comparison.month_ago.iter_mut())
                    .for_each(|b| b.name = name.clone());
            }
            let text = comment(&sizes);
            assert!(text.len() < MAX_BYTES, "{} bytes", text.len());
            for more in [
                "more databases",
                "more schemas",
                "more tables",
                "more notes",
            ] {
                assert!(text.contains(more), "{more}");
            }
        }
    }

    #[test]
    fn a_link_leads_where_it_says() {
        assert!(link("https://github.com/a/b/actions/runs/1/attempts/2").is_some());
        for bad in [
            "http://x",
            "javascript:x",
            "https://x) [y](https://z",
            "https://x\n",
        ] {
            assert_eq!(link(bad), None, "{bad}");
        }
    }
}

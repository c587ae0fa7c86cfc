//! The report for a terminal or a log: a header, one line a step, the verdict with what failed, why,
//! what to do, and what still protects you. Pure; whoever prints decides on colour and width.

use super::escape::{self, MAX_NAME_CHARS, MAX_TEXT_CHARS};
use super::restored::Restored;
use super::steps;
use super::words::{self, Ending, Step};
use super::{Report, format, growth_words, restored_words};
use crate::check::{Check, Outcome};
use std::fmt::Write as _;

/// How the screen looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether ANSI colours are wanted.
    pub color: bool,
    /// Columns; text is wrapped between words. Less than 40 counts as 40.
    pub width: usize,
}

/// Lines of pg_dumpall's stderr, and notes, that are shown.
const MAX_LINES: usize = 5;

/// Objects, questions and drills of a list that are shown; the JSON has them all.
const MAX_OBJECTS: usize = 20;

/// Lines of a plan of `prune` that are shown.
const MAX_PLAN: usize = 200;

/// The whole screen.
pub fn render(report: &Report, style: Style) -> String {
    let mut out = header(report, style);
    out.push('\n');
    for step in Step::ALL {
        if let Some(line) = step_line(report, step, style) {
            out.push_str(&line);
        }
    }
    out.push_str(&ending(report, style));
    out
}

/// The first line: the command, the cluster, and what is known of it.
pub fn header(report: &Report, style: Style) -> String {
    let mut line = format!(
        "backup-action {} · {}",
        name(&report.command),
        name(&report.cluster)
    );
    if let Some(source) = &report.source {
        let mut about = format!("PostgreSQL {}", name(&source.server_version));
        if !report.databases.is_empty() {
            let schemas: usize = report.databases.iter().map(|d| d.schemas.len()).sum();
            let databases = format::counted(report.databases.len() as u64, "database");
            let schemas = format::counted(schemas as u64, "schema");
            about = format!("{about}, {databases}, {schemas}");
        }
        line = format!("{line} ({about})");
    }
    format!("{}\n", paint(style, Ink::Bold, &line))
}

/// One line for a step, with a final newline; none when the step was not reached. Can be called
/// while the report grows, as soon as the step's checks, figures and duration are in it.
pub fn step_line(report: &Report, step: Step, style: Style) -> Option<String> {
    let summary = steps::step(report, step)?;
    let said = text(&summary.said);
    let (mark, ink) = mark(summary.outcome);
    let lead = format!("  {:<10}  {} ", step.name(), paint(style, ink, mark));
    let mut lines = wrap(&said, width(style).saturating_sub(16 + 12).max(24));
    let first = if lines.is_empty() {
        String::new()
    } else {
        lines.remove(0)
    };
    let mut out = lead + &first;
    if let Some(seconds) = summary.seconds {
        let column = width(style).min(100).saturating_sub(26);
        let used = 16 + first.chars().count();
        let gap = column.saturating_sub(used).max(2);
        let time = format::duration(seconds);
        write_to(&mut out, format_args!("{:gap$}{time:>8}", ""));
    }
    if let Some(rate) = &summary.rate {
        write_to(&mut out, format_args!("   {rate}"));
    }
    out.push('\n');
    for line in lines {
        write_to(&mut out, format_args!("{:16}{line}\n", ""));
    }
    Some(out)
}

/// The one line that is rewritten while a step runs, or printed now and then in a log: no newline,
/// no colour, at most the width. `current` is what is being dumped.
pub fn progress_line(
    step: Step,
    done_bytes: u64,
    seconds: f64,
    current: Option<&str>,
    style: Style,
) -> String {
    let mut parts = vec![format::bytes(done_bytes)];
    parts.extend(format::rate(done_bytes, seconds));
    parts.extend(current.map(name));
    let line = format!("  {:<10}  … {}", step.name(), parts.join(" · "));
    escape::shorten(&line, width(style))
}

/// The verdict and everything below it.
pub fn ending(report: &Report, style: Style) -> String {
    let ending = Ending::of(report);
    let mut out = String::from("\n");
    let code = match ending {
        Ending::Passed => String::new(),
        Ending::DryRun | Ending::Failed | Ending::Error | Ending::Interrupted => {
            format!(" (exit {})", report.exit_code)
        }
    };
    let ink = match ending {
        Ending::Passed => Ink::Green,
        Ending::DryRun => Ink::Yellow,
        Ending::Failed | Ending::Error | Ending::Interrupted => Ink::Red,
    };
    let headline = format!(
        "{} — {}{code}",
        text(&words::headline(report)),
        words::consequence(report)
    );
    push_wrapped(&mut out, 2, &headline, style, Some(ink));
    push_growth(&mut out, report, style);
    match ending {
        Ending::Passed | Ending::DryRun => {}
        Ending::Failed | Ending::Error | Ending::Interrupted => trouble(&mut out, report, style),
    }
    checks(&mut out, "Warnings", report, Outcome::Warned, style);
    if let Some(done) = &report.restored {
        restored(&mut out, report, done, style);
    }
    if let Some(retention) = &report.retention {
        let max = match report.command.as_str() {
            "prune" => MAX_PLAN,
            _ => MAX_OBJECTS,
        };
        let lines = retention.lines(report.dry_run, report.command == "prune");
        at_most(max, &mut out, "Retention", &lines, style);
    }
    lines(&mut out, "pg_dumpall said", &report.warnings, style);
    lines(&mut out, "Notes", &report.notes, style);
    copies(&mut out, report, style);
    out
}

/// `Size of the dump: +1.2 % since yesterday, +6.8 % in a month  ▁▂▂▃`
fn push_growth(out: &mut String, report: &Report, style: Style) {
    let growth: Vec<String> = growth_words::growth(report)
        .into_iter()
        .map(|(change, since)| format!("{change} {since}"))
        .collect();
    if growth.is_empty() {
        return;
    }
    let bars = growth_words::sizes(report).map_or(String::new(), |(_, bars)| format!("  {bars}"));
    let line = format!("Size of the dump: {}{bars}", growth.join(", "));
    push_wrapped(out, 2, &line, style, None);
}

/// What failed, why, what to do, what still protects you.
fn trouble(out: &mut String, report: &Report, style: Style) {
    checks(out, "What failed", report, Outcome::Failed, style);
    if let Some(error) = &report.error {
        section(out, "What happened", style);
        for (depth, message) in error.messages.iter().enumerate() {
            let lead = if depth == 0 { "" } else { "because " };
            push_wrapped(out, 4, &format!("{lead}{}", text(message)), style, None);
        }
        if let Some(hint) = &error.hint {
            push_wrapped(out, 4, &format!("→ {}", text(hint)), style, Some(Ink::Bold));
        }
    }
    let said = |check: &&Check| check.hint.is_some() || Ending::of(report) == Ending::Error;
    if words::with(report, Outcome::NotChecked).any(|check| said(&check)) {
        checks(
            out,
            "What could not be checked",
            report,
            Outcome::NotChecked,
            style,
        );
    } else {
        let count = words::with(report, Outcome::NotChecked).count() as u64;
        if count > 0 {
            let line = format!("{}: not reached.", format::counted(count, "more check"));
            push_wrapped(out, 4, &line, style, None);
        }
    }
    if report.last_good.is_none() && !words::is_about_backups(report) {
        if let Some(line) = words::untouched(report) {
            section(out, "What still protects you", style);
            push_wrapped(out, 4, line, style, None);
        }
        return;
    }
    section(out, "What still protects you", style);
    let published = words::copies_published(report);
    if published > 0 {
        let line = "The copies marked ✓ below were verified and kept.";
        push_wrapped(out, 4, line, style, None);
    }
    let line = match &report.last_good {
        Some(good) => format!(
            "The backup of {} ({}, {}, {}): {}",
            format::minute(good.finished_at),
            format::old(good.age_seconds),
            format::bytes(good.archive_bytes),
            name(&good.tier),
            name(&good.key)
        ),
        None => "No earlier verified backup is known.".to_owned(),
    };
    push_wrapped(out, 4, &line, style, None);
}

fn checks(out: &mut String, title: &str, report: &Report, outcome: Outcome, style: Style) {
    let mut found = words::with(report, outcome).peekable();
    if found.peek().is_none() {
        return;
    }
    section(out, title, style);
    let (mark, ink) = mark(outcome);
    for check in found {
        let lead = format!("    {} {:<20} ", paint(style, ink, mark), check.id.id());
        let indent = 4 + 2 + 21;
        let mut wrapped = wrap(&text(&check.evidence), width(style) - indent.min(20)).into_iter();
        out.push_str(&lead);
        out.push_str(&wrapped.next().unwrap_or_default());
        out.push('\n');
        for line in wrapped {
            write_to(out, format_args!("{:6}{line}\n", ""));
        }
        if let Some(hint) = &check.hint {
            push_wrapped(out, 6, &format!("→ {}", text(hint)), style, None);
        }
    }
}

fn lines(out: &mut String, title: &str, lines: &[String], style: Style) {
    at_most(MAX_LINES, out, title, lines, style);
}

fn at_most(max: usize, out: &mut String, title: &str, lines: &[String], style: Style) {
    if lines.is_empty() {
        return;
    }
    section(out, title, style);
    for line in lines.iter().take(max) {
        push_wrapped(out, 4, &text(line), style, None);
    }
    if lines.len() > max {
        let more = format::count((lines.len() - max) as u64);
        push_wrapped(out, 4, &format!("… and {more} more"), style, None);
    }
}

/// What a restore or drill did: what differs first, then its figures.
fn restored(out: &mut String, report: &Report, done: &Restored, style: Style) {
    for (title, lines) in restored_words::findings(done) {
        at_most(MAX_OBJECTS, out, title, &lines, style);
    }
    let target = restored_words::target(done);
    let title = format!("Restored {} into {target}", done.scope);
    section(out, &text(&title), style);
    for [name, archived, restored] in restored_words::table(done) {
        let line = format!("    {:<16}  {archived:>16}  {restored:>16}", text(&name));
        write_to(out, format_args!("{}\n", line.trim_end()));
    }
    if let Some(time) = restored_words::restore_time(report) {
        push_wrapped(out, 4, &format!("restore time: {time}"), style, None);
    }
    for (title, lines) in restored_words::background(report, done) {
        at_most(MAX_OBJECTS, out, title, &lines, style);
    }
}

fn copies(out: &mut String, report: &Report, style: Style) {
    if report.copies.is_empty() {
        return;
    }
    section(out, "Copies", style);
    for copy in &report.copies {
        let (mark, ink) = if copy.published {
            mark(Outcome::Passed)
        } else {
            mark(Outcome::Failed)
        };
        let line = format!(
            "{} {:<7} {}: {}",
            paint(style, ink, mark),
            name(&copy.tier),
            name(&copy.store),
            text(&copy.detail)
        );
        write_to(out, format_args!("    {line}\n"));
    }
}

fn section(out: &mut String, title: &str, style: Style) {
    write_to(
        out,
        format_args!("\n  {}\n", paint(style, Ink::Bold, title)),
    );
}

fn mark(outcome: Outcome) -> (&'static str, Ink) {
    match outcome {
        Outcome::Passed => ("✓", Ink::Green),
        Outcome::Warned => ("!", Ink::Yellow),
        Outcome::Failed => ("✗", Ink::Red),
        Outcome::NotChecked => ("?", Ink::Yellow),
    }
}

#[derive(Clone, Copy)]
enum Ink {
    Bold,
    Green,
    Yellow,
    Red,
}

fn paint(style: Style, ink: Ink, text: &str) -> String {
    let code = match ink {
        Ink::Bold => "1",
        Ink::Green => "1;32",
        Ink::Yellow => "33",
        Ink::Red => "1;31",
    };
    if style.color {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}

fn push_wrapped(out: &mut String, indent: usize, text: &str, style: Style, ink: Option<Ink>) {
    for line in wrap(text, width(style) - indent) {
        let line = match ink {
            Some(ink) => paint(style, ink, &line),
            None => line,
        };
        write_to(out, format_args!("{:indent$}{line}\n", ""));
    }
}

/// Breaks between words only: a command that was made harmless stays so.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut used = 0;
    for word in text.split(' ') {
        let chars = word.chars().count();
        match lines.last_mut() {
            Some(line) if used + 1 + chars <= width => {
                line.push(' ');
                line.push_str(word);
                used += 1 + chars;
            }
            _ => {
                lines.push(word.to_owned());
                used = chars;
            }
        }
    }
    lines
}

fn width(style: Style) -> usize {
    style.width.max(40)
}

fn name(name: &str) -> String {
    escape::terminal(&escape::shorten(name, MAX_NAME_CHARS))
}

fn text(text: &str) -> String {
    escape::terminal(&escape::shorten(text, MAX_TEXT_CHARS))
}

fn write_to(out: &mut String, args: std::fmt::Arguments<'_>) {
    // Writing to a String has no error to lose.
    match out.write_fmt(args) {
        Ok(()) | Err(std::fmt::Error) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use expect_test::expect;

    const PLAIN: Style = Style {
        color: false,
        width: 100,
    };

    #[test]
    fn passed() {
        expect![[r#"
            backup-action gate · nostromo-prod (PostgreSQL 15.20, 2 databases, 4 schemas)

              preflight   ! 2 checks, 1 warning                                          0.4 s
              dump        ✓ 702 MB, 4,880,024 rows in 74 tables                          8.9 s   78.9 MB/s
              seal        ✓ 240 MB, 2.9 × smaller, 670 gzip members                      0.1 s
              read back   ✓ 240 MB decoded and compared (local, remote)                  1.1 s
              publish     ✓ 2026-01/backup_2026-01-18_02-00-01Z.sql.gz                   0.1 s

              PASSED in 10.6 s — deploy may go on
              Size of the dump: +1.2 % since yesterday, +6.8 % in a month  ▄▄▄▅▅▆▆▆▇▇██

              Warnings
                ! client-patched       pg_dumpall 15.14 lacks the fix for CVE-2026-18408
                  → Install postgresql-client-15 15.19 or newer.

              pg_dumpall said
                pg_dump: warning: there are circular foreign-key constraints

              Notes
                data checksums are off on this cluster

              Copies
                ✓ local   /var/backups/nostromo prod: read back and decoded
                ✓ remote  s3://acme-backups/postgres: read back and decoded
        "#]].assert_eq(&render(&samples::passed(), PLAIN));
    }

    #[test]
    fn drills() {
        expect![[r#"
            backup-action drill · nostromo-prod (PostgreSQL 15.20, 2 databases, 4 schemas)

              restore     ✓ 702 MB into docker postgres:15 (PostgreSQL 15.20)         9 m 41 s   1.21 MB/s
              prove       ✓ equal: 2 databases, 4 schemas, 1,204 entries, 4,880,024 rows in 74    22.0 s
                            tables; 1 harmless difference

              PASSED in 10 m 10 s — the backup restores, and comes back equal

              Questions
                tenants: 24, as expected (at least 1)

              Restored the whole cluster into docker postgres:15 (PostgreSQL 15.20)
                                    in the archive          restored
                databases                        2                 2
                schemas                          4                 4
                entries                      1,204             1,204
                tables                          74                74
                rows                     4,880,024         4,880,024
                phase                         time
                globals                      0.3 s
                before data                  2.7 s
                data                      8 m 20 s
                indexes and keys          1 m 18 s
                restore time: 9 m 41 s of at most 15 m 00 s

              Restore times, last drills
                2025-11-01  ████████████               5 m 00 s    690 MB
                2025-12-01  ██████████████████         7 m 21 s    690 MB  failed
                2026-01-18  ████████████████████████   9 m 41 s    702 MB

              Known harmless differences
                row-order (1 time), first TABLE DATA nostromo: central.tenants
        "#]].assert_eq(&render(&samples::drill_passed(), PLAIN));
        expect![[r#"
            backup-action drill · nostromo-prod (PostgreSQL 15.20, 2 databases, 4 schemas)

              restore     ✗ 1 of 1,204 entries could not be restored                  9 m 41 s   1.21 MB/s
              prove       ✗ 2 differences: other number of rows TABLE DATA nostromo:    22.0 s
                            central.tenants, missing INDEX nostromo: central.tenants_name

              FAILED: restore-complete, round-trip — the backup did not come back as it went in, or not in time
              (exit 1)

              What failed
                ✗ restore-complete     1 of 1,204 entries could not be restored
                  → Repair the source, or acknowledge the defect by name.
                ✗ round-trip           2 differences: other number of rows TABLE DATA nostromo: central.tenants,
                  missing INDEX nostromo: central.tenants_name
                  → Find out which of the two is right before you rely on this backup.
                1 more check: not reached.

              What still protects you
                A drill only reads: the stored backup and the production server are as they were.

              What could not be restored
                INDEX nostromo: central.tenants_name: could not create unique index: Key (name)=(Weyland) is
                duplicated

              What differs
                other number of rows: TABLE DATA nostromo: central.tenants — 24 rows in the archive, 23 restored
                missing: INDEX nostromo: central.tenants_name — it did not come back

              Acknowledged
                MATERIALIZED VIEW DATA nostromo: central.stats (missing): needs a search_path, ticket 7, until
                2026-12-31

              Questions
                tenants: 23, not as expected (at least 1)

              Restored the whole cluster into docker postgres:15 (PostgreSQL 15.20)
                                    in the archive          restored
                databases                        2                 2
                schemas                          4                 4
                entries                      1,204             1,204
                tables                          74                74
                rows                     4,880,024         4,880,023
                phase                         time
                globals                      0.3 s
                before data                  2.7 s
                data                      8 m 20 s
                indexes and keys          1 m 18 s
                restore time: 9 m 41 s of at most 15 m 00 s
        "#]].assert_eq(&render(&samples::drill_failed(), PLAIN));
        let text = render(&samples::drill_schema_only(), PLAIN);
        let verdict =
            "SCHEMA ONLY: PASSED in 3.2 s — no row was restored: this does not count as a drill";
        assert!(text.contains(verdict), "{text}");
        assert!(!text.contains("Restore times"));
    }

    #[test]
    fn a_receipt_that_is_refused() {
        expect![[r#"
            backup-action verify-receipt · nostromo-prod (PostgreSQL 15.20, 2 databases, 4 schemas)

              receipt     ✗ 26 h old, more than 2 h

              FAILED: receipt-fresh — deploy blocked (exit 1)

              What failed
                ✗ receipt-fresh        26 h old, more than 2 h
                  → Run the gate again right before the deploy.

              What still protects you
                The deploy has not begun, and nothing was changed.
        "#]]
        .assert_eq(&render(&samples::receipt_refused(), PLAIN));
    }

    #[test]
    fn a_hostile_drill_steers_nothing() {
        let text = render(&samples::hostile_drill(), PLAIN);
        assert!(text.contains("forged"));
        assert!(
            !text.contains("##[") && !text.contains(['\u{1b}', '\u{202e}']),
            "{text}"
        );
        let acts = |line: &str| line.trim_start().starts_with("::");
        assert!(!text.lines().any(acts), "{text}");
    }

    #[test]
    fn failed() {
        expect![[r#"
            backup-action gate · nostromo-prod (PostgreSQL 15.20)

              preflight   ✓ 2 checks                                                     0.4 s
              dump        ✗ pg_dumpall was killed by signal 9 after 312 MB, in           4.0 s
                            tenant_empresa_9.audit_log (database nostromo)
              seal        ? not reached
              publish     ? not reached

              FAILED: dump-exit, dump-complete — deploy blocked (exit 1)

              What failed
                ✗ dump-exit            pg_dumpall was killed by signal 9 after 312 MB, in tenant_empresa_9.audit_log
                  (database nostromo)
                  → The kernel's out-of-memory killer is the usual cause. Look at `dmesg` on the database host.
                ✗ dump-complete        the trailer of the cluster is missing
                  → Run the gate again once pg_dumpall ends by itself.
                2 more checks: not reached.

              What still protects you
                The backup of 2026-01-17 02:00 UTC (24 h old, 239 MB, remote):
                2026-01/backup_2026-01-17_02-00-01Z.sql.gz

              Copies
                ✗ remote  s3://acme-backups/postgres: upload aborted, nothing was published
        "#]].assert_eq(&render(&samples::failed(), PLAIN));
    }

    #[test]
    fn error() {
        expect![[r#"
            backup-action gate · nostromo-prod (PostgreSQL 15.20)

              preflight   ? could not connect to s3.example: connection refused          3.0 s

              COULD NOT CHECK, gave up after 3.1 s — deploy blocked (exit 3)

              What happened
                could not open store s3://acme-backups/postgres
                because could not connect to s3.example
                because connection refused
                → Check the endpoint and the network of the runner.

              What could not be checked
                ? store-writable       could not connect to s3.example: connection refused
                  → Check the endpoint and the network of the runner.

              What still protects you
                No earlier verified backup is known.
        "#]]
        .assert_eq(&render(&samples::error(), PLAIN));
    }

    #[test]
    fn interrupted() {
        expect![[r#"
            backup-action gate · nostromo-prod (PostgreSQL 15.20)

              preflight   ✓ 1 check                                                      0.4 s
              dump        ? interrupted                                                  4.0 s

              INTERRUPTED by SIGTERM after 4.5 s — deploy blocked (exit 143)
                1 more check: not reached.

              What still protects you
                The backup of 2026-01-17 02:00 UTC (24 h old, 239 MB, remote):
                2026-01/backup_2026-01-17_02-00-01Z.sql.gz

              Copies
                ✗ remote  s3://acme-backups/postgres: upload aborted, nothing was published
        "#]]
        .assert_eq(&render(&samples::interrupted(), PLAIN));
    }

    #[test]
    fn dry_run_says_that_nothing_was_written() {
        let report = Report {
            dry_run: true,
            ..samples::passed()
        };
        let screen = render(&report, PLAIN);
        assert!(screen.contains("dry run: nothing was written, the gate stays closed"));
    }

    #[test]
    fn hostile_names_do_not_act() {
        for style in [PLAIN, Style { width: 0, ..PLAIN }] {
            let screen = render(&samples::hostile(), style);
            assert!(!screen.contains("##["));
            assert!(!screen.contains('\u{1b}'));
            assert!(!screen.lines().any(|l| l.trim_start().starts_with("::")));
            assert!(screen.contains("forged"), "text is shown, not dropped");
        }
    }

    #[test]
    fn progress_fits_the_line() {
        let line = progress_line(
            Step::Dump,
            412_000_000,
            5.0,
            Some("tenant_empresa_14.payroll\n::error::x"),
            PLAIN,
        );
        assert_eq!(
            line,
            "  dump        … 412 MB · 82.4 MB/s · tenant_empresa_14.payroll\\n::error::x"
        );
        let long = "x".repeat(500);
        let line = progress_line(Step::Dump, 1, 0.0, Some(&long), PLAIN);
        assert_eq!(line.chars().count(), 100);
    }

    #[test]
    fn colour_changes_nothing_else() {
        let coloured = render(
            &samples::failed(),
            Style {
                color: true,
                ..PLAIN
            },
        );
        let mut stripped = String::new();
        let mut rest = coloured.as_str();
        while let Some(at) = rest.find('\u{1b}') {
            stripped.push_str(&rest[..at]);
            rest = &rest[at + rest[at..].find('m').unwrap() + 1..];
        }
        stripped.push_str(rest);
        assert_eq!(stripped, render(&samples::failed(), PLAIN));
    }
}

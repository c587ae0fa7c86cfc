//! History for a terminal: one block a cluster, with bars.

use super::escape::{self, MAX_NAME_CHARS};
use super::format;
use crate::history::series::{Backup, History, Identity, Month, Series, percent};
use crate::history::tenants::Tenant;

/// Backups, months, tenants and runs of a block; the JSON has them all.
const MAX_BACKUPS: usize = 14;
const MAX_MONTHS: usize = 14;
const MAX_TENANTS: usize = 15;
const MAX_RUNS: usize = 8;

/// Characters of the longest bar.
const BAR: usize = 24;

/// The whole screen.
pub fn render(history: &History) -> String {
    let mut out = String::new();
    for series in &history.series {
        if !out.is_empty() {
            out.push('\n');
        }
        block(&mut out, series);
    }
    if history.series.is_empty() {
        out.push_str("no backup\n");
    }
    if history.foreign_objects > 0 {
        line(
            &mut out,
            format_args!(
                "\n{} that backup-action did not make: not counted",
                format::counted(history.foreign_objects, "object")
            ),
        );
    }
    out
}

fn block(out: &mut String, series: &Series) {
    let identifier = match &series.identity {
        Identity::System(id) => format!(" (system identifier {})", name(id)),
        Identity::Name(_) => String::new(),
    };
    line(out, format_args!("{}{identifier}", name(&series.cluster)));
    let Some(newest) = series.newest() else {
        line(out, format_args!("  no verified backup"));
        failed(out, series);
        return;
    };
    let baseline = series.baseline();
    line(
        out,
        format_args!(
            "  {} from {}, newest {}{}",
            format::counted(series.backups.len() as u64, "verified backup"),
            format::minute(series.backups[0].started_at),
            format::minute(newest.started_at),
            match baseline {
                Some(then) => format!(
                    "; {} since {}",
                    format::change_percent(then.dump_bytes, newest.dump_bytes),
                    format::minute(then.started_at)
                ),
                None => String::new(),
            }
        ),
    );
    backups(out, series);
    months(out, &series.months());
    tenants(out, &series.tenants(), baseline.is_some());
    drills(out, series);
    failed(out, series);
}

fn backups(out: &mut String, series: &Series) {
    heading(out, "Backups, last ones", ["dump", "archive", "change"]);
    let most = series.backups.iter().map(|b| b.dump_bytes).max();
    let skipped = series.backups.len().saturating_sub(MAX_BACKUPS);
    let mut before: Option<&Backup> = skipped.checked_sub(1).map(|at| &series.backups[at]);
    for backup in &series.backups[skipped..] {
        let change = before.and_then(|before| percent(before.dump_bytes, backup.dump_bytes));
        row(
            out,
            &backup.started_at.strftime("%Y-%m-%d %H:%M").to_string(),
            backup.dump_bytes,
            backup.archive_bytes,
            change,
            most,
        );
        before = Some(backup);
    }
}

fn months(out: &mut String, months: &[Month]) {
    if months.len() < 2 {
        return;
    }
    heading(out, "Month over month", ["dump", "archive", "change"]);
    let most = months.iter().map(|month| month.dump_bytes).max();
    for month in &months[months.len().saturating_sub(MAX_MONTHS)..] {
        row(
            out,
            &month.month.strftime("%Y-%m").to_string(),
            month.dump_bytes,
            month.archive_bytes,
            month.change_percent,
            most,
        );
    }
}

fn heading(out: &mut String, title: &str, columns: [&str; 3]) {
    let [dump, archive, change] = columns;
    line(
        out,
        format_args!("\n  {title:<28}{dump:>9}  {archive:>9}  {change:>9}"),
    );
}

fn row(
    out: &mut String,
    label: &str,
    dump_bytes: u64,
    archive_bytes: Option<u64>,
    change: Option<f64>,
    most: Option<u64>,
) {
    line(
        out,
        format_args!(
            "    {label:<26}{:>9}  {:>9}  {:>9}  {}",
            format::bytes(dump_bytes),
            archive_bytes.map(format::bytes).unwrap_or_default(),
            change.map(format::signed_percent).unwrap_or_default(),
            bar(dump_bytes, most.unwrap_or(0))
        ),
    );
}

fn tenants(out: &mut String, tenants: &[Tenant], has_baseline: bool) {
    if tenants.is_empty() {
        return;
    }
    heading(out, "Schemas, largest first", ["dump", "then", "change"]);
    let most = tenants.first().map_or(0, |tenant| tenant.now.bytes);
    for tenant in tenants.iter().take(MAX_TENANTS) {
        let label = format!("{}.{}", tenant.database, tenant.schema);
        let (then, change) = match tenant.before {
            Some(then) => (
                format::bytes(then.bytes),
                format::change_percent(then.bytes, tenant.now.bytes),
            ),
            None if has_baseline => (String::new(), "new".to_owned()),
            None => (String::new(), String::new()),
        };
        line(
            out,
            format_args!(
                "    {:<26}{:>9}  {then:>9}  {change:>9}  {}",
                escape::shorten(&escape::terminal(&label), 25),
                format::bytes(tenant.now.bytes),
                bar(tenant.now.bytes, most)
            ),
        );
    }
    if tenants.len() > MAX_TENANTS {
        let more = format::count((tenants.len() - MAX_TENANTS) as u64);
        line(out, format_args!("    … and {more} more"));
    }
}

fn drills(out: &mut String, series: &Series) {
    if series.drills.is_empty() {
        return;
    }
    line(out, format_args!("\n  Restore drills"));
    let seconds = |drill: &crate::history::series::Drill| drill.restore_seconds.unwrap_or(0.0);
    let most = series.drills.iter().map(seconds).fold(0.0, f64::max);
    for drill in &series.drills[series.drills.len().saturating_sub(MAX_RUNS)..] {
        let (mark, took) = match (drill.passed, drill.restore_seconds) {
            (true, Some(seconds)) => ("✓", format::duration(seconds)),
            (false, Some(seconds)) => ("✗", format::duration(seconds)),
            (_, None) => ("✗", "not restored".to_owned()),
        };
        line(
            out,
            format_args!(
                "    {}  {mark} {took:>12}  {}",
                format::minute(drill.finished_at),
                bar((seconds(drill) * 1000.0) as u64, (most * 1000.0) as u64)
            ),
        );
    }
}

fn failed(out: &mut String, series: &Series) {
    if series.failed_gates.is_empty() {
        return;
    }
    line(out, format_args!("\n  Gates that stayed closed"));
    let gates = &series.failed_gates;
    for gate in &gates[gates.len().saturating_sub(MAX_RUNS)..] {
        let by = match gate.closed_by.as_slice() {
            [] => "could not check".to_owned(),
            checks => checks.join(", "),
        };
        let time = format::minute(gate.started_at);
        line(out, format_args!("    {time}  ✗ {}", name(&by)));
    }
}

fn bar(value: u64, most: u64) -> String {
    let chars = (value as f64 / most.max(1) as f64 * BAR as f64).round() as usize;
    "█".repeat(chars.min(BAR).max(usize::from(value > 0)))
}

fn name(text: &str) -> String {
    escape::terminal(&escape::shorten(text, MAX_NAME_CHARS))
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.push_str(&format!("{text}\n"));
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::history::series::{FailedGate, Stored, series};
    use expect_test::expect;

    #[test]
    fn a_block_reads_from_left_to_right() {
        let mut older = samples::manifest();
        older.started_at -= jiff::SignedDuration::from_hours(31 * 24);
        older.archive_key = "2025-12/backup_2025-12-18_02-00-01Z.sql.gz".to_owned();
        older.archive.dump_bytes = 420_000_000;
        older.databases[0].schemas[2].bytes = 20_000_000;
        older.databases[0].schemas.remove(1);
        let gate = FailedGate {
            key: String::new(),
            cluster: "nostromo-prod".to_owned(),
            system_identifier: None,
            started_at: older.started_at,
            closed_by: vec!["dump-exit".to_owned()],
        };
        let stored = [older, samples::manifest()].map(|manifest| Stored {
            store: "local".to_owned(),
            place: String::new(),
            manifest,
        });
        let (series, _) = series(stored.to_vec(), Vec::new(), vec![gate]);
        let text = render(&History {
            series,
            foreign_objects: 1,
            ..History::default()
        });
        expect![[r#"
            nostromo-prod (system identifier 7300000000000000001)
              2 verified backups from 2025-12-18 02:00 UTC, newest 2026-01-18 02:00 UTC; +67.2 % since 2025-12-18 02:00 UTC

              Backups, last ones               dump    archive     change
                2025-12-18 02:00             420 MB     240 MB             ██████████████
                2026-01-18 02:00             702 MB     240 MB    +67.2 %  ████████████████████████

              Month over month                 dump    archive     change
                2025-12                      420 MB     240 MB             ██████████████
                2026-01                      702 MB     240 MB    +67.2 %  ████████████████████████

              Schemas, largest first           dump       then     change
                nostromo.tenant_empresa_7     61 MB      20 MB     +205 %  ████████████████████████
                nostromo.central             1.2 MB     1.2 MB       ±0 %  █
                nostromo.parametros           90 kB                   new  █
                postgres.public                4 kB       4 kB       ±0 %  █

              Gates that stayed closed
                2025-12-18 02:00 UTC  ✗ dump-exit

            1 object that backup-action did not make: not counted
        "#]].assert_eq(&text);
        assert_eq!(render(&History::default()), "no backup\n");
    }
}

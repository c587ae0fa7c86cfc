//! The job summary in Markdown: the verdict first, then what matters, the rest folded. Pure, and
//! never longer than [`MAX_BYTES`].

use super::escape;
use super::folds::{self, MAX_ROWS, code, push_more, sign, text};
use super::steps;
use super::words::{self, Ending, Step};
use super::{Report, format, growth_markdown, restored_markdown};
use crate::check::{Check, Outcome};

/// The runner drops a whole summary above 1 MiB.
pub const MAX_BYTES: usize = 900 * 1024;

/// The job summary.
pub fn summary(report: &Report) -> String {
    let mut sections = vec![verdict(report)];
    match Ending::of(report) {
        Ending::Passed | Ending::DryRun => sections.extend([
            restored_markdown::differences(report),
            warned(report),
            facts(report),
            growth_markdown::sizes(report),
            restored_markdown::proof(report),
            retention(report),
            notes(report),
            steps(report),
            restored_markdown::folded(report),
            folds::checks(report),
            growth_markdown::movers(report),
            folds::contents(report),
            folds::stderr(report),
            folds::restore(report),
        ]),
        Ending::Failed | Ending::Error | Ending::Interrupted => sections.extend([
            what_failed(report),
            protection(report),
            restored_markdown::differences(report),
            warned(report),
            facts(report),
            growth_markdown::sizes(report),
            restored_markdown::proof(report),
            retention(report),
            notes(report),
            steps(report),
            restored_markdown::folded(report),
            folds::checks(report),
            growth_markdown::movers(report),
            folds::contents(report),
            folds::stderr(report),
            folds::restore(report),
        ]),
    }
    sections.push(footer(report));
    join(sections)
}

/// Joins what fits. A section is never cut in the middle: an open `<details>` would swallow the rest.
fn join(sections: Vec<String>) -> String {
    const CUT: &str = "\n*The rest is in the JSON report: this summary has a size limit.*\n";
    let mut out = String::new();
    for section in sections.iter().filter(|section| !section.is_empty()) {
        if out.len() + section.len() + 1 + CUT.len() > MAX_BYTES {
            out.push_str(CUT);
            return out;
        }
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(section);
    }
    out
}

fn verdict(report: &Report) -> String {
    let (sign, word) = words::predicate(report);
    let mut line = format!(
        "{} · {} · {}",
        code(&report.cluster),
        format::minute(report.started_at),
        format::duration(report.durations.total_seconds)
    );
    if Ending::of(report) != Ending::Passed {
        line.push_str(&format!(" · exit code {}", report.exit_code));
    }
    format!(
        "## {sign} {} {} — {}\n\n{line}\n",
        text(&words::subject(report)),
        text(&word),
        words::consequence(report)
    )
}

fn what_failed(report: &Report) -> String {
    let mut out = String::new();
    let failed: Vec<_> = words::with(report, Outcome::Failed).collect();
    if !failed.is_empty() {
        out.push_str("### What failed, why, and what to do\n\n");
        for check in &failed {
            out.push_str(&item(check));
        }
    }
    if let Some(error) = &report.error {
        out.push_str("### What happened, and what to do\n\n");
        let messages: Vec<_> = error.messages.iter().map(|m| text(m)).collect();
        out.push_str(&format!("- **{}**\n", messages.join(": ")));
        if let Some(hint) = &error.hint {
            out.push_str(&format!("  - 👉 {}\n", text(hint)));
        }
    }
    let open: Vec<_> = words::with(report, Outcome::NotChecked).collect();
    if failed.is_empty() {
        if !open.is_empty() {
            out.push_str("\n### What could not be checked\n\n");
        }
        for check in open {
            out.push_str(&item(check));
        }
    } else if !open.is_empty() {
        let count = format::counted(open.len() as u64, "more check");
        out.push_str(&format!("\n{count}: not reached.\n"));
    }
    out
}

fn protection(report: &Report) -> String {
    let mut out = String::from("### What still protects you\n\n");
    if report.last_good.is_none() && !words::is_about_backups(report) {
        return match words::untouched(report) {
            Some(line) => format!("{out}{line}\n"),
            None => String::new(),
        };
    }
    match &report.last_good {
        Some(good) => out.push_str(&format!(
            "The last good backup, **{}**: {} of {}, {}, {} store.\n",
            format::old(good.age_seconds),
            code(&good.key),
            format::minute(good.finished_at),
            format::bytes(good.archive_bytes),
            text(&good.tier)
        )),
        None => out.push_str("**No earlier verified backup is known.**\n"),
    }
    for copy in report.copies.iter().filter(|copy| copy.published) {
        out.push_str(&format!(
            "\nThe copy of this run in {} was verified and kept.\n",
            code(&copy.store)
        ));
    }
    out
}

fn warned(report: &Report) -> String {
    let mut out = String::new();
    for check in words::with(report, Outcome::Warned) {
        out.push_str(&item(check));
    }
    if out.is_empty() {
        out
    } else {
        format!("### Warnings\n\n{out}")
    }
}

fn item(check: &Check) -> String {
    let (sign, _) = sign(check.outcome);
    let mut out = format!("- {sign} `{}`: {}\n", check.id, text(&check.evidence));
    if let Some(hint) = &check.hint {
        out.push_str(&format!("  - 👉 {}\n", text(hint)));
    }
    out
}

fn facts(report: &Report) -> String {
    let mut rows: Vec<(&str, String)> = restored_markdown::facts(report);
    if let Some(archive) = &report.archive {
        rows.push(("Archive", code(&archive.key)));
        rows.push((
            "Size",
            format!(
                "**{}** (from {}, {} smaller)",
                format::bytes(archive.archive_bytes),
                format::bytes(archive.dump_bytes),
                format::ratio(archive.ratio())
            ) + &growth_markdown::changes(report),
        ));
        rows.push(("Contents", words::contents(report)));
        rows.push((
            "SHA-256 of the archive",
            format!("`{}`", archive.archive_sha256),
        ));
        rows.push(("SHA-256 of the dump", format!("`{}`", archive.dump_sha256)));
    }
    for copy in report.copies.iter().take(MAX_ROWS) {
        let sign = if copy.published { "✅" } else { "❌" };
        let name = match copy.tier.as_str() {
            "local" => "Local copy",
            "remote" => "Remote copy",
            _ => "Copy",
        };
        let said = format!("{sign} {}: {}", code(&copy.store), text(&copy.detail));
        rows.push((name, said));
    }
    if let Some(source) = &report.source {
        let passwords = if source.role_passwords {
            ""
        } else {
            " · **without the passwords of the roles**"
        };
        rows.push((
            "Versions",
            format!(
                "server {} · pg_dumpall {} · {}{passwords}",
                text(&source.server_version),
                text(&source.client_version),
                text(&report.tool)
            ),
        ));
    }
    if rows.is_empty() {
        return String::new();
    }
    let mut out = String::from("| | |\n|---|---|\n");
    for (name, value) in rows {
        out.push_str(&format!("| {name} | {value} |\n"));
    }
    out
}

fn retention(report: &Report) -> String {
    let Some(retention) = &report.retention else {
        return String::new();
    };
    let mut out = format!(
        "**Retention**: {}\n\n| Tier | Kept | Deleted | Archived | Freed | Limit |\n|---|--:|--:|--:|--:|---|\n",
        text(&retention.evidence(report.dry_run))
    );
    for tier in &retention.tiers {
        out.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} |\n",
            text(&tier.tier),
            tier.kept,
            tier.deleted,
            tier.archived,
            format::bytes(tier.freed_bytes),
            text(&tier.limit)
        ));
    }
    let lines = retention.lines(report.dry_run, false);
    if lines.is_empty() {
        return out;
    }
    out.push('\n');
    for line in lines.iter().take(MAX_ROWS) {
        out.push_str(&format!("- {}\n", text(line)));
    }
    push_more(&mut out, "\n", lines.len(), MAX_ROWS);
    out
}

fn steps(report: &Report) -> String {
    let mut out = String::new();
    for step in Step::ALL {
        let Some(summary) = steps::step(report, step) else {
            continue;
        };
        let seconds = summary.seconds.map_or_else(String::new, format::duration);
        let (sign, _) = sign(summary.outcome);
        out.push_str(&format!(
            "| {} | {sign} {} | {seconds} | {} |\n",
            step.name(),
            text(&summary.said),
            summary.rate.unwrap_or_default()
        ));
    }
    if out.is_empty() {
        return out;
    }
    format!("| step | | time | |\n|---|---|--:|--:|\n{out}")
}

fn notes(report: &Report) -> String {
    let mut out = String::new();
    for note in report.notes.iter().take(MAX_ROWS) {
        out.push_str(&format!("- ℹ️ {}\n", text(note)));
    }
    push_more(&mut out, "- ", report.notes.len(), MAX_ROWS);
    out
}

fn footer(report: &Report) -> String {
    match &report.run {
        Some(run) => format!(
            "{} · {} · run {} attempt {}\n",
            text(&report.tool),
            code(&escape::shorten(&run.sha, 12)),
            text(&run.run_id),
            text(&run.run_attempt)
        ),
        None => format!("{}\n", text(&report.tool)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use expect_test::expect;

    #[test]
    fn passed() {
        expect![[r#"
            ## ✅ Backup gate passed — deploy may go on

            `nostromo-prod` · 2026-01-18 02:00 UTC · 10.6 s

            ### Warnings

            - ⚠️ `client-patched`: pg_dumpall 15.14 lacks the fix for CVE-2026-18408
              - 👉 Install postgresql-client-15 15.19 or newer.

            | | |
            |---|---|
            | Archive | `2026-01/backup_2026-01-18_02-00-01Z.sql.gz` |
            | Size | **240 MB** (from 702 MB, 2.9 × smaller) · **+1.2 %** since yesterday · **+6.8 %** in a month |
            | Contents | 2 databases, 4 schemas, 74 tables, 4,880,024 rows |
            | SHA-256 of the archive | `e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1` |
            | SHA-256 of the dump | `9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f` |
            | Local copy | ✅ `/var/backups/nostromo prod`: read back and decoded |
            | Remote copy | ✅ `s3://acme-backups/postgres`: read back and decoded |
            | Versions | server 15.20 · pg_dumpall 15.20 · backup-action 0.1.0 |

            Sizes of the dump, last 12: ▄▄▄▅▅▆▆▆▇▇██

            - ℹ️ data checksums are off on this cluster

            | step | | time | |
            |---|---|--:|--:|
            | preflight | ⚠️ 2 checks, 1 warning | 0.4 s |  |
            | dump | ✅ 702 MB, 4,880,024 rows in 74 tables | 8.9 s | 78.9 MB/s |
            | seal | ✅ 240 MB, 2.9 × smaller, 670 gzip members | 0.1 s |  |
            | read back | ✅ 240 MB decoded and compared (local, remote) | 1.1 s |  |
            | publish | ✅ 2026-01/backup_2026-01-18_02-00-01Z.sql.gz | 0.1 s |  |

            <details><summary>Checks: 1 warned, 10 passed</summary>

            | | check | evidence |
            |---|---|---|
            | ✅ | `server-reachable` | PostgreSQL 15.20 at 10.0.3.7:5432 |
            | ⚠️ | `client-patched` | pg_dumpall 15.14 lacks the fix for CVE-2026-18408 |
            | ✅ | `dump-exit` | pg_dumpall ended with status 0 |
            | ✅ | `dump-complete` | trailer of the cluster and of 2 databases |
            | ✅ | `inventory` | 2 databases, 4 schemas, 74 tables, all in the archive |
            | ✅ | `not-empty` | 702 MB |
            | ✅ | `gzip-stream` | 670 members decode to what went in |
            | ✅ | `stored-length` | 240,100,000 bytes in local, remote |
            | ✅ | `stored-readback` | 240 MB decoded and compared (local, remote) |
            | ✅ | `remote-copy` | s3&#58;//acme-backups/postgres |
            | ✅ | `manifest-published` | written last, reads back |

            </details>

            <details><summary>Schemas that changed most, new, gone</summary>

            Compared with `2026-01/31_days_ago.sql.gz` of 2025-12-18 02:00 UTC.

            | schema | database | then | now | change | |
            |---|---|--:|--:|--:|--:|
            | `tenant_empresa_7` | `nostromo` | 23 MB | 61 MB | **+38 MB** | +165 % |
            | `tenant_empresa_8` | `nostromo` | 9 MB |  | **−9 MB** | gone |
            | `parametros` | `nostromo` |  | 90 kB | **+90 kB** | new |

            2 more changed, 1 did not.

            </details>

            <details><summary>Databases and schemas, biggest first</summary>

            | database | schemas | tables | rows | size |
            |---|--:|--:|--:|--:|
            | `nostromo` | 3 | 73 | 4,880,000 | 702 MB |
            | `postgres` | 1 | 1 | 24 | 4 kB |

            | schema | database | tables | rows | size |
            |---|---|--:|--:|--:|
            | `tenant_empresa_7` | `nostromo` | 30 | 1,204,331 | 61 MB |
            | `central` | `nostromo` | 9 | 12,000 | 1.2 MB |
            | `parametros` | `nostromo` | 4 | 400 | 90 kB |
            | `public` | `postgres` | 1 | 24 | 4 kB |

            </details>

            <details><summary>What pg_dumpall wrote to stderr</summary>

            ```text
            pg_dump: warning: there are circular foreign-key constraints
            ```

            </details>

            <details><summary>How to restore this backup</summary>

            From `/var/backups/nostromo prod`:

            ```sh
            # with this tool: check every byte, then one schema as SQL
            backup-action verify --local '/var/backups/nostromo prod' 2026-01/backup_2026-01-18_02-00-01Z.sql.gz
            backup-action extract --local '/var/backups/nostromo prod' 2026-01/backup_2026-01-18_02-00-01Z.sql.gz --schema NAME > NAME.sql

            # without it: the whole cluster, into a fresh one (psql -h … for another than the local)
            gunzip -c '/var/backups/nostromo prod/2026-01/backup_2026-01-18_02-00-01Z.sql.gz' | psql -X -v ON_ERROR_STOP=1 -d postgres
            ```

            From `s3://acme-backups/postgres`:

            ```sh
            # with this tool: check every byte, then one schema as SQL
            backup-action verify --remote s3://acme-backups/postgres 2026-01/backup_2026-01-18_02-00-01Z.sql.gz
            backup-action extract --remote s3://acme-backups/postgres 2026-01/backup_2026-01-18_02-00-01Z.sql.gz --schema NAME > NAME.sql

            # without it: the whole cluster, into a fresh one (psql -h … for another than the local)
            aws s3 cp s3://acme-backups/postgres/2026-01/backup_2026-01-18_02-00-01Z.sql.gz - | gunzip -c | psql -X -v ON_ERROR_STOP=1 -d postgres
            ```

            `RECOVERY.md` in the store says more.

            </details>

            backup-action 0.1.0 · `0123456789a…` · run 4711 attempt 2
        "#]].assert_eq(&summary(&samples::passed()));
    }

    #[test]
    fn failed() {
        expect![[r#"
            ## ❌ Backup gate failed — deploy blocked

            `nostromo-prod` · 2026-01-18 02:00 UTC · 4.5 s · exit code 1

            ### What failed, why, and what to do

            - ❌ `dump-exit`: pg_dumpall was killed by signal 9 after 312 MB, in tenant_empresa_9.audit_log (database nostromo)
              - 👉 The kernel's out-of-memory killer is the usual cause. Look at `dmesg` on the database host.
            - ❌ `dump-complete`: the trailer of the cluster is missing
              - 👉 Run the gate again once pg_dumpall ends by itself.

            2 more checks: not reached.

            ### What still protects you

            The last good backup, **24 h old**: `2026-01/backup_2026-01-17_02-00-01Z.sql.gz` of 2026-01-17 02:00 UTC, 239 MB, remote store.

            | | |
            |---|---|
            | Remote copy | ❌ `s3://acme-backups/postgres`: upload aborted, nothing was published |
            | Versions | server 15.20 · pg_dumpall 15.20 · backup-action 0.1.0 |

            | step | | time | |
            |---|---|--:|--:|
            | preflight | ✅ 2 checks | 0.4 s |  |
            | dump | ❌ pg_dumpall was killed by signal 9 after 312 MB, in tenant_empresa_9.audit_log (database nostromo) | 4.0 s |  |
            | seal | ❔ not reached |  |  |
            | publish | ❔ not reached |  |  |

            <details><summary>Checks: 2 failed, 2 not checked, 2 passed</summary>

            | | check | evidence |
            |---|---|---|
            | ✅ | `server-reachable` | PostgreSQL 15.20 at 10.0.3.7:5432 |
            | ✅ | `client-patched` | 15.20 |
            | ❌ | `dump-exit` | pg_dumpall was killed by signal 9 after 312 MB, in tenant_empresa_9.audit_log (database nostromo) |
            | ❌ | `dump-complete` | the trailer of the cluster is missing |
            | ❔ | `gzip-stream` | not reached |
            | ❔ | `manifest-published` | not reached |

            </details>

            backup-action 0.1.0 · `0123456789a…` · run 4711 attempt 2
        "#]].assert_eq(&summary(&samples::failed()));
    }

    #[test]
    fn error() {
        expect![[r#"
            ## ❌ Backup gate could not check — deploy blocked

            `nostromo-prod` · 2026-01-18 02:00 UTC · 3.1 s · exit code 3

            ### What happened, and what to do

            - **could not open store s3&#58;//acme-backups/postgres: could not connect to s3.example: connection refused**
              - 👉 Check the endpoint and the network of the runner.

            ### What could not be checked

            - ❔ `store-writable`: could not connect to s3.example: connection refused
              - 👉 Check the endpoint and the network of the runner.

            ### What still protects you

            **No earlier verified backup is known.**

            | | |
            |---|---|
            | Versions | server 15.20 · pg_dumpall 15.20 · backup-action 0.1.0 |

            | step | | time | |
            |---|---|--:|--:|
            | preflight | ❔ could not connect to s3.example: connection refused | 3.0 s |  |

            <details><summary>Checks: 1 not checked, 1 passed</summary>

            | | check | evidence |
            |---|---|---|
            | ✅ | `server-reachable` | PostgreSQL 15.20 at 10.0.3.7:5432 |
            | ❔ | `store-writable` | could not connect to s3.example: connection refused |

            </details>

            backup-action 0.1.0 · `0123456789a…` · run 4711 attempt 2
        "#]].assert_eq(&summary(&samples::error()));
    }

    #[test]
    fn interrupted() {
        let text = summary(&samples::interrupted());
        expect!["## ❌ Backup gate was interrupted by SIGTERM — deploy blocked"]
            .assert_eq(text.lines().next().unwrap());
        assert!(text.contains("exit code 143"));
    }

    #[test]
    fn hostile_names_are_shown_and_inert() {
        let text = summary(&samples::hostile());
        expect![[r#"
            ## ✅ Backup gate passed — deploy may go on

            <code>prod&#92;n&#58;&#58;set-output name=passed&#58;&#58;true</code> · 2026-01-18 02:00 UTC · 10.6 s

            ### Warnings

            - ⚠️ `client-patched`: FATAL: ##&#92;&#91;error&#93;forged&#92;n::error::forged &#124; &#60;b&#62; `x` @<!-- -->acme
              - 👉 Install postgresql-client-15 15.19 or newer.

            | | |
            |---|---|
            | Archive | <code>2026-01/&#96;&#36;&#40;touch x&#41;&#96;&#124;&#60;b&#62;.sql.gz</code> |
            | Size | **240 MB** (from 702 MB, 2.9 × smaller) · **+1.2 %** since yesterday · **+6.8 %** in a month |
            | Contents | 6 databases, 6 schemas, 6 tables, 4,880,024 rows |
            | SHA-256 of the archive | `e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1` |
            | SHA-256 of the dump | `9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f` |
            | Local copy | ✅ `/tmp/it's $(here)`: read back and decoded |
            | Remote copy | ✅ `s3://acme-backups/postgres`: read back and decoded |
            | Versions | server 15.20 · pg_dumpall 15.20 · backup-action 0.1.0 |

            Sizes of the dump, last 12: ▄▄▄▅▅▆▆▆▇▇██

            - ℹ️ data checksums are off on this cluster

            | step | | time | |
            |---|---|--:|--:|
            | preflight | ⚠️ 2 checks, 1 warning | 0.4 s |  |
            | dump | ✅ 702 MB, 4,880,024 rows in 6 tables | 8.9 s | 78.9 MB/s |
            | seal | ✅ 240 MB, 2.9 × smaller, 670 gzip members | 0.1 s |  |
            | read back | ✅ 240 MB decoded and compared (local, remote) | 1.1 s |  |
            | publish | ✅ 2026-01/`$(touch x)`&#124;&#60;b&#62;.sql.gz | 0.1 s |  |

            <details><summary>Checks: 1 warned, 10 passed</summary>

            | | check | evidence |
            |---|---|---|
            | ✅ | `server-reachable` | PostgreSQL 15.20 at 10.0.3.7:5432 |
            | ⚠️ | `client-patched` | FATAL: ##&#92;&#91;error&#93;forged&#92;n::error::forged &#124; &#60;b&#62; `x` @<!-- -->acme |
            | ✅ | `dump-exit` | pg_dumpall ended with status 0 |
            | ✅ | `dump-complete` | trailer of the cluster and of 2 databases |
            | ✅ | `inventory` | 2 databases, 4 schemas, 74 tables, all in the archive |
            | ✅ | `not-empty` | 702 MB |
            | ✅ | `gzip-stream` | 670 members decode to what went in |
            | ✅ | `stored-length` | 240,100,000 bytes in local, remote |
            | ✅ | `stored-readback` | 240 MB decoded and compared (local, remote) |
            | ✅ | `remote-copy` | s3&#58;//acme-backups/postgres |
            | ✅ | `manifest-published` | written last, reads back |

            </details>

            <details><summary>Schemas that changed most, new, gone</summary>

            Compared with `2026-01/31_days_ago.sql.gz` of 2025-12-18 02:00 UTC.

            | schema | database | then | now | change | |
            |---|---|--:|--:|--:|--:|
            | `<script>alert(1)</script>` | `<script>alert(1)</script>` | 23 MB | 61 MB | **+38 MB** | +165 % |
            | <code>a&#124;b&#96;c&#96;&#96;d</code> | <code>a&#124;b&#96;c&#96;&#96;d</code> | 9 MB |  | **−9 MB** | gone |
            | `</details></table>` | `</details></table>` |  | 90 kB | **+90 kB** | new |

            2 more changed, 1 did not.

            </details>

            <details><summary>Databases and schemas, biggest first</summary>

            | database | schemas | tables | rows | size |
            |---|--:|--:|--:|--:|
            | `<script>alert(1)</script>` | 1 | 1 | 1 | 10 B |
            | <code>a&#124;b&#96;c&#96;&#96;d</code> | 1 | 1 | 1 | 10 B |
            | `</details></table>` | 1 | 1 | 1 | 10 B |
            | <code>x&#92;n&#58;&#58;error&#58;&#58;forged&#92;n&#35;&#35;&#92;&#91;error&#93;forged</code> | 1 | 1 | 1 | 10 B |
            | `@acme/security #1` | 1 | 1 | 1 | 10 B |
            | <code>&#92;u&#123;202e&#125;gnp&#92;u&#123;200b&#125;&#92;u&#123;1b&#125;&#91;31m</code> | 1 | 1 | 1 | 10 B |

            | schema | database | tables | rows | size |
            |---|---|--:|--:|--:|
            | `</details></table>` | `</details></table>` | 1 | 1 | 10 B |
            | `<script>alert(1)</script>` | `<script>alert(1)</script>` | 1 | 1 | 10 B |
            | `@acme/security #1` | `@acme/security #1` | 1 | 1 | 10 B |
            | <code>a&#124;b&#96;c&#96;&#96;d</code> | <code>a&#124;b&#96;c&#96;&#96;d</code> | 1 | 1 | 10 B |
            | <code>x&#92;n&#58;&#58;error&#58;&#58;forged&#92;n&#35;&#35;&#92;&#91;error&#93;forged</code> | <code>x&#92;n&#58;&#58;error&#58;&#58;forged&#92;n&#35;&#35;&#92;&#91;error&#93;forged</code> | 1 | 1 | 10 B |
            | <code>&#92;u&#123;202e&#125;gnp&#92;u&#123;200b&#125;&#92;u&#123;1b&#125;&#91;31m</code> | <code>&#92;u&#123;202e&#125;gnp&#92;u&#123;200b&#125;&#92;u&#123;1b&#125;&#91;31m</code> | 1 | 1 | 10 B |

            </details>

            <details><summary>What pg_dumpall wrote to stderr</summary>

            ```text
            \u{1b}[2J::stop-commands::x
            ```

            </details>

            <details><summary>How to restore this backup</summary>

            From `/tmp/it's $(here)`:

            ```sh
            # with this tool: check every byte, then one schema as SQL
            backup-action verify --local '/tmp/it'\''s $(here)' '2026-01/`$(touch x)`|<b>.sql.gz'
            backup-action extract --local '/tmp/it'\''s $(here)' '2026-01/`$(touch x)`|<b>.sql.gz' --schema NAME > NAME.sql

            # without it: the whole cluster, into a fresh one (psql -h … for another than the local)
            gunzip -c '/tmp/it'\''s $(here)/2026-01/`$(touch x)`|<b>.sql.gz' | psql -X -v ON_ERROR_STOP=1 -d postgres
            ```

            From `s3://acme-backups/postgres`:

            ```sh
            # with this tool: check every byte, then one schema as SQL
            backup-action verify --remote s3://acme-backups/postgres '2026-01/`$(touch x)`|<b>.sql.gz'
            backup-action extract --remote s3://acme-backups/postgres '2026-01/`$(touch x)`|<b>.sql.gz' --schema NAME > NAME.sql

            # without it: the whole cluster, into a fresh one (psql -h … for another than the local)
            aws s3 cp 's3://acme-backups/postgres/2026-01/`$(touch x)`|<b>.sql.gz' - | gunzip -c | psql -X -v ON_ERROR_STOP=1 -d postgres
            ```

            `RECOVERY.md` in the store says more.

            </details>

            backup-action 0.1.0 · `0123456789a…` · run 4711 attempt 2
        "#]].assert_eq(&text);
        // Outside of code, tags are ours only.
        let outside: Vec<&str> = text.split('`').step_by(2).collect();
        for tag in ["<script", "</table"] {
            assert!(!outside.iter().any(|part| part.contains(tag)), "{tag}");
        }
        let count = |tag| {
            outside
                .iter()
                .map(|part| part.matches(tag).count())
                .sum::<usize>()
        };
        assert_eq!(count("<details>"), count("</details>"));
    }

    #[test]
    fn drills() {
        expect![[r#"
            ## ✅ Restore drill passed — the backup restores, and comes back equal

            `nostromo-prod` · 2026-01-18 02:00 UTC · 10 m 10 s

            | | |
            |---|---|
            | Restored | the whole cluster |
            | Into | `docker postgres:15 (PostgreSQL 15.20)` |
            | Restore time (RTO) | **9 m 41 s of at most 15 m 00 s** |
            | Tools | psql 15.20 · pg_dumpall 15.20 |
            | Archive | `2026-01/backup_2026-01-18_02-00-01Z.sql.gz` |
            | Size | **240 MB** (from 702 MB, 2.9 × smaller) |
            | Contents | 2 databases, 4 schemas, 74 tables, 4,880,024 rows |
            | SHA-256 of the archive | `e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1` |
            | SHA-256 of the dump | `9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f` |
            | Versions | server 15.20 · pg_dumpall 15.20 · backup-action 0.1.0 |

            | | in the archive | restored |
            |---|--:|--:|
            | databases | 2 | 2 |
            | schemas | 4 | 4 |
            | entries | 1,204 | 1,204 |
            | tables | 74 | 74 |
            | rows | 4,880,024 | 4,880,024 |

            | question | database | answer | expected |
            |---|---|---|---|
            | ✅ tenants | `nostromo` | `24` | at least 1 |

            Restore times, last drills:

            ```text
            2025-11-01  ████████████               5 m 00 s    690 MB
            2025-12-01  ██████████████████         7 m 21 s    690 MB  failed
            2026-01-18  ████████████████████████   9 m 41 s    702 MB
            ```

            | step | | time | |
            |---|---|--:|--:|
            | restore | ✅ 702 MB into docker postgres:15 (PostgreSQL 15.20) | 9 m 41 s | 1.21 MB/s |
            | prove | ✅ equal: 2 databases, 4 schemas, 1,204 entries, 4,880,024 rows in 74 tables; 1 harmless difference | 22.0 s |  |

            <details><summary>Phases of the restore</summary>

            | phase | time |
            |---|--:|
            | globals | 0.3 s |
            | before data | 2.7 s |
            | data | 8 m 20 s |
            | indexes and keys | 1 m 18 s |

            </details>

            <details><summary>Known harmless differences</summary>

            - row-order (1 time), first TABLE DATA nostromo: central.tenants

            </details>

            <details><summary>Checks: 7 passed</summary>

            | | check | evidence |
            |---|---|---|
            | ✅ | `archive-intact` | 670 members, each as it was stored |
            | ✅ | `target-ready` | PostgreSQL 15.20 in a container |
            | ✅ | `restore-complete` | 1,204 entries, 74 tables |
            | ✅ | `restore-time` | 9 m 41 s of at most 15 m 00 s |
            | ✅ | `round-trip` | equal: 2 databases, 4 schemas, 1,204 entries, 4,880,024 rows in 74 tables |
            | ✅ | `drill-not-empty` | 74 tables, 4,880,024 rows |
            | ✅ | `questions` | 1 question, as expected |

            </details>

            <details><summary>Databases and schemas, biggest first</summary>

            | database | schemas | tables | rows | size |
            |---|--:|--:|--:|--:|
            | `nostromo` | 3 | 73 | 4,880,000 | 702 MB |
            | `postgres` | 1 | 1 | 24 | 4 kB |

            | schema | database | tables | rows | size |
            |---|---|--:|--:|--:|
            | `tenant_empresa_7` | `nostromo` | 30 | 1,204,331 | 61 MB |
            | `central` | `nostromo` | 9 | 12,000 | 1.2 MB |
            | `parametros` | `nostromo` | 4 | 400 | 90 kB |
            | `public` | `postgres` | 1 | 24 | 4 kB |

            </details>

            backup-action 0.1.0 · `0123456789a…` · run 4711 attempt 2
        "#]].assert_eq(&summary(&samples::drill_passed()));
        expect![[r#"
            ## ❌ Restore drill failed — the backup did not come back as it went in, or not in time

            `nostromo-prod` · 2026-01-18 02:00 UTC · 10 m 10 s · exit code 1

            ### What failed, why, and what to do

            - ❌ `restore-complete`: 1 of 1,204 entries could not be restored
              - 👉 Repair the source, or acknowledge the defect by name.
            - ❌ `round-trip`: 2 differences: other number of rows TABLE DATA nostromo: central.tenants, missing INDEX nostromo: central.tenants_name
              - 👉 Find out which of the two is right before you rely on this backup.

            1 more check: not reached.

            ### What still protects you

            A drill only reads: the stored backup and the production server are as they were.

            ### What could not be restored

            | object | what the server said |
            |---|---|
            | `INDEX nostromo: central.tenants_name` | could not create unique index: Key (name)=(Weyland) is duplicated |

            ### What differs

            | object | | |
            |---|---|---|
            | `TABLE DATA nostromo: central.tenants` | other number of rows | 24 rows in the archive, 23 restored |
            | `INDEX nostromo: central.tenants_name` | missing | it did not come back |

            | | |
            |---|---|
            | Restored | the whole cluster |
            | Into | `docker postgres:15 (PostgreSQL 15.20)` |
            | Restore time (RTO) | **9 m 41 s of at most 15 m 00 s** |
            | Tools | psql 15.20 · pg_dumpall 15.20 |
            | Archive | `2026-01/backup_2026-01-18_02-00-01Z.sql.gz` |
            | Size | **240 MB** (from 702 MB, 2.9 × smaller) |
            | Contents | 2 databases, 4 schemas, 74 tables, 4,880,024 rows |
            | SHA-256 of the archive | `e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1` |
            | SHA-256 of the dump | `9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f` |
            | Versions | server 15.20 · pg_dumpall 15.20 · backup-action 0.1.0 |

            | | in the archive | restored |
            |---|--:|--:|
            | databases | 2 | 2 |
            | schemas | 4 | 4 |
            | entries | 1,204 | 1,204 |
            | tables | 74 | 74 |
            | rows | 4,880,024 | 4,880,023 |

            | question | database | answer | expected |
            |---|---|---|---|
            | ❌ tenants | `nostromo` | `23` | at least 1 |

            ### Acknowledged

            - ⚠️ MATERIALIZED VIEW DATA nostromo: central.stats (missing): needs a search_path, ticket 7, until 2026-12-31

            | step | | time | |
            |---|---|--:|--:|
            | restore | ❌ 1 of 1,204 entries could not be restored | 9 m 41 s | 1.21 MB/s |
            | prove | ❌ 2 differences: other number of rows TABLE DATA nostromo: central.tenants, missing INDEX nostromo: central.tenants_name | 22.0 s |  |

            <details><summary>Phases of the restore</summary>

            | phase | time |
            |---|--:|
            | globals | 0.3 s |
            | before data | 2.7 s |
            | data | 8 m 20 s |
            | indexes and keys | 1 m 18 s |

            </details>

            <details><summary>Checks: 2 failed, 1 not checked, 1 passed</summary>

            | | check | evidence |
            |---|---|---|
            | ✅ | `archive-intact` | 670 members, each as it was stored |
            | ❌ | `restore-complete` | 1 of 1,204 entries could not be restored |
            | ❌ | `round-trip` | 2 differences: other number of rows TABLE DATA nostromo: central.tenants, missing INDEX nostromo: central.tenants_name |
            | ❔ | `questions` | not reached |

            </details>

            <details><summary>Databases and schemas, biggest first</summary>

            | database | schemas | tables | rows | size |
            |---|--:|--:|--:|--:|
            | `nostromo` | 3 | 73 | 4,880,000 | 702 MB |
            | `postgres` | 1 | 1 | 24 | 4 kB |

            | schema | database | tables | rows | size |
            |---|---|--:|--:|--:|
            | `tenant_empresa_7` | `nostromo` | 30 | 1,204,331 | 61 MB |
            | `central` | `nostromo` | 9 | 12,000 | 1.2 MB |
            | `parametros` | `nostromo` | 4 | 400 | 90 kB |
            | `public` | `postgres` | 1 | 24 | 4 kB |

            </details>

            backup-action 0.1.0 · `0123456789a…` · run 4711 attempt 2
        "#]].assert_eq(&summary(&samples::drill_failed()));
        let text = summary(&samples::drill_schema_only());
        assert!(
            text.starts_with("## ✅ SCHEMA ONLY restore drill passed — no row was restored"),
            "{text}"
        );
        assert!(text.contains("**none: SCHEMA ONLY**"), "{text}");
        let text = summary(&samples::receipt_refused());
        assert!(
            text.starts_with("## ❌ Receipt check failed — deploy blocked"),
            "{text}"
        );
        assert!(!text.contains("No earlier verified backup"), "{text}");
    }

    #[test]
    fn a_hostile_drill_forges_nothing() {
        let text = summary(&samples::hostile_drill());
        let outside: Vec<&str> = text.split('`').step_by(2).collect();
        assert!(
            !outside.iter().any(|part| part.contains("</table")),
            "{text}"
        );
        let count = |tag| {
            let counts = outside.iter().map(|part| part.matches(tag).count());
            counts.sum::<usize>()
        };
        assert_eq!(count("<details>"), count("</details>"), "{text}");
        assert!(!text.contains("##["), "{text}");
        assert!(!text.lines().any(|line| line.starts_with("::")), "{text}");
    }

    #[test]
    fn two_thousand_schemas_are_cut_to_a_hundred() {
        let text = summary(&samples::crowded());
        assert!(text.contains("`tenant_empresa_1999`"));
        assert!(text.contains("`tenant_empresa_1900`"));
        assert!(!text.contains("`tenant_empresa_1899`"));
        assert!(text.contains("\n… and 1,900 more\n"));
        assert!(text.contains("1 database, 2,000 schemas"));
        assert!(text.len() < 20_000, "{}", text.len());
    }

    #[test]
    fn the_size_limit_holds_for_the_worst_report() {
        let mut report = samples::hostile();
        let long = "|<&`\u{202e}".repeat(100_000);
        for check in &mut report.checks {
            check.evidence = long.clone();
            check.hint = Some(long.clone());
        }
        report.checks = std::iter::repeat_n(report.checks, 40).flatten().collect();
        report.warnings = vec![long.clone(); 1_000];
        report.notes = vec![long.clone(); 1_000];
        report.cluster = long;
        let text = summary(&report);
        assert!(text.len() <= MAX_BYTES, "{}", text.len());
        assert!(text.starts_with("## ✅ Backup gate passed"));
        assert!(text.contains("this summary has a size limit"));
    }
}

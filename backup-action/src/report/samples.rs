//! Literal reports for the snapshot tests of the renderers. Compiled for tests only.

use super::restored::{
    AcknowledgedDifference, Answered, Failed, PastDrill, Phase, ProofSummary, Reason, Restored,
    Target,
};
use super::{Copy, Durations, FORMAT, LastGood, Report, ReportedError};
use crate::archive::index::{Name, Sha256Digest};
use crate::check::{Check, CheckId, Verdict};
use crate::history::summary::{Against, Size, Summary};
use crate::history::{Amount, Delta};
use crate::manifest::{
    ArchiveSummary, CiRun, Compression, DatabaseSummary, KIND, Manifest, SchemaSummary, Source,
};
use crate::proof::{Counts, Difference, DifferenceKind, Harmless, Rule};
use jiff::Timestamp;

pub(crate) const KEY: &str = "2026-01/backup_2026-01-18_02-00-01Z.sql.gz";

fn time(text: &str) -> Timestamp {
    text.parse().expect("a literal time")
}

fn source() -> Source {
    Source {
        cluster: "nostromo-prod".to_owned(),
        system_identifier: Some("7300000000000000001".to_owned()),
        server_version: "15.20".to_owned(),
        client_version: "15.20".to_owned(),
        role_passwords: true,
        bootstrap_role: None,
        pg_dumpall_args: Vec::new(),
    }
}

fn archive() -> ArchiveSummary {
    ArchiveSummary {
        key: KEY.to_owned(),
        dump_bytes: 702_400_000,
        archive_bytes: 240_100_000,
        dump_sha256: Sha256Digest([0x9f; 32]),
        archive_sha256: Sha256Digest([0xe1; 32]),
        archive_crc64nvme: "AAAAAAAAAAA=".to_owned(),
        rows: 4_880_024,
        members: 670,
    }
}

fn schema(name: &str, bytes: u64, rows: u64, tables: u64) -> SchemaSummary {
    SchemaSummary {
        name: Name::from(name),
        bytes,
        rows,
        tables,
    }
}

fn databases() -> Vec<DatabaseSummary> {
    vec![
        DatabaseSummary {
            name: Name::from("nostromo"),
            bytes: 702_000_000,
            rows: 4_880_000,
            tables: 73,
            schemas: vec![
                schema("central", 1_200_000, 12_000, 9),
                schema("parametros", 90_000, 400, 4),
                schema("tenant_empresa_7", 61_000_000, 1_204_331, 30),
            ],
            extensions: Vec::new(),
            collation_version: None,
        },
        DatabaseSummary {
            name: Name::from("postgres"),
            bytes: 4_000,
            rows: 24,
            tables: 1,
            schemas: vec![schema("public", 4_000, 24, 1)],
            extensions: Vec::new(),
            collation_version: None,
        },
    ]
}

/// Twelve backups, growing, and a tenant that grew most.
fn history() -> Summary {
    let size = |day: i64, dump_bytes: u64| Size {
        started_at: time("2026-01-18T02:00:01Z") - jiff::SignedDuration::from_hours(24 * day),
        dump_bytes,
        archive_bytes: dump_bytes / 3,
    };
    let against = |day: i64, dump_bytes: u64, change: f64| Against {
        key: format!("2026-01/{day}_days_ago.sql.gz"),
        started_at: size(day, 0).started_at,
        dump_bytes,
        change_percent: Some(change),
    };
    let amount = |bytes| Some(Amount { bytes, rows: 1 });
    let mover = |schema: &str, before, now| Delta {
        database: Name::from("nostromo"),
        schema: Some(Name::from(schema)),
        before,
        now,
    };
    Summary {
        sizes: (0..12)
            .rev()
            .map(|day: i64| size(day, 702_400_000 - 40_000_000 * day.unsigned_abs()))
            .collect(),
        previous: Some(against(1, 694_000_000, 1.21)),
        baseline: Some(against(31, 657_700_000, 6.8)),
        movers: vec![
            mover("tenant_empresa_7", amount(23_000_000), amount(61_000_000)),
            mover("tenant_empresa_8", amount(9_000_000), None),
            mover("parametros", None, amount(90_000)),
        ],
        moved_schemas: 5,
        unchanged_schemas: 1,
    }
}

fn run() -> CiRun {
    CiRun {
        repository: "acme/payroll".to_owned(),
        sha: "0123456789abcdef0123456789abcdef01234567".to_owned(),
        git_ref: "refs/heads/main".to_owned(),
        workflow: "deploy".to_owned(),
        run_id: "4711".to_owned(),
        run_attempt: "2".to_owned(),
        actor: "ripley".to_owned(),
        url: "https://github.com/acme/payroll/actions/runs/4711/attempts/2".to_owned(),
    }
}

fn last_good() -> LastGood {
    LastGood {
        key: "2026-01/backup_2026-01-17_02-00-01Z.sql.gz".to_owned(),
        finished_at: time("2026-01-17T02:00:11Z"),
        age_seconds: 86_400,
        tier: "remote".to_owned(),
        archive_bytes: 239_000_000,
    }
}

fn copies() -> Vec<Copy> {
    vec![
        Copy {
            tier: "local".to_owned(),
            store: "/var/backups/nostromo prod".to_owned(),
            published: true,
            detail: "read back and decoded".to_owned(),
        },
        Copy {
            tier: "remote".to_owned(),
            store: "s3://acme-backups/postgres".to_owned(),
            published: true,
            detail: "read back and decoded".to_owned(),
        },
    ]
}

pub(crate) fn passed() -> Report {
    Report {
        format: FORMAT,
        command: "gate".to_owned(),
        tool: "backup-action 0.1.0".to_owned(),
        cluster: "nostromo-prod".to_owned(),
        verdict: Verdict::Passed,
        exit_code: 0,
        interrupted_by: None,
        dry_run: false,
        started_at: time("2026-01-18T02:00:01Z"),
        finished_at: time("2026-01-18T02:00:11Z"),
        checks: vec![
            Check::passed(
                CheckId::ServerReachable,
                "PostgreSQL 15.20 at 10.0.3.7:5432",
            ),
            Check::warned(
                CheckId::ClientPatched,
                "pg_dumpall 15.14 lacks the fix for CVE-2026-18408",
                "Install postgresql-client-15 15.19 or newer.",
            ),
            Check::passed(CheckId::DumpExit, "pg_dumpall ended with status 0"),
            Check::passed(
                CheckId::DumpComplete,
                "trailer of the cluster and of 2 databases",
            ),
            Check::passed(
                CheckId::Inventory,
                "2 databases, 4 schemas, 74 tables, all in the archive",
            ),
            Check::passed(CheckId::NotEmpty, "702 MB"),
            Check::passed(CheckId::GzipStream, "670 members decode to what went in"),
            Check::passed(CheckId::StoredLength, "240,100,000 bytes in local, remote"),
            Check::passed(
                CheckId::StoredReadback,
                "240 MB decoded and compared (local, remote)",
            ),
            Check::passed(CheckId::RemoteCopy, "s3://acme-backups/postgres"),
            Check::passed(CheckId::ManifestPublished, "written last, reads back"),
        ],
        source: Some(source()),
        archive: Some(archive()),
        copies: copies(),
        databases: databases(),
        durations: Durations {
            preflight_seconds: Some(0.41),
            dump_seconds: Some(8.9),
            seal_seconds: Some(0.05),
            readback_seconds: Some(1.1),
            publish_seconds: Some(0.08),
            restore_seconds: None,
            prove_seconds: None,
            total_seconds: 10.6,
        },
        warnings: vec!["pg_dump: warning: there are circular foreign-key constraints".to_owned()],
        notes: vec!["data checksums are off on this cluster".to_owned()],
        error: None,
        last_good: Some(last_good()),
        run: Some(run()),
        restored: None,
        trend: Vec::new(),
        history: Some(history()),
        retention: None,
    }
}

/// pg_dumpall was killed in the middle of the dump.
pub(crate) fn failed() -> Report {
    let killed = "pg_dumpall was killed by signal 9 after 312 MB, in tenant_empresa_9.audit_log (database nostromo)";
    Report {
        verdict: Verdict::Failed,
        exit_code: 1,
        checks: vec![
            Check::passed(
                CheckId::ServerReachable,
                "PostgreSQL 15.20 at 10.0.3.7:5432",
            ),
            Check::passed(CheckId::ClientPatched, "15.20"),
            Check::failed(
                CheckId::DumpExit,
                killed,
                "The kernel's out-of-memory killer is the usual cause. Look at `dmesg` on the database host.",
            ),
            Check::failed(
                CheckId::DumpComplete,
                "the trailer of the cluster is missing",
                "Run the gate again once pg_dumpall ends by itself.",
            ),
            Check::not_checked(CheckId::GzipStream, "not reached", None),
            Check::not_checked(CheckId::ManifestPublished, "not reached", None),
        ],
        archive: None,
        databases: Vec::new(),
        copies: vec![Copy {
            published: false,
            detail: "upload aborted, nothing was published".to_owned(),
            ..copies().remove(1)
        }],
        durations: Durations {
            preflight_seconds: Some(0.4),
            dump_seconds: Some(4.0),
            total_seconds: 4.5,
            ..Durations::default()
        },
        warnings: Vec::new(),
        notes: Vec::new(),
        history: None,
        ..passed()
    }
}

/// The store does not answer.
pub(crate) fn error() -> Report {
    Report {
        verdict: Verdict::Error,
        exit_code: 3,
        checks: vec![
            Check::passed(
                CheckId::ServerReachable,
                "PostgreSQL 15.20 at 10.0.3.7:5432",
            ),
            Check::not_checked(
                CheckId::StoreWritable,
                "could not connect to s3.example: connection refused",
                Some("Check the endpoint and the network of the runner.".to_owned()),
            ),
        ],
        durations: Durations {
            preflight_seconds: Some(3.0),
            total_seconds: 3.1,
            ..Durations::default()
        },
        copies: Vec::new(),
        error: Some(ReportedError {
            messages: vec![
                "could not open store s3://acme-backups/postgres".to_owned(),
                "could not connect to s3.example".to_owned(),
                "connection refused".to_owned(),
            ],
            hint: Some("Check the endpoint and the network of the runner.".to_owned()),
        }),
        last_good: None,
        ..failed()
    }
}

/// SIGTERM while the dump ran.
pub(crate) fn interrupted() -> Report {
    Report {
        verdict: Verdict::Error,
        exit_code: 143,
        interrupted_by: Some("SIGTERM".to_owned()),
        checks: vec![
            Check::passed(
                CheckId::ServerReachable,
                "PostgreSQL 15.20 at 10.0.3.7:5432",
            ),
            Check::not_checked(CheckId::DumpExit, "interrupted", None),
        ],
        ..failed()
    }
}

fn counts(rows: u64) -> Counts {
    Counts {
        databases: 2,
        schemas: 4,
        entries: 1_204,
        tables: 74,
        rows,
    }
}

fn past(day: &str, seconds: f64, verdict: Verdict) -> PastDrill {
    PastDrill {
        key: format!("receipts/drill/{day}_03-00-00Z_passed.json"),
        finished_at: time(&format!("{day}T03:10:00Z")),
        restore_seconds: Some(seconds),
        dump_bytes: 690_000_000,
        verdict,
    }
}

fn phase(name: &str, seconds: f64) -> Phase {
    Phase {
        name: name.to_owned(),
        seconds,
    }
}

fn restored() -> Restored {
    Restored {
        scope: "the whole cluster".to_owned(),
        target: Target {
            engine: "docker".to_owned(),
            image: Some("postgres:15".to_owned()),
            version: Some("15.20".to_owned()),
            place: None,
        },
        schema_only: false,
        phases: vec![
            phase("globals", 0.3),
            phase("before data", 2.7),
            phase("data", 500.0),
            phase("indexes and keys", 78.0),
        ],
        counts: counts(4_880_024),
        dump_bytes: 702_400_000,
        archive_bytes_read: 240_100_000,
        max_restore_seconds: Some(900.0),
        failures: Vec::new(),
        proof: Some(ProofSummary {
            archived: counts(4_880_024),
            restored: counts(4_880_024),
            differences: Vec::new(),
            harmless: vec![Harmless {
                rule: Rule::RowOrder,
                object: "TABLE DATA nostromo: central.tenants".to_owned(),
                detail: "the same 24 rows in another order".to_owned(),
            }],
            acknowledged: Vec::new(),
        }),
        questions: vec![Answered {
            name: "tenants".to_owned(),
            database: "nostromo".to_owned(),
            sql: "SELECT count(*) FROM central.tenants".to_owned(),
            expected: "at least 1".to_owned(),
            answer: "24".to_owned(),
            as_expected: Some(true),
        }],
        tools: vec!["psql 15.20".to_owned(), "pg_dumpall 15.20".to_owned()],
    }
}

pub(crate) fn drill_passed() -> Report {
    Report {
        command: "drill".to_owned(),
        checks: vec![
            Check::passed(CheckId::ArchiveIntact, "670 members, each as it was stored"),
            Check::passed(CheckId::TargetReady, "PostgreSQL 15.20 in a container"),
            Check::passed(CheckId::RestoreComplete, "1,204 entries, 74 tables"),
            Check::passed(CheckId::RestoreTime, "9 m 41 s of at most 15 m 00 s"),
            Check::passed(
                CheckId::RoundTrip,
                "equal: 2 databases, 4 schemas, 1,204 entries, 4,880,024 rows in 74 tables",
            ),
            Check::passed(CheckId::DrillNotEmpty, "74 tables, 4,880,024 rows"),
            Check::passed(CheckId::Questions, "1 question, as expected"),
        ],
        copies: Vec::new(),
        durations: Durations {
            restore_seconds: Some(581.0),
            prove_seconds: Some(22.0),
            total_seconds: 610.0,
            ..Durations::default()
        },
        warnings: Vec::new(),
        notes: Vec::new(),
        last_good: None,
        history: None,
        restored: Some(restored()),
        trend: vec![
            past("2025-11-01", 300.0, Verdict::Passed),
            past("2025-12-01", 440.5, Verdict::Failed),
        ],
        ..passed()
    }
}

/// A row, an index and a view did not come back as they were.
pub(crate) fn drill_failed() -> Report {
    let difference = |kind, object: &str, detail: &str| Difference {
        kind,
        object: object.to_owned(),
        detail: detail.to_owned(),
    };
    let mut report = drill_passed();
    let mut done = restored();
    done.failures = vec![Failed {
        object: "INDEX nostromo: central.tenants_name".to_owned(),
        message: "could not create unique index: Key (name)=(Weyland) is duplicated".to_owned(),
        acknowledged: None,
    }];
    done.proof = Some(ProofSummary {
        archived: counts(4_880_024),
        restored: counts(4_880_023),
        differences: vec![
            difference(
                DifferenceKind::Rows,
                "TABLE DATA nostromo: central.tenants",
                "24 rows in the archive, 23 restored",
            ),
            difference(
                DifferenceKind::Missing,
                "INDEX nostromo: central.tenants_name",
                "it did not come back",
            ),
        ],
        harmless: Vec::new(),
        acknowledged: vec![AcknowledgedDifference {
            difference: difference(
                DifferenceKind::Missing,
                "MATERIALIZED VIEW DATA nostromo: central.stats",
                "it did not come back",
            ),
            reason: Reason {
                reason: "needs a search_path, ticket 7".to_owned(),
                until: jiff::civil::date(2026, 12, 31),
            },
        }],
    });
    done.questions[0].answer = "23".to_owned();
    done.questions[0].as_expected = Some(false);
    report.verdict = Verdict::Failed;
    report.exit_code = 1;
    report.checks = vec![
        Check::passed(CheckId::ArchiveIntact, "670 members, each as it was stored"),
        Check::failed(
            CheckId::RestoreComplete,
            "1 of 1,204 entries could not be restored",
            "Repair the source, or acknowledge the defect by name.",
        ),
        Check::failed(
            CheckId::RoundTrip,
            done.proof
                .as_ref()
                .map(ProofSummary::evidence)
                .unwrap_or_default(),
            "Find out which of the two is right before you rely on this backup.",
        ),
        Check::not_checked(CheckId::Questions, "not reached", None),
    ];
    report.restored = Some(done);
    report.trend.clear();
    report
}

/// A drill without rows.
pub(crate) fn drill_schema_only() -> Report {
    let mut report = drill_passed();
    if let Some(restored) = &mut report.restored {
        restored.schema_only = true;
        restored.phases.truncate(2);
    }
    report.trend.clear();
    report.durations.total_seconds = 3.2;
    report
}

/// The deploy job's answer to a receipt that is too old.
pub(crate) fn receipt_refused() -> Report {
    Report {
        command: "verify-receipt".to_owned(),
        verdict: Verdict::Failed,
        exit_code: 1,
        checks: vec![
            Check::passed(
                CheckId::ReceiptFound,
                "receipts/gate/2026-01-18_02-00-01Z_passed.json",
            ),
            Check::failed(
                CheckId::ReceiptFresh,
                "26 h old, more than 2 h",
                "Run the gate again right before the deploy.",
            ),
        ],
        copies: Vec::new(),
        durations: Durations {
            total_seconds: 0.3,
            ..Durations::default()
        },
        warnings: Vec::new(),
        notes: Vec::new(),
        last_good: None,
        history: None,
        ..passed()
    }
}

/// Names and messages that try to break out of where they are shown.
pub(crate) fn hostile() -> Report {
    let names = [
        "<script>alert(1)</script>",
        "a|b`c``d",
        "</details></table>",
        "x\n::error::forged\n##[error]forged",
        "@acme/security #1",
        "\u{202e}gnp\u{200b}\u{1b}[31m",
    ];
    let mut report = passed();
    report.cluster = "prod\n::set-output name=passed::true".to_owned();
    report.checks[1].evidence =
        "FATAL: ##[error]forged\n::error::forged | <b> `x` @acme".to_owned();
    report.warnings = vec!["\u{1b}[2J::stop-commands::x".to_owned()];
    report.databases = names
        .iter()
        .map(|name| DatabaseSummary {
            name: Name::from(*name),
            bytes: 10,
            rows: 1,
            tables: 1,
            schemas: vec![schema(name, 10, 1, 1)],
            extensions: Vec::new(),
            collation_version: None,
        })
        .collect();
    if let Some(history) = &mut report.history {
        for (mover, name) in history.movers.iter_mut().zip(names) {
            mover.database = Name::from(name);
            mover.schema = Some(Name::from(name));
        }
    }
    if let Some(archive) = &mut report.archive {
        archive.key = "2026-01/`$(touch x)`|<b>.sql.gz".to_owned();
    }
    report.copies[0].store = "/tmp/it's $(here)".to_owned();
    report
}

/// The same in everything that a drill shows.
pub(crate) fn hostile_drill() -> Report {
    const TEXT: &str =
        "x\n::error::forged\n##[error]forged </details></table> | `a` @acme #1 \u{202e}\u{1b}[31m";
    let mut report = drill_failed();
    report.trend = drill_passed().trend;
    if let Some(done) = &mut report.restored {
        for text in [&mut done.scope, &mut done.target.engine] {
            *text = TEXT.to_owned();
        }
        done.target.image = Some(TEXT.to_owned());
        done.target.version = Some(TEXT.to_owned());
        done.tools = vec![TEXT.to_owned()];
        done.failures[0].object = TEXT.to_owned();
        done.failures[0].message = TEXT.to_owned();
        for phase in &mut done.phases {
            phase.name = TEXT.to_owned();
        }
        for question in &mut done.questions {
            for text in [
                &mut question.name,
                &mut question.database,
                &mut question.answer,
                &mut question.expected,
            ] {
                *text = TEXT.to_owned();
            }
        }
        if let Some(proof) = &mut done.proof {
            for difference in &mut proof.differences {
                difference.object = TEXT.to_owned();
                difference.detail = TEXT.to_owned();
            }
            proof.acknowledged[0].difference.object = TEXT.to_owned();
            proof.acknowledged[0].reason.reason = TEXT.to_owned();
            proof.harmless = vec![Harmless {
                rule: Rule::RowOrder,
                object: TEXT.to_owned(),
                detail: TEXT.to_owned(),
            }];
        }
    }
    report
}

/// A cluster with 2,000 tenants.
pub(crate) fn crowded() -> Report {
    let mut report = passed();
    report.databases.truncate(1);
    report.databases[0].schemas = (0..2_000)
        .map(|i| {
            schema(
                &format!("tenant_empresa_{i:04}"),
                1_000 * (i + 1),
                10 * i,
                3,
            )
        })
        .collect();
    report
}

pub(crate) fn manifest() -> Manifest {
    Manifest {
        format: crate::manifest::FORMAT,
        kind: KIND.to_owned(),
        tool: "backup-action 0.1.0".to_owned(),
        archive_key: KEY.to_owned(),
        index_key: "2026-01/backup_2026-01-18_02-00-01Z.index.json.gz".to_owned(),
        started_at: time("2026-01-18T02:00:01Z"),
        finished_at: time("2026-01-18T02:00:10Z"),
        source: source(),
        archive: archive(),
        index_bytes: 52_000,
        index_sha256: Sha256Digest([1; 32]),
        databases: databases(),
        compression: Compression {
            format: "gzip".to_owned(),
            level: "auto".to_owned(),
            levels_used: [3, 6],
        },
        run: Some(run()),
        checks: Vec::new(),
    }
}

/// A backup of `day`, counted from 2026-01-01, made from a commit of a branch; without contents.
pub(crate) fn backup(day: i64, sha: &str, git_ref: &str) -> Manifest {
    Manifest {
        archive_key: format!("{day}.sql.gz"),
        started_at: Timestamp::from_second(1_767_225_600 + day * 86_400).unwrap(),
        databases: Vec::new(),
        run: Some(CiRun {
            sha: sha.to_owned(),
            git_ref: git_ref.to_owned(),
            ..run()
        }),
        ..manifest()
    }
}

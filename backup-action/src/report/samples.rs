//! Literal reports for the snapshot tests of the renderers. Compiled for tests only.

use super::{Copy, Durations, FORMAT, LastGood, Report, ReportedError};
use crate::archive::index::{Name, Sha256Digest};
use crate::check::{Check, CheckId, Verdict};
use crate::manifest::{
    ArchiveSummary, CiRun, Compression, DatabaseSummary, KIND, Manifest, SchemaSummary, Source,
};
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
    if let Some(archive) = &mut report.archive {
        archive.key = "2026-01/`$(touch x)`|<b>.sql.gz".to_owned();
    }
    report.copies[0].store = "/tmp/it's $(here)".to_owned();
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

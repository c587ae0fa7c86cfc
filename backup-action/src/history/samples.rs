//! Literal backups and drills for the tests of the rules. Compiled for tests only.

use super::series::{Drill, Series, Stored, series};
use crate::archive::index::Sha256Digest;
use crate::manifest::{
    ArchiveSummary, Compression, DatabaseSummary, KIND, Manifest, SchemaSummary, Source,
};
use jiff::Timestamp;

pub(crate) fn database(name: &str, schemas: &[(&str, u64)]) -> DatabaseSummary {
    DatabaseSummary {
        name: name.into(),
        bytes: schemas.iter().map(|(_, bytes)| bytes).sum(),
        rows: 1,
        tables: 1,
        schemas: schemas
            .iter()
            .map(|(name, bytes)| SchemaSummary {
                name: (*name).into(),
                bytes: *bytes,
                rows: 1,
                tables: 1,
            })
            .collect(),
        extensions: Vec::new(),
        collation_version: None,
    }
}

pub(super) fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn stored(store: &str, cluster: &str, id: Option<&str>, at: &str, bytes: u64) -> Stored {
    let started_at = time(at);
    let key = format!(
        "2026-01/backup_{}.sql.gz",
        started_at.strftime("%Y-%m-%d_%H-%M-%SZ")
    );
    Stored {
        store: store.to_owned(),
        place: format!("{store}/{key}"),
        manifest: Manifest {
            format: 1,
            kind: KIND.to_owned(),
            tool: String::new(),
            archive_key: key.clone(),
            index_key: String::new(),
            started_at,
            finished_at: started_at,
            source: Source {
                cluster: cluster.to_owned(),
                system_identifier: id.map(str::to_owned),
                server_version: String::new(),
                client_version: String::new(),
                role_passwords: true,
                bootstrap_role: None,
                pg_dumpall_args: Vec::new(),
            },
            archive: ArchiveSummary {
                key,
                dump_bytes: bytes,
                archive_bytes: bytes / 3,
                dump_sha256: Sha256Digest([1; 32]),
                archive_sha256: Sha256Digest([(bytes % 251) as u8; 32]),
                archive_crc64nvme: String::new(),
                rows: 1,
                members: 1,
            },
            index_bytes: 1,
            index_sha256: Sha256Digest([1; 32]),
            databases: vec![database("d", &[("a", bytes / 2), ("b", bytes / 4)])],
            compression: Compression {
                format: "gzip".to_owned(),
                level: "auto".to_owned(),
                levels_used: [1, 1],
            },
            run: None,
            checks: Vec::new(),
        },
    }
}

pub(super) fn drill(at: &str, passed: bool) -> Drill {
    Drill {
        key: String::new(),
        cluster: "prod".to_owned(),
        system_identifier: Some("1".to_owned()),
        finished_at: time(at),
        passed,
        restore_seconds: Some(1.0),
        max_restore_seconds: None,
        dump_bytes: 1,
    }
}

pub(super) fn one(stored: Vec<Stored>) -> Series {
    let (mut all, not_counted) = series(stored, Vec::new(), Vec::new());
    assert!(not_counted.is_empty(), "{not_counted:?}");
    assert_eq!(all.len(), 1);
    all.remove(0)
}

//! The JSON that makes a backup exist. Written last; without it an archive is not a backup to any
//! command. Format 1. No I/O here: bytes in, bytes out.

use crate::archive::index::{Index, Name, Sha256Digest};
use crate::check::Check;
use crate::error::Explained;
use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the manifest format that this program writes.
pub const FORMAT: u32 = 1;

/// The largest manifest that is read: 10,000 schemas need about 2 MB.
pub const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Everything that is known about one backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// What the file is, for people who find it: always `backup-action backup`.
    pub kind: String,
    /// Name and version of the program that wrote it.
    pub tool: String,
    /// Key of the archive, relative to the store.
    pub archive_key: String,
    /// Key of the index, relative to the store.
    pub index_key: String,
    /// When pg_dumpall was started, UTC.
    pub started_at: Timestamp,
    /// When the archive was complete, UTC.
    pub finished_at: Timestamp,
    /// Where the dump came from.
    pub source: Source,
    /// The archive's sizes and digests.
    pub archive: ArchiveSummary,
    /// Size of the stored index.
    pub index_bytes: u64,
    /// SHA-256 of the stored index.
    pub index_sha256: Sha256Digest,
    /// What is inside, per database and schema.
    pub databases: Vec<DatabaseSummary>,
    /// How the bytes are compressed.
    pub compression: Compression,
    /// The CI run that made it, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<CiRun>,
    /// The checks answered before this was written.
    pub checks: Vec<Check>,
}

/// The kind that every manifest of a full backup carries.
pub const KIND: &str = "backup-action backup";

/// Where a dump came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The name that people gave the cluster, else its host and port.
    pub cluster: String,
    /// PostgreSQL's own `system_identifier`, where the role may read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
    /// Version of the server, `15.20`.
    pub server_version: String,
    /// Version of pg_dumpall, `15.20`.
    pub client_version: String,
    /// Whether the roles' password verifiers are in the dump.
    pub role_passwords: bool,
    /// The bootstrap superuser, the role that initdb made: since 16 what it granted can only be
    /// granted again by a bootstrap superuser of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap_role: Option<Name>,
    /// Further options that pg_dumpall was given: a dump to compare with needs the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pg_dumpall_args: Vec<String>,
}

/// What a cluster is called, and what PostgreSQL calls it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterId {
    /// See [`Source::cluster`].
    pub name: String,
    /// See [`Source::system_identifier`].
    pub system_identifier: Option<String>,
}

impl ClusterId {
    /// Whether it is the same cluster as another: by PostgreSQL's identifier where both are known,
    /// else by name. A role that may not read the identifier, or a server that is down, has only
    /// the name; its backups of other days are its own all the same.
    pub fn is(&self, other: &ClusterId) -> bool {
        match (&self.system_identifier, &other.system_identifier) {
            (Some(one), Some(other)) => one == other,
            (None, _) | (_, None) => self.name == other.name,
        }
    }
}

impl Source {
    /// Which cluster it is.
    pub fn id(&self) -> ClusterId {
        ClusterId {
            name: self.cluster.clone(),
            system_identifier: self.system_identifier.clone(),
        }
    }
}

/// Sizes and digests of an archive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArchiveSummary {
    /// Key, relative to the store.
    pub key: String,
    /// Size of the dump.
    pub dump_bytes: u64,
    /// Size of the archive.
    pub archive_bytes: u64,
    /// SHA-256 of the dump: what `gunzip -c archive | sha256sum` prints.
    pub dump_sha256: Sha256Digest,
    /// SHA-256 of the stored archive.
    pub archive_sha256: Sha256Digest,
    /// CRC-64/NVME of the stored archive as S3 keeps it (base64 of the big-endian value).
    pub archive_crc64nvme: String,
    /// Rows of all tables.
    pub rows: u64,
    /// gzip members.
    pub members: u64,
}

impl ArchiveSummary {
    /// How many times smaller the archive is.
    pub fn ratio(&self) -> f64 {
        self.dump_bytes as f64 / self.archive_bytes.max(1) as f64
    }
}

/// How an archive is compressed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compression {
    /// Always `gzip`.
    pub format: String,
    /// `auto` or the fixed level.
    pub level: String,
    /// The lowest and highest level that was used.
    pub levels_used: [u32; 2],
}

/// What is inside one database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatabaseSummary {
    /// Its name.
    pub name: Name,
    /// Bytes of the dump.
    pub bytes: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// Tables with data.
    pub tables: u64,
    /// Its schemas, in order of name.
    pub schemas: Vec<SchemaSummary>,
    /// Its extensions, in the order of the dump: a server to restore into must have them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<ExtensionSummary>,
    /// The version of the collation library that its text was sorted by, where the server says it
    /// (15 and newer): another one may sort otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collation_version: Option<String>,
}

/// An extension of a database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExtensionSummary {
    /// Its name.
    pub name: Name,
    /// The version that was installed; the dump does not hold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// What is inside one schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SchemaSummary {
    /// Its name.
    pub name: Name,
    /// Bytes of the dump.
    pub bytes: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// Tables with data.
    pub tables: u64,
}

/// The CI run that a backup belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CiRun {
    /// `owner/name`.
    pub repository: String,
    /// Commit.
    pub sha: String,
    /// Branch or tag reference.
    #[serde(rename = "ref")]
    pub git_ref: String,
    /// Workflow name.
    pub workflow: String,
    /// Run identifier.
    pub run_id: String,
    /// Attempt of that run.
    pub run_attempt: String,
    /// Who started it.
    pub actor: String,
    /// Address of the run.
    pub url: String,
}

impl Manifest {
    /// Reads a manifest of any format version that was ever written.
    ///
    /// # Errors
    /// Not JSON, a newer format, another kind of file, or fields of other types.
    pub fn parse(bytes: &[u8]) -> anyhow::Result<Manifest> {
        #[derive(Deserialize)]
        struct Head {
            format: Option<u32>,
            kind: Option<String>,
        }
        let head: Head = serde_json::from_slice(bytes).context("manifest is not valid JSON")?;
        anyhow::ensure!(
            head.kind.as_deref() == Some(KIND),
            "not a manifest of backup-action: kind is {:?}",
            head.kind.unwrap_or_default()
        );
        match head.format {
            Some(FORMAT) => {}
            Some(newer) if newer > FORMAT => {
                return Err(Explained::new(
                    format!("manifest format {newer} is newer than {FORMAT}, the newest this version reads"),
                    "Update backup-action to the version that wrote the backup.",
                )
                .into());
            }
            other => anyhow::bail!("unknown manifest format {other:?}"),
        }
        serde_json::from_slice(bytes).context("manifest does not have the fields of its format")
    }

    /// The bytes that are stored: indented JSON with a final newline.
    ///
    /// # Errors
    /// Never for values that this program makes.
    pub fn to_bytes(&self) -> anyhow::Result<Vec<u8>> {
        let mut bytes =
            serde_json::to_vec_pretty(self).context("could not write manifest as JSON")?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// The same without what only the catalogue knew, so that it can be compared with [`summarise`].
pub fn without_catalogue(databases: &[DatabaseSummary]) -> Vec<DatabaseSummary> {
    let mut databases = databases.to_vec();
    for database in &mut databases {
        database.collation_version = None;
        for extension in &mut database.extensions {
            extension.version = None;
        }
    }
    databases
}

/// What the index says is inside, per database and schema. Databases keep the order of the dump.
pub fn summarise(index: &Index) -> Vec<DatabaseSummary> {
    let mut databases: Vec<DatabaseSummary> = Vec::new();
    let mut position: BTreeMap<&Name, usize> = BTreeMap::new();
    let mut schemas: BTreeMap<(usize, &Name), SchemaSummary> = BTreeMap::new();
    for entry in &index.entries {
        let Some(name) = &entry.database else {
            continue;
        };
        let at = *position.entry(name).or_insert_with(|| {
            databases.push(DatabaseSummary {
                name: name.clone(),
                bytes: 0,
                rows: 0,
                tables: 0,
                schemas: Vec::new(),
                extensions: Vec::new(),
                collation_version: None,
            });
            databases.len() - 1
        });
        let rows = entry.copy.as_ref().map_or(0, |copy| copy.rows);
        let tables = u64::from(entry.copy.is_some());
        let database = &mut databases[at];
        database.bytes += entry.bytes();
        database.rows += rows;
        database.tables += tables;
        if &*entry.kind == "EXTENSION" {
            database.extensions.push(ExtensionSummary {
                name: entry.name.clone(),
                version: None,
            });
        }
        let schema = if &*entry.kind == "SCHEMA" {
            Some(&entry.name)
        } else {
            entry.schema.as_ref()
        };
        if let Some(name) = schema {
            let schema = schemas.entry((at, name)).or_insert_with(|| SchemaSummary {
                name: name.clone(),
                bytes: 0,
                rows: 0,
                tables: 0,
            });
            schema.bytes += entry.bytes();
            schema.rows += rows;
            schema.tables += tables;
        }
    }
    for ((at, _), schema) in schemas {
        databases[at].schemas.push(schema);
    }
    databases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_known_by_its_identifier_else_by_its_name() {
        let id = |name: &str, identifier: Option<&str>| ClusterId {
            name: name.to_owned(),
            system_identifier: identifier.map(str::to_owned),
        };
        let own = id("nostromo", Some("1"));
        for (other, same) in [
            (id("renamed", Some("1")), true),
            (id("nostromo", Some("2")), false),
            (id("nostromo", None), true),
            (id("sulaco", None), false),
        ] {
            assert_eq!((own.is(&other), other.is(&own)), (same, same), "{other:?}");
        }
    }

    #[test]
    fn what_is_not_ours_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "not valid JSON"),
            ("[1", "not valid JSON"),
            ("{}", "not a manifest"),
            (
                r#"{"kind":"backup-action backup","format":2}"#,
                "newer than 1",
            ),
            (
                r#"{"kind":"backup-action backup","format":0}"#,
                "unknown manifest format",
            ),
            (
                r#"{"kind":"backup-action backup","format":1}"#,
                "does not have the fields",
            ),
        ] {
            let error = Manifest::parse(text.as_bytes()).unwrap_err();
            assert!(
                crate::error::one_line(&error).contains(reason),
                "{text}: {error:#}"
            );
        }
        let deep = "[".repeat(100_000);
        assert!(Manifest::parse(deep.as_bytes()).is_err());
    }
}

//! RECOVERY.md: how to get the newest backup back with psql and gunzip alone. It lies beside the
//! backups and is read on a bad day, so it holds the real names and every step.

use super::escape::{self, MAX_NAME_CHARS, markdown_block, markdown_code, shell_word};
use super::{format, instructions};
use crate::manifest::Manifest;

/// Where the text will lie.
#[derive(Clone, Copy, Debug)]
pub struct StoreDescription<'a> {
    /// A directory, or `s3://bucket/prefix`. Holds no credentials.
    pub location: &'a str,
    /// The endpoint of a store that is S3-compatible but not AWS.
    pub endpoint: Option<&'a str>,
}

/// The name of the object, relative to the store.
pub const KEY: &str = "RECOVERY.md";

/// The text, for the newest backup of `store`.
pub fn render(store: &StoreDescription<'_>, manifest: &Manifest) -> String {
    [
        introduction(manifest),
        fetch(store, manifest),
        check(manifest),
        restore(manifest),
        compare(manifest),
        one_part(),
    ]
    .join("\n")
}

fn introduction(manifest: &Manifest) -> String {
    let archive = &manifest.archive;
    format!(
        "# How to restore\n\n\
         Written by {} for the newest backup in this store. You need PostgreSQL's own programs, \
         `gunzip`, and nothing else.\n\n\
         | | |\n|---|---|\n\
         | Cluster | {} |\n\
         | Dump started | {} |\n\
         | Archive | {} |\n\
         | Size | {} ({} unpacked) |\n\
         | Contents | {}, {} |\n\
         | Server | PostgreSQL {}, dumped by pg_dumpall {} |\n\n\
         Older backups lie in the folders `YYYY-MM/`. Only an archive with a `.manifest.json` beside it \
         is a verified backup; leave any other alone. The archive is the plain SQL of `pg_dumpall` in \
         plain gzip.\n",
        code(&manifest.tool),
        code(&manifest.source.cluster),
        format::minute(manifest.started_at),
        code(&archive.key),
        format::bytes(archive.archive_bytes),
        format::bytes(archive.dump_bytes),
        format::counted(manifest.databases.len() as u64, "database"),
        format::counted(archive.rows, "row"),
        text(&manifest.source.server_version),
        text(&manifest.source.client_version),
    )
}

fn fetch(store: &StoreDescription<'_>, manifest: &Manifest) -> String {
    let from = shell_word(&format!(
        "{}/{}",
        store.location.trim_end_matches('/'),
        manifest.archive.key
    ));
    let endpoint = store
        .endpoint
        .map(|url| format!("--endpoint-url {} ", shell_word(url)))
        .unwrap_or_default();
    let command = if instructions::is_s3(store.location) {
        format!("aws {endpoint}s3 cp {from} {}", file(manifest))
    } else {
        format!("cp {from} {}", file(manifest))
    };
    format!(
        "## 1. Get the archive\n\n{}",
        markdown_block("sh", &command)
    )
}

fn check(manifest: &Manifest) -> String {
    let archive = &manifest.archive;
    let file = file(manifest);
    let commands = format!(
        "echo '{}  '{file} | sha256sum -c   # the stored bytes\n\
         gunzip -c {file} | sha256sum   # must print {}\n\
         gunzip -c {file} | tail -n 5   # must end with: PostgreSQL database cluster dump complete",
        archive.archive_sha256, archive.dump_sha256
    );
    format!(
        "## 2. Check it\n\n{}\n`gunzip -t` alone proves little: a dump that was cut in the middle passes it.\n",
        markdown_block("sh", &commands)
    )
}

fn restore(manifest: &Manifest) -> String {
    let major: String = manifest
        .source
        .server_version
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let commands = format!(
        "initdb -D /path/to/new/data -U restore_admin --auth=scram-sha-256 --pwprompt -E UTF8\n\
         pg_ctl -D /path/to/new/data -l restore.log start\n\
         gunzip -c {} | psql -X -v ON_ERROR_STOP=1 -U restore_admin -d postgres",
        file(manifest)
    );
    let passwords = if manifest.source.role_passwords {
        ""
    } else {
        "\nThe dump was made without the passwords of the roles (a managed service does not show them): \
         set each with `ALTER ROLE … PASSWORD`.\n"
    };
    format!(
        "## 3. Restore into a fresh cluster\n\n\
         Use PostgreSQL {} or newer with its latest minor release (an older psql does not know \
         `\\restrict`), and a bootstrap superuser whose name is **not** a role of the old cluster, \
         because the dump creates its own roles. Never over a cluster that still holds the only copy.\n\n\
         {}\n\
         `ON_ERROR_STOP` matters: without it psql goes on after errors and still ends with status 0. \
         If it stops, drop the new cluster, mend the cause, and start again.\n{passwords}",
        text(&major),
        markdown_block("sh", &commands)
    )
}

fn compare(manifest: &Manifest) -> String {
    let mut out = String::from(
        "## 4. Compare\n\nRun `vacuumdb --all --analyze-only`, then look whether all is there:\n\n\
         | database | schemas | tables with data | rows |\n|---|--:|--:|--:|\n",
    );
    const MAX_DATABASES: usize = 200;
    for database in manifest.databases.iter().take(MAX_DATABASES) {
        out.push_str(&format!(
            "| {} | {} | {} | {} |\n",
            code(&database.name.to_lossy()),
            format::count(database.schemas.len() as u64),
            format::count(database.tables),
            format::count(database.rows)
        ));
    }
    if manifest.databases.len() > MAX_DATABASES {
        let more = format::count((manifest.databases.len() - MAX_DATABASES) as u64);
        out.push_str(&format!("\n… and {more} more\n"));
    }
    out.push_str("\nThe manifest beside the archive has the same figures for every schema.\n");
    out
}

fn one_part() -> String {
    "## Only one database, schema or table\n\n\
     Restore all of it into a throw-away cluster as above, then take the part from there:\n\n"
        .to_owned()
        + &markdown_block(
            "sh",
            "pg_dump -U restore_admin -d DATABASE --schema='\"SCHEMA\"' | psql -X -v ON_ERROR_STOP=1 --single-transaction -d TARGET",
        )
        + "\nDo not cut it out of the SQL with sed or awk: rows and function bodies may hold the same lines.\n"
}

/// The archive's name without its folder, quoted.
fn file(manifest: &Manifest) -> String {
    let name = manifest.archive.key.rsplit('/').next().unwrap_or_default();
    shell_word(&escape::shorten(name, MAX_NAME_CHARS))
}

fn code(name: &str) -> String {
    markdown_code(&escape::shorten(name, MAX_NAME_CHARS))
}

fn text(text: &str) -> String {
    escape::markdown(&escape::shorten(text, MAX_NAME_CHARS))
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use expect_test::expect;

    #[test]
    fn recovery_names_the_newest_backup() {
        let store = StoreDescription {
            location: "s3://acme-backups/postgres",
            endpoint: Some("https://s3.example:9000"),
        };
        expect![[r##"
            # How to restore

            Written by `backup-action 0.1.0` for the newest backup in this store. You need PostgreSQL's own programs, `gunzip`, and nothing else.

            | | |
            |---|---|
            | Cluster | `nostromo-prod` |
            | Dump started | 2026-01-18 02:00 UTC |
            | Archive | `2026-01/backup_2026-01-18_02-00-01Z.sql.gz` |
            | Size | 240 MB (702 MB unpacked) |
            | Contents | 2 databases, 4,880,024 rows |
            | Server | PostgreSQL 15.20, dumped by pg_dumpall 15.20 |

            Older backups lie in the folders `YYYY-MM/`. Only an archive with a `.manifest.json` beside it is a verified backup; leave any other alone. The archive is the plain SQL of `pg_dumpall` in plain gzip.

            ## 1. Get the archive

            ```sh
            aws --endpoint-url https://s3.example:9000 s3 cp s3://acme-backups/postgres/2026-01/backup_2026-01-18_02-00-01Z.sql.gz backup_2026-01-18_02-00-01Z.sql.gz
            ```

            ## 2. Check it

            ```sh
            echo 'e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1e1  'backup_2026-01-18_02-00-01Z.sql.gz | sha256sum -c   # the stored bytes
            gunzip -c backup_2026-01-18_02-00-01Z.sql.gz | sha256sum   # must print 9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f9f
            gunzip -c backup_2026-01-18_02-00-01Z.sql.gz | tail -n 5   # must end with: PostgreSQL database cluster dump complete
            ```

            `gunzip -t` alone proves little: a dump that was cut in the middle passes it.

            ## 3. Restore into a fresh cluster

            Use PostgreSQL 15 or newer with its latest minor release (an older psql does not know `\restrict`), and a bootstrap superuser whose name is **not** a role of the old cluster, because the dump creates its own roles. Never over a cluster that still holds the only copy.

            ```sh
            initdb -D /path/to/new/data -U restore_admin --auth=scram-sha-256 --pwprompt -E UTF8
            pg_ctl -D /path/to/new/data -l restore.log start
            gunzip -c backup_2026-01-18_02-00-01Z.sql.gz | psql -X -v ON_ERROR_STOP=1 -U restore_admin -d postgres
            ```

            `ON_ERROR_STOP` matters: without it psql goes on after errors and still ends with status 0. If it stops, drop the new cluster, mend the cause, and start again.

            ## 4. Compare

            Run `vacuumdb --all --analyze-only`, then look whether all is there:

            | database | schemas | tables with data | rows |
            |---|--:|--:|--:|
            | `nostromo` | 3 | 73 | 4,880,000 |
            | `postgres` | 1 | 1 | 24 |

            The manifest beside the archive has the same figures for every schema.

            ## Only one database, schema or table

            Restore all of it into a throw-away cluster as above, then take the part from there:

            ```sh
            pg_dump -U restore_admin -d DATABASE --schema='"SCHEMA"' | psql -X -v ON_ERROR_STOP=1 --single-transaction -d TARGET
            ```

            Do not cut it out of the SQL with sed or awk: rows and function bodies may hold the same lines.
        "##]].assert_eq(&render(&store, &samples::manifest()));
    }

    #[test]
    fn missing_passwords_are_said() {
        let store = StoreDescription {
            location: "/var/backups/it's here",
            endpoint: None,
        };
        let mut manifest = samples::manifest();
        assert!(!render(&store, &manifest).contains("without the passwords"));
        manifest.source.role_passwords = false;
        let text = render(&store, &manifest);
        assert!(text.contains("without the passwords"));
        assert!(text.contains(r"cp '/var/backups/it'\''s here/2026-01/"));
    }
}

//! What a throw-away cluster cannot be given as the archive has it, and what stands in its place.
//! Each change is exact, and the proof is told of it.

use super::maintenance;
use crate::archive::index::{Index, Name, Sha256Digest, kind};
use crate::archive::object::Objects;
use crate::command::source::Source;
use crate::postgres::throwaway::Throwaway;
use crate::proof::{self, Replacement};
use crate::restore::{Archive, read};
use anyhow::Context;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// The changes, by position in the index.
#[derive(Debug, Default)]
pub(super) struct Adapted {
    /// Not replayed.
    pub(super) skip: BTreeSet<usize>,
    /// Replayed as this SQL.
    pub(super) replace: BTreeMap<usize, Vec<u8>>,
    /// What a dump has to print of it.
    pub(super) replaced: BTreeMap<usize, Replacement>,
}

/// The bootstrap superuser of the archived cluster: as the manifest has it, else `postgres` where
/// there is such a role.
pub(super) fn bootstrap(source: &Source) -> Option<Name> {
    let known = source.manifest.as_ref();
    let known = known.and_then(|manifest| manifest.source.bootstrap_role.clone());
    known.or_else(|| {
        let postgres = Name::from("postgres");
        creation_of(&source.index, &postgres).map(|_| postgres)
    })
}

/// The entry that creates a role of a plain name.
fn creation_of(index: &Index, role: &Name) -> Option<usize> {
    let name = role.to_lossy();
    let digests = [
        format!("CREATE ROLE {name};"),
        format!("CREATE ROLE \"{name}\";"),
    ]
    .map(|sql| Sha256Digest(Sha256::digest(sql).into()));
    index
        .entries
        .iter()
        .position(|entry| &*entry.kind == kind::GLOBAL && digests.contains(&entry.sha256))
}

/// Tablespaces lie inside the data directory, since the directories of production are not there;
/// the bootstrap superuser `bootstrap` exists already.
///
/// # Errors
/// The archive cannot be read.
pub(super) async fn adapt(
    archive: &Archive,
    bootstrap: &Name,
    schema_only: bool,
) -> anyhow::Result<Adapted> {
    let mut adapted = Adapted::default();
    if schema_only {
        let entries = archive.index.entries.iter().enumerate();
        adapted.skip = entries
            .filter(|(_, entry)| proof::is_data(entry))
            .map(|(number, _)| number)
            .collect();
    }
    adapted.skip.extend(creation_of(&archive.index, bootstrap));
    let objects = Objects::of(&archive.index);
    let tablespaces: Vec<usize> = (0..archive.index.entries.len())
        .filter(|number| objects.kind(*number) == "TABLESPACE")
        .collect();
    for (number, statements) in read::statements(archive, &tablespaces).await? {
        let Some(before) = statements
            .first()
            .and_then(|sql| before_location(&sql.bytes))
        else {
            continue;
        };
        let statement = [before, b"''".as_slice(), b";"].concat();
        adapted.replaced.insert(
            number,
            Replacement {
                sha256: Sha256Digest(Sha256::digest(&statement).into()),
                what: "the location of the tablespace".to_owned(),
            },
        );
        let sql = [IN_PLACE, &statement[..]].concat();
        adapted.replace.insert(number, sql);
    }
    Ok(adapted)
}

/// What a dump of the drill's cluster prints of its tablespaces: older minor versions of pg_dumpall
/// print where they lie in the data directory instead of nothing.
///
/// # Errors
/// The cluster gives no answer.
pub(super) async fn locate(
    adapted: &mut Adapted,
    cluster: &Throwaway,
    restored: &Index,
) -> anyhow::Result<()> {
    if adapted.replaced.is_empty() {
        return Ok(());
    }
    let locations: Vec<String> = cluster
        .psql
        .query_json(
            &maintenance(),
            "select coalesce(json_agg(pg_tablespace_location(oid)), '[]') from pg_tablespace \
             where pg_tablespace_location(oid) <> ''",
        )
        .await?;
    for (number, replacement) in &mut adapted.replaced {
        let Some(sql) = adapted
            .replace
            .get(number)
            .and_then(|sql| sql.strip_prefix(IN_PLACE))
        else {
            continue;
        };
        let before = sql.strip_suffix(b"'';").unwrap_or(sql);
        for location in &locations {
            let statement = [before, b"'", location.as_bytes(), b"';"].concat();
            let sha256 = Sha256Digest(Sha256::digest(&statement).into());
            if restored.entries.iter().any(|entry| entry.sha256 == sha256) {
                replacement.sha256 = sha256;
            }
        }
    }
    Ok(())
}

/// Lets a tablespace lie inside the data directory.
const IN_PLACE: &[u8] = b"SET allow_in_place_tablespaces = on;\n";

/// `CREATE TABLESPACE name OWNER role LOCATION ` of such a statement.
fn before_location(sql: &[u8]) -> Option<&[u8]> {
    let rest = sql.strip_prefix(b"CREATE TABLESPACE ")?;
    let rest = behind_name(rest)?.strip_prefix(b" OWNER ")?;
    let rest = behind_name(rest)?.strip_prefix(b" LOCATION ")?;
    Some(&sql[..sql.len() - rest.len()])
}

/// What follows an identifier, bare or quoted.
fn behind_name(text: &[u8]) -> Option<&[u8]> {
    if text.first() != Some(&b'"') {
        let end = memchr::memchr(b' ', text)?;
        return Some(&text[end..]);
    }
    let mut at = 1;
    loop {
        at += memchr::memchr(b'"', text.get(at..)?)? + 1;
        if text.get(at) != Some(&b'"') {
            return text.get(at..);
        }
        at += 1;
    }
}

/// The encoding of the archived template databases: a dump of the restored ones has to come in it.
///
/// # Errors
/// The archive cannot be read.
pub(super) async fn template_encoding(archive: &Archive) -> anyhow::Result<String> {
    let Some(number) = encoding_setting(&archive.index) else {
        return Ok("UTF8".to_owned());
    };
    let read = read::statements(archive, &[number]).await?;
    let sql = read
        .get(&number)
        .and_then(|statements| statements.first())
        .context("the setting client_encoding is empty")?;
    encoding_of(&sql.bytes).context("the setting client_encoding has another form than pg_dump's")
}

/// Where the dump of `template1`, else of `postgres`, sets its encoding.
fn encoding_setting(index: &Index) -> Option<usize> {
    ["template1", "postgres"].into_iter().find_map(|database| {
        index.entries.iter().position(|entry| {
            entry.database == Some(Name::from(database))
                && &*entry.kind == kind::SETTING
                && entry.name.as_bytes() == b"client_encoding"
        })
    })
}

/// `UTF8` of `SET client_encoding = 'UTF8';`
fn encoding_of(sql: &[u8]) -> Option<String> {
    let value = sql
        .strip_prefix(b"SET client_encoding = '")?
        .strip_suffix(b"';")?;
    let text = std::str::from_utf8(value).ok()?;
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        .then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_location_is_found_behind_any_names() {
        for (sql, wanted) in [
            (
                "CREATE TABLESPACE fast OWNER postgres LOCATION '/mnt/x';",
                Some("CREATE TABLESPACE fast OWNER postgres LOCATION "),
            ),
            (
                "CREATE TABLESPACE \"a \"\" LOCATION 'x\" OWNER \"o \"\"\" LOCATION E'/a\\\\b';",
                Some("CREATE TABLESPACE \"a \"\" LOCATION 'x\" OWNER \"o \"\"\" LOCATION "),
            ),
            ("ALTER TABLESPACE fast SET (seq_page_cost=1);", None),
            ("CREATE TABLESPACE \"open", None),
        ] {
            let found = before_location(sql.as_bytes());
            assert_eq!(found, wanted.map(str::as_bytes), "{sql}");
        }
    }

    #[test]
    fn only_an_encoding_is_taken_for_one() {
        assert_eq!(
            encoding_of(b"SET client_encoding = 'LATIN1';").as_deref(),
            Some("LATIN1")
        );
        assert_eq!(encoding_of(b"SET client_encoding = 'x --debug';"), None);
        assert_eq!(encoding_of(b"SET work_mem = '1';"), None);
    }
}

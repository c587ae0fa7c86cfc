//! Whether the throw-away cluster has what the backup needs, asked before anything is restored;
//! and what it says about itself that the proof has to know.

use super::maintenance;
use crate::archive::index::{Index, Name};
use crate::check::{Check, CheckId};
use crate::command::source::Source;
use crate::postgres::preflight::HexName;
use crate::postgres::throwaway::Throwaway;
use crate::restore::{Archive, read};
use std::collections::{BTreeMap, BTreeSet};

/// The answer, and what is worth a note.
pub(super) struct Ready {
    pub(super) check: Check,
    pub(super) notes: Vec<String>,
}

/// Asks for extensions and locales.
///
/// # Errors
/// The cluster or the archive gives no answer.
pub(super) async fn check(
    archive: &Archive,
    source: &Source,
    cluster: &Throwaway,
) -> anyhow::Result<Ready> {
    let (mut missing, notes) = extensions(source, cluster).await?;
    missing.extend(locales(archive, cluster).await?);
    let check = if missing.is_empty() {
        Check::passed(
            CheckId::TargetReady,
            format!("{} ({})", cluster.describe, cluster.chosen),
        )
    } else {
        Check::failed(
            CheckId::TargetReady,
            format!("{} lacks {}", cluster.describe, missing.join(", ")),
            "Restore needs the same server as production: name an --image that has it, or install it and use --engine local.",
        )
    };
    Ok(Ready { check, notes })
}

/// Extensions that are missing, and those whose version is another.
async fn extensions(
    source: &Source,
    cluster: &Throwaway,
) -> anyhow::Result<(Vec<String>, Vec<String>)> {
    let available: Vec<(HexName, Option<String>)> = cluster
        .psql
        .query_json(
            &maintenance(),
            "select coalesce(json_agg(json_build_array(encode(namesend(name), 'hex'), default_version)), '[]') \
             from pg_available_extensions",
        )
        .await?;
    let available: BTreeMap<Name, Option<String>> = available
        .into_iter()
        .map(|(name, version)| (name.into(), version))
        .collect();
    let (mut missing, mut notes) = (Vec::new(), Vec::new());
    for (database, extension, version) in wanted_extensions(source) {
        let object = format!("extension {extension} of database {database}");
        match (available.get(&extension), version) {
            (None, Some(version)) => missing.push(format!("{object} ({version})")),
            (None, None) => missing.push(object),
            (Some(Some(here)), Some(there)) if *here != there => notes.push(format!(
                "{object} has version {there} in production and {here} here: the dump does not name one"
            )),
            (Some(_), _) => {}
        }
    }
    Ok((missing, notes))
}

fn wanted_extensions(source: &Source) -> Vec<(Name, Name, Option<String>)> {
    let databases = match &source.manifest {
        Some(manifest) => manifest.databases.clone(),
        None => crate::manifest::summarise(&source.index),
    };
    databases
        .into_iter()
        .flat_map(|database| {
            let name = database.name;
            database
                .extensions
                .into_iter()
                .map(move |extension| (name.clone(), extension.name, extension.version))
        })
        .collect()
}

/// Locales of the operating system that CREATE DATABASE asks for and the cluster does not know.
async fn locales(archive: &Archive, cluster: &Throwaway) -> anyhow::Result<Vec<String>> {
    let wanted = wanted_locales(archive).await?;
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let known: Vec<String> = cluster
        .psql
        .query_json(
            &maintenance(),
            "select coalesce(json_agg(collcollate), '[]') from pg_collation \
             where collprovider = 'c' and collcollate is not null",
        )
        .await?;
    let known: BTreeSet<String> = known.iter().map(|name| plain(name)).collect();
    // Without the system's list nothing is known; CREATE DATABASE will say so itself.
    if known.iter().all(|name| is_built_in(name)) {
        return Ok(Vec::new());
    }
    let missing = wanted
        .into_iter()
        .filter(|(_, locale)| !is_built_in(&plain(locale)) && !known.contains(&plain(locale)));
    Ok(missing
        .map(|(database, locale)| format!("locale {locale} of database {database}"))
        .collect())
}

async fn wanted_locales(archive: &Archive) -> anyhow::Result<Vec<(Name, String)>> {
    let databases = database_entries(&archive.index);
    let mut wanted = Vec::new();
    for (number, statements) in read::statements(archive, &databases).await? {
        let name = &archive.index.entries[number].name;
        let sql = statements
            .first()
            .map(|sql| String::from_utf8_lossy(&sql.bytes));
        let found = sql.map(|sql| locales_of(&sql)).unwrap_or_default();
        wanted.extend(found.into_iter().map(|locale| (name.clone(), locale)));
    }
    Ok(wanted)
}

fn database_entries(index: &Index) -> Vec<usize> {
    let entries = index.entries.iter().enumerate();
    entries
        .filter(|(_, entry)| &*entry.kind == "DATABASE")
        .map(|(number, _)| number)
        .collect()
}

/// The locales of a CREATE DATABASE: ` LOCALE = 'x'`, ` LC_COLLATE = 'x'`, ` LC_CTYPE = 'x'`. They
/// stand behind the name of the database, which may hold anything.
fn locales_of(sql: &str) -> Vec<String> {
    let mut found = Vec::new();
    let Some((_, options)) = sql.rsplit_once(" WITH TEMPLATE = ") else {
        return found;
    };
    for key in [" LOCALE = '", " LC_COLLATE = '", " LC_CTYPE = '"] {
        if let Some((_, rest)) = options.split_once(key)
            && let Some((locale, _)) = rest.split_once('\'')
            && !found.iter().any(|known| known == locale)
        {
            found.push(locale.to_owned());
        }
    }
    found
}

/// `en_us.utf8` of `en_US.UTF-8`: systems spell the encoding in two ways.
fn plain(locale: &str) -> String {
    locale.to_ascii_lowercase().replace('-', "")
}

fn is_built_in(plain: &str) -> bool {
    matches!(plain, "c" | "posix" | "c.utf8" | "")
}

/// The roles that are superusers now.
///
/// # Errors
/// The cluster gives no answer.
pub(super) async fn superusers(cluster: &Throwaway) -> anyhow::Result<BTreeSet<Name>> {
    let roles: Vec<HexName> = cluster
        .psql
        .query_json(
            &maintenance(),
            "select json_agg(encode(namesend(rolname), 'hex')) from pg_roles where rolsuper",
        )
        .await?;
    Ok(roles.into_iter().map(Name::from).collect())
}

/// Databases whose text production sorts by another version of the collation library.
pub(super) async fn collations(source: &Source, cluster: &Throwaway) -> Vec<String> {
    let Some(manifest) = &source.manifest else {
        return Vec::new();
    };
    let here: anyhow::Result<Vec<(HexName, Option<String>)>> = cluster
        .psql
        .query_json(
            &maintenance(),
            "select json_agg(json_build_array(encode(namesend(datname), 'hex'), to_jsonb(d) ->> 'datcollversion')) \
             from pg_database d",
        )
        .await;
    let here: BTreeMap<Name, Option<String>> = match here {
        Ok(rows) => rows.into_iter().map(|(n, v)| (n.into(), v)).collect(),
        Err(error) => {
            return vec![format!(
                "collation versions could not be compared: {}",
                crate::error::one_line(&error)
            )];
        }
    };
    let pairs = manifest.databases.iter().filter_map(|database| {
        let there = database.collation_version.as_ref()?;
        let here = here.get(&database.name)?.as_ref()?;
        (there != here).then(|| {
            format!(
                "database {}: production sorts text by version {there} of its collation library, the drill by {here}; indexes were built in the drill's order",
                database.name
            )
        })
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locales_are_read_behind_the_name() {
        let sql = "CREATE DATABASE \"x LOCALE = 'no'\" WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc LC_COLLATE = 'es_CO.UTF-8' LC_CTYPE = 'en_US.UTF-8';";
        assert_eq!(locales_of(sql), ["es_CO.UTF-8", "en_US.UTF-8"]);
        let sql = "CREATE DATABASE d WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE = 'C';";
        assert_eq!(locales_of(sql), ["C"]);
        assert!(is_built_in(&plain("C.UTF-8")) && !is_built_in(&plain("es_CO.UTF-8")));
        assert_eq!(plain("es_CO.utf8"), plain("es_CO.UTF-8"));
    }
}

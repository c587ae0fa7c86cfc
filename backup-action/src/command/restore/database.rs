//! One database: restored beside whatever is there, under a name that nobody uses and without
//! letting anybody in; renamed into place at the end, in one transaction. Until that is committed
//! the old database is as it was, and whatever fails, what was begun is dropped.

use super::names::suffixed;
use super::needs::is_of_database;
use super::prepare::Prepared;
use crate::archive::index::{Index, Name, kind, to_hex};
use crate::archive::statements::Statement;
use crate::command::Context;
use crate::error::Explained;
use crate::pipeline::cleanup::{self, Ticket, Undo};
use crate::postgres::psql::Psql;
use crate::postgres::target::{literal, quoted};
use crate::restore::Load;
use anyhow::Context as _;
use jiff::Timestamp;
use std::time::Duration;

/// How long the names may take to be swapped: the server waits up to 5 s for sessions to end.
const SWAP_DEADLINE: Duration = Duration::from_secs(90);

/// How long dropping what was begun may take; the server writes a checkpoint for it.
const DROP_DEADLINE: Duration = Duration::from_secs(60);

/// What stands between a name and eight random digits while a database is being restored.
pub(super) const RESTORING: &str = "_restoring_";

/// A database that is being restored, on the undo list.
pub(super) struct Beside {
    /// Its name for now.
    pub(super) name: Name,
    ticket: Ticket,
}

/// Chooses the name, and makes sure that the database goes away unless it is swapped in.
pub(super) fn beside(
    context: &Context,
    prepared: &Prepared,
    name: &Name,
) -> anyhow::Result<Beside> {
    let mut random = [0; 4];
    getrandom::fill(&mut random).context("could not get random bytes")?;
    let beside = suffixed(name, &format!("{RESTORING}{}", to_hex(&random)))?;
    let (psql, maintenance, doomed) = (
        prepared.psql.clone(),
        prepared.maintenance.clone(),
        beside.clone(),
    );
    let ticket = context.cleanup.add(Undo::Work(cleanup::Work {
        what: format!("drop database {beside}; drop it by hand"),
        limit: DROP_DEADLINE,
        run: Box::new(move || {
            Box::pin(async move { drop_database(&psql, &maintenance, &doomed).await })
        }),
    }));
    Ok(Beside {
        name: beside,
        ticket,
    })
}

/// Turns the load of a database into one of `beside`: created under that name, with the settings of
/// the database but not its owner, comment and privileges, which come with the final name.
///
/// # Errors
/// A CREATE DATABASE that is not as pg_dump writes it.
pub(super) fn aim(
    load: &mut Load,
    prepared: &Prepared,
    name: &Name,
    beside: &Beside,
) -> anyhow::Result<()> {
    load.rename.insert(name.clone(), beside.name.clone());
    let index = &prepared.archive.index;
    for number in load.plan.entries() {
        let statements = prepared.needs.statements.get(&number);
        let statements = statements.map_or(&[][..], Vec::as_slice);
        match &*index.entries[number].kind {
            "DATABASE" => {
                let create = statements.first().context("DATABASE without a statement")?;
                // Superusers are let in all the same.
                let closed: &[u8] = match prepared.server.superuser {
                    true => b" CONNECTION LIMIT = 0",
                    false => b"",
                };
                let sql = renamed(create, b"CREATE DATABASE ", name, &beside.name)
                    .context("cannot read the CREATE DATABASE of the archive")?;
                load.replace.insert(number, [&sql, closed].concat());
            }
            "DATABASE PROPERTIES" => {
                let settings = statements.iter().filter_map(|statement| {
                    let sql = renamed(statement, b"ALTER DATABASE ", name, &beside.name)?;
                    let is_setting = memchr::memmem::find(&sql, b" SET ").is_some();
                    is_setting.then(|| [&sql, &b";\n"[..]].concat())
                });
                let settings: Vec<u8> = settings.flatten().collect();
                load.replace.insert(number, settings);
            }
            _ if is_of_database(index, number) => {
                load.skip.insert(number);
            }
            _ => {}
        }
    }
    Ok(())
}

/// `lead name …;` as `lead beside …`, without its semicolon.
fn renamed(statement: &Statement, lead: &[u8], name: &Name, beside: &Name) -> Option<Vec<u8>> {
    let rest = statement.bytes.strip_prefix(lead)?;
    let spelling = [name.as_bytes().to_vec(), quoted(name)];
    let rest = spelling
        .iter()
        .find_map(|spelling| rest.strip_prefix(spelling.as_slice()))
        .filter(|rest| rest.starts_with(b" "))?;
    let rest = rest.strip_suffix(b";").unwrap_or(rest);
    Some([lead, &quoted(beside), rest].concat())
}

/// Renames the old database away and the new one into place, and gives that its owner, comment,
/// properties and privileges, in one transaction. Returns the name of the old one.
///
/// The transaction holds the lock that every new session waits for, so that sessions which are
/// terminated cannot come back in between; nothing is committed before everything worked.
///
/// # Errors
/// The server's message: everything is as it was.
pub(super) async fn swap(
    context: &Context,
    prepared: &Prepared,
    name: &Name,
    beside: Beside,
    now: Timestamp,
) -> anyhow::Result<Option<Name>> {
    let old = match &prepared.existing_database {
        None => None,
        Some(_) => {
            let suffix = now.strftime("_before_%Y%m%d_%H%M%S").to_string();
            Some(suffixed(name, &suffix)?)
        }
    };
    let script = script(prepared, name, &beside.name, old.as_ref());
    let renaming = prepared
        .psql
        .execute(&prepared.maintenance, &script, SWAP_DEADLINE);
    let mut renaming = std::pin::pin!(renaming);
    let done = loop {
        tokio::select! {
            done = &mut renaming => break done,
            () = tokio::time::sleep(Duration::from_millis(200)), if old.is_some() => {
                // One that cannot be terminated makes the transaction fail, which says why.
                match terminate(&prepared.psql, &prepared.maintenance, name).await {
                    Ok(_) | Err(_) => {}
                }
            }
        }
    };
    if let Err(error) = done {
        // An answer that was lost says nothing about what the server did; its catalogue does.
        let moved = is_there(prepared, &beside.name).await.map(|there| !there);
        let hint = match (&moved, &old) {
            (Ok(true), _) => {
                context.cleanup.disarm(beside.ticket);
                "The server did rename them: the restored database has its place. Compare its owner and privileges with `backup-action show`."
            }
            (Ok(false), Some(_)) => {
                "The old database is as it was. Stop what connects to it (--before), and run the restore again."
            }
            (Ok(false), None) => "Nothing stands under that name. Read the server's message.",
            (Err(_), _) => {
                "The server does not answer: look at which databases it has before anything else is done; the old one is there under one of its two names."
            }
        };
        return Err(
            Explained::new(format!("could not give database {name} its place"), hint)
                .caused_by(error)
                .into(),
        );
    }
    context.cleanup.disarm(beside.ticket);
    Ok(old)
}

/// Whether the server has a database of that name.
async fn is_there(prepared: &Prepared, name: &Name) -> anyhow::Result<bool> {
    let sql = format!(
        "select to_json(exists (select from pg_database where datname = {}))",
        literal(name)
    );
    prepared.psql.query_json(&prepared.maintenance, &sql).await
}

fn script(prepared: &Prepared, name: &Name, beside: &Name, old: Option<&Name>) -> Vec<u8> {
    let index = &prepared.archive.index;
    let rename = |from: &Name, to: &Name| {
        [
            b"ALTER DATABASE ",
            quoted(from).as_slice(),
            b" RENAME TO ",
            &quoted(to),
            b";\n",
        ]
        .concat()
    };
    // Names are bytes of the server: nothing is converted.
    let mut script =
        b"SET client_encoding = 'SQL_ASCII';\nSET lock_timeout = '60s';\nBEGIN;\n".to_vec();
    if let Some(old) = old {
        script.extend(rename(name, old));
    }
    script.extend(rename(beside, name));
    script.extend(
        [
            b"ALTER DATABASE ",
            quoted(name).as_slice(),
            b" CONNECTION LIMIT -1;\n",
        ]
        .concat(),
    );
    for number in prepared.plan.entries() {
        let Some(statements) = prepared.needs.statements.get(&number) else {
            continue;
        };
        let statements = match &*index.entries[number].kind {
            // Behind CREATE DATABASE stands its owner.
            "DATABASE" => statements.get(1..).unwrap_or_default(),
            _ if is_of_database(index, number) => statements.as_slice(),
            _ => continue,
        };
        script.extend(encoding_of(index, number));
        for statement in statements {
            script.extend(statement.for_psql());
            script.push(b'\n');
        }
    }
    script.extend_from_slice(b"COMMIT;\n");
    script
}

/// The encoding that the text of an entry is in, as the dump sets it before.
fn encoding_of(index: &Index, number: usize) -> Vec<u8> {
    let database = &index.entries[number].database;
    let setting = index.entries[..number].iter().rev().find(|entry| {
        &*entry.kind == kind::SETTING
            && entry.database == *database
            && entry.name.as_bytes() == b"client_encoding"
    });
    // Only encodings whose digest is known can be named without reading the statement again; the
    // others stay as they are.
    let named = setting.and_then(|entry| ENCODINGS.iter().find(|name| sets(entry, name)));
    named.map_or_else(Vec::new, |name| {
        format!("SET client_encoding = '{name}';\n").into_bytes()
    })
}

/// Encodings of a server.
const ENCODINGS: &[&str] = &[
    "UTF8",
    "SQL_ASCII",
    "LATIN1",
    "LATIN2",
    "LATIN3",
    "LATIN4",
    "LATIN5",
    "LATIN6",
    "LATIN7",
    "LATIN8",
    "LATIN9",
    "LATIN10",
    "WIN1250",
    "WIN1251",
    "WIN1252",
    "WIN1253",
    "WIN1254",
    "WIN1255",
    "WIN1256",
    "WIN1257",
    "WIN1258",
    "WIN866",
    "WIN874",
    "KOI8R",
    "KOI8U",
    "ISO_8859_5",
    "ISO_8859_6",
    "ISO_8859_7",
    "ISO_8859_8",
    "EUC_JP",
    "EUC_CN",
    "EUC_KR",
    "EUC_TW",
    "EUC_JIS_2004",
    "MULE_INTERNAL",
];

fn sets(entry: &crate::archive::index::Entry, encoding: &str) -> bool {
    use sha2::Digest;
    let statement = format!("SET client_encoding = '{encoding}';");
    entry.sha256.0 == <[u8; 32]>::from(sha2::Sha256::digest(statement))
}

/// Ends the sessions of a database; how many.
async fn terminate(psql: &Psql, maintenance: &Name, database: &Name) -> anyhow::Result<u64> {
    let sql = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity \
         where datname = {} and pid <> pg_backend_pid()",
        literal(database)
    );
    psql.query_json(maintenance, &sql).await
}

/// Drops a database that was never finished, and first whatever still works on it: a server goes on
/// with a statement whose client has gone.
async fn drop_database(psql: &Psql, maintenance: &Name, database: &Name) -> anyhow::Result<()> {
    let sql = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity \
         where (datname = {name} or strpos(query, {name}::text) > 0) and pid <> pg_backend_pid()",
        name = literal(database)
    );
    for _ in 0..100 {
        if psql.query_json::<u64>(maintenance, &sql).await? == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let script = [
        b"SET client_encoding = 'SQL_ASCII';\nDROP DATABASE IF EXISTS ",
        quoted(database).as_slice(),
        b";\n",
    ]
    .concat();
    psql.execute(maintenance, &script, DROP_DEADLINE).await
}

//! Nothing is replaced unless somebody said so, having seen what.

use super::prepare::Prepared;
use crate::archive::index::Name;
use crate::command::{Context, say};
use crate::error::Usage;
use crate::report::{escape, format};
use crate::restore::plan::Scope;
use anyhow::Context as _;
use jiff::Timestamp;
use std::io::IsTerminal;

/// What a restore replaces, in sentences; empty when it replaces nothing. Hostile text.
pub(super) fn replaced(prepared: &Prepared) -> Vec<String> {
    match &prepared.scope {
        Scope::Cluster => Vec::new(),
        Scope::Database(name) => match &prepared.existing_database {
            None => Vec::new(),
            Some(old) => {
                let size = old.bytes.map_or("unknown size".to_owned(), format::bytes);
                vec![format!(
                    "database {name} on {} ({size}, {} connected, which will be terminated); it stays under another name",
                    prepared.psql.connection.describe(),
                    format::counted(old.sessions, "session"),
                )]
            }
        },
        Scope::Schema { database, schema } => match &prepared.existing_schema {
            None => Vec::new(),
            Some(old) => vec![format!(
                "schema {schema} of database {database} on {} ({}, {}, about {}); it is dropped in the same transaction",
                prepared.psql.connection.describe(),
                format::counted(old.tables, "table"),
                format::bytes(old.bytes),
                format::counted(old.rows_estimate, "row"),
            )],
        },
    }
}

/// What comes in its place.
pub(super) fn replacement(prepared: &Prepared, now: Timestamp) -> String {
    let index = &prepared.archive.index;
    let entries = prepared.plan.entries();
    let copies = entries
        .iter()
        .filter_map(|n| index.entries[*n].copy.as_ref());
    let (tables, rows) = copies.fold((0, 0), |(tables, rows), copy| {
        (tables + 1, rows + copy.rows)
    });
    let age = match &prepared.source.manifest {
        Some(manifest) => {
            let seconds = now.duration_since(manifest.started_at).as_secs();
            format!(", {}", format::old(seconds))
        }
        None => String::new(),
    };
    format!(
        "{} and {} from {}{age}",
        format::counted(tables, "table"),
        format::counted(rows, "row"),
        prepared.source.place
    )
}

/// Asks before something is replaced.
///
/// # Errors
/// [`Usage`] when the answer is no, or nobody can be asked and `--yes` was not given.
pub(super) async fn confirm(
    context: &Context,
    prepared: &Prepared,
    now: Timestamp,
) -> anyhow::Result<()> {
    let replaced = replaced(prepared);
    if replaced.is_empty() || context.config.restore.yes {
        return Ok(());
    }
    for line in &replaced {
        say(&format!("  replaces  {}\n", escape::terminal(line)));
    }
    say(&format!(
        "  with      {}\n",
        escape::terminal(&replacement(prepared, now))
    ));
    let refused = |message: &str| {
        Usage::new(format!("{message}: nothing was changed"))
            .hint("Look at `--plan`, then add --yes.")
    };
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(
            refused("something would be replaced, and there is no terminal to ask on").into(),
        );
    }
    let wanted = asked_for(prepared);
    say(&format!(
        "  Type the name ({}) to go on: ",
        escape::terminal(&wanted.to_lossy())
    ));
    match answer().await?.trim() == wanted.to_lossy().trim() {
        true => Ok(()),
        false => Err(refused("the answer was not the name").into()),
    }
}

fn asked_for(prepared: &Prepared) -> Name {
    match &prepared.scope {
        Scope::Schema { schema, .. } => schema.clone(),
        Scope::Database(name) => name.clone(),
        Scope::Cluster => Name::from("yes"),
    }
}

/// One line of standard input, on a thread that nobody waits for: a signal must end the run while it
/// reads.
async fn answer() -> anyhow::Result<String> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("answer".to_owned())
        .spawn(move || {
            let mut line = String::new();
            let read = std::io::stdin().read_line(&mut line).map(|_| line);
            // Nobody waits after a signal.
            drop(sender.send(read));
        })
        .context("could not start a thread")?;
    receiver
        .await
        .context("the thread that reads the answer ended")?
        .context("could not read the answer")
}

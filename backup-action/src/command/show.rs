//! `show`: what is inside a backup, narrowed to a database, a schema or a table.

use super::{Context, ExitStatus, print, stores};
use crate::archive::index::{Entry, Index};
use crate::config::{Config, OutputFormat};
use crate::error::Explained;
use crate::manifest::Manifest;
use crate::pipeline::publish;
use crate::report::{escape, format};
use anyhow::Context as _;
use serde_json::json;

/// Runs the command.
///
/// # Errors
/// The backup, or the database, schema or table in it, cannot be found.
pub(crate) async fn run(context: &Context) -> anyhow::Result<ExitStatus> {
    let stores = stores::open(&context.config).await?;
    let found = stores::find(&stores, &context.config.backup).await?;
    let index = publish::load_index(&found.store, &found.keys.index, &found.manifest).await?;
    let entries: Vec<&Entry> = index
        .entries
        .iter()
        .filter(|entry| is_wanted(entry, &context.config))
        .collect();
    if entries.is_empty() {
        return Err(Explained::new(
            "nothing of that name is in the backup",
            "Run `backup-action show` without --database, --schema and --table to see what is.",
        )
        .into());
    }
    let text = match context.config.output {
        OutputFormat::Json => as_json(&found.manifest, &index, &entries)?,
        OutputFormat::Text => as_text(&found.manifest, &entries, &context.config),
    };
    print(&text)?;
    Ok(ExitStatus::PASSED)
}

fn is_wanted(entry: &Entry, config: &Config) -> bool {
    let is = |name: Option<&crate::archive::index::Name>, wanted: &Option<String>| {
        wanted
            .as_ref()
            .is_none_or(|wanted| name.is_some_and(|name| name.as_bytes() == wanted.as_bytes()))
    };
    let schema = if &*entry.kind == "SCHEMA" {
        Some(&entry.name)
    } else {
        entry.schema.as_ref()
    };
    is(entry.database.as_ref(), &config.database)
        && is(schema, &config.schema)
        && is(Some(&entry.name), &config.table)
}

fn as_text(manifest: &Manifest, entries: &[&Entry], config: &Config) -> String {
    let archive = &manifest.archive;
    let mut out = format!(
        "{} · {} · PostgreSQL {}\n{} from {} ({}), {}\n",
        escape::terminal(&manifest.source.cluster),
        manifest.started_at.strftime("%Y-%m-%d %H:%M:%SZ"),
        escape::terminal(&manifest.source.server_version),
        format::bytes(archive.archive_bytes),
        format::bytes(archive.dump_bytes),
        format::ratio(archive.ratio()),
        format::counted(archive.rows, "row"),
    );
    if config.database.is_none() && config.schema.is_none() && config.table.is_none() {
        for database in &manifest.databases {
            out.push_str(&line(
                0,
                &database.name.to_lossy(),
                database.bytes,
                database.rows,
                &format::counted(database.tables, "table"),
            ));
            for schema in &database.schemas {
                out.push_str(&line(
                    1,
                    &schema.name.to_lossy(),
                    schema.bytes,
                    schema.rows,
                    &format::counted(schema.tables, "table"),
                ));
            }
        }
        return out;
    }
    for entry in entries {
        let rows = entry.copy.as_ref().map_or(0, |copy| copy.rows);
        let name = match &entry.schema {
            Some(schema) => format!("{schema}.{}", entry.name),
            None => entry.name.to_lossy(),
        };
        out.push_str(&line(1, &name, entry.bytes(), rows, &entry.kind));
    }
    out
}

fn line(depth: usize, name: &str, bytes: u64, rows: u64, what: &str) -> String {
    let rows = if rows > 0 {
        format!("{} rows", format::count(rows))
    } else {
        String::new()
    };
    let name = format!(
        "{}{}",
        "  ".repeat(depth + 1),
        escape::terminal(&escape::shorten(name, 60))
    );
    format!(
        "{name:<52} {:>10} {rows:>20}  {what}\n",
        format::bytes(bytes)
    )
}

fn as_json(manifest: &Manifest, index: &Index, entries: &[&Entry]) -> anyhow::Result<String> {
    let value = json!({
        "format": 1,
        "command": "show",
        "manifest": manifest,
        "entry_count": index.entries.len(),
        "entries": entries,
    });
    let mut text =
        serde_json::to_string_pretty(&value).context("could not write the contents as JSON")?;
    text.push('\n');
    Ok(text)
}

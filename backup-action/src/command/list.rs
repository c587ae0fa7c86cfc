//! `list`: the backups of the stores. Only what has a manifest is one.

use super::stores::{self, Contents, Found};
use super::{Context, ExitStatus, print, say};
use crate::config::OutputFormat;
use crate::error;
use crate::report::{escape, format};
use crate::store::Store;
use anyhow::Context as _;
use serde_json::json;

/// Runs the command.
///
/// # Errors
/// A store cannot be opened or listed.
pub(crate) async fn run(context: &Context) -> anyhow::Result<ExitStatus> {
    let mut all = Vec::new();
    for store in stores::open(&context.config).await? {
        let contents = stores::contents(&store).await?;
        all.push((store, contents));
    }
    match context.config.output {
        OutputFormat::Json => print(&as_json(&all)?)?,
        OutputFormat::Text => print(&as_text(&all))?,
    }
    for (store, contents) in &all {
        for (key, error) in &contents.unreadable {
            let place = escape::terminal(&store.locate(key));
            say(&format!(
                "warning: {place} is not counted as a backup: {}\n",
                escape::terminal(&error::one_line(error))
            ));
        }
    }
    Ok(ExitStatus::PASSED)
}

fn as_text(all: &[(Store, Contents)]) -> String {
    let mut out = String::new();
    for (store, contents) in all {
        out.push_str(&format!(
            "{} ({})\n",
            escape::terminal(&store.describe()),
            store.tier()
        ));
        if contents.backups.is_empty() {
            out.push_str("  no backup\n");
        }
        for found in contents.backups.iter().chain(&contents.archived) {
            let manifest = &found.manifest;
            out.push_str(&format!(
                "  {}  {:>9}  from {:>9}  {:>14} rows  {:>4} schemas  {}\n",
                manifest.started_at.strftime("%Y-%m-%d %H:%M:%SZ"),
                format::bytes(manifest.archive.archive_bytes),
                format::bytes(manifest.archive.dump_bytes),
                format::count(manifest.archive.rows),
                manifest
                    .databases
                    .iter()
                    .map(|database| database.schemas.len())
                    .sum::<usize>(),
                escape::terminal(found.keys.archive.as_str()),
            ));
        }
        if !contents.without_manifest.is_empty() {
            out.push_str(&format!(
                "  {} without a manifest: left by runs that did not finish, no backups\n",
                format::counted(contents.without_manifest.len() as u64, "archive")
            ));
        }
    }
    out
}

fn backup(found: &Found) -> serde_json::Value {
    json!({
        "key": found.keys.archive.as_str(),
        "manifest_key": found.keys.manifest.as_str(),
        "started_at": found.manifest.started_at,
        "finished_at": found.manifest.finished_at,
        "cluster": found.manifest.source.cluster,
        "archive": found.manifest.archive,
    })
}

fn as_json(all: &[(Store, Contents)]) -> anyhow::Result<String> {
    let stores: Vec<_> = all
        .iter()
        .map(|(store, contents)| {
            json!({
                "store": store.describe(),
                "tier": store.tier().to_string(),
                "backups": contents.backups.iter().map(backup).collect::<Vec<_>>(),
                "archived": contents.archived.iter().map(backup).collect::<Vec<_>>(),
                "unreadable_manifests": contents.unreadable.iter().map(|(key, error)| json!({
                    "key": key.as_str(), "reason": error::one_line(error),
                })).collect::<Vec<_>>(),
                "archives_without_manifest": contents.without_manifest.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(),
            })
        })
        .collect();
    let mut text =
        serde_json::to_string_pretty(&json!({ "format": 1, "command": "list", "stores": stores }))
            .context("could not write the list as JSON")?;
    text.push('\n');
    Ok(text)
}

//! `doctor`: what the stores can do and what their buckets do by themselves, with a fix for each
//! finding. Only a probe is written, and removed again. `workflows` looks at workflow files instead.

mod bucket;
mod workflows;

use super::{Context, ExitStatus, lock, print, stores};
use crate::config::OutputFormat;
use crate::error;
use crate::report::escape;
use crate::retention::clock::MAX_SKEW;
use crate::store::{Checksums, Store};
use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Value, json};

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    /// As it should be.
    Good,
    /// Something to change.
    Fix,
    /// No answer.
    Unknown,
}

/// One finding.
#[derive(Debug, Serialize)]
struct Finding {
    id: &'static str,
    store: String,
    level: Level,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// No store is named, or one cannot be opened.
pub(crate) async fn run(context: &Context) -> anyhow::Result<ExitStatus> {
    let config = &context.config;
    if !config.github.workflows.is_empty() {
        return workflows::run(context);
    }
    let (mut findings, mut lifecycle) = (Vec::new(), Vec::new());
    for store in stores::open(config).await? {
        let place = store.describe();
        rights(&store, &mut findings).await?;
        let Some(bucket) = store.bucket().await else {
            continue;
        };
        let wanted = bucket::wanted(&bucket, &config.retention.policy, config.retention.mode);
        bucket::look(&place, &bucket, &wanted, &mut findings);
        lifecycle.push(json!({
            "bucket": bucket.name,
            "configuration": { "Rules": wanted.iter().map(bucket::as_json).collect::<Vec<_>>() },
        }));
    }
    let has = |level: Level| findings.iter().any(|finding| finding.level == level);
    let status = match (has(Level::Unknown), has(Level::Fix)) {
        (true, _) => ExitStatus::ERROR,
        (false, true) => ExitStatus::FAILED,
        (false, false) => ExitStatus::PASSED,
    };
    match config.output {
        OutputFormat::Json => {
            let mut text = serde_json::to_string_pretty(&json!({
                "format": 1,
                "command": "doctor",
                "exit_code": status.0,
                "findings": findings,
                "lifecycle": lifecycle,
            }))
            .context("could not write the findings as JSON")?;
            text.push('\n');
            print(&text)?;
        }
        OutputFormat::Text => print(&as_text(&findings, &lifecycle, status))?,
    }
    Ok(status)
}

fn as_text(findings: &[Finding], lifecycle: &[Value], status: ExitStatus) -> String {
    let mut out = String::new();
    for finding in findings {
        let mark = match finding.level {
            Level::Good => "✓",
            Level::Fix => "!",
            Level::Unknown => "?",
        };
        out.push_str(&format!(
            "{mark} {:<18} {}: {}\n",
            finding.id,
            escape::terminal(&finding.store),
            escape::terminal(&finding.found)
        ));
        if let Some(fix) = &finding.fix {
            out.push_str(&format!("  → {}\n", escape::terminal(fix)));
        }
    }
    let needs_rules = findings
        .iter()
        .any(|finding| finding.id == "lifecycle-rules" && finding.level != Level::Good);
    if needs_rules {
        for entry in lifecycle {
            let rules = serde_json::to_string_pretty(&entry["configuration"]).unwrap_or_default();
            let bucket = entry["bucket"].as_str().unwrap_or_default();
            out.push_str(&format!(
                "\nThe rules, for a file lifecycle.json. Add the bucket's other rules to it: it replaces them all.\n\
                 aws s3api put-bucket-lifecycle-configuration --bucket {} --lifecycle-configuration file://lifecycle.json\n{}\n",
                escape::terminal(bucket),
                rules.lines().map(escape::terminal).collect::<Vec<_>>().join("\n")
            ));
        }
    }
    out.push_str(match status {
        ExitStatus::PASSED => "\nNothing to change.\n",
        ExitStatus::FAILED => "\nSomething to change.\n",
        _ => "\nNot everything could be asked.\n",
    });
    out
}

/// The rights, and what the store promises, by a probe.
async fn rights(store: &Store, findings: &mut Vec<Finding>) -> anyhow::Result<()> {
    let mut add = |id, level, found: String, fix: Option<&str>| {
        findings.push(Finding {
            id,
            store: store.describe(),
            level,
            found,
            fix: fix.map(str::to_owned),
        });
    };
    let found = match store.probe(&stores::nonce()?).await {
        Ok(found) => found,
        Err(error) => {
            let hint = error::hint(&error);
            add(
                "store-writable",
                Level::Unknown,
                error::one_line(&error),
                hint.as_deref(),
            );
            return Ok(());
        }
    };
    add("store-writable", Level::Good, found.to_string(), None);
    let (who, fix) = lock::finding(store).await?;
    let level = fix.as_ref().map_or(Level::Good, |_| Level::Fix);
    add("store-unlocked", level, who, fix.as_deref());
    if !found.delete {
        add(
            "delete",
            Level::Fix,
            "objects cannot be deleted".to_owned(),
            Some(
                "Allow s3:DeleteObject, or set retention-mode = \"lifecycle\" and let the bucket's rules delete.",
            ),
        );
    }
    if !found.abort {
        add(
            "abort",
            Level::Fix,
            "unfinished uploads cannot be aborted".to_owned(),
            Some("Allow s3:AbortMultipartUpload."),
        );
    }
    if matches!(found.checksums, Checksums::Ignored | Checksums::Unknown) {
        add(
            "checksums",
            Level::Good,
            "the store's checksums prove nothing: leave verify at readback".to_owned(),
            None,
        );
    }
    if let Some(ahead) = found.clock_skew
        && ahead.abs() > MAX_SKEW
    {
        add(
            "clock",
            Level::Fix,
            format!(
                "this machine and the store are {} s apart",
                ahead.as_secs().abs()
            ),
            Some("Set the clock of this machine by NTP; until then nothing is deleted."),
        );
    }
    Ok(())
}

//! `notify --test`: one sample through each configured channel, so that the first failing gate is not
//! the first time anybody looks.

use super::journal::TOOL;
use super::{Context, ExitStatus, print};
use crate::config::OutputFormat;
use crate::error::Usage;
use crate::notify::{self, News, Told};
use crate::report::alert::{self, Alert, Occasion};
use crate::report::{escape, format, json};
use anyhow::Context as _;
use jiff::Timestamp;
use std::time::Instant;

/// Runs the command.
///
/// # Errors
/// No channel is configured, or nothing was said to be done.
pub(crate) async fn run(context: &Context) -> anyhow::Result<ExitStatus> {
    let config = &context.config.notify;
    if !config.test {
        return Err(Usage::new("nothing to do")
            .hint("Add --test to send one sample through each configured channel.")
            .into());
    }
    if !config.tells_anybody() && config.heartbeat.is_none() {
        return Err(Usage::new("no channel is configured")
            .hint("Set BACKUP_ACTION_SLACK_WEBHOOK_URL, BACKUP_ACTION_SMTP_URL, BACKUP_ACTION_WEBHOOK_URL or BACKUP_ACTION_HEARTBEAT_URL.")
            .into());
    }
    let now = Timestamp::now();
    let run = context.runner.as_ref().map(|runner| runner.run.clone());
    let report = alert::sample(now, TOOL, run);
    let alert = Alert::new(&report, Occasion::Test);
    let news = News {
        alert: Some(&alert),
        report: &json::render(&report)?,
        is_alive: true,
        now,
    };
    let told = notify::tell(config, &news, Instant::now() + notify::DEADLINE).await?;
    print(&match context.config.output {
        OutputFormat::Text => as_text(&told),
        OutputFormat::Json => as_json(&told)?,
    })?;
    let is_good = told.iter().all(|told| told.result.is_ok());
    Ok(match is_good {
        true => ExitStatus::PASSED,
        false => ExitStatus::FAILED,
    })
}

fn as_text(told: &[Told]) -> String {
    let mut out = String::new();
    for told in told {
        let (sign, said) = match &told.result {
            Ok(answer) => ("✓", answer),
            Err(why) => ("✗", why),
        };
        let again = match told.attempts {
            0 | 1 => String::new(),
            n => format!(", {n} attempts"),
        };
        out.push_str(&format!(
            "  {:<10} {sign} {}  {} ({}{again})\n",
            told.channel.name(),
            escape::terminal(&told.to),
            escape::terminal(said),
            format::duration(told.seconds)
        ));
    }
    out
}

fn as_json(told: &[Told]) -> anyhow::Result<String> {
    let channels: Vec<_> = told
        .iter()
        .map(|told| {
            let (is_good, said) = match &told.result {
                Ok(answer) => (true, answer),
                Err(why) => (false, why),
            };
            serde_json::json!({
                "channel": told.channel.name(),
                "to": escape::visible(&told.to),
                "sent": is_good,
                "answer": escape::visible(said),
                "attempts": told.attempts,
                "seconds": told.seconds,
            })
        })
        .collect();
    let answer = serde_json::json!({"format": 1, "command": "notify", "channels": channels});
    let mut text =
        serde_json::to_string_pretty(&answer).context("could not write the answer as JSON")?;
    text.push('\n');
    Ok(text)
}

//! A message for Slack's incoming webhook, in Block Kit, within Slack's published limits. Nothing in
//! it mentions anybody, whatever a name of the database says.

use super::alert::{Alert, Problem};
use super::escape;
use serde_json::{Value, json};

/// Slack's limit for the text of a section; a message with more is refused as a whole.
const MAX_TEXT: usize = 3_000;

/// Slack's limit for a header.
const MAX_HEADER: usize = 150;

/// What is read of one evidence or hint.
const MAX_SAID: usize = 700;

/// Lines about what still protects: the last good backup, and the copy of this run in two stores.
const MAX_LINES: usize = 3;

/// The body of the request.
pub fn payload(alert: &Alert) -> Value {
    let mut blocks = vec![json!({
        "type": "header",
        "text": {"type": "plain_text", "emoji": false, "text": header(&alert.headline)},
    })];
    if let Some(lead) = &alert.lead {
        blocks.push(section(&escape::slack(lead, MAX_TEXT)));
    }
    blocks.extend(alert.problems.iter().map(|problem| section(&said(problem))));
    if alert.more > 0 {
        blocks.push(section(&format!("and {} more", alert.more)));
    }
    if !alert.protection.is_empty() {
        let lines = alert.protection.iter().take(MAX_LINES);
        let lines: Vec<String> = lines.map(|line| escape::slack(line, MAX_SAID)).collect();
        let lines = lines.join("\n");
        blocks.push(section(&format!("*What still protects you*\n{lines}")));
    }
    if let Some(link) = &alert.link {
        blocks.push(json!({
            "type": "actions",
            "elements": [{
                "type": "button",
                "text": {"type": "plain_text", "emoji": false, "text": "Open the run"},
                "url": link,
                "action_id": "open-run",
            }],
        }));
    }
    blocks.push(json!({"type": "context", "elements": [mrkdwn(&footer(alert))]}));
    json!({
        "text": escape::slack(&alert.line(), MAX_TEXT),
        "blocks": blocks,
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": mrkdwn(text)})
}

/// `verbatim` keeps Slack from making links and mentions out of names.
fn mrkdwn(text: &str) -> Value {
    json!({"type": "mrkdwn", "verbatim": true, "text": text})
}

/// Plain text needs no escapes, and has none: what would begin a mention elsewhere is shown as a
/// look-alike.
fn header(text: &str) -> String {
    let text = escape::visible(text).replace('<', "‹").replace('>', "›");
    let mut text = escape::shorten(&text, MAX_HEADER);
    // Slack counts UTF-16.
    while text.encode_utf16().count() > MAX_HEADER {
        text.pop();
    }
    text
}

fn said(problem: &Problem) -> String {
    let said = escape::slack(&problem.said, MAX_SAID);
    let mut text = match problem.check {
        Some(check) => format!("*{check}*  {said}"),
        None => said,
    };
    if let Some(hint) = &problem.hint {
        text.push_str(&format!("\n👉 {}", escape::slack(hint, MAX_SAID)));
    }
    text
}

fn footer(alert: &Alert) -> String {
    let mut parts: Vec<String> = alert
        .facts
        .iter()
        .map(|(label, value)| format!("{label}: {}", escape::slack(value, 300)))
        .collect();
    parts.push(escape::slack(&alert.tool, 100));
    parts.join("  ·  ")
}

#[cfg(test)]
mod tests {
    use super::super::alert::{Alert, Occasion, sample};
    use super::super::samples;
    use super::*;
    use crate::report::Report;
    use expect_test::expect;
    use proptest::prelude::*;

    fn shown(report: &Report, occasion: Occasion) -> String {
        serde_json::to_string_pretty(&payload(&Alert::new(report, occasion))).unwrap()
    }

    /// Every text with the limit of its place, in UTF-16 units as Slack's own clients count.
    fn texts(value: &Value, found: &mut Vec<(String, usize)>) {
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    match (key.as_str(), value) {
                        ("text", Value::String(text)) => {
                            let kind = object.get("type").and_then(Value::as_str);
                            let is_header = kind == Some("plain_text");
                            let limit = if is_header { MAX_HEADER } else { MAX_TEXT };
                            found.push((text.clone(), limit));
                        }
                        _ => texts(value, found),
                    }
                }
            }
            Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
            _ => {}
        }
    }

    #[test]
    fn a_closed_gate_says_what_failed_and_what_to_do() {
        expect![[r#"
            {
              "blocks": [
                {
                  "text": {
                    "emoji": false,
                    "text": "❌ Backup gate of nostromo-prod failed — deploy blocked",
                    "type": "plain_text"
                  },
                  "type": "header"
                },
                {
                  "text": {
                    "text": "*dump-exit*  pg_dumpall was killed by signal 9 after 312 MB, in tenant_empresa_9.audit_log (database nostromo)\n👉 The kernel's out-of-memory killer is the usual cause. Look at `dmesg` on the database host.",
                    "type": "mrkdwn",
                    "verbatim": true
                  },
                  "type": "section"
                },
                {
                  "text": {
                    "text": "*dump-complete*  the trailer of the cluster is missing\n👉 Run the gate again once pg_dumpall ends by itself.",
                    "type": "mrkdwn",
                    "verbatim": true
                  },
                  "type": "section"
                },
                {
                  "text": {
                    "text": "*What still protects you*\nThe last good backup is 24 h old: 2026-01/backup_2026-01-17_02-00-01Z.sql.gz of 2026-01-17 02:00 UTC, 239 MB, remote store.",
                    "type": "mrkdwn",
                    "verbatim": true
                  },
                  "type": "section"
                },
                {
                  "elements": [
                    {
                      "action_id": "open-run",
                      "text": {
                        "emoji": false,
                        "text": "Open the run",
                        "type": "plain_text"
                      },
                      "type": "button",
                      "url": "https://github.com/acme/payroll/actions/runs/4711/attempts/2"
                    }
                  ],
                  "type": "actions"
                },
                {
                  "elements": [
                    {
                      "text": "Started: 2026-01-18 02:00 UTC  ·  Took: 4.5 s  ·  Exit code: 1  ·  Run: acme/payroll · deploy · 0123456789 · ripley  ·  backup-action 0.1.0",
                      "type": "mrkdwn",
                      "verbatim": true
                    }
                  ],
                  "type": "context"
                }
              ],
              "text": "❌ Backup gate of nostromo-prod failed — deploy blocked. dump-exit: pg_dumpall was killed by signal 9 after 312 MB, in tenant_empresa_9.audit_log (database nostromo). Last good backup: 24 h old",
              "unfurl_links": false,
              "unfurl_media": false
            }"#]].assert_eq(&shown(&samples::failed(), Occasion::Failure));
    }

    #[test]
    fn a_test_says_so_everywhere() {
        let report = sample(samples::passed().started_at, "backup-action 0.1.0", None);
        expect![[r#"
            {
              "blocks": [
                {
                  "text": {
                    "emoji": false,
                    "text": "🔔 TEST: alerts of backup-action arrive here",
                    "type": "plain_text"
                  },
                  "type": "header"
                },
                {
                  "text": {
                    "text": "*dump-exit*  TEST: what was seen would stand here\n👉 TEST: what to do would stand here; now there is nothing to do.",
                    "type": "mrkdwn",
                    "verbatim": true
                  },
                  "type": "section"
                },
                {
                  "elements": [
                    {
                      "text": "Started: 2026-01-18 02:00 UTC  ·  Took: 0.0 s  ·  Exit code: 1  ·  backup-action 0.1.0",
                      "type": "mrkdwn",
                      "verbatim": true
                    }
                  ],
                  "type": "context"
                }
              ],
              "text": "🔔 TEST: alerts of backup-action arrive here. dump-exit: TEST: what was seen would stand here",
              "unfurl_links": false,
              "unfurl_media": false
            }"#]].assert_eq(&shown(&report, Occasion::Test));
    }

    #[test]
    fn hostile_names_mention_nobody() {
        let mut mentions = samples::failed();
        let hostile = "<!channel> <@U1> <https://evil.example|the run>";
        mentions.cluster = hostile.to_owned();
        mentions.checks[2].evidence = hostile.to_owned();
        mentions.checks[2].hint = Some(hostile.to_owned());
        for report in [mentions, samples::hostile(), samples::hostile_drill()] {
            let text = shown(&report, Occasion::Failure);
            for bad in [
                "<!", "<@", "<http", "</", "<script", "\u{202e}", "\u{200b}", "\\u001b",
            ] {
                assert!(!text.contains(bad), "{bad} in {text}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn no_text_is_too_long_for_slack(
            text in "[<>&😀a\u{202e}`\n]{0,6}", times in 0_usize..900, count in 0_usize..30
        ) {
            let text = text.repeat(times);
            let mut report = samples::failed();
            report.cluster = text.clone();
            report.checks[2].evidence = text.clone();
            report.checks[2].hint = Some(text.clone());
            let check = report.checks[2].clone();
            report.checks.extend(std::iter::repeat_n(check, count));
            report.last_good.as_mut().unwrap().key = text.clone();
            report.run.as_mut().unwrap().workflow = text;
            let value = payload(&Alert::new(&report, Occasion::Failure));
            prop_assert!(value["blocks"].as_array().unwrap().len() <= 50);
            let mut found = Vec::new();
            texts(&value, &mut found);
            for (text, limit) in found {
                prop_assert!(text.encode_utf16().count() <= limit, "{limit}: {text}");
                prop_assert!(!text.is_empty());
                // No entity is cut, and nothing but an entity begins with &.
                for (at, _) in text.match_indices('&').filter(|_| limit == MAX_TEXT) {
                    let rest = &text[at..];
                    prop_assert!(["&amp;", "&lt;", "&gt;"].iter().any(|e| rest.starts_with(e)), "{rest:.9}");
                }
            }
        }
    }
}

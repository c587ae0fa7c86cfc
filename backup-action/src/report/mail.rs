//! A message as mail: the subject, and the same content as plain text and as HTML.

use super::alert::Alert;
use super::escape;

/// The longest subject.
const MAX_SUBJECT: usize = 180;

/// What is read of one evidence or hint.
const MAX_SAID: usize = 1_000;

/// A mail without its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// One line, without a line break.
    pub subject: String,
    /// For readers of plain text.
    pub text: String,
    /// The same in HTML; nothing in it is loaded from anywhere.
    pub html: String,
}

/// The mail.
pub fn render(alert: &Alert) -> Mail {
    Mail {
        subject: escape::shorten(&escape::visible(&alert.headline), MAX_SUBJECT),
        text: text(alert),
        html: html(alert),
    }
}

fn text(alert: &Alert) -> String {
    let plain = |text: &str| escape::visible(&escape::shorten(text, MAX_SAID));
    let mut out = format!("{}\n\n", plain(&alert.headline));
    if let Some(lead) = &alert.lead {
        out.push_str(&format!("{}\n\n", plain(lead)));
    }
    for problem in &alert.problems {
        let said = plain(&problem.said);
        out.push_str(&match problem.check {
            Some(check) => format!("* {check}: {said}\n"),
            None => format!("* {said}\n"),
        });
        if let Some(hint) = &problem.hint {
            out.push_str(&format!("  -> {}\n", plain(hint)));
        }
    }
    if alert.more > 0 {
        out.push_str(&format!("* and {} more\n", alert.more));
    }
    if !alert.problems.is_empty() {
        out.push('\n');
    }
    if !alert.protection.is_empty() {
        out.push_str("What still protects you\n");
        for line in &alert.protection {
            out.push_str(&format!("  {}\n", plain(line)));
        }
        out.push('\n');
    }
    if let Some(link) = &alert.link {
        out.push_str(&format!("{link}\n\n"));
    }
    for (label, value) in &alert.facts {
        out.push_str(&format!("{label}: {}\n", plain(value)));
    }
    out.push_str(&format!("\n-- \n{}\n", plain(&alert.tool)));
    out
}

fn html(alert: &Alert) -> String {
    let safe = |text: &str| escape::html(&escape::shorten(text, MAX_SAID));
    let mut body = format!(
        "<h2 style=\"font-size:18px;margin:0 0 12px\">{}</h2>\n",
        safe(&alert.headline)
    );
    if let Some(lead) = &alert.lead {
        body.push_str(&format!("<p>{}</p>\n", safe(lead)));
    }
    if !alert.problems.is_empty() {
        body.push_str("<ul style=\"padding-left:20px\">\n");
        for problem in &alert.problems {
            let said = safe(&problem.said);
            let said = match problem.check {
                Some(check) => format!("<b>{check}</b>: {said}"),
                None => said,
            };
            let hint = match &problem.hint {
                Some(hint) => format!("<br>👉 {}", safe(hint)),
                None => String::new(),
            };
            body.push_str(&format!("<li style=\"margin:0 0 8px\">{said}{hint}</li>\n"));
        }
        if alert.more > 0 {
            body.push_str(&format!("<li>and {} more</li>\n", alert.more));
        }
        body.push_str("</ul>\n");
    }
    if !alert.protection.is_empty() {
        let lines: Vec<String> = alert.protection.iter().map(|line| safe(line)).collect();
        body.push_str(&format!(
            "<p><b>What still protects you</b><br>{}</p>\n",
            lines.join("<br>")
        ));
    }
    if let Some(link) = &alert.link {
        body.push_str(&format!(
            "<p><a href=\"{}\">Open the run</a></p>\n",
            safe(link)
        ));
    }
    body.push_str("<table style=\"font-size:13px;border-spacing:0\">\n");
    for (label, value) in &alert.facts {
        body.push_str(&format!(
            "<tr><td style=\"padding-right:12px\">{label}</td><td>{}</td></tr>\n",
            safe(value)
        ));
    }
    body.push_str(&format!(
        "</table>\n<p style=\"font-size:12px\">{}</p>\n",
        safe(&alert.tool)
    ));
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"color-scheme\" content=\"light dark\"></head>\n\
         <body style=\"font-family:sans-serif;font-size:15px;line-height:1.4;max-width:640px\">\n{body}</body></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::super::alert::{Alert, Occasion};
    use super::super::samples;
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_closed_gate_in_text_and_html() {
        let mail = render(&Alert::new(&samples::failed(), Occasion::Failure));
        expect![[r#"
            ❌ Backup gate of nostromo-prod failed — deploy blocked

            ❌ Backup gate of nostromo-prod failed — deploy blocked

            * dump-exit: pg_dumpall was killed by signal 9 after 312 MB, in tenant_empresa_9.audit_log (database nostromo)
              -> The kernel's out-of-memory killer is the usual cause. Look at `dmesg` on the database host.
            * dump-complete: the trailer of the cluster is missing
              -> Run the gate again once pg_dumpall ends by itself.

            What still protects you
              The last good backup is 24 h old: 2026-01/backup_2026-01-17_02-00-01Z.sql.gz of 2026-01-17 02:00 UTC, 239 MB, remote store.

            https://github.com/acme/payroll/actions/runs/4711/attempts/2

            Started: 2026-01-18 02:00 UTC
            Took: 4.5 s
            Exit code: 1
            Run: acme/payroll · deploy · 0123456789 · ripley

            -- 
            backup-action 0.1.0
        "#]].assert_eq(&format!("{}\n\n{}", mail.subject, mail.text));
        expect![[r#"
            <!doctype html>
            <html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark"></head>
            <body style="font-family:sans-serif;font-size:15px;line-height:1.4;max-width:640px">
            <h2 style="font-size:18px;margin:0 0 12px">❌ Backup gate of nostromo-prod failed — deploy blocked</h2>
            <ul style="padding-left:20px">
            <li style="margin:0 0 8px"><b>dump-exit</b>: pg_dumpall was killed by signal 9 after 312 MB, in tenant_empresa_9.audit_log (database nostromo)<br>👉 The kernel&#39;s out-of-memory killer is the usual cause. Look at `dmesg` on the database host.</li>
            <li style="margin:0 0 8px"><b>dump-complete</b>: the trailer of the cluster is missing<br>👉 Run the gate again once pg_dumpall ends by itself.</li>
            </ul>
            <p><b>What still protects you</b><br>The last good backup is 24 h old: 2026-01/backup_2026-01-17_02-00-01Z.sql.gz of 2026-01-17 02:00 UTC, 239 MB, remote store.</p>
            <p><a href="https://github.com/acme/payroll/actions/runs/4711/attempts/2">Open the run</a></p>
            <table style="font-size:13px;border-spacing:0">
            <tr><td style="padding-right:12px">Started</td><td>2026-01-18 02:00 UTC</td></tr>
            <tr><td style="padding-right:12px">Took</td><td>4.5 s</td></tr>
            <tr><td style="padding-right:12px">Exit code</td><td>1</td></tr>
            <tr><td style="padding-right:12px">Run</td><td>acme/payroll · deploy · 0123456789 · ripley</td></tr>
            </table>
            <p style="font-size:12px">backup-action 0.1.0</p>
            </body></html>
        "#]].assert_eq(&mail.html);
    }

    #[test]
    fn hostile_names_stay_text() {
        let mut report = samples::hostile();
        report.cluster =
            "x\r\nBcc: everybody@example.org\r\n\r\n<script>alert(1)</script>".to_owned();
        let mail = render(&Alert::new(&report, Occasion::Failure));
        assert!(!mail.subject.contains(['\r', '\n']), "{}", mail.subject);
        assert!(!mail.text.contains("\nBcc:") && !mail.html.contains("\nBcc:"));
        let ours = [
            "<!doctype",
            "<html",
            "</html",
            "<head",
            "</head",
            "<meta",
            "<body",
            "</body",
            "<h2",
            "</h2",
        ];
        let more = [
            "<ul",
            "</ul",
            "<li",
            "</li",
            "<b>",
            "</b",
            "<br",
            "<p",
            "</p",
            "<a href=\"https://",
            "</a",
        ];
        let table = ["<table", "</table", "<tr", "</tr", "<td", "</td"];
        for (at, _) in mail.html.match_indices('<') {
            let rest = &mail.html[at..];
            let known = ours
                .iter()
                .chain(&more)
                .chain(&table)
                .any(|tag| rest.starts_with(tag));
            assert!(known, "{rest:.40}");
        }
    }
}

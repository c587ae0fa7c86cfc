//! The report as JSON: the file of `--report`, `--output json`, and the receipt. Exact numbers, no
//! rounding, no colour.

use super::{Report, escape};
use anyhow::Context;
use serde::Serialize;

/// Indented JSON with a final newline, in a form that is also inert on a terminal and in a CI log:
/// invisible characters and the second `#` of `##[` are written as escapes, which read back the same.
///
/// # Errors
/// Never for reports that this program makes.
pub fn render(report: &Report) -> anyhow::Result<String> {
    inert(report)
}

/// The same for what is no report.
///
/// # Errors
/// Never for values that this program makes.
pub fn inert(value: &impl Serialize) -> anyhow::Result<String> {
    let json = serde_json::to_string_pretty(value).context("could not write report as JSON")?;
    let mut out = String::with_capacity(json.len() + 1);
    // Outside of strings there is neither.
    for c in json.replace("##[", "#\\u0023[").chars() {
        if c != '\n' && escape::is_invisible(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out.push('\n');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn a_report_reads_back_as_it_was() {
        for report in [
            samples::passed(),
            samples::failed(),
            samples::error(),
            samples::hostile(),
            samples::drill_passed(),
            samples::drill_failed(),
            samples::hostile_drill(),
        ] {
            let json = render(&report).unwrap();
            assert!(json.ends_with("}\n"));
            let back: Report = serde_json::from_str(&json).unwrap();
            assert_eq!(back, report);
        }
    }

    #[test]
    fn hostile_names_do_not_act_on_a_terminal() {
        let json = render(&samples::hostile()).unwrap();
        assert!(json.contains("forged"));
        assert!(!json.contains("##["));
        assert!(!json.contains(['\u{1b}', '\u{202e}', '\u{200b}']));
        assert!(!json.lines().any(|line| line.trim_start().starts_with("::")));
    }

    #[test]
    fn the_keys_that_scripts_read_are_there() {
        let json: serde_json::Value =
            serde_json::from_str(&render(&samples::failed()).unwrap()).unwrap();
        assert_eq!(json["format"], 1);
        assert_eq!(json["verdict"], "failed");
        assert_eq!(json["exit_code"], 1);
        assert_eq!(json["checks"][2]["id"], "dump-exit");
        assert_eq!(json["checks"][2]["outcome"], "failed");
        assert!(json["durations"]["total_seconds"].is_number());
    }
}

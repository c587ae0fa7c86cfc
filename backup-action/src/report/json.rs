//! The report as JSON: the file of `--report`, `--output json`, and the receipt. Exact numbers, no
//! rounding, no colour.

use super::Report;
use anyhow::Context;

/// Indented JSON with a final newline. ASCII control characters are escaped by JSON itself.
///
/// # Errors
/// Never for reports that this program makes.
pub fn render(report: &Report) -> anyhow::Result<String> {
    let mut json =
        serde_json::to_string_pretty(report).context("could not write report as JSON")?;
    json.push('\n');
    Ok(json)
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
        ] {
            let json = render(&report).unwrap();
            assert!(json.ends_with("}\n"));
            let back: Report = serde_json::from_str(&json).unwrap();
            assert_eq!(back, report);
        }
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

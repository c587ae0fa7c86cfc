//! What a restore or drill adds to the job summary.

use super::escape;
use super::folds::{self, MAX_ROWS, code, push_more, text};
use super::restored::Restored;
use super::{Report, restored_words as words};

/// What did not come back as it went in: open, because it decides.
pub(super) fn differences(report: &Report) -> String {
    let Some(restored) = &report.restored else {
        return String::new();
    };
    let mut out = String::new();
    let failures: Vec<_> = restored.failures_left().collect();
    if !failures.is_empty() {
        out.push_str(
            "### What could not be restored\n\n| object | what the server said |\n|---|---|\n",
        );
        for failed in failures.iter().take(MAX_ROWS) {
            out.push_str(&format!(
                "| {} | {} |\n",
                code(&failed.object),
                text(&failed.message)
            ));
        }
        push_more(&mut out, "\n", failures.len(), MAX_ROWS);
        out.push('\n');
    }
    let differences = restored.proof.as_ref().map(|proof| &proof.differences);
    if let Some(differences) = differences.filter(|differences| !differences.is_empty()) {
        out.push_str("### What differs\n\n| object | | |\n|---|---|---|\n");
        for difference in differences.iter().take(MAX_ROWS) {
            out.push_str(&format!(
                "| {} | {} | {} |\n",
                code(&difference.object),
                words::kind(difference.kind),
                text(&difference.detail)
            ));
        }
        push_more(&mut out, "\n", differences.len(), MAX_ROWS);
    }
    out
}

/// Rows of the table of facts.
pub(super) fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let Some(restored) = &report.restored else {
        return Vec::new();
    };
    let mut rows = vec![
        ("Restored", text(&restored.scope)),
        ("Into", code(&words::target(restored))),
    ];
    if restored.schema_only {
        rows.push(("Rows", "**none: SCHEMA ONLY**".to_owned()));
    }
    if let Some(time) = words::restore_time(report) {
        rows.push(("Restore time (RTO)", format!("**{time}**")));
    }
    if !restored.tools.is_empty() {
        rows.push(("Tools", text(&restored.tools.join(" · "))));
    }
    rows
}

/// Proof, questions, what was accepted, phases, trend.
pub(super) fn proof(report: &Report) -> String {
    let Some(restored) = &report.restored else {
        return String::new();
    };
    let mut out = String::new();
    if let Some(proof) = &restored.proof {
        out.push_str("| | in the archive | restored |\n|---|--:|--:|\n");
        for [name, archived, restored] in words::rows(proof) {
            out.push_str(&format!("| {name} | {archived} | {restored} |\n"));
        }
    }
    out.push_str(&questions(restored));
    let acknowledged = words::acknowledged(restored);
    if !acknowledged.is_empty() {
        out.push_str("\n### Acknowledged\n\n");
        for line in acknowledged.iter().take(MAX_ROWS) {
            out.push_str(&format!("- ⚠️ {}\n", text(line)));
        }
        push_more(&mut out, "- ", acknowledged.len(), MAX_ROWS);
    }
    let trend = words::trend(report);
    if !trend.is_empty() {
        out.push_str("\nRestore times, last drills:\n\n");
        out.push_str(&escape::markdown_block("text", &trend.join("\n")));
    }
    out
}

fn questions(restored: &Restored) -> String {
    if restored.questions.is_empty() {
        return String::new();
    }
    let mut out =
        String::from("\n| question | database | answer | expected |\n|---|---|---|---|\n");
    for question in restored.questions.iter().take(MAX_ROWS) {
        let sign = match question.as_expected {
            Some(true) => "✅",
            Some(false) => "❌",
            None => "❔",
        };
        out.push_str(&format!(
            "| {sign} {} | {} | {} | {} |\n",
            text(&question.name),
            code(&question.database),
            code(&question.answer),
            text(&question.expected)
        ));
    }
    push_more(&mut out, "\n", restored.questions.len(), MAX_ROWS);
    out
}

/// Phases and harmless differences, folded.
pub(super) fn folded(report: &Report) -> String {
    let Some(restored) = &report.restored else {
        return String::new();
    };
    let mut out = String::new();
    if !restored.phases.is_empty() {
        let mut table = String::from("| phase | time |\n|---|--:|\n");
        for [name, time] in words::phases(restored) {
            table.push_str(&format!("| {} | {time} |\n", text(&name)));
        }
        out.push_str(&folds::details("Phases of the restore", &table));
    }
    let harmless = restored.proof.as_ref().map(words::harmless);
    if let Some(harmless) = harmless.filter(|harmless| !harmless.is_empty()) {
        let list: String = harmless
            .iter()
            .map(|line| format!("- {}\n", text(line)))
            .collect();
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&folds::details("Known harmless differences", &list));
    }
    out
}

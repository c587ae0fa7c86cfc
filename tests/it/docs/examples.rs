//! Examples of workflows go through actionlint, the schema and zizmor, as files of a repository
//! that has this action in it; configurations are read by the program; JSON parses.

use super::page::{Block, Page};
use super::pages;
use crate::support::run::PROGRAM;
use crate::support::{need, root, tool};
use std::fs;
use std::path::Path;
use std::process::Command;

/// What stands for the commit of a release. Here the action is the one of this checkout, so that
/// actionlint compares the inputs with action.yml.
const RELEASE: &str = "0000000000000000000000000000000000000000";

/// A whole workflow from an example that may show a part of one.
fn workflow(text: &str) -> String {
    if text.contains("\njobs:") {
        return text.to_owned();
    }
    let indented = |by: usize| {
        text.lines()
            .map(|line| format!("{:by$}{line}\n", "").trim_end().to_owned() + "\n")
            .collect::<String>()
    };
    let head = "name: example\non: push\npermissions: {}\nconcurrency:\n  group: example\n  cancel-in-progress: false\njobs:\n";
    if text.trim_start().starts_with('-') {
        format!(
            "{head}  example:\n    name: example\n    runs-on: ubuntu-24.04\n    timeout-minutes: 9\n    steps:\n{}",
            indented(6)
        )
    } else {
        format!("{head}{}", indented(2))
    }
}

fn check(tool: &Path, args: &[&str], at: &Path, files: &[String]) -> Result<(), String> {
    let path = std::env::var_os("PATH").expect("PATH");
    let dirs = tool.parent().into_iter().map(Path::to_owned);
    let path = std::env::join_paths(dirs.chain(std::env::split_paths(&path))).expect("a PATH");
    let output = Command::new(tool)
        .args(args)
        .args(files)
        .current_dir(at)
        .env("PATH", path)
        .env("NO_COLOR", "1")
        .output()
        .expect("the linter starts");
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{}\n{}{}",
        tool.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

#[test]
fn workflows_of_the_pages_have_no_findings() {
    let test = "workflows_of_the_pages_have_no_findings";
    let tools = ["actionlint", "check-jsonschema", "zizmor", "git"];
    let found = tools.map(|name| need(test, name, tool(name)));
    let [Some(actionlint), Some(schema), Some(zizmor), Some(git)] = found else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let workflows = dir.path().join(".github/workflows");
    fs::create_dir_all(&workflows).expect("a directory");
    // As people copy them: pinned by a commit.
    let published = dir.path().join("published/.github/workflows");
    fs::create_dir_all(&published).expect("a directory");
    fs::copy(root().join("action.yml"), dir.path().join("action.yml")).expect("action.yml");
    check(&git, &["init", "--quiet"], dir.path(), &[]).expect("git init");
    let mut files = Vec::new();
    for page in pages() {
        let yaml = page.blocks.iter();
        for block in yaml.filter(|block| block.language == "yaml") {
            let name = format!("{}-{}.yml", page.name.replace(['/', '.'], "-"), block.line);
            let text = workflow(&block.text);
            let here = text.replace(&format!("backup-action/backup-action@{RELEASE}"), "./");
            fs::write(workflows.join(&name), here).expect("a file");
            fs::write(published.join(&name), text).expect("a file");
            files.push(format!(".github/workflows/{name}"));
        }
    }
    assert!(!files.is_empty());
    let at = dir.path();
    let args = ["--builtin-schema", "vendor.github-workflows"];
    let findings: Vec<_> = [
        check(&actionlint, &[], at, &files),
        check(&schema, &args, at, &files),
        check(
            &zizmor,
            &["--offline", "--no-progress"],
            &at.join("published"),
            &files,
        ),
    ]
    .into_iter()
    .filter_map(Result::err)
    .collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

fn blocks<'a>(pages: &'a [Page], language: &'a str) -> impl Iterator<Item = (&'a str, &'a Block)> {
    pages.iter().flat_map(move |page| {
        let blocks = page.blocks.iter();
        let blocks = blocks.filter(move |block| block.language == language);
        blocks.map(|block| (page.name.as_str(), block))
    })
}

/// What the program says about a configuration; nothing when it reads it.
fn refused(toml: &str) -> Option<String> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("backup-action.toml");
    fs::write(&file, toml).expect("a file");
    // A drill reads every table of the file. It then ends for want of the backup, without a word
    // about the file.
    let output = Command::new(PROGRAM)
        .args(["drill", "/nowhere/backup.sql.gz", "--config"])
        .arg(&file)
        .env_clear()
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .current_dir(dir.path())
        .output()
        .expect("the program starts");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    said.contains("backup-action.toml").then_some(said)
}

#[test]
fn the_program_reads_the_configurations_of_the_pages() {
    let pages = pages();
    let mut seen = 0;
    for (page, block) in blocks(&pages, "toml") {
        let said = refused(&block.text);
        assert_eq!(said, None, "{page}:{}", block.line);
        seen += 1;
    }
    assert!(seen > 0);
    for wrong in ["no-such-key = 1\n", "[[drill.question]]\nname = \"x\"\n"] {
        assert!(refused(wrong).is_some(), "{wrong}");
    }
}

#[test]
fn json_of_the_pages_parses() {
    for (page, block) in blocks(&pages(), "json") {
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(&block.text);
        assert!(parsed.is_ok(), "{page}:{}: {parsed:?}", block.line);
    }
}

#[test]
fn a_part_of_a_workflow_becomes_a_whole_one() {
    let steps = workflow("- run: x\n  env: {}\n");
    assert!(
        steps.ends_with("    steps:\n      - run: x\n        env: {}\n"),
        "{steps}"
    );
    let job = workflow("deploy:\n  runs-on: x\n");
    assert!(job.ends_with("jobs:\n  deploy:\n    runs-on: x\n"), "{job}");
    let whole = "on: push\njobs:\n  x: y\n";
    assert_eq!(workflow(whole), whole);
}

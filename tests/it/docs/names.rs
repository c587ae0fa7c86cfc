//! What the pages name exists: every check has its entry, and every flag of a command line is one
//! that `--help` knows.

use super::page::Page;
use super::pages;
use crate::support::root;
use crate::support::run::PROGRAM;
use backup_action::check::CheckId;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

#[test]
fn every_check_has_a_cause_and_a_fix() {
    let page = Page::read(&root(), "docs/checks.md");
    let mut entries = BTreeMap::new();
    for part in page.prose.split("\n### ").skip(1) {
        let (heading, text) = part.split_once('\n').expect("an entry has text");
        entries.insert(heading.trim_matches('`').to_owned(), text.to_owned());
    }
    let wanted: BTreeSet<_> = CheckId::ALL.iter().map(|check| check.id()).collect();
    let found: BTreeSet<_> = entries.keys().map(String::as_str).collect();
    assert_eq!(found, wanted);
    for (id, text) in &entries {
        for word in ["**Cause.**", "**Fix.**"] {
            assert!(text.contains(word), "{id} has no {word}");
        }
    }
}

/// The flags of a command by `--help`; none when there is no such command.
fn flags(command: &str) -> Option<BTreeSet<String>> {
    let output = Command::new(PROGRAM)
        .args([command, "--help"])
        .env_clear()
        .output()
        .expect("the program starts");
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| {
        help.split_whitespace()
            .filter_map(|word| word.strip_prefix("--"))
            .map(|word| {
                let end = word.find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
                word[..end.unwrap_or(word.len())].to_owned()
            })
            .collect()
    })
}

#[test]
fn every_flag_of_the_pages_exists() {
    let mut unknown = BTreeSet::new();
    let mut known: BTreeMap<String, Option<BTreeSet<String>>> = BTreeMap::new();
    for page in pages() {
        let commands = page.console().flat_map(|block| block.commands());
        let inline = page.prose.split('`').skip(1).step_by(2).map(str::to_owned);
        for line in commands.map(|shown| shown.command).chain(inline) {
            let line = line.split("  # ").next().unwrap_or_default();
            let mut words = line.split_whitespace();
            if !words.any(|word| word == "backup-action" || word.ends_with("/backup-action")) {
                continue;
            }
            let Some(command) = words
                .next()
                .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
            else {
                continue;
            };
            let flags = known
                .entry(command.to_owned())
                .or_insert_with(|| flags(command));
            let Some(flags) = flags else {
                unknown.insert((command.to_owned(), String::new()));
                continue;
            };
            let used = words.take_while(|word| !matches!(*word, "|" | "&&" | ">"));
            for flag in used.filter_map(|word| word.strip_prefix("--")) {
                let flag = flag.split('=').next().unwrap_or_default();
                if !flag.is_empty() && !flags.contains(flag) {
                    unknown.insert((command.to_owned(), flag.to_owned()));
                }
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:?}");
}

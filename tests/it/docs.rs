//! The documentation is true: every command of README.md and docs/ is run against real servers,
//! every example of a workflow or a configuration is read by what would read it, every link leads
//! somewhere, and every check, flag and input that a page names exists.
#![expect(
    clippy::disallowed_methods,
    reason = "tests start shells and linters themselves"
)]
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a helper that cannot go on ends its test"
)]
#![expect(clippy::print_stdout, reason = "what is not run is said")]

mod examples;
mod names;
mod page;
mod world;

use crate::support::cluster::Cluster;
use crate::support::s3::SeaweedFs;
use crate::support::{need, root};
use page::Page;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use world::World;

/// Blocks that no test runs: the page, the first command, and why. A page says the same beside the
/// block, so that nothing is left out in silence.
const NOT_RUN: &[(&str, &str, &str)] = &[
    (
        "README.md",
        "cargo xtask demo   # start a throw-away cluster, see the gate open, close, and the backup restored",
        "it compiles the project, starts servers of its own, and runs these tests",
    ),
    (
        "docs/first-gate.md",
        "act push -W .github/workflows/deploy.yml -P self-hosted=-self-hosted \\\n      --var BACKUP_DIR=/var/backups/postgres -s DATABASE_URL",
        "the test of the first gate runs this workflow under act",
    ),
    (
        "docs/install.md",
        "cargo build --release --locked -p backup-action",
        "it compiles the whole program again, for minutes",
    ),
];

/// Pages whose commands no test runs, and why. Their flags are looked at like all others.
const PAGES_NOT_RUN: &[(&str, &str)] = &[(
    "docs/aws.md",
    "they change an AWS account; the policies are compared with the recorded calls by a test of their own",
)];

/// README.md and everything in docs/.
fn pages() -> Vec<Page> {
    let root = root();
    let mut names = vec!["README.md".to_owned(), "SECURITY.md".to_owned()];
    collect(&root, Path::new("docs"), &mut names);
    names.sort();
    names.iter().map(|name| Page::read(&root, name)).collect()
}

fn collect(root: &Path, below: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(root.join(below)).expect("docs can be listed") {
        let entry = entry.expect("docs can be listed");
        let path = below.join(entry.file_name());
        if entry.path().is_dir() {
            collect(root, &path, names);
        } else if path.extension().is_some_and(|ending| ending == "md") {
            names.push(path.to_str().expect("a plain name").to_owned());
        }
    }
}

fn is_not_run(page: &Page) -> bool {
    PAGES_NOT_RUN.iter().any(|(name, _)| page.name == *name)
}

/// Runs the commands of one page.
fn run(test: &str, name: &str) {
    let Some(_) = need(test, "PostgreSQL's server", Cluster::installed(None)) else {
        return;
    };
    let Some(s3) = SeaweedFs::start(test) else {
        return;
    };
    let page = Page::read(&root(), name);
    let wrong = World::start(s3, name).run(&page);
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// One test for each page that has commands.
macro_rules! pages_with_commands {
    ($($test:ident: $name:literal,)+) => {
        const WITH_COMMANDS: &[&str] = &[$($name),+];
        $(
            #[test]
            fn $test() {
                run(stringify!($test), $name);
            }
        )+
    };
}

pages_with_commands! {
    the_readme_does_what_it_says: "README.md",
    first_gate: "docs/first-gate.md",
    restore_at_night: "docs/restore-at-3am.md",
    restore_at_night_in_spanish: "docs/restore-at-3am.es.md",
    the_runbook: "docs/runbook.md",
    the_runbook_in_spanish: "docs/runbook.es.md",
    restore: "docs/restore.md",
    drills: "docs/drill-policy.md",
    deploy_pattern: "docs/deploy-pattern.md",
    install: "docs/install.md",
    scheduling: "docs/scheduling.md",
    sizes_over_time: "docs/history.md",
}

#[test]
fn no_page_with_commands_is_forgotten() {
    let found: BTreeSet<_> = pages()
        .iter()
        .filter(|page| !is_not_run(page))
        .filter(|page| page.console().any(|block| block.not_run().is_none()))
        .map(|page| page.name.clone())
        .collect();
    let tested: BTreeSet<_> = WITH_COMMANDS
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    assert_eq!(found, tested);
}

#[test]
fn what_is_not_run_is_listed_with_its_reason() {
    let mut found = Vec::new();
    for page in pages() {
        for block in page.console() {
            assert!(!block.commands().is_empty(), "{}:{}", page.name, block.line);
            if let Some(reason) = block.not_run() {
                let first = block.commands()[0].command.clone();
                found.push((page.name.clone(), first, reason.to_owned()));
            }
        }
    }
    let listed: Vec<_> = NOT_RUN
        .iter()
        .map(|(page, first, reason)| {
            (
                (*page).to_owned(),
                (*first).to_owned(),
                (*reason).to_owned(),
            )
        })
        .collect();
    for (page, reason) in PAGES_NOT_RUN {
        println!("not run: {page}: {reason}");
    }
    for (page, first, reason) in &found {
        println!("not run: {page}: {first}: {reason}");
    }
    assert_eq!(found, listed);
}

#[test]
fn commands_stand_in_console_blocks_only() {
    for page in pages() {
        for block in &page.blocks {
            let known = [
                "console", "yaml", "toml", "json", "python", "ini", "cron", "",
            ];
            assert!(
                known.contains(&block.language.as_str()),
                "{}:{}: nothing tests a block of {}",
                page.name,
                block.line,
                block.language
            );
        }
    }
}

#[test]
fn both_languages_have_the_same_commands() {
    let root = root();
    for name in ["runbook", "restore-at-3am"] {
        let commands = |file: String| -> Vec<_> {
            let page = Page::read(&root, &file);
            page.console().flat_map(page::Block::commands).collect()
        };
        let english = commands(format!("docs/{name}.md"));
        assert!(!english.is_empty(), "{name}");
        // Comments are translated.
        let bare = |shown: &page::Shown| {
            let lines = shown.command.lines();
            let lines = lines.map(|line| line.split("  # ").next().unwrap_or_default().trim());
            (lines.collect::<Vec<_>>().join("\n"), shown.output.clone())
        };
        let spanish = commands(format!("docs/{name}.es.md"));
        assert_eq!(
            english.iter().map(bare).collect::<Vec<_>>(),
            spanish.iter().map(bare).collect::<Vec<_>>(),
            "{name}"
        );
    }
}

#[test]
fn links_lead_somewhere() {
    let pages = pages();
    let root = root();
    let mut wrong = Vec::new();
    for page in &pages {
        for link in page.links() {
            if link.starts_with("https://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => page.path.clone(),
                file => page.path.parent().expect("a directory").join(file),
            };
            let Ok(target) = target.canonicalize() else {
                wrong.push(format!("{}: {link}", page.name));
                continue;
            };
            let name = target.strip_prefix(&root).expect("inside the checkout");
            let has_anchor = || {
                let page = Page::read(&root, name.to_str().expect("a plain name"));
                page.anchors().iter().any(|a| a == anchor)
            };
            if !anchor.is_empty() && !has_anchor() {
                wrong.push(format!("{}: {link}: no such heading", page.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

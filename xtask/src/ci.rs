//! `cargo xtask ci`: everything that a change must pass. All steps run even when one fails; the
//! table at the end says which did, and which could not run.

use crate::{codegen, gate, paths, proc, setup, table, test, tools};
use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// What to add to the usual steps.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also look dependencies up in the advisory database; needs the network
    #[arg(long)]
    advisories: bool,
    /// Only the steps whose name contains this; may be repeated
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
}

/// How a step ended.
enum End {
    Passed,
    Failed(String),
    /// A tool or a file is not there: says nothing about the code.
    NotRun(String),
}

/// One step: its name, and what it does.
type Step = (&'static str, Box<dyn Fn() -> Result<End>>);

struct Done {
    name: &'static str,
    end: End,
    took: Duration,
}

/// Runs every step.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let missing = setup::run()?;
    let deny = deny_checks(args.advisories);
    let steps: Vec<Step> = vec![
        (
            "format",
            Box::new(|| cargo(&["fmt", "--all", "--check"], &[])),
        ),
        (
            "lints",
            Box::new(|| {
                let args = [
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--locked",
                    "--",
                    "-D",
                    "warnings",
                ];
                cargo(&args, &[])
            }),
        ),
        ("tests", Box::new(tests)),
        (
            "documentation",
            Box::new(|| {
                let args = ["doc", "--workspace", "--no-deps", "--locked"];
                cargo(&args, &[("RUSTDOCFLAGS", "-D warnings")])
            }),
        ),
        ("generated files", Box::new(generated)),
        (
            "dependencies",
            Box::new(move || {
                tool(
                    "cargo-deny",
                    &[&["--locked", "check", "--hide-inclusion-graph"], &deny[..]].concat(),
                    Vec::new(),
                )
            }),
        ),
        (
            "zizmor",
            Box::new(|| {
                tool(
                    "zizmor",
                    &["--offline", "--no-progress", "--persona", "pedantic"],
                    workflows_and_action()?,
                )
            }),
        ),
        (
            "actionlint",
            Box::new(|| tool("actionlint", &[], workflows()?)),
        ),
        (
            "schema of the workflows",
            Box::new(|| schema("vendor.github-workflows", workflows()?)),
        ),
        (
            "schema of action.yml",
            Box::new(|| schema("vendor.github-actions", action())),
        ),
        (
            "shellcheck",
            Box::new(|| tool("shellcheck", &[], scripts()?)),
        ),
    ];
    let wanted = |name: &str| args.only.is_empty() || args.only.iter().any(|o| name.contains(o));
    let done: Vec<Done> = steps
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, step)| section(name, step))
        .collect();
    ensure!(
        !done.is_empty(),
        "no step has such a name; there are: {}",
        steps
            .iter()
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
            .join(", ")
    );
    setup::print_missing(&missing);
    println!();
    print!(
        "{}",
        table::render(&["step", "outcome", ">time"], &rows(&done))
    );
    let failed = done
        .iter()
        .filter(|d| matches!(d.end, End::Failed(_)))
        .count();
    let not_run = done
        .iter()
        .filter(|d| matches!(d.end, End::NotRun(_)))
        .count();
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    let good = failed == 0 && (not_run == 0 || !ci);
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn deny_checks(advisories: bool) -> Vec<&'static str> {
    let mut checks = vec!["bans", "licenses", "sources"];
    checks.extend(advisories.then_some("advisories"));
    checks
}

/// Runs one step under a heading that GitHub folds.
fn section(name: &'static str, step: &dyn Fn() -> Result<End>) -> Done {
    let folded = std::env::var_os("GITHUB_ACTIONS").is_some();
    println!("{} {name}", if folded { "::group::" } else { "\n━━" });
    let start = Instant::now();
    let end = step().unwrap_or_else(|error| End::Failed(format!("{error:#}")));
    let took = start.elapsed();
    println!("{}: {}", name, words(&end));
    if folded {
        println!("::endgroup::");
        if let End::Failed(why) = &end {
            let why = why
                .replace('%', "%25")
                .replace('\r', "%0D")
                .replace('\n', "%0A");
            println!("::error title={name}::{why}");
        }
    }
    Done { name, end, took }
}

fn words(end: &End) -> String {
    match end {
        End::Passed => "passed".to_owned(),
        End::Failed(why) => format!("FAILED: {why}"),
        End::NotRun(why) => format!("not run: {why}"),
    }
}

fn rows(done: &[Done]) -> Vec<Vec<String>> {
    done.iter()
        .map(|d| {
            let first = words(&d.end).lines().next().unwrap_or_default().to_owned();
            vec![d.name.to_owned(), first, table::seconds(d.took)]
        })
        .collect()
}

/// A program that ran to its end: passed or failed.
fn ran(command: &mut Command) -> Result<End> {
    Ok(match proc::run(command.current_dir(paths::root())) {
        Ok(()) => End::Passed,
        Err(error) => End::Failed(format!("{error:#}")),
    })
}

fn cargo(args: &[&str], env: &[(&str, &str)]) -> Result<End> {
    ran(proc::inheriting("cargo")
        .args(args)
        .envs(env.iter().copied()))
}

fn tests() -> Result<End> {
    let code = test::run(&test::Args::default())?;
    // ExitCode cannot be compared; its Debug text is the only view of it.
    let good = format!("{code:?}") == format!("{:?}", ExitCode::SUCCESS);
    Ok(if good {
        End::Passed
    } else {
        End::Failed("see the table of the tests".to_owned())
    })
}

fn generated() -> Result<End> {
    let stale = codegen::stale()?;
    Ok(if stale.is_empty() {
        End::Passed
    } else {
        End::Failed(format!(
            "run `cargo xtask codegen`: {} would change",
            stale.join(", ")
        ))
    })
}

/// A tool of the virtual environment over `files`.
fn tool(name: &str, args: &[&str], files: Vec<PathBuf>) -> Result<End> {
    let needs_files = name != "cargo-deny";
    if needs_files && files.is_empty() {
        return Ok(End::NotRun("there is no file to look at".to_owned()));
    }
    let Some(program) = tools::find(name) else {
        return Ok(End::NotRun(format!("{name} is not installed")));
    };
    // actionlint calls shellcheck.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(paths::venv_bin()).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(dirs).context("PATH cannot be extended")?;
    ran(proc::inheriting(program)
        .args(args)
        .args(files)
        .env("PATH", path))
}

fn schema(name: &str, files: Vec<PathBuf>) -> Result<End> {
    tool("check-jsonschema", &["--builtin-schema", name], files)
}

fn action() -> Vec<PathBuf> {
    let file = paths::root().join("action.yml");
    file.is_file().then_some(file).into_iter().collect()
}

fn workflows() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for dir in [
        ".github/workflows",
        "fixtures/workflows",
        "examples/workflows",
    ] {
        files.extend(below(dir, |name| {
            name.ends_with(".yml") || name.ends_with(".yaml")
        })?);
    }
    Ok(files)
}

fn workflows_and_action() -> Result<Vec<PathBuf>> {
    let dependabot = vec![paths::root().join(".github/dependabot.yml")];
    Ok([workflows()?, dependabot, action()].concat())
}

/// Every shell script of the repository.
fn scripts() -> Result<Vec<PathBuf>> {
    let mut files = vec![paths::root().join(".ci/run")];
    for dir in ["action", "backup-action/src", "fixtures"] {
        files.extend(below(dir, |name| name.ends_with(".sh"))?);
    }
    // The fake tools are named by behaviour, without an ending.
    files.extend(below("fixtures/bin", |name| !name.contains('.'))?);
    files.sort();
    files.dedup();
    Ok(files)
}

fn below(dir: &str, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    gate::walk(&paths::root().join(dir), &mut |file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if wanted(&name) {
            files.push(file.to_path_buf());
        }
    })?;
    files.sort();
    Ok(files)
}

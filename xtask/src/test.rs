//! `cargo xtask test`: every test of the workspace, then one table of what ran, what failed and
//! what could not run. The counting is in `counts.rs`.

use crate::counts::Counts;
use crate::{paths, proc, setup, table};
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

/// What to run.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Only tests whose name contains this
    filter: Option<String>,
    /// Arguments for the test binaries, such as `-- --nocapture`
    #[arg(last = true)]
    args: Vec<String>,
}

/// Sets up, runs, prints the table. Fails when a test failed, and with `CI=true` also when
/// something could not run.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let missing = setup::run()?;
    let target = paths::target()?;
    let not_run = target.join(format!("xtask-not-run-{}.txt", std::process::id()));
    let (mut counts, success) = cargo_test(args, &not_run)?;
    if let Ok(text) = std::fs::read_to_string(&not_run) {
        counts.add_not_run(&text);
        std::fs::remove_file(&not_run)?;
    }
    if !success && counts.total_failed() == 0 {
        counts.add_failure("cargo test itself; see its message above");
    }
    setup::print_missing(&missing);
    println!();
    let header = ["area", ">passed", ">failed", "could not run"];
    print!("{}", table::render(&header, &counts.rows()));
    for name in counts.failed() {
        println!("failed: {name}");
    }
    let unknown = counts.total_not_run() > 0 || !missing.is_empty();
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    if unknown {
        println!("\nWhat could not run says nothing about the code.");
    }
    if unknown && ci {
        println!("With CI=true that is a failure.");
    }
    let (passed, failed) = (counts.total_passed(), counts.total_failed());
    println!("\n{passed} passed, {failed} failed");
    let good = success && failed == 0 && !(ci && unknown);
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs `cargo test`, shows its output as it comes and counts. Standard output and standard error
/// share one pipe: the name of a suite is on the one, its tests are on the other.
fn cargo_test(args: &Args, not_run: &Path) -> Result<(Counts, bool)> {
    let (reader, writer) = std::io::pipe().context("could not make a pipe")?;
    let color = std::io::stdout().is_terminal();
    let mut cargo = proc::inheriting("cargo");
    cargo
        .args(["test", "--workspace", "--locked", "--no-fail-fast"])
        .args(&args.filter)
        .arg("--")
        .args(color.then_some("--color=always"))
        .args(&args.args)
        .current_dir(paths::root())
        .env("XTASK_NOT_RUN", not_run)
        .env("CARGO_TERM_COLOR", if color { "always" } else { "never" })
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = cargo.spawn().context("could not start cargo")?;
    // The command holds our end of the pipe open; reading would never end.
    drop(cargo);
    let mut counts = Counts::default();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    let mut stdout = std::io::stdout().lock();
    while reader.read_until(b'\n', &mut line)? > 0 {
        stdout.write_all(&line)?;
        stdout.flush()?;
        counts.line(&String::from_utf8_lossy(&line));
        line.clear();
    }
    counts.end();
    let status = child.wait().context("could not wait for cargo")?;
    Ok((counts, status.success()))
}

//! `cargo xtask`: the tasks of the project. This file names them; each task is a file of its own.
//!
//! A task may start programs and print. It never depends on the backup-action library: what it
//! shows is what the binary does.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task talks to the person who started it"
)]

mod bench;
mod bench_restore;
mod ci;
mod cluster;
mod codegen;
mod counts;
mod demo;
mod dist;
mod elf;
mod gate;
mod image;
mod measure;
mod paths;
mod proc;
mod release;
mod s3;
mod sample;
mod setup;
mod table;
mod test;
mod tools;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Tasks of the project. Each does the set-up that it needs.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Show the gate open, close and restore, on a throw-away cluster
    Demo(demo::Args),
    /// Run every test, then say in one table what ran, failed and could not run
    Test(test::Args),
    /// Everything that a change must pass: format, lints, tests, docs, licences, workflows
    Ci(ci::Args),
    /// Measure the gate against pg_dumpall and against the shell runbook
    Bench(bench::Args),
    /// Measure a drill's restore against gunzip and psql, and one tenant against all
    BenchRestore(bench_restore::Args),
    /// Write what is generated: action.yml and the tables of docs/
    Codegen(codegen::Args),
    /// Make an image with PostgreSQL for the tests, without a registry
    Image(image::Args),
    /// Build the program as it is released, with checksums and its list of dependencies
    Dist(dist::Args),
    /// Write support/release.json, or check that a commit can be released
    Release(release::Args),
    /// Find or install what the other tasks need
    Setup,
}

fn main() -> ExitCode {
    let done = match Args::parse().task {
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Ci(args) => ci::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::BenchRestore(args) => bench_restore::run(&args),
        Task::Codegen(args) => codegen::run(&args),
        Task::Image(args) => image::run(&args),
        Task::Dist(args) => dist::run(&args),
        Task::Release(args) => release::run(&args),
        Task::Setup => setup::show(),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Args::command().debug_assert();
    }
}

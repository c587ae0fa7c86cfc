//! The commands without settings: what they do needs no configuration and no store.

mod answers;
mod files;
mod init;
mod internals;
mod questions;
mod shell;

use super::ExitStatus;
use crate::cli;
use clap::ArgMatches;

/// Runs the command when it is one of these.
pub(super) fn run(name: &str, matches: &ArgMatches) -> Option<anyhow::Result<ExitStatus>> {
    match name {
        "init" => Some(init::run(matches)),
        "completions" => Some(shell::completions(matches)),
        "man" => Some(shell::man(matches)),
        cli::INTERNALS => Some(internals::run(matches)),
        _ => None,
    }
}

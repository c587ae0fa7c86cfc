//! `internals`: prints what is generated from the lists in the code, for `cargo xtask codegen`, and
//! what the benchmarks have to know.

use crate::command::{ExitStatus, print};
use crate::error::Usage;
use crate::github::action;
use crate::postgres::throwaway;
use crate::settings::SETTINGS;
use clap::ArgMatches;

/// Runs the command.
///
/// # Errors
/// An unknown thing is asked for.
pub(crate) fn run(matches: &ArgMatches) -> anyhow::Result<ExitStatus> {
    let what: Vec<&str> = matches
        .get_many::<String>("what")
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    let text = match what.as_slice() {
        ["action-yml"] => action::action_yml(&SETTINGS),
        ["readme", "inputs"] => action::readme_inputs(&SETTINGS),
        ["readme", "outputs"] => action::readme_outputs(),
        ["readme", "checks"] => action::readme_checks(),
        ["readme", "exit-codes"] => action::readme_exit_codes(),
        ["drill-settings"] => {
            let jobs = std::thread::available_parallelism().map_or(2, usize::from);
            throwaway::settings(jobs, 1000).join("\n") + "\n"
        }
        other => {
            return Err(Usage::new(format!("unknown internals \"{}\"", other.join(" "))).into());
        }
    };
    print(&text)?;
    Ok(ExitStatus::PASSED)
}

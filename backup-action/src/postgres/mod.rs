//! Everything that knows PostgreSQL's own programs: where they are, how they are connected, what
//! they say and mean. Children are started through `process`; nothing here stores or reports.

pub mod args;
pub mod client;
pub mod connection;
mod container;
pub mod dump;
mod elsewhere;
mod install;
pub mod inventory;
mod passfile;
pub mod preflight;
pub mod psql;
pub mod reach;
mod route;
pub mod ssh;
pub mod target;
pub mod throwaway;
pub mod tools;
mod tunnel;
mod url;

/// The most names that one line of evidence lists.
const NAMES_SHOWN: usize = 8;

/// `a, b and 7 more`, for evidence.
fn list_names(names: &[String]) -> String {
    let shown = &names[..names.len().min(NAMES_SHOWN)];
    let text = shown.join(", ");
    match names.len() - shown.len() {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

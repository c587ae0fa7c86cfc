//! The integration tests: the library and the binary against real servers, in one test binary.
//!
//! `cargo xtask test` installs what they need. A test whose tool is missing says so in the table at
//! the end, and fails when `CI=true`.

mod support;

mod actions;
mod annotate;
mod architecture;
mod aws;
mod docs;
mod drill;
mod gate;
mod history;
mod install;
mod lock;
mod notify;
mod postgres;
mod proof;
mod prune;
mod reach;
mod receipts;
mod restore;
mod restore_command;
mod scan;
mod server;
mod shell;
mod store;
mod throwaway;
mod workflows;

//! The protocol of the Actions runner: where it runs, outputs, summary, annotations, masks, and the
//! text of action.yml. Knows reports; nothing of stores, servers or processes.

pub mod action;
pub mod commands;
#[cfg(test)]
mod conformance;
pub mod output;
pub mod runner;

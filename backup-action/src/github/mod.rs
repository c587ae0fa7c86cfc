//! GitHub: the protocol of the Actions runner (where it runs, outputs, summary, annotations, masks,
//! the text of action.yml), and its API (a comment, a deployment record). Knows reports; nothing of
//! stores, servers or processes. What the API says never changes a verdict.

pub mod action;
pub mod api;
pub mod api_error;
pub mod choice;
pub mod commands;
#[cfg(test)]
mod conformance;
pub mod deployment;
pub mod event;
pub mod migrations;
pub mod oidc;
pub mod output;
pub mod pulls;
pub mod runner;
pub mod sticky;
pub mod workflow;

//! `annotate` and the deployment record: the real binary, manifests and receipts that real gates and
//! a real drill left, and a stand-in for GitHub's API that checks what it is sent.

mod clusters;
mod comment;
mod deployment;
mod files;
mod places;
mod trouble;
mod workflow;
pub(crate) mod world;

//! `backup-action` blocks a deploy unless a complete, verified, restorable backup of a PostgreSQL
//! cluster is stored. This page lists the modules in reading order; nothing else lives here.
//!
//! # Promises, in order of priority
//! An argument about the code is settled by the first one that applies.
//!
//! 1. Never say "passed" when something failed, was skipped, or could not be checked.
//! 2. Never lose a good backup.
//! 3. Never do harm: production is only read; no secret reaches argv, a log, a summary, a manifest.
//! 4. Any operator can restore without this program: `gunzip -c f.sql.gz | psql` works.
//! 5. Be fast: as fast as `pg_dumpall > /dev/null`, in constant memory, without temporary disk.
//! 6. Be pleasant: errors that say what to do, a summary worth reading.

pub mod archive;
pub mod check;
pub mod cli;
pub mod command;
pub mod config;
pub mod error;
pub mod github;
pub mod manifest;
pub mod pipeline;
pub mod postgres;
pub mod process;
pub mod report;
pub mod secret;
pub mod settings;
pub mod store;

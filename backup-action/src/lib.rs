//! `backup-action` blocks a deploy unless a complete, verified, restorable backup of a PostgreSQL
//! cluster is stored. This page lists the modules in reading order; nothing else lives here. A
//! module uses only those below its own.
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

// The story: one file per command.
pub mod command;

// The journey of the data back, and there; the runner of GitHub Actions; and who else is told.
pub mod restore;

pub mod github;
pub mod notify;
pub mod pipeline;

// What people and machines read, and what is kept of it.
pub mod receipt;

pub mod report;

// What was asked for.
pub mod config;

pub mod cli;

pub mod settings;

// PostgreSQL's programs, and where backups are kept.
pub mod postgres;

pub mod store;

pub mod lock;

// Rules over backups: what stays, and what sizes say.
pub mod history;

pub mod retention;

// The format: the JSON that makes a backup, the archive, and one archive against another.
pub mod manifest;

pub mod proof;

pub mod archive;

// What everything stands on.
pub mod check;
pub mod error;
pub mod http;
pub mod process;
pub mod secret;

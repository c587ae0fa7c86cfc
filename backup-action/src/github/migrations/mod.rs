//! The changed SQL files of a pull request: which are read, which tables they name, and what the
//! last backup knows of those. Pure: text and an index in, facts out.

pub mod glob;
pub mod mentions;
mod sql;
pub mod tables;

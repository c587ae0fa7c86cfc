//! The journey back: archive → psql → server, in parallel where that is provably safe.
//!
//! [`plan`] says which entries go in which phase, [`load::load`] replays them, and
//! [`schema::load_schema`] replays one schema in one transaction. Rows never reach psql as SQL, and
//! only statements that were lexed again and compared with the index reach it at all. Nothing here
//! decides a verdict, prints, or knows a command.

mod copy;
mod facts;
mod keys;
pub mod load;
pub mod plan;
pub mod read;
mod reader;
pub mod schema;
mod script;
mod session;
mod settings;
mod source;
mod statement;
mod work;

pub use source::Archive;
pub use work::{Failure, Load, Loaded, OnFailure};

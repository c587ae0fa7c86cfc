//! The gate from end to end: the real binary, real PostgreSQL, a directory and a real S3 server.

mod actions;
mod before;
mod calls;
mod disk;
mod dump;
pub(crate) mod happy;
mod readers;
mod signals;
mod slow_retention;
mod stores;
pub(crate) mod world;

//! The archive format: scan, digest, compress, index, read, extract. No network, no processes; the
//! only I/O is `Read` and `Write`. Knows nothing of stores, servers or CI.

pub mod compress;
pub mod digest;
mod entries;
pub mod extract;
pub mod index;
pub(crate) mod lex;
mod meta;
pub mod named;
pub mod object;
pub mod read;
pub mod rebuild;
pub mod reorder;
pub mod scan;
pub mod scanned;
mod sections;
pub mod statements;
mod toc;
pub(crate) mod token;
pub mod validate;

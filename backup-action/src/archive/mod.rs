//! The archive format: scan, digest, compress, index, read, extract. No network, no processes; the
//! only I/O is `Read` and `Write`. Knows nothing of stores, servers or CI.

mod entries;
mod lex;
mod meta;
mod toc;
mod token;
pub mod compress;
pub mod digest;
pub mod extract;
pub mod index;
pub mod read;
pub mod rebuild;
pub mod scan;

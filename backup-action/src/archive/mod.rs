//! The archive format: scan, digest, compress, index, read, extract. No network, no processes; the
//! only I/O is `Read` and `Write`. Knows nothing of stores, servers or CI.

pub mod compress;
pub mod extract;
pub mod index;
pub mod read;
pub mod rebuild;

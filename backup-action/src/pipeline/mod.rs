//! The journey of the data: dump → archive → stores → read back → manifest.
//!
//! Each step takes the proof that the step before it made, and only that step can make it:
//! [`stream::Streamed`] → [`seal::Sealed`] → [`readback::ReadBack`] → [`publish::Published`].
//! Publishing an unverified archive does not compile. Nothing here prints or decides a verdict.

pub mod cleanup;
mod compressors;
pub mod copies;
pub mod fetch;
pub mod inspect;
pub mod level;
pub mod pass;
pub mod progress;
pub mod publish;
pub mod readback;
pub mod repack;
pub mod scratch;
pub mod seal;
mod source;
pub mod stream;

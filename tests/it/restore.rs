//! The restore engine against real servers: what goes in comes out, what fails is named, and nothing
//! in a dump runs anything here.

mod bench;
mod canary;
mod failures;
mod order;
mod roundtrip;
mod tenant;

//! The restore engine against real servers: what goes in comes out, what fails is named, and nothing
//! in a dump runs anything here.

mod bench;
mod roundtrip;

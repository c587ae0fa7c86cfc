//! kill -9 of the owner.

//! The scanner: walks a dump as it streams, in blocks of any size, and says where its entries are,
//! how many rows each table has, and whether the dump is complete. What it gives does not depend on
//! how the dump was cut into blocks.
//!
//! The lexer is in `lex`, what its findings mean in `entries`, the types in `scanned`. No digests
//! here: pieces tell the digester, on another thread, which bytes to take.

use super::entries::Entries;
use super::lex::{Ended, Lexer};
use super::scanned::{Piece, Place, Scan, ScanError};

/// A push lexer of what pg_dumpall prints.
#[derive(Clone, Debug, Default)]
pub struct Scanner {
    lexer: Lexer,
    entries: Entries,
}

impl Scanner {
    /// A scanner that stands before the first byte.
    pub fn new() -> Scanner {
        Scanner::default()
    }

    /// Takes the next bytes of the dump and appends the pieces that became known.
    ///
    /// # Errors
    /// Text that pg_dumpall does not write. The scan is over then; more bytes give the same error.
    pub fn feed(&mut self, block: &[u8], pieces: &mut Vec<Piece>) -> Result<(), ScanError> {
        self.lexer.feed(block, &mut self.entries, pieces)
    }

    /// A scanner that also notes every statement as a whole, for [`super::statements`].
    pub(crate) fn watched() -> Scanner {
        Scanner {
            lexer: Lexer::default().watched(),
            entries: Entries::default(),
        }
    }

    /// The statements that ended since the last call.
    pub(crate) fn take_ended(&mut self) -> Vec<Ended> {
        self.lexer.take_ended()
    }

    /// Where the scanner stands, for progress and messages.
    pub fn place(&self) -> Place {
        self.entries.place(self.lexer.offset())
    }

    /// What was found. A dump that was cut gives a scan whose completeness says so.
    pub fn finish(self) -> Scan {
        let end = self.lexer.offset();
        let mut entries = self.entries;
        let ended_in = self.lexer.finish(&mut entries);
        entries.finish(end, ended_in)
    }
}

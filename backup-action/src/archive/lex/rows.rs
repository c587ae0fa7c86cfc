//! The lexer inside the rows of a table, and the pieces that it hands to the digester.

use super::{InLine, Lexer, Mode, Out};
use crate::archive::index::ByteRange;
use crate::archive::scanned::{Part, Piece, ScanError};
use memchr::{memchr_iter, memmem};

impl Lexer {
    pub(super) fn copy_line_end(
        &mut self,
        byte: u8,
        here: u64,
        out: &mut Out<'_>,
    ) -> Result<usize, ScanError> {
        if byte != b'\n' {
            return Err(ScanError::new(here, "text behind a COPY line", &[byte]));
        }
        out.entries.rows_begin(here + 1);
        self.open = Some((Part::CopyRows, here + 1));
        self.mode = Mode::Copy { at: InLine::Start };
        Ok(1)
    }

    pub(super) fn copy(&mut self, rest: &[u8], here: u64, at: InLine, out: &mut Out<'_>) -> usize {
        let next = match (at, rest[0]) {
            (InLine::Start, b'\\') => InLine::Backslash,
            (InLine::Backslash, b'.') => InLine::Dot,
            (InLine::Dot, b'\n') => {
                self.rows_end(here - 2, out);
                return 1;
            }
            (InLine::Start | InLine::Backslash | InLine::Dot | InLine::Middle, _) => {
                return self.copy_lines(rest, here, out);
            }
        };
        self.mode = Mode::Copy { at: next };
        1
    }

    /// Reads from the middle of a line to the end of the rows or of the block.
    fn copy_lines(&mut self, rest: &[u8], here: u64, out: &mut Out<'_>) -> usize {
        const END: &[u8] = b"\n\\.\n";
        let end = memmem::find(rest, END);
        let rows = &rest[..end.map_or(rest.len(), |at| at + 1)];
        out.entries.rows(memchr_iter(b'\n', rows).count() as u64);
        if let Some(at) = end {
            self.rows_end(here + at as u64 + 1, out);
            return at + END.len();
        }
        let at = match rest {
            [.., b'\n', b'\\', b'.'] => InLine::Dot,
            [.., b'\n', b'\\'] => InLine::Backslash,
            [.., b'\n'] => InLine::Start,
            _ => InLine::Middle,
        };
        self.mode = Mode::Copy { at };
        rest.len()
    }

    fn rows_end(&mut self, end: u64, out: &mut Out<'_>) {
        self.close(end, out);
        out.entries.rows_end(end);
        self.mode = Mode::Blank;
        self.mid_line = false;
    }

    // Pieces.

    /// Ends the statement or rows that are open.
    pub(super) fn close(&mut self, end: u64, out: &mut Out<'_>) {
        if let Some((part, start)) = self.open.take()
            && start < end
        {
            out.pieces.push(Piece {
                entry: out.entries.current(),
                part,
                range: ByteRange { start, end },
            });
        }
    }

    /// At the end of a block: hands over what is known to belong to the open statement or rows.
    pub(super) fn flush_open(&mut self, out: &mut Out<'_>) {
        let undecided = match self.mode {
            Mode::Copy {
                at: InLine::Backslash,
            } => 1,
            Mode::Copy { at: InLine::Dot } => 2,
            _ => 0,
        };
        if let Some((part, _)) = self.open {
            let end = self.offset - undecided;
            self.close(end, out);
            self.open = Some((part, end));
        }
    }
}

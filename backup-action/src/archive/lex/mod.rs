//! The lexer: bytes of a dump, in any chunking, to comments, statements, meta-commands and rows.
//! The rules are psql's (`psqlscan.l`), because psql is what reads a dump; inside rows, literals and
//! comments the bytes are skipped at the speed of memory. What things mean is decided in `entries`.
//!
//! Here: the states, and what stands between statements. Statements are in `statement`, rows in `rows`.

mod rows;
mod statement;

use super::entries::{Entries, Lead};
use super::meta;
use super::scanned::{Part, Piece, ScanError};
use super::token::{Head, Token};
use memchr::memchr;

/// The longest comment line or meta-command that is looked at; a longer comment is only skipped.
const MAX_LINE: usize = 1024 * 1024;

/// Where the lexer stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Mode {
    /// Between statements.
    #[default]
    Blank,
    /// Between statements, behind a first `-`.
    BlankDash,
    /// Between statements, behind a first `/`.
    BlankSlash,
    /// In a `--` comment between statements; `text` holds it.
    CommentLine,
    /// In a meta-command; `text` holds it.
    Meta,
    /// In the first bytes of a statement, in `text`, that decide which entry it belongs to.
    Lead,
    /// In a statement, between tokens.
    Code,
    /// In a statement, behind a first `-`.
    CodeDash,
    /// In a statement, behind a first `/`.
    CodeSlash,
    /// In a `--` comment inside a statement.
    CodeComment,
    /// In a `/* */` comment, between statements or inside one.
    Block { depth: u32, last: u8 },
    /// In a word; `text` holds it.
    Word,
    /// In a number.
    Number,
    /// In `'…'`; `text` holds its start. `escape`: a backslash takes the next byte.
    Literal { escape: bool, at: InQuotes },
    /// In `"…"`; `text` holds it.
    Name { at: InQuotes },
    /// In what may become a dollar quote; `text` holds it.
    DollarTag,
    /// In a dollar quote that ends with `text`, of which `matched` bytes were just seen.
    Dollar { matched: usize },
    /// Behind the semicolon of a COPY line.
    CopyLineEnd,
    /// In rows.
    Copy { at: InLine },
}

/// Where in a quoted token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum InQuotes {
    Body,
    Backslash,
    /// Behind a quote that ends the token unless another one follows.
    Quote,
}

/// Where in a line of rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum InLine {
    Start,
    Backslash,
    Dot,
    Middle,
}

/// The state between two blocks. Its size does not depend on the dump.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lexer {
    offset: u64,
    mode: Mode,
    failed: Option<ScanError>,
    text: Vec<u8>,
    /// Where the comment, meta-command, statement or run of rows began.
    start: u64,
    /// Whether `Blank` stands at the start of a line (the first byte of the dump does too).
    mid_line: bool,
    /// Bytes of a statement or of rows that have not been in a piece yet start here.
    open: Option<(Part, u64)>,
    head: Head,
    parens: u32,
    /// `BEGIN ATOMIC` and `CASE` that wait for their `END`.
    atomic: u32,
    /// The same as psql counts it: every word `begin` in CREATE FUNCTION opens, as a name too.
    psql_atomic: u32,
    /// The token before was `BEGIN`.
    after_begin: bool,
    /// `standard_conforming_strings` is off.
    backslashes: bool,
    /// For [`super::statements`] only.
    watch: Option<Watch>,
}

/// What a second reading of an entry wants to know besides its pieces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    /// Statements that ended, in order.
    pub(crate) ended: Vec<Ended>,
    /// Tokens of the statement that is open; names and literals shortened to 4 KiB.
    tokens: Vec<Token>,
    /// Where colons stand in its code.
    colons: Vec<u64>,
}

/// A statement that ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// Behind its semicolon.
    pub(crate) end: u64,
    /// All its tokens.
    pub(crate) tokens: Vec<Token>,
    /// Where colons stand outside of literals, names and comments.
    pub(crate) colons: Vec<u64>,
    /// psql does not see its end.
    pub(crate) psql_loses_track: bool,
}

/// What every step needs besides the lexer.
struct Out<'a> {
    entries: &'a mut Entries,
    pieces: &'a mut Vec<Piece>,
}

impl Lexer {
    /// From now on every statement is noted with all of its tokens.
    pub(crate) fn watched(mut self) -> Lexer {
        self.watch = Some(Watch::default());
        self
    }

    /// The statements that ended since the last call.
    pub(crate) fn take_ended(&mut self) -> Vec<Ended> {
        let watch = self.watch.as_mut();
        watch.map_or_else(Vec::new, |watch| std::mem::take(&mut watch.ended))
    }

    /// Bytes read so far.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// See [`super::scan::Scanner::feed`].
    pub(crate) fn feed(
        &mut self,
        block: &[u8],
        entries: &mut Entries,
        pieces: &mut Vec<Piece>,
    ) -> Result<(), ScanError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let mut out = Out { entries, pieces };
        let result = self.run(block, self.offset, &mut out);
        self.offset += block.len() as u64;
        match result {
            Ok(()) => self.flush_open(&mut out),
            Err(error) => {
                self.failed = Some(error.clone());
                return Err(error);
            }
        }
        Ok(())
    }

    /// Hands over what the end of the dump cut off, and says what that was; `None` between statements.
    pub(crate) fn finish(self, entries: &mut Entries) -> Option<&'static str> {
        if self.failed.is_some() {
            return Some("before text that pg_dumpall does not write");
        }
        let place = match self.mode {
            Mode::Blank => return None,
            Mode::BlankDash | Mode::BlankSlash => "in an unfinished comment",
            Mode::CommentLine => {
                entries.cut_comment(self.start, &self.text);
                "in an unfinished comment"
            }
            Mode::Block { .. } if self.open.is_none() => "in an unfinished comment",
            Mode::Meta => "in an unfinished meta-command",
            Mode::Copy { .. } | Mode::CopyLineEnd => "inside the rows",
            Mode::Lead
            | Mode::Code
            | Mode::CodeDash
            | Mode::CodeSlash
            | Mode::CodeComment
            | Mode::Block { .. }
            | Mode::Word
            | Mode::Number
            | Mode::Literal { .. }
            | Mode::Name { .. }
            | Mode::DollarTag
            | Mode::Dollar { .. } => "inside a statement",
        };
        Some(place)
    }

    /// Lexes `bytes`, which start at `base` in the dump.
    fn run(&mut self, bytes: &[u8], base: u64, out: &mut Out<'_>) -> Result<(), ScanError> {
        let mut i = 0;
        while i < bytes.len() {
            let here = base + i as u64;
            let rest = &bytes[i..];
            i += match self.mode {
                Mode::Blank => self.blank(rest, here, out)?,
                Mode::BlankDash => self.blank_dash(rest[0], out)?,
                Mode::BlankSlash => self.blank_slash(rest[0], out)?,
                Mode::CommentLine => self.comment_line(rest, here, out),
                Mode::Meta => self.meta(rest, out)?,
                Mode::Lead => self.lead(rest[0], out)?,
                Mode::Code => self.code(rest, here, out)?,
                Mode::CodeDash => self.second(rest[0], b'-', b'-', Mode::CodeComment),
                Mode::CodeSlash => {
                    self.second(rest[0], b'/', b'*', Mode::Block { depth: 1, last: 0 })
                }
                Mode::CodeComment => match memchr(b'\n', rest) {
                    Some(at) => {
                        self.mode = Mode::Code;
                        at + 1
                    }
                    None => rest.len(),
                },
                Mode::Block { depth, last } => self.block(rest, depth, last, out),
                Mode::Word => self.word(rest),
                Mode::Number => self.number(rest),
                Mode::Literal { escape, at } => self.literal(rest, escape, at),
                Mode::Name { at } => self.name(rest, at),
                Mode::DollarTag => self.dollar_tag(rest[0], here)?,
                Mode::Dollar { matched } => self.dollar(rest, matched),
                Mode::CopyLineEnd => self.copy_line_end(rest[0], here, out)?,
                Mode::Copy { at } => self.copy(rest, here, at, out),
            };
        }
        Ok(())
    }

    // Between statements.

    fn blank(&mut self, rest: &[u8], here: u64, out: &mut Out<'_>) -> Result<usize, ScanError> {
        self.text.clear();
        match rest[0] {
            b'\n' => self.mid_line = false,
            b' ' | b'\t' | b'\r' | b'\x0b' | b'\x0c' => self.mid_line = true,
            b'-' => {
                self.start = here;
                self.mode = Mode::BlankDash;
            }
            b'/' => {
                self.start = here;
                self.mode = Mode::BlankSlash;
            }
            b'\\' if self.mid_line => {
                return Err(ScanError::new(
                    here,
                    "backslash in the middle of a line",
                    rest,
                ));
            }
            b'\\' => {
                self.start = here;
                self.mode = Mode::Meta;
                return Ok(0);
            }
            first => {
                self.start = here;
                self.mode = Mode::Lead;
                return self.lead(first, out);
            }
        }
        Ok(1)
    }

    fn blank_dash(&mut self, byte: u8, out: &mut Out<'_>) -> Result<usize, ScanError> {
        if byte == b'-' {
            self.text.extend_from_slice(b"--");
            self.mode = Mode::CommentLine;
            return Ok(1);
        }
        self.mode = Mode::Lead;
        self.lead(b'-', out).map(|_| 0)
    }

    fn blank_slash(&mut self, byte: u8, out: &mut Out<'_>) -> Result<usize, ScanError> {
        if byte == b'*' {
            self.mode = Mode::Block { depth: 1, last: 0 };
            return Ok(1);
        }
        self.mode = Mode::Lead;
        self.lead(b'/', out).map(|_| 0)
    }

    fn comment_line(&mut self, rest: &[u8], here: u64, out: &mut Out<'_>) -> usize {
        let end = memchr(b'\n', rest);
        keep(&mut self.text, &rest[..end.unwrap_or(rest.len())], MAX_LINE);
        let Some(end) = end else { return rest.len() };
        out.entries
            .comment_line(self.start, here + end as u64 + 1, &self.text);
        self.mode = Mode::Blank;
        self.mid_line = false;
        end + 1
    }

    fn meta(&mut self, rest: &[u8], out: &mut Out<'_>) -> Result<usize, ScanError> {
        let end = memchr(b'\n', rest);
        keep(&mut self.text, &rest[..end.unwrap_or(rest.len())], MAX_LINE);
        let wrong = |lexer: &Lexer, message| Err(ScanError::new(lexer.start, message, &lexer.text));
        if self.text.len() >= MAX_LINE {
            return wrong(self, "meta-command that pg_dumpall does not write");
        }
        let Some(end) = end else {
            return Ok(rest.len());
        };
        let command = match meta::parse(&self.text) {
            Ok(command) => command,
            Err(message) => return wrong(self, message),
        };
        if let meta::Meta::Encoding(encoding) = &command {
            self.refuse_client_encoding(encoding)?;
        }
        out.entries.meta(self.start, &command);
        self.mode = Mode::Blank;
        self.mid_line = false;
        Ok(end + 1)
    }

    /// Collects the first bytes of a statement until they tell which entry it belongs to, then
    /// lexes them.
    fn lead(&mut self, byte: u8, out: &mut Out<'_>) -> Result<usize, ScanError> {
        self.text.push(byte);
        if let Some(lead) = Lead::of(&self.text) {
            out.entries.statement(self.start, lead);
            self.open = Some((Part::Statement, self.start));
            self.head.clear();
            self.parens = 0;
            self.atomic = 0;
            self.psql_atomic = 0;
            self.after_begin = false;
            self.mode = Mode::Code;
            let bytes = std::mem::take(&mut self.text);
            self.run(&bytes, self.start, out)?;
        }
        Ok(1)
    }
}

/// Letters, digits, `_`, `$` and every byte of a character outside ASCII.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

/// Appends to `text`, up to `limit` bytes in all.
fn keep(text: &mut Vec<u8>, more: &[u8], limit: usize) {
    let room = limit.saturating_sub(text.len());
    text.extend_from_slice(&more[..more.len().min(room)]);
}

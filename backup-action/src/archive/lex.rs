//! The lexer: bytes of a dump, in any chunking, to comments, statements, meta-commands and rows.
//! The rules are psql's (`psqlscan.l`), because psql is what reads a dump; inside rows, literals and
//! comments the bytes are skipped at the speed of memory. What things mean is decided in `entries`.

use super::entries::{Entries, Lead};
use super::index::ByteRange;
use super::meta;
use super::scan::{Part, Piece, ScanError};
use super::token::{Head, Token};
use memchr::{memchr, memchr_iter, memchr2, memmem};

/// The longest comment line or meta-command that is looked at; a longer comment is only skipped.
const MAX_LINE: usize = 1024 * 1024;
/// The longest dollar tag; pg_dump lengthens its tag until the body does not contain it.
const MAX_TAG: usize = 1024 * 1024;
/// The longest name or literal that is kept. PostgreSQL's names have 63 bytes.
const MAX_NAME: usize = 4096;

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
    /// The token before was `BEGIN`.
    after_begin: bool,
    /// `standard_conforming_strings` is off.
    backslashes: bool,
}

/// What every step needs besides the lexer.
struct Out<'a> {
    entries: &'a mut Entries,
    pieces: &'a mut Vec<Piece>,
}

impl Lexer {
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
                Mode::Meta => self.meta(rest, here, out)?,
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
                Mode::Number => {
                    let end = rest.iter().position(|b| !is_name_byte(*b) || *b == b'$');
                    if end.is_some() {
                        self.token(|| Token::Word(Vec::new()));
                        self.mode = Mode::Code;
                    }
                    end.unwrap_or(rest.len())
                }
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

    fn meta(&mut self, rest: &[u8], here: u64, out: &mut Out<'_>) -> Result<usize, ScanError> {
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
        let entry = out.entries.meta(self.start, &command);
        match command {
            // Their keys are random: two dumps of one cluster differ in them.
            meta::Meta::Restrict(_) | meta::Meta::Unrestrict(_) => {}
            meta::Meta::Connect(_) | meta::Meta::Encoding(_) => out.pieces.push(Piece {
                entry,
                part: Part::Statement,
                range: ByteRange {
                    start: self.start,
                    end: here + end as u64,
                },
            }),
        }
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
            self.after_begin = false;
            self.mode = Mode::Code;
            let bytes = std::mem::take(&mut self.text);
            self.run(&bytes, self.start, out)?;
        }
        Ok(1)
    }

    // Inside a statement.

    fn code(&mut self, rest: &[u8], here: u64, out: &mut Out<'_>) -> Result<usize, ScanError> {
        let first = rest[0];
        match first {
            b' ' | b'\t' | b'\n' | b'\r' | b'\x0b' | b'\x0c' => return Ok(1),
            b'\'' => {
                self.text.clear();
                self.mode = Mode::Literal {
                    escape: self.backslashes,
                    at: InQuotes::Body,
                };
                return Ok(1);
            }
            b'"' => {
                self.text.clear();
                self.mode = Mode::Name { at: InQuotes::Body };
                return Ok(1);
            }
            b'$' => {
                self.text.clear();
                self.text.push(b'$');
                self.mode = Mode::DollarTag;
                return Ok(1);
            }
            b'-' | b'/' => {
                self.mode = if first == b'-' {
                    Mode::CodeDash
                } else {
                    Mode::CodeSlash
                };
                return Ok(1);
            }
            b'\\' => {
                return Err(ScanError::new(here, "backslash inside a statement", rest));
            }
            b'(' => self.parens += 1,
            b')' => self.parens = self.parens.saturating_sub(1),
            b';' if self.parens == 0 && self.atomic == 0 => {
                self.statement_end(here + 1, out)?;
                return Ok(1);
            }
            b'0'..=b'9' => {
                self.mode = Mode::Number;
                return Ok(0);
            }
            byte if is_name_byte(byte) => {
                self.text.clear();
                self.mode = Mode::Word;
                return Ok(0);
            }
            _ => {}
        }
        self.token(|| Token::Sign(first));
        Ok(1)
    }

    /// Behind a first `-` or `/` in a statement: a comment, or the byte was an operator.
    fn second(&mut self, byte: u8, first: u8, expected: u8, comment: Mode) -> usize {
        if byte == expected {
            self.mode = comment;
            return 1;
        }
        self.token(|| Token::Sign(first));
        self.mode = Mode::Code;
        0
    }

    fn block(&mut self, rest: &[u8], mut depth: u32, mut last: u8, out: &mut Out<'_>) -> usize {
        for (i, &byte) in rest.iter().enumerate() {
            // The second byte of a pair is not the first of another: `/*/` stays open.
            (depth, last) = match (last, byte) {
                (b'/', b'*') => (depth.saturating_add(1), 0),
                (b'*', b'/') => (depth - 1, 0),
                _ => (depth, byte),
            };
            if depth == 0 {
                if self.open.is_some() {
                    self.mode = Mode::Code;
                } else {
                    out.entries.block_comment(self.start);
                    self.mode = Mode::Blank;
                    self.mid_line = true;
                }
                return i + 1;
            }
        }
        self.mode = Mode::Block { depth, last };
        rest.len()
    }

    fn word(&mut self, rest: &[u8]) -> usize {
        let end = rest.iter().position(|b| !is_name_byte(*b));
        keep(&mut self.text, &rest[..end.unwrap_or(rest.len())], MAX_NAME);
        let Some(end) = end else { return rest.len() };
        self.mode = Mode::Code;
        if rest[end] == b'\'' && self.text.eq_ignore_ascii_case(b"e") {
            self.text.clear();
            self.mode = Mode::Literal {
                escape: true,
                at: InQuotes::Body,
            };
            return end + 1;
        }
        let begins = self.after_begin && self.text.eq_ignore_ascii_case(b"atomic");
        let begin = self.parens == 0 && self.text.eq_ignore_ascii_case(b"begin");
        if begins && self.atomic == 0 {
            self.atomic = 1;
        } else if self.atomic > 0 && self.parens == 0 {
            if self.text.eq_ignore_ascii_case(b"case") {
                self.atomic += 1;
            } else if self.text.eq_ignore_ascii_case(b"end") {
                self.atomic -= 1;
            }
        }
        let text = std::mem::take(&mut self.text);
        self.token(|| Token::Word(text));
        self.after_begin = begin && self.head.creates_routine();
        end
    }

    fn literal(&mut self, rest: &[u8], escape: bool, at: InQuotes) -> usize {
        let set = |lexer: &mut Lexer, at| lexer.mode = Mode::Literal { escape, at };
        match at {
            InQuotes::Backslash => {
                keep(&mut self.text, &rest[..1], MAX_NAME);
                set(self, InQuotes::Body);
                1
            }
            InQuotes::Quote if rest[0] == b'\'' => {
                keep(&mut self.text, b"'", MAX_NAME);
                set(self, InQuotes::Body);
                1
            }
            InQuotes::Quote => {
                let text = std::mem::take(&mut self.text);
                self.token(|| Token::Text(text));
                self.mode = Mode::Code;
                0
            }
            InQuotes::Body => {
                let stop = if escape {
                    memchr2(b'\'', b'\\', rest)
                } else {
                    memchr(b'\'', rest)
                };
                let end = stop.unwrap_or(rest.len());
                keep(&mut self.text, &rest[..end], MAX_NAME);
                match stop.map(|at| rest[at]) {
                    Some(b'\'') => set(self, InQuotes::Quote),
                    Some(_) => set(self, InQuotes::Backslash),
                    None => return end,
                }
                end + 1
            }
        }
    }

    fn name(&mut self, rest: &[u8], at: InQuotes) -> usize {
        match at {
            InQuotes::Quote if rest[0] == b'"' => {
                keep(&mut self.text, b"\"", MAX_NAME);
                self.mode = Mode::Name { at: InQuotes::Body };
                1
            }
            InQuotes::Quote => {
                if self.text.len() >= MAX_NAME {
                    self.head.truncate();
                }
                let text = std::mem::take(&mut self.text);
                self.token(|| Token::Quoted(text));
                self.mode = Mode::Code;
                0
            }
            InQuotes::Body | InQuotes::Backslash => {
                let quote = memchr(b'"', rest);
                let end = quote.unwrap_or(rest.len());
                keep(&mut self.text, &rest[..end], MAX_NAME);
                if quote.is_none() {
                    return end;
                }
                self.mode = Mode::Name {
                    at: InQuotes::Quote,
                };
                end + 1
            }
        }
    }

    fn dollar_tag(&mut self, byte: u8, here: u64) -> Result<usize, ScanError> {
        let first = self.text.len() == 1;
        if byte == b'$' {
            self.text.push(b'$');
            self.mode = Mode::Dollar { matched: 0 };
            return Ok(1);
        }
        if is_name_byte(byte) && !(first && byte.is_ascii_digit()) {
            if self.text.len() >= MAX_TAG {
                return Err(ScanError::new(
                    here,
                    "dollar quote with an endless tag",
                    &self.text,
                ));
            }
            self.text.push(byte);
            return Ok(1);
        }
        // No dollar quote: `$1`, or a dollar sign before a word.
        self.token(|| Token::Sign(b'$'));
        self.text.remove(0);
        self.mode = if first { Mode::Code } else { Mode::Word };
        Ok(0)
    }

    fn dollar(&mut self, rest: &[u8], mut matched: usize) -> usize {
        let mut i = 0;
        while i < rest.len() {
            if matched == 0 {
                let Some(at) = memchr(b'$', &rest[i..]) else {
                    break;
                };
                i += at + 1;
                matched = 1;
                continue;
            }
            let byte = rest[i];
            i += 1;
            // No dollar sign stands inside a tag, so a failed match can only begin anew here.
            matched = match (byte == self.text[matched], byte) {
                (true, _) => matched + 1,
                (false, b'$') => 1,
                (false, _) => 0,
            };
            if matched == self.text.len() {
                self.token(|| Token::Text(Vec::new()));
                self.mode = Mode::Code;
                return i;
            }
        }
        self.mode = Mode::Dollar { matched };
        rest.len()
    }

    /// Notes a token of the statement.
    fn token(&mut self, token: impl FnOnce() -> Token) {
        self.after_begin = false;
        if self.head.open() {
            self.head.push(token());
        }
    }

    fn statement_end(&mut self, end: u64, out: &mut Out<'_>) -> Result<(), ScanError> {
        self.close(end, out);
        self.mode = Mode::Blank;
        self.mid_line = true;
        if let Some((name, value)) = self.head.setting() {
            if name.eq_ignore_ascii_case(b"standard_conforming_strings") {
                self.backslashes = value.eq_ignore_ascii_case(b"off");
            }
            if name.eq_ignore_ascii_case(b"client_encoding") {
                self.refuse_client_encoding(value)?;
            }
        }
        if self.head.is_copy() {
            let Some(target) = self.head.copy_target() else {
                return Err(ScanError::new(
                    self.start,
                    "COPY other than COPY table FROM stdin",
                    b"",
                ));
            };
            out.entries.copy(&self.head, &target);
            self.mode = Mode::CopyLineEnd;
        } else {
            out.entries.statement_end(&self.head);
        }
        Ok(())
    }

    /// In these encodings the second byte of a character can look like a quote or a backslash. No
    /// database has one of them, so pg_dumpall writes them only when somebody told it to.
    fn refuse_client_encoding(&self, encoding: &[u8]) -> Result<(), ScanError> {
        const UNSAFE: [&str; 16] = [
            "sjis",
            "mskanji",
            "shiftjis",
            "win932",
            "windows932",
            "shiftjis2004",
            "big5",
            "win950",
            "windows950",
            "gbk",
            "win936",
            "windows936",
            "gb18030",
            "uhc",
            "win949",
            "windows949",
        ];
        let plain: String = encoding
            .iter()
            .filter(|b| b.is_ascii_alphanumeric())
            .map(|b| char::from(b.to_ascii_lowercase()))
            .collect();
        if UNSAFE.contains(&plain.as_str()) || plain == "johab" {
            return Err(ScanError::new(
                self.start,
                "client encoding that is not a superset of ASCII",
                encoding,
            ));
        }
        Ok(())
    }

    // Rows.

    fn copy_line_end(
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

    fn copy(&mut self, rest: &[u8], here: u64, at: InLine, out: &mut Out<'_>) -> usize {
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
    fn close(&mut self, end: u64, out: &mut Out<'_>) {
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
    fn flush_open(&mut self, out: &mut Out<'_>) {
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

/// Letters, digits, `_`, `$` and every byte of a character outside ASCII.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..)
}

/// Appends to `text`, up to `limit` bytes in all.
fn keep(text: &mut Vec<u8>, more: &[u8], limit: usize) {
    let room = limit.saturating_sub(text.len());
    text.extend_from_slice(&more[..more.len().min(room)]);
}

//! The lexer inside a statement: words, literals, dollar quotes, comments, and where it ends.

use super::{Ended, InQuotes, Lexer, Mode, Out, is_name_byte, keep};
use crate::archive::scanned::ScanError;
use crate::archive::token::Token;
use memchr::{memchr, memchr2};

/// The longest dollar tag; pg_dump lengthens its tag until the body does not contain it.
const MAX_TAG: usize = 1024 * 1024;
/// The longest name or literal that is kept. PostgreSQL's names have 63 bytes.
const MAX_NAME: usize = 4096;

impl Lexer {
    pub(super) fn code(
        &mut self,
        rest: &[u8],
        here: u64,
        out: &mut Out<'_>,
    ) -> Result<usize, ScanError> {
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
            b':' => {
                if let Some(watch) = &mut self.watch {
                    watch.colons.push(here);
                }
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
    pub(super) fn second(&mut self, byte: u8, first: u8, expected: u8, comment: Mode) -> usize {
        if byte == expected {
            self.mode = comment;
            return 1;
        }
        self.token(|| Token::Sign(first));
        self.mode = Mode::Code;
        0
    }

    pub(super) fn block(
        &mut self,
        rest: &[u8],
        mut depth: u32,
        mut last: u8,
        out: &mut Out<'_>,
    ) -> usize {
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

    pub(super) fn word(&mut self, rest: &[u8]) -> usize {
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
        if begin && self.head.creates_routine() {
            self.psql_atomic += 1;
        } else if self.psql_atomic > 0 && self.parens == 0 {
            if self.text.eq_ignore_ascii_case(b"case") {
                self.psql_atomic += 1;
            } else if self.text.eq_ignore_ascii_case(b"end") {
                self.psql_atomic -= 1;
            }
        }
        let text = std::mem::take(&mut self.text);
        self.token(|| Token::Word(text));
        self.after_begin = begin && self.head.creates_routine();
        end
    }

    pub(super) fn number(&mut self, rest: &[u8]) -> usize {
        // Unlike in a name, a dollar sign ends it.
        let end = rest.iter().position(|b| !is_name_byte(*b) || *b == b'$');
        if end.is_some() {
            self.token(|| Token::Word(Vec::new()));
            self.mode = Mode::Code;
        }
        end.unwrap_or(rest.len())
    }

    pub(super) fn literal(&mut self, rest: &[u8], escape: bool, at: InQuotes) -> usize {
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

    pub(super) fn name(&mut self, rest: &[u8], at: InQuotes) -> usize {
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

    pub(super) fn dollar_tag(&mut self, byte: u8, here: u64) -> Result<usize, ScanError> {
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

    pub(super) fn dollar(&mut self, rest: &[u8], mut matched: usize) -> usize {
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
    pub(super) fn token(&mut self, token: impl FnOnce() -> Token) {
        self.after_begin = false;
        if let Some(watch) = &mut self.watch {
            let token = token();
            watch.tokens.push(token.clone());
            if self.head.open() {
                self.head.push(token);
            }
        } else if self.head.open() {
            self.head.push(token());
        }
    }

    fn statement_end(&mut self, end: u64, out: &mut Out<'_>) -> Result<(), ScanError> {
        self.close(end, out);
        self.mode = Mode::Blank;
        self.mid_line = true;
        if self.psql_atomic > 0 {
            out.entries.psql_loses_track();
        }
        if let Some(watch) = &mut self.watch {
            watch.ended.push(Ended {
                end,
                tokens: std::mem::take(&mut watch.tokens),
                colons: std::mem::take(&mut watch.colons),
                psql_loses_track: self.psql_atomic > 0,
            });
        }
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
    pub(super) fn refuse_client_encoding(&self, encoding: &[u8]) -> Result<(), ScanError> {
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
}

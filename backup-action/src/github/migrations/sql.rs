//! Tokens of SQL that people wrote, with their lines: migrations. Not the lexer of `archive::lex`,
//! whose point is to refuse whatever pg_dumpall does not write; here nothing is refused, since what
//! is not understood is only not mentioned. Pure.

use crate::archive::token::Token;

/// How deep a DO block may stand in a DO block.
const MAX_DEPTH: u32 = 4;

/// A token and the line it begins on, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) line: u32,
}

/// The statements of a file, each with its tokens. The body of a DO block runs when the file does,
/// so its statements follow as well; other bodies, literals and comments hold none.
pub(super) fn statements(text: &[u8]) -> Vec<Vec<Placed>> {
    let mut out = Vec::new();
    read(text, 1, MAX_DEPTH, &mut out);
    out
}

fn read(text: &[u8], first_line: u32, depth: u32, out: &mut Vec<Vec<Placed>>) {
    let mut reader = Reader {
        text,
        at: 0,
        line: first_line,
        statement: Vec::new(),
        bodies: Vec::new(),
        parens: 0,
        atomic: 0,
    };
    while reader.at < text.len() {
        if reader.step() {
            reader.end(depth, out);
        }
    }
    reader.end(depth, out);
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
    statement: Vec<Placed>,
    /// Dollar-quoted bodies of the statement, with the line each begins on.
    bodies: Vec<(&'a [u8], u32)>,
    parens: u32,
    /// `BEGIN ATOMIC` and `CASE` that wait for their `END`.
    atomic: u32,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    /// Goes on by `bytes` and counts the lines in them.
    fn skip(&mut self, bytes: usize) -> &'a [u8] {
        let end = (self.at + bytes).min(self.text.len());
        let skipped = &self.text[self.at..end];
        let lines = memchr::memchr_iter(b'\n', skipped).count();
        self.line = self
            .line
            .saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.at = end;
        skipped
    }

    fn push(&mut self, token: Token, line: u32) {
        self.statement.push(Placed { token, line });
    }

    /// Reads one token or gap; says whether a statement ended.
    fn step(&mut self) -> bool {
        let rest = self.rest();
        let line = self.line;
        match (rest[0], rest.get(1)) {
            (byte, _) if byte.is_ascii_whitespace() || byte == b'\x0b' => {
                self.skip(1);
            }
            (b'-', Some(b'-')) => self.skip_line(),
            (b'/', Some(b'*')) => self.block_comment(),
            // A command of psql, to the end of its line.
            (b'\\', _) => self.skip_line(),
            (b'\'', _) => {
                let escapes = self.behind_prefix(b"e");
                let text = self.quoted(b'\'', escapes);
                self.push(Token::Text(text), line);
            }
            (b'"', _) => {
                let name = self.quoted(b'"', false);
                self.push(Token::Quoted(name), line);
            }
            (b'$', _) => self.dollar(line),
            (b';', _) => {
                self.skip(1);
                if self.parens == 0 && self.atomic == 0 {
                    return true;
                }
            }
            (byte, _) if byte == b'_' || byte.is_ascii_alphanumeric() || byte >= 0x80 => {
                self.word(line);
            }
            (byte, _) => {
                match byte {
                    b'(' => self.parens += 1,
                    b')' => self.parens = self.parens.saturating_sub(1),
                    _ => {}
                }
                self.skip(1);
                self.push(Token::Sign(byte), line);
            }
        }
        false
    }

    fn skip_line(&mut self) {
        let rest = self.rest();
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        self.skip(end);
    }

    fn block_comment(&mut self) {
        let rest = self.rest();
        let (mut at, mut depth) = (2, 1_u32);
        while at < rest.len() && depth > 0 {
            match &rest[at..] {
                [b'/', b'*', ..] => {
                    depth = depth.saturating_add(1);
                    at += 2;
                }
                [b'*', b'/', ..] => {
                    depth -= 1;
                    at += 2;
                }
                _ => at += 1,
            }
        }
        self.skip(at);
    }

    /// Whether the token just before, without a gap, is this prefix of a literal.
    fn behind_prefix(&self, prefix: &[u8]) -> bool {
        let Some(start) = self.at.checked_sub(prefix.len()) else {
            return false;
        };
        self.text[start..self.at].eq_ignore_ascii_case(prefix)
            && self.statement.last().is_some_and(
                |last| matches!(&last.token, Token::Word(word) if word.len() == prefix.len()),
            )
    }

    /// From a quote to the one that ends it; a doubled quote stands for itself.
    fn quoted(&mut self, quote: u8, escapes: bool) -> Vec<u8> {
        let rest = self.rest();
        let (mut at, mut out) = (1, Vec::new());
        while at < rest.len() {
            match rest[at] {
                b'\\' if escapes => at += 1,
                byte if byte == quote && rest.get(at + 1) == Some(&quote) => at += 1,
                byte if byte == quote => break,
                _ => {}
            }
            out.extend(rest.get(at));
            at += 1;
        }
        self.skip(at + 1);
        out
    }

    /// A dollar quote, or a parameter such as `$1`, or a sign.
    fn dollar(&mut self, line: u32) {
        let rest = self.rest();
        let is_tag = |byte: &u8| *byte == b'_' || byte.is_ascii_alphanumeric() || *byte >= 0x80;
        let tag = 1 + rest[1..].iter().take_while(|byte| is_tag(byte)).count();
        let opens = rest.get(tag) == Some(&b'$') && !rest.get(1).is_some_and(u8::is_ascii_digit);
        if !opens {
            self.skip(1);
            self.push(Token::Sign(b'$'), line);
            return;
        }
        let mark = &rest[..=tag];
        let body = &rest[mark.len()..];
        let end = memchr::memmem::find(body, mark).unwrap_or(body.len());
        self.skip(mark.len());
        let starts_on = self.line;
        self.skip(end);
        self.skip(mark.len());
        self.bodies.push((&body[..end], starts_on));
        self.push(Token::Text(Vec::new()), line);
    }

    fn word(&mut self, line: u32) {
        let rest = self.rest();
        let is_part = |byte: &u8| {
            matches!(*byte, b'_' | b'$') || byte.is_ascii_alphanumeric() || *byte >= 0x80
        };
        let end = rest.iter().take_while(|byte| is_part(byte)).count();
        let token = Token::Word(rest[..end].to_vec());
        self.skip(end);
        // The body of a function in SQL's own words: its semicolons end nothing.
        if self.atomic > 0 {
            if token.is("CASE") {
                self.atomic += 1;
            } else if token.is("END") {
                self.atomic -= 1;
            }
        } else if token.is("ATOMIC")
            && self.statement.last().is_some_and(|l| l.token.is("BEGIN"))
            && creates_routine(&self.statement)
        {
            self.atomic = 1;
        }
        self.push(token, line);
    }

    /// Ends the statement: its rows are skipped, the body of a DO block is read.
    fn end(&mut self, depth: u32, out: &mut Vec<Vec<Placed>>) {
        self.parens = 0;
        self.atomic = 0;
        let bodies = std::mem::take(&mut self.bodies);
        let statement = std::mem::take(&mut self.statement);
        let Some(first) = statement.first() else {
            return;
        };
        if first.token.is("COPY") && statement.iter().any(|t| t.token.is("STDIN")) {
            self.skip_rows();
        }
        let is_block = first.token.is("DO");
        out.push(statement);
        if is_block && depth > 0 {
            for (body, line) in bodies {
                read(body, line, depth - 1, out);
            }
        }
    }

    fn skip_rows(&mut self) {
        self.skip_line();
        while self.at < self.text.len() {
            let rest = self.rest();
            let is_end = rest.starts_with(b"\\.");
            self.skip_line();
            if is_end {
                return;
            }
        }
    }
}

/// Whether a statement makes a function or procedure, which does not run now.
pub(super) fn creates_routine(statement: &[Placed]) -> bool {
    statement.first().is_some_and(|f| f.token.is("CREATE"))
        && statement[1..]
            .iter()
            .take(3)
            .any(|t| t.token.is("FUNCTION") || t.token.is("PROCEDURE"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Vec<String> {
        statements(text.as_bytes())
            .iter()
            .map(|statement| {
                let words: Vec<String> = statement
                    .iter()
                    .map(|placed| match &placed.token {
                        Token::Word(w) => String::from_utf8_lossy(w).into_owned(),
                        Token::Quoted(w) => format!("\"{}\"", String::from_utf8_lossy(w)),
                        Token::Text(w) => format!("'{}'", String::from_utf8_lossy(w)),
                        Token::Sign(s) => char::from(*s).to_string(),
                    })
                    .collect();
                format!("{}: {}", statement[0].line, words.join(" "))
            })
            .collect()
    }

    #[test]
    fn literals_comments_and_bodies_hide_what_is_in_them() {
        let text = "-- drop table a;\n/* drop /* table */ b; */ select 'it''s; ' , E'a\\';b', \"q\"\"x;\" ;\n\
                    create function f() returns int as $x$ drop table c; $y$ $x$ language sql;\n\
                    \\i drop table d;\nselect $1, a$b$c;";
        assert_eq!(
            shown(text),
            [
                "2: select 'it's; ' , E 'a';b' , \"q\"x;\"",
                "3: create function f ( ) returns int as '' language sql",
                "5: select $ 1 , a$b$c",
            ]
        );
    }

    #[test]
    fn a_do_block_runs_and_rows_do_not() {
        let text = "do $$\nbegin\n  update a set b = 1;\nend $$;\ncopy c from stdin;\ndrop table x;\n\\.\nvacuum;\n\
                    create function g() returns int begin atomic delete from d; select case when true then 1 end; end;\nselect 2";
        assert_eq!(
            shown(text),
            [
                "1: do ''",
                "2: begin update a set b = 1",
                "4: end",
                "5: copy c from stdin",
                "8: vacuum",
                "9: create function g ( ) returns int begin atomic delete from d select case when true then 1 end end",
                "10: select 2",
            ]
        );
    }

    proptest! {
        #[test]
        fn no_text_panics_or_loses_its_lines(text in "[a-z'\"$();:/*\\\\\n -]{0,80}") {
            let last = text.lines().count().max(1) as u32 + 1;
            for statement in statements(text.as_bytes()) {
                prop_assert!(!statement.is_empty());
                for placed in statement {
                    prop_assert!((1..=last).contains(&placed.line));
                }
            }
        }
    }
}

//! One entry of an archive read again before it goes to a server: its bytes are lexed anew, must be
//! whole statements and no meta-command, of the kind and with the digest that the index says. What
//! comes out are the statements alone, never the text between them.
//!
//! Pure: fetching the bytes and sending the statements is done elsewhere.

use super::index::{Entry, Sha256Digest, kind};
use super::lex::Ended;
use super::scan::Scanner;
use super::scanned::{Part, Piece};
use super::token::Token;
use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

/// A statement of a dump, from its first byte to its semicolon.
#[derive(Clone, Debug)]
pub struct Statement {
    /// As it stands in the dump.
    pub bytes: Vec<u8>,
    /// psql does not see its end (see [`super::scanned::Scan::unreadable_by_psql`]).
    pub psql_loses_track: bool,
    pub(crate) tokens: Vec<Token>,
    /// Positions of colons in code.
    colons: Vec<usize>,
}

impl Statement {
    /// The statement as psql has to read it: psql replaces `:name`, `:'name'`, `:"name"` and
    /// `:{?name}` by its own variables, as in `a[1:"ENCODING"]`. A blank behind the colon keeps it
    /// from that and means the same to the server.
    pub fn for_psql(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 8);
        let mut copied = 0;
        let mut colons = self.colons.iter().copied().peekable();
        while let Some(at) = colons.next() {
            // A cast, which psql takes as a whole.
            if colons.next_if_eq(&(at + 1)).is_some() {
                continue;
            }
            let next = self.bytes.get(at + 1).copied().unwrap_or(b' ');
            let begins_variable = |byte: u8| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'\'' | b'"' | b'{' | 0x80..)
            };
            if begins_variable(next) {
                out.extend_from_slice(&self.bytes[copied..=at]);
                out.push(b' ');
                copied = at + 1;
            }
        }
        out.extend_from_slice(&self.bytes[copied..]);
        out
    }
}

/// Reads the text of one entry as it comes and gives its statements.
#[derive(Debug)]
pub struct EntryReader<'a> {
    entry: &'a Entry,
    scanner: Scanner,
    /// Bytes of our own before the entry's.
    preamble: u64,
    sha256: Sha256,
    /// The statement that is open, and where it begins for the scanner.
    open: Vec<u8>,
    open_start: u64,
    /// Bytes of the last block that may turn out to begin a statement.
    tail: Vec<u8>,
    tail_start: u64,
}

impl<'a> EntryReader<'a> {
    /// `backslashes`: whether `standard_conforming_strings` is off where the entry stands.
    ///
    /// # Errors
    /// None in practice: our own preamble is a dump.
    pub fn new(entry: &'a Entry, backslashes: bool) -> anyhow::Result<EntryReader<'a>> {
        let mut scanner = Scanner::watched();
        let mut preamble = Vec::new();
        if entry.database.is_some() {
            preamble.extend_from_slice(b"\\connect x\n");
        }
        if backslashes {
            preamble.extend_from_slice(b"SET standard_conforming_strings = off;\n");
        }
        scanner.feed(&preamble, &mut Vec::new())?;
        drop(scanner.take_ended());
        let preamble = preamble.len() as u64;
        Ok(EntryReader {
            entry,
            scanner,
            preamble,
            sha256: Sha256::new(),
            open: Vec::new(),
            open_start: 0,
            tail: Vec::new(),
            tail_start: preamble,
        })
    }

    /// Takes more of the entry's text; appends the statements that ended in it.
    ///
    /// # Errors
    /// Text that is not of a dump, a meta-command first of all.
    pub fn feed(&mut self, text: &[u8], out: &mut Vec<Statement>) -> anyhow::Result<()> {
        let mut pieces = Vec::new();
        self.scanner.feed(text, &mut pieces)?;
        self.tail.extend_from_slice(text);
        let mut ended = self.scanner.take_ended().into_iter().peekable();
        for piece in &pieces {
            let bytes = self.bytes(piece)?;
            self.sha256.update(&bytes);
            if self.open.is_empty() {
                self.open_start = piece.range.start;
            }
            self.open.extend_from_slice(&bytes);
            if let Some(end) = ended.next_if(|ended| ended.end == piece.range.end) {
                out.push(self.statement(end)?);
            }
        }
        ensure!(ended.peek().is_none(), "statement ended outside of a piece");
        let keep = self.tail.len().min(super::scanned::LOOK_BACK);
        let gone = self.tail.len() - keep;
        self.tail.drain(..gone);
        self.tail_start += gone as u64;
        Ok(())
    }

    fn bytes(&self, piece: &Piece) -> anyhow::Result<Vec<u8>> {
        ensure!(
            piece.part == Part::Statement,
            "rows stand where a statement should"
        );
        let at = |offset: u64| {
            let from = offset.checked_sub(self.tail_start);
            from.and_then(|from| usize::try_from(from).ok())
        };
        let range = at(piece.range.start).zip(at(piece.range.end));
        range
            .and_then(|(from, to)| self.tail.get(from..to))
            .map(<[u8]>::to_vec)
            .context("statement begins before its entry")
    }

    fn statement(&mut self, ended: Ended) -> anyhow::Result<Statement> {
        let colons = ended.colons.iter().map(|at| {
            let at = at.checked_sub(self.open_start);
            at.and_then(|at| usize::try_from(at).ok())
                .context("colon before its statement")
        });
        Ok(Statement {
            colons: colons.collect::<anyhow::Result<_>>()?,
            bytes: std::mem::take(&mut self.open),
            psql_loses_track: ended.psql_loses_track,
            tokens: ended.tokens,
        })
    }

    /// The end of the text: it must have been this entry and nothing else.
    ///
    /// # Errors
    /// A statement that does not end, another kind of object, or other statements than the index
    /// has.
    pub fn finish(self) -> anyhow::Result<()> {
        ensure!(self.open.is_empty(), "statement does not end in its entry");
        let preamble = self.preamble;
        let scan = self.scanner.finish();
        let own = scan
            .entries
            .iter()
            .filter(|entry| entry.range.end > preamble);
        let kinds: Vec<&str> = own.map(|entry| &*entry.kind).collect();
        ensure!(
            kinds == [&*self.entry.kind],
            "its text is {kinds:?}, not {}",
            self.entry.kind
        );
        let sha256 = Sha256Digest(self.sha256.finalize().into());
        ensure!(
            sha256 == self.entry.sha256,
            "its statements have another SHA-256 than the index says"
        );
        Ok(())
    }
}

/// The COPY statement of a TABLE DATA entry, out of `text`: what stands before its rows.
///
/// # Errors
/// Anything but one `COPY … FROM stdin;` with the columns and the digest of the index.
pub fn copy_statement(entry: &Entry, text: &[u8]) -> anyhow::Result<Statement> {
    let copy = entry.copy.as_ref().context("entry has no rows")?;
    ensure!(
        text.ends_with(b";\n"),
        "text stands between COPY and its rows"
    );
    let mut reader = EntryReader::new(entry, false)?;
    let mut statements = Vec::new();
    reader.feed(text, &mut statements)?;
    let preamble = reader.preamble;
    let scan = reader.scanner.finish();
    let mut own = scan
        .entries
        .into_iter()
        .filter(|entry| entry.range.end > preamble);
    let (Some(found), None) = (own.next(), own.next()) else {
        anyhow::bail!("its text is not one entry");
    };
    let found = found.copy.context("its text is no COPY")?;
    ensure!(
        &*entry.kind == kind::TABLE_DATA && found.columns == copy.columns && found.rows == 0,
        "its COPY has other columns than the index says"
    );
    let [statement] = <[Statement; 1]>::try_from(statements)
        .map_err(|found| anyhow::anyhow!("its text has {} statements", found.len()))?;
    ensure!(
        Sha256Digest(Sha256::digest(&statement.bytes).into()) == entry.sha256,
        "its COPY has another SHA-256 than the index says"
    );
    Ok(statement)
}

/// The rows of a table as they are sent: counted, digested, and searched for what psql would take
/// for their end.
#[derive(Debug, Default)]
pub struct RowReader {
    sha256: Sha256,
    rows: u64,
    /// The last bytes, at most two, that began a line.
    line: Vec<u8>,
    middle: bool,
}

impl RowReader {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// A line that begins with `\.`: no row does.
    pub fn feed(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        const FAULT: &str = "a line of its rows begins with \\.";
        self.sha256.update(bytes);
        self.rows += memchr::memchr_iter(b'\n', bytes).count() as u64;
        // The line that the last bytes cut.
        if !self.middle {
            let missing = 2 - self.line.len();
            self.line
                .extend_from_slice(&bytes[..bytes.len().min(missing)]);
            ensure!(self.line != b"\\.", FAULT);
        }
        ensure!(memchr::memmem::find(bytes, b"\n\\.").is_none(), FAULT);
        match memchr::memrchr(b'\n', bytes) {
            Some(at) => {
                let last = &bytes[at + 1..];
                self.middle = last.len() >= 2;
                self.line.clear();
                self.line.extend_from_slice(&last[..last.len().min(1)]);
                if self.middle {
                    self.line.clear();
                }
            }
            None if self.line.len() >= 2 => {
                self.middle = true;
                self.line.clear();
            }
            None => {}
        }
        Ok(())
    }

    /// The end of the rows.
    ///
    /// # Errors
    /// Rows that the index does not say.
    pub fn finish(self, entry: &Entry) -> anyhow::Result<()> {
        let copy = entry.copy.as_ref().context("entry has no rows")?;
        ensure!(
            self.rows == copy.rows
                && !self.middle
                && self.line.is_empty()
                && Sha256Digest(self.sha256.finalize().into()) == copy.data_sha256,
            "its rows differ from the index"
        );
        Ok(())
    }
}

//! What the scanner gives: pieces for the digester while the dump streams, entries and completeness
//! at its end. Types and their texts only; they are filled by `lex`, `entries` and `sections`.

use super::index::{ByteRange, Name, kind};
use std::fmt;
use std::sync::Arc;

/// How far the first piece of a block may reach back before that block: a few bytes stay undecided
/// until the bytes behind them are known.
pub const LOOK_BACK: usize = 32;

/// Bytes of the dump that belong into a digest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Piece {
    /// Position in [`Scan::entries`].
    pub entry: u32,
    /// Which digest.
    pub part: Part,
    /// Where, in the dump. Pieces are in order, do not overlap, end within the fed block, and start
    /// within it or at most [`LOOK_BACK`] bytes before.
    pub range: ByteRange,
}

/// Which digest of an entry a piece belongs to. What has no piece is in the dump's digest only:
/// comments between statements, blank space, `\.`, and meta-commands, some of which hold random keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// From the first byte of a statement to its semicolon, both included; a COPY line likewise.
    Statement,
    /// Rows with their newlines.
    CopyRows,
}

/// Where in the dump a scanner stands. `Display`: `byte 1234, rows of nostromo: public.t after 5 rows`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// Bytes read so far.
    pub offset: u64,
    /// The database, outside the globals.
    pub database: Option<Name>,
    /// Kind, schema and name of the entry that is being read.
    pub reading: Option<(Arc<str>, Option<Name>, Name)>,
    /// Rows of that entry so far.
    pub rows: u64,
}

impl Place {
    /// `nostromo: public.t` for a table or another object, control characters escaped.
    pub fn object(&self) -> String {
        let database = match &self.database {
            Some(name) => shown(name),
            None => "globals".to_owned(),
        };
        match &self.reading {
            Some((_, Some(schema), name)) => {
                format!("{database}: {}.{}", shown(schema), shown(name))
            }
            Some((_, None, name)) if !name.as_bytes().is_empty() => {
                format!("{database}: {}", shown(name))
            }
            Some(_) | None => database,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}", self.offset)?;
        match &self.reading {
            Some((what, _, _)) if &**what == kind::TABLE_DATA => {
                write!(f, ", rows of {} after {} rows", self.object(), self.rows)
            }
            Some((what, _, _)) => write!(f, ", {what} of {}", self.object()),
            None => Ok(()),
        }
    }
}

/// What a whole dump holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scan {
    /// Every byte of the dump belongs to exactly one; in the order of the dump.
    pub entries: Vec<ScannedEntry>,
    /// Whether anything is missing at the end.
    pub completeness: Completeness,
    /// Positions of entries that psql cannot restore: it takes an unquoted name `begin` in CREATE
    /// FUNCTION, outside of parentheses, for BEGIN ATOMIC, and swallows everything behind it (seen
    /// with psql 15.18). Empty but for such names.
    pub unreadable_by_psql: Vec<u32>,
    /// Size of the dump.
    pub dump_bytes: u64,
    /// The server's version as the first database section gives it: `15.20 (Debian 15.20-1)`.
    pub server_version: Option<String>,
    /// pg_dump's version likewise.
    pub client_version: Option<String>,
}

/// One entry of [`super::index::Entry`], without its digests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScannedEntry {
    /// See [`super::index::Entry::database`].
    pub database: Option<Name>,
    /// See [`super::index::Entry::kind`].
    pub kind: Arc<str>,
    /// See [`super::index::Entry::schema`].
    pub schema: Option<Name>,
    /// See [`super::index::Entry::name`].
    pub name: Name,
    /// See [`super::index::Entry::owner`].
    pub owner: Option<Name>,
    /// Where it is. One scanner sees one stream, so there is one range.
    pub range: ByteRange,
    /// For rows of a table only.
    pub copy: Option<Box<ScannedCopy>>,
}

/// [`super::index::CopyData`] without its digests.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScannedCopy {
    /// The column list, unquoted.
    pub columns: Vec<Name>,
    /// Rows between the COPY line and `\.`.
    pub rows: u64,
    /// Those rows.
    pub data: ByteRange,
}

/// Whether a dump reached its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Completeness {
    /// The dump starts with the cluster's header.
    pub cluster_header: bool,
    /// The dump ends with the cluster's trailer: its exact bytes, as a comment outside statements
    /// and rows, with every `\restrict` closed by its own key, and nothing but blank space behind;
    /// and there is no other cluster header or trailer: two dumps in one stream are not one.
    pub cluster_trailer: bool,
    /// The databases in order, each with whether its own trailer is the last thing in it.
    pub databases: Vec<(Name, bool)>,
    /// Where the dump ended: `at the end`, `inside the rows of nostromo: public.t after 5 rows`, …;
    /// behind a semicolon also what shows that more than one dump is there.
    pub ended_in: String,
    /// What is wrong with `\restrict` and `\unrestrict`, as a clause without their keys.
    pub restrict_fault: Option<String>,
}

impl Completeness {
    /// Whether the dump is whole: header, trailer, and the trailer of every database. Says nothing
    /// about there being any database.
    pub fn is_complete(&self) -> bool {
        self.cluster_header
            && self.cluster_trailer
            && self.restrict_fault.is_none()
            && self.databases.iter().all(|(_, complete)| *complete)
    }
}

/// Text that pg_dumpall does not write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScanError {
    /// Where it stands.
    pub offset: u64,
    /// What is wrong.
    pub message: String,
    /// The text, shortened, control characters escaped. Still hostile to Markdown and HTML.
    pub text: String,
}

impl ScanError {
    pub(crate) fn new(offset: u64, message: impl Into<String>, text: &[u8]) -> ScanError {
        const LONGEST: usize = 80;
        let cut = &text[..text.len().min(LONGEST)];
        let dots = if cut.len() < text.len() { "…" } else { "" };
        ScanError {
            offset,
            message: message.into(),
            text: format!("{}{dots}", escaped(cut)),
        }
    }
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot read dump at byte {}: {}: {}",
            self.offset, self.message, self.text
        )
    }
}

impl std::error::Error for ScanError {}

/// A name on one line.
pub(crate) fn shown(name: &Name) -> String {
    escaped(name.as_bytes())
}

fn escaped(text: &[u8]) -> String {
    let mut out = String::new();
    for c in String::from_utf8_lossy(text).chars() {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

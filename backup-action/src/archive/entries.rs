//! What the lexer's findings mean: which entry every byte belongs to, and what that entry is. Which
//! database it is in, and whether the dump is complete, is in `sections`. No lexing here: only comments and statements outside of rows and literals
//! arrive, so nothing that a row or a function body says can be taken for the dump's own words.

use super::index::{ByteRange, Name, kind};
use super::meta::Meta;
use super::scanned::{Place, Scan, ScannedCopy, ScannedEntry};
use super::sections::{Meaning, Sections};
use super::toc::TocComment;
use super::token::{CopyTarget, Head};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// How a statement starts, as far as that decides which entry it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lead {
    /// `SET …` or `SELECT pg_catalog.set_config(…`: printed before the comment of the object that
    /// needs it.
    Setting,
    /// `SET SESSION AUTHORIZATION …`: part of an ACL entry with several grantors.
    SessionAuthorization,
    /// `COPY …`.
    Copy,
    /// Anything else.
    Other,
}

impl Lead {
    /// `None` while more bytes are needed, at most [`super::scanned::LOOK_BACK`].
    pub(crate) fn of(start: &[u8]) -> Option<Lead> {
        const LEADS: [(&[u8], Lead); 4] = [
            (b"SELECT pg_catalog.set_config(", Lead::Setting),
            (b"SET SESSION AUTHORIZATION ", Lead::SessionAuthorization),
            (b"SET ", Lead::Setting),
            (b"COPY ", Lead::Copy),
        ];
        let undecided =
            |lead: &&(&[u8], Lead)| lead.0.len() > start.len() && lead.0.starts_with(start);
        if LEADS.iter().any(|lead| undecided(&lead)) {
            return None;
        }
        let found = LEADS.iter().find(|lead| start.starts_with(lead.0));
        Some(found.map_or(Lead::Other, |lead| lead.1))
    }
}

/// The entries so far; the last one is being read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entries {
    entries: Vec<ScannedEntry>,
    /// The TOC comment of the last entry, until its first statement decided the names.
    undecided: Option<TocComment>,
    /// Whether the last entry began with a TOC comment, so that statements join it.
    joinable: bool,
    rows_open: bool,
    block: CommentBlock,
    sections: Sections,
    versions: [Option<String>; 2],
    unreadable_by_psql: Vec<u32>,
    names: HashMap<Vec<u8>, Name>,
    kinds: HashSet<Arc<str>>,
    /// Owners whose names the comments cannot give, by what the comments give.
    broken_owners: HashMap<Vec<u8>, Name>,
}

/// Comment lines without anything between them.
#[derive(Clone, Debug, Default)]
struct CommentBlock {
    open: bool,
    end: u64,
    /// The start of the text; longer than any text that means something.
    text: Vec<u8>,
}

impl Entries {
    /// Position of the entry that is being read.
    pub(crate) fn current(&self) -> u32 {
        u32::try_from(self.entries.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// A `--` line between statements, from `start` to `end`, which is behind its newline.
    pub(crate) fn comment_line(&mut self, start: u64, end: u64, line: &[u8]) {
        self.comment_text(start, line);
        self.block.end = end;
        self.block.text.push(b'\n');
        if self.sections.database().is_some()
            && !self.joinable
            && let Some(toc) = TocComment::parse(line)
        {
            self.undecided = Some(toc);
            self.joinable = true;
            self.decide(&Head::default());
            self.sections.more();
        }
        if let Some(name) = strip(line, b"-- Database \"", b"\" dump") {
            self.enter_database(name);
        }
        for (version, prefix) in self.versions.iter_mut().zip([
            &b"-- Dumped from database version "[..],
            b"-- Dumped by pg_dump version ",
        ]) {
            if let Some(text) = line.strip_prefix(prefix) {
                version.get_or_insert_with(|| String::from_utf8_lossy(text).into_owned());
            }
        }
    }

    /// A `--` line that the end of the dump cut off.
    pub(crate) fn cut_comment(&mut self, start: u64, line: &[u8]) {
        self.comment_text(start, line);
    }

    fn comment_text(&mut self, start: u64, line: &[u8]) {
        const ENOUGH: usize = 256;
        if !self.block.open || start != self.block.end {
            self.close_block();
            self.begin(start, kind::COMMENT);
            self.block.open = true;
            self.block.text.clear();
        }
        let room = ENOUGH.saturating_sub(self.block.text.len());
        let text = &line[..line.len().min(room)];
        self.block.text.extend_from_slice(text);
        if let Some(entry) = self.entries.last_mut()
            && !self.joinable
            && entry.name.as_bytes().is_empty()
            && let Some(words) = text.strip_prefix(b"-- ")
        {
            entry.name = Name::from(words);
        }
    }

    /// A `/* */` comment between statements.
    pub(crate) fn block_comment(&mut self, start: u64) {
        self.close_block();
        self.begin(start, kind::COMMENT);
    }

    /// The first bytes of a statement.
    pub(crate) fn statement(&mut self, start: u64, lead: Lead) {
        self.close_block();
        self.sections.more();
        let has_rows = self.entries.last().is_some_and(|e| e.copy.is_some());
        let own = match (lead, self.sections.database()) {
            (Lead::Setting, _) => Some(kind::SETTING),
            (Lead::SessionAuthorization | Lead::Other, _) if self.joinable => None,
            (Lead::Copy, _) if self.joinable && !has_rows => None,
            (Lead::SessionAuthorization, _) => Some(kind::SETTING),
            (Lead::Copy, _) => Some(kind::TABLE_DATA),
            (Lead::Other, None) => Some(kind::GLOBAL),
            (Lead::Other, Some(_)) => Some(kind::STATEMENT),
        };
        if let Some(own) = own {
            self.begin(start, own);
        }
    }

    /// The statement ends here for the server, but not for psql.
    pub(crate) fn psql_loses_track(&mut self) {
        self.unreadable_by_psql.push(self.current());
    }

    /// The end of a statement other than COPY.
    pub(crate) fn statement_end(&mut self, head: &Head) {
        self.decide(head);
        let owner = head.owner().map(|owner| self.intern(owner));
        let Some(entry) = self.entries.last_mut() else {
            return;
        };
        if !self.joinable {
            entry.name = Name::from(head.subject());
        } else if let Some(owner) = owner
            && let Some(said) = entry.owner.replace(owner.clone())
            && said != owner
        {
            self.broken_owners.insert(said.as_bytes().to_vec(), owner);
        }
    }

    /// A COPY line.
    pub(crate) fn copy(&mut self, head: &Head, target: &CopyTarget<'_>) {
        self.decide(head);
        let schema = target.schema.map(|schema| self.intern(schema));
        let kind = self.intern_kind(kind::TABLE_DATA);
        if let Some(entry) = self.entries.last_mut() {
            if let Some(owner) = &entry.owner
                && let Some(exact) = self.broken_owners.get(owner.as_bytes())
            {
                entry.owner = Some(exact.clone());
            }
            entry.kind = kind;
            entry.schema = schema;
            entry.name = Name::from(target.table);
            entry.copy = Some(Box::new(ScannedCopy {
                columns: target
                    .columns
                    .iter()
                    .map(|name| Name::from(*name))
                    .collect(),
                rows: 0,
                data: ByteRange { start: 0, end: 0 },
            }));
        }
    }

    /// The first byte behind a COPY line.
    pub(crate) fn rows_begin(&mut self, start: u64) {
        self.rows_open = true;
        self.with_copy(|copy| copy.data = ByteRange { start, end: start });
    }

    /// More rows.
    pub(crate) fn rows(&mut self, rows: u64) {
        self.with_copy(|copy| copy.rows += rows);
    }

    /// The first byte of `\.`.
    pub(crate) fn rows_end(&mut self, end: u64) {
        self.rows_open = false;
        self.with_copy(|copy| copy.data.end = end);
    }

    fn with_copy(&mut self, change: impl FnOnce(&mut ScannedCopy)) {
        if let Some(copy) = self.entries.last_mut().and_then(|e| e.copy.as_deref_mut()) {
            change(copy);
        }
    }

    /// A meta-command.
    pub(crate) fn meta(&mut self, start: u64, command: &Meta) {
        self.close_block();
        self.begin(start, kind::META);
        match command {
            Meta::Connect(name) => {
                self.sections.connect();
                self.enter_database(name);
            }
            Meta::Encoding(_) => {}
            Meta::Restrict(key) => self.sections.restrict(key),
            Meta::Unrestrict(key) => self.sections.unrestrict(key),
        }
        if let Some(entry) = self.entries.last_mut() {
            entry.name = Name::from(command.word());
        }
    }

    /// Starts an entry where the last one ends. Blank bytes before the first one belong to it.
    fn begin(&mut self, start: u64, kind: &str) {
        let start = match self.entries.last_mut() {
            Some(last) => {
                last.range.end = start;
                start
            }
            None => 0,
        };
        self.undecided = None;
        self.joinable = false;
        self.sections.something_follows();
        let kind = self.intern_kind(kind);
        self.entries.push(ScannedEntry {
            database: self.sections.database().cloned(),
            kind,
            schema: None,
            name: Name::from(""),
            owner: None,
            range: ByteRange { start, end: start },
            copy: None,
        });
    }

    /// Fills the last entry from its TOC comment and what is known of its first statement.
    fn decide(&mut self, head: &Head) {
        let toc = self
            .undecided
            .as_ref()
            .and_then(|t| t.resolve(head.tokens()));
        let Some(toc) = toc else { return };
        if !head.tokens().is_empty() {
            self.undecided = None;
        }
        let kind = self.intern_kind(&toc.kind);
        let schema = toc.schema.map(|schema| self.intern(&schema));
        let owner = toc.owner.map(|owner| self.intern(&owner));
        if let Some(entry) = self.entries.last_mut() {
            entry.kind = kind;
            entry.schema = schema;
            entry.owner = owner;
            entry.name = Name::from(toc.name);
        }
    }

    /// Looks at the comment that just ended.
    fn close_block(&mut self) {
        if !std::mem::take(&mut self.block.open) {
            return;
        }
        let first = self.entries.len() == 1;
        let meaning = self
            .sections
            .comment(&self.block.text, self.block.end, first);
        if meaning == Meaning::ClusterTrailer
            && let Some(entry) = self.entries.last_mut()
        {
            entry.database = None;
        }
    }

    /// The last entry and what follows belong to `name`, whose trailer is still to come.
    fn enter_database(&mut self, name: &[u8]) {
        let name = self.intern(name);
        if let Some(entry) = self.entries.last_mut() {
            entry.database = Some(name.clone());
        }
        self.sections.enter(name);
    }

    fn intern(&mut self, name: &[u8]) -> Name {
        if let Some(known) = self.names.get(name) {
            return known.clone();
        }
        let new = Name::from(name);
        self.names.insert(name.to_vec(), new.clone());
        new
    }

    fn intern_kind(&mut self, kind: &str) -> Arc<str> {
        if let Some(known) = self.kinds.get(kind) {
            return known.clone();
        }
        let new: Arc<str> = kind.into();
        self.kinds.insert(new.clone());
        new
    }

    /// Where a scanner at `offset` stands.
    pub(crate) fn place(&self, offset: u64) -> Place {
        let last = self.entries.last();
        Place {
            offset,
            database: last.and_then(|e| e.database.clone()),
            reading: last.map(|e| (e.kind.clone(), e.schema.clone(), e.name.clone())),
            rows: last
                .and_then(|e| e.copy.as_ref())
                .map_or(0, |copy| copy.rows),
        }
    }

    /// The scan of a dump of `end` bytes, at whose end the lexer stood at `ended_in`, or between
    /// statements.
    pub(crate) fn finish(mut self, end: u64, ended_in: Option<&str>) -> Scan {
        self.close_block();
        if self.entries.is_empty() && end > 0 {
            self.begin(0, kind::COMMENT);
        }
        if let Some(last) = self.entries.last_mut() {
            last.range.end = end;
        }
        if self.rows_open {
            self.with_copy(|copy| copy.data.end = end);
        }
        let complete = ended_in.is_none() && self.sections.cluster_is_complete(end);
        let ended_in = match ended_in {
            _ if complete => "at the end".to_owned(),
            _ if self.rows_open => self.in_rows(end),
            Some(text) => format!("{text}, in {}", self.place(end).object()),
            None if self.entries.is_empty() => "before the first byte".to_owned(),
            None => match self.place(end).reading {
                Some((kind, _, _)) => format!("after {kind} of {}", self.place(end).object()),
                None => "before the first byte".to_owned(),
            },
        };
        let [server_version, client_version] = self.versions;
        Scan {
            entries: self.entries,
            completeness: self.sections.finish(complete, ended_in),
            unreadable_by_psql: self.unreadable_by_psql,
            dump_bytes: end,
            server_version,
            client_version,
        }
    }

    fn in_rows(&self, end: u64) -> String {
        let place = self.place(end);
        format!(
            "inside the rows of {} after {} rows",
            place.object(),
            place.rows
        )
    }
}

fn strip<'a>(text: &'a [u8], prefix: &[u8], suffix: &[u8]) -> Option<&'a [u8]> {
    text.strip_prefix(prefix)?.strip_suffix(suffix)
}

//! Entries replayed in order through one psql after another: one session while all goes well, a new
//! one behind a failure, and around a statement whose end psql does not see.

use super::session::{Action, Ended, Output, Session, restrict_key};
use super::settings::{Cursor, InForce, Settings};
use super::work::{Work, object};
use crate::archive::index::{ByteRange, Name};
use crate::archive::statements::{EntryReader, Statement};
use anyhow::Context;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

/// An entry up to this size is compared with the index before any of it is sent; a larger one, such
/// as large objects, statement by statement, and its digest at the end.
const HELD_BYTES: u64 = 8 * 1024 * 1024;

/// Statements are handed to psql in pieces of about this size.
const CHUNK_BYTES: usize = 64 * 1024;

/// Where a script runs and what its entries need.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) work: Arc<Work>,
    /// The database on the server.
    pub(super) database: Name,
    pub(super) settings: Arc<Settings>,
    /// Tables that hold nothing yet and that nobody else knows.
    pub(super) fresh: Arc<BTreeSet<usize>>,
}

/// Replays `entries`, which are in the order of the dump, and shows every statement to `look`.
///
/// # Errors
/// The first failure when failures stop the restore; an archive that differs from its index; no
/// connection.
pub(super) async fn run(
    place: &Place,
    entries: &[usize],
    mut look: impl FnMut(usize, &Statement),
) -> anyhow::Result<()> {
    let entries: Vec<usize> = entries
        .iter()
        .copied()
        .filter(|number| !place.work.skips(*number))
        .collect();
    let mut at = 0;
    while at < entries.len() {
        at += Script::new(place).replay(&entries[at..], &mut look).await?;
    }
    Ok(())
}

/// The next entry of a list that is worth trying.
struct Refused {
    entry: usize,
    message: String,
    /// How many entries of the list are done with, this one included.
    done: usize,
}

/// One go at a list of entries.
struct Script<'a> {
    place: &'a Place,
    cursor: Cursor,
    in_force: InForce,
    session: Option<Session>,
    lines: Lines,
    out: Vec<u8>,
    /// What failed before its session was closed.
    refused: Option<Refused>,
}

/// Which line of the session's script belongs to what.
#[derive(Default)]
pub(super) struct Lines {
    last: u64,
    /// Last line, entry, and entries done with if this fails.
    marks: Vec<(u64, usize, usize)>,
}

impl Lines {
    pub(super) fn mark(&mut self, text: &[u8], entry: usize, done: usize) {
        self.last += memchr::memchr_iter(b'\n', text).count() as u64;
        match self.marks.last_mut() {
            Some(mark) if mark.1 == entry && mark.2 == done => mark.0 = self.last,
            Some(_) | None => self.marks.push((self.last, entry, done)),
        }
    }

    pub(super) fn find(&self, line: u64) -> Option<(usize, usize)> {
        let at = self.marks.partition_point(|mark| mark.0 < line);
        self.marks.get(at).map(|mark| (mark.1, mark.2))
    }
}

impl<'a> Script<'a> {
    fn new(place: &'a Place) -> Script<'a> {
        Script {
            place,
            cursor: Cursor::default(),
            in_force: InForce::new(),
            session: None,
            lines: Lines::default(),
            out: Vec::new(),
            refused: None,
        }
    }

    /// Replays entries up to the end or to the first that fails; how many are done with.
    async fn replay(
        mut self,
        entries: &[usize],
        look: &mut impl FnMut(usize, &Statement),
    ) -> anyhow::Result<usize> {
        let work = Arc::clone(&self.place.work);
        let (ranges, owners) = ranges_of(&work, entries);
        let mut chunks = work.source.ranges(ranges);
        let mut next = chunks.next().await?;
        for (position, &number) in entries.iter().enumerate() {
            let entry = work.entry(number);
            let context = || format!("could not read {}", object(entry));
            self.place.settings.advance(&mut self.cursor, number);
            let backslashes = self.place.settings.backslashes(&self.cursor.in_force);
            let mut reader = EntryReader::new(entry, backslashes)?;
            let mut held = Vec::new();
            let mut alive = true;
            while let Some(chunk) = &next
                && owners[chunk.range] == number
            {
                reader.feed(&chunk.bytes, &mut held).with_context(context)?;
                if entry.bytes() > HELD_BYTES && !work.load.replace.contains_key(&number) {
                    let statements = std::mem::take(&mut held);
                    alive = alive && self.statements(number, position, statements, look).await?;
                }
                next = chunks.next().await.with_context(context)?;
            }
            reader.finish().with_context(context)?;
            alive = alive && self.statements(number, position, held, look).await?;
            if alive && let Some(sql) = work.load.replace.get(&number) {
                let text = [sql.as_slice(), b"\n;\n"].concat();
                alive = self.send(number, position, &text).await?;
            }
            work.progress.advance(entry.bytes());
            if !alive {
                break;
            }
        }
        match self.close().await? {
            None => Ok(entries.len()),
            Some(refused) => {
                work.fail(refused.entry, refused.message)?;
                Ok(refused.done)
            }
        }
    }

    /// Sends the statements of an entry; `false` when psql has gone or one failed.
    async fn statements(
        &mut self,
        number: usize,
        position: usize,
        statements: Vec<Statement>,
        look: &mut impl FnMut(usize, &Statement),
    ) -> anyhow::Result<bool> {
        for statement in statements {
            look(number, &statement);
            if self.place.work.load.replace.contains_key(&number) {
                continue;
            }
            let mut text = statement.for_psql();
            text.push(b'\n');
            if !self.send(number, position, &text).await? {
                return Ok(false);
            }
            // The end of its input is an end that psql sees.
            if statement.psql_loses_track {
                let ended = self.end_session().await?;
                if let Some(ended) = ended.filter(|ended| !ended.is_success()) {
                    self.refused = Some(self.refused(&ended)?);
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    async fn send(&mut self, number: usize, position: usize, text: &[u8]) -> anyhow::Result<bool> {
        self.settle(position).await?;
        self.lines.mark(text, number, position + 1);
        self.out.extend_from_slice(text);
        if self.out.len() < CHUNK_BYTES {
            return Ok(true);
        }
        self.flush().await
    }

    /// Puts the settings of this place in force.
    async fn settle(&mut self, position: usize) -> anyhow::Result<()> {
        if self.session.is_none() {
            self.session = Some(Session::start(
                &self.place.work,
                &self.place.database,
                vec![Action::Input],
                Output::Nothing,
            )?);
            self.in_force.clear();
            self.lines = Lines::default();
            let guard = format!("\\restrict {}\n", restrict_key()?);
            self.out = guard.into_bytes();
            self.lines.last = 1;
        }
        let wanted = &self.cursor.in_force;
        for setting in self.place.settings.missing(&self.in_force, wanted) {
            if self.place.work.skips(setting) {
                continue;
            }
            let mut text = self.place.settings.text(setting)?.to_vec();
            text.push(b'\n');
            self.lines.mark(&text, setting, position);
            self.out.extend_from_slice(&text);
        }
        self.in_force.clone_from(wanted);
        Ok(())
    }

    async fn flush(&mut self) -> anyhow::Result<bool> {
        let out = std::mem::take(&mut self.out);
        match &mut self.session {
            Some(session) if !out.is_empty() => session.send(Bytes::from(out)).await,
            Some(_) | None => Ok(true),
        }
    }

    async fn end_session(&mut self) -> anyhow::Result<Option<Ended>> {
        // What was sent in vain shows in how it ended.
        let _alive = self.flush().await?;
        match self.session.take() {
            Some(session) => session.end().await.map(Some),
            None => Ok(None),
        }
    }

    async fn close(&mut self) -> anyhow::Result<Option<Refused>> {
        match self.end_session().await? {
            Some(ended) if !ended.is_success() => self.refused(&ended).map(Some),
            Some(_) | None => Ok(self.refused.take()),
        }
    }

    fn refused(&self, ended: &Ended) -> anyhow::Result<Refused> {
        let refusal = ended.refusal()?;
        let place = refusal.place.and_then(|(_, line)| self.lines.find(line));
        // At the end of its input psql names no line that we know: it was the last statement.
        let last = self.lines.marks.last().map(|mark| (mark.1, mark.2));
        let (entry, done) = place
            .or(last)
            .context("psql failed before the first line")?;
        Ok(Refused {
            entry,
            message: refusal.message,
            done,
        })
    }
}

/// The ranges of entries in order, and whose each is.
pub(super) fn ranges_of(work: &Work, entries: &[usize]) -> (Vec<ByteRange>, Vec<usize>) {
    let each = |number: &usize| {
        let ranges = work.entry(*number).ranges.iter();
        ranges.map(|range| (*range, *number)).collect::<Vec<_>>()
    };
    entries.iter().flat_map(each).unzip()
}

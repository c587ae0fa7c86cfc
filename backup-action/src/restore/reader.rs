//! Entries read whole, one after another: for those that are small.

use super::script::{Place, ranges_of};
use super::settings::Cursor;
use super::source::{Chunk, Ranges};
use super::work::object;
use crate::archive::statements::{EntryReader, Statement};
use anyhow::Context;

/// Reads entries in the order that they were announced in.
pub(super) struct Reader<'a> {
    place: &'a Place,
    ranges: Ranges,
    owners: Vec<usize>,
    /// The first chunk of the next entry.
    held: Option<Chunk>,
    /// Where the last entry stands.
    pub(super) cursor: Cursor,
}

impl<'a> Reader<'a> {
    /// `entries` are in the order of the dump.
    pub(super) fn new(place: &'a Place, entries: &[usize]) -> Reader<'a> {
        let (ranges, owners) = ranges_of(&place.work, entries);
        Reader {
            place,
            ranges: place.work.source.ranges(ranges),
            owners,
            held: None,
            cursor: Cursor::default(),
        }
    }

    /// The statements of the next entry, compared with the index.
    pub(super) async fn read(&mut self, number: usize) -> anyhow::Result<Vec<Statement>> {
        let entry = self.place.work.entry(number);
        let context = || format!("could not read {}", object(entry));
        self.place.settings.advance(&mut self.cursor, number);
        let backslashes = self.place.settings.backslashes(&self.cursor.in_force);
        let mut reader = EntryReader::new(entry, backslashes)?;
        let mut statements = Vec::new();
        loop {
            let chunk = match self.held.take() {
                Some(held) => Some(held),
                None => self.ranges.next().await.with_context(context)?,
            };
            match chunk {
                Some(chunk) if self.owners[chunk.range] == number => {
                    let fed = reader.feed(&chunk.bytes, &mut statements);
                    fed.with_context(context)?;
                }
                other => {
                    self.held = other;
                    break;
                }
            }
        }
        reader.finish().with_context(context)?;
        Ok(statements)
    }
}

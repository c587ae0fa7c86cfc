//! Statements and rows of an archive that are looked at and not replayed.

use super::source::{Archive, Source};
use super::work::object;
use crate::archive::index::{Index, kind};
use crate::archive::statements::{EntryReader, Statement};
use anyhow::Context;
use std::collections::BTreeMap;

/// The statements of `entries`, none of which may be rows, each proved by its digest. Meant for
/// small entries: everything is held in memory.
///
/// # Errors
/// The store's, or an archive that differs from its index.
pub async fn statements(
    archive: &Archive,
    entries: &[usize],
) -> anyhow::Result<BTreeMap<usize, Vec<Statement>>> {
    let source = Source::new(archive.clone());
    let index = source.index().clone();
    let mut sorted: Vec<usize> = entries.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let (ranges, owners) = ranges(&index, &sorted);
    let mut chunks = source.ranges(ranges);
    let mut next = chunks.next().await?;
    let mut found = BTreeMap::new();
    for number in sorted {
        let entry = index
            .entries
            .get(number)
            .context("the index has no such entry")?;
        let mut reader = EntryReader::new(entry, false)?;
        let mut statements = Vec::new();
        while let Some(chunk) = &next
            && owners[chunk.range] == number
        {
            reader.feed(&chunk.bytes, &mut statements)?;
            next = chunks.next().await?;
        }
        reader
            .finish()
            .with_context(|| format!("could not read {} {}", entry.kind, entry.name))?;
        found.insert(number, statements);
    }
    Ok(found)
}

/// Reads the rows of entry `number` as the archive has them.
///
/// # Errors
/// The store's; an entry without rows.
pub async fn rows(
    archive: &Archive,
    number: usize,
    mut each: impl FnMut(&[u8]),
) -> anyhow::Result<()> {
    let entry = &archive.index.entries[number];
    let copy = entry.copy.as_ref().context("entry has no rows")?;
    let mut ranges = Source::new(archive.clone()).ranges(copy.data.clone());
    while let Some(chunk) = ranges
        .next()
        .await
        .with_context(|| format!("could not read {}", object(entry)))?
    {
        each(&chunk.bytes);
    }
    Ok(())
}

/// The ranges of `entries` with the entry of each.
fn ranges(index: &Index, entries: &[usize]) -> (Vec<crate::archive::index::ByteRange>, Vec<usize>) {
    entries
        .iter()
        .filter(|number| &*index.entries[**number].kind != kind::TABLE_DATA)
        .flat_map(|number| {
            index.entries[*number]
                .ranges
                .iter()
                .map(|range| (*range, *number))
        })
        .unzip()
}

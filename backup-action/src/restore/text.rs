//! The statements of some entries, for whoever has to know more of them than the index says.

use super::source::{Archive, Source};
use super::work::object;
use crate::archive::statements::EntryReader;
use anyhow::Context;
use std::sync::Arc;

/// Reads the statements of `entries`, which are in the order of the dump and hold no rows: for each
/// entry its statements, from first byte to semicolon.
///
/// # Errors
/// The store's; an entry that is not what the index says, by name.
pub async fn statements(
    archive: &Archive,
    entries: &[usize],
) -> anyhow::Result<Vec<(usize, Vec<Vec<u8>>)>> {
    let source = Source::new(archive.clone());
    let index = Arc::clone(source.index());
    let (mut wanted, mut owners) = (Vec::new(), Vec::new());
    for number in entries {
        for range in &index.entries[*number].ranges {
            wanted.push(*range);
            owners.push(*number);
        }
    }
    let mut ranges = source.ranges(wanted);
    let mut read = Vec::new();
    let mut chunk = ranges.next().await?;
    for number in entries {
        let entry = &index.entries[*number];
        let context = || format!("could not read {}", object(entry));
        let mut reader = EntryReader::new(entry, false).with_context(context)?;
        let mut found = Vec::new();
        while let Some(part) = chunk.as_ref().filter(|part| owners[part.range] == *number) {
            reader.feed(&part.bytes, &mut found).with_context(context)?;
            chunk = ranges.next().await.with_context(context)?;
        }
        reader.finish().with_context(context)?;
        read.push((*number, found.into_iter().map(|s| s.bytes).collect()));
    }
    Ok(read)
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

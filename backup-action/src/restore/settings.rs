//! The session settings of a dump: which are in force where. pg_dump changes some between entries,
//! and whatever runs in a session of its own needs those of its place.

use super::source::Source;
use super::work::object;
use crate::archive::index::{Index, Name, Sha256Digest, kind};
use crate::archive::statements::EntryReader;
use anyhow::Context;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// The settings of one database of the archive, or of the globals.
#[derive(Debug)]
pub(super) struct Settings {
    /// Entries that set something, or connect anew, which forgets all of it; in order.
    changes: Vec<Change>,
    texts: HashMap<Sha256Digest, Arc<[u8]>>,
    index: Arc<Index>,
}

#[derive(Debug)]
enum Change {
    Set(usize),
    Connect(usize),
}

/// Setting → the entry that set it.
pub(super) type InForce = BTreeMap<Name, usize>;

impl Settings {
    /// Reads the settings that `entries`, in the order of the dump, need; each text once.
    pub(super) async fn read(
        source: &Source,
        database: Option<&Name>,
        entries: &[usize],
    ) -> anyhow::Result<Arc<Settings>> {
        let index = Arc::clone(source.index());
        let own = index
            .entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.database.as_ref() == database);
        let changes = own.filter_map(|(number, entry)| match &*entry.kind {
            kind::SETTING => Some(Change::Set(number)),
            kind::META if entry.name.as_bytes() == b"connect" => Some(Change::Connect(number)),
            _ => None,
        });
        let mut settings = Settings {
            changes: changes.collect(),
            texts: HashMap::new(),
            index: Arc::clone(&index),
        };
        let mut needed = BTreeSet::new();
        let mut cursor = Cursor::default();
        for entry in entries {
            if settings.advance(&mut cursor, *entry) {
                needed.extend(cursor.in_force.values().copied());
            }
        }
        let mut seen = HashSet::new();
        needed.retain(|number| seen.insert(index.entries[*number].sha256));
        settings.texts = read_texts(source, &needed).await?;
        Ok(Arc::new(settings))
    }

    /// Moves `cursor` to `entry`, which is not before where it stood. Whether anything changed.
    pub(super) fn advance(&self, cursor: &mut Cursor, entry: usize) -> bool {
        let mut changed = !std::mem::replace(&mut cursor.moved, true);
        while let Some(change) = self.changes.get(cursor.next) {
            match *change {
                Change::Set(number) if number < entry => {
                    let name = self.index.entries[number].name.clone();
                    cursor.in_force.insert(name, number);
                }
                Change::Connect(number) if number < entry => cursor.in_force.clear(),
                Change::Set(_) | Change::Connect(_) => break,
            }
            cursor.next += 1;
            changed = true;
        }
        changed
    }

    /// The settings that differ between a session where `now` is in force and one where `wanted`
    /// is, in the order of the dump.
    pub(super) fn missing(&self, now: &InForce, wanted: &InForce) -> Vec<usize> {
        let sha256 = |number: usize| self.index.entries[number].sha256;
        let mut missing: Vec<usize> = wanted
            .iter()
            .filter(|(name, number)| now.get(*name).map(|n| sha256(*n)) != Some(sha256(**number)))
            .map(|(_, number)| *number)
            .collect();
        missing.sort_unstable();
        missing
    }

    /// The statement of a setting.
    pub(super) fn text(&self, number: usize) -> anyhow::Result<Arc<[u8]>> {
        let text = self.texts.get(&self.index.entries[number].sha256);
        text.cloned()
            .with_context(|| format!("setting of entry {number} was not read"))
    }

    /// Whether a backslash in a plain literal takes the next byte.
    pub(super) fn backslashes(&self, in_force: &InForce) -> bool {
        let number = in_force.get(&Name::from("standard_conforming_strings"));
        number.is_some_and(|number| {
            let text = self.texts.get(&self.index.entries[*number].sha256);
            text.is_some_and(|text| text.trim_ascii_end().ends_with(b"off;"))
        })
    }
}

/// A place in the dump, with the settings in force there.
#[derive(Clone, Debug, Default)]
pub(super) struct Cursor {
    next: usize,
    moved: bool,
    pub(super) in_force: InForce,
}

/// Reads settings in one pass: they stand together, mostly in one member.
async fn read_texts(
    source: &Source,
    entries: &BTreeSet<usize>,
) -> anyhow::Result<HashMap<Sha256Digest, Arc<[u8]>>> {
    let index = source.index();
    let mut ranges = Vec::new();
    let mut owners = Vec::new();
    for number in entries {
        for range in &index.entries[*number].ranges {
            ranges.push(*range);
            owners.push(*number);
        }
    }
    let mut bytes: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    let mut chunks = source.ranges(ranges);
    while let Some(chunk) = chunks
        .next()
        .await
        .context("could not read the settings of the dump")?
    {
        let text = bytes.entry(owners[chunk.range]).or_default();
        text.extend_from_slice(&chunk.bytes);
    }
    let mut texts = HashMap::new();
    for (number, bytes) in bytes {
        let entry = &index.entries[number];
        let context = || format!("could not read {}", object(entry));
        let mut reader = EntryReader::new(entry, false)?;
        let mut statements = Vec::new();
        reader.feed(&bytes, &mut statements).with_context(context)?;
        reader.finish().with_context(context)?;
        let text: Vec<u8> = statements
            .into_iter()
            .flat_map(|statement| statement.for_psql())
            .collect();
        texts.insert(entry.sha256, text.into());
    }
    Ok(texts)
}

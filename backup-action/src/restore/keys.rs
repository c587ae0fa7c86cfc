//! Indexes and keys: which of them are independent, and which share a session. Families of tables
//! stay together and in order, so that no two sessions lock tables of one family.

use super::facts::{Facts, sizes};
use super::reader::Reader;
use super::script::Place;
use super::statement::Qualified;
use std::collections::BTreeMap;

/// Families with less data share a session, up to this much together.
const BATCH_BYTES: u64 = 16 * 1024 * 1024;

/// Entries of one session at most, when it serves several families.
const BATCH_ENTRIES: usize = 400;

/// What becomes of the keys of a database.
pub(super) struct Keys {
    /// Lists that may run side by side, the longest work first; each in the order of the dump.
    pub(super) batches: Vec<Vec<usize>>,
    /// What has to run with everything else.
    pub(super) rest: Vec<usize>,
}

/// Reads the keys and sorts them. `data`: the tables, for their sizes.
pub(super) async fn sort(
    place: &Place,
    facts: &Facts,
    keys: &[usize],
    data: &[usize],
) -> anyhow::Result<Keys> {
    let mut families: BTreeMap<Qualified, Vec<usize>> = BTreeMap::new();
    let mut rest = Vec::new();
    let mut reader = Reader::new(place, keys);
    for number in keys {
        let statements = reader.read(*number).await?;
        let replaced = place.work.load.replace.contains_key(number);
        match facts.family(&statements).filter(|_| !replaced) {
            Some(family) => families.entry(family).or_default().push(*number),
            None => rest.push(*number),
        }
    }
    let batches = pack(place, facts, families, data);
    Ok(Keys { batches, rest })
}

fn pack(
    place: &Place,
    facts: &Facts,
    families: BTreeMap<Qualified, Vec<usize>>,
    data: &[usize],
) -> Vec<Vec<usize>> {
    let mut weights: BTreeMap<Qualified, u64> = BTreeMap::new();
    for (table, bytes) in sizes(place.work.index(), data) {
        if let Some(family) = facts.family_of(&table) {
            *weights.entry(family).or_default() += bytes;
        }
    }
    let weighed = families.into_iter().map(|(family, keys)| {
        let rows = weights.get(&family).copied().unwrap_or_default();
        (rows.saturating_mul(keys.len() as u64), keys)
    });
    let mut weighed: Vec<(u64, Vec<usize>)> = weighed.collect();
    weighed.sort_by_key(|(weight, keys)| (std::cmp::Reverse(*weight), keys.first().copied()));
    let total: u64 = weighed.iter().map(|(weight, _)| weight).sum();
    let share = total / (4 * place.work.load.jobs.max(1) as u64);
    let limit = share.min(BATCH_BYTES);
    let mut batches: Vec<(u64, Vec<usize>)> = Vec::new();
    for (weight, keys) in weighed {
        match batches.last_mut() {
            Some((sum, batch))
                if *sum + weight <= limit && batch.len() + keys.len() <= BATCH_ENTRIES =>
            {
                *sum += weight;
                batch.extend(keys);
            }
            Some(_) | None => batches.push((weight, keys)),
        }
    }
    let in_order = |(_, mut batch): (u64, Vec<usize>)| {
        batch.sort_unstable();
        batch
    };
    batches.into_iter().map(in_order).collect()
}

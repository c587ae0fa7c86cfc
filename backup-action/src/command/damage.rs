//! What exactly is different in an archive that is not what its index says: it is read from the
//! first byte to the last, scanned anew, and compared object by object. For people who have to
//! decide what can still be trusted; it never makes a damaged archive good.

use super::Context;
use crate::archive::index::{ByteRange, Entry, Index, Name, Sha256Digest, kind};
use crate::archive::object::Objects;
use crate::archive::read::spans;
use crate::archive::rebuild::{self, Rebuilt};
use crate::error;
use crate::proof::{self, Proof};
use crate::report::words::Step;
use crate::store::{Key, Store};
use anyhow::Context as _;
use bytes::{Buf, Bytes};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read};
use std::sync::Arc;
use tokio::runtime::Handle;

/// How many bytes are asked for at a time.
const CHUNK: u64 = 4 * 1024 * 1024;

/// What was found.
pub(crate) struct Damage {
    /// In one clause.
    pub(crate) summary: String,
    /// Object by object, as far as the archive could be read.
    pub(crate) proof: Option<Proof>,
}

/// Compares what the store holds with `index`.
pub(crate) async fn examine(
    context: &Context,
    store: &Store,
    key: &Key,
    index: &Arc<Index>,
) -> Damage {
    match reread(context, store, key).await {
        Ok(rebuilt) => compare(index, &rebuilt),
        // What no program can read to its end is compared member by member.
        Err(error) => {
            let objects = damaged_objects(store, key, index).await;
            let said = match objects.as_slice() {
                [] => String::new(),
                [only] => format!("; {only} is damaged"),
                [first, .., last] => format!(
                    "; {} objects are damaged or gone, from {first} to {last}",
                    objects.len()
                ),
            };
            Damage {
                summary: format!(
                    "it cannot be read to its end: {}{said}",
                    error::one_line(&error)
                ),
                proof: None,
            }
        }
    }
}

/// The objects that lie in gzip members whose bytes are not those of the index.
async fn damaged_objects(store: &Store, key: &Key, index: &Index) -> Vec<String> {
    let mut bad: Vec<ByteRange> = Vec::new();
    for span in spans(index, CHUNK) {
        let stored = store.get_range(key, span.archive.clone()).await;
        let stored = stored.unwrap_or_default();
        let (mut at, mut dump) = (0, span.dump.start);
        for member in &index.members[span.members.clone()] {
            let end = at + member.archive_bytes as usize;
            let range = ByteRange {
                start: dump,
                end: dump + u64::from(member.dump_bytes),
            };
            let bytes = stored.get(at..end).unwrap_or_default();
            if Sha256Digest(Sha256::digest(bytes).into()) != member.sha256 {
                bad.push(range);
            }
            (at, dump) = (end, range.end);
        }
    }
    let objects = Objects::of(index);
    let is_bad = |entry: &Entry| {
        let overlaps = |a: &ByteRange, b: &ByteRange| a.start < b.end && b.start < a.end;
        entry
            .ranges
            .iter()
            .any(|range| bad.iter().any(|bad| overlaps(range, bad)))
    };
    let entries = index.entries.iter().enumerate();
    entries
        .filter(|(_, entry)| !matches!(&*entry.kind, kind::META | kind::COMMENT | kind::SETTING))
        .filter(|(_, entry)| is_bad(entry))
        .map(|(number, _)| objects.name(number))
        .collect()
}

async fn reread(context: &Context, store: &Store, key: &Key) -> anyhow::Result<Rebuilt> {
    let info = store.head(key).await?.context("it does not exist")?;
    context.progress.begin(Step::ReadBack, info.bytes);
    let progress = Arc::clone(&context.progress);
    let reader = Stored {
        store: store.clone(),
        key: key.clone(),
        runtime: Handle::current(),
        at: 0,
        end: info.bytes,
        bytes: Bytes::new(),
    };
    tokio::task::spawn_blocking(move || {
        rebuild::rebuild(BufReader::new(reader), |bytes| progress.advance(bytes))
    })
    .await
    .context("the decoding thread panicked")?
}

fn compare(index: &Index, rebuilt: &Rebuilt) -> Damage {
    let context = proof::Context {
        // No such role can be: a name has 63 bytes.
        drill_superuser: Name::from(vec![b' '; 64]),
        superusers: BTreeSet::new(),
        replaced: BTreeMap::new(),
        scope: proof::Scope::Cluster,
        rows: true,
        renamed: None,
    };
    let proof = proof::compare(index, &rebuilt.index, &context);
    let mut said = Vec::new();
    if !rebuilt.completeness.is_complete() {
        said.push(format!("the dump ends {}", rebuilt.completeness.ended_in));
    }
    match proof.differences.len() {
        0 => said.push("no object differs, only the way it is compressed".to_owned()),
        1 => said.push("one object differs".to_owned()),
        n => said.push(format!("{n} objects differ")),
    }
    Damage {
        summary: said.join("; "),
        proof: Some(proof),
    }
}

/// The bytes of an object, one after the other, for a thread that may wait.
struct Stored {
    store: Store,
    key: Key,
    runtime: Handle,
    at: u64,
    end: u64,
    bytes: Bytes,
}

impl Read for Stored {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.bytes.is_empty() && self.at < self.end {
            let range = self.at..(self.at + CHUNK).min(self.end);
            self.at = range.end;
            self.bytes = self
                .runtime
                .block_on(self.store.get_range(&self.key, range))
                .map_err(std::io::Error::other)?;
        }
        let count = out.len().min(self.bytes.len());
        out[..count].copy_from_slice(&self.bytes[..count]);
        self.bytes.advance(count);
        Ok(count)
    }
}

//! Whether an index that was read holds together, before anything is computed from it.

use super::index::{ByteRange, FORMAT, Index, Member};
use std::fmt;

/// What was read is not what was written: the copy is damaged, and reading it again will not help.
/// See [`Damaged::is_cause_of`]. The text is a clause in lower
/// case that names the field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damaged(pub String);

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Damaged {}

impl Damaged {
    /// Whether damage is what an error, or one of its causes, says.
    pub fn is_cause_of(error: &anyhow::Error) -> bool {
        error.chain().any(|cause| cause.is::<Damaged>())
    }
}

impl Index {
    /// Whether the index holds together, so that offsets may be computed from it without overflow:
    /// for one that was read, before anything else is asked of it.
    ///
    /// # Errors
    /// An unknown format; entries or rows that are out of order, overlap or lie outside of the dump
    /// or of their entry; more rows than bytes; members that do not add up to dump and archive.
    pub fn validate(&self) -> Result<(), Damaged> {
        if self.format != FORMAT {
            return Err(Damaged(format!("index format {} is unknown", self.format)));
        }
        let mut end = 0;
        for (number, entry) in self.entries.iter().enumerate() {
            let wrong = |what: &str, range: &ByteRange| {
                let ByteRange { start, end } = range;
                Damaged(format!(
                    "{what} of entry {number} of the index: [{start}, {end}] is out of order or out of bounds"
                ))
            };
            for range in &entry.ranges {
                end = follows(end, range, self.dump_bytes).ok_or_else(|| wrong("ranges", range))?;
            }
            let Some(copy) = &entry.copy else { continue };
            let mut data_end = 0;
            let mut bytes = 0;
            for data in &copy.data {
                data_end = follows(data_end, data, self.dump_bytes)
                    .filter(|_| {
                        let mut around = entry.ranges.iter();
                        around.any(|r| r.start <= data.start && data.end <= r.end)
                    })
                    .ok_or_else(|| wrong("copy.data", data))?;
                bytes += data.bytes();
            }
            // Every row ends in a newline.
            if copy.rows > bytes {
                return Err(Damaged(format!(
                    "copy.rows of entry {number} of the index: {} rows in {bytes} bytes",
                    copy.rows
                )));
            }
        }
        if self.members.is_empty() {
            return Ok(());
        }
        let sum =
            |bytes: fn(&Member) -> u32| self.members.iter().map(|m| u64::from(bytes(m))).sum();
        adds_up("dump_bytes", self.dump_bytes, sum(|m| m.dump_bytes))?;
        adds_up(
            "archive_bytes",
            self.archive_bytes,
            sum(|m| m.archive_bytes),
        )
    }
}

/// The end of `range` if it starts at or behind `before` and ends at or before `limit`.
fn follows(before: u64, range: &ByteRange, limit: u64) -> Option<u64> {
    let ordered = before <= range.start && range.start <= range.end && range.end <= limit;
    ordered.then_some(range.end)
}

fn adds_up(field: &str, said: u64, sum: u64) -> Result<(), Damaged> {
    if said == sum {
        return Ok(());
    }
    Err(Damaged(format!(
        "{field} of the index is {said}, its members add up to {sum}"
    )))
}

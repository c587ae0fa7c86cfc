//! The digester: takes the blocks of a dump with the scanner's pieces, on a thread of its own, and
//! gives the digest of the dump, of every entry's statements, and of every table's rows.
//!
//! No scanning here, and no buffering: a row that spans blocks is hashed as it comes.

use super::index::{ByteRange, CopyData, Entry, FORMAT, Index, Member, RowsDigest, Sha256Digest};
use super::scanned::{LOOK_BACK, Part, Piece, Scan};
use anyhow::{Context, ensure};
use memchr::memchr;
use sha2::{Digest, Sha256};
use std::fmt;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// The digests of one entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryDigest {
    /// SHA-256 of the entry's statements, each from its first byte to its semicolon, one behind the
    /// other with nothing between; of nothing for an entry without statements.
    pub sha256: Sha256Digest,
    /// SHA-256 of the rows, with their newlines.
    pub data_sha256: Sha256Digest,
    /// The rows whatever their order.
    pub rows_digest: RowsDigest,
}

/// The digests of a dump.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Digests {
    /// SHA-256 of every byte.
    pub dump_sha256: Sha256Digest,
    /// By position in [`Scan::entries`]; entries behind the last one with pieces are missing.
    pub entries: Vec<EntryDigest>,
}

/// Digests a dump as it streams.
pub struct Digester {
    dump: Sha256,
    /// Bytes of the dump so far, and the last few of them.
    offset: u64,
    tail: Vec<u8>,
    done: Vec<EntryDigest>,
    statements: Sha256,
    data: Sha256,
    rows: u128,
    /// The row that the last piece began, if it did not end it.
    row: Box<Xxh3>,
    in_row: bool,
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Digester")
            .field("offset", &self.offset)
            .field("entry", &self.done.len())
            .finish_non_exhaustive()
    }
}

impl Default for Digester {
    fn default() -> Self {
        Digester::new()
    }
}

impl Digester {
    /// A digester that stands before the first byte.
    pub fn new() -> Digester {
        Digester {
            dump: Sha256::new(),
            offset: 0,
            tail: Vec::new(),
            done: Vec::new(),
            statements: Sha256::new(),
            data: Sha256::new(),
            rows: 0,
            row: Box::new(Xxh3::new()),
            in_row: false,
        }
    }

    /// Takes the next block, which starts at `block_start`, with the pieces that the scanner gave
    /// for it.
    ///
    /// # Errors
    /// Blocks or pieces that are out of order: a mistake in the program, never in the dump.
    pub fn feed(&mut self, block: &[u8], block_start: u64, pieces: &[Piece]) -> anyhow::Result<()> {
        ensure!(
            block_start == self.offset,
            "cannot digest block at byte {block_start}: expected byte {}",
            self.offset
        );
        for piece in pieces {
            self.piece(block, piece)
                .with_context(|| format!("cannot digest piece {piece:?} of block {block_start}"))?;
        }
        self.dump.update(block);
        self.offset += block.len() as u64;
        self.keep_tail(block);
        Ok(())
    }

    fn piece(&mut self, block: &[u8], piece: &Piece) -> anyhow::Result<()> {
        self.reach(piece.entry)?;
        let ByteRange { start, end } = piece.range;
        let tail_start = self.offset - self.tail.len() as u64;
        ensure!(
            tail_start <= start && start <= end && end <= self.offset + block.len() as u64,
            "its bytes are out of reach"
        );
        // What the scanner could not decide at the end of the last block.
        if start < self.offset {
            let from = usize::try_from(start - tail_start)?;
            let to = usize::try_from(end.min(self.offset) - tail_start)?;
            let mut held = [0; LOOK_BACK];
            let held = &mut held[..to - from];
            held.copy_from_slice(&self.tail[from..to]);
            self.bytes(piece.part, held);
        }
        if end > self.offset {
            let from = usize::try_from(start.max(self.offset) - self.offset)?;
            let to = usize::try_from(end - self.offset)?;
            self.bytes(piece.part, &block[from..to]);
        }
        Ok(())
    }

    fn bytes(&mut self, part: Part, bytes: &[u8]) {
        match part {
            Part::Statement => self.statements.update(bytes),
            Part::CopyRows => {
                self.data.update(bytes);
                self.rows(bytes);
            }
        }
    }

    fn rows(&mut self, mut bytes: &[u8]) {
        if self.in_row {
            let Some(end) = memchr(b'\n', bytes) else {
                return self.row.update(bytes);
            };
            self.row.update(&bytes[..end]);
            self.rows = self.rows.wrapping_add(self.row.digest128());
            self.row.reset();
            self.in_row = false;
            bytes = &bytes[end + 1..];
        }
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            self.rows = self.rows.wrapping_add(xxh3_128(&bytes[start..end]));
            start = end + 1;
        }
        if start < bytes.len() {
            self.row.update(&bytes[start..]);
            self.in_row = true;
        }
    }

    /// Finishes every entry before `entry`.
    fn reach(&mut self, entry: u32) -> anyhow::Result<()> {
        let entry = usize::try_from(entry)?;
        ensure!(entry >= self.done.len(), "its entry is already finished");
        while self.done.len() < entry {
            self.finish_entry();
        }
        Ok(())
    }

    fn finish_entry(&mut self) {
        // A last row without newline: only in a dump that was cut.
        if std::mem::take(&mut self.in_row) {
            self.rows = self.rows.wrapping_add(self.row.digest128());
            self.row.reset();
        }
        self.done.push(EntryDigest {
            sha256: Sha256Digest(self.statements.finalize_reset().into()),
            data_sha256: Sha256Digest(self.data.finalize_reset().into()),
            rows_digest: RowsDigest(std::mem::take(&mut self.rows)),
        });
    }

    fn keep_tail(&mut self, block: &[u8]) {
        let last = &block[block.len().saturating_sub(LOOK_BACK)..];
        let spare = (self.tail.len() + last.len()).saturating_sub(LOOK_BACK);
        self.tail.drain(..spare.min(self.tail.len()));
        self.tail.extend_from_slice(last);
    }

    /// The digests of everything that was fed.
    pub fn finish(mut self) -> Digests {
        self.finish_entry();
        Digests {
            dump_sha256: Sha256Digest(self.dump.finalize().into()),
            entries: self.done,
        }
    }
}

/// Joins what the scanner, the digester and the compressor found.
///
/// # Errors
/// Parts of different dumps: sizes or counts that do not agree.
pub fn assemble(
    scan: Scan,
    digests: Digests,
    members: Vec<Member>,
    archive_sha256: Sha256Digest,
) -> anyhow::Result<Index> {
    let in_members: u64 = members.iter().map(|m| u64::from(m.dump_bytes)).sum();
    ensure!(
        in_members == scan.dump_bytes,
        "archive members hold {in_members} bytes of a dump of {} bytes",
        scan.dump_bytes
    );
    let archive_bytes = members.iter().map(|m| u64::from(m.archive_bytes)).sum();
    let index = assemble_without_members(scan, digests, archive_bytes, archive_sha256)?;
    Ok(Index { members, ..index })
}

/// The same for an archive of `archive_bytes` whose gzip members are not those of the format, so
/// that none are listed and no range can be read.
///
/// # Errors
/// Parts of different dumps: counts that do not agree.
pub fn assemble_without_members(
    scan: Scan,
    digests: Digests,
    archive_bytes: u64,
    archive_sha256: Sha256Digest,
) -> anyhow::Result<Index> {
    ensure!(
        digests.entries.len() <= scan.entries.len().max(1),
        "{} entries were digested, {} scanned",
        digests.entries.len(),
        scan.entries.len()
    );
    let nothing = Digester::new().finish().entries;
    let missing = nothing.iter().copied().cycle();
    let entries = scan
        .entries
        .into_iter()
        .zip(digests.entries.into_iter().chain(missing))
        .map(|(entry, digest)| Entry {
            database: entry.database,
            kind: entry.kind,
            schema: entry.schema,
            name: entry.name,
            owner: entry.owner,
            ranges: vec![entry.range],
            sha256: digest.sha256,
            copy: entry.copy.map(|copy| CopyData {
                columns: copy.columns,
                rows: copy.rows,
                data: vec![copy.data],
                data_sha256: digest.data_sha256,
                rows_digest: digest.rows_digest,
            }),
        })
        .collect();
    Ok(Index {
        format: FORMAT,
        dump_bytes: scan.dump_bytes,
        archive_bytes,
        dump_sha256: digests.dump_sha256,
        archive_sha256,
        entries,
        members: Vec::new(),
    })
}

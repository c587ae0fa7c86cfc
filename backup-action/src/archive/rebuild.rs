//! The index of an archive that has none: one pass over the gzip stream, whoever made it. `Read`
//! only.

use super::compress::BLOCK_BYTES;
use super::digest::{self, Digester};
use super::index::{Index, Member, Sha256Digest};
use super::scan::Scanner;
use super::scanned::Completeness;
use anyhow::{Context, bail, ensure};
use flate2::bufread::GzDecoder;
use sha2::{Digest, Sha256};
use std::io::{BufRead, Read};

/// What a pass over an archive found.
#[derive(Debug)]
pub struct Rebuilt {
    /// The index. Its members are only there when each fits the format (1 MiB of dump), as in
    /// archives of this program; else ranges cannot be read and the list is empty.
    pub index: Index,
    /// Whether the dump is whole.
    pub completeness: Completeness,
}

/// Decodes and scans all of `reader`; `seen` is told how many bytes of archive were read.
///
/// # Errors
/// Bytes that are no gzip, a cut or damaged stream, bytes behind the last member, or a dump with
/// a meta-command that pg_dumpall does not write.
pub fn rebuild(reader: impl BufRead, mut seen: impl FnMut(u64)) -> anyhow::Result<Rebuilt> {
    let mut source = Counted {
        inner: reader,
        whole: Sha256::new(),
        part: Sha256::new(),
        bytes: 0,
    };
    let (mut scanner, mut digester) = (Scanner::new(), Digester::new());
    let mut members = Some(Vec::new());
    let mut dump_bytes = 0_u64;
    let mut pieces = Vec::new();
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    let mut number = 0_u64;
    while !source
        .fill_buf()
        .context("could not read the archive")?
        .is_empty()
    {
        let begins_at = source.bytes;
        let place = move || format!("gzip member {number} at byte {begins_at} of the archive");
        source.part = Sha256::new();
        let mut crc = libdeflater::Crc::new();
        let mut inside = 0_u64;
        let mut decoder = GzDecoder::new(source);
        loop {
            block.clear();
            let read = decoder
                .by_ref()
                .take(BLOCK_BYTES as u64)
                .read_to_end(&mut block)
                .with_context(place)?;
            if read == 0 {
                break;
            }
            pieces.clear();
            scanner
                .feed(&block, &mut pieces)
                .map_err(anyhow::Error::new)?;
            digester.feed(&block, dump_bytes, &pieces)?;
            crc.update(&block);
            dump_bytes += read as u64;
            inside += read as u64;
        }
        source = decoder.into_inner();
        let compressed = source.bytes - begins_at;
        seen(compressed);
        members = members.and_then(|mut members: Vec<Member>| {
            members.push(Member {
                dump_bytes: u32::try_from(inside)
                    .ok()
                    .filter(|bytes| *bytes as usize <= BLOCK_BYTES)?,
                archive_bytes: u32::try_from(compressed).ok()?,
                crc32: crc.sum(),
                sha256: Sha256Digest(source.part.clone().finalize().into()),
            });
            Some(members)
        });
        number += 1;
        if inside == 0 && number > 1_000_000 {
            bail!("{}: too many empty members", place());
        }
    }
    ensure!(number > 0, "the file is empty");
    let scan = scanner.finish();
    let completeness = scan.completeness.clone();
    let sha256 = Sha256Digest(source.whole.finalize().into());
    let digests = digester.finish();
    let index = match members {
        Some(members) => digest::assemble(scan, digests, members, sha256)?,
        None => digest::assemble_without_members(scan, digests, source.bytes, sha256)?,
    };
    Ok(Rebuilt {
        index,
        completeness,
    })
}

/// Counts and digests what is consumed, and nothing that is only looked at.
struct Counted<R> {
    inner: R,
    whole: Sha256,
    part: Sha256,
    bytes: u64,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        // The buffer was filled before, so asking for it again reads nothing.
        if let Ok(buffer) = self.inner.fill_buf() {
            let used = &buffer[..count.min(buffer.len())];
            self.whole.update(used);
            self.part.update(used);
        }
        self.bytes += count as u64;
        self.inner.consume(count);
    }
}

//! Reading an archive: which members hold a range of the dump, and decoding a member with another
//! implementation (zlib-rs) than the one that compressed it (libdeflate). Bytes in, bytes out.

use super::compress::trailer;
use super::index::{ByteRange, Index, Member, Sha256Digest};
use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};
use std::io::Read;
use std::ops::Range;

/// Some consecutive members: one range request, decoded together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Indices into [`Index::members`].
    pub members: Range<usize>,
    /// Where they lie in the archive.
    pub archive: Range<u64>,
    /// The part of the dump that they hold.
    pub dump: Range<u64>,
}

/// All members in order, grouped so that no span has more than `max_bytes` of archive or four
/// times as much of dump (one member may be larger).
pub fn spans(index: &Index, max_bytes: u64) -> Vec<Span> {
    group(&index.members, max_bytes, |_, _| true)
}

/// The members that hold any byte of `ranges`, grouped into consecutive spans of at most
/// `max_bytes`. `ranges` need not be sorted.
pub fn spans_for(index: &Index, ranges: &[ByteRange], max_bytes: u64) -> Vec<Span> {
    let mut sorted: Vec<ByteRange> = ranges
        .iter()
        .copied()
        .filter(|range| range.bytes() > 0)
        .collect();
    sorted.sort();
    let mut next = 0;
    group(&index.members, max_bytes, |start, end| {
        while sorted.get(next).is_some_and(|range| range.end <= start) {
            next += 1;
        }
        // A later range may start earlier than `next` ends only if ranges overlap; entries do not.
        sorted.get(next).is_some_and(|range| range.start < end)
    })
}

fn group(
    members: &[Member],
    max_bytes: u64,
    mut wanted: impl FnMut(u64, u64) -> bool,
) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let (mut archive, mut dump) = (0_u64, 0_u64);
    for (number, member) in members.iter().enumerate() {
        let archive_end = archive.saturating_add(u64::from(member.archive_bytes));
        let dump_end = dump.saturating_add(u64::from(member.dump_bytes));
        if wanted(dump, dump_end) {
            let fits = |span: &&mut Span| {
                span.members.end == number
                    && archive_end - span.archive.start <= max_bytes
                    && dump_end - span.dump.start <= max_bytes.saturating_mul(4)
            };
            match spans.last_mut().filter(fits) {
                Some(span) => {
                    span.members.end = number + 1;
                    span.archive.end = archive_end;
                    span.dump.end = dump_end;
                }
                None => spans.push(Span {
                    members: number..number + 1,
                    archive: archive..archive_end,
                    dump: dump..dump_end,
                }),
            }
        }
        (archive, dump) = (archive_end, dump_end);
    }
    spans
}

/// Decodes the members of `span` out of `bytes`, each against its line in the index, and hands what
/// each holds to `each`, in order.
///
/// # Errors
/// The first difference, with the member's number and offset.
pub fn decode_span(
    index: &Index,
    span: &Span,
    bytes: &[u8],
    mut each: impl FnMut(&[u8]),
) -> anyhow::Result<()> {
    let mut block = Vec::new();
    let mut rest = bytes;
    let mut offset = span.archive.start;
    for number in span.members.clone() {
        let member = index
            .members
            .get(number)
            .with_context(|| format!("index has no member {number}"))?;
        let place = || format!("gzip member {number} at byte {offset} of the archive");
        let (bytes, after) = rest
            .split_at_checked(member.archive_bytes as usize)
            .with_context(|| format!("{}: cut short", place()))?;
        block.clear();
        decode_member(member, bytes, &mut block).with_context(place)?;
        each(&block);
        rest = after;
        offset += u64::from(member.archive_bytes);
    }
    ensure!(
        rest.is_empty(),
        "{} bytes more than the members of the span have",
        rest.len()
    );
    Ok(())
}

/// Decodes one member into the empty `block`.
///
/// # Errors
/// Bytes that differ from the index: SHA-256, length, CRC-32, or bytes behind the end.
pub fn decode_member(member: &Member, bytes: &[u8], block: &mut Vec<u8>) -> anyhow::Result<()> {
    ensure!(
        Sha256Digest(Sha256::digest(bytes).into()) == member.sha256,
        "stored bytes have another SHA-256 than was written"
    );
    let (crc32, length) = trailer(bytes)?;
    ensure!(
        crc32 == member.crc32 && length == member.dump_bytes,
        "gzip trailer differs from the index"
    );
    let mut decoder = flate2::bufread::GzDecoder::new(bytes);
    // One byte more than expected is enough to see a member that is too long.
    let limit = u64::from(member.dump_bytes) + 1;
    let read = decoder
        .by_ref()
        .take(limit)
        .read_to_end(block)
        .context("gzip stream does not decode")?;
    ensure!(
        read == member.dump_bytes as usize,
        "decodes to {read} bytes instead of {}",
        member.dump_bytes
    );
    ensure!(
        decoder.into_inner().is_empty(),
        "bytes follow the end of the gzip stream"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::compress::Encoder;
    use super::*;
    use crate::archive::index::FORMAT;

    fn archive(blocks: &[&[u8]]) -> (Index, Vec<u8>) {
        let mut encoder = Encoder::default();
        let (mut members, mut bytes) = (Vec::new(), Vec::new());
        for block in blocks {
            let encoded = encoder.encode(block, 6).unwrap();
            bytes.extend_from_slice(&encoded.bytes);
            members.push(encoded.member);
        }
        let dump: Vec<u8> = blocks.concat();
        let index = Index {
            format: FORMAT,
            dump_bytes: dump.len() as u64,
            archive_bytes: bytes.len() as u64,
            dump_sha256: Sha256Digest(Sha256::digest(&dump).into()),
            archive_sha256: Sha256Digest(Sha256::digest(&bytes).into()),
            entries: Vec::new(),
            members,
        };
        (index, bytes)
    }

    fn read(index: &Index, bytes: &[u8], spans: &[Span]) -> anyhow::Result<Vec<u8>> {
        let mut dump = Vec::new();
        for span in spans {
            let part = bytes
                .get(span.archive.start as usize..span.archive.end as usize)
                .context("archive is cut")?;
            decode_span(index, span, part, |block| dump.extend_from_slice(block))?;
        }
        Ok(dump)
    }

    #[test]
    fn spans_cover_the_archive_and_ranges_only_what_they_need() {
        let blocks: Vec<Vec<u8>> = (0..10).map(|n| vec![b'a' + n; 100]).collect();
        let blocks: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
        let (index, bytes) = archive(&blocks);
        for max in [1, 60, 1_000_000] {
            assert_eq!(
                read(&index, &bytes, &spans(&index, max)).unwrap(),
                blocks.concat()
            );
        }
        let wanted = [
            ByteRange {
                start: 750,
                end: 760,
            },
            ByteRange {
                start: 150,
                end: 301,
            },
            ByteRange { start: 5, end: 5 },
        ];
        let spans = spans_for(&index, &wanted, 1_000_000);
        let members: Vec<_> = spans.iter().map(|span| span.members.clone()).collect();
        assert_eq!(members, [1..4, 7..8]);
        assert_eq!(spans[0].dump, 100..400);
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_found() {
        let (index, bytes) = archive(&[b"one one one one", b"two two two", b""]);
        let all = spans(&index, 1_000_000);
        assert!(read(&index, &bytes, &all).is_ok());
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(read(&index, &changed, &all).is_err(), "byte {at}");
            assert!(read(&index, &bytes[..at], &all).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_member_that_does_not_match_its_trailer_line_is_refused_even_with_the_right_digest() {
        let (index, bytes) = archive(&[b"one one one one"]);
        let mut trailing = bytes.clone();
        trailing.push(0);
        let mut member = index.members[0].clone();
        member.sha256 = Sha256Digest(Sha256::digest(&trailing).into());
        assert!(decode_member(&member, &trailing, &mut Vec::new()).is_err());
        let mut member = index.members[0].clone();
        member.dump_bytes -= 1;
        assert!(decode_member(&member, &bytes, &mut Vec::new()).is_err());
        let mut member = index.members[0].clone();
        member.crc32 ^= 1;
        assert!(decode_member(&member, &bytes, &mut Vec::new()).is_err());
    }
}

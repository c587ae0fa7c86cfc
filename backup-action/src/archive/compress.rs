//! One block of the dump → one gzip member, decoded again and compared before it leaves. Pure
//! computation; the threads live in `pipeline`.
//!
//! A member is a complete gzip stream of at most [`BLOCK_BYTES`] of input, so that members can be
//! made and read in parallel and any range of the dump can be had by decoding a few of them.

use super::index::{Member, Sha256Digest};
use anyhow::{Context, ensure};
use bytes::Bytes;
use libdeflater::{CompressionLvl, Compressor, Decompressor};
use sha2::{Digest, Sha256};

/// The most input that one member holds.
pub const BLOCK_BYTES: usize = 1024 * 1024;

/// The lowest and highest level of libdeflate that is used.
pub const LEVELS: std::ops::RangeInclusive<u32> = 1..=12;

/// A finished member: its bytes and its line in the index.
#[derive(Debug)]
pub struct Encoded {
    /// The gzip stream.
    pub bytes: Bytes,
    /// Sizes and digests.
    pub member: Member,
    /// The level that made it.
    pub level: u32,
}

/// The working memory of one compressing thread.
pub struct Encoder {
    compressor: Option<(u32, Compressor)>,
    decompressor: Decompressor,
    /// Both are kept: they have the size of the largest block so far.
    compressed: Vec<u8>,
    decoded: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            compressor: None,
            decompressor: Decompressor::new(),
            compressed: Vec::new(),
            decoded: Vec::new(),
        }
    }
}

impl Encoder {
    /// Compresses `block` and proves that the result decodes to `block`.
    ///
    /// # Errors
    /// A block above [`BLOCK_BYTES`], a level outside [`LEVELS`], or a member that does not decode
    /// to what went in (a defect of the compressor or of the memory).
    pub fn encode(&mut self, block: &[u8], level: u32) -> anyhow::Result<Encoded> {
        ensure!(
            block.len() <= BLOCK_BYTES,
            "block of {} bytes is above the limit of {BLOCK_BYTES}",
            block.len()
        );
        let mut compressed = std::mem::take(&mut self.compressed);
        let compressor = self.compressor(level)?;
        let bound = compressor.gzip_compress_bound(block.len());
        if compressed.len() < bound {
            compressed.resize(bound, 0);
        }
        let length = compressor
            .gzip_compress(block, &mut compressed)
            .map_err(|error| {
                anyhow::anyhow!(
                    "could not compress a block of {} bytes: {error}",
                    block.len()
                )
            })?;
        // An exact copy: keeping the buffer of the bound's size would triple the memory of the
        // members in flight.
        let member = Bytes::copy_from_slice(&compressed[..length]);
        self.compressed = compressed;
        self.prove(block, &member)?;
        let crc32 = trailer(&member)?.0;
        let sha256 = Sha256Digest(Sha256::digest(&member).into());
        Ok(Encoded {
            member: Member {
                dump_bytes: u32::try_from(block.len()).context("block is too large")?,
                archive_bytes: u32::try_from(member.len()).context("member is too large")?,
                crc32,
                sha256,
            },
            bytes: member,
            level,
        })
    }

    fn compressor(&mut self, level: u32) -> anyhow::Result<&mut Compressor> {
        if self
            .compressor
            .as_ref()
            .is_none_or(|(made_for, _)| *made_for != level)
        {
            ensure!(
                LEVELS.contains(&level),
                "compression level {level} is outside 1 to 12"
            );
            let lvl = i32::try_from(level)
                .ok()
                .and_then(|level| CompressionLvl::new(level).ok());
            self.compressor = Some((
                level,
                Compressor::new(lvl.context("compression level is not supported")?),
            ));
        }
        match &mut self.compressor {
            Some((_, compressor)) => Ok(compressor),
            None => anyhow::bail!("compressor was not made"),
        }
    }

    /// Decodes `member` and compares it with `block`, byte by byte.
    fn prove(&mut self, block: &[u8], member: &[u8]) -> anyhow::Result<()> {
        self.decoded.resize(block.len(), 0);
        let length = self
            .decompressor
            .gzip_decompress(member, &mut self.decoded)
            .map_err(|error| anyhow::anyhow!("compressed block does not decode: {error}"))?;
        ensure!(
            length == block.len() && self.decoded == block,
            "compressed block decodes to other bytes than went in (defect of the compressor or of the memory)"
        );
        Ok(())
    }
}

/// CRC-32 and length modulo 2^32 from the last eight bytes of a gzip member.
pub(super) fn trailer(member: &[u8]) -> anyhow::Result<(u32, u32)> {
    let tail = member
        .last_chunk::<8>()
        .context("gzip member is shorter than its trailer")?;
    let [a, b, c, d, e, f, g, h] = *tail;
    Ok((
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_member_is_plain_gzip_of_the_block_at_every_level() {
        let block = b"tenant_empresa_1\t42\t2026-01-18\n".repeat(3000);
        let mut encoder = Encoder::default();
        for level in LEVELS {
            let encoded = encoder.encode(&block, level).unwrap();
            let mut decoded = Vec::new();
            flate2::read::GzDecoder::new(&encoded.bytes[..])
                .read_to_end(&mut decoded)
                .unwrap();
            assert!(decoded == block);
            assert_eq!(encoded.member.archive_bytes as usize, encoded.bytes.len());
            assert_eq!(encoded.level, level);
        }
        assert!(encoder.encode(&block, 0).is_err());
        assert!(encoder.encode(&block, 13).is_err());
        assert!(encoder.encode(&vec![0; BLOCK_BYTES + 1], 6).is_err());
    }

    #[test]
    fn a_compressor_that_returns_other_bytes_is_caught() {
        let mut encoder = Encoder::default();
        let block = b"the quick brown fox".repeat(100);
        let good = encoder.encode(&block, 6).unwrap();
        assert!(encoder.prove(&block, &good.bytes).is_ok());
        let other = encoder
            .encode(&b"the quick brown fax".repeat(100), 6)
            .unwrap();
        assert!(encoder.prove(&block, &other.bytes).is_err());
        assert!(
            encoder
                .prove(&block, &good.bytes[..good.bytes.len() - 1])
                .is_err()
        );
        let shorter = encoder.encode(&block[1..], 6).unwrap();
        assert!(encoder.prove(&block, &shorter.bytes).is_err());
    }
}

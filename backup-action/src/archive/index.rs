//! The index of an archive: entry → byte ranges of the dump → gzip members. Format 1.
//!
//! Only the types and pure questions about them; they are filled by `scan`, `digest` and `compress`.
//! Names and statements are bytes, not text: one cluster holds databases of several encodings.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// The version of the index format that this program writes.
pub const FORMAT: u32 = 1;

/// A name as the server sent it. JSON: a string when it is UTF-8, else `{"hex": "…"}`. Cheap to
/// clone: an index of 100,000 tables repeats its schemas and owners.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name for people: invalid UTF-8 is shown with replacement characters.
    pub fn to_lossy(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self(name.as_bytes().into())
    }
}

impl From<Vec<u8>> for Name {
    fn from(name: Vec<u8>) -> Self {
        Self(name.into())
    }
}

impl From<&[u8]> for Name {
    fn from(name: &[u8]) -> Self {
        Self(name.into())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_lossy())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_lossy())
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => HexName {
                hex: to_hex(&self.0),
            }
            .serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Text(String),
            Hex(HexName),
        }
        match Either::deserialize(deserializer)? {
            Either::Text(text) => Ok(Name::from(text.into_bytes())),
            Either::Hex(HexName { hex }) => from_hex(&hex)
                .map(Name::from)
                .ok_or_else(|| de::Error::custom(format!("invalid hexadecimal name \"{hex}\""))),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct HexName {
    hex: String,
}

/// A SHA-256 digest. JSON and `Display`: 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256Digest(pub [u8; 32]);

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Sha256Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        from_hex(&text)
            .and_then(|bytes| bytes.try_into().ok())
            .map(Sha256Digest)
            .ok_or_else(|| de::Error::custom(format!("invalid SHA-256 \"{text}\"")))
    }
}

/// An order-independent digest of the rows of a table: the sum modulo 2^128 of the XXH3-128 of
/// each row (without its newline). Equal for two tables that hold the same rows in any order.
/// It guards against mistakes, not against forgers. JSON: 32 hexadecimal digits, big-endian.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct RowsDigest(pub u128);

impl Serialize for RowsDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0))
    }
}

impl<'de> Deserialize<'de> for RowsDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16)
            .ok()
            .filter(|_| text.len() == 32)
            .map(RowsDigest)
            .ok_or_else(|| de::Error::custom(format!("invalid rows digest \"{text}\"")))
    }
}

/// Half-open byte range `[start, end)` of the uncompressed dump. JSON: `[start, end]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl ByteRange {
    /// How many bytes.
    pub fn bytes(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }
}

impl Serialize for ByteRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.start, self.end).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ByteRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (start, end) = <(u64, u64)>::deserialize(deserializer)?;
        if start > end {
            return Err(de::Error::custom(format!(
                "invalid byte range [{start}, {end}]"
            )));
        }
        Ok(Self { start, end })
    }
}

/// What a TABLE DATA entry holds.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CopyData {
    /// The column list of the COPY statement, unquoted; empty for a table without columns.
    pub columns: Vec<Name>,
    /// Rows between the COPY line and `\.`.
    pub rows: u64,
    /// Where those rows are: from the first byte after the COPY line to the first byte of `\.`.
    pub data: Vec<ByteRange>,
    /// SHA-256 of those bytes, in order.
    pub data_sha256: Sha256Digest,
    /// The same rows whatever their order.
    pub rows_digest: RowsDigest,
}

/// One object of the dump: a TOC comment with its statements, or one table's data.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The database of the `\connect` that the entry stands behind; none in the globals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<Name>,
    /// pg_dump's TOC type (`TABLE`, `TABLE DATA`, `INDEX`, `ACL`, …), or one of ours for what has
    /// no TOC comment: see [`kind`].
    pub kind: Arc<str>,
    /// The schema; none where pg_dump writes `-`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Name>,
    /// The name as the TOC comment gives it (for a function with its argument types, for a
    /// constraint `table constraint`), exact also where the comment had to drop newlines.
    pub name: Name,
    /// The owner; none where pg_dump writes `-`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Name>,
    /// Where the entry is in the dump, comment included. One range today; a table whose COPY is
    /// cut and continued has several.
    pub ranges: Vec<ByteRange>,
    /// SHA-256 of the entry's statements, one behind the other with nothing between: each from its
    /// first byte to its semicolon, comments inside it included. Of no bytes for comment text and
    /// meta-commands; for TABLE DATA of the COPY line. Equal wherever the same object is dumped.
    pub sha256: Sha256Digest,
    /// For TABLE DATA only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<CopyData>,
}

impl Entry {
    /// Size of the entry in the dump.
    pub fn bytes(&self) -> u64 {
        self.ranges.iter().map(ByteRange::bytes).sum()
    }
}

/// Kinds of entry that have no TOC comment in the dump.
pub mod kind {
    /// A statement of the globals: roles, memberships, tablespaces, per-database settings.
    pub const GLOBAL: &str = "GLOBAL";
    /// A session setting (`SET …;`, `SELECT pg_catalog.set_config(…);`) that the entries behind it need.
    pub const SETTING: &str = "SETTING";
    /// A statement of a database without a TOC comment. pg_dump writes none today.
    pub const STATEMENT: &str = "STATEMENT";
    /// A psql meta-command that pg_dumpall wrote: `\connect`, `\encoding`, `\restrict`, `\unrestrict`.
    pub const META: &str = "META";
    /// Comment text that belongs to no object: headers, version lines, the trailer.
    pub const COMMENT: &str = "COMMENT TEXT";
    /// pg_dump's type of a table's rows.
    pub const TABLE_DATA: &str = "TABLE DATA";
}

/// One gzip member of the archive. Members follow each other without gaps, in order, so offsets
/// are running sums.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    /// Bytes of the dump inside.
    pub dump_bytes: u32,
    /// Bytes of the archive, header and trailer included.
    pub archive_bytes: u32,
    /// CRC-32 of the dump bytes, as in the member's trailer.
    pub crc32: u32,
    /// SHA-256 of the compressed bytes, so that one range can be trusted on its own.
    pub sha256: Sha256Digest,
}

/// The whole index.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Index {
    /// [`FORMAT`].
    pub format: u32,
    /// Size of the dump.
    pub dump_bytes: u64,
    /// Size of the archive, before encryption.
    pub archive_bytes: u64,
    /// SHA-256 of the dump.
    pub dump_sha256: Sha256Digest,
    /// SHA-256 of the archive, before encryption.
    pub archive_sha256: Sha256Digest,
    /// Every byte of the dump belongs to exactly one entry; in the order of the dump.
    pub entries: Vec<Entry>,
    /// The members in order.
    pub members: Vec<Member>,
}

impl Index {
    /// The databases of the dump in order of first appearance.
    pub fn databases(&self) -> Vec<&Name> {
        let mut seen = BTreeSet::new();
        self.entries
            .iter()
            .filter_map(|e| e.database.as_ref())
            .filter(|name| seen.insert(*name))
            .collect()
    }

    /// Rows of all tables.
    pub fn rows(&self) -> u64 {
        self.entries
            .iter()
            .filter_map(|e| e.copy.as_ref())
            .map(|copy| copy.rows)
            .sum()
    }
}

/// Lower-case hexadecimal digits of `bytes`.
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| {
            [
                DIGITS[usize::from(b >> 4)] as char,
                DIGITS[usize::from(b & 15)] as char,
            ]
        })
        .collect()
}

/// The bytes of an even number of hexadecimal digits, or `None`.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks_exact(2)
        .map(|pair| {
            let high = (pair[0] as char).to_digit(16)?;
            let low = (pair[1] as char).to_digit(16)?;
            u8::try_from(high * 16 + low).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_any_encoding_round_trip_through_json() {
        for bytes in [
            &b"tenant_1"[..],
            b"",
            "caf\u{e9} \u{1f418}\n\"".as_bytes(),
            b"caf\xe9",
            b"\xff\x00",
        ] {
            let json = serde_json::to_string(&Name::from(bytes)).unwrap();
            assert_eq!(
                serde_json::from_str::<Name>(&json).unwrap().as_bytes(),
                bytes,
                "{json}"
            );
        }
        assert!(serde_json::from_str::<Name>(r#"{"hex":"0"}"#).is_err());
        assert!(serde_json::from_str::<Name>(r#"{"hex":"+1"}"#).is_err());
    }

    #[test]
    fn digests_round_trip_and_reject_other_lengths() {
        let digest = Sha256Digest([0xab; 32]);
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(json, format!("\"{}\"", "ab".repeat(32)));
        assert_eq!(serde_json::from_str::<Sha256Digest>(&json).unwrap(), digest);
        assert!(serde_json::from_str::<Sha256Digest>("\"abcd\"").is_err());
        let rows = RowsDigest(7);
        assert_eq!(
            serde_json::from_str::<RowsDigest>(&serde_json::to_string(&rows).unwrap()).unwrap(),
            rows
        );
        assert!(serde_json::from_str::<ByteRange>("[5,2]").is_err());
    }

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange { start, end }
    }

    fn entry(start: u64, end: u64) -> Entry {
        Entry {
            database: Some(Name::from("d")),
            kind: kind::TABLE_DATA.into(),
            schema: Some(Name::from("s")),
            name: Name::from("t"),
            owner: None,
            ranges: vec![range(start, end)],
            sha256: Sha256Digest([0; 32]),
            copy: Some(CopyData {
                columns: Vec::new(),
                rows: 2,
                data: vec![range(start + 2, end - 2)],
                data_sha256: Sha256Digest([0; 32]),
                rows_digest: RowsDigest(0),
            }),
        }
    }

    fn member(dump_bytes: u32, archive_bytes: u32) -> Member {
        Member {
            dump_bytes,
            archive_bytes,
            crc32: 0,
            sha256: Sha256Digest([0; 32]),
        }
    }

    fn sound() -> Index {
        Index {
            format: FORMAT,
            dump_bytes: 30,
            archive_bytes: 7,
            dump_sha256: Sha256Digest([0; 32]),
            archive_sha256: Sha256Digest([0; 32]),
            entries: vec![entry(0, 10), entry(10, 20), entry(20, 30)],
            members: vec![member(16, 4), member(14, 3)],
        }
    }

    #[test]
    fn an_index_that_does_not_hold_together_is_refused_by_field() {
        assert_eq!(sound().validate(), Ok(()));
        let mut bare = sound();
        bare.members.clear();
        assert_eq!(bare.validate(), Ok(()));

        fn copy(index: &mut Index) -> &mut CopyData {
            index.entries[1].copy.as_mut().unwrap()
        }
        type Spoil = fn(&mut Index);
        let spoils: [(&str, Spoil); 13] = [
            ("format 2", |i| i.format = 2),
            ("ranges of entry 1", |i| i.entries.swap(0, 1)),
            ("ranges of entry 1", |i| i.entries[1].ranges[0].start = 9),
            ("ranges of entry 2", |i| i.entries[2].ranges[0].end = 31),
            ("ranges of entry 0", |i| {
                i.entries[0].ranges = vec![range(5, 2)]
            }),
            ("ranges of entry 1", |i| {
                i.entries[1].ranges.push(range(10, 12))
            }),
            ("copy.data of entry 1", |i| copy(i).data[0].start = 9),
            ("copy.data of entry 1", |i| copy(i).data[0].end = 21),
            ("copy.data of entry 1", |i| copy(i).data.push(range(12, 13))),
            ("copy.rows of entry 1", |i| copy(i).rows = 7),
            ("copy.rows of entry 1", |i| copy(i).rows = u64::MAX),
            ("dump_bytes", |i| i.members[0].dump_bytes = 15),
            ("archive_bytes", |i| i.archive_bytes = 8),
        ];
        for (number, (field, spoil)) in spoils.into_iter().enumerate() {
            let mut index = sound();
            spoil(&mut index);
            let error = index.validate().unwrap_err().to_string();
            assert!(error.contains(field), "{number}: {error}");
        }
    }
}

//! Names of objects, relative to a store. No I/O; every name that leaves this file stays inside
//! its prefix on a disk as well as in a bucket.

use crate::archive::index::to_hex;
use crate::error::Explained;
use anyhow::Result;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};
use std::fmt;

/// The directory of receipts.
const RECEIPTS: &str = "receipts";

/// What a file is called while it is being written; never part of a key.
pub(crate) const PARTIAL: &str = ".partial";

/// A file name is at most 255 bytes, and the partial name must fit too.
const SEGMENT_MAX_BYTES: usize = 255 - PARTIAL.len();

/// S3 allows 1024 bytes; the store's own prefix needs some of them.
const KEY_MAX_BYTES: usize = 800;

/// An encoded name leaves room for a stem and an extension in its segment.
const ENCODED_MAX_BYTES: usize = 180;

/// The name of an object, relative to the store: segments joined by `/`, never empty, never `.` or
/// `..`, without control characters and backslashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// The three objects of one backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupKeys {
    /// `2026-01/backup_2026-01-18_02-00-01Z.sql.gz`
    pub archive: Key,
    /// `2026-01/backup_2026-01-18_02-00-01Z.index.json.gz`
    pub index: Key,
    /// `2026-01/backup_2026-01-18_02-00-01Z.manifest.json`: written last.
    pub manifest: Key,
}

const ARCHIVE: &str = ".sql.gz";
const INDEX: &str = ".index.json.gz";
const MANIFEST: &str = ".manifest.json";

/// In front of the keys of the archive tier.
const ARCHIVED: &str = "archive/";

/// The length of `2026-01-18_02-00-01Z`.
const TIME_BYTES: usize = 20;

impl BackupKeys {
    fn of_stem(stem: &str) -> Self {
        Self {
            archive: Key(format!("{stem}{ARCHIVE}")),
            index: Key(format!("{stem}{INDEX}")),
            manifest: Key(format!("{stem}{MANIFEST}")),
        }
    }

    /// The keys of the backup that `key` is a manifest of; none when it is not one of ours, which
    /// lie in a directory of their month, directly below the store's root or below `archive/`.
    pub fn of_manifest(key: &Key) -> Option<Self> {
        let stem = key.0.strip_suffix(MANIFEST)?;
        let (month, name) = stem
            .strip_prefix(ARCHIVED)
            .unwrap_or(stem)
            .rsplit_once('/')?;
        (is_month(month) && name.starts_with("backup_")).then(|| Self::of_stem(stem))
    }

    /// When the dump started, as the names say it; none when they do not. The manifest decides.
    pub fn started_at(&self) -> Option<Timestamp> {
        let time = self.manifest.split().1.strip_prefix("backup_")?;
        parse_time(time.get(..TIME_BYTES)?)
    }

    /// The keys of the backup that `key` is the archive or the index of, when it is named exactly
    /// as backups are: in the directory of its own month, with a whole time. What is taken for a
    /// leftover may be deleted, so nothing that somebody else could have named comes close.
    pub fn of_part(key: &Key) -> Option<Self> {
        let stem = [ARCHIVE, INDEX]
            .iter()
            .find_map(|suffix| key.0.strip_suffix(suffix))?;
        let (month, name) = stem
            .strip_prefix(ARCHIVED)
            .unwrap_or(stem)
            .rsplit_once('/')?;
        let rest = name.strip_prefix("backup_")?;
        let (time, rest) = rest.split_at_checked(TIME_BYTES)?;
        let is_ours = is_month(month)
            && time.starts_with(month)
            && parse_time(time).is_some()
            && (rest.is_empty() || rest.strip_prefix('_').is_some_and(is_encoded));
        is_ours.then(|| Self::of_stem(stem))
    }

    /// Where the copy of this backup lies in the archive tier.
    pub fn archived(&self) -> Self {
        match self.is_archived() {
            true => self.clone(),
            false => Self::of_stem(&format!("{ARCHIVED}{}", self.stem())),
        }
    }

    /// Where the backup lies, or lay, of which this may be the copy in the archive tier.
    pub fn original(&self) -> Self {
        let stem = self.stem();
        Self::of_stem(stem.strip_prefix(ARCHIVED).unwrap_or(stem))
    }

    /// Whether these are the names of a copy in the archive tier.
    pub fn is_archived(&self) -> bool {
        self.manifest.0.starts_with(ARCHIVED)
    }

    fn stem(&self) -> &str {
        self.archive
            .0
            .strip_suffix(ARCHIVE)
            .unwrap_or(&self.archive.0)
    }
}

impl Key {
    /// The keys of the backup whose dump started at `started`. The suffix tells two backups of
    /// the same second apart.
    pub fn backup(started: Timestamp, collision_suffix: Option<&str>) -> BackupKeys {
        let month = started.strftime("%Y-%m");
        let time = time(started);
        let suffix = match collision_suffix {
            Some(suffix) => format!("_{}", encode_segment(suffix.as_bytes())),
            None => String::new(),
        };
        BackupKeys::of_stem(&format!("{month}/backup_{time}{suffix}"))
    }

    /// The receipt of a `gate` or `drill`; `id` is the verdict, the run, or both.
    pub fn receipt(kind: &str, started: Timestamp, id: &str) -> Key {
        Key(format!(
            "{RECEIPTS}/{}/{}_{}.json",
            encode_segment(kind.as_bytes()),
            time(started),
            encode_segment(id.as_bytes())
        ))
    }

    /// When the run started whose receipt has this key, by its name.
    pub fn receipt_time(&self) -> Option<Timestamp> {
        let (directories, name) = self.split();
        let [RECEIPTS, _] = directories[..] else {
            return None;
        };
        let (time, rest) = name.split_at_checked(TIME_BYTES)?;
        (rest.starts_with('_') && rest.ends_with(".json")).then(|| parse_time(time))?
    }

    /// Whether a probe wrote this object: exactly such a name, since it may be deleted.
    pub fn is_probe(&self) -> bool {
        let Some(name) = self.0.strip_prefix("probes/probe_") else {
            return false;
        };
        name.rsplit_once('_').is_some_and(|(nonce, what)| {
            ["object", "parts"].contains(&what)
                && !nonce.is_empty()
                && nonce.bytes().all(|b| b.is_ascii_hexdigit())
        })
    }

    /// How to restore with `psql` and `gunzip` alone.
    pub fn recovery() -> Key {
        Key("RECOVERY.md".to_owned())
    }

    /// The object that [`probe`](crate::store::Store::probe) writes and deletes.
    pub(crate) fn probe(nonce: &str, what: &str) -> Key {
        let nonce = encode_segment(nonce.as_bytes());
        Key(format!("probes/probe_{nonce}_{what}"))
    }

    /// What a probe with this nonce may leave when it is interrupted: an object, and an upload.
    pub(crate) fn probes(nonce: &str) -> [Key; 2] {
        [Key::probe(nonce, "object"), Key::probe(nonce, "parts")]
    }

    /// A name that was made here, and keeps the rules.
    pub(super) fn known(text: String) -> Key {
        Key(text)
    }

    /// A key that somebody typed or wrote into a manifest.
    ///
    /// # Errors
    /// When a disk or a bucket could read it as something outside the store.
    pub fn parse(text: &str) -> Result<Key> {
        match objection(text) {
            None => Ok(Key(text.to_owned())),
            Some(why) => Err(Explained::new(
                format!("cannot use {text:?} as the name of an object: {why}"),
                "Take the name from `backup-action list`.",
            )
            .into()),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directories, and the name in the last of them.
    pub(crate) fn split(&self) -> (Vec<&str>, &str) {
        match self.0.rsplit_once('/') {
            Some((directories, name)) => (directories.split('/').collect(), name),
            None => (Vec::new(), &self.0),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a key.
fn objection(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.len() > KEY_MAX_BYTES {
        return Some("it is too long");
    }
    if text.starts_with('/') {
        return Some("it is absolute");
    }
    if text.chars().any(|c| c.is_control() || c == '\\') {
        return Some("it holds a control character or a backslash");
    }
    text.split('/').find_map(|segment| match segment {
        "" => Some("it holds an empty segment"),
        "." | ".." => Some("it holds a relative segment"),
        _ if segment.len() > SEGMENT_MAX_BYTES => Some("a segment is too long"),
        _ if segment.ends_with(PARTIAL) => Some("that ending marks unfinished files"),
        _ => None,
    })
}

/// Whether [`encode_segment`] could have written it.
fn is_encoded(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-.%~".contains(&b))
}

/// Whether a text has the form `2026-01`.
fn is_month(text: &str) -> bool {
    text.len() == 7
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

/// `2026-01-18_02-00-01Z`
fn time(at: Timestamp) -> impl fmt::Display {
    at.strftime("%Y-%m-%d_%H-%M-%SZ")
}

/// The time that [`time`] wrote.
fn parse_time(text: &str) -> Option<Timestamp> {
    let civil = DateTime::strptime("%Y-%m-%d_%H-%M-%SZ", text).ok()?;
    let at = TimeZone::UTC.to_timestamp(civil).ok()?;
    // Only one text is written for a time.
    (time(at).to_string() == text).then_some(at)
}

/// A name of any bytes as (part of) one segment: `[A-Za-z0-9_-]`, dots that do not lead, and `%XX`
/// for the rest. Different names stay different; a long name keeps its beginning and gets `~` and
/// a digest. At most 180 bytes, never empty.
pub fn encode_segment(name: &[u8]) -> String {
    // `%` alone and `~` are written for no other name, since both are always encoded.
    if name.is_empty() {
        return "%".to_owned();
    }
    let marks_unfinished = name.ends_with(PARTIAL.as_bytes());
    let last_dot = name.len().saturating_sub(PARTIAL.len());
    let mut encoded = String::with_capacity(name.len());
    let mut cut = 0;
    for (at, byte) in name.iter().enumerate() {
        let plain = match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => true,
            b'.' => at != 0 && !(marks_unfinished && at == last_dot),
            _ => false,
        };
        if plain {
            encoded.push(char::from(*byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        if encoded.len() <= ENCODED_MAX_BYTES - 1 - DIGEST_DIGITS {
            cut = encoded.len();
        }
    }
    if encoded.len() > ENCODED_MAX_BYTES {
        encoded.truncate(cut);
        encoded.push('~');
        encoded.extend(to_hex(&Sha256::digest(name)).chars().take(DIGEST_DIGITS));
    }
    encoded
}

const DIGEST_DIGITS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_backup_is_named_after_its_start_in_utc() {
        let keys = Key::backup(at("2026-01-18T03:00:01.9+01:00"), None);
        assert_eq!(
            keys.archive.as_str(),
            "2026-01/backup_2026-01-18_02-00-01Z.sql.gz"
        );
        assert_eq!(
            keys.index.as_str(),
            "2026-01/backup_2026-01-18_02-00-01Z.index.json.gz"
        );
        assert_eq!(
            keys.manifest.as_str(),
            "2026-01/backup_2026-01-18_02-00-01Z.manifest.json"
        );
        assert_eq!(BackupKeys::of_manifest(&keys.manifest), Some(keys.clone()));
        assert_eq!(BackupKeys::of_manifest(&keys.archive), None);
        assert_eq!(keys.started_at(), Some(at("2026-01-18T02:00:01Z")));
        let twin = Key::backup(at("2026-01-18T02:00:01Z"), Some("../2"));
        assert_eq!(
            twin.archive.as_str(),
            "2026-01/backup_2026-01-18_02-00-01Z_%2E.%2F2.sql.gz"
        );
        assert_eq!(
            Key::receipt("gate", at("2026-01-18T02:00:01Z"), "passed_77").as_str(),
            "receipts/gate/2026-01-18_02-00-01Z_passed_77.json"
        );
        let of = |name: &str| Key::parse(name).unwrap().receipt_time();
        assert_eq!(
            of("receipts/gate/2026-01-18_02-00-01Z_passed_77.json"),
            Some(at("2026-01-18T02:00:01Z"))
        );
        assert_eq!(of("receipts/gate/2026-02-30_02-00-01Z_x.json"), None);
        assert_eq!(of("receipts/gate/2026-01-18_02-00-01é.json"), None);
    }

    #[test]
    fn manifests_lie_directly_below_the_root() {
        let of = |text: &str| BackupKeys::of_manifest(&Key::parse(text).unwrap());
        let name = "backup_2026-01-18_02-00-01Z.manifest.json";
        assert!(of(&format!("2026-01/{name}")).is_some());
        for directory in [
            "other/2026-01/",
            "2026-01/2026-01/",
            "",
            "receipts/",
            "2026-1/",
            "2026-001/",
            "2026_01/",
            "202x-01/",
            "\u{664}026-1/",
        ] {
            assert_eq!(of(&format!("{directory}{name}")), None, "{directory}");
        }
        assert_eq!(of("2026-01/2026-01-18.manifest.json"), None);
    }

    #[test]
    fn the_archive_tier_mirrors_the_names() {
        let keys = Key::backup(at("2026-01-18T02:00:01Z"), None);
        let archived = keys.archived();
        assert_eq!(
            archived.manifest.as_str(),
            "archive/2026-01/backup_2026-01-18_02-00-01Z.manifest.json"
        );
        assert!(archived.is_archived() && !keys.is_archived());
        assert_eq!(archived.archived(), archived);
        assert_eq!(archived.original(), keys);
        assert_eq!(BackupKeys::of_manifest(&archived.manifest), Some(archived));
    }

    #[test]
    fn only_exact_names_can_be_leftovers() {
        let of = |text: &str| BackupKeys::of_part(&Key::parse(text).unwrap());
        let keys = Key::backup(at("2026-01-18T02:00:01Z"), None);
        for part in [&keys.archive, &keys.index, &keys.archived().archive] {
            assert!(of(part.as_str()).is_some(), "{part}");
        }
        assert!(of("2026-01/backup_2026-01-18_02-00-01Z_x.sql.gz").is_some());
        for text in [
            "2026-01/backup_2026-01-18_02-00-01Z.manifest.json",
            "2026-01/backup_2026-01-18_02-00-01Z.sql.gz.bak",
            "2026-01/backup_2026-01-18.sql.gz",
            "2026-01/backup_2026-01-18_02-00-01Zx.sql.gz",
            "2026-01/backup_2026-01-18_25-00-01Z.sql.gz",
            "2026-01/backup_2026-02-18_02-00-01Z.sql.gz",
            "2026-01/backup_20260118_0200.sql.gz",
            "2026-01/mybackup_2026-01-18_02-00-01Z.sql.gz",
            "x/2026-01/backup_2026-01-18_02-00-01Z.sql.gz",
            "archive/archive/2026-01/backup_2026-01-18_02-00-01Z.sql.gz",
            "backup_2026-01-18_02-00-01Z.sql.gz",
            "2026-01/backup_2026-01-1\u{e9}.sql.gz",
            "2026-01/backup_2026-01-18_02-00-01Z_manual copy.sql.gz",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
        let is_probe = |text: &str| Key::parse(text).unwrap().is_probe();
        assert!(is_probe("probes/probe_0123abcd_object") && is_probe("probes/probe_01_parts"));
        for text in [
            "probes/probe_readings/mars/2019.csv",
            "probes/probe_notes.txt",
            "probes/probe_my_object",
            "probes/probe__object",
        ] {
            assert!(!is_probe(text), "{text}");
        }
    }

    #[test]
    fn receipts_say_when_in_their_names() {
        let started = at("2026-01-18T02:00:01Z");
        assert_eq!(
            Key::receipt("gate", started, "passed").receipt_time(),
            Some(started)
        );
        for text in [
            "receipts/2026-01-18_02-00-01Z_passed.json",
            "receipts/gate/2026-01-18_02-00-01Z.json",
            "receipts/gate/2026-01-18_02-00-61Z_x.json",
            "receipts/gate/notes.json",
            "other/gate/2026-01-18_02-00-01Z_passed.json",
        ] {
            assert_eq!(Key::parse(text).unwrap().receipt_time(), None, "{text}");
        }
    }

    #[test]
    fn keys_that_could_leave_the_store_are_refused() {
        for text in [
            "",
            "/",
            "/etc/passwd",
            "a//b",
            "a/",
            "..",
            "a/../b",
            "a/./b",
            "a\\..\\b",
            "a\0b",
            "a\nb",
            "a/b.partial",
            "a.partial/b",
            &"x".repeat(248),
            &"x/".repeat(500),
        ] {
            assert!(Key::parse(text).is_err(), "{text:?}");
        }
        for text in ["a", "a/b.sql.gz", "caf\u{e9}/..b", "a/...", "x y"] {
            assert_eq!(Key::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn awkward_names_are_encoded() {
        for (name, encoded) in [
            (&b"tenant_1"[..], "tenant_1"),
            (b"", "%"),
            (b"%", "%25"),
            (b".", "%2E"),
            (b"..", "%2E."),
            (b"../x", "%2E.%2Fx"),
            (b"a.b", "a.b"),
            (b"a~b", "a%7Eb"),
            (b"x.partial", "x%2Epartial"),
            (b"\xff\0", "%FF%00"),
        ] {
            assert_eq!(encode_segment(name), encoded);
        }
    }

    proptest! {
        #[test]
        fn an_encoded_name_is_one_safe_short_segment(name in proptest::collection::vec(any::<u8>(), 0..400)) {
            let encoded = encode_segment(&name);
            prop_assert!(!encoded.is_empty() && encoded.len() <= ENCODED_MAX_BYTES);
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.%~".contains(&b)));
            let key = Key::parse(&encoded).unwrap();
            prop_assert_eq!(key.split(), (vec![], encoded.as_str()));
            // The longest decoration that a key gets still fits.
            let longest = format!("backup_2026-01-18_02-00-01Z_{encoded}{INDEX}");
            prop_assert!(Key::parse(&longest).is_ok());
        }

        #[test]
        fn different_names_stay_different(
            a in proptest::collection::vec(prop_oneof![Just(b'.'), Just(b'%'), Just(b'/'), Just(b'~'), any::<u8>()], 0..5),
            b in proptest::collection::vec(prop_oneof![Just(b'.'), Just(b'%'), Just(b'/'), Just(b'~'), any::<u8>()], 0..5),
            common in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            prop_assert_eq!(encode_segment(&a) == encode_segment(&b), a == b);
            let (a, b) = ([&common[..], &a].concat(), [&common[..], &b].concat());
            prop_assert_eq!(encode_segment(&a) == encode_segment(&b), a == b);
        }

        #[test]
        fn no_text_panics(text in ".*") {
            if let Ok(key) = Key::parse(&text) {
                prop_assert!(!key.as_str().split('/').any(|s| s.is_empty() || s == "." || s == ".."));
            }
        }
    }
}

//! Index, then manifest: with the manifest the backup exists. Each copy is published by itself, so
//! that one store failing does not spoil the other.

use super::cleanup::{Cleanup, Ticket, Undo};
use super::readback::{ReadBack, VerifiedCopy};
use super::seal::LostCopy;
use crate::archive::index::{FORMAT, Index, Sha256Digest, kind};
use crate::archive::validate::Damaged;
use crate::error::Explained;
use crate::manifest::{self, Manifest};
use crate::store::{BackupKeys, Key, Store};
use anyhow::{Context, ensure};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use std::io::Write;
use std::sync::Arc;

/// Keeps other modules from making the proof of this step.
struct Proof;

/// A backup that exists in at least one store. Only [`ReadBack::publish`] makes it.
pub struct Published {
    /// What is in the archive.
    pub index: Arc<Index>,
    /// The manifest, the same in every store.
    pub manifest: Manifest,
    /// The copies that exist, with how each was verified.
    pub copies: Vec<VerifiedCopy>,
    /// The copies that do not.
    pub lost: Vec<LostCopy>,
    _proof: Proof,
}

impl ReadBack {
    /// Writes index and manifest of every verified copy; `describe` makes the manifest from the
    /// size and digest of the stored index.
    ///
    /// # Errors
    /// No copy was verified, or none could be published: there is no backup.
    pub async fn publish(
        self,
        keys: &BackupKeys,
        describe: impl FnOnce(&Index, u64, Sha256Digest) -> Manifest,
        cleanup: &Cleanup,
    ) -> anyhow::Result<Published> {
        ensure!(!self.copies.is_empty(), "no store holds a verified copy");
        let index_bytes = encode_index(&self.index)?;
        let manifest = describe(
            &self.index,
            index_bytes.len() as u64,
            Sha256Digest(Sha256::digest(&index_bytes).into()),
        );
        let manifest_bytes = Bytes::from(manifest.to_bytes()?);
        let mut published = Published {
            index: self.index,
            manifest,
            copies: Vec::new(),
            lost: self.lost,
            _proof: Proof,
        };
        // Until every copy had its turn, an interrupted run takes all of them back.
        let mut finished = Vec::new();
        for copy in self.copies {
            match publish_copy(&copy, keys, &index_bytes, &manifest_bytes, cleanup).await {
                Ok(tickets) => {
                    finished.extend(tickets);
                    published.copies.push(copy);
                }
                Err(error) => published.lost.push(LostCopy {
                    store: copy.store,
                    error,
                }),
            }
        }
        for ticket in finished {
            cleanup.disarm(ticket);
        }
        if published.copies.is_empty() {
            let reasons: Vec<_> = published
                .lost
                .iter()
                .map(|lost| {
                    format!(
                        "{}: {}",
                        lost.store.describe(),
                        crate::error::one_line(&lost.error)
                    )
                })
                .collect();
            anyhow::bail!("no store could publish the backup: {}", reasons.join("; "));
        }
        Ok(published)
    }
}

async fn publish_copy(
    copy: &VerifiedCopy,
    keys: &BackupKeys,
    index: &Bytes,
    manifest: &Bytes,
    cleanup: &Cleanup,
) -> anyhow::Result<[Ticket; 3]> {
    let store = &copy.store;
    let index_ticket = cleanup.add(Undo::Delete(store.clone(), keys.index.clone()));
    store
        .put(&keys.index, index.clone(), "application/gzip")
        .await
        .inspect_err(|error| cleanup.disarm_foreign(index_ticket, error))
        .context("could not store the index")?;
    // From here a manifest may exist even when the answer is lost: it is first to go.
    let manifest_ticket = cleanup.add(Undo::Delete(store.clone(), keys.manifest.clone()));
    store
        .put(&keys.manifest, manifest.clone(), "application/json")
        .await
        .inspect_err(|error| cleanup.disarm_foreign(manifest_ticket, error))
        .context("could not store the manifest")?;
    let stored = store
        .get(&keys.manifest, manifest::MAX_BYTES)
        .await
        .context("could not read the manifest back")?;
    ensure!(
        stored == *manifest,
        "the stored manifest reads back with other bytes than were written"
    );
    Ok([manifest_ticket, index_ticket, copy.ticket])
}

/// The index as it is stored: JSON in gzip.
fn encode_index(index: &Index) -> anyhow::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    serde_json::to_writer(&mut encoder, index).context("could not write the index as JSON")?;
    encoder.flush().context("could not compress the index")?;
    Ok(encoder
        .finish()
        .context("could not compress the index")?
        .into())
}

/// Reads the index of a published backup and compares it with its manifest.
///
/// # Errors
/// What the store says when it cannot be read; an index of a newer format; and with [`Damaged`] in
/// the chain an index that was changed, does not hold together, or is another archive's.
pub async fn load_index(store: &Store, key: &Key, manifest: &Manifest) -> anyhow::Result<Index> {
    let info = store.head(key).await.context("could not read the index")?;
    if let Some(info) = info
        && info.bytes != manifest.index_bytes
    {
        return Err(Damaged(format!(
            "index_bytes: the stored index has {} bytes, the manifest says {}",
            info.bytes, manifest.index_bytes
        ))
        .into());
    }
    let bytes = store
        .get(key, manifest.index_bytes)
        .await
        .context("could not read the index")?;
    decode_index(&bytes, manifest)
}

/// The index in `bytes`, as they are stored.
fn decode_index(bytes: &[u8], manifest: &Manifest) -> anyhow::Result<Index> {
    let sha256 = Sha256Digest(Sha256::digest(bytes).into());
    if bytes.len() as u64 != manifest.index_bytes || sha256 != manifest.index_sha256 {
        let text =
            "index_bytes or index_sha256: the stored index is not the one that the manifest names";
        return Err(Damaged(text.to_owned()).into());
    }
    let json = decompress_index(bytes)?;
    let index: Index = serde_json::from_slice(&json)
        .map_err(|error| Damaged(format!("the index is not valid: {error}")))?;
    if index.format > FORMAT {
        return Err(Explained::new(
            format!(
                "index format {} is newer than {FORMAT}, the newest this version reads",
                index.format
            ),
            "Update backup-action to the version that wrote the backup.",
        )
        .into());
    }
    // First, so that the sums below cannot overflow.
    index.validate()?;
    compare_with_manifest(&index, manifest)?;
    Ok(index)
}

/// The JSON of an index. Whoever can write to the store can write the manifest with its digest too,
/// so the size is limited: half of an index is digests, which gzip does not make smaller than half.
fn decompress_index(bytes: &[u8]) -> Result<Vec<u8>, Damaged> {
    use std::io::Read;
    let limit = (bytes.len() as u64).saturating_mul(64) + 64 * 1024 * 1024;
    let mut json = Vec::new();
    flate2::bufread::GzDecoder::new(bytes)
        .take(limit + 1)
        .read_to_end(&mut json)
        .map_err(|error| Damaged(format!("the index does not decompress: {error}")))?;
    if json.len() as u64 > limit {
        return Err(Damaged(format!(
            "the index decompresses to more than {limit} bytes"
        )));
    }
    Ok(json)
}

fn compare_with_manifest(index: &Index, manifest: &Manifest) -> Result<(), Damaged> {
    let said = &manifest.archive;
    let digests = [
        ("archive_sha256", index.archive_sha256, said.archive_sha256),
        ("dump_sha256", index.dump_sha256, said.dump_sha256),
    ];
    for (field, here, there) in digests {
        if here != there {
            return Err(Damaged(format!(
                "{field}: the index belongs to another archive: {here}, in the manifest {there}"
            )));
        }
    }
    let members = index.members.len() as u64;
    if members == 0 && index.dump_bytes > 0 {
        return Err(Damaged("members: the index names none".to_owned()));
    }
    let numbers = [
        ("dump_bytes", index.dump_bytes, said.dump_bytes),
        ("archive_bytes", index.archive_bytes, said.archive_bytes),
        ("rows", index.rows(), said.rows),
        ("members", members, said.members),
    ];
    for (field, here, there) in numbers {
        if here != there {
            return Err(Damaged(format!(
                "{field}: {here} in the index, {there} in the manifest"
            )));
        }
    }
    let said = manifest::without_catalogue(&manifest.databases);
    let mut found = manifest::summarise(index);
    // Manifests of the first versions list no extensions.
    for (found, said) in found.iter_mut().zip(&said) {
        if said.extensions.is_empty() {
            found.extensions.clear();
        }
    }
    if found != said {
        return Err(Damaged(
            "databases: the manifest's are not those of the index".to_owned(),
        ));
    }
    match dumped_from(index) {
        Some(version) if !starts_with_word(&version, &manifest.source.server_version) => {
            Err(Damaged(format!(
                "server_version: the dump says {version}, the manifest {}",
                manifest.source.server_version
            )))
        }
        Some(_) | None => Ok(()),
    }
}

/// The server's version as the dump itself says it: `15.20 (Debian 15.20-1)`.
pub fn dumped_from(index: &Index) -> Option<String> {
    const LINE: &str = "Dumped from database version ";
    index
        .entries
        .iter()
        .filter(|entry| &*entry.kind == kind::COMMENT)
        .find_map(|entry| entry.name.to_lossy().strip_prefix(LINE).map(str::to_owned))
}

fn starts_with_word(text: &str, word: &str) -> bool {
    text.split_whitespace().next() == Some(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::compress::BLOCK_BYTES;
    use crate::archive::rebuild::rebuild;
    use crate::manifest::{ArchiveSummary, Compression as Levels, KIND, Source};

    const DUMP: &str = "--\n-- PostgreSQL database cluster dump\n--\n\n\\connect d\n\n\
        -- Dumped from database version 15.20 (Debian 15.20-1)\n\n\
        --\n-- Data for Name: t; Type: TABLE DATA; Schema: s; Owner: o\n--\n\n\
        COPY s.t (a) FROM stdin;\n1\n2\n\\.\n\n\n\
        --\n-- PostgreSQL database dump complete\n--\n\n\
        --\n-- PostgreSQL database cluster dump complete\n--\n\n";

    fn index() -> Index {
        assert!(DUMP.len() <= BLOCK_BYTES);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
        gzip.write_all(DUMP.as_bytes()).unwrap();
        rebuild(&gzip.finish().unwrap()[..], |_| {}).unwrap().index
    }

    fn manifest_of(index: &Index, stored: &[u8]) -> Manifest {
        Manifest {
            format: manifest::FORMAT,
            kind: KIND.to_owned(),
            tool: String::new(),
            archive_key: "a".to_owned(),
            index_key: "i".to_owned(),
            started_at: jiff::Timestamp::UNIX_EPOCH,
            finished_at: jiff::Timestamp::UNIX_EPOCH,
            source: Source {
                cluster: String::new(),
                system_identifier: None,
                server_version: "15.20".to_owned(),
                client_version: String::new(),
                role_passwords: false,
                bootstrap_role: None,
                pg_dumpall_args: Vec::new(),
            },
            archive: ArchiveSummary {
                key: "a".to_owned(),
                dump_bytes: index.dump_bytes,
                archive_bytes: index.archive_bytes,
                dump_sha256: index.dump_sha256,
                archive_sha256: index.archive_sha256,
                archive_crc64nvme: String::new(),
                rows: 2,
                members: 1,
            },
            index_bytes: stored.len() as u64,
            index_sha256: Sha256Digest(Sha256::digest(stored).into()),
            databases: manifest::summarise(index),
            compression: Levels {
                format: "gzip".to_owned(),
                level: "6".to_owned(),
                levels_used: [6, 6],
            },
            run: None,
            checks: Vec::new(),
        }
    }

    fn damage(result: anyhow::Result<Index>) -> String {
        let error = result.unwrap_err();
        assert!(
            error.chain().any(|cause| cause.is::<Damaged>()),
            "{error:#}"
        );
        format!("{error:#}")
    }

    #[test]
    fn an_index_that_contradicts_its_manifest_is_damaged_by_field() {
        let index = index();
        let stored = encode_index(&index).unwrap();
        let good = manifest_of(&index, &stored);
        assert_eq!(decode_index(&stored, &good).unwrap(), index);

        type Spoil = fn(&mut Manifest);
        let spoils: [(&str, Spoil); 10] = [
            ("index_bytes", |m| m.index_bytes += 1),
            ("index_sha256", |m| m.index_sha256.0[0] ^= 1),
            ("archive_sha256", |m| m.archive.archive_sha256.0[0] ^= 1),
            ("dump_sha256", |m| m.archive.dump_sha256.0[0] ^= 1),
            ("dump_bytes", |m| m.archive.dump_bytes += 1),
            ("archive_bytes", |m| m.archive.archive_bytes += 1),
            ("rows", |m| m.archive.rows += 1),
            ("members", |m| m.archive.members += 1),
            ("databases", |m| m.databases[0].schemas[0].rows += 1),
            ("server_version", |m| m.source.server_version.push('1')),
        ];
        for (field, spoil) in spoils {
            let mut manifest = good.clone();
            spoil(&mut manifest);
            let text = damage(decode_index(&stored, &manifest));
            assert!(text.contains(field), "{field}: {text}");
        }
    }

    #[test]
    fn an_index_with_a_fitting_digest_is_still_checked() {
        let mut swapped = index();
        swapped.entries.swap(0, 1);
        let stored = encode_index(&swapped).unwrap();
        let text = damage(decode_index(&stored, &manifest_of(&swapped, &stored)));
        assert!(text.contains("ranges of entry 1"), "{text}");

        let mut bare = index();
        bare.members.clear();
        let stored = encode_index(&bare).unwrap();
        let text = damage(decode_index(&stored, &manifest_of(&bare, &stored)));
        assert!(text.contains("members"), "{text}");

        for stored in [&b"no gzip"[..], &encode_index(&index()).unwrap()[..40]] {
            let text = damage(decode_index(stored, &manifest_of(&index(), stored)));
            assert!(text.contains("does not decompress"), "{text}");
        }

        let mut newer = index();
        newer.format = FORMAT + 1;
        let stored = encode_index(&newer).unwrap();
        let error = decode_index(&stored, &manifest_of(&newer, &stored)).unwrap_err();
        assert!(!error.chain().any(|cause| cause.is::<Damaged>()));
        assert!(format!("{error:#}").contains("newer than 1"), "{error:#}");
    }

    #[test]
    fn an_index_that_swells_is_refused_at_the_limit() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::new(9));
        for _ in 0..80 {
            gzip.write_all(&vec![b' '; 1024 * 1024]).unwrap();
        }
        let stored = gzip.finish().unwrap();
        let text = damage(decode_index(&stored, &manifest_of(&index(), &stored)));
        assert!(text.contains("more than"), "{text}");
    }
}

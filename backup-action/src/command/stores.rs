//! The configured stores, and the backups in them. Only what has a manifest is a backup.

use super::aws;
use crate::archive::index::to_hex;
use crate::config::{Config, Remote};
use crate::error::{Explained, Usage};
use crate::manifest::{self, Manifest};
use crate::store::{BackupKeys, Key, ObjectInfo, S3Config, Sse, Store, StoreErrorKind, Tier};
use anyhow::Context;
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use tokio::task::JoinSet;

/// Opens the stores that the configuration names: local first.
///
/// # Errors
/// [`Usage`] when none is named, or one cannot be used as it is named.
pub(crate) async fn open(config: &Config) -> anyhow::Result<Vec<Store>> {
    let mut stores = Vec::new();
    if let Some(dir) = &config.local {
        let dir = std::path::absolute(dir)
            .with_context(|| format!("could not resolve {}", dir.display()))?;
        // A gate makes its store. Who looks at one, or deletes in it, has mistyped it.
        if matches!(config.command.as_str(), "prune" | "history" | "doctor") && !dir.exists() {
            return Err(
                Usage::new(format!("there is no local store {}", dir.display()))
                    .hint("Correct the path; a gate makes the directory.")
                    .into(),
            );
        }
        stores.push(Store::open_dir(&dir).await?);
    }
    if let Some(remote) = &config.remote {
        let mut remote = s3_config(remote)?;
        aws::named(&config.aws, &mut remote)?;
        stores.push(Store::open_s3(remote).await?);
    }
    if stores.is_empty() {
        return Err(Usage::new("no store is named")
            .hint("Add --local DIR, --remote s3://BUCKET/PREFIX, or both.")
            .into());
    }
    Ok(stores)
}

fn s3_config(remote: &Remote) -> anyhow::Result<S3Config> {
    let mut config = S3Config::parse(&remote.url)?;
    if let Some(endpoint) = &remote.endpoint {
        config = config.with_endpoint(endpoint)?;
    }
    config.path_style = remote.path_style;
    config.region = remote.region.clone();
    config.storage_class = remote.storage_class.clone();
    config.sse = match (remote.sse.as_deref(), &remote.kms_key_id) {
        (None, None) => None,
        (Some("AES256"), None) => Some(Sse::Aes256),
        (Some("aws:kms"), key) => Some(Sse::Kms {
            key_id: key.clone(),
        }),
        (None | Some("AES256"), Some(_)) => {
            return Err(Usage::new("--s3-kms-key-id needs --s3-sse aws:kms").into());
        }
        (Some(other), _) => {
            return Err(Usage::new(format!("--s3-sse: invalid value \"{other}\""))
                .hint("Use AES256 or aws:kms.")
                .into());
        }
    };
    Ok(config)
}

/// What tells the objects of one probe from those of another.
///
/// # Errors
/// The system gives no random bytes.
pub(crate) fn nonce() -> anyhow::Result<String> {
    let mut nonce = [0; 8];
    getrandom::fill(&mut nonce).context("could not get random bytes")?;
    Ok(to_hex(&nonce))
}

/// A backup that exists.
pub(crate) struct Found {
    pub(crate) store: Store,
    pub(crate) keys: BackupKeys,
    pub(crate) manifest: Manifest,
}

/// What lies in a store.
pub(crate) struct Contents {
    /// Backups, oldest first; without those of the archive tier.
    pub(crate) backups: Vec<Found>,
    /// Backups of the archive tier, oldest first.
    pub(crate) archived: Vec<Found>,
    /// Manifests that could not be used, or whose archive or index is not what they say, with the
    /// reason.
    pub(crate) unreadable: Vec<(Key, anyhow::Error)>,
    /// Archives of ours without a manifest: not backups.
    pub(crate) without_manifest: Vec<ObjectInfo>,
    /// Every object.
    pub(crate) objects: Vec<ObjectInfo>,
}

/// Manifests that are read at the same time.
const READ_AT_ONCE: usize = 16;

/// Reads every manifest of a store.
///
/// # Errors
/// The store cannot be listed.
pub(crate) async fn contents(store: &Store) -> anyhow::Result<Contents> {
    let objects = store
        .list("")
        .await
        .with_context(|| format!("could not list {}", store.describe()))?;
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    let mut wanted = objects
        .iter()
        .filter_map(|object| BackupKeys::of_manifest(&object.key));
    let sizes: HashMap<Key, u64> = objects
        .iter()
        .map(|object| (object.key.clone(), object.bytes))
        .collect();
    let mut reading = JoinSet::new();
    loop {
        while reading.len() < READ_AT_ONCE
            && let Some(keys) = wanted.next()
        {
            let store = store.clone();
            reading.spawn(async move {
                let manifest = read(&store, &keys).await;
                (store, keys, manifest)
            });
        }
        match reading.join_next().await {
            None => break,
            Some(done) => match done.context("the reading of a manifest stopped")? {
                (store, keys, Ok(manifest)) => {
                    let backup = Found {
                        store,
                        keys,
                        manifest,
                    };
                    match damage(&backup, &sizes).await {
                        None => found.push(backup),
                        Some(damage) => unreadable.push((backup.keys.manifest, damage)),
                    }
                }
                // Deleted since the listing.
                (_, _, Err(error))
                    if StoreErrorKind::of(&error) == Some(StoreErrorKind::NotFound) => {}
                (_, keys, Err(error)) => unreadable.push((keys.manifest, error)),
            },
        }
    }
    found.sort_by(|a, b| {
        let order = |found: &Found| (found.manifest.started_at, found.keys.archive.clone());
        order(a).cmp(&order(b))
    });
    unreadable.sort_by(|(a, _), (b, _)| a.cmp(b));
    let (archived, backups) = found
        .into_iter()
        .partition(|found| found.keys.is_archived());
    let names: HashSet<&Key> = objects.iter().map(|object| &object.key).collect();
    let without_manifest = objects
        .iter()
        .filter(|object| {
            manifest_of_archive(&object.key).is_some_and(|manifest| !names.contains(&manifest))
        })
        .cloned()
        .collect();
    Ok(Contents {
        backups,
        archived,
        unreadable,
        without_manifest,
        objects,
    })
}

/// Why a backup is not whole, as far as a listing tells.
async fn damage(found: &Found, sizes: &HashMap<Key, u64>) -> Option<anyhow::Error> {
    let (keys, manifest) = (&found.keys, &found.manifest);
    let parts = [
        ("archive", &keys.archive, manifest.archive.archive_bytes),
        ("index", &keys.index, manifest.index_bytes),
    ];
    for (part, key, bytes) in parts {
        let there = match sizes.get(key) {
            Some(there) => Some(*there),
            // A listing takes its time: page by page it may show what was made meanwhile by halves.
            None => match found.store.head(key).await {
                Ok(info) => info.map(|info| info.bytes),
                Err(error) => return Some(error),
            },
        };
        let what = match there {
            None => format!("its {part} is missing"),
            Some(there) if there != bytes => {
                format!("its {part} has {there} bytes instead of {bytes}")
            }
            Some(_) => continue,
        };
        let hint = "Find out what changed it; delete what is left of this backup by hand when it is not needed.";
        return Some(Explained::new(what, hint).into());
    }
    None
}

fn manifest_of_archive(archive: &Key) -> Option<Key> {
    let stem = archive.as_str().strip_suffix(".sql.gz")?;
    let key = Key::parse(&format!("{stem}.manifest.json")).ok()?;
    BackupKeys::of_manifest(&key).map(|keys| keys.manifest)
}

async fn read(store: &Store, keys: &BackupKeys) -> anyhow::Result<Manifest> {
    let bytes = store.get(&keys.manifest, manifest::MAX_BYTES).await?;
    let manifest = Manifest::parse(&bytes)?;
    agrees(&manifest, keys)?;
    Ok(manifest)
}

/// Whether a manifest says of itself what its name says.
///
/// # Errors
/// It names another archive, or another time.
pub(crate) fn agrees(manifest: &Manifest, keys: &BackupKeys) -> anyhow::Result<()> {
    // A copy in the archive tier has the same bytes, and so names the original.
    let named = keys.original();
    anyhow::ensure!(
        manifest.archive_key == named.archive.as_str()
            && manifest.index_key == named.index.as_str(),
        "the manifest names another archive ({})",
        manifest.archive_key
    );
    let by_time = Key::backup(manifest.started_at, None);
    let stem = |key: &Key| key.as_str().trim_end_matches(".sql.gz").to_owned();
    anyhow::ensure!(
        stem(&named.archive).starts_with(&stem(&by_time.archive)),
        "the manifest's started_at ({}) is not the time in its name",
        manifest.started_at
    );
    Ok(())
}

/// The newest backup of a store.
///
/// # Errors
/// The store cannot be listed.
pub(crate) async fn newest(store: &Store) -> anyhow::Result<Option<Found>> {
    let objects = store
        .list("")
        .await
        .with_context(|| format!("could not list {}", store.describe()))?;
    let mut manifests: Vec<BackupKeys> = objects
        .iter()
        .filter_map(|object| BackupKeys::of_manifest(&object.key))
        .collect();
    // Keys hold the time of the start; where a backup is archived as well, the original comes first.
    manifests.sort_by_key(|keys| (keys.original().manifest, !keys.is_archived()));
    for keys in manifests.into_iter().rev() {
        let manifest = match read(store, &keys).await {
            Ok(manifest) => manifest,
            // Deleted since the listing.
            Err(error) if StoreErrorKind::of(&error) == Some(StoreErrorKind::NotFound) => continue,
            // Never in silence an older one: who asks for the latest must know that it is damaged.
            Err(error) => {
                let place = store.locate(&keys.manifest);
                return Err(Explained::new(
                    format!("could not use the newest manifest, {place}"),
                    "Name an older backup of `backup-action list`, and find out what changed this one.",
                )
                .caused_by(error)
                .into());
            }
        };
        return Ok(Some(Found {
            store: store.clone(),
            keys,
            manifest,
        }));
    }
    Ok(None)
}

/// The file that was named; with a store a bare word is a name in it, even when a file of that name
/// lies about.
///
/// # Errors
/// [`Usage`] when it can be neither, and what opening the stores can say.
pub(crate) async fn named_file(config: &Config) -> anyhow::Result<Option<PathBuf>> {
    let named = &config.backup;
    let path = Path::new(named);
    if named == "latest" {
        return Ok(None);
    }
    let has_store = config.local.is_some() || config.remote.is_some();
    match (path.is_file(), has_store) {
        (false, true) => return Ok(None),
        (false, false) => {
            return Err(Usage::new(format!("{named:?} is not a file, and no store is named"))
                .hint("Correct the path, or name the store that has it with --local DIR or --remote s3://BUCKET/PREFIX.")
                .into());
        }
        (true, false) => return Ok(Some(path.to_owned())),
        (true, true) => {}
    }
    let stores = open(config).await?;
    let is_stored = find(&stores, named).await.is_ok();
    Ok((!is_stored).then(|| path.to_owned()))
}

/// Finds the backup that the user named: `latest`, a key, or a UTC time. The local store is asked
/// first, since it is nearer.
///
/// # Errors
/// No such backup; the hint says what there is.
pub(crate) async fn find(stores: &[Store], wanted: &str) -> anyhow::Result<Found> {
    let mut newest_found: Option<Found> = None;
    for store in stores {
        let found = match wanted {
            "latest" => newest(store).await?,
            other => by_name(store, other).await?,
        };
        let Some(found) = found else { continue };
        if newest_found
            .as_ref()
            .is_none_or(|best| best.manifest.started_at < found.manifest.started_at)
        {
            newest_found = Some(found);
        }
    }
    newest_found.ok_or_else(|| {
        let places: Vec<_> = stores.iter().map(Store::describe).collect();
        Explained::new(
            match wanted {
                "latest" => format!("there is no backup in {}", places.join(", ")),
                other => format!("backup \"{other}\" is not in {}", places.join(", ")),
            },
            "Run `backup-action list` to see what is there.",
        )
        .into()
    })
}

/// The backup of that name in one store; none when it has no such manifest.
///
/// # Errors
/// The store does not answer, or the manifest cannot be used.
pub(crate) async fn by_name(store: &Store, wanted: &str) -> anyhow::Result<Option<Found>> {
    let keys = match wanted.parse::<Timestamp>() {
        Ok(time) => Key::backup(time, None),
        Err(_) => {
            let stem = [".manifest.json", ".index.json.gz", ".sql.gz"]
                .iter()
                .find_map(|suffix| wanted.strip_suffix(suffix))
                .unwrap_or(wanted);
            let manifest = Key::parse(&format!("{stem}.manifest.json"))?;
            match BackupKeys::of_manifest(&manifest) {
                Some(keys) => keys,
                None => return Ok(None),
            }
        }
    };
    // What the remote tier gave up may lie in the archive tier.
    let archived = keys.archived();
    let keys = if store.head(&keys.manifest).await?.is_some() {
        keys
    } else if archived != keys && store.head(&archived.manifest).await?.is_some() {
        archived
    } else {
        return Ok(None);
    };
    let manifest = read(store, &keys)
        .await
        .with_context(|| format!("could not read manifest {}", keys.manifest))?;
    Ok(Some(Found {
        store: store.clone(),
        keys,
        manifest,
    }))
}

/// Whether a store is off this machine.
pub(crate) fn is_remote(store: &Store) -> bool {
    match store.tier() {
        Tier::Remote => true,
        Tier::Local => false,
    }
}

//! A past for stores: real backups moved to another time, and manifests and receipts of runs that
//! never were, made after the pattern of real ones. What is made agrees with itself, so that the
//! program believes it.
#![expect(
    clippy::expect_used,
    reason = "test support stops the test when it cannot go on"
)]

use super::run::files;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// So many days before now.
pub(crate) fn days_ago(days: i64) -> Timestamp {
    Timestamp::now() - SignedDuration::from_hours(24 * days)
}

/// The name of the backup that was started then, without an ending.
fn stem(at: Timestamp) -> String {
    at.strftime("%Y-%m/backup_%Y-%m-%d_%H-%M-%SZ").to_string()
}

/// The manifests of a directory store, oldest first.
pub(crate) fn manifests(store: &Path) -> Vec<PathBuf> {
    let mut found = files(store);
    found.retain(|path| path.to_string_lossy().ends_with(".manifest.json"));
    found
}

/// Reads a JSON file.
pub(crate) fn read(path: &Path) -> Value {
    let bytes = fs::read(path).expect("the file is there");
    serde_json::from_slice(&bytes).expect("it is JSON")
}

/// Writes a JSON file, and the directories that it lies in.
pub(crate) fn write(path: &Path, value: &Value) {
    let dir = path.parent().expect("it lies in a directory");
    fs::create_dir_all(dir).expect("the directory can be made");
    let bytes = serde_json::to_vec(value).expect("it is JSON");
    fs::write(path, bytes).expect("the file can be written");
}

/// Says another time in a manifest, in every field that holds one.
fn dated(manifest: &mut Value, at: Timestamp) {
    let archive = json!(format!("{}.sql.gz", stem(at)));
    manifest["archive_key"] = archive.clone();
    manifest["archive"]["key"] = archive;
    manifest["index_key"] = json!(format!("{}.index.json.gz", stem(at)));
    manifest["started_at"] = json!(at);
    manifest["finished_at"] = json!(at + SignedDuration::from_secs(9));
}

/// Moves a stored backup to another time: its objects get new names, its manifest says them.
pub(crate) fn backdate(store: &Path, manifest: &Path, at: Timestamp) {
    let mut value = read(manifest);
    for (key, ending) in [("archive_key", "sql.gz"), ("index_key", "index.json.gz")] {
        let from = store.join(value[key].as_str().expect("a key"));
        let to = store.join(format!("{}.{ending}", stem(at)));
        fs::create_dir_all(to.parent().expect("a directory")).expect("a directory");
        fs::rename(from, to).expect("the object can be renamed");
    }
    dated(&mut value, at);
    fs::remove_file(manifest).expect("the manifest can be removed");
    write(&store.join(format!("{}.manifest.json", stem(at))), &value);
}

/// Stores the manifest of a backup of another time, after the pattern of a real one; with its
/// archive and index where they are in this store, since a manifest without them is no backup.
pub(crate) fn invent(store: &Path, pattern: &Value, at: Timestamp, change: impl Fn(&mut Value)) {
    let mut manifest = pattern.clone();
    dated(&mut manifest, at);
    // No two archives are the same.
    manifest["archive"]["archive_sha256"] = json!(format!("{:064x}", at.as_second()));
    change(&mut manifest);
    write(
        &store.join(format!("{}.manifest.json", stem(at))),
        &manifest,
    );
    for (key, ending) in [("archive_key", "sql.gz"), ("index_key", "index.json.gz")] {
        let from = store.join(pattern[key].as_str().expect("a key"));
        let to = store.join(format!("{}.{ending}", stem(at)));
        if from.is_file() && !to.exists() {
            fs::copy(from, to).expect("the object can be copied");
        }
    }
}

/// Stores the receipt of a run of another time, after the pattern of a real report.
pub(crate) fn invent_receipt(
    store: &Path,
    pattern: &Value,
    at: Timestamp,
    id: &str,
    change: impl Fn(&mut Value),
) {
    let mut report = pattern.clone();
    report["started_at"] = json!(at);
    report["finished_at"] = json!(at + SignedDuration::from_secs(600));
    change(&mut report);
    let kind = report["command"].as_str().expect("a command").to_owned();
    let name = at.strftime("%Y-%m-%d_%H-%M-%SZ");
    write(
        &store.join(format!("receipts/{kind}/{name}_{id}.json")),
        &report,
    );
}

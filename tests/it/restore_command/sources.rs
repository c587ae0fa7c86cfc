//! Where a backup comes from: a store, a file of ours, or what `pg_dumpall | gzip` made.

#![expect(
    clippy::expect_used,
    reason = "a helper that cannot go on ends its test"
)]

use super::{TENANT, databases, empty, into, shelf};
use crate::support::run::Run;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The dump in the backup of the shelf, and the path of its archive.
fn dump(world: &crate::gate::world::World<'_>) -> (Vec<u8>, PathBuf) {
    let root = world.local.as_ref().expect("a directory");
    let key = crate::gate::world::backups(world).remove(0);
    let path = root.join(key);
    let path = match path.to_string_lossy().strip_suffix(".manifest.json") {
        Some(stem) => PathBuf::from(format!("{stem}.sql.gz")),
        None => path,
    };
    let mut text = Vec::new();
    let file = std::fs::File::open(&path).expect("the archive");
    std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(file), &mut text)
        .expect("gzip");
    (text, path)
}

fn gzip(path: &Path, text: &[u8]) {
    let file = std::fs::File::create(path).expect("a file");
    let mut gzip = GzEncoder::new(file, Compression::new(6));
    gzip.write_all(text).expect("gzip");
    gzip.finish().expect("gzip");
}

#[test]
fn a_file_of_any_kind_is_restored() {
    let Some(world) = shelf("a_file_of_any_kind_is_restored") else {
        return;
    };
    let (text, archive) = dump(world);
    let dir = tempfile::tempdir().expect("a directory");
    let bare = dir.path().join("bare.sql.gz");
    std::fs::copy(&archive, &bare).expect("a copy");
    let plain = dir.path().join("plain one.sql.gz");
    gzip(&plain, &text);
    let sql = dir.path().join("plain.sql");
    std::fs::write(&sql, &text).expect("a file");
    let target = empty();
    for path in [&archive, &bare, &plain, &sql] {
        let ended = into(Run::new("restore"), &target)
            .arg(path)
            .args(&["--database", "nostromo"])
            .end();
        assert_eq!(ended.code, 0, "{}\n{}", path.display(), ended.all());
        assert_eq!(databases(&target), "nostromo postgres");
        target.psql("drop database nostromo");
    }
}

#[test]
fn what_is_no_whole_dump_of_a_cluster_is_refused() {
    let Some(world) = shelf("what_is_no_whole_dump_of_a_cluster_is_refused") else {
        return;
    };
    let (text, archive) = dump(world);
    let dir = tempfile::tempdir().expect("a directory");
    let cut = dir.path().join("cut.sql.gz");
    gzip(&cut, &text[..text.len() - 60]);
    let torn = dir.path().join("torn.sql.gz");
    let whole = std::fs::read(&archive).expect("the archive");
    std::fs::write(&torn, &whole[..whole.len() / 2]).expect("a file");
    let one = dir.path().join("one.sql.gz");
    gzip(&one, b"--\n-- PostgreSQL database dump\n--\n\nSELECT 1;\n");
    let target = empty();
    for (path, code, says) in [
        (&cut, 1, "not a whole dump"),
        (&torn, 1, "torn.sql.gz"),
        (&one, 3, "the dump of one database"),
    ] {
        let ended = into(Run::new("restore"), &target).arg(path).end();
        assert_eq!(ended.code, code, "{}", ended.all());
        ended.assert_says(says);
    }
    assert_eq!(databases(&target), "postgres");
}

#[test]
fn production_is_not_taken_by_accident() {
    let Some(world) = shelf("production_is_not_taken_by_accident") else {
        return;
    };
    let ended = world
        .run("restore")
        .args(&["--schema", TENANT, "--yes"])
        .env("DATABASE_URL", world.cluster.url())
        .end();
    assert_eq!(ended.code, 2, "{}", ended.all());
    assert!(
        ended.stderr.contains("no server to restore into")
            || ended.screen().contains("no server to restore into"),
        "{}",
        ended.all()
    );
}

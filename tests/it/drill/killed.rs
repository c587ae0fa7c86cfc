//! Drills that end early: nothing of them stays, production is as it was.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy does not see as tests"
)]

use super::drill;
use crate::gate::world::{World, assert_no_session, own};
use crate::support::cluster::is_running;
use crate::support::run::{Run, files};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A directory for drills that the server's user can enter.
fn place() -> tempfile::TempDir {
    let dir = tempfile::Builder::new()
        .prefix("drills-")
        .tempdir_in("/tmp")
        .unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn clusters(place: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(place).unwrap().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Processes whose command line names the place.
fn processes(place: &Path) -> Vec<String> {
    let name = place.to_str().unwrap();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| is_running(*pid))
        .filter_map(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            line.contains(name).then(|| format!("{pid} {line}"))
        })
        .collect()
}

/// What has happened when the drill is ended.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Directory,
    Server,
    Database,
    Rows,
}

fn reached(place: &Path, moment: Moment) -> bool {
    let Some(cluster) = clusters(place).pop() else {
        return false;
    };
    match moment {
        Moment::Directory => true,
        Moment::Server => cluster.join("data/postmaster.pid").exists(),
        // Besides postgres and the templates.
        Moment::Database => databases(&cluster) > 3,
        // Each of the four has some 7 MB before there are rows.
        Moment::Rows => databases(&cluster) > 3 && bytes(&cluster.join("data/base")) > 34_000_000,
    }
}

fn databases(cluster: &Path) -> usize {
    let entries = std::fs::read_dir(cluster.join("data/base"));
    entries.map_or(0, |bases| bases.flatten().count())
}

fn bytes(dir: &Path) -> u64 {
    let sizes = files(dir).into_iter().map(|file| {
        let metadata = std::fs::metadata(file);
        metadata.map_or(0, |metadata| metadata.len())
    });
    sizes.sum()
}

#[test]
fn a_drill_that_is_killed_is_cleaned_up_by_the_next() {
    let Some(cluster) = own("drill::killed") else {
        return;
    };
    cluster.sample(6, 12_000);
    let world = World::local(&cluster);
    world.passes(world.gate());
    let before = world.snapshot().local;
    let place = place();
    let run = |world: &World| -> Run { drill(world).arg("--drill-dir").arg(place.path()) };
    for moment in [
        Moment::Directory,
        Moment::Server,
        Moment::Database,
        Moment::Rows,
    ] {
        let drill = run(&world);
        let marker = drill.marker().to_owned();
        let mut going = drill.start();
        let begun = Instant::now();
        going.until("the moment", || reached(place.path(), moment));
        going.signal("KILL");
        drop(going);
        assert!(begun.elapsed() < Duration::from_secs(120));
        assert!(!clusters(place.path()).is_empty(), "{moment:?}");
        let now = world.snapshot().local;
        assert_eq!(
            now, before,
            "{moment:?}: a killed drill wrote into the store"
        );
        assert_no_session(&cluster, &marker);
    }
    let ended = run(&world).end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    ended.assert_says("left by a");
    assert_eq!(clusters(place.path()), Vec::<PathBuf>::new());
    assert_eq!(processes(place.path()), Vec::<String>::new());
}

#[test]
fn a_signal_ends_a_drill_and_removes_its_cluster() {
    let Some(cluster) = own("drill::signals") else {
        return;
    };
    cluster.sample(6, 12_000);
    let world = World::local(&cluster);
    world.passes(world.gate());
    let before = world.snapshot().local;
    for (signal, code, moment) in [
        ("INT", 130, Moment::Directory),
        ("TERM", 143, Moment::Server),
        ("INT", 130, Moment::Rows),
        ("HUP", 129, Moment::Database),
    ] {
        let place = place();
        let mut going = drill(&world).arg("--drill-dir").arg(place.path()).start();
        going.until("the moment", || reached(place.path(), moment));
        let sent = Instant::now();
        going.signal(signal);
        let ended = going.end();
        assert_eq!(ended.code, code, "{moment:?}: {}", ended.all());
        assert!(sent.elapsed() < Duration::from_secs(7), "{moment:?}");
        assert_eq!(clusters(place.path()), Vec::<PathBuf>::new(), "{moment:?}");
        assert_eq!(processes(place.path()), Vec::<String>::new(), "{moment:?}");
        assert_eq!(world.snapshot().local, before, "{moment:?}");
    }
}

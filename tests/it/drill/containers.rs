//! Drills in a container: the same proof, and nothing of the container stays.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy does not see as tests"
)]

use super::round_trips::{load_hostile, of_major, proved};
use crate::gate::world::World;
use crate::support::run::Run;
use crate::throwaway::{docker, image};

/// A drill of the world's newest backup in a container.
fn drill(world: &World, image: &str) -> Run {
    world
        .run("drill")
        .args(&["--engine", "docker", "--image", image])
}

/// Containers of drills whose owner is the process `pid`.
fn containers(pid: &str) -> Vec<String> {
    let all = docker(&["ps", "-a", "--format", "{{.Names}} {{.Labels}}"]).unwrap();
    let owned = |line: &&str| {
        line.starts_with("backup-action-drill-")
            && line.split([',', ' ']).any(|label| {
                label
                    .rsplit_once('=')
                    .is_some_and(|(key, value)| key.ends_with("pid") && value == pid)
            })
    };
    all.lines().filter(owned).map(str::to_owned).collect()
}

#[test]
fn the_hostile_fixture_comes_back_in_a_container() {
    let test = "drill::container";
    let Some((image, major)) = image(test) else {
        return;
    };
    let Some(cluster) = of_major(test, major) else {
        return;
    };
    load_hostile(&cluster);
    let world = World::local(&cluster);
    let gate = world.passes(world.gate());
    let going = drill(&world, &image).start();
    let pid = going.pid().to_string();
    let ended = going.end();
    proved(&ended, gate.report()["archive"]["rows"].as_u64().unwrap());
    let target = &ended.report()["restored"]["target"];
    assert_eq!(target["engine"], "docker", "{}", ended.all());
    assert_eq!(target["image"], image.as_str(), "{}", ended.all());
    assert_eq!(containers(&pid), Vec::<String>::new());
}

#[test]
fn a_container_of_a_killed_drill_is_removed_by_the_next() {
    let test = "drill::container-killed";
    let Some((image, major)) = image(test) else {
        return;
    };
    let Some(cluster) = of_major(test, major) else {
        return;
    };
    cluster.sample(3, 500);
    let world = World::local(&cluster);
    world.passes(world.gate());
    let mut going = drill(&world, &image).start();
    let pid = going.pid().to_string();
    going.until("the container", || !containers(&pid).is_empty());
    going.signal("KILL");
    drop(going);
    assert_eq!(containers(&pid).len(), 1);
    let ended = drill(&world, &image).end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(containers(&pid), Vec::<String>::new());

    let mut going = drill(&world, &image).start();
    let pid = going.pid().to_string();
    going.until("the container", || !containers(&pid).is_empty());
    going.signal("TERM");
    let ended = going.end();
    assert_eq!(ended.code, 143, "{}", ended.all());
    assert_eq!(containers(&pid), Vec::<String>::new());
}

//! `--pg-client`: programs of this machine, of a container, or none.

use super::in_the_dump;
use crate::gate::world::{World, large, sample};
use crate::support::cluster::{Auth, Cluster, ClusterOptions};
use crate::support::need;
use crate::support::run::Run;
use crate::throwaway::{docker, image};
use std::time::{Duration, Instant};

/// Containers of clients whose owner is the process `pid`.
fn containers(pid: u32) -> Vec<String> {
    let label = format!("label=org.backup-action.drill.pid={pid}");
    let all = docker(&["ps", "-a", "-q", "--filter", &label]).unwrap();
    all.lines().map(str::to_owned).collect()
}

fn in_docker(world: &World, image: &str) -> Run {
    world
        .gate_without_dir()
        .args(&["--pg-client", "docker", "--pg-image", image])
}

fn client(ended: &crate::support::run::Ended) -> String {
    ended.check("client-version")["evidence"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn assert_client(ended: &crate::support::run::Ended, says: &str) {
    let client = client(ended);
    assert!(client.contains(says), "{client}");
}

fn until_gone(pid: u32) {
    let until = Instant::now() + Duration::from_secs(40);
    while !containers(pid).is_empty() {
        assert!(Instant::now() < until, "{:?}", containers(pid));
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_servers_version_of_this_machine_comes_first() {
    let Some(cluster) = sample("reach::local") else {
        return;
    };
    let world = World::local(cluster);
    let ended = world.passes(world.gate_without_dir());
    assert!(!client(&ended).contains("container"), "{}", client(&ended));
    assert_client(&ended, "/usr/lib/postgresql/");
}

#[test]
fn a_container_dumps_and_nothing_of_it_stays() {
    let test = "reach::docker";
    let (Some((image, _)), Some(cluster)) = (image(test), large(test)) else {
        return;
    };
    let world = World::local(cluster);
    let watched = in_the_dump(&world, in_docker(&world, &image));
    let pid = watched.going.pid();
    watched.going.assert_no_secret_in_argv();
    let there = containers(pid);
    assert_eq!(there.len(), 1);
    let config = docker(&["inspect", &there[0]]).unwrap();
    for form in crate::support::run::forms(&[crate::gate::world::PASSWORD.to_owned()]) {
        assert!(!config.contains(&form), "{form}");
    }
    let ended = watched.going.end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_client(&ended, &format!("in a container of {image}"));
    assert_eq!(containers(pid), Vec::<String>::new());
    // Over the socket, whose directory is mounted.
    let mut world = World::local(cluster);
    world.url = cluster.socket_url();
    world.passes(in_docker(&world, &image));
}

#[test]
fn any_password_reaches_a_container() {
    let test = "reach::docker-password";
    let (Some((image, _)), Some(_)) = (
        image(test),
        need(test, "PostgreSQL's server", Cluster::installed(None)),
    ) else {
        return;
    };
    let cluster = Cluster::start(ClusterOptions {
        auth: Auth::Scram("it's \"$HOME\" `id`\\\nsecond $(line) ${{ x }}".to_owned()),
        ..ClusterOptions::default()
    });
    cluster.sample(2, 5);
    let world = World::local(&cluster);
    world.passes(in_docker(&world, &image));
}

#[test]
fn auto_takes_a_container_when_only_other_versions_are_installed() {
    let test = "reach::auto";
    let image = "backup-action-test/postgres:17";
    let there = docker(&["image", "inspect", image]).ok();
    let (Some(_), Some(_)) = (
        need(
            test,
            "Docker and the image of `cargo xtask image --major 17`",
            there,
        ),
        need(test, "PostgreSQL 17", Cluster::installed(Some(17))),
    ) else {
        return;
    };
    let cluster = Cluster::start(ClusterOptions {
        major: Some(17),
        ..ClusterOptions::default()
    });
    cluster.sample(2, 5);
    let world = World::local(&cluster);
    let ended = world.passes(world.gate_without_dir().args(&["--pg-image", image]));
    assert_client(&ended, "pg_dumpall 17");
    assert_client(&ended, "in a container of");
}

#[test]
fn without_either_the_two_commands_are_printed() {
    let test = "reach::neither";
    if need(test, "PostgreSQL 17", Cluster::installed(Some(17))).is_none() {
        return;
    }
    let cluster = Cluster::start(ClusterOptions {
        major: Some(17),
        ..ClusterOptions::default()
    });
    let world = World::local(&cluster);
    let empty = tempfile::tempdir().unwrap();
    let says = [
        "older than the server (17)",
        "postgresql-client-17` ",
        "no docker command",
    ];
    let says: Vec<&str> = says.iter().map(|s| s.trim_end_matches(' ')).collect();
    world.closes(world.gate_without_dir().env("PATH", empty.path()), 1, &says);
    // `local` never asks Docker.
    let run = world.gate_without_dir().args(&["--pg-client", "local"]);
    let ended = world.closes(run, 1, &["older than the server (17)"]);
    assert!(!ended.all().contains("Docker run it"), "{}", ended.all());
}

#[test]
fn what_docker_cannot_do_is_told() {
    let test = "reach::docker-refused";
    let (Some((image, _)), Some(cluster)) = (image(test), sample(test)) else {
        return;
    };
    let world = World::local(cluster);
    let run = in_docker(&world, &image).env("DOCKER_HOST", "unix:///nonexistent/docker.sock");
    world.closes(
        run,
        3,
        &["no Docker to run PostgreSQL's client programs in"],
    );
    let run = in_docker(&world, "backup-action-test/none:1");
    world.closes(run, 3, &["is not here and could not be pulled"]);
    let run = in_docker(&world, &image)
        .env("PGSERVICE", "x")
        .env("BACKUP_ACTION_DATABASE_URL", "");
    world.closes(run, 3, &["service"]);
    for bad in ["--privileged", "a b", "$(id)", "x;y"] {
        let run = world.gate_without_dir().arg(format!("--pg-image={bad}"));
        world.closes_before_it_starts(run, "invalid image");
    }
}

#[test]
fn a_container_that_is_killed_in_the_middle_closes_the_gate() {
    let test = "reach::docker-killed";
    let (Some((image, _)), Some(cluster)) = (image(test), large(test)) else {
        return;
    };
    let world = World::local(cluster);
    let watched = in_the_dump(&world, in_docker(&world, &image));
    let pid = watched.going.pid();
    let there = containers(pid);
    docker(&["kill", &there[0]]).unwrap();
    // Docker says what became of pg_dumpall, or that the container is gone: whichever it notices.
    watched.closes(1, &["dump-exit", "container"]);
    until_gone(pid);
}

#[test]
fn a_container_ends_with_a_run_that_is_interrupted_or_killed() {
    let test = "reach::docker-interrupted";
    let (Some((image, _)), Some(cluster)) = (image(test), large(test)) else {
        return;
    };
    let world = World::local(cluster);
    let watched = in_the_dump(&world, in_docker(&world, &image));
    let pid = watched.going.pid();
    watched.going.signal("TERM");
    watched.closes(143, &["SIGTERM"]);
    assert_eq!(containers(pid), Vec::<String>::new());

    let mut going = in_docker(&world, &image).start();
    let pid = going.pid();
    going.until("the container", || !containers(pid).is_empty());
    going.signal("KILL");
    // Nobody sweeps: the container's input has ended.
    until_gone(pid);
}

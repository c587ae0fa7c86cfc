//! `--ssh-exec`: pg_dumpall and psql run on the database host.

use super::{in_the_dump, with};
use crate::gate::world::{PASSWORD, World, large, sample};
use crate::support::cluster::{Cluster, ClusterOptions, server_user};
use crate::support::need;
use crate::support::sshd::Sshd;
use std::fs;

/// Every command line of the machine, whoever's.
fn command_lines() -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap();
    entries
        .filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).into_owned())
        .collect()
}

#[test]
fn the_dump_is_made_there_and_its_password_is_in_no_argument() {
    let test = "reach::exec";
    let (Some(cluster), Some(sshd)) = (large(test), Sshd::start(test, &["AllowTcpForwarding no"]))
    else {
        return;
    };
    let world = World::local(cluster);
    let watched = in_the_dump(&world, with(world.gate(), &sshd.flags("--ssh-exec")));
    watched.going.assert_no_secret_in_argv();
    for form in crate::support::run::forms(&[PASSWORD.to_owned()]) {
        let lines = command_lines();
        assert!(lines.iter().all(|line| !line.contains(&form)), "{form}");
    }
    let ended = watched.going.end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    let client = ended.check("client-version")["evidence"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        client.contains(&format!("on {}", sshd.destination())),
        "{client}"
    );
}

#[test]
fn sudo_there_gets_in_by_peer_and_odd_names_mean_nothing_to_a_shell() {
    let test = "reach::exec-sudo";
    let installed = need(test, "PostgreSQL's server", Cluster::installed(None));
    let sudo = need(test, "sudo", crate::support::tool("sudo"));
    let user = need(test, "a server that runs as another user", server_user());
    let (Some(bin), Some(_), Some(user)) = (installed, sudo, user) else {
        return;
    };
    let Some(sshd) = Sshd::start(test, &[]) else {
        return;
    };
    let cluster = Cluster::start(ClusterOptions {
        peer: true,
        ..ClusterOptions::default()
    });
    cluster.sample(2, 5);
    let mut world = World::local(&cluster);
    world.url = cluster.socket_url();
    let place = tempfile::Builder::new()
        .prefix("odd-")
        .tempdir_in("/tmp")
        .unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(place.path(), open).unwrap();
    let odd = place
        .path()
        .join("it's \"$(touch HERE)\" `touch HERE`; \\ x\n!!");
    std::os::unix::fs::symlink(bin, &odd).unwrap();
    let run = with(world.gate(), &sshd.flags("--ssh-exec"));
    let ended = world.passes(
        run.args(&["--sudo-user", user])
            .arg("--pg-bin-dir")
            .arg(&odd),
    );
    let client = ended.check("client-version")["evidence"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(client.contains("touch HERE"), "{client}");
    for dir in ["/root", "/tmp", "/", "/var/lib/postgresql"] {
        assert!(!std::path::Path::new(dir).join("HERE").exists(), "{dir}");
    }
}

#[test]
fn a_connection_that_is_cut_closes_the_gate_and_ends_the_dump_there() {
    let test = "reach::exec-cut";
    let (Some(cluster), Some(sshd)) = (large(test), Sshd::start(test, &[])) else {
        return;
    };
    let world = World::local(cluster);
    let watched = in_the_dump(&world, with(world.gate(), &sshd.flags("--ssh-exec")));
    sshd.cut();
    // `closes` waits until the server has no session of it any more.
    watched.closes(1, &["the SSH connection to 127.0.0.1 broke"]);
}

#[test]
fn what_cannot_run_there_is_told() {
    let test = "reach::exec-refused";
    let (Some(cluster), Some(sshd)) = (sample(test), Sshd::start(test, &[])) else {
        return;
    };
    let world = World::local(cluster);
    let gate = || with(world.gate(), &sshd.flags("--ssh-exec"));
    let run = gate().args(&["--pg-bin-dir", "/nonexistent"]);
    world.closes(run, 3, &["no pg_dumpall, pg_dump and psql on"]);
    let run = gate().args(&["--sudo-user", "no-such-user"]);
    world.closes(run, 3, &["sudo on 127.0.0.1 did not run"]);
    let run = gate().args(&["--ssh", "u@h"]);
    world.closes_before_it_starts(run, "--ssh and --ssh-exec are both given");
    let key = sshd.path("stranger").display().to_string();
    let flags = sshd.flags("--ssh-exec");
    let run = with(world.gate(), &[&flags[..3], &[key], &flags[4..]].concat());
    world.closes(run, 3, &["did not accept the key"]);
}

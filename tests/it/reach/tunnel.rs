//! `--ssh`: the gate connects through a tunnel.

use super::{in_the_dump, with};
use crate::gate::world::{World, large, sample};
use crate::support::sshd::Sshd;
use std::fs;

#[test]
fn a_gate_passes_through_a_tunnel_and_nothing_of_it_stays() {
    let test = "reach::tunnel";
    let (Some(cluster), Some(sshd)) = (sample(test), Sshd::start(test, &["LogLevel DEBUG1"]))
    else {
        return;
    };
    let world = World::local(cluster);
    let ended = world.passes(with(world.gate(), &sshd.flags("--ssh")));
    let log = sshd.log();
    let used = format!("target 127.0.0.1 port {}", cluster.port);
    assert!(log.contains(&used), "{log}");
    let link = ended.check("connection-verified")["evidence"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(link.contains(&sshd.destination()), "{link}");
    // The same by the text of the key.
    let flags = sshd.flags("--ssh");
    let key = fs::read_to_string(sshd.path("user")).unwrap();
    let run = with(world.gate(), &[&flags[..2], &flags[4..]].concat());
    let line = key.lines().nth(2).unwrap().to_owned();
    world.passes(run.secret_env("BACKUP_ACTION_SSH_PRIVATE_KEY", &key, &line));
}

#[test]
fn every_refusal_is_told_and_leaves_nothing() {
    let test = "reach::tunnel-refused";
    let (Some(cluster), Some(sshd)) = (sample(test), Sshd::start(test, &["LogLevel DEBUG1"]))
    else {
        return;
    };
    let world = World::local(cluster);
    let file = |name: &str| sshd.path(name).display().to_string();
    let (user, known) = (file("user"), file("known_hosts"));
    let to = sshd.destination();
    let gone = "nobody@127.0.0.1:1".to_owned();
    for (to, key, hosts, says) in [
        (&to, &user, file("other_hosts"), "is not the known one"),
        (&to, &user, file("nobody"), "is not known"),
        (
            &to,
            &file("stranger"),
            known.clone(),
            "did not accept the key",
        ),
        (&gone, &user, known.clone(), "could not reach"),
    ] {
        let run = world.gate().args(&["--ssh", to, "--ssh-key", key]);
        world.closes(run.arg("--ssh-known-hosts").arg(hosts), 3, &[says]);
    }
    let run = world
        .gate()
        .args(&["--ssh", &to, "--ssh-key", "/nonexistent/key"]);
    world.closes(run, 2, &["no file /nonexistent/key", "ssh-private-key"]);
    let run = world.gate().args(&["--ssh", "backup@bastion"]);
    let run = run.args(&["--ssh-known-hosts", "/nonexistent/hosts"]);
    world.closes(run, 2, &["no file /nonexistent/hosts", "`ssh-keyscan`"]);
    for bad in [
        "-oProxyCommand=touch${IFS}x",
        "h;id",
        "$(id)",
        "h x",
        "h\n",
        "",
    ] {
        let run = world.gate().arg(format!("--ssh=u@{bad}"));
        world.closes_before_it_starts(run, "user@host[:port]");
    }
}

#[test]
fn a_host_that_forwards_nothing_is_named() {
    let test = "reach::tunnel-forwarding";
    let (Some(cluster), Some(sshd)) = (sample(test), Sshd::start(test, &["AllowTcpForwarding no"]))
    else {
        return;
    };
    let world = World::local(cluster);
    let run = with(world.gate(), &sshd.flags("--ssh"));
    world.closes(run, 3, &["does not forward connections"]);
}

#[test]
fn a_tunnel_that_is_cut_in_the_middle_closes_the_gate() {
    let test = "reach::tunnel-cut";
    let (Some(cluster), Some(sshd)) = (large(test), Sshd::start(test, &["LogLevel DEBUG1"])) else {
        return;
    };
    let world = World::local(cluster);
    let watched = in_the_dump(&world, with(world.gate(), &sshd.flags("--ssh")));
    sshd.cut();
    watched.closes(1, &["the SSH connection to"]);
}

#[test]
fn a_tunnel_ends_with_a_run_that_is_interrupted_or_killed() {
    let test = "reach::tunnel-killed";
    let (Some(cluster), Some(sshd)) = (large(test), Sshd::start(test, &["LogLevel DEBUG1"])) else {
        return;
    };
    let world = World::local(cluster);
    let watched = in_the_dump(&world, with(world.gate(), &sshd.flags("--ssh")));
    watched.going.assert_no_secret_in_argv();
    watched.going.signal("INT");
    watched.closes(130, &["SIGINT"]);

    let forwarded = || sshd.log().matches("direct-tcpip").count();
    let before = forwarded();
    let mut going = with(world.gate(), &sshd.flags("--ssh")).start();
    let is_ssh = |line: &String| line.contains("ssh-tunnel") || line.contains("LocalCommand");
    going.until("the tunnel", || forwarded() > before);
    let is_there = |going: &crate::support::run::Going| going.processes().iter().any(is_ssh);
    assert!(is_there(&going));
    going.signal("KILL");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while is_there(&going) {
        assert!(std::time::Instant::now() < until, "{:?}", going.processes());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

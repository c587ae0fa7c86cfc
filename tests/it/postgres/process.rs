//! Children: groups, deadlines, floods, exits, other users.
#![expect(
    clippy::disallowed_methods,
    reason = "a test looks at processes from outside"
)]

use crate::support::cluster::{is_root, is_running, server_user};
use crate::support::need;
use backup_action::process::{Command, DeadlineExceeded, Exit, RunAs, Running, capture};
use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

fn bash(script: &str) -> Command {
    Command::new("bash").args(["-c", script])
}

/// Waits until a process is gone, and says whether it went.
fn is_gone_soon(pid: u32) -> bool {
    let until = Instant::now() + Duration::from_secs(5);
    while is_running(pid) {
        if Instant::now() > until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

fn read_line(stdout: &mut File) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while stdout.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

#[tokio::test]
async fn exits_and_signals_are_told_apart() {
    for (script, exit) in [
        ("exit 0", Exit::Code(0)),
        ("exit 7", Exit::Code(7)),
        ("kill -KILL $$", Exit::Signal(9)),
        ("kill -TERM $$", Exit::Signal(15)),
    ] {
        let output = capture(
            bash(&format!("echo out; echo err >&2; {script}")),
            LONG,
            100,
        )
        .await;
        let output = output.unwrap();
        assert_eq!(output.status, exit, "{script}");
        assert_eq!(output.stdout, b"out\n");
        assert_eq!(output.stderr, "err\n");
    }
    let missing = capture(Command::new("/nowhere/pg_dumpall"), LONG, 100).await;
    assert!(format!("{:#}", missing.unwrap_err()).contains("could not start pg_dumpall"));
    let stdin = capture(bash("read -r line; echo \"$?\""), LONG, 100)
        .await
        .unwrap();
    assert_eq!(stdin.stdout, b"1\n", "stdin is empty");
}

#[tokio::test]
async fn a_deadline_ends_the_child_and_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let script = format!("sleep 1000 & echo $! $$ >{}; wait", pids.display());
    let began = Instant::now();
    let error = capture(bash(&script), Duration::from_secs(2), 100)
        .await
        .unwrap_err();
    assert!(error.is::<DeadlineExceeded>(), "{error:#}");
    assert!(began.elapsed() < Duration::from_secs(30));
    for pid in std::fs::read_to_string(pids).unwrap().split_whitespace() {
        assert!(is_gone_soon(pid.parse().unwrap()), "{pid} is left");
    }
}

#[tokio::test]
async fn output_is_bounded() {
    let error = capture(bash("yes"), LONG, 100_000).await.unwrap_err();
    assert!(
        format!("{error:#}").contains("more than 100000 bytes"),
        "{error:#}"
    );
    let output = capture(bash("head -c 100000 /dev/zero"), LONG, 100_000)
        .await
        .unwrap();
    assert_eq!(output.stdout.len(), 100_000);
}

#[tokio::test]
async fn dropping_a_running_child_kills_its_group() {
    let (running, mut stdout) = Running::start(bash("sleep 1000 & echo $!; wait")).unwrap();
    let grandchild: u32 = read_line(&mut stdout).parse().unwrap();
    let child = u32::try_from(running.pid()).unwrap();
    assert!(is_running(grandchild) && is_running(child));
    drop(running);
    assert!(is_gone_soon(child) && is_gone_soon(grandchild));
}

/// FAULTS D1b: pg_dumpall killed alone leaves its pg_dump writing.
#[tokio::test]
async fn a_grandchild_that_outlives_its_parent_is_killed() {
    let (running, mut stdout) = Running::start(bash(
        "(while sleep 0.05; do echo more; done) & echo $!; kill -KILL $$",
    ))
    .unwrap();
    let grandchild: u32 = read_line(&mut stdout).parse().unwrap();
    let finished = running.finish().await.unwrap();
    assert_eq!(finished.exit, Exit::Signal(9));
    assert!(is_gone_soon(grandchild));
    stdout.read_to_end(&mut Vec::new()).unwrap();
}

#[tokio::test]
async fn stop_ends_a_child_that_obeys_at_once_and_one_that_does_not_within_5_seconds() {
    let obeys = "trap 'echo stopped >&2; exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let ignores = "trap '' TERM; echo ready; while :; do sleep 1; done";
    for (script, exit) in [(obeys, Exit::Code(3)), (ignores, Exit::Signal(9))] {
        let (running, mut stdout) = Running::start(bash(script)).unwrap();
        assert_eq!(read_line(&mut stdout), "ready");
        let began = Instant::now();
        let stop = running.stop_handle();
        stop.stop();
        stop.stop();
        let finished = running.finish().await.unwrap();
        assert_eq!(finished.exit, exit, "{script}");
        let took = began.elapsed();
        assert!(took < Duration::from_secs(15), "{took:?}");
        assert_eq!(
            finished.stderr_tail.contains("stopped"),
            exit == Exit::Code(3)
        );
        // Harmless afterwards.
        stop.stop();
    }
}

#[tokio::test]
async fn a_flood_of_100_mb_on_stderr_neither_blocks_nor_stays_in_memory() {
    let script = "echo first >&2; yes 'a line of warning that is repeated' | head -c 100000000 >&2; echo data; echo last >&2; exit 1";
    let (running, mut stdout) = Running::start(bash(script)).unwrap();
    let mut data = String::new();
    stdout.read_to_string(&mut data).unwrap();
    let finished = running.finish().await.unwrap();
    assert_eq!(data, "data\n");
    assert_eq!(finished.exit, Exit::Code(1));
    assert!(
        finished.stderr_tail.len() < 140 * 1024,
        "{}",
        finished.stderr_tail.len()
    );
    assert!(finished.stderr_tail.starts_with("first\n"));
    assert!(finished.stderr_tail.ends_with("last\n"));
    assert!(finished.stderr_lines_dropped > 2_000_000);
}

#[tokio::test]
async fn a_child_that_is_not_read_waits_and_can_be_stopped() {
    let (running, stdout) = Running::start(bash("exec yes")).unwrap();
    running.stop_handle().stop();
    let finished = running.finish().await.unwrap();
    assert_eq!(finished.exit, Exit::Signal(15));
    drop(stdout);
}

#[tokio::test]
async fn secrets_and_foreign_variables_stay_out_of_sight() {
    let secret = backup_action::secret::Secret::new("hunter2");
    let command = bash("echo \"$ONE-${HOME-unset}\"; tr '\\0' ' ' </proc/$$/cmdline")
        .env_secret("ONE", &secret)
        .env_scrub("HOM");
    let output = capture(command, LONG, 10_000).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("hunter2-unset\n"), "{text}");
    assert_eq!(text.matches("hunter2").count(), 1, "{text}");
}

#[tokio::test]
async fn as_root_another_user_is_become_directly() {
    // As another user the test below runs.
    let Some(user) = server_user() else {
        return;
    };
    let run_as = RunAs::resolve(user).await.unwrap();
    assert!(matches!(run_as, RunAs::Direct { .. }));
    let command = bash(
        "id -un; echo \"$USER ${HOME-unset} $PWD $(id -G | wc -w)\"; sleep 1000 & echo $!; wait",
    )
    .run_as(Some(run_as));
    let (running, mut stdout) = Running::start(command).unwrap();
    assert_eq!(read_line(&mut stdout), user);
    assert_eq!(read_line(&mut stdout), format!("{user} unset / 1"));
    let grandchild: u32 = read_line(&mut stdout).parse().unwrap();
    drop(running);
    assert!(is_gone_soon(grandchild));
    for name in ["no_such_user_here", "-u", "", "#0"] {
        let error = RunAs::resolve(name).await.unwrap_err();
        assert!(backup_action::error::is_usage(&error), "{name}: {error:#}");
    }
}

/// As on a hosted runner: not root, but sudo without a password.
#[tokio::test]
async fn without_being_root_sudo_is_used_and_its_child_ends_too() {
    if is_root() {
        return;
    }
    let works = std::process::Command::new("sudo")
        .args(["-n", "true"])
        .status();
    let sudo = works.ok().filter(std::process::ExitStatus::success);
    if need("run_as", "sudo without a password", sudo).is_none() {
        return;
    }
    let run_as = RunAs::resolve("root").await.unwrap();
    assert!(matches!(run_as, RunAs::Sudo { .. }));
    let command = bash("id -un; echo \"$ONE\"; sleep 1000 & echo $!; wait")
        .env("ONE", "two three")
        .run_as(Some(run_as));
    let (running, mut stdout) = Running::start(command).unwrap();
    assert_eq!(read_line(&mut stdout), "root");
    assert_eq!(read_line(&mut stdout), "two three");
    let grandchild: u32 = read_line(&mut stdout).parse().unwrap();
    drop(running);
    assert!(is_gone_soon(grandchild));
}

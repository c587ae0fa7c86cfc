//! Two real processes race for one lock, 100 times each, in a directory and in SeaweedFS. The witness
//! is a file that only one can create: it is there exactly while its maker believes to hold the lock.
#![expect(
    clippy::disallowed_methods,
    reason = "the contenders are processes of their own"
)]

use crate::support::s3::{self, BUCKET, SeaweedFs};
use backup_action::lock::{Attempt, Holder, Record, Taker};
use backup_action::store::{LockGround, Store};
use jiff::Timestamp;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const ROUNDS: usize = 100;
const PROCESSES: usize = 2;

/// What a contender is told: `dir:PATH` or `s3:ENDPOINT|PREFIX`, and where the witness is.
const STORE: &str = "IT_LOCK_STORE";
const WITNESS: &str = "IT_LOCK_WITNESS";

/// One stay in the lock: owner, generation, begin and end in nanoseconds.
type Stay = (String, u64, u128, u128);

/// The other process of the race: this test binary, started once more. Without the variables, which
/// only [`race`] sets, there is nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contender() {
    let (Ok(place), Ok(witness)) = (std::env::var(STORE), std::env::var(WITNESS)) else {
        return;
    };
    let store = match place.split_once(':').unwrap() {
        ("dir", path) => Store::open_dir(Path::new(path)).await.unwrap(),
        (_, rest) => {
            let (endpoint, prefix) = rest.split_once('|').unwrap();
            let config = s3::config(endpoint, BUCKET, prefix);
            Store::open_s3(config).await.unwrap()
        }
    };
    let witness = Path::new(&witness);
    let pid = std::process::id();
    let mut log = fs::File::create(witness.join(format!("log-{pid}"))).unwrap();
    // Both are here before the first round.
    fs::write(witness.join(format!("here-{pid}")), "").unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while count(witness, "here-") < PROCESSES {
        assert!(Instant::now() < deadline, "the other one never came");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for round in 0..ROUNDS {
        let owner = format!("{pid:x}{round:04x}");
        let ground = LockGround::new(&store, &owner);
        let me = Record::new(Holder {
            owner: owner.clone(),
            command: "race".to_owned(),
            host: "here".to_owned(),
            pid,
            run: None,
            since: Timestamp::now(),
        });
        let mut taker = Taker::new(&ground, me);
        let mut lease = loop {
            match taker.attempt().await.unwrap() {
                Attempt::Mine(lease) => break lease,
                Attempt::Busy(_) | Attempt::Contended => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        };
        let begin = nanoseconds();
        assert!(lease.taken_from.is_none(), "taken from a live process");
        let held = witness.join("held");
        let made = fs::File::options().write(true).create_new(true).open(&held);
        made.unwrap_or_else(|error| panic!("two hold the lock at once: {error}"));
        assert!(lease.renew(&ground).await.unwrap(), "lost without a reason");
        let (generation, end) = (lease.generation(), nanoseconds());
        fs::remove_file(&held).unwrap();
        writeln!(log, "{owner} {generation} {begin} {end}").unwrap();
        lease.release(&ground).await.unwrap();
    }
}

fn nanoseconds() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos()
}

fn count(dir: &Path, prefix: &str) -> usize {
    fs::read_dir(dir)
        .unwrap()
        .filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with(prefix)
        })
        .count()
}

/// Kills what it started when the test stops early.
struct Contender(Child);

impl Drop for Contender {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn race(place: &str) {
    let witness = tempfile::tempdir().unwrap();
    let mut contenders: Vec<Contender> = (0..PROCESSES)
        .map(|_| {
            let program = std::env::current_exe().unwrap();
            let child = Command::new(program)
                .args(["--exact", "lock::race::contender", "--nocapture"])
                .env(STORE, place)
                .env(WITNESS, witness.path())
                .stdout(Stdio::piped())
                .stderr(Stdio::inherit())
                .spawn()
                .unwrap();
            Contender(child)
        })
        .collect();
    let deadline = Instant::now() + Duration::from_secs(170);
    for contender in &mut contenders {
        let status = loop {
            if let Some(status) = contender.0.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the race does not end");
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(status.success(), "a contender failed: {status}");
    }
    let mut stays: Vec<Stay> = Vec::new();
    for entry in fs::read_dir(witness.path()).unwrap() {
        let path = entry.unwrap().path();
        if !path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("log-")
        {
            continue;
        }
        for line in fs::read_to_string(&path).unwrap().lines() {
            let words: Vec<&str> = line.split(' ').collect();
            stays.push((
                words[0].to_owned(),
                words[1].parse().unwrap(),
                words[2].parse().unwrap(),
                words[3].parse().unwrap(),
            ));
        }
    }
    assert_eq!(stays.len(), PROCESSES * ROUNDS);
    stays.sort_by_key(|stay| stay.2);
    let process = |stay: &Stay| stay.0[..stay.0.len() - 4].to_owned();
    let mut turns = 0;
    for pair in stays.windows(2) {
        assert!(pair[0].3 <= pair[1].2, "two held it at once: {pair:?}");
        assert!(pair[0].1 < pair[1].1, "the numbers go back: {pair:?}");
        turns += usize::from(process(&pair[0]) != process(&pair[1]));
    }
    assert!(turns > 5, "there was no race: {turns} turns");
}

#[test]
fn of_two_processes_one_holds_the_lock_of_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    race(&format!("dir:{}", dir.path().join("store").display()));
    let left: Vec<_> = fs::read_dir(dir.path().join("store/locks"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn of_two_processes_one_holds_the_lock_of_a_bucket() {
    let Some(server) = SeaweedFs::start("lock race in a bucket") else {
        return;
    };
    let prefix = server.prefix("lock-race");
    race(&format!("s3:{}|{prefix}", server.endpoint()));
    assert_eq!(server.keys(&prefix).len(), 1, "{:?}", server.keys(&prefix));
}

//! A process that owns a cluster, to be killed: this test binary itself, told by a variable.

use super::{std_command, told, wanted};
use backup_action::archive::index::Name;
use backup_action::postgres::throwaway::{EngineChoice, Throwaway};
use backup_action::process::{Command, RunAs, capture};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

const VARIABLE: &str = "BACKUP_ACTION_TEST_OWNER";

/// Not a test: what the owner does. Says what it made, waits for the end of its stdin, stops.
#[tokio::test(flavor = "multi_thread")]
async fn the_owner() {
    let Ok(order) = std::env::var(VARIABLE) else {
        return;
    };
    let [engine, major, base, image] = order.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{order}");
    };
    let engine = match engine {
        "auto" => EngineChoice::Auto,
        "docker" => EngineChoice::Docker,
        _ => EngineChoice::Local,
    };
    let base = Some(base).filter(|base| !base.is_empty()).map(Into::into);
    let mut wanted = wanted(engine, major.parse().unwrap(), base);
    wanted.image = Some(image).filter(|i| !i.is_empty()).map(Into::into);
    let cluster = match Throwaway::start(wanted).await {
        Ok(cluster) => cluster,
        Err(error) => {
            let (said, hint) = told(Err(error));
            println!("\nREFUSED {said} {hint}");
            return;
        }
    };
    let place = match &cluster.psql.run_as {
        Some(RunAs::Container(inside)) => inside.container.clone(),
        _ => cluster.describe.clone(),
    };
    println!("\nRUNNING {:?} {} {place}", cluster.engine, cluster.chosen);
    println!("ENVIRONMENT {}", environment_of_the_server(&cluster).await);
    let mut byte = [0];
    assert_eq!(std::io::stdin().read(&mut byte).unwrap(), 0);
    cluster.stop().await.unwrap();
    println!("STOPPED");
}

/// The variables that a statement of the dump could read.
async fn environment_of_the_server(cluster: &Throwaway) -> String {
    let psql = &cluster.psql;
    let command = Command::new(&psql.program)
        .args(["-X", "-A", "-t", "-q", "-d"])
        .arg(
            psql.connection
                .conninfo(Some(Name::from("postgres").as_bytes())),
        )
        .args(["-c", "create temp table e(line text)"])
        .args(["-c", "copy e from program 'env'"])
        .args(["-c", "select string_agg(line, ' ') from e"]);
    let command = psql.connection.apply(command).run_as(psql.run_as.clone());
    let output = capture(command, Duration::from_secs(30), 1 << 20)
        .await
        .unwrap();
    assert!(output.status.is_success(), "{}", output.stderr);
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Such a process.
pub(super) struct Owner {
    child: Child,
    lines: BufReader<ChildStdout>,
}

/// How to start one.
pub(super) struct Order<'a> {
    pub(super) engine: &'a str,
    pub(super) major: u32,
    pub(super) base: &'a Path,
    pub(super) image: &'a str,
    /// In front of the program: `setpriv …`, `env …`.
    pub(super) through: &'a [&'a str],
    pub(super) path: Option<&'a Path>,
}

impl Order<'_> {
    pub(super) fn start(&self) -> Owner {
        let binary = std::env::current_exe().unwrap();
        let (first, rest) = match self.through {
            [] => (binary.as_os_str(), Vec::new()),
            [first, rest @ ..] => {
                let rest = rest.iter().map(std::ffi::OsStr::new);
                (first.as_ref(), rest.chain([binary.as_os_str()]).collect())
            }
        };
        let mut command = std_command(first);
        command
            .args(rest)
            .args(["throwaway::owner::the_owner", "--exact", "--nocapture"])
            .env(
                VARIABLE,
                format!(
                    "{} {} {} {}",
                    self.engine,
                    self.major,
                    self.base.display(),
                    self.image
                ),
            )
            .env("DEPLOY_TOKEN", "canary-of-the-environment")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(path) = self.path {
            command.env("PATH", path);
        }
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Owner { child, lines }
    }
}

impl Owner {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The rest of the next line that begins with `word`; stops the test when it ends without.
    pub(super) fn says(&mut self, word: &str) -> String {
        let mut seen = String::new();
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).unwrap();
            assert!(read > 0, "it ended without {word}: {seen}");
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim().to_owned();
            }
            seen += &line;
        }
    }

    /// kill -9.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets it stop in order.
    pub(super) fn end(mut self) {
        drop(self.child.stdin.take());
        self.says("STOPPED");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What an order for a container needs.
pub(super) fn in_container(image: &str, major: u32) -> Order<'_> {
    Order {
        engine: "docker",
        major,
        base: Path::new(""),
        image,
        through: &[],
        path: None,
    }
}

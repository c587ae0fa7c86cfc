//! The machine that a page is run on: a cluster with tenants, an empty one to restore into, a
//! directory, a bucket, and the program on `PATH`. A page names them as a reader would; here the
//! names become addresses. All commands of a page run in one shell, in order.
//!
//! The shell runs as the user of the PostgreSQL server, since a page that starts a server cannot be
//! run as root.

use super::page::{Block, Page, Shown, matches};
use crate::support::cluster::{Cluster, ClusterOptions, server_user, write_program};
use crate::support::run::PROGRAM;
use crate::support::s3::{ACCESS_KEY, BUCKET, SECRET_KEY, SeaweedFs};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The longest that one page may take.
const DEADLINE: Duration = Duration::from_secs(400);

/// Everything that a page may talk about.
pub(super) struct World {
    dir: TempDir,
    production: Cluster,
    new_host: Cluster,
    endpoint: String,
    prefix: String,
    marker: String,
}

/// What one command came to.
struct Done {
    code: i32,
    output: String,
}

impl World {
    pub(super) fn start(s3: &SeaweedFs, page: &str) -> World {
        let dir = tempfile::Builder::new()
            .prefix("docs-")
            .tempdir_in("/tmp")
            .expect("a temporary directory");
        let production = Cluster::start(ClusterOptions::default());
        production.sample(3, 40);
        let new_host = Cluster::start(ClusterOptions {
            superuser: "restore_admin",
            ..ClusterOptions::default()
        });
        for sub in ["bin", "backups", "restore", "tmp", "home"] {
            fs::create_dir(dir.path().join(sub)).expect("a directory");
        }
        let program = dir.path().join("bin/backup-action");
        // The checkout may lie where the server's user cannot read.
        fs::copy(PROGRAM, &program).expect("the program can be copied");
        // There is no service manager in a test; what a page asks of it is written down.
        let log = dir.path().join("home/services");
        write_program(
            &dir.path().join("bin/systemctl"),
            &format!("#!/bin/sh\necho \"$*\" >>'{}'\n", log.display()),
        );
        if let Some(user) = server_user() {
            let given = Command::new("chown")
                .args(["-R", user])
                .arg(dir.path().join("home"))
                .args(["backups", "restore", "tmp"].map(|sub| dir.path().join(sub)))
                .arg(dir.path())
                .status()
                .expect("chown starts");
            assert!(given.success());
        }
        World {
            marker: format!("docs-{}", dir.path().display()),
            endpoint: s3.endpoint(),
            prefix: s3.prefix(&page.replace(['/', '.'], "-")),
            dir,
            production,
            new_host,
        }
    }

    /// The names that pages use, and what they are here.
    fn names(&self) -> Vec<(String, String)> {
        let port = self.production.port;
        let new_port = self.new_host.port;
        let dir = self.dir.path().display();
        let pairs = [
            (
                "postgresql://backup:…@db.internal:5432/postgres?sslmode=verify-full",
                self.production.url(),
            ),
            (
                "PGHOST=db.internal PGPORT=5432 PGUSER=postgres",
                format!("PGHOST=127.0.0.1 PGPORT={port} PGUSER=postgres"),
            ),
            (
                "PGHOST=newhost PGPORT=5432 PGUSER=restore_admin",
                format!("PGHOST=127.0.0.1 PGPORT={new_port} PGUSER=restore_admin"),
            ),
            (
                "s3://nostromo-backups/production",
                format!("s3://{BUCKET}/{}", self.prefix),
            ),
            ("https://minio.internal:9000", self.endpoint.clone()),
            ("/var/backups/postgres", format!("{dir}/backups")),
            ("/var/lib/postgresql/restore", format!("{dir}/restore")),
            (
                "/usr/local/bin/backup-action",
                format!("{dir}/bin/backup-action"),
            ),
        ];
        pairs.map(|(name, here)| (name.to_owned(), here)).to_vec()
    }

    fn here(&self, text: &str) -> String {
        self.names()
            .iter()
            .fold(text.to_owned(), |text, (name, here)| {
                text.replace(name, here)
            })
    }

    /// Runs the page and returns what is wrong with it.
    pub(super) fn run(&self, page: &Page) -> Vec<String> {
        let steps: Vec<(&Block, Shown, i32)> = page
            .console()
            .filter(|block| block.not_run().is_none())
            .flat_map(|block| {
                let commands = block.commands();
                let last = commands.len() - 1;
                let hidden = block.before().map(|command| Shown {
                    command: command.to_owned(),
                    output: Vec::new(),
                });
                let hidden: Vec<_> = hidden.map(|shown| (block, shown, 0)).collect();
                let shown = commands.into_iter().enumerate();
                let shown = shown.map(move |(at, shown)| {
                    (block, shown, if at == last { block.exit() } else { 0 })
                });
                hidden.into_iter().chain(shown)
            })
            .collect();
        let mut wrong = Vec::new();
        let done = self.shell(&steps.iter().map(|(_, shown, _)| shown).collect::<Vec<_>>());
        for (number, (block, shown, code)) in steps.iter().enumerate() {
            let place = format!("{}:{}: {}", page.name, block.line, shown.command);
            let Some(done) = done.get(number) else {
                wrong.push(format!("{place}\nwas not reached"));
                break;
            };
            if done.code != *code {
                wrong.push(format!(
                    "{place}\nended with {} instead of {code}:\n{}",
                    done.code, done.output
                ));
            }
            let mut lines = done.output.lines();
            for wanted in shown.output.iter().filter(|line| *line != "…") {
                let wanted = self.here(wanted);
                if !lines.any(|line| matches(&wanted, line)) {
                    wrong.push(format!(
                        "{place}\ndoes not say, after what the page shows before: {wanted}\n{}",
                        done.output
                    ));
                    break;
                }
            }
        }
        wrong
    }

    /// Runs the commands in one bash, and returns what each came to.
    fn shell(&self, commands: &[&Shown]) -> Vec<Done> {
        let out = self.dir.path().join("tmp/doc-test");
        let mut script = format!("mkdir -p '{}'\ncd \"$HOME\"\n", out.display());
        for (number, shown) in commands.iter().enumerate() {
            let file = out.join(number.to_string());
            let file = file.display();
            writeln!(
                script,
                "{{\n{}\n}} >'{file}.out' 2>&1 </dev/null\necho $? >'{file}.code'",
                self.here(&shown.command)
            )
            .expect("a string");
        }
        let path = self.dir.path().join("script");
        fs::write(&path, script).expect("the script can be written");
        self.bash(&path);
        let read =
            |file: PathBuf| fs::read(file).map(|text| String::from_utf8_lossy(&text).into_owned());
        (0..commands.len())
            .map_while(|number| {
                let code = read(out.join(format!("{number}.code"))).ok()?;
                Some(Done {
                    code: code.trim().parse().ok()?,
                    output: read(out.join(format!("{number}.out"))).ok()?,
                })
            })
            .collect()
    }

    fn bash(&self, script: &Path) {
        let dir = self.dir.path();
        let mut command = match server_user() {
            None => Command::new("bash"),
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args([&format!("--reuid={user}"), "--clear-groups", "bash"]);
                command
            }
        };
        let paths = [dir.join("bin"), self.production.bin_dir.clone()];
        let rest = std::env::var_os("PATH").expect("PATH");
        let paths = paths.into_iter().chain(std::env::split_paths(&rest));
        let mut child = command
            .arg(script)
            .current_dir(dir)
            .env_clear()
            .env("PATH", std::env::join_paths(paths).expect("a PATH"))
            .env("HOME", dir.join("home"))
            .env("TMPDIR", dir.join("tmp"))
            .env("LANG", "C.UTF-8")
            .env("IT_MARKER", &self.marker)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("BACKUP_ACTION_S3_ENDPOINT", &self.endpoint)
            .stdin(Stdio::null())
            .spawn()
            .expect("bash starts");
        let begun = Instant::now();
        while child.try_wait().expect("bash can be waited for").is_none() {
            if begun.elapsed() > DEADLINE {
                child.kill().expect("bash can be killed");
                child.wait().expect("bash can be waited for");
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A page that starts a server says how it is stopped; one that failed before does not.
        let pid = fs::read_to_string(self.dir.path().join("restore/data/postmaster.pid"));
        if let Some(pid) = pid.ok().and_then(|text| text.lines().next()?.parse().ok()) {
            crate::support::cluster::signal(pid, "QUIT");
        }
    }
}

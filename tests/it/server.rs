//! A server without GitHub: the crontab and the units of `examples/`, run as cron and systemd run
//! them, against a real cluster.
#![expect(
    clippy::disallowed_methods,
    reason = "tests start sh and systemd-analyze themselves"
)]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that cannot go on ends its test"
)]

use crate::gate::world::sample;
use crate::support::run::PROGRAM;
use crate::support::{need, root, tool};
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A server: its `/etc/backup-action`, `/var/backups` and `/var/log` are below one directory.
struct Server {
    dir: TempDir,
}

impl Server {
    fn new(url: &str) -> Server {
        let server = Server {
            dir: tempfile::tempdir().unwrap(),
        };
        for dir in [
            "etc/backup-action",
            "var/backups/postgres",
            "var/log/backup-action",
            "home",
        ] {
            fs::create_dir_all(server.dir.path().join(dir)).unwrap();
        }
        let example =
            |name: &str| fs::read_to_string(root().join("examples/server").join(name)).unwrap();
        let env = example("backup-action.env");
        let from = "postgresql://backup:PASSWORD@127.0.0.1:5432/postgres";
        assert!(env.contains(from));
        let etc = server.dir.path().join("etc/backup-action");
        fs::write(etc.join("backup-action.env"), env.replace(from, url)).unwrap();
        fs::write(
            etc.join("backup-action.toml"),
            server.here(&example("backup-action.toml")),
        )
        .unwrap();
        server
    }

    /// The same text with this server's paths.
    fn here(&self, text: &str) -> String {
        let mut text = text.replace("/usr/local/bin/backup-action", PROGRAM);
        for dir in [
            "/etc/backup-action",
            "/var/backups/postgres",
            "/var/log/backup-action",
        ] {
            text = text.replace(dir, self.dir.path().join(&dir[1..]).to_str().unwrap());
        }
        text
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join("var/log/backup-action").join(name)).unwrap()
    }

    /// Runs the command of the crontab's line that has `word`, as cron does.
    fn cron(&self, word: &str) -> Output {
        let table = fs::read_to_string(root().join("examples/cron/backup-action")).unwrap();
        let mut command = Command::new("/bin/sh");
        command
            .env_clear()
            .env("HOME", self.dir.path().join("home"))
            .env("LOGNAME", "backup-action");
        let mut line = None;
        for text in table
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            match text.split_once('=') {
                Some((name, value)) if name.chars().all(|c| c.is_ascii_uppercase()) => {
                    let bin = Path::new(PROGRAM).parent().unwrap().display().to_string();
                    command.env(name, value.replace("/usr/local/bin", &bin));
                }
                _ if text.contains(word) => line = Some(text),
                _ => {}
            }
        }
        let fields: Vec<&str> = line.unwrap().splitn(7, ' ').collect();
        assert_eq!(fields[5], "backup-action", "the user of the line");
        assert!(!fields[6].contains('%'), "cron makes line breaks of %");
        command
            .current_dir(self.dir.path().join("home"))
            .arg("-c")
            .arg(self.here(fields[6]))
            .output()
            .unwrap()
    }
}

fn lines<'a>(log: &'a str, start: &str) -> Vec<&'a str> {
    log.lines().filter(|line| line.starts_with(start)).collect()
}

#[test]
fn the_crontab_backs_up_drills_and_mails_only_failures() {
    let Some(cluster) = sample("crontab") else {
        return;
    };
    let server = Server::new(&cluster.url());
    let backup = server.cron(" gate ");
    let log = server.log("backup.log");
    assert!(
        backup.status.success() && backup.stdout.is_empty() && backup.stderr.is_empty(),
        "{backup:?}\n{log}"
    );
    assert_eq!(lines(&log, "Starting backup at 20").len(), 1, "{log}");
    let completed = lines(&log, "Backup completed at 20");
    assert!(
        completed.len() == 1
            && completed[0].contains(" UTC: ")
            && completed[0].ends_with(".sql.gz"),
        "{log}"
    );
    assert!(!log.contains('\u{1b}') && !log.contains('\r'), "{log:?}");

    let drill = server.cron(" drill ");
    let log = server.log("drill.log");
    assert!(drill.status.success(), "{drill:?}\n{log}");
    assert_eq!(lines(&log, "Starting drill at 20").len(), 1, "{log}");
    assert_eq!(lines(&log, "Drill completed at 20").len(), 1, "{log}");

    // What cron mails is what the command prints.
    let broken = Server::new("postgresql://nobody:x@127.0.0.1:1/postgres");
    let failed = broken.cron(" gate ");
    let mail = String::from_utf8(failed.stdout).unwrap();
    assert!(
        lines(&mail, "Backup FAILED at 20")[0].contains("server-reachable"),
        "{mail}"
    );
}

/// The words of `ExecStart=`.
fn exec_start(unit: &str) -> Vec<String> {
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="))
        .unwrap();
    shell_words::split(line).unwrap()
}

#[test]
fn the_units_start_what_exists_and_hold_no_secret() {
    let Some(cluster) = sample("units") else {
        return;
    };
    let server = Server::new(&cluster.url());
    for (name, said) in [
        ("backup-action", "Backup completed at"),
        ("backup-action-drill", "Drill completed at"),
    ] {
        let unit =
            fs::read_to_string(root().join(format!("examples/systemd/{name}.service"))).unwrap();
        for word in ["PASSWORD", "postgresql://", "Environment="] {
            assert!(!unit.contains(word), "{word}");
        }
        let words = exec_start(&server.here(&unit));
        let env = fs::read_to_string(
            server
                .dir
                .path()
                .join("etc/backup-action/backup-action.env"),
        )
        .unwrap();
        let env = env
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                let (name, value) = line.split_once('=').unwrap();
                (name.to_owned(), value.trim_matches('"').to_owned())
            });
        let output = Command::new(&words[0])
            .args(&words[1..])
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .envs(env)
            .current_dir("/")
            .output()
            .unwrap();
        let said_so = String::from_utf8_lossy(&output.stderr).contains(said);
        assert!(output.status.success() && said_so, "{output:?}");
    }
}

#[test]
fn systemd_understands_the_units() {
    let Some(analyze) = need("units", "systemd-analyze", tool("systemd-analyze")) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let server = Server::new("x");
    let mut units = Vec::new();
    for entry in fs::read_dir(root().join("examples/systemd")).unwrap() {
        let entry = entry.unwrap();
        let copy = dir.path().join(entry.file_name());
        let text = server.here(&fs::read_to_string(entry.path()).unwrap());
        // The user and the manual page are of the server.
        let text = text
            .replace("User=backup-action\n", "User=root\n")
            .replace("Documentation=man:backup-action(1)\n", "");
        fs::write(&copy, text).unwrap();
        units.push(copy);
    }
    assert_eq!(units.len(), 5);
    let output = Command::new(&analyze)
        .arg("verify")
        .args(&units)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let ours: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("backup-action"))
        .collect();
    assert!(output.status.success() && ours.is_empty(), "{said}");
    for timer in ["backup-action.timer", "backup-action-drill.timer"] {
        let text = fs::read_to_string(dir.path().join(timer)).unwrap();
        let when = text
            .lines()
            .find_map(|line| line.strip_prefix("OnCalendar="))
            .unwrap();
        let output = Command::new(&analyze)
            .arg("calendar")
            .arg(when)
            .output()
            .unwrap();
        assert!(
            output.status.success() && text.contains("Persistent=true"),
            "{output:?}"
        );
    }
}

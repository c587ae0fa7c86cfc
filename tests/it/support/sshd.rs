//! A real OpenSSH server on loopback, with keys of its own and a configuration of its own; the
//! machine's service is not touched. It ends when it is dropped, and with the test process: a shell
//! waits for the end of its stdin, which only that process holds open.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "test support starts a server, and stops the test when it cannot"
)]

use super::cluster::{is_root, is_running, signal};
use super::need;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running server.
pub(crate) struct Sshd {
    pub(crate) port: u16,
    dir: TempDir,
    guard: Option<Child>,
    user: String,
}

impl Sshd {
    /// Starts one with these further lines of sshd_config; none where it is not installed.
    pub(crate) fn start(test: &str, lines: &[&str]) -> Option<Sshd> {
        let program = ["/usr/sbin/sshd", "/usr/bin/sshd"].map(PathBuf::from);
        let program = program.into_iter().find(|path| path.is_file());
        let program = need(test, "OpenSSH's server", program)?;
        if is_root() {
            // Where the server puts its unprivileged half.
            std::fs::create_dir_all("/run/sshd").expect("/run/sshd");
        }
        let dir = tempfile::Builder::new()
            .prefix("sshd-")
            .tempdir_in("/tmp")
            .expect("a directory");
        let id = Command::new("id").arg("-un").output().expect("id");
        let mut sshd = Sshd {
            port: 0,
            user: String::from_utf8_lossy(&id.stdout).trim().to_owned(),
            dir,
            guard: None,
        };
        for name in ["host", "other_host", "user", "stranger"] {
            sshd.make_key(name);
        }
        std::fs::copy(sshd.path("user.pub"), sshd.path("authorized_keys")).expect("a copy");
        for attempt in 1.. {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            sshd.port = listener.local_addr().expect("a port").port();
            drop(listener);
            sshd.configure(lines);
            sshd.launch(&program);
            if sshd.answers() {
                break;
            }
            assert!(attempt < 4, "sshd does not start: {}", sshd.log());
            sshd.stop();
        }
        for (file, key) in [("known_hosts", "host"), ("other_hosts", "other_host")] {
            let public = std::fs::read_to_string(sshd.path(&format!("{key}.pub"))).expect("a key");
            let line = format!("[127.0.0.1]:{} {public}", sshd.port);
            std::fs::write(sshd.path(file), line).expect("a file");
        }
        std::fs::write(sshd.path("nobody"), "").expect("a file");
        Some(sshd)
    }

    fn make_key(&self, name: &str) {
        let status = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
            .arg(self.path(name))
            .status();
        assert!(status.expect("ssh-keygen").success());
    }

    fn configure(&self, lines: &[&str]) {
        let dir = self.dir.path().display();
        let text = format!(
            "Port {}\nListenAddress 127.0.0.1\nHostKey {dir}/host\nAuthorizedKeysFile {dir}/authorized_keys\n\
             PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\n{}\nLogLevel INFO\n",
            self.port,
            lines.join("\n")
        );
        std::fs::write(self.path("config"), text).expect("a configuration");
    }

    fn launch(&mut self, program: &Path) {
        let script = r#"dir=$1; shift
"$@" >"$dir/log" 2>&1 </dev/null &
echo $! >"$dir/pid"
read -r _
kill $!
wait"#;
        let child = Command::new("bash")
            .args(["-c", script, "sshd"])
            .arg(self.dir.path())
            .arg(program)
            .args(["-D", "-e", "-f"])
            .arg(self.path("config"))
            .env("IN_THE_ENVIRONMENT", "of the server")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.guard = Some(child.expect("bash starts"));
    }

    fn answers(&self) -> bool {
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            if self.log().contains("Address already in use") {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    /// A file of the server's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What the server said so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// `user@host:port`.
    pub(crate) fn destination(&self) -> String {
        format!("{}@127.0.0.1:{}", self.user, self.port)
    }

    /// The flags of a gate that may log in here by `how`, `--ssh` or `--ssh-exec`.
    pub(crate) fn flags(&self, how: &str) -> Vec<String> {
        let text = |name: &str| self.path(name).display().to_string();
        [
            how,
            &self.destination(),
            "--ssh-key",
            &text("user"),
            "--ssh-known-hosts",
            &text("known_hosts"),
        ]
        .map(str::to_owned)
        .into()
    }

    /// Cuts every connection: the processes that serve them are killed.
    pub(crate) fn cut(&self) {
        let pid = std::fs::read_to_string(self.path("pid")).expect("a process");
        let pid: u32 = pid.trim().parse().expect("a number");
        let served: Vec<u32> = children(pid);
        assert!(!served.is_empty(), "nobody is connected: {}", self.log());
        for pid in served
            .iter()
            .flat_map(|pid| children(*pid))
            .filter(|pid| name(*pid) == "sshd")
        {
            signal(pid, "KILL");
        }
        for pid in served.into_iter().filter(|pid| is_running(*pid)) {
            signal(pid, "KILL");
        }
    }

    /// Stops the server and what it serves.
    pub(crate) fn stop(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            drop(guard.stdin.take());
            guard.wait().expect("the guard ends");
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

fn name(pid: u32) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    text.trim().to_owned()
}

fn children(parent: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap_or_else(|error| panic!("/proc: {error}"));
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after = stat
            .rsplit_once(") ")
            .map(|(_, rest)| rest.to_owned())
            .unwrap_or_default();
        after
            .split(' ')
            .nth(1)
            .is_some_and(|ppid| ppid == parent.to_string())
    })
    .collect()
}

//! Throw-away PostgreSQL servers for the tests. A server lives in a directory of its own and stops
//! when its [`Cluster`] is dropped, and also when the test process dies: a small shell waits for
//! the end of its stdin, which only that process holds open.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "test support starts servers, and stops the test when it cannot"
)]

mod sample;

use super::{newest_pg_bin_dir, pg_bin_dir};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How clients on 127.0.0.1 prove who they are. The socket always trusts, unless `peer` is set.
#[derive(Clone, Debug)]
pub(crate) enum Auth {
    Trust,
    /// The superuser's password.
    Scram(String),
}

/// What to start.
#[derive(Clone, Debug)]
pub(crate) struct ClusterOptions {
    /// Major version; none for the newest of Debian's packages.
    pub(crate) major: Option<u32>,
    pub(crate) auth: Auth,
    /// Peer authentication on the socket: only the operating system user `postgres` gets in.
    pub(crate) peer: bool,
    pub(crate) encoding: &'static str,
    pub(crate) checksums: bool,
    /// Further lines of postgresql.conf, such as `max_locks_per_transaction=10`.
    pub(crate) settings: Vec<String>,
    /// Name of the bootstrap superuser.
    pub(crate) superuser: &'static str,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            major: None,
            auth: Auth::Trust,
            peer: false,
            encoding: "UTF8",
            checksums: false,
            settings: Vec::new(),
            superuser: "postgres",
        }
    }
}

/// A running server.
pub(crate) struct Cluster {
    pub(crate) bin_dir: PathBuf,
    /// Where the socket is.
    pub(crate) socket_dir: PathBuf,
    pub(crate) data_dir: PathBuf,
    pub(crate) port: u16,
    pub(crate) superuser: &'static str,
    auth: Auth,
    peer: bool,
    guard: Option<Child>,
    _dir: TempDir,
}

impl Cluster {
    /// The programs that [`ClusterOptions::major`] names, when they are installed.
    pub(crate) fn installed(major: Option<u32>) -> Option<PathBuf> {
        match major {
            Some(major) => pg_bin_dir(major),
            None => newest_pg_bin_dir(),
        }
    }

    /// Starts a server and waits until it answers.
    pub(crate) fn start(options: ClusterOptions) -> Cluster {
        let bin_dir =
            Self::installed(options.major).expect("call installed() through need() first");
        // Short, because a socket's path may have 107 bytes.
        let dir = tempfile::Builder::new()
            .prefix("pgt-")
            .tempdir_in("/tmp")
            .expect("a temporary directory");
        let mut cluster = Cluster {
            data_dir: dir.path().join("data"),
            socket_dir: dir.path().to_owned(),
            bin_dir,
            port: 0,
            superuser: options.superuser,
            auth: options.auth.clone(),
            peer: options.peer,
            guard: None,
            _dir: dir,
        };
        cluster.init(&options);
        for attempt in 1.. {
            cluster.port = free_port();
            cluster.guard = Some(cluster.launch());
            match cluster.wait_until_ready() {
                Ok(()) => break,
                // Somebody else took the port meanwhile.
                Err(log) if attempt < 4 && log.contains("Address already in use") => cluster.stop(),
                Err(log) => panic!("the server does not start:\n{log}"),
            }
        }
        cluster
    }

    fn init(&self, options: &ClusterOptions) {
        give_to_server_user(&self.socket_dir);
        let mut initdb = as_server_user(&self.bin_dir.join("initdb"));
        initdb.arg("-D").arg(&self.data_dir).args([
            "-U",
            options.superuser,
            "-A",
            "trust",
            "--no-sync",
            "--no-instructions",
            "--no-locale",
            "-E",
            options.encoding,
        ]);
        if options.checksums {
            initdb.arg("-k");
        }
        run(&mut initdb);
        let method = match &options.auth {
            Auth::Trust => "trust",
            Auth::Scram(_) => "scram-sha-256",
        };
        let local = if options.peer { "peer" } else { "trust" };
        let hba = format!(
            "local all all {local}\nhost all all 0.0.0.0/0 {method}\nhost all all ::/0 {method}\n"
        );
        std::fs::write(self.data_dir.join("pg_hba.conf"), hba).expect("pg_hba.conf");
        let settings = [
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
            "shared_buffers=16MB",
            "max_wal_size=128MB",
            "autovacuum=off",
            "listen_addresses='127.0.0.1'",
            "password_encryption=scram-sha-256",
            "log_destination=stderr",
        ];
        let mut conf = std::fs::OpenOptions::new()
            .append(true)
            .open(self.data_dir.join("postgresql.conf"))
            .expect("postgresql.conf");
        for line in settings
            .iter()
            .map(|s| (*s).to_owned())
            .chain(options.settings.clone())
        {
            writeln!(conf, "{line}").expect("postgresql.conf");
        }
        if let Auth::Scram(password) = &options.auth {
            let sql = format!(
                "alter role \"{}\" password '{}';\n",
                options.superuser,
                password.replace('\'', "''")
            );
            let mut single = as_server_user(&self.bin_dir.join("postgres"));
            single
                .args(["--single", "-j", "-D"])
                .arg(&self.data_dir)
                .arg("postgres");
            let mut child = single
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("postgres --single");
            let mut stdin = child.stdin.take().expect("stdin");
            stdin
                .write_all(sql.as_bytes())
                .expect("the password is set");
            drop(stdin);
            assert!(child.wait().expect("postgres --single").success());
        }
    }

    /// A shell that starts the server and stops it at the end of stdin.
    fn launch(&self) -> Child {
        let script = r#"dir=$1; shift
"$@" >"$dir/log" 2>&1 </dev/null &
read -r _
kill -QUIT "$(head -n 1 "$dir/data/postmaster.pid" 2>/dev/null)" 2>/dev/null
kill -QUIT $! 2>/dev/null
wait
rm -rf "$dir""#;
        let mut server = as_server_user(&self.bin_dir.join("postgres"));
        server
            .arg("-D")
            .arg(&self.data_dir)
            .arg("-k")
            .arg(&self.socket_dir)
            .args(["-p", &self.port.to_string()]);
        Command::new("bash")
            .args(["-c", script, "cluster"])
            .arg(&self.socket_dir)
            .arg(server.get_program())
            .args(server.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("bash starts")
    }

    fn wait_until_ready(&self) -> Result<(), String> {
        let until = Instant::now() + Duration::from_secs(90);
        loop {
            let ready = Command::new(self.bin_dir.join("pg_isready"))
                .arg("-q")
                .arg("-h")
                .arg(&self.socket_dir)
                .args(["-p", &self.port.to_string(), "-U", self.superuser])
                .status()
                .expect("pg_isready");
            if ready.success() {
                return Ok(());
            }
            let log = std::fs::read_to_string(self.socket_dir.join("log")).unwrap_or_default();
            // Our own question may come too early.
            let failed =
                |line: &str| line.contains("FATAL:") && !line.contains("the database system is");
            if log.lines().any(failed) || Instant::now() > until {
                return Err(log);
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Stops the server at once; [`Cluster::restart`] starts it again on the same port.
    pub(crate) fn stop(&mut self) {
        let Some(mut guard) = self.guard.take() else {
            return;
        };
        // The directory stays: the shell may remove it only when we are not there to do it.
        let pid = self.pid();
        if let Some(pid) = pid {
            signal(pid, "QUIT");
        }
        let until = Instant::now() + Duration::from_secs(20);
        while pid.is_some_and(is_running) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        guard.kill().expect("the guard is ours");
        guard.wait().expect("the guard ends");
    }

    /// Starts a stopped server again.
    pub(crate) fn restart(&mut self) {
        assert!(self.guard.is_none(), "stop it first");
        // What the server said before it was stopped is no answer to whether it starts.
        let log = self.socket_dir.join("log");
        if log.exists() {
            std::fs::remove_file(log).expect("the log is ours");
        }
        self.guard = Some(self.launch());
        self.wait_until_ready().expect("the server starts again");
    }

    /// The postmaster's process id.
    pub(crate) fn pid(&self) -> Option<u32> {
        let file = std::fs::read_to_string(self.data_dir.join("postmaster.pid")).ok()?;
        file.lines().next()?.trim().parse().ok()
    }

    /// The address over TCP, with the password in it when there is one.
    pub(crate) fn url(&self) -> String {
        self.url_for(self.superuser, "postgres")
    }

    /// The address for another role (without password unless it is the superuser) and database.
    pub(crate) fn url_for(&self, role: &str, database: &str) -> String {
        let encode = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
        };
        let password = match &self.auth {
            Auth::Scram(password) if role == self.superuser => format!(":{}", encode(password)),
            Auth::Scram(_) | Auth::Trust => String::new(),
        };
        format!(
            "postgres://{}{password}@127.0.0.1:{}/{}",
            encode(role),
            self.port,
            encode(database)
        )
    }

    /// The address of the socket.
    pub(crate) fn socket_url(&self) -> String {
        let dir = self
            .socket_dir
            .to_str()
            .expect("a plain path")
            .replace('/', "%2F");
        format!("postgres://{}@{dir}:{}/postgres", self.superuser, self.port)
    }

    /// Runs SQL in the database `postgres`; stops the test on any error. Returns what it printed.
    pub(crate) fn psql(&self, sql: &str) -> String {
        self.psql_in("postgres", sql)
    }

    /// Runs SQL in a database as the superuser, through the socket.
    pub(crate) fn psql_in(&self, database: &str, sql: &str) -> String {
        let mut child = self
            .psql_command(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("psql starts");
        let mut stdin = child.stdin.take().expect("stdin");
        let text = sql.as_bytes().to_vec();
        let writer = std::thread::spawn(move || stdin.write_all(&text));
        let output = child.wait_with_output().expect("psql ends");
        // psql stops reading at the first error, which is reported below.
        drop(writer.join().expect("the writer ends"));
        assert!(
            output.status.success(),
            "psql: {}\nof: {sql:.500}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// psql as the superuser, through the socket, reading SQL from stdin.
    pub(crate) fn psql_command(&self, database: &str) -> Command {
        let psql = self.bin_dir.join("psql");
        let mut command = if self.peer {
            as_server_user(&psql)
        } else {
            Command::new(psql)
        };
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with("PG") {
                command.env_remove(key);
            }
        }
        let database = database.replace('\\', "\\\\").replace('\'', "\\'");
        command
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                self.superuser,
                "-h",
            ])
            .arg(&self.socket_dir)
            .args([
                "-p",
                &self.port.to_string(),
                "-d",
                &format!("dbname='{database}'"),
            ]);
        command
    }

    /// A session that keeps what `sql` locked until it is dropped. `sql` runs in a transaction.
    pub(crate) fn hold(&self, database: &str, sql: &str) -> Session {
        let mut child = self
            .psql_command(database)
            .env("PGAPPNAME", "holder")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("psql starts");
        let mut stdin = child.stdin.take().expect("stdin");
        writeln!(stdin, "begin;\n{sql};\n\\echo held").expect("psql reads");
        stdin.flush().expect("psql reads");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout");
        let mut stdout = std::io::BufReader::new(stdout);
        while line.trim() != "held" {
            line.clear();
            let read = std::io::BufRead::read_line(&mut stdout, &mut line).expect("psql writes");
            assert!(read > 0, "psql ended: {sql}");
        }
        Session {
            child,
            _stdin: stdin,
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A session in the middle of a transaction.
pub(crate) struct Session {
    child: Child,
    _stdin: std::process::ChildStdin,
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have been terminated by the server.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Writes an executable file.
pub(crate) fn write_program(path: &Path, text: &str) {
    std::fs::write(path, text).expect("the program is written");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("mode 0755");
}

/// One server of default settings for the whole test binary, empty but for what tests create under
/// names of their own. It ends with the process.
pub(crate) fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(|| Cluster::start(ClusterOptions::default()))
}

/// The user that PostgreSQL runs as: itself it refuses to run as root.
pub(crate) fn server_user() -> Option<&'static str> {
    static USER: OnceLock<Option<&'static str>> = OnceLock::new();
    *USER.get_or_init(|| {
        if !is_root() {
            return None;
        }
        let exists = |name: &str| {
            Command::new("id")
                .args(["-u", name])
                .output()
                .expect("id")
                .status
                .success()
        };
        Some(if exists("postgres") {
            "postgres"
        } else {
            "nobody"
        })
    })
}

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn as_server_user(program: &Path) -> Command {
    let mut command = match server_user() {
        None => Command::new(program),
        Some(user) => {
            let mut command = Command::new("setpriv");
            command
                .args([&format!("--reuid={user}"), "--clear-groups"])
                .arg(format!("--regid={}", group_of(user)))
                .arg(program);
            command
        }
    };
    command.current_dir("/");
    command
}

fn group_of(user: &str) -> String {
    let output = Command::new("id").args(["-g", user]).output().expect("id");
    String::from_utf8(output.stdout)
        .expect("a number")
        .trim()
        .to_owned()
}

fn give_to_server_user(dir: &Path) {
    // Everybody may reach the socket; the data directory below stays private.
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).expect("mode 0755");
    if let Some(user) = server_user() {
        run(Command::new("chown").arg(user).arg(dir));
    }
}

/// Sends a signal by its name.
pub(crate) fn signal(pid: u32, name: &str) {
    // An exit status other than 0 means that it ended by itself.
    Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .stderr(Stdio::null())
        .status()
        .expect("kill starts");
}

/// Whether a process exists and is no zombie.
pub(crate) fn is_running(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
    })
}

fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    socket.local_addr().expect("its number").port()
}

fn run(command: &mut Command) {
    let output = command.output().expect("the program starts");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

//! A SeaweedFS server on loopback: an S3 store to back up into. Random ports and keys; the
//! identity may use one bucket and nothing else, as a real one should.

use crate::cluster::random_word;
use crate::proc::{self, Server};
use crate::tools;
use anyhow::{Context, Result, bail};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A running S3 server with one bucket.
pub(crate) struct S3 {
    server: Server,
    /// The bucket that exists.
    pub(crate) bucket: String,
    endpoint_port: u16,
    access_key: String,
    secret_key: String,
    weed: PathBuf,
    filer_port: u16,
    dir: PathBuf,
    sockets: [PathBuf; 2],
}

impl S3 {
    /// Starts a server whose files live in `dir`.
    pub(crate) fn start(dir: &Path, bucket: &str) -> Result<Self> {
        let weed = tools::need("weed")?;
        let data = dir.join("data");
        fs::create_dir_all(&data)
            .with_context(|| format!("could not create {}", data.display()))?;
        let (access_key, secret_key) = (random_word()?, random_word()?);
        let config = dir.join("identities.json");
        fs::write(&config, identities(bucket, &access_key, &secret_key))?;
        // Each HTTP port has a gRPC port 10,000 above it.
        let [master, volume, filer, s3] = [port_pair()?, port_pair()?, port_pair()?, port_pair()?];
        // SeaweedFS leaves its sockets behind; socket paths must be short.
        let sockets = ["filer", "s3"].map(|part| {
            std::env::temp_dir().join(format!("ba-{}-{part}.sock", std::process::id()))
        });
        let flags = [
            "server".to_owned(),
            format!("-dir={}", data.display()),
            "-ip=127.0.0.1".to_owned(),
            "-ip.bind=127.0.0.1".to_owned(),
            format!("-master.port={master}"),
            "-master.volumeSizeLimitMB=64".to_owned(),
            "-master.telemetry=false".to_owned(),
            format!("-volume.port={volume}"),
            "-volume.max=64".to_owned(),
            "-filer".to_owned(),
            format!("-filer.port={filer}"),
            "-s3".to_owned(),
            format!("-s3.port={s3}"),
            format!("-filer.localSocket={}", sockets[0].display()),
            format!("-s3.localSocket={}", sockets[1].display()),
            "-s3.autoCreateBucket=false".to_owned(),
            "-s3.port.iceberg=0".to_owned(),
            "-s3.port.lance=0".to_owned(),
            format!("-s3.config={}", config.display()),
        ];
        let argv: Vec<OsString> = std::iter::once(weed.clone().into_os_string())
            .chain(flags.iter().map(OsString::from))
            .collect();
        let argv: Vec<&OsStr> = argv.iter().map(OsString::as_os_str).collect();
        let log = dir.join("weed.log");
        let stderr = File::create(&log)?;
        // Nothing in it is worth an orderly end, which takes seconds.
        let server = Server::start("KILL", &argv, |command| {
            command.stderr(stderr).current_dir(dir);
        })?;
        let mut this = Self {
            server,
            bucket: bucket.to_owned(),
            endpoint_port: s3,
            access_key,
            secret_key,
            weed,
            filer_port: filer,
            dir: dir.to_path_buf(),
            sockets,
        };
        this.make_bucket(master).with_context(|| {
            let log = fs::read_to_string(&log).unwrap_or_default();
            format!(
                "could not start SeaweedFS; its log ends: {}",
                proc::tail(&log)
            )
        })?;
        Ok(this)
    }

    /// Buckets are made by the server's own shell: the identity of the demo may not.
    fn make_bucket(&mut self, master: u16) -> Result<()> {
        let port = self.endpoint_port;
        let filer = self.filer_port;
        let listens = || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
                && TcpStream::connect(("127.0.0.1", filer)).is_ok()
        };
        self.server
            .wait_until("SeaweedFS", Duration::from_secs(60), listens)?;
        let script = self.dir.join("make-bucket");
        fs::write(&script, format!("s3.bucket.create -name {}\n", self.bucket))?;
        let (weed, dir, bucket) = (self.weed.clone(), self.dir.clone(), self.bucket.clone());
        let made = || {
            let shell = || -> Result<String> {
                let mut shell = proc::command(&weed);
                shell
                    .arg("shell")
                    .arg(format!("-master=127.0.0.1:{master}"))
                    .arg(format!("-filer=127.0.0.1:{filer}"))
                    .current_dir(&dir);
                shell.stdin(File::open(&script)?);
                let output = shell.output().context("could not start weed shell")?;
                Ok(String::from_utf8_lossy(&output.stdout).into_owned())
            };
            shell().is_ok_and(|said| {
                said.contains(&format!("created bucket {bucket}")) || said.contains("already exist")
            })
        };
        self.server
            .wait_until("the bucket", Duration::from_secs(60), made)?;
        if !self.server.is_running()? {
            bail!("SeaweedFS ended");
        }
        Ok(())
    }

    /// `http://127.0.0.1:<port>`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.endpoint_port)
    }

    /// The environment that a client needs.
    pub(crate) fn env(&self) -> [(&'static str, String); 3] {
        [
            ("AWS_ACCESS_KEY_ID", self.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret_key.clone()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        for socket in self.sockets.iter().filter(|socket| socket.exists()) {
            if let Err(error) = fs::remove_file(socket) {
                eprintln!("could not remove {}: {error}", socket.display());
            }
        }
    }
}

/// SeaweedFS's configuration: one identity, limited to one bucket.
fn identities(bucket: &str, access_key: &str, secret_key: &str) -> String {
    format!(
        r#"{{"identities": [{{"name": "gate",
  "credentials": [{{"accessKey": "{access_key}", "secretKey": "{secret_key}"}}],
  "actions": ["Read:{bucket}", "Write:{bucket}", "List:{bucket}", "Tagging:{bucket}"]}}]}}
"#
    )
}

/// A free port whose gRPC companion is free too.
fn port_pair() -> Result<u16> {
    for _ in 0..200 {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return Ok(port);
        }
    }
    bail!("could not find free ports on 127.0.0.1")
}

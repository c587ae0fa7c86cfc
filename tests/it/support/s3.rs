//! A real S3 server: one SeaweedFS on loopback for the whole test binary, ended with it. Looking at
//! what the store holds goes through an administrator's client of its own, past the code under test.
#![expect(
    clippy::disallowed_methods,
    reason = "the tests start the server that they talk to"
)]
#![expect(
    clippy::expect_used,
    reason = "a helper that cannot go on ends its test"
)]

use super::{need, tool};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use backup_action::secret::Secret;
use backup_action::store::{S3Config, S3Credentials, Timeouts};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The key of the user under test: reads, writes, lists; cannot make buckets.
pub(crate) const ACCESS_KEY: &str = "gate-access-key";
pub(crate) const SECRET_KEY: &str = "gate-secret-key-canary";
/// A user that may only read.
pub(crate) const READER_ACCESS_KEY: &str = "reader-access-key";
pub(crate) const READER_SECRET_KEY: &str = "reader-secret-key-canary";
const ADMIN_KEY: &str = "admin";
/// The bucket that most tests share, each under a prefix of its own.
pub(crate) const BUCKET: &str = "backups";

/// A running server.
pub(crate) struct SeaweedFs {
    address: SocketAddr,
    // Holds the pipe whose end tells the guard to kill the server.
    _guard: Child,
    _directory: tempfile::TempDir,
}

impl SeaweedFs {
    /// The server of this test binary; none (and a note) when SeaweedFS is not installed.
    pub(crate) fn start(test: &str) -> Option<&'static SeaweedFs> {
        static SERVER: OnceLock<SeaweedFs> = OnceLock::new();
        let weed = need(test, "weed (SeaweedFS)", tool("weed"))?;
        Some(SERVER.get_or_init(|| {
            for attempt in 0.. {
                match launch(&weed) {
                    Ok(server) => return server,
                    // Another process took one of the ports meanwhile.
                    Err(log) => assert!(attempt < 3, "SeaweedFS did not start:\n{log}"),
                }
            }
            unreachable!()
        }))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:port`
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A prefix of the shared bucket that no other test uses.
    pub(crate) fn prefix(&self, test: &str) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!("{test}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The store under a prefix of the shared bucket, with deadlines for impatient tests.
    pub(crate) fn config(&self, prefix: &str) -> S3Config {
        config(&self.endpoint(), BUCKET, prefix)
    }

    /// The keys below `prefix`, as the server tells its administrator.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        let prefix = format!("{prefix}/");
        self.ask(|client| async move {
            let listing = client.list_objects_v2().bucket(BUCKET).prefix(prefix);
            let listing = listing.send().await.expect("the server lists");
            let keys = listing.contents().iter().filter_map(|o| o.key());
            keys.map(str::to_owned).collect()
        })
    }

    /// The unfinished multipart uploads below `prefix`.
    pub(crate) fn open_uploads(&self, prefix: &str) -> Vec<String> {
        let prefix = format!("{prefix}/");
        self.ask(|client| async move {
            let uploads = client.list_multipart_uploads().bucket(BUCKET);
            let uploads = uploads.send().await.expect("the server lists uploads");
            let keys = uploads.uploads().iter().filter_map(|u| u.key());
            let keys = keys.filter(|key| key.starts_with(&prefix));
            keys.map(str::to_owned).collect()
        })
    }

    /// Whether a bucket exists.
    pub(crate) fn has_bucket(&self, bucket: &str) -> bool {
        let bucket = bucket.to_owned();
        self.ask(|client| async move { client.head_bucket().bucket(bucket).send().await.is_ok() })
    }

    /// Runs `work` with an administrator's client, on a runtime of its own.
    pub(crate) fn ask<T, F>(&self, work: impl FnOnce(Client) -> F + Send) -> T
    where
        T: Send,
        F: Future<Output = T>,
    {
        ask(&self.endpoint(), work)
    }
}

/// A configuration for `endpoint`, with deadlines for impatient tests.
pub(crate) fn config(endpoint: &str, bucket: &str, prefix: &str) -> S3Config {
    let config = S3Config::parse(&format!("s3://{bucket}/{prefix}")).expect("the URL is good");
    let config = config.with_endpoint(endpoint).expect("the URL is good");
    S3Config {
        path_style: true,
        region: Some("us-east-1".to_owned()),
        timeouts: Timeouts {
            attempt: Duration::from_secs(10),
            complete: Duration::from_secs(10),
            backoff: Duration::from_millis(5),
            max_backoff: Duration::from_millis(50),
            ..Timeouts::default()
        },
        credentials: Some(S3Credentials {
            access_key_id: ACCESS_KEY.to_owned(),
            secret_access_key: Secret::new(SECRET_KEY),
            session_token: None,
        }),
        ..config
    }
}

pub(crate) fn ask<T, F>(endpoint: &str, work: impl FnOnce(Client) -> F + Send) -> T
where
    T: Send,
    F: Future<Output = T>,
{
    let endpoint = endpoint.to_owned();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(http)
            .endpoint_url(endpoint)
            .force_path_style(true)
            .region(Region::new("us-east-1"))
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .credentials_provider(Credentials::new(ADMIN_KEY, ADMIN_KEY, None, None, "test"))
            .build();
        runtime.block_on(work(Client::from_conf(config)))
    };
    std::thread::scope(|scope| {
        scope
            .spawn(run)
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn launch(weed: &Path) -> Result<SeaweedFs, String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path();
    std::fs::create_dir(path.join("data")).expect("a data directory");
    std::fs::write(path.join("s3.json"), identities()).expect("the identities");
    let [
        master,
        master_grpc,
        volume,
        volume_grpc,
        filer,
        filer_grpc,
        s3,
        s3_grpc,
    ] = free_ports();
    // The shell holds the server: it ends it when this process, and so the pipe, is gone. It
    // ignores the signals of the terminal, which would leave the server behind.
    let guard = r#"trap '' INT TERM HUP; "$@" >"$LOG" 2>&1 & pid=$!; cat >/dev/null; kill -9 $pid; rm -rf "$DIR""#;
    let log = path.join("log");
    let guard = Command::new("sh")
        .args(["-c", guard, "guard"])
        .arg(weed)
        .args([
            "server",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-filer",
            "-s3",
        ])
        .arg(format!("-dir={}", path.join("data").display()))
        .arg(format!("-s3.config={}", path.join("s3.json").display()))
        .arg(format!(
            "-filer.localSocket={}",
            path.join("filer.sock").display()
        ))
        .arg(format!(
            "-s3.localSocket={}",
            path.join("s3.sock").display()
        ))
        .args([
            "-master.telemetry=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ])
        .args(["-master.volumeSizeLimitMB=128", "-volume.max=1000"])
        .arg(format!("-master.port={master}"))
        .arg(format!("-master.port.grpc={master_grpc}"))
        .arg(format!("-volume.port={volume}"))
        .arg(format!("-volume.port.grpc={volume_grpc}"))
        .arg(format!("-filer.port={filer}"))
        .arg(format!("-filer.port.grpc={filer_grpc}"))
        .arg(format!("-s3.port={s3}"))
        .arg(format!("-s3.port.grpc={s3_grpc}"))
        .env("LOG", &log)
        .env("DIR", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh starts");
    let server = SeaweedFs {
        address: SocketAddr::from(([127, 0, 0, 1], s3)),
        _guard: guard,
        _directory: directory,
    };
    let deadline = Instant::now() + Duration::from_secs(90);
    while !is_ready(&server) {
        if Instant::now() > deadline {
            return Err(std::fs::read_to_string(&log).unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(server)
}

/// The port listens early; it is ready when it keeps an object.
fn is_ready(server: &SeaweedFs) -> bool {
    if std::net::TcpStream::connect(server.address).is_err() {
        return false;
    }
    server.ask(|client| async move {
        if client.head_bucket().bucket(BUCKET).send().await.is_err()
            && client.create_bucket().bucket(BUCKET).send().await.is_err()
        {
            return false;
        }
        let body = aws_sdk_s3::primitives::ByteStream::from_static(b"ready");
        let put = client.put_object().bucket(BUCKET).key("ready").body(body);
        put.send().await.is_ok()
    })
}

fn identities() -> String {
    serde_json::json!({"identities": [
        {"name": "admin", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
         "credentials": [{"accessKey": ADMIN_KEY, "secretKey": ADMIN_KEY}]},
        {"name": "gate", "actions": ["Read", "Write", "List"],
         "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]},
        {"name": "reader", "actions": ["Read", "List"],
         "credentials": [{"accessKey": READER_ACCESS_KEY, "secretKey": READER_SECRET_KEY}]},
    ]})
    .to_string()
}

/// Ports that nobody listened on a moment ago.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|l| l.local_addr().expect("a bound port").port())
}

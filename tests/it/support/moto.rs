//! An S3 server with versions, object lock, tags and lifecycle rules: moto on loopback, one for the
//! whole test binary. It checks no rights and no checksums; what matters there is tested against
//! SeaweedFS.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "the tests start the server that they talk to"
)]

use super::s3::ask;
use super::{need, tool};
use aws_sdk_s3::Client;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A running server.
pub(crate) struct Moto {
    address: SocketAddr,
    // Holds the pipe whose end tells the guard to kill the server.
    _guard: Child,
}

impl Moto {
    /// The server of this test binary; none (and a note) when moto is not installed.
    pub(crate) fn start(test: &str) -> Option<&'static Moto> {
        static SERVER: OnceLock<Moto> = OnceLock::new();
        let program = need(test, "moto_server", tool("moto_server"))?;
        Some(SERVER.get_or_init(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = listener.local_addr().expect("a bound port");
            drop(listener);
            let guard = r#"trap '' INT TERM HUP; "$@" >/dev/null 2>&1 & pid=$!; cat >/dev/null; kill -9 $pid"#;
            let guard = Command::new("sh")
                .args(["-c", guard, "guard"])
                .arg(&program)
                .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("sh starts");
            let until = Instant::now() + Duration::from_secs(90);
            while TcpStream::connect(address).is_err() {
                assert!(Instant::now() < until, "moto does not start");
                std::thread::sleep(Duration::from_millis(100));
            }
            Moto {
                address,
                _guard: guard,
            }
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

    /// Runs `work` with an administrator's client.
    pub(crate) fn ask<T, F>(&self, work: impl FnOnce(Client) -> F + Send) -> T
    where
        T: Send,
        F: Future<Output = T>,
    {
        ask(&self.endpoint(), work)
    }
}

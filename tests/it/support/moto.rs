//! An S3 server with versions, object lock, tags and lifecycle rules: moto on loopback, one for the
//! whole test binary, which checks no rights and no checksums; what matters there is tested against
//! SeaweedFS, or a server of one's own that was told to check rights.
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
        Some(SERVER.get_or_init(|| Moto::launch(&program)))
    }

    /// A server of one's own, which can be made to check rights.
    pub(crate) fn own(test: &str) -> Option<Moto> {
        let program = need(test, "moto_server", tool("moto_server"))?;
        Some(Moto::launch(&program))
    }

    fn launch(program: &std::path::Path) -> Moto {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        drop(listener);
        let guard =
            r#"trap '' INT TERM HUP; "$@" >/dev/null 2>&1 & pid=$!; cat >/dev/null; kill -9 $pid"#;
        let guard = Command::new("sh")
            .args(["-c", guard, "guard"])
            .arg(program)
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
    }

    /// From now on signatures and policies count; or no longer.
    pub(crate) fn checks_rights(&self, checks: bool) {
        let count = if checks { "0" } else { "inf" };
        ureq::post(format!("{}/moto-api/reset-auth", self.endpoint()))
            .content_type("text/plain")
            .send(count)
            .expect("moto's own API");
    }

    /// An action of IAM, asked by nobody in particular; the answer is XML.
    pub(crate) fn iam(&self, form: &[(&str, &str)]) -> String {
        let scope = "Credential=any/20260101/us-east-1/iam/aws4_request";
        let mut answer = ureq::post(self.endpoint())
            .header(
                "Authorization",
                format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"),
            )
            .send_form(form.iter().copied())
            .expect("an answer of IAM");
        answer.body_mut().read_to_string().expect("XML")
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

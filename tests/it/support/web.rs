//! A web server that writes down what it hears and answers by a script: the stand-in for Slack, for
//! receivers of the webhook, and for monitors. Speaks HTTP/1.1, with TLS when it has a certificate;
//! one request a connection.
#![expect(
    clippy::expect_used,
    reason = "a helper that cannot go on ends its test"
)]

use super::http;
use super::mail::Certificates;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What is done to a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Status, further headers with `\r\n` after each, body.
    Says(u16, String, String),
    /// Says the path that it was asked, once percent-decoded, with this status.
    Repeats(u16),
    /// Nothing, for a minute.
    Silence,
    /// The end of the connection.
    Close,
    /// Bytes that are no HTTP.
    Garbage,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Answer {
        Answer::Says(status, String::new(), "ok".to_owned())
    }
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) method: String,
    pub(crate) target: String,
    /// By their names in small letters.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
    pub(crate) at: Instant,
}

/// The server; ends when it is dropped.
pub(crate) struct Web {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<State>,
}

struct State {
    ended: AtomicBool,
    heard: Mutex<Vec<Heard>>,
    answers: Mutex<Vec<Answer>>,
    tls: Option<Arc<ServerConfig>>,
}

impl Web {
    /// Answers by `answers`, the last again and again.
    pub(crate) fn start(answers: &[Answer]) -> Web {
        Web::listen(answers, None)
    }

    /// The same behind TLS, with the certificate `name`.
    pub(crate) fn with_tls(answers: &[Answer], certificates: &Certificates, name: &str) -> Web {
        let chain = CertificateDer::pem_file_iter(certificates.file(&format!("{name}.pem")))
            .expect("the certificate")
            .collect::<Result<Vec<_>, _>>()
            .expect("PEM");
        let key = PrivateKeyDer::from_pem_file(certificates.file(&format!("{name}.key")))
            .expect("the key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate with its key");
        Web::listen(answers, Some(Arc::new(config)))
    }

    /// An address where nobody listens.
    pub(crate) fn nobody() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        format!("http://{address}/nobody-is-here")
    }

    fn listen(answers: &[Answer], tls: Option<Arc<ServerConfig>>) -> Web {
        let (listener, address) = http::listener();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let state = Arc::new(State {
            ended: AtomicBool::new(false),
            heard: Mutex::default(),
            answers: Mutex::new(answers.to_vec()),
            tls,
        });
        let has_ended = |state: &State| state.ended.load(Ordering::Relaxed);
        http::accept(listener, Arc::clone(&state), has_ended, accept);
        Web {
            address,
            scheme,
            state,
        }
    }

    /// The address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", self.scheme, self.address.port())
    }

    /// What it heard so far.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.state.heard.lock().expect("no panic").clone()
    }

    /// What it heard since it was asked last.
    pub(crate) fn take(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.state.heard.lock().expect("no panic"))
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
        // So that it sees that it has ended.
        drop(TcpStream::connect(self.address));
    }
}

fn accept(state: &State, client: TcpStream) -> std::io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(30)))?;
    match &state.tls {
        None => serve(state, client),
        Some(config) => {
            let connection =
                ServerConnection::new(Arc::clone(config)).map_err(std::io::Error::other)?;
            serve(state, StreamOwned::new(connection, client))
        }
    }
}

fn serve(state: &State, mut client: impl Read + Write) -> std::io::Result<()> {
    let Some(request) = http::read_request(&mut client)? else {
        return Ok(());
    };
    let heard = Heard {
        method: request.method,
        target: request.target,
        headers: request.headers,
        body: String::from_utf8(request.body).expect("text"),
        at: Instant::now(),
    };
    let target = heard.target.clone();
    state.heard.lock().expect("no panic").push(heard);
    let answer = {
        let mut answers = state.answers.lock().expect("no panic");
        match answers.len() {
            0 => Answer::status(200),
            1 => answers[0].clone(),
            _ => answers.remove(0),
        }
    };
    match answer {
        Answer::Says(status, headers, body) => say(&mut client, status, &headers, &body),
        Answer::Repeats(status) => {
            let decoded = percent_encoding::percent_decode_str(&target).decode_utf8_lossy();
            say(
                &mut client,
                status,
                "",
                &format!("no {target} here ({decoded})"),
            )
        }
        Answer::Silence => {
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        }
        Answer::Close => Ok(()),
        Answer::Garbage => client.write_all(b"\x16\x03garbage\r\n\r\n"),
    }
}

fn say(client: &mut impl Write, status: u16, headers: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} Scripted\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}"
    );
    client.write_all(text.as_bytes())?;
    client.flush()
}

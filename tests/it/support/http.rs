//! What the scripted web servers of the tests share: the loop that accepts, and the reading of a
//! request. What is answered is theirs.
#![expect(
    clippy::expect_used,
    reason = "a helper that cannot go on ends its test"
)]

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// A listener on a free port of loopback.
pub(crate) fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound port");
    (listener, address)
}

/// Serves each connection in a thread of its own, until the state says that it has ended; whoever
/// says so connects once more, so that it is noticed.
pub(crate) fn accept<S: Send + Sync + 'static>(
    listener: TcpListener,
    state: Arc<S>,
    has_ended: fn(&S) -> bool,
    serve: fn(&S, TcpStream) -> std::io::Result<()>,
) {
    std::thread::spawn(move || {
        for client in listener.incoming() {
            if has_ended(&state) {
                return;
            }
            let state = Arc::clone(&state);
            if let Ok(client) = client {
                // A client that goes away in the middle is part of the game.
                std::thread::spawn(move || serve(&state, client).is_ok());
            }
        }
    });
}

/// A request.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    /// By their names in small letters.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// What begins a request: all before its body, and the bytes of that which came along.
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Its headers, a line each.
    pub(crate) lines: Vec<String>,
    body: Vec<u8>,
}

impl Head {
    /// Reads to the end of the headers; none when the client closed a connection that it did not need.
    pub(crate) fn read(client: &mut impl Read) -> std::io::Result<Option<Head>> {
        let mut bytes = Vec::new();
        let length = loop {
            if let Some(length) = head_length(&bytes) {
                break length;
            }
            let mut chunk = [0; 8192];
            match client.read(&mut chunk)? {
                0 => return Ok(None),
                n => bytes.extend_from_slice(&chunk[..n]),
            }
        };
        let body = bytes.split_off(length);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut lines = text.trim_end().split("\r\n");
        let mut first = lines.next().unwrap_or_default().split(' ');
        Ok(Some(Head {
            method: first.next().unwrap_or_default().to_owned(),
            target: first.next().unwrap_or_default().to_owned(),
            lines: lines.map(str::to_owned).collect(),
            body,
        }))
    }

    /// The body, which has `length` bytes.
    pub(crate) fn body(self, client: &mut impl Read, length: usize) -> std::io::Result<Vec<u8>> {
        let mut body = self.body;
        let already = body.len();
        body.resize(length.max(already), 0);
        client.read_exact(&mut body[already..])?;
        Ok(body)
    }
}

/// How long the head of a request or an answer is, with the empty line that ends it.
pub(crate) fn head_length(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// Reads one request; none when the client closed a connection that it did not need.
pub(crate) fn read_request(client: &mut impl Read) -> std::io::Result<Option<Request>> {
    let Some(head) = Head::read(client)? else {
        return Ok(None);
    };
    let headers: BTreeMap<String, String> = head
        .lines
        .iter()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.get("content-length");
    let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
    Ok(Some(Request {
        method: head.method.clone(),
        target: head.target.clone(),
        headers,
        body: head.body(client, length)?,
    }))
}

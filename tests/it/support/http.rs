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

/// Reads one request; none when the client closed a connection that it did not need.
pub(crate) fn read_request(client: &mut impl Read) -> std::io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let head_length = loop {
        if let Some(at) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
            break at + 4;
        }
        let mut chunk = [0; 8192];
        match client.read(&mut chunk)? {
            0 => return Ok(None),
            n => bytes.extend_from_slice(&chunk[..n]),
        }
    };
    let mut body = bytes.split_off(head_length);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut lines = text.trim_end().split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let method = first.next().unwrap_or_default().to_owned();
    let target = first.next().unwrap_or_default().to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.get("content-length");
    let length: usize = length.map_or(0, |length| length.parse().expect("a length"));
    let already = body.len();
    body.resize(length.max(already), 0);
    client.read_exact(&mut body[already..])?;
    Ok(Some(Request {
        method,
        target,
        headers,
        body,
    }))
}

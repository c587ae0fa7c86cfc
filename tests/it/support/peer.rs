//! A scripted peer in front of a real S3 server: forwards requests one by one, writes them down, and
//! breaks chosen ones. It knows enough HTTP/1.1 for that and no more; one request a connection.
//!
//! The client signs for the peer's host and port, and the server checks the signature against the
//! Host header that it gets: the head is forwarded as it came.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a helper that cannot go on ends its test"
)]

use super::http::{self, Head, head_length};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What is done to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Answered 500 InternalError; the server never sees it.
    Status500,
    /// Answered 503 SlowDown.
    SlowDown503,
    /// Answered 403 AccessDenied.
    Forbidden403,
    /// Answered 400 ExpiredToken.
    Expired400,
    /// Answered 404 NoSuchKey.
    NotFound404,
    /// The connection ends without an answer; the server never sees the request.
    ResetBefore,
    /// The server did what was asked; the answer is lost.
    ResetAfterApplied,
    /// The server did what was asked; the answer is turned into a 500.
    Status500AfterApplied,
    /// Silence for so long, then the end of the connection; the server never sees it.
    Stall(Duration),
    /// Status 200 with an `<Error>` document; the server never sees it.
    Ok200WithErrorBody,
    /// One byte is changed: of the request's body, or of the answer's where there is none.
    WrongDigest,
    /// The answer ends in the middle.
    TruncatedBody,
    /// Bytes that are no HTTP.
    Garbage,
    /// The answer has another `Date`.
    Date(&'static str),
    /// A word of the answer's body is another one.
    Word(&'static str, &'static str),
    /// The answer comes byte by byte with this pause.
    SlowDrip(Duration),
}

/// S3's name for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Action {
    HeadBucket,
    HeadObject,
    GetObject,
    PutObject,
    DeleteObject,
    ListObjects,
    CreateMultipartUpload,
    UploadPart,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListParts,
    ListMultipartUploads,
    Other,
}

/// One request that came by.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// From 0, in the order of arrival.
    pub(crate) index: usize,
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) action: Action,
    pub(crate) fault: Option<Fault>,
    /// The `Range` header, such as `bytes=0-99`.
    pub(crate) range: Option<String>,
    /// The access key that signed.
    pub(crate) access_key: Option<String>,
}

/// Which requests a fault is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// The request with this index.
    Index(usize),
    /// The first request of a kind.
    First(Action),
    /// Every request of a kind.
    Every(Action),
    /// The requests of a kind, from this one on (the first is 0).
    From(Action, usize),
    /// Every request of a kind whose target holds this text.
    Target(Action, &'static str),
    /// Every request.
    Always,
}

/// The peer; ends when it is dropped.
pub(crate) struct Peer {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    upstream: SocketAddr,
    ended: AtomicBool,
    script: Mutex<Script>,
}

#[derive(Default)]
struct Script {
    seen: Vec<Seen>,
    rules: Vec<(When, Fault)>,
}

impl Peer {
    /// Listens on a free port of loopback, in front of `upstream`.
    pub(crate) fn start(upstream: SocketAddr) -> Self {
        let (listener, address) = http::listener();
        let state = Arc::new(State {
            upstream,
            ended: AtomicBool::new(false),
            script: Mutex::default(),
        });
        let has_ended = |state: &State| state.ended.load(Ordering::Relaxed);
        http::accept(listener, Arc::clone(&state), has_ended, serve);
        Self { address, state }
    }

    /// `http://127.0.0.1:port`
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on breaks the requests that `when` names. The first rule that fits counts.
    pub(crate) fn inject(&self, when: When, fault: Fault) {
        self.script().rules.push((when, fault));
    }

    /// Breaks nothing any more. What was seen stays.
    pub(crate) fn heal(&self) {
        self.script().rules.clear();
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.script().seen.clone()
    }

    /// How many requests of a kind came by.
    pub(crate) fn count(&self, action: Action) -> usize {
        let seen = self.seen();
        seen.iter().filter(|seen| seen.action == action).count()
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.state.script.lock().expect("no test panicked in here")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
        // Wakes the accepting thread up; that it is gone already is as good.
        drop(TcpStream::connect(self.address));
    }
}

struct Request {
    method: String,
    target: String,
    range: Option<String>,
    access_key: Option<String>,
    /// Without `Expect` and `Connection`, neither of which is signed.
    head: Vec<u8>,
    body: Vec<u8>,
}

fn serve(state: &State, mut client: TcpStream) -> std::io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(120)))?;
    client.set_nodelay(true)?;
    let Some(request) = read_request(&mut client)? else {
        return Ok(());
    };
    let action = action(&request.method, &request.target);
    let fault = {
        let mut script = state.script.lock().expect("no test panicked in here");
        let index = script.seen.len();
        let first = !script.seen.iter().any(|seen| seen.action == action);
        let earlier = script.seen.iter().filter(|seen| seen.action == action);
        let earlier = earlier.count();
        let fits = |when: &When| match *when {
            When::From(wanted, first) => wanted == action && earlier >= first,
            When::Index(wanted) => wanted == index,
            When::First(wanted) => first && wanted == action,
            When::Every(wanted) => wanted == action,
            When::Target(wanted, part) => wanted == action && request.target.contains(part),
            When::Always => true,
        };
        let rule = script.rules.iter().find(|(when, _)| fits(when));
        let fault = rule.map(|(_, fault)| *fault);
        script.seen.push(Seen {
            index,
            method: request.method.clone(),
            target: request.target.clone(),
            action,
            fault,
            range: request.range.clone(),
            access_key: request.access_key.clone(),
        });
        fault
    };
    let forward = |request: &Request| exchange(state.upstream, request);
    match fault {
        None => client.write_all(&forward(&request)?)?,
        Some(Fault::Status500) => client.write_all(&error(500, "InternalError"))?,
        Some(Fault::SlowDown503) => client.write_all(&error(503, "SlowDown"))?,
        Some(Fault::Forbidden403) => client.write_all(&error(403, "AccessDenied"))?,
        Some(Fault::Expired400) => client.write_all(&error(400, "ExpiredToken"))?,
        Some(Fault::NotFound404) => client.write_all(&error(404, "NoSuchKey"))?,
        Some(Fault::Ok200WithErrorBody) => client.write_all(&error(200, "InternalError"))?,
        Some(Fault::Date(date)) => client.write_all(&dated(&forward(&request)?, date))?,
        Some(Fault::Word(from, to)) => {
            client.write_all(&reworded(&forward(&request)?, from, to))?
        }
        Some(Fault::ResetBefore) => {}
        Some(Fault::ResetAfterApplied) => drop(forward(&request)?),
        Some(Fault::Status500AfterApplied) => {
            drop(forward(&request)?);
            client.write_all(&error(500, "InternalError"))?;
        }
        Some(Fault::Stall(silence)) => {
            let until = Instant::now() + silence;
            while Instant::now() < until && !state.ended.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Some(Fault::WrongDigest) => {
            let mut request = request;
            if let Some(byte) = request.body.last_mut() {
                *byte ^= 1;
                client.write_all(&forward(&request)?)?;
            } else {
                let mut answer = forward(&request)?;
                if let Some(byte) = answer.last_mut() {
                    *byte ^= 1;
                }
                client.write_all(&answer)?;
            }
        }
        Some(Fault::TruncatedBody) => {
            let answer = forward(&request)?;
            let head = head_length(&answer).unwrap_or(0);
            let cut = match answer.len() - head {
                0 => head / 2,
                body => head + body / 2,
            };
            client.write_all(&answer[..cut])?;
        }
        Some(Fault::Garbage) => {
            client.write_all(b"\x16\x03\x01 220 smtp ready\r\n\0\xff\r\n\r\n")?
        }
        Some(Fault::SlowDrip(pause)) => {
            for byte in forward(&request)? {
                if state.ended.load(Ordering::Relaxed) {
                    break;
                }
                client.write_all(&[byte])?;
                std::thread::sleep(pause);
            }
        }
    }
    client.shutdown(Shutdown::Both)
}

/// Reads one request; none when the client closed a connection that it did not need.
fn read_request(client: &mut TcpStream) -> std::io::Result<Option<Request>> {
    let Some(read) = Head::read(client)? else {
        return Ok(None);
    };
    let (method, target) = (read.method.clone(), read.target.clone());
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    let mut length = 0;
    let (mut range, mut access_key) = (None, None);
    for line in &read.lines {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        match name.to_ascii_lowercase().as_str() {
            "connection" => continue,
            "expect" => {
                client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
                continue;
            }
            "authorization" => {
                let credential = value.split_once("Credential=").map(|(_, rest)| rest);
                access_key = credential.and_then(|rest| Some(rest.split_once('/')?.0.to_owned()));
            }
            "range" => range = Some(value.trim().to_owned()),
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "transfer-encoding" => panic!("the client sent a body of unknown length"),
            _ => {}
        }
        head.push_str(line);
        head.push_str("\r\n");
    }
    head.push_str("Connection: close\r\n\r\n");
    let body = read.body(client, length)?;
    Ok(Some(Request {
        method,
        target,
        range,
        access_key,
        head: head.into_bytes(),
        body,
    }))
}

/// The server's whole answer.
fn exchange(upstream: SocketAddr, request: &Request) -> std::io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(upstream)?;
    server.set_read_timeout(Some(Duration::from_secs(120)))?;
    server.write_all(&request.head)?;
    server.write_all(&request.body)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    Ok(answer)
}

/// The answer with another word in its body, and the length that goes with it.
fn reworded(answer: &[u8], from: &str, to: &str) -> Vec<u8> {
    let (head, body) = answer.split_at(head_length(answer).unwrap_or(0));
    let Ok(text) = std::str::from_utf8(body) else {
        return answer.to_vec();
    };
    if !text.contains(from) {
        return answer.to_vec();
    }
    let body = text.replace(from, to);
    let head = String::from_utf8_lossy(head).into_owned();
    let lines = head.trim_end().split("\r\n");
    let mut out: String = lines
        .filter(|line| !line.to_ascii_lowercase().starts_with("content-length:"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    out.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    out.into_bytes()
}

/// The answer with another `Date`.
fn dated(answer: &[u8], date: &str) -> Vec<u8> {
    let head = head_length(answer).unwrap_or(0);
    let lines = String::from_utf8_lossy(&answer[..head]).into_owned();
    let lines = lines.trim_end().split("\r\n");
    let mut out: String = lines
        .filter(|line| !line.to_ascii_lowercase().starts_with("date:"))
        .map(|line| format!("{line}\r\n"))
        .collect();
    out.push_str(&format!("Date: {date}\r\n\r\n"));
    let mut out = out.into_bytes();
    out.extend_from_slice(&answer[head..]);
    out
}

fn error(status: u16, code: &str) -> Vec<u8> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>by the \
         peer</Message><RequestId>0</RequestId></Error>"
    );
    format!(
        "HTTP/1.1 {status} Scripted\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Path-style addresses only: `/bucket/key?query`.
fn action(method: &str, target: &str) -> Action {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let has_key = path
        .trim_start_matches('/')
        .split_once('/')
        .is_some_and(|(_, key)| !key.is_empty());
    let asks = |name: &str| {
        query
            .split('&')
            .any(|part| part.split('=').next() == Some(name))
    };
    match (method, has_key) {
        ("HEAD", false) => Action::HeadBucket,
        ("HEAD", true) => Action::HeadObject,
        ("GET", false) if asks("uploads") => Action::ListMultipartUploads,
        ("GET", false) if asks("list-type") => Action::ListObjects,
        ("GET", true) if asks("uploadId") => Action::ListParts,
        ("GET", true) => Action::GetObject,
        ("PUT", true) if asks("partNumber") => Action::UploadPart,
        ("PUT", true) => Action::PutObject,
        ("POST", true) if asks("uploads") => Action::CreateMultipartUpload,
        ("POST", true) if asks("uploadId") => Action::CompleteMultipartUpload,
        ("DELETE", true) if asks("uploadId") => Action::AbortMultipartUpload,
        ("DELETE", true) => Action::DeleteObject,
        _ => Action::Other,
    }
}

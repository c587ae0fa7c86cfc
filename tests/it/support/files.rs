//! A web server that hands out one file as a script says, well or badly: the stand-in for the place
//! where released programs lie, and for a proxy on the way to it. One request a connection.
#![expect(
    clippy::expect_used,
    reason = "a helper that cannot go on ends its test"
)]

use super::http;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is done to a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The file.
    File(String),
    /// The file but for its last byte, as if the connection broke.
    Truncated(String),
    /// The file, byte by byte.
    Slowly(String),
    /// A status without a file.
    Status(u16),
    /// Another address to ask.
    Elsewhere(String),
    /// Nothing, until the client goes away.
    Silence,
}

/// The server; ends when it is dropped.
pub(crate) struct Files {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    ended: AtomicBool,
    heard: Mutex<Vec<String>>,
    answers: Mutex<Vec<Answer>>,
}

impl Files {
    /// Answers by `answers`, the last again and again.
    pub(crate) fn start(answers: &[Answer]) -> Files {
        let (listener, address) = http::listener();
        let state = Arc::new(State {
            ended: AtomicBool::new(false),
            heard: Mutex::default(),
            answers: Mutex::new(answers.to_vec()),
        });
        let has_ended = |state: &State| state.ended.load(Ordering::Relaxed);
        http::accept(listener, Arc::clone(&state), has_ended, serve);
        Files { address, state }
    }

    /// The address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The requests so far: method and target.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.state.heard.lock().expect("no panic").clone()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
        // So that it sees that it has ended.
        drop(TcpStream::connect(self.address));
    }
}

fn serve(state: &State, mut client: TcpStream) -> std::io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(60)))?;
    let Some(request) = http::read_request(&mut client)? else {
        return Ok(());
    };
    let heard = format!("{} {}", request.method, request.target);
    state.heard.lock().expect("no panic").push(heard);
    let answer = {
        let mut answers = state.answers.lock().expect("no panic");
        if answers.len() > 1 {
            answers.remove(0)
        } else {
            answers.first().cloned().expect("an answer")
        }
    };
    let head = |status: u16, length: usize, more: &str| {
        format!(
            "HTTP/1.1 {status} Scripted\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n"
        )
    };
    match answer {
        Answer::File(file) => {
            client.write_all(format!("{}{file}", head(200, file.len(), "")).as_bytes())
        }
        Answer::Truncated(file) => {
            let text = format!("{}{file}", head(200, file.len(), ""));
            client.write_all(&text.as_bytes()[..text.len() - 1])
        }
        Answer::Slowly(file) => {
            client.write_all(head(200, file.len(), "").as_bytes())?;
            for byte in file.bytes() {
                client.write_all(&[byte])?;
                client.flush()?;
            }
            Ok(())
        }
        Answer::Status(status) => client.write_all(head(status, 0, "").as_bytes()),
        Answer::Elsewhere(url) => {
            client.write_all(head(302, 0, &format!("Location: {url}\r\n")).as_bytes())
        }
        Answer::Silence => {
            // Until the client closes; a read that gives nothing is that.
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).map(|_| ())
        }
    }
}

//! GitHub's API as far as the program uses it: a server on loopback that keeps comments and
//! deployments, checks every request against the published shapes, and can refuse, be slow, limit,
//! and lose an answer. What a request should not have been is a complaint; [`GitHub::assert_content`]
//! fails on any.
#![expect(
    clippy::expect_used,
    reason = "a helper that cannot go on ends its test"
)]

use super::http::{self, Request};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The token that is accepted.
pub(crate) const TOKEN: &str = "ghs_c4n4ry0123456789abcdefABCDEF";

/// Whom it belongs to.
pub(crate) const BOT: &str = "github-actions[bot]";

/// What is done to a request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Answered so, with these headers; nothing happens.
    Answer(u16, Vec<(&'static str, String)>, &'static str),
    /// It happens, and the answer is turned into a 502.
    BadGatewayAfter,
    /// It happens, and the connection ends without an answer.
    ResetAfter,
    /// Silence; nothing happens.
    Stall(Duration),
    /// Bytes that are no HTTP.
    Garbage,
}

struct Rule {
    method: &'static str,
    part: &'static str,
    fault: Fault,
    times: usize,
}

/// A comment of the pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Comment {
    pub(crate) id: u64,
    pub(crate) author: String,
    pub(crate) body: String,
}

#[derive(Default)]
struct World {
    comments: Vec<Comment>,
    last_id: u64,
    /// Path and status.
    files: Vec<(String, &'static str)>,
    contents: BTreeMap<String, Vec<u8>>,
    deployments: Vec<Value>,
    statuses: Vec<Value>,
    rules: Vec<Rule>,
    /// `GET /repos/…` of every request.
    seen: Vec<String>,
    complaints: Vec<String>,
    /// How many lists of comments have to arrive before the first is answered.
    wait_for_lists: usize,
    lists: usize,
}

struct State {
    address: SocketAddr,
    ended: AtomicBool,
    world: Mutex<World>,
    changed: Condvar,
}

/// The server; ends when it is dropped.
pub(crate) struct GitHub {
    state: Arc<State>,
}

impl GitHub {
    /// Listens on a free port of loopback. The repository is `acme/payroll`, the pull request 7.
    pub(crate) fn start() -> GitHub {
        let (listener, address) = http::listener();
        let state = Arc::new(State {
            address,
            ended: AtomicBool::new(false),
            world: Mutex::default(),
            changed: Condvar::new(),
        });
        let has_ended = |state: &State| state.ended.load(Ordering::Relaxed);
        http::accept(listener, Arc::clone(&state), has_ended, serve);
        GitHub { state }
    }

    /// For `GITHUB_API_URL`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.state.address)
    }

    /// From now on breaks the next `times` requests of the method whose path holds `part`.
    pub(crate) fn inject(
        &self,
        method: &'static str,
        part: &'static str,
        fault: Fault,
        times: usize,
    ) {
        self.world().rules.push(Rule {
            method,
            part,
            fault,
            times,
        });
    }

    /// A comment that somebody wrote.
    pub(crate) fn add_comment(&self, author: &str, body: &str) -> u64 {
        let mut world = self.world();
        world.last_id += 1;
        let id = world.last_id;
        world.comments.push(Comment {
            id,
            author: author.to_owned(),
            body: body.to_owned(),
        });
        id
    }

    pub(crate) fn comments(&self) -> Vec<Comment> {
        self.world().comments.clone()
    }

    /// A file that the pull request changes, and its text at the head.
    pub(crate) fn add_file(&self, path: &str, status: &'static str, text: Option<&str>) {
        let mut world = self.world();
        world.files.push((path.to_owned(), status));
        if let Some(text) = text {
            world
                .contents
                .insert(path.to_owned(), text.as_bytes().to_vec());
        }
    }

    /// The first list of comments is answered when so many have arrived: runs that look at the
    /// same time find the same.
    pub(crate) fn answer_lists_together(&self, runs: usize) {
        self.world().wait_for_lists = runs;
    }

    /// Bodies of the deployments that were created.
    pub(crate) fn deployments(&self) -> Vec<Value> {
        self.world().deployments.clone()
    }

    /// Bodies of the statuses that they were given.
    pub(crate) fn statuses(&self) -> Vec<Value> {
        self.world().statuses.clone()
    }

    /// How many requests of the method had `part` in their path.
    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        let world = self.world();
        let fits = |line: &&String| line.starts_with(&format!("{method} ")) && line.contains(part);
        world.seen.iter().filter(fits).count()
    }

    /// How many requests would change something.
    pub(crate) fn writes(&self) -> usize {
        let changing = ["POST", "PATCH", "PUT", "DELETE"];
        let all: usize = changing.iter().map(|method| self.count(method, "")).sum();
        // GraphQL is asked by POST, and only reads here.
        all - self.count("POST", "/graphql")
    }

    /// Every request was as GitHub wants it.
    pub(crate) fn assert_content(&self) {
        let world = self.world();
        assert!(
            world.complaints.is_empty(),
            "{:#?}\n{:#?}",
            world.complaints,
            world.seen
        );
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.state.world.lock().expect("no test panicked in here")
    }
}

impl Drop for GitHub {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.state.address));
    }
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

fn answer(status: u16, body: &Value) -> Answer {
    Answer {
        status,
        headers: Vec::new(),
        body: if body.is_null() {
            String::new()
        } else {
            body.to_string()
        },
    }
}

fn serve(state: &State, mut client: TcpStream) -> std::io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(60)))?;
    let Some(request) = http::read_request(&mut client)? else {
        return Ok(());
    };
    let fault = {
        let mut world = state.world.lock().expect("no test panicked in here");
        let line = format!("{} {}", request.method, request.target);
        world.seen.push(line.clone());
        let rule = world.rules.iter_mut().find(|rule| {
            rule.times > 0 && rule.method == request.method && request.target.contains(rule.part)
        });
        rule.map(|rule| {
            rule.times -= 1;
            rule.fault.clone()
        })
    };
    let answer = match fault {
        None => apply(state, &request),
        Some(Fault::Answer(status, headers, message)) => Answer {
            status,
            headers,
            body: json!({ "message": message }).to_string(),
        },
        Some(Fault::BadGatewayAfter) => {
            apply(state, &request);
            answer(502, &json!({ "message": "Server Error" }))
        }
        Some(Fault::ResetAfter) => {
            apply(state, &request);
            return client.shutdown(Shutdown::Both);
        }
        Some(Fault::Stall(silence)) => {
            let until = Instant::now() + silence;
            while Instant::now() < until && !state.ended.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
            return client.shutdown(Shutdown::Both);
        }
        Some(Fault::Garbage) => {
            client.write_all(b"\x16\x03\x01 220 smtp ready\r\n\0\xff\r\n\r\n")?;
            return client.shutdown(Shutdown::Both);
        }
    };
    let mut head = format!("HTTP/1.1 {} Scripted\r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!(
        "Content-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
        answer.body.len(),
        answer.body
    ));
    client.write_all(head.as_bytes())?;
    client.shutdown(Shutdown::Both)
}

/// Checks the request, does it, and answers.
fn apply(state: &State, request: &Request) -> Answer {
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    // GitHub Enterprise has its API below a path.
    let path = path.strip_prefix("/api/v3").unwrap_or(path);
    let path = path.strip_prefix("/api").unwrap_or(path);
    let mut world = state.world.lock().expect("no test panicked in here");
    let header = |name: &str| request.headers.get(name).map(String::as_str);
    if header("authorization") != Some(&format!("Bearer {TOKEN}")) {
        return answer(401, &json!({ "message": "Bad credentials" }));
    }
    for (name, wanted) in [
        ("accept", "application/vnd.github+json"),
        ("x-github-api-version", "2022-11-28"),
        (
            "user-agent",
            concat!("backup-action/", env!("CARGO_PKG_VERSION")),
        ),
    ] {
        if header(name) != Some(wanted) {
            let found = format!("{} {path}: {name} is {:?}", request.method, header(name));
            world.complaints.push(found);
        }
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
    let is_json = header("content-type") == Some("application/json") && body.is_object();
    if !request.body.is_empty() && !is_json {
        world.complaints.push(format!("{path}: no JSON object"));
    }
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("POST", ["graphql"]) => graphql(&mut world, &body),
        ("GET", ["repos", "acme", "payroll", "issues", "7", "comments"]) => {
            world.lists += 1;
            state.changed.notify_all();
            // Before the wait: whoever is answered first may be faster than who waits.
            let items: Vec<Value> = world.comments.iter().map(|c| shown(state, c)).collect();
            let waiting = |world: &mut World| world.lists < world.wait_for_lists;
            let patience = Duration::from_secs(30);
            let (_world, timeout) = state
                .changed
                .wait_timeout_while(world, patience, waiting)
                .expect("no test panicked in here");
            assert!(!timeout.timed_out(), "the other run never looked");
            paged(state, path, query, &items)
        }
        ("POST", ["repos", "acme", "payroll", "issues", "7", "comments"]) => {
            let Some(text) = comment_body(&mut world, &body) else {
                return answer(422, &json!({ "message": "Validation Failed" }));
            };
            world.last_id += 1;
            let comment = Comment {
                id: world.last_id,
                author: BOT.to_owned(),
                body: text,
            };
            world.comments.push(comment.clone());
            answer(201, &shown(state, &comment))
        }
        ("PATCH", ["repos", "acme", "payroll", "issues", "comments", id]) => {
            let Some(text) = comment_body(&mut world, &body) else {
                return answer(422, &json!({ "message": "Validation Failed" }));
            };
            let found = world.comments.iter_mut().find(|c| c.id.to_string() == *id);
            match found {
                Some(comment) if comment.author == BOT => {
                    comment.body = text;
                    answer(200, &shown(state, comment))
                }
                Some(_) => answer(403, &json!({ "message": "Must have admin rights" })),
                None => answer(404, &json!({ "message": "Not Found" })),
            }
        }
        ("DELETE", ["repos", "acme", "payroll", "issues", "comments", id]) => {
            let before = world.comments.len();
            world.comments.retain(|c| c.id.to_string() != *id);
            match before - world.comments.len() {
                0 => answer(404, &json!({ "message": "Not Found" })),
                _ => answer(204, &Value::Null),
            }
        }
        ("GET", ["repos", "acme", "payroll", "pulls", "7", "files"]) => {
            let items: Vec<Value> = world
                .files
                .iter()
                .map(|(path, status)| {
                    json!({ "sha": "bbcd538c8e72b8c175046e27cc8f907076331401", "filename": path,
                        "status": status, "additions": 1, "deletions": 0, "changes": 1,
                        "patch": "@@ -0,0 +1 @@\n+x" })
                })
                .collect();
            paged(state, path, query, &items)
        }
        ("GET", ["repos", "acme", "payroll", "contents", file @ ..]) => {
            let file = file.join("/");
            let file = percent_encoding::percent_decode_str(&file).decode_utf8_lossy();
            if query != format!("ref={HEAD}") {
                let found = format!("contents at {query}");
                world.complaints.push(found);
            }
            match world.contents.get(&*file) {
                None => answer(404, &json!({ "message": "Not Found" })),
                Some(bytes) => answer(200, &contents(&file, bytes)),
            }
        }
        ("POST", ["repos", "acme", "payroll", "deployments"]) => {
            check_deployment(&mut world, &body);
            world.deployments.push(body);
            answer(
                201,
                &json!({ "id": 42, "sha": "0123", "ref": "0123", "task": "backup-gate" }),
            )
        }
        ("POST", ["repos", "acme", "payroll", "deployments", "42", "statuses"]) => {
            check_status(&mut world, &body);
            world.statuses.push(body);
            answer(201, &json!({ "id": 1 }))
        }
        (method, _) => {
            world
                .complaints
                .push(format!("no such route: {method} {path}"));
            answer(404, &json!({ "message": "Not Found" }))
        }
    }
}

/// The commit at the head of the pull request.
pub(crate) const HEAD: &str = "feedc0de00000000000000000000000000000000";

fn graphql(world: &mut World, body: &Value) -> Answer {
    if body["query"] != "query { viewer { login } }" {
        world.complaints.push(format!("query {body}"));
    }
    answer(200, &json!({ "data": { "viewer": { "login": BOT } } }))
}

fn shown(state: &State, comment: &Comment) -> Value {
    let is_bot = comment.author.ends_with("[bot]");
    json!({
        "id": comment.id,
        "node_id": "IC_x",
        "html_url": format!("http://{}/acme/payroll/pull/7#issuecomment-{}", state.address, comment.id),
        "body": comment.body,
        "user": { "login": comment.author, "id": 1, "type": if is_bot { "Bot" } else { "User" } },
    })
}

fn contents(file: &str, bytes: &[u8]) -> Value {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(bytes);
    // GitHub breaks the lines.
    let lines: Vec<String> = text
        .as_bytes()
        .chunks(60)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    json!({ "type": "file", "path": file, "encoding": "base64", "content": lines.join("\n") + "\n" })
}

/// One page, with the `Link` header that says whether there is another.
fn paged(state: &State, path: &str, query: &str, items: &[Value]) -> Answer {
    let number = |name: &str, default: usize| {
        query
            .split('&')
            .find_map(|part| part.strip_prefix(&format!("{name}="))?.parse().ok())
            .unwrap_or(default)
    };
    let size = number("per_page", 30).min(100);
    let page = number("page", 1);
    let from = (page - 1) * size;
    let to = items.len().min(from + size);
    let mut answer = answer(200, &Value::from(items.get(from..to).unwrap_or_default()));
    if to < items.len() {
        let address = state.address;
        let link = |page: usize, rel: &str| {
            format!("<http://{address}{path}?per_page={size}&page={page}>; rel=\"{rel}\"")
        };
        let last = items.len().div_ceil(size);
        let links = format!("{}, {}", link(page + 1, "next"), link(last, "last"));
        answer.headers.push(("Link", links));
    }
    answer
}

/// The text of a comment, when it is one that GitHub takes.
fn comment_body(world: &mut World, body: &Value) -> Option<String> {
    let keys: Vec<&String> = body
        .as_object()
        .into_iter()
        .flat_map(|o| o.keys())
        .collect();
    if keys != ["body"] {
        world.complaints.push(format!("a comment with {keys:?}"));
    }
    let text = body["body"].as_str()?;
    let fits = !text.trim().is_empty() && text.chars().count() <= 65_536;
    fits.then(|| text.to_owned())
}

fn check_deployment(world: &mut World, body: &Value) {
    let mut wants = |fits: bool, what: &str| {
        if !fits {
            world.complaints.push(format!("deployment: {what}: {body}"));
        }
    };
    wants(body["ref"].is_string(), "ref");
    wants(body["environment"].is_string(), "environment");
    wants(body["auto_merge"] == false, "auto_merge");
    wants(body["required_contexts"] == json!([]), "required_contexts");
    wants(
        body["transient_environment"].is_boolean(),
        "transient_environment",
    );
    wants(
        body["production_environment"].is_boolean(),
        "production_environment",
    );
    wants(is_short(&body["description"]), "description");
}

fn check_status(world: &mut World, body: &Value) {
    let states = [
        "error",
        "failure",
        "inactive",
        "in_progress",
        "queued",
        "pending",
        "success",
    ];
    let mut wants = |fits: bool, what: &str| {
        if !fits {
            world.complaints.push(format!("status: {what}: {body}"));
        }
    };
    let state = body["state"].as_str().unwrap_or_default();
    wants(states.contains(&state), "state");
    wants(is_short(&body["description"]), "description");
    wants(body["auto_inactive"].is_boolean(), "auto_inactive");
    let url = body["log_url"].as_str().unwrap_or_default();
    wants(url.starts_with("https://"), "log_url");
}

fn is_short(text: &Value) -> bool {
    text.as_str()
        .is_some_and(|text| text.chars().count() <= 140)
}

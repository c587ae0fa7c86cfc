//! A real browser without a window: opens a page, at a width and in a theme, and says what it asked
//! the network for, what it complained about, and what it measured. Driven over a pipe by the
//! DevTools protocol, so the page under test is the file as it was written, with nothing added.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "test support starts the browser, and stops the test when it cannot"
)]

use super::{need, tool};
use base64::Engine as _;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tempfile::TempDir;

/// Nothing here takes so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// Asked of every page: see `measure.js`.
const MEASURE: &str = include_str!("measure.js");

/// A browser with one tab.
pub(crate) struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    session: String,
    last: u64,
    /// Events since the page was opened.
    events: Vec<Value>,
    _profile: TempDir,
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) width: u32,
    pub(crate) dark: bool,
}

/// What a page did and how it looks.
pub(crate) struct Seen {
    /// Every address that was asked for, the page's own included.
    pub(crate) requests: Vec<String>,
    /// Errors, warnings, and whatever else stands on the console.
    pub(crate) complaints: Vec<String>,
    /// What `measure.js` found.
    pub(crate) measured: Value,
}

impl Browser {
    /// Starts one; none when it is not installed.
    pub(crate) fn start(test: &str) -> Option<Browser> {
        let program = need(test, "chromium", tool("chromium"))?;
        let profile = tempfile::tempdir().expect("a temporary directory");
        // The protocol is spoken on the descriptors 3 and 4.
        let mut child = Command::new("bash")
            .args([
                "-c",
                "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1",
            ])
            .arg(program)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-dev-shm-usage",
                "--remote-debugging-pipe",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .env("HOME", profile.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("bash starts");
        let to = child.stdin.take().expect("its input");
        let mut from = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, receiver) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while from.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                message.pop();
                let value = serde_json::from_slice(&message).expect("the protocol is JSON");
                if sender.send(value).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let mut browser = Browser {
            child,
            to,
            from: receiver,
            session: String::new(),
            last: 0,
            events: Vec::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", &attach);
        browser.session = attached["sessionId"]
            .as_str()
            .expect("a session")
            .to_owned();
        for domain in ["Page", "Network", "Runtime", "Log", "Security"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        Some(browser)
    }

    /// Opens a file and looks at it.
    pub(crate) fn open(&mut self, file: &Path, view: View) -> Seen {
        let View { width, dark } = view;
        let screen = json!({
            "width": width, "height": 812, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        self.call("Emulation.setDeviceMetricsOverride", &screen);
        let theme = if dark { "dark" } else { "light" };
        let feature = json!({ "name": "prefers-color-scheme", "value": theme });
        self.call(
            "Emulation.setEmulatedMedia",
            &json!({ "features": [feature] }),
        );
        self.call("Page.navigate", &json!({ "url": "about:blank" }));
        self.wait("Page.loadEventFired");
        self.events.clear();
        let url = format!("file://{}", file.display());
        self.call("Page.navigate", &json!({ "url": url }));
        self.wait("Page.loadEventFired");
        let measured = self.evaluate(MEASURE);
        let of = |method: &str| -> Vec<&Value> {
            let events = self.events.iter();
            events.filter(|event| event["method"] == method).collect()
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let requests = of("Network.requestWillBeSent")
            .iter()
            .map(|event| text(&event["params"]["request"]["url"]))
            .collect();
        let mut complaints: Vec<String> = Vec::new();
        for method in [
            "Log.entryAdded",
            "Runtime.consoleAPICalled",
            "Runtime.exceptionThrown",
            "Page.javascriptDialogOpening",
        ] {
            complaints.extend(of(method).iter().map(|event| event["params"].to_string()));
        }
        Seen {
            requests,
            complaints,
            measured,
        }
    }

    /// The whole page as a picture.
    pub(crate) fn picture(&mut self) -> Vec<u8> {
        let metrics = self.call("Page.getLayoutMetrics", &json!({}));
        let size = &metrics["cssContentSize"];
        let clip =
            json!({ "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1 });
        let shot = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let shot = self.call("Page.captureScreenshot", &shot);
        base64::engine::general_purpose::STANDARD
            .decode(shot["data"].as_str().expect("a picture"))
            .expect("base64")
    }

    /// The value of an expression on the page.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let ask = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", &ask);
        assert!(answer["exceptionDetails"].is_null(), "{answer}");
        answer["result"]["value"].clone()
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.last += 1;
        let id = self.last;
        let mut message = json!({ "id": id, "method": method, "params": params });
        if !self.session.is_empty() && !method.starts_with("Browser.") {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).expect("the browser listens");
        loop {
            let answer = self.next(method);
            if answer["id"] == id {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.events.push(answer);
        }
    }

    fn wait(&mut self, method: &str) {
        loop {
            if let Some(at) = self
                .events
                .iter()
                .position(|event| event["method"] == method)
            {
                self.events.remove(at);
                return;
            }
            let event = self.next(method);
            self.events.push(event);
        }
    }

    fn next(&mut self, waiting_for: &str) -> Value {
        let next = self.from.recv_timeout(DEADLINE);
        assert!(next.is_ok(), "the browser does not answer {waiting_for}");
        next.expect("checked")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends its own children when it is asked to; killed, it may leave some.
        let close = b"{\"id\":999999,\"method\":\"Browser.close\"}\0";
        drop(self.to.write_all(close));
        for _ in 0..100 {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

//! A real mail server: aiosmtpd on loopback, with certificates of an authority of its own.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "the tests start the server that they talk to, and stop when they cannot"
)]

use super::{need, root, tool};
use base64::Engine as _;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Python with aiosmtpd and trustme.
fn python(test: &str) -> Option<PathBuf> {
    let aiosmtpd = need(test, "aiosmtpd and trustme", tool("aiosmtpd"))?;
    Some(aiosmtpd.with_file_name("python"))
}

/// Certificates; see `fixtures/mail/certificates.py`.
pub(crate) struct Certificates(TempDir);

impl Certificates {
    pub(crate) fn make(test: &str) -> Option<Certificates> {
        let python = python(test)?;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let made = Command::new(python)
            .arg(root().join("fixtures/mail/certificates.py"))
            .arg(dir.path())
            .status();
        assert!(made.is_ok_and(|status| status.success()));
        Some(Certificates(dir))
    }

    /// A file of these: `ca.pem`, `other-ca.pem`, `here.pem`, ….
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

/// How the server speaks, and what it does.
#[derive(Clone, Copy)]
pub(crate) struct Speaks<'a> {
    /// `none`, `starttls` or `wrapped`.
    pub(crate) tls: &'a str,
    /// The certificate: `here` or `elsewhere`.
    pub(crate) certificate: &'a str,
    /// Who has to log in, with what.
    pub(crate) login: Option<(&'a str, &'a str)>,
    /// `accepts`, `refuses`, `refuses-one`, `busy-once`, `slow`.
    pub(crate) behaviour: &'a str,
}

/// A running server; ends when it is dropped.
pub(crate) struct MailServer {
    pub(crate) port: u16,
    child: Child,
    dir: TempDir,
}

/// A mail that the server took.
pub(crate) struct Received {
    /// The version of TLS, if any.
    pub(crate) tls: Option<String>,
    /// Who logged in.
    pub(crate) user: Option<String>,
    /// The recipients of the envelope.
    pub(crate) to: Vec<String>,
    /// Head and body as they came.
    pub(crate) raw: String,
}

impl MailServer {
    pub(crate) fn start(
        test: &str,
        speaks: Speaks<'_>,
        certificates: &Certificates,
    ) -> Option<MailServer> {
        let python = python(test)?;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(python);
        command
            .arg(root().join("fixtures/mail/server.py"))
            .arg("--dir")
            .arg(dir.path())
            .args(["--tls", speaks.tls, "--behaviour", speaks.behaviour]);
        if speaks.tls != "none" {
            let file =
                |ending: &str| certificates.file(&format!("{}.{ending}", speaks.certificate));
            command.arg("--cert").arg(file("pem"));
            command.arg("--key").arg(file("key"));
        }
        if let Some((user, password)) = speaks.login {
            command.args(["--user", user, "--password", password]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the mail server starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let port = line.trim().parse().expect("the mail server says its port");
        Some(MailServer { port, child, dir })
    }

    /// What it took, in order.
    pub(crate) fn received(&self) -> Vec<Received> {
        let mut files: Vec<PathBuf> = fs::read_dir(self.dir.path())
            .expect("its directory")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
            .collect();
        files.sort();
        files.iter().map(|path| received(path)).collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        // It may be in the middle of a mail.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn received(path: &Path) -> Received {
    let text = fs::read_to_string(path).expect("the file");
    let value: Value = serde_json::from_str(&text).expect("JSON");
    let mail = value["mail"].as_str().expect("the mail");
    let mail = base64::engine::general_purpose::STANDARD
        .decode(mail)
        .expect("base64");
    Received {
        tls: value["tls"].as_str().map(str::to_owned),
        user: value["user"].as_str().map(str::to_owned),
        to: value["to"]
            .as_array()
            .expect("recipients")
            .iter()
            .filter_map(|to| to.as_str().map(str::to_owned))
            .collect(),
        raw: String::from_utf8(mail).expect("text"),
    }
}

impl Received {
    /// A header, unfolded and decoded.
    pub(crate) fn header(&self, name: &str) -> String {
        let (head, _) = self.raw.split_once("\r\n\r\n").expect("an end of the head");
        let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        let line = head
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}: ")));
        encoded_words(line.unwrap_or_default())
    }

    /// The names of all headers.
    pub(crate) fn header_names(&self) -> Vec<String> {
        let (head, _) = self.raw.split_once("\r\n\r\n").expect("an end of the head");
        head.split("\r\n")
            .filter(|line| !line.starts_with([' ', '\t']))
            .filter_map(|line| line.split_once(':'))
            .map(|(name, _)| name.to_owned())
            .collect()
    }

    /// The decoded part of a type, such as `text/html`.
    pub(crate) fn part(&self, kind: &str) -> String {
        let boundary = self.header("Content-Type");
        let boundary = boundary
            .split_once("boundary=\"")
            .and_then(|(_, rest)| rest.split_once('"'))
            .map(|(boundary, _)| boundary)
            .expect("a boundary");
        let part = self
            .raw
            .split(&format!("--{boundary}"))
            .find(|part| part.contains(&format!("Content-Type: {kind}")))
            .expect("the part");
        let (head, body) = part.split_once("\r\n\r\n").expect("a head");
        let body = body.trim_end();
        if head.contains("base64") {
            let joined: String = body.split_whitespace().collect();
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(joined)
                .expect("base64");
            return String::from_utf8(bytes).expect("text");
        }
        match head.contains("quoted-printable") {
            true => quoted_printable(&body.replace("=\r\n", "")),
            false => body.to_owned(),
        }
    }
}

/// `=?utf-8?b?…?=`: the space between two such words is none.
fn encoded_words(text: &str) -> String {
    let mut out = String::new();
    let mut after_encoded = true;
    for word in text.split(' ') {
        let encoded = word
            .strip_prefix("=?utf-8?b?")
            .and_then(|rest| rest.strip_suffix("?="));
        if !(out.is_empty() || after_encoded && encoded.is_some()) {
            out.push(' ');
        }
        after_encoded = encoded.is_some();
        match encoded {
            None => out.push_str(word),
            Some(encoded) => {
                let bytes = base64::engine::general_purpose::STANDARD
                    .decode(encoded)
                    .expect("base64");
                out.push_str(&String::from_utf8(bytes).expect("text"));
            }
        }
    }
    out
}

fn quoted_printable(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = (*first == b'=')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match hex {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).expect("text")
}

//! A tunnel through an SSH host to the server, from a port of 127.0.0.1. libpq connects to that
//! port by address and goes on verifying certificates by the server's real name.
//!
//! ssh runs beside a shell that waits for the end of its standard input, which only we hold open: so
//! ssh ends with us also when we are killed, and needs no program on the other side for that.

use super::connection::Connection;
use super::route::Way;
use super::ssh::{Access, explain};
use crate::error::{Explained, Usage};
use crate::process::{Command, Running};
use anyhow::Context;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Ends when ssh does, with its status; ends ssh when its own input ends.
const WATCH: &str = "exec 3<&0\n\
    \"$@\" </dev/null 3<&- &\n\
    ssh=$!\n\
    { cat <&3 >/dev/null; kill \"$ssh\" 2>/dev/null; } >/dev/null 2>&1 &\n\
    wait \"$ssh\"";

/// What ssh prints, by its LocalCommand, once it has logged in and listens.
const OPEN: &str = "tunnel open";

/// ssh's own ConnectTimeout is shorter; a login may take a while.
const LOGIN: Duration = Duration::from_secs(60);

/// Somebody else may take the port between us and ssh.
const ATTEMPTS: u32 = 5;

/// How long ssh may need to say why it ended, once a connection through it broke.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// An open tunnel.
#[derive(Debug)]
struct Tunnel {
    running: Running,
    host: String,
    /// Its end ends the tunnel.
    _input: File,
}

impl Way for Tunnel {
    fn trouble(&self) -> Option<Explained> {
        let pause = Duration::from_millis(20);
        let mut waited = Duration::ZERO;
        while waited < LAST_WORDS && !self.running.has_ended() && self.failures().is_empty() {
            std::thread::sleep(pause);
            waited += pause;
        }
        let said = self.failures();
        (self.running.has_ended() || !said.is_empty()).then(|| {
            // A tunnel that was open has no other trouble than that it broke.
            let said = match said {
                said if said.is_empty() => "closed by an unknown cause".to_owned(),
                said => said,
            };
            explain(&said, &self.host)
        })
    }
}

impl Tunnel {
    /// ssh's messages since the tunnel was opened, without what it says about a good connection.
    fn failures(&self) -> String {
        let said = self.running.said();
        let lines = said.lines().filter(|line| {
            [
                "open failed",
                "losed",
                "reset",
                "Broken pipe",
                "not responding",
                "disconnect",
                "imeout",
            ]
            .iter()
            .any(|word| line.contains(word))
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Opens a tunnel to where `connection` goes, and leads it through.
///
/// # Errors
/// An address that cannot be tunnelled to; ssh's failure, explained.
pub(super) async fn open(access: &Access, connection: Connection) -> anyhow::Result<Connection> {
    let target = target(&connection)?;
    let mut attempt = 1;
    let (tunnel, port) = loop {
        let port = free_port()?;
        match start(access, &target, port).await? {
            Ok(tunnel) => break (tunnel, port),
            Err(said) if said.contains("Address already in use") && attempt < ATTEMPTS => {
                attempt += 1;
            }
            Err(said) => return Err(explain(&said, access.name()).into()),
        }
    };
    let settings: BTreeMap<&'static str, OsString> = BTreeMap::from([
        ("hostaddr", Ipv4Addr::LOCALHOST.to_string().into()),
        ("port", port.to_string().into()),
    ]);
    let place = connection.stays_there().then(|| access.host.to_string());
    let connection = connection.via(access.keeper(), BTreeMap::new(), None);
    Ok(connection.via(Arc::new(tunnel), settings, place))
}

/// The far end, as `-L` wants it.
fn target(connection: &Connection) -> anyhow::Result<String> {
    const HINT: &str =
        "Name one server as the bastion sees it, by PGHOST and PGPORT or in the database URL.";
    let refuse =
        |what: &str| Err(Usage::new(format!("cannot open an SSH tunnel: {what}")).hint(HINT));
    if connection.uses_service() {
        return Ok(refuse("the address is in a service file")?);
    }
    let text = |keyword| {
        let value = connection.setting(keyword)?;
        Some(value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
    };
    let port = text("port").unwrap_or_else(|| "5432".to_owned());
    let Some(host) = text("hostaddr").or_else(|| text("host")) else {
        return Ok(refuse("no database host is named")?);
    };
    if host.contains(',') || port.contains(',') {
        return Ok(refuse("several database hosts are named")?);
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-:%/".contains(&b);
    if !host.bytes().all(plain) || port.parse::<u16>().is_err() {
        return Ok(refuse("the database host or port cannot be tunnelled to")?);
    }
    Ok(if host.starts_with('/') {
        format!("{host}/.s.PGSQL.{port}")
    } else if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    })
}

fn free_port() -> anyhow::Result<u16> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("could not find a free port")?;
    Ok(listener
        .local_addr()
        .context("could not find a free port")?
        .port())
}

/// Starts ssh and waits until it listens; else what it said.
async fn start(access: &Access, target: &str, port: u16) -> anyhow::Result<Result<Tunnel, String>> {
    let command = Command::new("/bin/sh")
        .args(["-c", WATCH, "ssh-tunnel"])
        .arg(&access.program)
        .args(access.options.clone())
        .args(["-N", "-o", "PermitLocalCommand=yes", "-o"])
        .arg(format!("LocalCommand=echo {OPEN}"))
        .arg("-L")
        .arg(format!("127.0.0.1:{port}:{target}"))
        .args(["--", access.name()]);
    let (running, input, stdout) = Running::start_with_input(command.scrubbed())?;
    let (sender, opened) = oneshot::channel();
    std::thread::Builder::new()
        .name("tunnel".into())
        .spawn(move || {
            // The user's shell, which runs LocalCommand, may have words of its own before it.
            let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
            let is_open = lines.any(|line| line.trim_end() == OPEN);
            // Nobody waits when the run was interrupted.
            match sender.send(is_open) {
                Ok(()) | Err(_) => {}
            }
        })
        .context("could not start a thread")?;
    match tokio::time::timeout(LOGIN, opened).await {
        Ok(Ok(true)) => Ok(Ok(Tunnel {
            running,
            host: access.host.to_string(),
            _input: input,
        })),
        Ok(Ok(false) | Err(_)) => Ok(Err(running.finish().await?.stderr_tail)),
        Err(_) => Ok(Err(format!("{}\nConnection timed out", running.said()))),
    }
}

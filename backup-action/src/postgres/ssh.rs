//! OpenSSH's client: whom it logs in as, with which keys, and what its messages mean. Host keys are
//! always checked, nothing is ever asked, and a connection that gives no sign of life is given up.

use super::passfile::PassFile;
use super::route::Way;
use crate::error::{Explained, Usage};
use crate::process::Remote;
use crate::secret::Secret;
use anyhow::Context;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Settings of ssh that no configuration of a user's may change: they come first.
const OPTIONS: &[&str] = &[
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "UpdateHostKeys=no",
    "ConnectTimeout=15",
    "ConnectionAttempts=1",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=3",
    "ExitOnForwardFailure=yes",
    // A master of the user's would outlive us, or end under us.
    "ControlMaster=no",
    "ControlPath=none",
    "ForwardX11=no",
    "ForwardAgent=no",
    "RequestTTY=no",
    "LogLevel=INFO",
];

/// Whom to log in as, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    user: Option<String>,
    host: String,
    port: Option<u16>,
}

impl Host {
    /// Reads `[user@]host[:port]`; an IPv6 address with a port stands in brackets.
    ///
    /// # Errors
    /// [`Usage`] for anything else; nothing in it can be taken for an option or by a shell.
    pub fn parse(text: &str) -> Result<Host, Usage> {
        let refused = || {
            Usage::new(format!("\"{text}\" is no user@host[:port]"))
                .hint("Write it as backup@bastion.example.com or backup@bastion.example.com:2222.")
        };
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, text),
        };
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(refused)?)),
            // More than one colon: an IPv6 address without a port.
            None if rest.matches(':').count() > 1 => (rest, None),
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let port = port.map(|port| port.parse().ok().filter(|port| *port > 0));
        let is_name = |text: &str, more: &[u8]| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || more.contains(&b);
            !text.is_empty() && !text.starts_with('-') && text.bytes().all(plain)
        };
        let good = is_name(host, b"._-:%") && user.is_none_or(|user| is_name(user, b"._-+\\"));
        match port {
            Some(None) => Err(refused()),
            _ if !good => Err(refused()),
            port => Ok(Host {
                user: user.map(str::to_owned),
                host: host.to_owned(),
                port: port.flatten(),
            }),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// How to prove who we are, and how the host does.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// A file with a private key; without one the agent and ssh's own defaults.
    pub key: Option<PathBuf>,
    /// The text of a private key.
    pub key_text: Option<Secret>,
    /// The file with the host's key; without one ssh's own.
    pub known_hosts: Option<PathBuf>,
}

/// A host with everything that ssh needs to get there.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) host: Host,
    pub(super) program: PathBuf,
    pub(super) options: Vec<OsString>,
    files: Arc<Files>,
}

/// Private copies, removed with the last owner.
#[derive(Debug)]
struct Files {
    _held: Vec<PassFile>,
}

impl Way for Files {
    fn trouble(&self) -> Option<Explained> {
        None
    }
}

impl Access {
    /// Finds ssh and writes what it has to read.
    ///
    /// # Errors
    /// No ssh, or files that cannot be read or written.
    pub(super) fn prepare(host: &Host, keys: &Keys) -> anyhow::Result<Access> {
        let program = find_ssh()?;
        let mut held = Vec::new();
        let mut options: Vec<OsString> = vec!["-T".into(), "-a".into(), "-x".into()];
        for option in OPTIONS {
            options.extend(["-o".into(), (*option).into()]);
        }
        if let Some(port) = host.port {
            options.extend(["-p".into(), port.to_string().into()]);
        }
        if let Some(user) = &host.user {
            options.extend(["-l".into(), user.into()]);
        }
        let key = match (&keys.key, &keys.key_text) {
            (Some(path), _) => Some(existing(path, "--ssh-key", KEY_HINT)?),
            (None, Some(text)) => {
                let mut text = text.expose().trim().replace("\r\n", "\n");
                text.push('\n');
                let file = PassFile::keep(text.as_bytes())
                    .context("could not write the key for ssh to a private file")?;
                let path = file.path().to_owned();
                held.push(file);
                Some(path)
            }
            (None, None) => None,
        };
        if let Some(key) = key {
            let path = key.to_string_lossy().replace('%', "%%");
            options.extend(["-o".into(), "IdentitiesOnly=yes".into()]);
            options.extend(["-i".into(), path.into()]);
        }
        if let Some(path) = &keys.known_hosts {
            let path = existing(path, "--ssh-known-hosts", HOSTS_HINT)?;
            let text = std::fs::read(&path)
                .with_context(|| format!("could not read {}", path.display()))?;
            // A copy, whose name needs no quoting for ssh.
            let file = PassFile::keep(&text).context("could not write the known hosts for ssh")?;
            let path = file.path().to_string_lossy().replace('%', "%%");
            options.extend(["-o".into(), format!("UserKnownHostsFile=\"{path}\"").into()]);
            options.extend(["-o".into(), "GlobalKnownHostsFile=/dev/null".into()]);
            held.push(file);
        }
        Ok(Access {
            host: host.clone(),
            program,
            options,
            files: Arc::new(Files { _held: held }),
        })
    }

    /// How programs run there.
    pub(super) fn remote(&self, sudo: Option<String>) -> Remote {
        let mut options = self.options.clone();
        // Whatever the user's configuration forwards is not wanted here.
        options.extend(["-o".into(), "ClearAllForwardings=yes".into()]);
        Remote {
            ssh: self.program.clone(),
            options,
            host: self.host.host.clone(),
            sudo,
        }
    }

    /// The host alone, as ssh is told it.
    pub(super) fn name(&self) -> &str {
        &self.host.host
    }

    /// Keeps the files.
    pub(super) fn keeper(&self) -> Arc<dyn Way> {
        Arc::clone(&self.files) as Arc<dyn Way>
    }
}

const KEY_HINT: &str = "Name an existing file; in a workflow the key's text can be given in the secret input ssh-private-key.";
const HOSTS_HINT: &str = "Name an existing file with the host's key: get it with `ssh-keyscan`, and compare its fingerprint with the administrator.";

fn existing(path: &Path, flag: &str, hint: &str) -> anyhow::Result<PathBuf> {
    if path.is_file() {
        return std::path::absolute(path).with_context(|| format!("could not find {flag}"));
    }
    Err(Usage::new(format!("{flag}: no file {}", path.display()))
        .hint(hint)
        .into())
}

fn find_ssh() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join("ssh"))
        .find(|program| program.is_file())
        .ok_or_else(|| {
            Explained::new(
                "no ssh on this machine",
                "Install OpenSSH's client: sudo apt-get install -y openssh-client.",
            )
            .into()
        })
}

/// What ssh's messages mean; `host` is the one it went to.
pub fn explain(stderr: &str, host: &str) -> Explained {
    let said = |text: &str| stderr.contains(text);
    let (message, hint) = if said("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        (
            format!("the host key of {host} is not the known one: somebody may stand in between"),
            format!(
                "Compare fingerprints with the administrator of {host}; when the host was set up anew, replace its line in the file of --ssh-known-hosts."
            ),
        )
    } else if said("Host key verification failed") || said("host key is known for") {
        (
            format!("the host key of {host} is not known"),
            format!(
                "Get it with `ssh-keyscan {host} > known_hosts`, compare its fingerprint with the administrator, and name the file with --ssh-known-hosts."
            ),
        )
    } else if said("UNPROTECTED PRIVATE KEY FILE") {
        (
            "the private key can be read by other users, so ssh does not use it".to_owned(),
            "Run chmod 600 on the file of --ssh-key.".to_owned(),
        )
    } else if said("error in libcrypto") || said("invalid format") {
        (
            "ssh cannot read the private key".to_owned(),
            "Give the whole private key, from its BEGIN line to its END line, without a passphrase.".to_owned(),
        )
    } else if said("Permission denied (") || said("Too many authentication failures") {
        (
            format!("{host} did not accept the key"),
            "Name the private key with --ssh-key (without a passphrase) or load it into the agent, and put its public key into authorized_keys of that user.".to_owned(),
        )
    } else if said("administratively prohibited") || said("port forwarding is disabled") {
        (
            format!("{host} does not forward connections"),
            "Set AllowTcpForwarding yes (or PermitOpen HOST:PORT) for this user in its sshd_config, and no restrict in authorized_keys.".to_owned(),
        )
    } else if said("open failed: connect failed") {
        (
            format!("{host} could not reach the database server"),
            "Host and port of the database are those that the bastion sees; check them, and the firewall between the two.".to_owned(),
        )
    } else if said("Could not resolve hostname") {
        (
            format!("could not find {host}"),
            "Check the host name, and that this machine's DNS knows it.".to_owned(),
        )
    } else if said("Connection refused")
        || said("Connection timed out")
        || said("Operation timed out")
        || said("route to host")
        || said("unreachable")
    {
        (
            format!("could not reach {host} by SSH"),
            "Check host and port, that sshd runs there, and the firewalls in between.".to_owned(),
        )
    } else if said("sudo: ") {
        (
            format!("sudo on {host} did not run the program"),
            "Allow it without a password there: NAME ALL=(postgres) NOPASSWD: ALL.".to_owned(),
        )
    } else if said("losed by")
        || said("Connection reset")
        || said("Broken pipe")
        || said("not responding")
        || said("disconnect")
    {
        (
            format!("the SSH connection to {host} broke"),
            "Look at the log of sshd there and at the network in between, then run again."
                .to_owned(),
        )
    } else {
        (
            format!("SSH to {host} failed"),
            format!("Try `ssh -v {host} true` from this machine."),
        )
    };
    let explained = Explained::new(message, hint);
    match last_words(stderr) {
        words if words.is_empty() => explained,
        words => explained.caused_by(anyhow::anyhow!("{words}")),
    }
}

/// The last lines, joined. Hostile text, bounded.
fn last_words(stderr: &str) -> String {
    let lines: Vec<&str> = stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("@@@"))
        .collect();
    let last = &lines[lines.len().saturating_sub(3)..];
    let text: String = last.join("; ").chars().take(600).collect();
    if text.is_empty() {
        text
    } else {
        format!("ssh: {text}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_read_and_nothing_else() {
        for (text, user, host, port) in [
            ("backup@bastion", Some("backup"), "bastion", None),
            (
                "backup@bastion.example.com:2222",
                Some("backup"),
                "bastion.example.com",
                Some(2222),
            ),
            ("bastion", None, "bastion", None),
            ("a@[::1]:22", Some("a"), "::1", Some(22)),
            ("a@fe80::1%eth0", Some("a"), "fe80::1%eth0", None),
        ] {
            let host = Host {
                user: user.map(str::to_owned),
                host: host.to_owned(),
                port,
            };
            assert_eq!(Host::parse(text).unwrap(), host, "{text}");
        }
        for text in [
            "",
            "@h",
            "u@",
            "-oProxyCommand=x",
            "u@-oProxyCommand=x",
            "u@h;id",
            "u@h x",
            "u@h:0",
            "u@h:99999",
            "u@h:x",
            "u@$(id)",
            "u@`id`",
            "u@h\nx",
            "u'@h",
            "u@${{ x }}",
            "ssh://u@h",
            "-l@h",
        ] {
            assert!(Host::parse(text).is_err(), "{text}");
        }
        assert_eq!(Host::parse("a@[::1]:22").unwrap().to_string(), "a@[::1]:22");
    }
}

//! The way to the server: whose client programs, and through which machine.

use super::values::Values;
use crate::error::Usage;
use crate::postgres::client::{ClientKind, Wish};
use crate::postgres::reach::Reach;
use crate::postgres::ssh::{Host, Keys};
use crate::secret::Secret;
use std::path::PathBuf;

/// The way to the server.
#[derive(Debug)]
pub struct ReachConfig {
    /// Whose client programs.
    pub client: Wish,
    /// Through which machine.
    pub way: Reach,
}

impl ReachConfig {
    pub(super) fn resolve(values: &Values) -> anyhow::Result<ReachConfig> {
        let client = Wish {
            kind: values.word(
                "pg-client",
                &[
                    ("auto", ClientKind::Auto),
                    ("local", ClientKind::Local),
                    ("docker", ClientKind::Docker),
                ],
            )?,
            image: image(values)?,
        };
        let way = Reach {
            tunnel: host(values, "ssh")?,
            exec: host(values, "ssh-exec")?,
            keys: Keys {
                key: values.text("ssh-key")?.map(PathBuf::from),
                key_text: values.text("ssh-private-key")?.map(Secret::new),
                known_hosts: values.text("ssh-known-hosts")?.map(PathBuf::from),
            },
        };
        agrees(values, &client, &way)?;
        Ok(ReachConfig { client, way })
    }
}

fn host(values: &Values, setting: &str) -> anyhow::Result<Option<Host>> {
    let Some(text) = values.text(setting)? else {
        return Ok(None);
    };
    let host = Host::parse(&text);
    let host = host.map_err(|error| anyhow::Error::new(error).context(values.name(setting)))?;
    Ok(Some(host))
}

/// The name goes to docker as an argument: it must not be taken for an option.
fn image(values: &Values) -> anyhow::Result<Option<String>> {
    let Some(image) = values.text("pg-image")? else {
        return Ok(None);
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-/:@".contains(&b);
    if image.starts_with('-') || !image.bytes().all(plain) {
        let name = values.name("pg-image");
        return Err(Usage::new(format!("{name}: invalid image \"{image}\""))
            .hint("Write it as postgres:17 or host/team/postgres:17.")
            .into());
    }
    Ok(Some(image))
}

fn agrees(values: &Values, client: &Wish, way: &Reach) -> anyhow::Result<()> {
    let refuse = |message: String, hint: &str| Err(Usage::new(message).hint(hint).into());
    if way.tunnel.is_some() && way.exec.is_some() {
        return refuse(
            "--ssh and --ssh-exec are both given".to_owned(),
            "Use --ssh to connect through a host, or --ssh-exec to run the programs on it.",
        );
    }
    if way.exec.is_some() && client.kind == ClientKind::Docker {
        return refuse(
            "--ssh-exec and --pg-client docker are both given".to_owned(),
            "With --ssh-exec the programs are those of the database host; leave --pg-client out.",
        );
    }
    if way.keys.key.is_some() && way.keys.key_text.is_some() {
        return refuse(
            "--ssh-key and --ssh-private-key are both given".to_owned(),
            "Give the key as a file or as text.",
        );
    }
    if way.tunnel.is_none() && way.exec.is_none() {
        for setting in ["ssh-key", "ssh-private-key", "ssh-known-hosts"] {
            if values.is_flag(setting) {
                return refuse(
                    format!("--{setting} needs --ssh or --ssh-exec"),
                    "Add --ssh USER@HOST.",
                );
            }
        }
    }
    if client.kind == ClientKind::Docker {
        for setting in ["pg-bin-dir", "sudo-user"] {
            if values.text(setting)?.is_some() {
                return refuse(
                    format!(
                        "--pg-client docker and {} are both given",
                        values.name(setting)
                    ),
                    "A container has its own programs and users; leave one of the two out.",
                );
            }
        }
    }
    Ok(())
}

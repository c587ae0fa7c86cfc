//! How the server is reached: from here, through an SSH tunnel, or by programs that run on the
//! database host. Ends in a connection and in the user or place that programs run as.

use super::connection::Connection;
use super::ssh::{Access, Host, Keys};
use super::tunnel;
use crate::error::Usage;
use crate::process::RunAs;
use std::collections::BTreeMap;

/// How the server is reached.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// The host that a tunnel goes through.
    pub tunnel: Option<Host>,
    /// The host where PostgreSQL's programs run; never with a tunnel.
    pub exec: Option<Host>,
    /// For either of them.
    pub keys: Keys,
}

impl Reach {
    /// Opens what is between here and the server of `connection`, and finds out how to become
    /// `sudo_user`, here or there.
    ///
    /// # Errors
    /// No such user; what ssh says, explained.
    pub async fn open(
        &self,
        connection: Connection,
        sudo_user: Option<&str>,
    ) -> anyhow::Result<(Connection, Option<RunAs>)> {
        if let Some(host) = &self.exec {
            return self.on_the_host(host, connection, sudo_user);
        }
        let run_as = match sudo_user {
            Some(name) => Some(RunAs::resolve(name).await?),
            None => None,
        };
        let mut connection = match &run_as {
            Some(run_as) => connection.for_user(run_as)?,
            None => connection,
        };
        if let Some(host) = &self.tunnel {
            let access = Access::prepare(host, &self.keys)?;
            connection = tunnel::open(&access, connection).await?;
        }
        Ok((connection, run_as))
    }

    fn on_the_host(
        &self,
        host: &Host,
        connection: Connection,
        sudo_user: Option<&str>,
    ) -> anyhow::Result<(Connection, Option<RunAs>)> {
        if let Some(name) = sudo_user
            && (name.is_empty() || name.starts_with('-') || name.contains(['\0', '#', ' ', '\n']))
        {
            return Err(Usage::new(format!("cannot run as user {name:?}")).into());
        }
        let access = Access::prepare(host, &self.keys)?;
        let run_as = RunAs::Ssh(access.remote(sudo_user.map(str::to_owned)));
        let connection = connection.for_user(&run_as)?;
        let place = Some(host.to_string());
        let connection = connection.via(access.keeper(), BTreeMap::new(), place);
        Ok((connection, Some(run_as)))
    }
}

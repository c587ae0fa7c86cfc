//! Which client programs talk to the server: those of this machine, of a container, or of the
//! database host.
//!
//! `auto` takes the server's own major version where it is installed, else a container of that
//! version, and only then a newer one that is installed: a newer pg_dumpall may write what the
//! server's own version cannot read (`SET transaction_timeout` of 17, say), which would be noticed
//! at the restore. Any version may ask which one the server has.

use super::connection::Connection;
use super::container;
use super::elsewhere;
use super::psql::Psql;
use super::tools::{self, ClientTooOld, Tools};
use crate::error::{Explained, hint, one_line};
use crate::process::RunAs;
use std::cmp::Reverse;
use std::path::Path;

/// Where the programs come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ClientKind {
    /// The best that is there.
    #[default]
    Auto,
    /// This machine.
    Local,
    /// A container.
    Docker,
}

/// What the user asked for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Where the programs come from.
    pub kind: ClientKind,
    /// Another image than `postgres:MAJOR`.
    pub image: Option<String>,
}

/// Asks the first question when nobody knows the server's version; a newer psql asks older servers.
const NEWEST: u32 = 18;

impl Wish {
    fn image(&self, major: u32) -> String {
        self.image
            .clone()
            .unwrap_or_else(|| format!("postgres:{major}"))
    }

    /// A container is considered: no directory and no other user was named, and none refused it.
    fn may_use_docker(&self, dir: Option<&Path>, run_as: Option<&RunAs>) -> bool {
        match self.kind {
            ClientKind::Docker => true,
            ClientKind::Local => false,
            ClientKind::Auto => dir.is_none() && run_as.is_none(),
        }
    }

    /// A psql of any version, to ask the server for its own.
    ///
    /// # Errors
    /// There is none, neither here nor in a container.
    pub(super) async fn first_psql(
        &self,
        connection: &Connection,
        dir: Option<&Path>,
        run_as: Option<&RunAs>,
    ) -> anyhow::Result<Psql> {
        if let Some(run_as @ RunAs::Ssh(_)) = run_as {
            let found = elsewhere::programs(run_as, dir, &place_of(connection)).await?;
            let newest = found.into_iter().max_by(|a, b| a.version.cmp(&b.version));
            let Some(tools) = newest else {
                return Err(Explained::new(
                    format!("no pg_dumpall, pg_dump and psql {}", place_of(connection)),
                    "Install PostgreSQL's client programs there, or name their directory with --pg-bin-dir.",
                )
                .into());
            };
            return Ok(psql(&tools, connection.clone(), Some(run_as.clone())));
        }
        let connection = match run_as {
            Some(run_as) => connection.clone().for_user(run_as)?,
            None => connection.clone(),
        };
        let local = match tools::locate_any_psql(dir) {
            Ok(program) => {
                return Ok(Psql {
                    program,
                    connection,
                    run_as: run_as.cloned(),
                });
            }
            Err(error) => error,
        };
        if !self.may_use_docker(dir, run_as) {
            return Err(local);
        }
        match contained(&self.image(NEWEST), &connection).await {
            Ok((psql, _)) => Ok(psql),
            Err(error) if self.kind == ClientKind::Docker => Err(error),
            Err(error) => Err(Explained::new(
                format!("{}, and {}", one_line(&local), one_line(&error)),
                [
                    hint(&local),
                    Some("Or let a container do it: start Docker.".to_owned()),
                ]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(" "),
            )
            .into()),
        }
    }

    /// The programs for a server of `major`, which `first` reached; with the psql to go on with.
    ///
    /// # Errors
    /// [`ClientTooOld`], also when nothing was found; a container that cannot be started.
    pub(super) async fn fitting(
        &self,
        first: &Psql,
        connection: &Connection,
        major: u32,
        dir: Option<&Path>,
    ) -> anyhow::Result<(Psql, Tools)> {
        if let Some(run_as @ RunAs::Ssh(_)) = &first.run_as {
            let found = elsewhere::programs(run_as, dir, &place_of(connection)).await?;
            let tools = nearest(&found, major)
                .ok_or_else(|| ClientTooOld::on_another_machine(major, &found))?;
            let psql = psql(&tools, first.connection.clone(), Some(run_as.clone()));
            return Ok((psql, tools));
        }
        let here = match &first.run_as {
            Some(RunAs::Container(_)) => None,
            Some(RunAs::Direct { .. } | RunAs::Sudo { .. } | RunAs::Ssh(_)) | None => {
                Some(tools::locate(major, dir).await)
            }
        };
        let local = |tools: Tools| {
            let psql = psql(&tools, first.connection.clone(), first.run_as.clone());
            (psql, tools)
        };
        let may_use_docker = here.is_none() || self.may_use_docker(dir, first.run_as.as_ref());
        let here = match (self.kind, here) {
            (ClientKind::Docker, _) => None,
            (ClientKind::Auto | ClientKind::Local, here) => here,
        };
        let here = match here {
            Some(Ok(tools)) if tools.version.major == major || !may_use_docker => {
                return Ok(local(tools));
            }
            Some(Err(error)) if !may_use_docker || !error.is::<ClientTooOld>() => {
                return Err(error);
            }
            here => here,
        };
        let image = self.image(major);
        let made = match reusable(first, self.image.as_deref(), major).await {
            Some(made) => Ok(made),
            None => contained_for(&image, connection, major).await,
        };
        match (made, here) {
            (Ok(made), _) => Ok(made),
            (Err(error), None) => Err(error),
            (Err(error), Some(Ok(mut tools))) => {
                tools.place = format!(
                    "because no container has version {major}: {}",
                    one_line(&error)
                );
                Ok(local(tools))
            }
            (Err(why), Some(Err(error))) => match error.downcast::<ClientTooOld>() {
                Ok(too_old) => Err(too_old.without_docker(one_line(&why)).into()),
                Err(error) => Err(error),
            },
        }
    }
}

fn psql(tools: &Tools, connection: Connection, run_as: Option<RunAs>) -> Psql {
    Psql {
        program: tools.psql.clone(),
        connection,
        run_as,
    }
}

fn place_of(connection: &Connection) -> String {
    format!("on {}", connection.place().unwrap_or("the database host"))
}

/// The container that asked the first question, when it has the version.
async fn reusable(first: &Psql, image: Option<&str>, major: u32) -> Option<(Psql, Tools)> {
    let run_as = first
        .run_as
        .as_ref()
        .filter(|r| matches!(r, RunAs::Container(_)))?;
    let named = image.map_or_else(|| format!("postgres:{NEWEST}"), str::to_owned);
    let place = format!("in a container of {named}");
    let found = elsewhere::programs(run_as, None, &place).await.ok()?;
    let tools = nearest(&found, major)?;
    let fits = image.is_some() || tools.version.major == major;
    fits.then(|| {
        (
            psql(&tools, first.connection.clone(), Some(run_as.clone())),
            tools,
        )
    })
}

/// A container with any client.
async fn contained(image: &str, connection: &Connection) -> anyhow::Result<(Psql, Vec<Tools>)> {
    let (connection, run_as) = container::start(image, connection).await?;
    let found = elsewhere::programs(&run_as, None, &format!("in a container of {image}")).await?;
    let newest = found.iter().max_by(|a, b| a.version.cmp(&b.version));
    let Some(tools) = newest else {
        return Err(Explained::new(
            format!("image {image} has no pg_dumpall, pg_dump and psql"),
            "Name an image of PostgreSQL with --pg-image.",
        )
        .into());
    };
    Ok((psql(tools, connection, Some(run_as)), found))
}

async fn contained_for(
    image: &str,
    connection: &Connection,
    major: u32,
) -> anyhow::Result<(Psql, Tools)> {
    let (mut psql, found) = contained(image, connection).await?;
    let newest = found
        .iter()
        .map(|tools| tools.version.major)
        .max()
        .unwrap_or(0);
    let Some(tools) = nearest(&found, major) else {
        return Err(Explained::new(
            format!("image {image} has PostgreSQL {newest}, and the server is of version {major}"),
            format!("Name an image of PostgreSQL {major} with --pg-image, or leave it out."),
        )
        .into());
    };
    psql.program.clone_from(&tools.psql);
    Ok((psql, tools))
}

/// The same major version with the highest minor, else the nearest newer one.
fn nearest(found: &[Tools], major: u32) -> Option<Tools> {
    found
        .iter()
        .filter(|tools| tools.version.major >= major)
        .min_by_key(|tools| (tools.version.major, Reverse(tools.version.minor)))
        .cloned()
}

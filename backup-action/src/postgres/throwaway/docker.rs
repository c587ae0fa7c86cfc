//! A throw-away cluster in a container: the image's own initdb and postgres, no network, no
//! published port. Created and started through testcontainers; the programs of PostgreSQL run
//! inside through docker's command line, so that they always are of the server's version, and that
//! what a dump brings with it never gets near our files.
//!
//! testcontainers' feature `watchdog` is not used: at a signal it removes the container and ends
//! the process, before our report. The undo list of the run does it instead.

pub(in crate::postgres) use super::engine::{Docker, find_docker};
use super::leftovers::{self, Owner};
use super::{
    Engine, Home, PREFIX, Throwaway, Wanted, bootstrap, last_lines, machine, make_superuser,
    random_id, server_version, settings, tuning,
};
use crate::archive::index::Name;
use crate::error::Explained;
use crate::postgres::connection::Connection;
use crate::postgres::psql::Psql;
use crate::postgres::tools::{ToolVersion, Tools};
use crate::process::{Inside, RunAs};
use anyhow::{Context, bail};
use std::borrow::Cow;
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use testcontainers::core::WaitFor;
use testcontainers::core::error::{ClientError, TestcontainersError};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, Image, ImageExt};

const SWITCH: &str = include_str!("switch.sh");
const ENTRY: &str = include_str!("entry.sh");

/// What the entry script found out about its image.
const FACTS: &str = "/tmp/backup-action-drill.facts";

const POLL: Duration = Duration::from_millis(50);

/// A container that is ours, from before it exists until it is removed.
#[derive(Debug)]
pub(in crate::postgres) struct Container {
    docker: Docker,
    name: String,
    removed: Mutex<bool>,
}

/// A name for a container of this process that is no drill's, with the labels that name its owner.
pub(in crate::postgres) fn owner_labels(
    docker: &Docker,
) -> anyhow::Result<([(String, String); 5], Container)> {
    let id = random_id()?;
    let container = Container {
        docker: docker.clone(),
        name: format!("backup-action-client-{id}"),
        removed: Mutex::default(),
    };
    Ok((Owner::this_process(&id).labels(), container))
}

/// Removes the containers of runs that were killed.
pub(in crate::postgres) async fn sweep() -> super::Swept {
    leftovers::sweep().await
}

impl Container {
    pub(in crate::postgres) fn name(&self) -> &str {
        &self.name
    }

    /// Removes it, running or not, with its volumes. Blocks.
    pub(in crate::postgres) fn remove(&self) -> anyhow::Result<()> {
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        if !*removed {
            blocking(leftovers::remove(&self.docker, &self.name))?;
            *removed = true;
        }
        Ok(())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // The future of the run was dropped: what stays is found by the sweep of the next run.
        match self.remove() {
            Ok(()) | Err(_) => {}
        }
    }
}

/// Runs a future from a thread of another runtime.
fn blocking<T: Send>(future: impl Future<Output = anyhow::Result<T>> + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = { runtime }.enable_all().build()?;
            runtime.block_on(future)
        });
        match thread.join() {
            Ok(result) => result,
            Err(_) => bail!("the thread that runs docker died"),
        }
    })
}

/// The image with our own way in.
struct ServerImage {
    name: String,
    tag: String,
    args: Vec<String>,
}

impl ServerImage {
    fn new(wanted: &Wanted, superuser: &str) -> ServerImage {
        let (name, tag) = split_reference(&reference(wanted));
        let settings = settings(wanted.jobs, wanted.tables).join(" ");
        let perhaps = tuning::utf8_locale(wanted).unwrap_or_default();
        let mut args: Vec<String> = ["-c", SWITCH, "drill", ENTRY].map(str::to_owned).into();
        args.extend([wanted.major.to_string(), superuser.to_owned()]);
        args.extend([settings, perhaps.to_owned()]);
        args.extend(tuning::initdb_options(wanted));
        ServerImage { name, tag, args }
    }
}

impl Image for ServerImage {
    fn name(&self) -> &str {
        &self.name
    }

    fn tag(&self) -> &str {
        &self.tag
    }

    /// Its log says "ready" too early; a query decides.
    fn ready_conditions(&self) -> Vec<WaitFor> {
        Vec::new()
    }

    fn entrypoint(&self) -> Option<&str> {
        Some("sh")
    }

    fn cmd(&self) -> impl IntoIterator<Item = impl Into<Cow<'_, str>>> {
        &self.args
    }
}

/// The image that is used.
fn reference(wanted: &Wanted) -> String {
    match &wanted.image {
        Some(image) => image.clone(),
        None => format!("postgres:{}", wanted.major),
    }
}

/// testcontainers wants the parts around the last colon, and puts them together again: a tag, or
/// the end of a digest. A colon before a slash is that of a port.
fn split_reference(reference: &str) -> (String, String) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name.to_owned(), tag.to_owned()),
        Some(_) | None => (reference.to_owned(), "latest".to_owned()),
    }
}

/// Starts a cluster.
pub(super) async fn start(
    wanted: &Wanted,
    docker: Docker,
    chosen: String,
) -> anyhow::Result<Throwaway> {
    let id = random_id()?;
    let container = Arc::new(Container {
        docker: docker.clone(),
        name: format!("{PREFIX}{id}"),
        removed: Mutex::default(),
    });
    let superuser = format!("drill_{}", random_id()?);
    let first = bootstrap(wanted, &superuser);
    let image = ServerImage::new(wanted, &first);
    run(image, &id, &container)
        .await
        .map_err(|error| explain(wanted, error))?;
    let facts = wait_until_ready(wanted, &container, &first).await?;
    let run_as = RunAs::Container(Inside {
        docker: docker.program.clone(),
        container: container.name.clone(),
        user: facts.user,
    });
    let psql_as = |role: &str| {
        anyhow::Ok(Psql {
            program: facts.bin.join("psql"),
            connection: connection(role)?,
            run_as: Some(run_as.clone()),
        })
    };
    make_superuser(&psql_as(&first)?, &first, &superuser).await?;
    let psql = psql_as(&superuser)?;
    let version = server_version(&psql).await?;
    let tool = ToolVersion::parse(&format!("postgres (PostgreSQL) {version}"))
        .with_context(|| format!("cannot read the version of the server: {version:.100}"))?;
    Ok(Throwaway {
        engine: Engine::Docker,
        chosen,
        describe: format!(
            "PostgreSQL {version} in a container of {} (Docker {})",
            reference(wanted),
            docker.server_version
        ),
        tools: Tools {
            pg_dumpall: facts.bin.join("pg_dumpall"),
            pg_dump: facts.bin.join("pg_dump"),
            psql: psql.program.clone(),
            version: tool,
            place: String::new(),
        },
        psql,
        superuser: Name::from(superuser.as_str()),
        bootstrap: Name::from(first.as_str()),
        version,
        home: Home::Docker(container),
    })
}

/// Pulls the image when it is not there, creates the container and starts it.
async fn run(
    image: ServerImage,
    id: &str,
    container: &Container,
) -> Result<(), TestcontainersError> {
    let shared_memory = (machine::memory_bytes() / 4).clamp(64 << 20, 1 << 30);
    let request = image
        .with_container_name(&container.name)
        .with_labels(Owner::this_process(id).labels())
        .with_shm_size(shared_memory)
        .with_startup_timeout(Duration::from_secs(600))
        .with_host_config_modifier(|host| {
            host.network_mode = Some("none".to_owned());
            // Otherwise every port that the image names.
            host.publish_all_ports = Some(false);
        });
    let started: ContainerAsync<ServerImage> = request.start().await?;
    // Its own clean-up waits without a deadline, and may be told by a variable of the environment
    // to keep the container: ours goes by the name.
    let _ours_to_remove = ManuallyDrop::new(started);
    Ok(())
}

fn explain(wanted: &Wanted, error: TestcontainersError) -> anyhow::Error {
    let image = reference(wanted);
    let explained = match &error {
        TestcontainersError::Client(ClientError::PullImage { .. }) => Explained::new(
            format!("could not pull image {image}"),
            "Check the image's name and the registry, pull it beforehand, name another with --image, or use --engine local.",
        ),
        _ => Explained::new(
            format!("could not start a container of {image}"),
            "Read Docker's message below; --engine local needs no container.",
        ),
    };
    explained.caused_by(error.into()).into()
}

/// What the image has.
struct Facts {
    bin: PathBuf,
    user: String,
}

/// Asks over TCP inside the container until the server answers: the socket would be there already
/// while the server still starts.
async fn wait_until_ready(
    wanted: &Wanted,
    container: &Container,
    superuser: &str,
) -> anyhow::Result<Facts> {
    let question = format!(
        "{{ read -r bin; read -r user; }} <{FACTS} && \
         \"$bin/psql\" -X -A -t -q -w -h 127.0.0.1 -p 5432 -U {superuser} -d postgres -c 'select 1' >/dev/null && \
         echo \"$bin\" && echo \"$user\""
    );
    let (docker, name) = (&container.docker, container.name.as_str());
    loop {
        let output = docker.run(["exec", name, "sh", "-c", &question]).await?;
        let said = String::from_utf8_lossy(&output.stdout);
        if output.status.is_success()
            && let [bin, user] = said.lines().collect::<Vec<_>>()[..]
        {
            return Ok(Facts {
                bin: bin.into(),
                user: user.to_owned(),
            });
        }
        let state = docker
            .run(["inspect", "--format", "{{.State.Running}}", name])
            .await?;
        let running = String::from_utf8_lossy(&state.stdout);
        if !state.status.is_success() {
            return Err(Explained::new(
                "docker's command line does not know the container that was just started",
                "It talks to another engine than DOCKER_HOST or the default socket: set DOCKER_HOST, or use --engine local.",
            )
            .caused_by(anyhow::anyhow!("{}", last_lines(&state.stderr)))
            .into());
        }
        if running.trim() != "true" {
            return Err(ended(wanted, container).await?.into());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Why the container ended before it was ready.
async fn ended(wanted: &Wanted, container: &Container) -> anyhow::Result<Explained> {
    let logs = container
        .docker
        .run(["logs", "--tail", "40", &container.name])
        .await?;
    let said = format!("{}{}", String::from_utf8_lossy(&logs.stdout), logs.stderr);
    let image = reference(wanted);
    let wrong = "drill: server of another version: ";
    Ok(
        match said.lines().find_map(|line| line.strip_prefix(wrong)) {
            Some("none") => Explained::new(
                format!("image {image} has no server of PostgreSQL"),
                "Name an image that has initdb and postgres with --image.",
            ),
            Some(other) => Explained::new(
                format!(
                    "image {image} has PostgreSQL {other:.20}, and the backup needs {}",
                    wanted.major
                ),
                format!("Name an image of PostgreSQL {} with --image.", wanted.major),
            ),
            None => Explained::new(
                format!("the throw-away server in a container of {image} did not start"),
                if said.contains("No space left") {
                    "Free space where Docker keeps its volumes and layers."
                } else {
                    "Read the end of its log below."
                },
            )
            .caused_by(anyhow::anyhow!("{}", last_lines(&said))),
        },
    )
}

/// As seen from inside.
fn connection(superuser: &str) -> anyhow::Result<Connection> {
    Connection::resolve(None, &|name| match name {
        "PGHOST" => Some("/tmp".into()),
        "PGPORT" => Some("5432".into()),
        "PGUSER" => Some(superuser.into()),
        "PGDATABASE" => Some("postgres".into()),
        "PGSSLMODE" => Some("disable".into()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_survive_being_split() {
        for (reference, name, tag) in [
            ("postgres:15", "postgres", "15"),
            ("postgres", "postgres", "latest"),
            ("host:5000/team/pg", "host:5000/team/pg", "latest"),
            ("host:5000/team/pg:15-3.5", "host:5000/team/pg", "15-3.5"),
            ("postgres@sha256:abc", "postgres@sha256", "abc"),
            ("postgres:15@sha256:abc", "postgres:15@sha256", "abc"),
        ] {
            assert_eq!(
                split_reference(reference),
                (name.to_owned(), tag.to_owned()),
                "{reference}"
            );
        }
    }
}

//! Containers of runs that were killed. A container's labels say who made it; it is removed when
//! that process is dead, and when that cannot be known, after a day.

use super::Swept;
use super::engine::{Docker, find_docker};
use crate::error::one_line;
use anyhow::bail;
use std::time::{SystemTime, UNIX_EPOCH};

/// The label of every container of ours; its value is the run.
const LABEL: &str = "org.backup-action.drill";

/// From another machine, or another container of this one, no drill lasts longer.
const FOREIGN_AGE_SECONDS: u64 = 24 * 3600;

/// Who made a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    run: String,
    /// The machine since it was started, with the process namespace in which `pid` counts.
    place: String,
    pid: u32,
    /// When the process started, in the kernel's ticks.
    started: String,
    /// Seconds since 1970.
    created: u64,
}

impl Owner {
    pub(super) fn this_process(run: &str) -> Owner {
        let pid = std::process::id();
        Owner {
            run: run.to_owned(),
            place: place(),
            pid,
            started: started(pid).unwrap_or_default(),
            created: now(),
        }
    }

    /// The labels that say so.
    pub(super) fn labels(&self) -> [(String, String); 5] {
        [
            (LABEL.to_owned(), self.run.clone()),
            (format!("{LABEL}.place"), self.place.clone()),
            (format!("{LABEL}.pid"), self.pid.to_string()),
            (format!("{LABEL}.started"), self.started.clone()),
            (format!("{LABEL}.created"), self.created.to_string()),
        ]
    }

    /// One line of `docker ps`: the container, then the labels.
    fn parse(line: &str) -> Option<(String, Owner)> {
        let fields: Vec<&str> = line.split('\t').collect();
        let [container, run, place, pid, started, created] = fields[..] else {
            return None;
        };
        let owner = Owner {
            run: run.to_owned(),
            place: place.to_owned(),
            pid: pid.parse().ok()?,
            started: started.to_owned(),
            created: created.parse().ok()?,
        };
        let complete = !container.is_empty() && !run.is_empty() && !place.is_empty();
        complete.then(|| (container.to_owned(), owner))
    }

    fn is_dead(&self, here: &str, started: impl Fn(u32) -> Option<String>, now: u64) -> bool {
        if here.is_empty() || self.place != here || self.started.is_empty() {
            return now.saturating_sub(self.created) > FOREIGN_AGE_SECONDS;
        }
        // A number that was given away meanwhile belongs to a process that started later.
        started(self.pid).as_deref() != Some(&self.started)
    }
}

/// Removes the containers of dead owners. Without an engine there is none.
pub(super) async fn sweep() -> Swept {
    let mut swept = Swept::default();
    let Ok(docker) = find_docker().await else {
        return swept;
    };
    let fields = ["", ".place", ".pid", ".started", ".created"]
        .map(|field| format!("\t{{{{.Label \"{LABEL}{field}\"}}}}"))
        .concat();
    let format = format!("{{{{.ID}}}}{fields}");
    let filter = format!("label={LABEL}");
    let listed = docker
        .run([
            "ps",
            "-a",
            "--no-trunc",
            "--filter",
            &filter,
            "--format",
            &format,
        ])
        .await;
    let listed = match listed {
        Ok(output) if output.status.is_success() => output.stdout,
        Ok(output) => {
            let said = super::last_lines(&output.stderr);
            swept
                .left
                .push(format!("could not list containers: {said}"));
            return swept;
        }
        Err(error) => {
            swept
                .left
                .push(format!("could not list containers: {}", one_line(&error)));
            return swept;
        }
    };
    let (here, now) = (place(), now());
    for line in String::from_utf8_lossy(&listed).lines() {
        let Some((container, owner)) = Owner::parse(line) else {
            continue;
        };
        if !owner.is_dead(&here, started, now) {
            continue;
        }
        let (run, pid) = (&owner.run, owner.pid);
        match remove(&docker, &container).await {
            Ok(()) => swept.removed.push(format!(
                "removed the container of drill {run}, which was killed (process {pid})"
            )),
            Err(error) => swept.left.push(format!(
                "could not remove the container of drill {run}: {}",
                one_line(&error)
            )),
        }
    }
    swept
}

/// Removes a container with its volumes, running or not; none of that name is fine.
pub(super) async fn remove(docker: &Docker, container: &str) -> anyhow::Result<()> {
    let output = docker.run(["rm", "-f", "-v", container]).await?;
    let gone = output.stderr.contains("No such container")
        || output.stderr.contains("is already in progress");
    if !output.status.is_success() && !gone {
        let said = super::last_lines(&output.stderr);
        bail!("could not remove container {container}: {said}");
    }
    Ok(())
}

/// This machine since it was started, and the namespace of its process numbers; empty when the
/// system does not say.
fn place() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let namespace = std::fs::read_link("/proc/self/ns/pid");
    match (boot, namespace) {
        (Ok(boot), Ok(namespace)) => format!("{} {}", boot.trim(), namespace.display()),
        (_, _) => String::new(),
    }
}

/// When a process started, in the kernel's ticks since the machine did.
fn started(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program may hold anything; the start is the 22nd field, the name the second.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19).map(str::to_owned)
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(place: &str, pid: u32, started: &str) -> Owner {
        Owner {
            run: "r".to_owned(),
            place: place.to_owned(),
            pid,
            started: started.to_owned(),
            created: 1_000_000,
        }
    }

    #[test]
    fn only_the_dead_are_dead() {
        let processes = |pid| (pid == 7).then(|| "70".to_owned());
        let dead = |owner: Owner, now| owner.is_dead("here", processes, now);
        assert!(!dead(owner("here", 7, "70"), u64::MAX));
        assert!(dead(owner("here", 7, "71"), 0), "the number was given away");
        assert!(dead(owner("here", 8, "70"), 0));
        for unknown in [owner("there", 8, "70"), owner("here", 8, "")] {
            assert!(!dead(unknown.clone(), 1_000_000 + FOREIGN_AGE_SECONDS));
            assert!(dead(unknown, 1_000_001 + FOREIGN_AGE_SECONDS));
        }
    }

    #[test]
    fn labels_come_back_from_docker() {
        let this = Owner::this_process("abc");
        assert!(!this.is_dead(&place(), started, now()));
        let values = this.labels().map(|(_, value)| value).join("\t");
        assert_eq!(
            Owner::parse(&format!("id\t{values}")),
            Some(("id".to_owned(), this))
        );
        for foreign in ["id\t\t\t\t\t", "id\tabc\t\t\t\t", "id", "id\tr\tp\tx\ts\t1"] {
            assert_eq!(Owner::parse(foreign), None, "{foreign}");
        }
    }
}

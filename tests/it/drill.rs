//! Drills with the real binary: a backup goes into a throw-away cluster, and what came back is
//! proved to be what went in; or the drill fails and says which object is to blame.

mod containers;
mod killed;
mod round_trips;
mod tampered;
mod verdicts;

use crate::gate::world::World;
use crate::support::cluster::Cluster;
use crate::support::run::Run;
use serde_json::Value;
use std::path::Path;

/// A drill of the world's newest backup, in a server of this machine.
pub(crate) fn drill(world: &World) -> Run {
    drill_in(world.run("drill"), world.cluster)
}

/// A drill of a file.
fn drill_file(file: &Path, cluster: &Cluster) -> Run {
    drill_in(Run::new("drill").arg(file), cluster)
}

pub(crate) fn drill_in(run: Run, cluster: &Cluster) -> Run {
    run.args(&["--engine", "local"])
        .env("BACKUP_ACTION_PG_BIN_DIR", &cluster.bin_dir)
}

/// The names of the objects that are listed as different.
fn different(report: &Value) -> Vec<String> {
    let listed = report["restored"]["proof"]["differences"].as_array();
    let name = |difference: &Value| {
        let name = difference["object"].as_str();
        name.unwrap_or_default().to_owned()
    };
    listed
        .map(|all| all.iter().map(name).collect())
        .unwrap_or_default()
}

//! The way to the server: client programs of this machine or of a container, a tunnel, and programs
//! that run on the database host. Real containers, a real OpenSSH server on loopback.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy does not see as tests"
)]

mod containers;
mod exec;
mod tunnel;

use crate::gate::world::{Watched, World};
use crate::support::run::Run;

fn with(run: Run, flags: &[String]) -> Run {
    flags.iter().fold(run, |run, flag| run.arg(flag))
}

/// Waits until a process of pg_dump reads the cluster of `world` for the run with this marker.
fn dumping(world: &World, marker: &str) -> bool {
    let sql = format!(
        "select count(*) from pg_stat_activity where application_name = '{marker}' and query like 'COPY %'"
    );
    world.cluster.psql(&sql).trim().parse::<u32>().unwrap() > 0
}

/// A gate that has begun to dump the cluster of `world`.
fn in_the_dump<'w>(world: &'w World, run: Run) -> Watched<'w> {
    let mut watched = world.start(run);
    let marker = watched.marker.clone();
    watched.going.until("the dump", || dumping(world, &marker));
    watched
}

//! `restore` through the real program: whole clusters, one database, one schema; what is refused,
//! what a failure leaves, and who is kept waiting.

mod cluster;
mod database;
mod hooks;
mod schema;
mod sources;

use crate::gate::world::{PASSWORD, World, backups, sample};
use crate::support::cluster::{Cluster, ClusterOptions};
use crate::support::run::Run;
use std::sync::OnceLock;

/// The tenant that is restored.
const TENANT: &str = "tenant_empresa_2";

/// A store with one backup of the sample cluster, for all tests.
fn shelf(test: &str) -> Option<&'static World<'static>> {
    static SHELF: OnceLock<World<'static>> = OnceLock::new();
    let cluster = sample(test)?;
    Some(SHELF.get_or_init(|| {
        let world = World::local(cluster);
        let ended = world.gate().end();
        assert_eq!(backups(&world).len(), 1, "{}", ended.all());
        world
    }))
}

/// A server of one's own with another superuser; nothing is in it.
fn empty() -> Cluster {
    Cluster::start(ClusterOptions {
        superuser: "admin",
        ..ClusterOptions::default()
    })
}

/// A server that has the sample.
fn filled() -> Cluster {
    let cluster = Cluster::start(ClusterOptions::default());
    cluster.sample(3, 10);
    cluster
}

/// `restore` of the world's backup into `target`.
fn restore(world: &World<'_>, target: &Cluster) -> Run {
    into(world.run("restore"), target)
}

/// Aims a run at `target`.
fn into(run: Run, target: &Cluster) -> Run {
    run.env("BACKUP_ACTION_PG_BIN_DIR", &target.bin_dir)
        .secret_env("BACKUP_ACTION_INTO", &target.url(), PASSWORD)
        // Production, for all that a restore knows: never touched.
        .env("DATABASE_URL", "postgres://127.0.0.1:1/production")
}

/// Every database of the server, in order.
fn databases(cluster: &Cluster) -> String {
    cluster.psql("select string_agg(datname, ' ' order by datname) from pg_database where datname !~ '^template'")
}

/// Rows of a table of the sample.
fn count(cluster: &Cluster, database: &str, table: &str) -> String {
    cluster.psql_in(database, &format!("select count(*) from {table}"))
}

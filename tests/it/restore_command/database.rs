//! One database: beside the old one, proved, then swapped; a failure leaves the old one as it was.

use super::{count, databases, empty, filled, restore, shelf};
use crate::support::cluster::Cluster;
use std::time::Duration;

const NAME: &[&str] = &["--database", "nostromo"];

#[test]
fn a_database_that_is_not_there_comes_back_with_its_properties() {
    let test = "a_database_that_is_not_there_comes_back_with_its_properties";
    let Some(world) = shelf(test) else { return };
    let target = empty();
    let ended = restore(world, &target).args(NAME).end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(databases(&target), "nostromo postgres");
    let facts = "select datdba::regrole, datconnlimit, datallowconn, datacl, shobj_description(oid, 'pg_database') from pg_database where datname = 'nostromo'";
    assert_eq!(target.psql(facts), world.cluster.psql(facts));
    assert_eq!(ended.check("round-trip")["outcome"], "passed");
}

/// Keeps a session in the database, again and again, as a pool does.
fn pool(target: &Cluster) -> impl FnOnce() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let mut command = target.psql_command("nostromo");
            command
                .args([
                    "-c",
                    "delete from tenant_empresa_1.payroll where false; select pg_sleep(120)",
                ])
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null());
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    drop(command.status());
                    std::thread::sleep(Duration::from_millis(1));
                }
            })
        })
        .collect();
    move || {
        stop.store(true, Ordering::Relaxed);
        target.psql("select count(pg_terminate_backend(pid)) from pg_stat_activity where datname ~ '^nostromo' and pid <> pg_backend_pid()");
        for thread in threads {
            drop(thread.join());
        }
    }
}

#[test]
fn an_existing_database_is_swapped_under_the_feet_of_its_sessions() {
    let test = "an_existing_database_is_swapped_under_the_feet_of_its_sessions";
    let Some(world) = shelf(test) else { return };
    let target = filled();
    let old = count(&target, "nostromo", "tenant_empresa_2.payroll");
    let ended = restore(world, &target).args(NAME).args(&["--yes"]).end();
    assert_eq!(ended.code, 1, "{}", ended.all());
    ended.assert_says("Add --swap");
    let stop = pool(&target);
    let sessions = "select count(*) from pg_stat_activity where query ~ 'pg_sleep.120' and datname = 'nostromo' and pid <> pg_backend_pid()";
    while target.psql(sessions) != "4" {
        std::thread::sleep(Duration::from_millis(20));
    }
    let ended = restore(world, &target)
        .args(NAME)
        .args(&["--swap", "--yes"])
        .end();
    stop();
    assert_eq!(ended.code, 0, "{}", ended.all());
    let all = databases(&target);
    let before = all
        .split(' ')
        .find(|name| name.starts_with("nostromo_before_"))
        .expect("the old one");
    assert_eq!(all, format!("nostromo {before} postgres"));
    assert_eq!(count(&target, before, "tenant_empresa_2.payroll"), old);
    assert_eq!(
        count(&target, "nostromo", "tenant_empresa_2.payroll"),
        count(world.cluster, "nostromo", "tenant_empresa_2.payroll")
    );
    ended.assert_says(before);
}

#[test]
fn whatever_keeps_the_old_one_from_its_name_is_named_and_nothing_changes() {
    let test = "whatever_keeps_the_old_one_from_its_name_is_named_and_nothing_changes";
    let Some(world) = shelf(test) else { return };
    let target = Cluster::start(crate::support::cluster::ClusterOptions {
        settings: vec!["max_prepared_transactions=5".to_owned()],
        ..Default::default()
    });
    target.sample(3, 10);
    target.psql_in("nostromo", "begin; lock table tenant_empresa_1.payroll in share mode; prepare transaction 'left behind'");
    let ended = restore(world, &target)
        .args(NAME)
        .args(&["--swap", "--yes"])
        .end();
    assert_eq!(ended.code, 1, "{}", ended.all());
    ended.assert_says("left behind");
    assert_eq!(databases(&target), "nostromo postgres");
}

#[test]
fn a_swap_that_fails_leaves_the_old_one_and_nothing_else() {
    let test = "a_swap_that_fails_leaves_the_old_one_and_nothing_else";
    let Some(world) = shelf(test) else { return };
    let target = filled();
    let facts = "select datallowconn, datconnlimit, datname, oid from pg_database where datname = 'nostromo'";
    let before = target.psql(facts);
    // The last statements of the transaction grant to a role that goes away in the middle.
    let run = restore(world, &target)
        .args(NAME)
        .args(&["--swap", "--yes"]);
    let mut going = run.start();
    going.until("the database is beside", || {
        databases(&target).contains("_restoring_")
    });
    // A session that nobody may end keeps its lock on the shared catalogue.
    let holder = target.hold("postgres", "lock table pg_database in share mode");
    going.until("it waits for the lock", || {
        target.psql("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query ~ '^ALTER DATABASE'") != "0"
    });
    going.signal("INT");
    let ended = {
        // The drop of what was begun waits for the same lock.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(500));
                drop(holder);
            });
            going.end()
        })
    };
    assert_eq!(ended.code, 130, "{}", ended.all());
    assert_eq!(databases(&target), "nostromo postgres", "{}", ended.all());
    assert_eq!(target.psql(facts), before);
}

#[test]
fn a_run_that_is_killed_leaves_the_old_one_and_the_next_says_what_is_left() {
    let test = "a_run_that_is_killed_leaves_the_old_one_and_the_next_says_what_is_left";
    let Some(world) = shelf(test) else { return };
    let target = filled();
    let old = count(&target, "nostromo", "tenant_empresa_2.payroll");
    let mut going = restore(world, &target)
        .args(NAME)
        .args(&["--swap", "--yes"])
        .start();
    going.until("the database is beside", || {
        databases(&target).contains("_restoring_")
    });
    drop(going);
    assert_eq!(count(&target, "nostromo", "tenant_empresa_2.payroll"), old);
    let ended = restore(world, &target)
        .args(NAME)
        .args(&["--swap", "--yes"])
        .end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    ended.assert_says("databases of restores that did not end: nostromo_restoring_");
}

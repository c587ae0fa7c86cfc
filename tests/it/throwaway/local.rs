//! The local engine.

use super::owner::Order;
use super::{base, is_useful, left_in, local_major, processes_of, told, wanted};
use crate::support::cluster::{Cluster, is_root, write_program};
use crate::support::{need, pg_bin_dir};
use backup_action::postgres::throwaway::{Engine, EngineChoice, Throwaway};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_answers_dumps_and_leaves_nothing() {
    let test = "throwaway::local::it_starts_answers_dumps_and_leaves_nothing";
    let Some(major) = local_major(test) else {
        return;
    };
    let base = base();
    let wanted = wanted(EngineChoice::Local, major, Some(base.path().to_owned()));
    let (one, two) = tokio::join!(Throwaway::start(wanted.clone()), Throwaway::start(wanted));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.engine, Engine::Local);
    is_useful(&one, major).await;
    one.stop().await.unwrap();
    is_useful(&two, major).await;
    let directory = left_in(base.path()).remove(0);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(
        mode(&directory) & 0o066,
        0,
        "others may neither look nor write"
    );
    assert_eq!(mode(&directory.join("socket")), 0o700);
    drop(two);
    assert!(left_in(base.path()).is_empty());
    assert!(processes_of(base.path().to_str().unwrap()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_major_version_has_its_own() {
    for major in [15, 17, 18] {
        let test = format!("throwaway::local::every_major_version_has_its_own ({major})");
        let Some(bin_dir) = need(&test, "PostgreSQL's server", pg_bin_dir(major)) else {
            continue;
        };
        let base = base();
        let mut wanted = wanted(EngineChoice::Local, major, Some(base.path().to_owned()));
        wanted.pg_bin_dir = Some(bin_dir);
        let cluster = Throwaway::start(wanted).await.unwrap();
        is_useful(&cluster, major).await;
        cluster.stop().await.unwrap();
        assert!(left_in(base.path()).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_given_up_leaves_nothing() {
    let Some(major) = local_major("throwaway::local::a_start_that_is_given_up_leaves_nothing")
    else {
        return;
    };
    let base = base();
    for milliseconds in [50, 300, 700, 1200] {
        let mut wanted = wanted(EngineChoice::Local, major, Some(base.path().to_owned()));
        wanted.deadline = std::time::Duration::from_millis(milliseconds);
        if let Ok(cluster) = Throwaway::start(wanted).await {
            cluster.stop().await.unwrap();
        }
        assert!(left_in(base.path()).is_empty(), "{milliseconds} ms");
    }
    assert!(processes_of(base.path().to_str().unwrap()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_version_comes_with_the_line_that_installs_it() {
    let (said, hint) = told(Throwaway::start(wanted(EngineChoice::Local, 9, None)).await);
    assert!(
        said.starts_with("no server of PostgreSQL 9 on this machine"),
        "{said}"
    );
    assert!(hint.starts_with("Install it: "), "{hint}");
    let empty = base();
    let mut other = wanted(EngineChoice::Local, 15, None);
    other.pg_bin_dir = Some(empty.path().to_owned());
    let (said, hint) = told(Throwaway::start(other).await);
    assert!(
        said.contains(&format!("in {}", empty.path().display())),
        "{said}"
    );
    assert!(hint.contains("--pg-bin-dir"), "{hint}");
}

/// The real programs, with `name` replaced by a script.
fn programs_with(name: &str, script: &str) -> tempfile::TempDir {
    let real = Cluster::installed(None).unwrap();
    let dir = base();
    for program in ["initdb", "postgres", "pg_dumpall", "pg_dump", "psql"] {
        if program != name {
            symlink(real.join(program), dir.path().join(program)).unwrap();
        }
    }
    let script = script.replace("REAL", real.to_str().unwrap());
    write_program(&dir.path().join(name), &format!("#!/bin/sh\n{script}"));
    dir
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_start_says_why() {
    let Some(major) = local_major("throwaway::local::a_server_that_does_not_start_says_why") else {
        return;
    };
    let base = base();
    let with = |dir: &tempfile::TempDir| {
        let mut wanted = wanted(EngineChoice::Local, major, Some(base.path().to_owned()));
        wanted.pg_bin_dir = Some(dir.path().to_owned());
        wanted
    };
    let refuses = programs_with(
        "postgres",
        "[ \"$1\" = --version ] && exec REAL/postgres --version\n\
         echo 'FATAL:  could not map anonymous shared memory' >&2\nexit 1\n",
    );
    let (said, _) = told(Throwaway::start(with(&refuses)).await);
    let expected =
        "the throw-away server did not start: FATAL:  could not map anonymous shared memory";
    assert_eq!(said, expected);
    let full = programs_with(
        "initdb",
        "echo 'initdb: error: could not write: No space left on device' >&2\nexit 1\n",
    );
    let (said, hint) = told(Throwaway::start(with(&full)).await);
    assert!(
        said.contains("(initdb: status 1): initdb: error: could not write: No space"),
        "{said}"
    );
    assert!(hint.contains("--drill-dir"), "{hint}");
    assert!(left_in(base.path()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_too_long_for_a_socket_is_no_obstacle() {
    let test = "throwaway::local::a_path_that_is_too_long_for_a_socket_is_no_obstacle";
    let Some(major) = local_major(test) else {
        return;
    };
    let base = base();
    let sockets = || {
        let entries = std::fs::read_dir("/tmp").unwrap().flatten();
        entries
            .filter(|entry| {
                entry
                    .file_name()
                    .to_string_lossy()
                    .starts_with("backup-action-drill-socket-")
            })
            .count()
    };
    for odd in ["x".repeat(120), "a b,c'd".to_owned()] {
        let place = base.path().join(odd);
        std::fs::create_dir(&place).unwrap();
        let wanted = wanted(EngineChoice::Local, major, Some(place.clone()));
        let cluster = Throwaway::start(wanted).await.unwrap();
        is_useful(&cluster, major).await;
        let apart = cluster.psql.connection.hosts().remove(0);
        assert!(
            apart.starts_with("/tmp/backup-action-drill-socket-"),
            "{apart}"
        );
        assert!(sockets() > 0);
        cluster.stop().await.unwrap();
        assert!(!Path::new(&apart).exists());
        assert!(left_in(&place).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_closed_to_the_servers_user_is_named() {
    let test = "throwaway::local::a_directory_that_is_closed_to_the_servers_user_is_named";
    let Some(major) = local_major(test) else {
        return;
    };
    if !is_root() {
        return;
    }
    let base = base();
    std::fs::set_permissions(base.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let wanted = wanted(EngineChoice::Local, major, Some(base.path().to_owned()));
    let (said, hint) = told(Throwaway::start(wanted).await);
    assert!(said.contains("cannot get into"), "{said}");
    assert!(hint.contains("--drill-dir"), "{hint}");
    assert!(left_in(base.path()).is_empty());
}

#[test]
fn nobody_without_a_home_has_a_cluster_too() {
    let Some(major) = local_major("throwaway::local::nobody_without_a_home_has_a_cluster_too")
    else {
        return;
    };
    if !is_root() {
        return;
    }
    let base = base();
    chown(base.path(), Some(65534), Some(65534)).unwrap();
    let order = Order {
        engine: "local",
        major,
        base: base.path(),
        image: "",
        through: &[
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "env",
            "--unset=HOME",
            "--chdir=/",
        ],
        path: None,
    };
    let mut owner = order.start();
    let said = owner.says("RUNNING");
    assert!(said.starts_with("Local asked for"), "{said}");
    owner.end();
    assert!(left_in(base.path()).is_empty());
}

#[test]
fn without_docker_auto_is_local_and_says_why() {
    let Some(major) = local_major("throwaway::local::without_docker_auto_is_local_and_says_why")
    else {
        return;
    };
    let (base, path) = (base(), base());
    for program in ["sh", "id", "true", "env"] {
        let real = crate::support::tool(program).unwrap();
        symlink(real, path.path().join(program)).unwrap();
    }
    let order = |engine| Order {
        engine,
        major,
        base: base.path(),
        image: "",
        through: &[],
        path: Some(path.path()),
    };
    let said = order("docker").start().says("REFUSED");
    assert!(said.contains("no docker command on this machine"), "{said}");
    assert!(said.contains("--engine local"), "{said}");
    let mut owner = order("auto").start();
    let said = owner.says("RUNNING");
    assert!(
        said.starts_with("Local no docker command on this machine"),
        "{said}"
    );
    let environment = owner.says("ENVIRONMENT");
    assert!(
        environment.contains("PGDATA=") || environment.contains("PATH="),
        "{environment}"
    );
    assert!(!environment.contains("canary"), "{environment}");
    owner.end();
    // A command without an engine, which ends with status 0 like `docker info`.
    write_program(&path.path().join("docker"), "#!/bin/sh\necho\n");
    let said = order("docker").start().says("REFUSED");
    assert!(said.contains("no Docker engine answers"), "{said}");
    assert!(left_in(base.path()).is_empty());
}

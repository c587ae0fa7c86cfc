//! An owner that is killed outright: the next run's sweep removes what it left, and nothing else.

use super::owner::{Order, in_container};
use super::{base, docker, image, is_useful, left_in, local_major, processes_of, wanted};
use crate::support::cluster::{is_root, is_running};
use backup_action::postgres::throwaway::{EngineChoice, Throwaway, sweep};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

fn local(major: u32, base: &Path) -> Order<'_> {
    Order {
        engine: "local",
        major,
        base,
        image: "",
        through: &[],
        path: None,
    }
}

fn wait_for(what: &str, mut found: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(90);
    while !found() {
        assert!(Instant::now() < until, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a file with this path in its drill directory is there and not empty.
fn has(base: &Path, file: &str) -> bool {
    left_in(base).iter().any(|dir| {
        let meta = std::fs::metadata(dir.join(file));
        meta.is_ok_and(|meta| meta.is_dir() || meta.len() > 0)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_cluster_is_swept_whenever_its_owner_died() {
    let test = "throwaway::killed::a_local_cluster_is_swept_whenever_its_owner_died";
    let Some(major) = local_major(test) else {
        return;
    };
    let deep = "d".repeat(60);
    for (moment, long) in [
        ("", false),
        ("owner", false),
        ("data/base", false),
        ("data/PG_VERSION", true),
        ("data/global/pg_control", false),
        ("data/postmaster.pid", false),
        ("RUNNING", false),
        ("RUNNING", true),
    ] {
        let temporary = base();
        let mut place = temporary.path().to_owned();
        if long {
            place = place.join(&deep).join(&deep);
            std::fs::create_dir_all(&place).unwrap();
        }
        let mut owner = local(major, &place).start();
        match moment {
            "" => wait_for("a directory", || !left_in(&place).is_empty()),
            "RUNNING" => {
                owner.says("RUNNING");
            }
            file => wait_for(file, || has(&place, file)),
        }
        owner.kill();
        let name = place.to_str().unwrap().to_owned();
        // A child that had not become initdb yet when its parent was killed holds the lock a moment longer.
        let mut said = String::new();
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let swept = sweep(Some(&place)).await;
            assert!(swept.left.is_empty(), "{moment}: {swept:?}");
            said.push_str(&swept.removed.join("\n"));
            if left_in(&place).is_empty() {
                break;
            }
            assert!(Instant::now() < until, "{moment}: {:?}", left_in(&place));
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(processes_of(&name), Vec::<String>::new(), "{moment}");
        if moment == "RUNNING" {
            assert!(said.contains("left by a drill that was killed"), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lives_and_what_is_not_ours_stays() {
    let Some(major) = local_major("throwaway::killed::what_lives_and_what_is_not_ours_stays")
    else {
        return;
    };
    let temporary = base();
    let place = temporary.path();
    let mut other = local(major, place).start();
    let cluster = Throwaway::start(wanted(EngineChoice::Local, major, Some(place.to_owned())))
        .await
        .unwrap();
    other.says("RUNNING");
    let precious = place.join("precious");
    std::fs::create_dir(&precious).unwrap();
    std::fs::write(precious.join("owner"), "").unwrap();
    std::fs::write(precious.join("data"), "keep").unwrap();
    let named = |id: &str| place.join(format!("backup-action-drill-{id}"));
    // Somebody else's of the same name, a link, a file, another name, another directory's marker.
    std::fs::create_dir(named("000000000001")).unwrap();
    std::fs::write(named("000000000001").join("data"), "keep").unwrap();
    symlink(&precious, named("000000000002")).unwrap();
    std::fs::write(named("000000000003"), "keep").unwrap();
    std::fs::create_dir(named("old-000000000004")).unwrap();
    std::fs::create_dir(named("000000000005")).unwrap();
    let marker =
        r#"{"backup_action_drill":"000000000001","pid":1,"socket_apart":false,"server_uid":0}"#;
    std::fs::write(named("000000000005").join("owner"), marker).unwrap();
    // One that everybody may write to may hold anything.
    std::fs::create_dir(named("000000000006")).unwrap();
    std::fs::write(
        named("000000000006").join("owner"),
        marker.replace("01\"", "06\""),
    )
    .unwrap();
    std::fs::set_permissions(named("000000000006"), PermissionsExt::from_mode(0o777)).unwrap();
    if is_root() {
        std::fs::create_dir(named("000000000007")).unwrap();
        std::fs::write(
            named("000000000007").join("owner"),
            marker.replace("01\"", "07\""),
        )
        .unwrap();
        chown(named("000000000007"), Some(65534), None).unwrap();
    }
    let before = left_in(place);
    let swept = sweep(Some(place)).await;
    assert!(
        swept
            .removed
            .iter()
            .all(|line| !line.contains(place.to_str().unwrap())),
        "{swept:?}"
    );
    let mut after = left_in(place);
    let mut before = before;
    before.sort();
    after.sort();
    assert_eq!(after, before);
    assert_eq!(
        std::fs::read_to_string(precious.join("data")).unwrap(),
        "keep"
    );
    let left = swept.left.join("\n");
    assert!(left.contains("that of another directory"), "{left}");
    is_useful(&cluster, major).await;
    cluster.stop().await.unwrap();
    other.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ignores_its_orders_is_killed() {
    let test = "throwaway::killed::a_server_that_ignores_its_orders_is_killed";
    let Some(major) = local_major(test) else {
        return;
    };
    let temporary = base();
    let mut owner = local(major, temporary.path()).start();
    owner.says("RUNNING");
    let dir = left_in(temporary.path()).remove(0);
    let pid_file = std::fs::read_to_string(dir.join("data/postmaster.pid")).unwrap();
    let postmaster: u32 = pid_file.lines().next().unwrap().parse().unwrap();
    owner.kill();
    // A stopped process does not act on SIGQUIT.
    crate::support::cluster::signal(postmaster, "STOP");
    let swept = sweep(Some(temporary.path())).await;
    assert!(swept.left.is_empty(), "{swept:?}");
    assert!(!is_running(postmaster));
    assert!(left_in(temporary.path()).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_swept_whenever_its_owner_died() {
    let test = "throwaway::killed::a_container_is_swept_whenever_its_owner_died";
    let Some((image, major)) = image(test) else {
        return;
    };
    let mut living = in_container(&image, major).start();
    let foreign = docker(&[
        "create",
        "--label",
        "org.backup-action.drill=somebody",
        "--entrypoint",
        "true",
        &image,
    ])
    .unwrap();
    let foreign = foreign.trim();
    for moment in ["container", "RUNNING"] {
        let mut owner = in_container(&image, major).start();
        let filter = format!("label=org.backup-action.drill.pid={}", owner.pid());
        let containers = || docker(&["ps", "-aq", "--filter", &filter]).unwrap();
        if moment == "RUNNING" {
            owner.says("RUNNING");
        } else {
            wait_for("a container", || !containers().is_empty());
        }
        assert_ne!(containers(), "", "it has something to sweep");
        owner.kill();
        let swept = sweep(None).await;
        // Gates beside this test sweep too: Docker still lists what one of them is just removing.
        wait_for(&format!("an empty list ({moment}: {swept:?})"), || {
            containers().is_empty()
        });
    }
    assert!(docker(&["inspect", foreign]).is_ok(), "not ours");
    docker(&["rm", foreign]).unwrap();
    living.says("RUNNING");
    living.end();
}

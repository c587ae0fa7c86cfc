//! The engine of containers.

use super::{docker, image, is_useful, told, wanted, wanted_in};
use backup_action::archive::index::Name;
use backup_action::postgres::throwaway::{Engine, EngineChoice, Throwaway};
use backup_action::process::RunAs;

fn container_of(cluster: &Throwaway) -> String {
    match &cluster.psql.run_as {
        Some(RunAs::Container(inside)) => inside.container.clone(),
        other => panic!("{other:?}"),
    }
}

fn exists(container: &str) -> bool {
    docker(&["inspect", container]).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_answers_dumps_and_leaves_nothing() {
    let Some((image, major)) =
        image("throwaway::docker::it_starts_answers_dumps_and_leaves_nothing")
    else {
        return;
    };
    let cluster = Throwaway::start(wanted_in(&image, major)).await.unwrap();
    assert_eq!(cluster.engine, Engine::Docker);
    is_useful(&cluster, major).await;
    let container = container_of(&cluster);
    let inspect = |what: &str| docker(&["inspect", "--format", what, &container]).unwrap();
    assert_eq!(inspect("{{.HostConfig.NetworkMode}}").trim(), "none");
    assert_eq!(inspect("{{.HostConfig.PublishAllPorts}}").trim(), "false");
    let volume = inspect("{{range .Mounts}}{{.Name}}{{end}}");
    let server_user: String = cluster
        .psql
        .query_json(
            &Name::from("postgres"),
            "select to_json(pg_read_file('/proc/self/status'))",
        )
        .await
        .unwrap();
    assert!(!server_user.contains("Uid:\t0\t"), "{server_user}");
    cluster.stop().await.unwrap();
    assert!(!exists(&container));
    assert!(docker(&["volume", "inspect", volume.trim()]).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_it_removes_it() {
    let Some((image, major)) = image("throwaway::docker::dropping_it_removes_it") else {
        return;
    };
    let cluster = Throwaway::start(wanted_in(&image, major)).await.unwrap();
    let (container, remover) = (container_of(&cluster), cluster.remover());
    drop(cluster);
    assert!(exists(&container), "the undo list still has it");
    remover.remove().await.unwrap();
    assert!(!exists(&container));
    remover.remove().await.unwrap();

    let cluster = Throwaway::start(wanted_in(&image, major)).await.unwrap();
    let container = container_of(&cluster);
    drop(cluster);
    assert!(!exists(&container));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_named_by_its_digest_too() {
    let test = "throwaway::docker::an_image_is_named_by_its_digest_too";
    let Some((image, major)) = image(test) else {
        return;
    };
    // An image that was imported has no digest of a registry: its own id has to do.
    let id = docker(&["image", "inspect", "--format", "{{.Id}}", &image]).unwrap();
    let cluster = Throwaway::start(wanted_in(id.trim(), major)).await.unwrap();
    cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_does_not_fit_is_named() {
    let Some((image, major)) = image("throwaway::docker::an_image_that_does_not_fit_is_named")
    else {
        return;
    };
    let (said, hint) = told(Throwaway::start(wanted_in(&image, 9)).await);
    assert!(said.contains(&format!("has PostgreSQL {major}")), "{said}");
    assert!(said.contains("needs 9"), "{said}");
    assert!(hint.contains("--image"), "{hint}");
    let missing = "backup-action-test/there-is-none:1";
    let (said, hint) = told(Throwaway::start(wanted_in(missing, major)).await);
    assert!(
        said.starts_with(&format!("could not pull image {missing}: ")),
        "{said}"
    );
    assert!(hint.contains("--engine local"), "{hint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_start_says_why() {
    let Some((image, major)) = image("throwaway::docker::a_server_that_does_not_start_says_why")
    else {
        return;
    };
    let mut wanted = wanted_in(&image, major);
    wanted.encoding = "KLINGON".to_owned();
    let (said, _) = told(Throwaway::start(wanted).await);
    assert!(said.contains("did not start"), "{said}");
    assert!(said.contains("\"KLINGON\" is not a valid"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_takes_docker_and_says_so() {
    let Some((image, major)) = image("throwaway::docker::auto_takes_docker_and_says_so") else {
        return;
    };
    let mut wanted = wanted(EngineChoice::Auto, major, None);
    wanted.image = Some(image);
    let cluster = Throwaway::start(wanted).await.unwrap();
    assert_eq!(cluster.engine, Engine::Docker);
    assert!(cluster.chosen.starts_with("Docker "), "{}", cluster.chosen);
    cluster.stop().await.unwrap();
}

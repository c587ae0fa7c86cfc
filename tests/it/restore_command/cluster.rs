//! A whole cluster, into an empty one only.

use super::{count, databases, empty, restore, shelf};

#[test]
fn a_whole_cluster_comes_back_and_is_proved() {
    let Some(world) = shelf("a_whole_cluster_comes_back_and_is_proved") else {
        return;
    };
    let target = empty();
    let ended = restore(world, &target).end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(databases(&target), "nostromo postgres");
    assert_eq!(
        count(&target, "nostromo", "tenant_empresa_2.payroll"),
        count(world.cluster, "nostromo", "tenant_empresa_2.payroll")
    );
    assert_eq!(
        ended.check("round-trip")["outcome"],
        "passed",
        "{}",
        ended.all()
    );
    let proof = &ended.report()["restored"]["proof"];
    assert_eq!(proof["archived"]["rows"], proof["restored"]["rows"]);
    // A second one finds it full, and changes nothing.
    let ended = restore(world, &target).end();
    assert_eq!(ended.code, 1, "{}", ended.all());
    ended.assert_says("the server is not empty: database nostromo");
}

#[test]
fn a_plan_changes_nothing_and_says_what_would_happen() {
    let Some(world) = shelf("a_plan_changes_nothing_and_says_what_would_happen") else {
        return;
    };
    let target = empty();
    let canary = tempfile::tempdir().expect("a directory");
    let file = canary.path().join("ran");
    let touch = format!("touch {}", file.display());
    let ended = restore(world, &target)
        .args(&["--plan", "--before", &touch])
        .end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    let screen = ended.screen();
    for words in [
        "the whole cluster",
        "data of nostromo",
        "touch",
        "Nothing was changed",
    ] {
        assert!(screen.contains(words), "{words}: {screen}");
    }
    let json = restore(world, &target)
        .args(&[
            "--plan",
            "--output",
            "json",
            "--database",
            "nostromo",
            "--schema",
            super::TENANT,
        ])
        .end();
    // There is no database to restore the schema into.
    assert_eq!(json.code, 1, "{}", json.all());
    let plan: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert!(
        plan["problems"][0]
            .as_str()
            .expect("a problem")
            .contains("does not exist")
    );
    assert!(plan["archive_bytes_to_read"].as_u64() <= plan["archive_bytes"].as_u64());
    assert!(!file.exists());
    assert_eq!(databases(&target), "postgres");
    assert_eq!(
        target.psql("select count(*) from pg_roles where rolname !~ '^pg_'"),
        "1"
    );
}

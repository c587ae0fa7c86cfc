//! The workflows of `examples/workflows`, word for word, with real clusters and stores. Only the
//! line `aws-role-to-assume` is taken out: AWS's token service is not here.

use super::workflow::{Seen, Workflow};
use crate::annotate::world::{Pull, event};
use crate::gate::world::sample;
use crate::support::cluster::{Cluster, write_program};
use crate::support::github::TOKEN;
use crate::support::root;
use crate::support::run::{PROGRAM, Run};
use crate::support::s3::{
    ACCESS_KEY, BUCKET, READER_ACCESS_KEY, READER_SECRET_KEY, SECRET_KEY, SeaweedFs,
};
use crate::support::web::Web;
use serde_json::json;
use std::fs;

/// The example without its line about AWS's token service.
fn example(test: &str, name: &str) -> Option<Workflow> {
    let path = root().join("examples/workflows").join(name);
    let text = fs::read_to_string(path).expect("the example is there");
    let kept: Vec<_> = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("aws-role-to-assume:"))
        .collect();
    Workflow::of_text(test, &format!("{}\n", kept.join("\n")))
}

/// An example whose store is in a bucket: here a prefix of the S3 server's, named by the
/// configuration file of the repository.
fn with_bucket(test: &str, name: &str, server: &SeaweedFs) -> Option<(Workflow, String)> {
    let prefix = server.prefix("examples");
    let workflow = example(test, name)?
        .var("BACKUP_BUCKET", format!("{BUCKET}/{prefix}"))
        .file(
            ".github/backup-action.toml",
            &format!("s3-endpoint = \"{}\"\n", server.endpoint()),
        )
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .env("AWS_EC2_METADATA_DISABLED", "true");
    Some((workflow, prefix))
}

fn opened(seen: &Seen) {
    assert!(seen.success, "{}", seen.log());
    assert_eq!(seen.job("gate"), ["success"]);
    assert_eq!(seen.job("deploy"), ["success"]);
    assert_eq!(seen.output("gate", "passed"), "true");
    assert!(seen.deployed, "{}", seen.log());
    let summaries = seen.summaries();
    assert!(summaries[0].contains("deploy may go on"), "{summaries:?}");
}

fn closed(seen: &Seen) {
    assert!(!seen.success, "{}", seen.log());
    assert_eq!(seen.job("gate"), ["failure"]);
    assert!(!seen.deployed, "{}", seen.log());
    assert_eq!(seen.job("deploy"), [""; 0], "{}", seen.log());
    assert_eq!(seen.output("gate", "passed"), "false");
    let summaries = seen.summaries();
    assert!(summaries[0].contains("deploy blocked"), "{summaries:?}");
}

/// The next run is of another second: backups are named by it.
fn next_second() {
    std::thread::sleep(std::time::Duration::from_millis(1_100));
}

#[test]
fn local_only_opens_and_stays_closed() {
    let test = "actions::examples::local_only";
    let (Some(cluster), Some(workflow)) = (sample(test), example(test, "local-only.yml")) else {
        return;
    };
    let store = tempfile::tempdir().unwrap();
    let workflow = workflow
        .var("BACKUP_DIR", store.path())
        .secret("DATABASE_URL", cluster.url());
    let seen = workflow.run();
    opened(&seen);
    // The deploy job asked the store itself, before anything else.
    assert_eq!(
        seen.step("deploy", "Is the backup still there?"),
        ["success"]
    );
    assert!(
        store
            .path()
            .join(seen.output("gate", "archive-key"))
            .is_file()
    );

    let fake = cluster.fake_bin_dir("dies-after-half");
    let workflow = workflow.file(
        ".github/backup-action.toml",
        &format!("pg-bin-dir = \"{}\"\n", fake.path().display()),
    );
    next_second();
    let seen = workflow.run();
    closed(&seen);
    assert!(seen.output("gate", "failed-checks").contains("dump-exit"));
}

#[test]
fn s3_compatible_and_deploy_gate_open_and_stay_closed() {
    let test = "actions::examples::s3";
    let (Some(cluster), Some(server)) = (sample(test), SeaweedFs::start(test)) else {
        return;
    };
    let prefix = server.prefix("examples");
    let Some(compatible) = example(test, "s3-compatible.yml") else {
        return;
    };
    let compatible = compatible
        .var("BACKUP_BUCKET", format!("{BUCKET}/{prefix}"))
        .var("S3_ENDPOINT", server.endpoint())
        .var("S3_REGION", "us-east-1")
        .secret("DATABASE_URL", cluster.url())
        .secret("BACKUP_KEY_ID", ACCESS_KEY)
        .secret("BACKUP_KEY", SECRET_KEY)
        .secret("BACKUP_READ_KEY_ID", READER_ACCESS_KEY)
        .secret("BACKUP_READ_KEY", READER_SECRET_KEY);
    let seen = compatible.run();
    opened(&seen);
    assert!(!seen.log().contains(SECRET_KEY), "{}", seen.log());
    // A deploy job whose store says nothing does not deploy, whatever the outputs say.
    next_second();
    let seen = compatible.secret("BACKUP_READ_KEY", "wrong").run();
    assert_eq!(seen.output("gate", "passed"), "true", "{}", seen.log());
    assert_eq!(
        seen.step("deploy", "Is the backup still there?"),
        ["failure"]
    );
    assert!(!seen.deployed, "{}", seen.log());

    let Some((aws, _)) = with_bucket(test, "deploy-gate.yml", server) else {
        return;
    };
    let aws = aws.secret("DATABASE_URL", cluster.url());
    opened(&aws.run());
    next_second();
    closed(&aws.env("AWS_SECRET_ACCESS_KEY", "wrong").run());
}

/// Two clusters of a matrix: one that fails keeps the deploy closed, whichever ends last.
#[test]
fn several_clusters_deploy_only_when_all_gates_are_open() {
    let test = "actions::examples::several_clusters";
    let (Some(cluster), Some(server)) = (sample(test), SeaweedFs::start(test)) else {
        return;
    };
    let Some((workflow, prefix)) = with_bucket(test, "several-clusters.yml", server) else {
        return;
    };
    let workflow = workflow.secret("DATABASE_URL", cluster.url());
    let seen = workflow.run();
    assert!(seen.success, "{}", seen.log());
    assert_eq!(seen.job("gate"), ["success", "success"]);
    for name in ["payroll", "billing"] {
        let step = format!("Is the backup of {name} still there?");
        assert_eq!(seen.step("deploy", &step), ["success"]);
        let keys = server.keys(&format!("{prefix}/{name}/"));
        assert!(
            keys.iter().any(|key| key.ends_with(".manifest.json")),
            "{keys:?}"
        );
    }
    assert!(seen.deployed);

    // One gate finds no server, and ends first or last.
    let dir = tempfile::tempdir().unwrap();
    for (late, early) in [("payroll", "billing"), ("billing", "payroll")] {
        let program = dir.path().join(format!("{late}-has-no-server"));
        let script = format!(
            "#!/usr/bin/env bash\nif [[ ${{BACKUP_ACTION_CLUSTER:-}} == {late} ]]; then\n\
             \x20 export BACKUP_ACTION_DATABASE_URL=postgres://127.0.0.1:1/postgres\n\
             \x20 until [[ -e {ended} ]]; do sleep 0.05; done\nfi\n\
             {PROGRAM} \"$@\"; code=$?\n\
             [[ ${{BACKUP_ACTION_CLUSTER:-}} != {early} ]] || touch {ended}\nexit $code\n",
            ended = dir.path().join(format!("{early}-ended")).display(),
        );
        write_program(&program, &script);
        next_second();
        let Some((workflow, _)) = with_bucket(test, "several-clusters.yml", server) else {
            return;
        };
        let seen = workflow
            .secret("DATABASE_URL", cluster.url())
            .program(&program)
            .run();
        let mut gates = seen.job("gate");
        gates.sort_unstable();
        assert_eq!(gates, ["failure", "success"], "{}", seen.log());
        assert!(!seen.deployed, "{}", seen.log());
        assert_eq!(seen.job("deploy"), [""; 0], "{}", seen.log());
    }
}

#[test]
fn drills_restore_what_the_gate_stored() {
    let test = "actions::examples::drills";
    let (Some(cluster), Some(server)) = (sample(test), SeaweedFs::start(test)) else {
        return;
    };
    let Some((gates, prefix)) = with_bucket(test, "several-clusters.yml", server) else {
        return;
    };
    assert!(gates.secret("DATABASE_URL", cluster.url()).run().success);
    let bucket = format!("{BUCKET}/{prefix}");
    let tools = format!(
        "s3-endpoint = \"{}\"\npg-bin-dir = \"{}\"\n",
        server.endpoint(),
        cluster.bin_dir.display()
    );
    let event = json!({"inputs": {"backup": "latest", "engine": "local", "again": "true"}});

    let Some((drills, _)) = with_bucket(test, "drill-matrix.yml", server) else {
        return;
    };
    let drills = drills
        .var("BACKUP_BUCKET", &bucket)
        .file(".github/backup-action.toml", &tools)
        .event("workflow_dispatch", &event);
    let seen = drills.run();
    assert!(seen.success, "{}", seen.log());
    assert_eq!(seen.job("drill"), ["success", "success"]);
    for summary in seen.summaries() {
        assert!(summary.contains("Restore drill passed"), "{summary}");
    }
    for name in ["payroll", "billing"] {
        let kept = seen.artifacts.join(format!("drill-report-{name}"));
        let report = fs::read_to_string(kept.join("backup-action-report.json")).unwrap();
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["verdict"], "passed");
        assert!(kept.join("backup-action-report.html").is_file());
        let keys = server.keys(&format!("{prefix}/{name}/receipts/drill/"));
        assert_eq!(keys.len(), 1, "{keys:?}");
    }
    // A drill of this month is not repeated: a week later nothing is restored.
    let seen = drills.run();
    assert!(seen.success, "{}", seen.log());
    for name in ["payroll", "billing"] {
        let keys = server.keys(&format!("{prefix}/{name}/receipts/drill/"));
        assert_eq!(keys.len(), 1, "{}", seen.log());
    }

    // The single drill, of a store without a backup: red, and the receipt of no restore.
    let Some((drill, empty)) = with_bucket(test, "restore-drill.yml", server) else {
        return;
    };
    let drill = drill
        .file(".github/backup-action.toml", &tools)
        .event("workflow_dispatch", &event);
    let seen = drill.run();
    assert_eq!(seen.job("drill"), ["failure"], "{}", seen.log());
    assert_eq!(seen.output("drill", "passed"), "false");
    // The same with a store that has one.
    gate_into(cluster, server, &format!("{BUCKET}/{empty}/production"));
    let seen = drill.run();
    assert!(seen.success, "{}", seen.log());
    assert_eq!(seen.output("drill", "passed"), "true");
}

/// A gate without a workflow.
fn gate_into(cluster: &Cluster, server: &SeaweedFs, bucket_and_prefix: &str) {
    let ended = Run::new("gate")
        .env("BACKUP_ACTION_DATABASE_URL", cluster.url())
        .env("BACKUP_ACTION_REMOTE", format!("s3://{bucket_and_prefix}"))
        .env("BACKUP_ACTION_S3_ENDPOINT", server.endpoint())
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
        .end();
    assert_eq!(ended.code, 0, "{}", ended.screen());
}

/// The pull request of tests/it/annotate, as the example's event.
#[test]
fn the_pull_request_example_comments_and_leaves_forks_out() {
    let test = "actions::examples::pr_size";
    let (Some(cluster), Some(server)) = (sample(test), SeaweedFs::start(test)) else {
        return;
    };
    let Some((workflow, prefix)) = with_bucket(test, "pr-size.yml", server) else {
        return;
    };
    gate_into(cluster, server, &format!("{BUCKET}/{prefix}/production"));
    let pull = Pull::open();
    let migration = "ALTER TABLE payroll ADD COLUMN bonus numeric;";
    pull.github
        .add_file("db/0042_payroll.sql", "added", Some(migration));
    let workflow = workflow
        .github("GITHUB_API_URL", &pull.github.url())
        .github("GITHUB_REPOSITORY", "acme/payroll")
        .secret("GITHUB_TOKEN", TOKEN);
    // act takes the repository's name for this from the event.
    let seen = workflow.event("pull_request", &event("acme/payroll")).run();
    assert!(seen.success, "{}", seen.log());
    assert_eq!(
        seen.step("annotate", "Annotate"),
        ["success"],
        "{}",
        seen.log()
    );
    let comments = pull.github.comments();
    assert_eq!(comments.len(), 1, "{}", seen.log());
    assert!(
        comments[0].body.contains("tenant_empresa_*.payroll"),
        "{}",
        comments[0].body
    );
    assert!(!seen.log().contains(TOKEN), "{}", seen.log());

    let Some((fork, _)) = with_bucket(test, "pr-size.yml", server) else {
        return;
    };
    let seen = fork.event("pull_request", &event("mallory/payroll")).run();
    assert_eq!(seen.step("annotate", "Annotate"), [""; 0], "{}", seen.log());
    assert_eq!(pull.github.comments().len(), 1);
}

#[test]
fn the_example_with_alerts_tells_every_channel() {
    let test = "actions::examples::alerts";
    let (Some(cluster), Some(server)) = (sample(test), SeaweedFs::start(test)) else {
        return;
    };
    let Some((workflow, _)) = with_bucket(test, "alerts.yml", server) else {
        return;
    };
    let (slack, hook, heartbeat) = (Web::start(&[]), Web::start(&[]), Web::start(&[]));
    let workflow = workflow
        .secret("DATABASE_URL", cluster.url())
        .secret("SLACK_WEBHOOK_URL", slack.url("/services/slack-canary"))
        .secret("BACKUP_WEBHOOK_URL", hook.url("/hook-canary"))
        .secret("BACKUP_WEBHOOK_SECRET", "signing-canary")
        .secret("BACKUP_HEARTBEAT_URL", heartbeat.url("/beat-canary"));
    // Without a secret its channel is not used: there is no mail server here.
    let seen = workflow.run();
    assert!(seen.success, "{}", seen.log());
    assert_eq!(seen.output("gate", "passed"), "true");
    assert_eq!(heartbeat.take().len(), 1, "{}", seen.log());
    // The first gate of a store has no drill yet, and that is a warning.
    assert_eq!(slack.take().len(), 1, "{}", seen.log());
    let told = hook.take();
    assert_eq!(told.len(), 1, "{}", seen.log());
    assert!(told[0].body.contains("drill-fresh"), "{}", told[0].body);

    let seen = workflow
        .secret("DATABASE_URL", "postgres://127.0.0.1:1/postgres")
        .run();
    assert_eq!(seen.job("gate"), ["failure"], "{}", seen.log());
    assert!(heartbeat.take().is_empty(), "{}", seen.log());
    let told = slack.take();
    assert!(told[0].body.contains("deploy blocked"), "{}", told[0].body);
    assert_eq!(hook.take().len(), 1, "{}", seen.log());
    for canary in [
        "slack-canary",
        "hook-canary",
        "signing-canary",
        "beat-canary",
    ] {
        assert!(!seen.log().contains(canary), "{canary}: {}", seen.log());
    }
}

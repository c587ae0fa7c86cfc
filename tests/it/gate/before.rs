//! What closes the gate before a dump starts: the server, its answers, the command line, the
//! configuration, the runner.

use super::world::{PASSWORD, World, own, sample};
use crate::support::cluster::{Auth, Cluster, ClusterOptions, write_program};
use crate::support::need;
use crate::support::past::{backdate, days_ago, invent, manifests, read};
use serde_json::json;

#[test]
fn a_server_that_is_down_closes_the_gate() {
    let Some(mut cluster) = own("server down") else {
        return;
    };
    let world_url = cluster.url();
    cluster.stop();
    let mut world = World::local(&cluster);
    world.url = world_url;
    world.closes(world.gate(), 3, &["server-reachable", "Connection refused"]);
    // A name that nobody has.
    world.url = "postgres://postgres@no-such-host.invalid/postgres".to_owned();
    world.closes(
        world.gate(),
        3,
        &["server-reachable", "no-such-host.invalid"],
    );
}

#[test]
fn the_backup_that_still_protects_is_one_of_this_cluster() {
    let Some(cluster) = sample("last good") else {
        return;
    };
    let mut world = World::local(cluster);
    let store = world.local.clone().unwrap_or_default();
    let named = |world: &World| world.gate().args(&["--cluster", "nostromo"]);
    world.passes(named(&world));
    backdate(&store, &manifests(&store)[0], days_ago(2));
    let ours = read(&manifests(&store)[0]);
    // Newer, in the same prefix, and of another cluster.
    invent(&store, &ours, days_ago(1), |manifest| {
        manifest["source"]["system_identifier"] = json!("7777777777777777777");
        manifest["source"]["cluster"] = json!("sulaco");
    });
    let up = named(&world).args(&["--require-database", "sulaco"]);
    let up = world.closes(up, 1, &["sulaco"]);
    assert_eq!(up.report()["last_good"]["key"], ours["archive_key"]);
    // A server that is down is known by its name.
    world.url = "postgres://postgres@127.0.0.1:1/postgres".to_owned();
    let down = world.closes(named(&world), 3, &["server-reachable"]);
    assert_eq!(down.report()["last_good"]["key"], ours["archive_key"]);
    // A stranger has nothing here.
    let stranger = world.gate().args(&["--cluster", "gateway"]);
    let stranger = world.closes(stranger, 3, &["server-reachable"]);
    assert!(
        stranger.report()["last_good"].is_null(),
        "{}",
        stranger.all()
    );
}

#[test]
fn a_wrong_password_closes_the_gate_and_is_not_repeated() {
    let Some(cluster) = sample("wrong password") else {
        return;
    };
    let world = World::local(cluster);
    for password in ["wr@ng:/p%41ss", "plainwrong", "a b'c\\d"] {
        let encoded =
            percent_encoding::utf8_percent_encode(password, percent_encoding::NON_ALPHANUMERIC);
        let url = format!(
            "postgres://postgres:{encoded}@127.0.0.1:{}/postgres",
            cluster.port
        );
        let gate = world
            .gate()
            .secret_env("BACKUP_ACTION_DATABASE_URL", &url, password);
        world.closes(gate, 3, &["password authentication failed"]);
    }
}

#[test]
fn a_role_that_cannot_read_everything_closes_the_gate() {
    let Some(cluster) = own("blind role") else {
        return;
    };
    cluster.psql(&format!(
        "create schema hidden; create table hidden.salaries (); create role blind login password '{}'",
        PASSWORD.replace('\'', "''")
    ));
    let mut world = World::local(&cluster);
    let encoded =
        percent_encoding::utf8_percent_encode(PASSWORD, percent_encoding::NON_ALPHANUMERIC);
    world.url = format!(
        "postgres://blind:{encoded}@127.0.0.1:{}/postgres",
        cluster.port
    );
    world.closes(world.gate(), 1, &["sees-everything", "hidden.salaries"]);
    // A policy that hides rows is as bad.
    cluster.psql(
        "grant pg_read_all_data to blind; alter table hidden.salaries enable row level security",
    );
    world.closes(world.gate(), 1, &["sees-everything", "hidden.salaries"]);
    // With every right the same role is good enough.
    cluster.psql("alter role blind bypassrls");
    world.passes(world.gate());
}

#[test]
fn a_database_that_nobody_can_connect_to_closes_the_gate() {
    let Some(cluster) = own("datallowconn") else {
        return;
    };
    cluster.psql("create table staff (name text)");
    cluster.psql("create database walled allow_connections false");
    let world = World::local(&cluster);
    world.closes(world.gate(), 1, &["databases-connectable", "walled"]);
    let accepted = world.gate().args(&["--accept-unconnectable", "walled"]);
    world.passes(accepted);
    let other = world.gate().args(&["--accept-unconnectable", "wall"]);
    world.closes(other, 1, &["walled"]);
    let warned = world
        .gate()
        .args(&["--check", "databases-connectable=warn"]);
    let ended = world.passes(warned);
    assert_eq!(ended.check("databases-connectable")["outcome"], "warned");
}

#[test]
fn what_is_required_has_to_be_there() {
    let Some(cluster) = sample("required") else {
        return;
    };
    let world = World::local(cluster);
    let missing = world
        .gate()
        .args(&["--require-schema", "nostromo.tenant_empresa_99"]);
    world.closes(missing, 1, &["not-empty", "tenant_empresa_99"]);
    let missing = world.gate().args(&["--require-database", "sulaco"]);
    world.closes(missing, 1, &["not-empty", "sulaco"]);
    let there = [
        "--require-schema",
        "tenant_empresa_1",
        "--require-database",
        "nostromo",
    ];
    world.passes(world.gate().args(&there));
}

#[test]
fn a_client_that_is_too_old_closes_the_gate() {
    let test = "old client";
    let both = Cluster::installed(Some(17)).and(Cluster::installed(Some(15)));
    let Some(old) = need(test, "servers of PostgreSQL 15 and 17", both) else {
        return;
    };
    let cluster = Cluster::start(ClusterOptions {
        major: Some(17),
        auth: Auth::Scram(PASSWORD.to_owned()),
        ..ClusterOptions::default()
    });
    cluster.psql("create table t as select 1 as a");
    let world = World::local(&cluster);
    let gate = world.gate().env("BACKUP_ACTION_PG_BIN_DIR", &old);
    let ended = world.closes(gate, 1, &["client-version", "17"]);
    let hint = ended.check("client-version")["hint"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(hint.contains("postgresql-client-17"), "{hint}");
    // With its own client the same server is fine.
    if cluster.bin_dir.join("pg_dumpall").is_file() {
        world.passes(world.gate());
    }
}

#[test]
fn what_cannot_be_used_is_refused_with_2() {
    let Some(cluster) = sample("usage") else {
        return;
    };
    let world = World::local(cluster);
    world.passes(world.gate());
    for (variable, value, says) in [
        (
            "BACKUP_ACTION_DATABASE_URL",
            "mysql://c4nary:c4nary@db/x",
            "postgres://",
        ),
        (
            "BACKUP_ACTION_DATABASE_URL",
            "postgres://u:c4nary@h:99999999/x",
            "port",
        ),
        ("BACKUP_ACTION_REMOTE", "https://c4nary@bucket/x", "s3://"),
        ("BACKUP_ACTION_REMOTE", "s3://b_/../x", "bucket"),
        ("BACKUP_ACTION_S3_ENDPOINT", "localhost", "http"),
        ("BACKUP_ACTION_LEVEL", "13", "level"),
        ("BACKUP_ACTION_STALL_TIMEOUT", "soon", "duration"),
        (
            "BACKUP_ACTION_PG_DUMPALL_ARG",
            "--enable-row-security",
            "--enable-row-security",
        ),
        ("BACKUP_ACTION_PG_DUMPALL_ARG", "--file=/tmp/x", "--file"),
        ("BACKUP_ACTION_CHECK", "dump-exit=warn", "dump-exit"),
    ] {
        let mut gate = world.gate().secret_env(variable, value, "c4nary");
        if variable == "BACKUP_ACTION_S3_ENDPOINT" {
            gate = gate.env("BACKUP_ACTION_REMOTE", "s3://bucket/x");
        }
        world.closes(gate, 2, &[says]);
    }
}

#[test]
fn unknown_keys_of_the_configuration_are_refused_with_the_nearest() {
    let Some(cluster) = sample("config") else {
        return;
    };
    let world = World::local(cluster);
    for (text, says) in [
        ("sudo-uesr = 'postgres'\n", "sudo-user"),
        ("[checks]\nsize-flor = 'warn'\n", "size-flor"),
        ("level = [\n", "TOML"),
        (
            "database-url = 'postgres://u:c4nary@h/x'\n",
            "BACKUP_ACTION_DATABASE_URL",
        ),
        ("timeout = 'never'\n", "timeout"),
    ] {
        let gate = world.gate();
        let file = gate.dir().join("backup.toml");
        std::fs::write(&file, text).unwrap();
        let gate = gate.arg("--config").arg(&file);
        let ended = world.closes_before_it_starts(gate, says);
        assert!(!ended.stderr.contains("c4nary"), "{}", ended.all());
    }
    // One that fits is obeyed.
    let gate = world.gate();
    let file = gate.dir().join("backup.toml");
    std::fs::write(&file, "require-database = ['sulaco']\n").unwrap();
    world.closes(gate.arg("--config").arg(&file), 1, &["sulaco"]);
}

#[test]
fn without_a_store_there_is_no_gate() {
    let Some(cluster) = sample("no store") else {
        return;
    };
    let mut world = World::local(cluster);
    world.local = None;
    world.closes(world.gate(), 2, &["no store is named", "--remote"]);
}

#[test]
fn outputs_that_cannot_be_written_are_an_error() {
    let Some(cluster) = sample("GITHUB_OUTPUT") else {
        return;
    };
    let world = World::local(cluster);
    for place in ["/proc/no/such/file", "/dev/full"] {
        let watched = world.start(world.gate().env("GITHUB_OUTPUT", place));
        let before = watched.before.clone();
        let ended = watched.going.end();
        assert_eq!(ended.code, 3, "{}", ended.all());
        assert!(ended.stderr.contains(place), "{}", ended.all());
        assert!(ended.stderr.contains("Hint: "), "{}", ended.all());
        assert_eq!(world.snapshot(), before);
    }
    // It becomes impossible while the dump runs: the backup stays, the gate does not open.
    let fake = tempfile::tempdir().unwrap();
    for name in ["psql", "pg_dump"] {
        std::os::unix::fs::symlink(cluster.bin_dir.join(name), fake.path().join(name)).unwrap();
    }
    let gate = world.gate().env("BACKUP_ACTION_PG_BIN_DIR", fake.path());
    let real = cluster.bin_dir.join("pg_dumpall");
    let output = gate.dir().join("output");
    let spoiled = format!(
        "#!/bin/bash\n[ \"$1\" = --version ] || {{ mv '{0}' '{0}.old'; mkdir '{0}'; }}\nexec '{1}' \"$@\"\n",
        output.display(),
        real.display()
    );
    write_program(&fake.path().join("pg_dumpall"), &spoiled);
    let ended = world.start(gate).going.end();
    assert_eq!(ended.code, 3, "{}", ended.all());
    assert!(
        ended.screen().contains("could not write step output"),
        "{}",
        ended.all()
    );
    let old = std::fs::read_to_string(ended.dir.path().join("output.old")).unwrap();
    assert!(!old.contains("true"), "{old}");
}

#[test]
fn a_summary_or_report_that_cannot_be_written_is_a_warning() {
    let Some(cluster) = sample("summary") else {
        return;
    };
    let world = World::local(cluster);
    let gate = world.gate().env("GITHUB_STEP_SUMMARY", "/dev/full");
    let ended = world.passes(gate.args(&["--summary", "/proc/no/summary"]));
    assert_eq!(
        ended
            .stderr
            .matches("::warning title=backup-action::")
            .count(),
        2,
        "{}",
        ended.all()
    );
}

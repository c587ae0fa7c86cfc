//! Throw-away clusters of both engines: they start, answer, dump, stop and leave nothing, also
//! when their owner is killed.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy does not see as tests"
)]

mod local;

use crate::support::cluster::Cluster;
use crate::support::need;
use backup_action::archive::index::Name;
use backup_action::postgres::throwaway::{EngineChoice, Throwaway, Wanted};
use backup_action::process::{Command, capture};
use std::path::PathBuf;
use std::time::Duration;

/// The major version of a server that is installed for the local engine.
fn local_major(test: &str) -> Option<u32> {
    let dir = need(test, "PostgreSQL's server", Cluster::installed(None))?;
    dir.parent()?.file_name()?.to_str()?.parse().ok()
}

fn wanted(engine: EngineChoice, major: u32, base: Option<PathBuf>) -> Wanted {
    Wanted {
        engine,
        major,
        image: None,
        pg_bin_dir: None,
        base_dir: base,
        encoding: "UTF8".to_owned(),
        jobs: 2,
        tables: 100,
        deadline: Duration::from_secs(120),
    }
}

/// What every cluster has to be able to do, whatever it is made of.
async fn is_useful(cluster: &Throwaway, major: u32) {
    assert_eq!(cluster.tools.version.major, major);
    assert!(cluster.version.starts_with(&major.to_string()));
    let facts: Vec<String> = cluster
        .psql
        .query_json(
            &Name::from("postgres"),
            "select json_build_array(current_user, current_setting('fsync'), pg_encoding_to_char(encoding), \
             (select string_agg(rolname, ',') from pg_roles where rolname !~ '^pg_')) \
             from pg_database where datname = 'template1'",
        )
        .await
        .unwrap();
    let superuser = cluster.superuser.to_string();
    assert_eq!(
        facts,
        [superuser.as_str(), "off", "UTF8", superuser.as_str()]
    );
    assert!(superuser.starts_with("drill_") && superuser.len() == 18);
    let psql = &cluster.psql;
    let command = Command::new(&cluster.tools.pg_dumpall)
        .arg("--no-password")
        .arg("-d")
        .arg(psql.connection.conninfo(None));
    let command = psql.connection.apply(command).run_as(psql.run_as.clone());
    let dump = capture(command, Duration::from_secs(60), 10 << 20)
        .await
        .unwrap();
    assert!(dump.status.is_success(), "{}", dump.stderr);
    let text = String::from_utf8_lossy(&dump.stdout);
    assert!(
        text.contains("\n-- PostgreSQL database cluster dump complete\n"),
        "{text}"
    );
    assert!(text.contains(&format!("CREATE ROLE {superuser}")), "{text}");
}

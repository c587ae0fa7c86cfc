//! A store with two backups and a drill, made once and only read afterwards, and a pull request on
//! the stand-in's GitHub.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy does not see as tests"
)]

use crate::gate::world::{PASSWORD, World, own};
use crate::support::cluster::Cluster;
use crate::support::github::{GitHub, HEAD, TOKEN};
use crate::support::need;
use crate::support::run::{Ended, Run};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;
use tempfile::TempDir;

/// The marker that the comment begins with.
pub(crate) const MARKER: &str = "<!-- backup-action:annotate:backup -->";

/// A schema whose name would do harm in a comment, a log or a table.
pub(crate) const HOSTILE: &str = "x</details>|`@acme/all ::error::forged <img src=x>";

/// What the stores hold: the first backup from `main`, a drill of it, and a second backup from the
/// head of the pull request, in which tenant 2 has grown and a hostile schema is new.
pub(crate) fn stored(test: &str) -> Option<&'static World<'static>> {
    static STORED: OnceLock<World<'static>> = OnceLock::new();
    need(test, "PostgreSQL's server", Cluster::installed(None))?;
    Some(STORED.get_or_init(|| {
        let cluster = Box::leak(Box::new(own(test).expect("it is installed")));
        cluster.sample(3, 40);
        let world = World::local(cluster);
        world.passes(world.gate().env("GITHUB_REF", "refs/heads/main"));
        let drill = world
            .run("drill")
            .env("BACKUP_ACTION_PG_BIN_DIR", &cluster.bin_dir)
            .args(&["--engine", "local"])
            .end();
        assert_eq!(drill.code, 0, "{}", drill.all());
        cluster.psql_in(
            "nostromo",
            &format!(
                "insert into tenant_empresa_2.audit_log (at, entry)
                 select now(), json_build_object('n', i, 'action', md5(i::text)) from generate_series(1, 20000) i;
                 create schema \"{HOSTILE}\"; create table \"{HOSTILE}\".payroll (a int);
                 insert into \"{HOSTILE}\".payroll values (1);"
            ),
        );
        world.passes(
            world
                .gate()
                .env("GITHUB_SHA", HEAD)
                .env("GITHUB_REF", "refs/pull/7/merge"),
        );
        world
    }))
}

/// Pull request 7, and a run for it.
pub(crate) struct Pull {
    pub(crate) github: GitHub,
    dir: TempDir,
}

impl Pull {
    pub(crate) fn open() -> Pull {
        let pull = Pull {
            github: GitHub::start(),
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(pull.checkout()).unwrap();
        pull.event(&event("acme/payroll"));
        pull
    }

    /// Where the repository is checked out.
    pub(crate) fn checkout(&self) -> PathBuf {
        self.dir.path().join("checkout")
    }

    /// Where the event is described.
    pub(crate) fn event_path(&self) -> PathBuf {
        self.dir.path().join("event.json")
    }

    /// Changes what started the run.
    pub(crate) fn event(&self, event: &Value) {
        fs::write(self.event_path(), event.to_string()).unwrap();
    }

    /// `annotate` in a run for the pull request.
    pub(crate) fn run(&self, world: &World) -> Run {
        self.run_for(world.run("annotate"))
    }

    /// The environment of such a run.
    pub(crate) fn run_for(&self, run: Run) -> Run {
        run.env("GITHUB_API_URL", self.github.url())
            .env("GITHUB_EVENT_NAME", "pull_request")
            .env("GITHUB_EVENT_PATH", self.event_path())
            .env("GITHUB_WORKSPACE", self.checkout())
            .env("GITHUB_SHA", "e3e3e3e3")
            .secret_env("GITHUB_TOKEN", TOKEN, TOKEN)
    }

    /// A file of the pull request that is checked out.
    pub(crate) fn add_checked_out(&self, path: &str, text: &str) {
        let file = self.checkout().join(path);
        fs::create_dir_all(file.parent().expect("it has one")).unwrap();
        fs::write(file, text).unwrap();
        self.github.add_file(path, "added", None);
    }
}

/// The event of a pull request from `head` into `acme/payroll`.
pub(crate) fn event(head: &str) -> Value {
    json!({ "action": "synchronize", "number": 7, "pull_request": {
        "number": 7,
        "head": { "sha": HEAD, "ref": "payroll", "repo": { "full_name": head, "fork": false } },
        "base": { "sha": "ba5e", "ref": "main", "repo": { "full_name": "acme/payroll", "fork": false } },
    }, "repository": { "full_name": "acme/payroll" } })
}

/// The run ends with 0 and says nothing that it should not.
pub(crate) fn succeeds(run: Run) -> Ended {
    let ended = run.end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert!(!ended.all().contains(PASSWORD), "{}", ended.all());
    ended
}

/// Lines of stderr that are workflow commands of this kind.
pub(crate) fn commands<'a>(ended: &'a Ended, kind: &str) -> Vec<&'a str> {
    let start = format!("::{kind} ");
    ended
        .stderr
        .lines()
        .filter(|line| line.starts_with(&start))
        .collect()
}

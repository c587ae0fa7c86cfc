//! Where a gate runs in a test: a cluster that is only read, stores of its own, and what has to hold
//! afterwards. [`World::closes`] asserts all of it for a gate that stays closed, [`World::passes`]
//! for one that opens.
#![expect(
    clippy::expect_used,
    reason = "helpers of tests, which clippy does not see as tests"
)]

use crate::support::cluster::{Auth, Cluster, ClusterOptions};
use crate::support::need;
use crate::support::peer::Peer;
use crate::support::run::{Ended, Going, Run, files};
use crate::support::s3::{ACCESS_KEY, BUCKET, SECRET_KEY, SeaweedFs};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// The superuser's password, with everything in it that a URL needs to encode.
pub(crate) const PASSWORD: &str = "c@n/ary:p%41ss w'rd";

/// What is in the cluster of [`sample`].
pub(crate) const TENANTS: u32 = 3;
pub(crate) const ROWS: u32 = 40;

/// A cluster for all tests that only read it: the runbook's database behind a password.
pub(crate) fn sample(test: &str) -> Option<&'static Cluster> {
    static SAMPLE: OnceLock<Cluster> = OnceLock::new();
    need(test, "PostgreSQL's server", Cluster::installed(None))?;
    Some(SAMPLE.get_or_init(|| {
        let cluster = scram();
        cluster.sample(TENANTS, ROWS);
        cluster
    }))
}

/// A cluster for all tests that need an archive of several parts: 20 MB that compress to half.
pub(crate) fn large(test: &str) -> Option<&'static Cluster> {
    static LARGE: OnceLock<Cluster> = OnceLock::new();
    need(test, "PostgreSQL's server", Cluster::installed(None))?;
    Some(LARGE.get_or_init(|| {
        let cluster = scram();
        cluster.psql(
            "create table noise as select i, (select string_agg(md5(i::text || j), '') from generate_series(1, 32) j) as text
             from generate_series(1, 20000) i",
        );
        cluster
    }))
}

/// A cluster of one's own, for a test that changes it.
pub(crate) fn own(test: &str) -> Option<Cluster> {
    need(test, "PostgreSQL's server", Cluster::installed(None)).map(|_| scram())
}

fn scram() -> Cluster {
    Cluster::start(ClusterOptions {
        auth: Auth::Scram(PASSWORD.to_owned()),
        ..ClusterOptions::default()
    })
}

/// Stores, and the cluster that is backed up into them.
pub(crate) struct World<'a> {
    pub(crate) cluster: &'a Cluster,
    /// The database URL of the runs.
    pub(crate) url: String,
    pub(crate) local: Option<PathBuf>,
    pub(crate) remote: Option<Remote>,
    /// The second in which the last run started: keys have no smaller unit.
    last_second: AtomicU64,
    _dir: TempDir,
}

/// A prefix of the S3 server, perhaps behind a peer.
pub(crate) struct Remote {
    pub(crate) server: &'static SeaweedFs,
    pub(crate) prefix: String,
    pub(crate) endpoint: String,
}

/// Everything that a world's stores hold, and how it looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Every file, unfinished ones included.
    pub(crate) local: BTreeMap<String, Vec<u8>>,
    /// Every object, with its ETag and size.
    pub(crate) remote: BTreeMap<String, (String, i64)>,
    /// Multipart uploads that were neither completed nor aborted.
    pub(crate) uploads: Vec<String>,
}

impl Snapshot {
    /// The key of the receipt that a failed run left since `before`; more than one is an error.
    fn new_failed_receipt(&self, before: &Snapshot) -> Option<String> {
        let is_new = |key: &&String| {
            key.starts_with("receipts/gate/")
                && key.contains("Z_failed_")
                && !before.local.contains_key(*key)
                && !before.remote.contains_key(*key)
        };
        let mut found: Vec<&String> = self.local.keys().chain(self.remote.keys()).collect();
        found.retain(is_new);
        assert!(found.iter().all(|key| *key == found[0]), "{found:?}");
        found.first().map(|key| (*key).clone())
    }

    /// The names of all objects that end so, but for those of the archive tier: the first backup of
    /// a month has a copy there.
    pub(crate) fn ending(&self, suffix: &str) -> Vec<&str> {
        self.local
            .keys()
            .chain(self.remote.keys())
            .map(String::as_str)
            .filter(|key| key.ends_with(suffix) && !key.starts_with("archive/"))
            .collect()
    }
}

impl<'a> World<'a> {
    /// With a directory store.
    pub(crate) fn local(cluster: &'a Cluster) -> World<'a> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        World {
            url: cluster.url(),
            cluster,
            local: Some(dir.path().join("store")),
            remote: None,
            last_second: AtomicU64::new(0),
            _dir: dir,
        }
    }

    /// With a directory store and an S3 store; none when SeaweedFS is not installed.
    pub(crate) fn both(test: &str, cluster: &'a Cluster) -> Option<World<'a>> {
        let server = SeaweedFs::start(test)?;
        Some(World {
            remote: Some(Remote {
                server,
                prefix: server.prefix(&format!("gate-{test}")),
                endpoint: server.endpoint(),
            }),
            ..World::local(cluster)
        })
    }

    /// With an S3 store only.
    pub(crate) fn remote(test: &str, cluster: &'a Cluster) -> Option<World<'a>> {
        Some(World {
            local: None,
            ..World::both(test, cluster)?
        })
    }

    /// Puts a peer in front of the S3 server, from now on.
    pub(crate) fn peer(&mut self) -> Peer {
        let remote = self.remote.as_mut().expect("there is an S3 store");
        let peer = Peer::start(remote.server.address());
        remote.endpoint = peer.endpoint();
        peer
    }

    /// A gate into every store.
    pub(crate) fn gate(&self) -> Run {
        self.run("gate")
            .env("BACKUP_ACTION_PG_BIN_DIR", &self.cluster.bin_dir)
            .secret_env("BACKUP_ACTION_DATABASE_URL", &self.url, PASSWORD)
    }

    /// The same, which finds PostgreSQL's programs by itself.
    pub(crate) fn gate_without_dir(&self) -> Run {
        self.run("gate")
            .secret_env("BACKUP_ACTION_DATABASE_URL", &self.url, PASSWORD)
    }

    /// A gate whose pg_dumpall is one of `fixtures/bin`.
    pub(crate) fn gate_with(&self, behaviour: &str) -> (Run, TempDir) {
        let fake = self.cluster.fake_bin_dir(behaviour);
        let run = self.gate().env("BACKUP_ACTION_PG_BIN_DIR", fake.path());
        (run, fake)
    }

    /// Any command over every store.
    pub(crate) fn run(&self, name: &str) -> Run {
        let mut run = Run::new(name);
        if let Some(local) = &self.local {
            run = run.arg("--local").arg(local);
        }
        if let Some(remote) = &self.remote {
            run = run
                .arg("--remote")
                .arg(format!("s3://{BUCKET}/{}", remote.prefix))
                .args(&["--s3-endpoint", &remote.endpoint])
                .env("AWS_REGION", "us-east-1")
                .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
                .secret_env("AWS_SECRET_ACCESS_KEY", SECRET_KEY, SECRET_KEY);
        }
        run
    }

    /// What the stores hold now, seen past the code under test. Without the object of the lock, which
    /// says who had it last and so changes with every run: `lock` tests it.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot {
            local: BTreeMap::new(),
            remote: BTreeMap::new(),
            uploads: Vec::new(),
        };
        if let Some(local) = &self.local {
            for path in files(local) {
                let name = path.strip_prefix(local).expect("it is inside");
                let name = name.to_string_lossy().into_owned();
                snapshot
                    .local
                    .insert(name, fs::read(&path).expect("the file"));
            }
        }
        if let Some(remote) = &self.remote {
            snapshot.remote = objects(remote.server, &remote.prefix);
            snapshot.uploads = remote.server.open_uploads(&remote.prefix);
        }
        let is_lock = |key: &str| key.starts_with("locks/") && key.ends_with(".json");
        snapshot.local.retain(|key, _| !is_lock(key));
        snapshot.remote.retain(|key, _| !is_lock(key));
        snapshot
    }

    /// What the stores hold after a run that did not pass, without the one thing that it may leave:
    /// its receipt, at most one in a store, which says so and holds no secret.
    pub(crate) fn after_failure(&self, before: &Snapshot, ended: &Ended) -> Snapshot {
        let mut after = self.snapshot();
        let mut receipts = Vec::new();
        if let Some(key) = after.new_failed_receipt(before) {
            let local = after.local.remove(&key);
            receipts.extend(local.map(|bytes| (key.clone(), bytes)));
            if after.remote.remove(&key).is_some() {
                let remote = self.remote.as_ref().expect("it is there");
                receipts.push((key.clone(), object(remote, &key)));
            }
        }
        let is_told = |report: &Value| report["dry_run"] == false && report["command"] == "gate";
        let may_leave = matches!(ended.code, 1 | 3) && ended.report.as_ref().is_some_and(is_told);
        assert!(receipts.is_empty() || may_leave, "{}", ended.all());
        for (key, bytes) in receipts {
            let receipt: Value = serde_json::from_slice(&bytes).expect("the receipt is JSON");
            let verdict = if ended.code == 1 { "failed" } else { "error" };
            assert_eq!(receipt["verdict"], verdict, "{key}");
            assert_eq!(&receipt, ended.report(), "{key}");
            for canary in crate::support::run::forms(&[PASSWORD.to_owned(), SECRET_KEY.to_owned()])
            {
                let is_clean = !crate::support::run::contains(&bytes, canary.as_bytes());
                assert!(is_clean, "{canary} in {key}");
            }
        }
        after
    }

    /// Starts a run, in another second than the one before.
    pub(crate) fn start(&self, run: Run) -> Watched<'_> {
        let before = self.snapshot();
        loop {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .expect("a clock");
            // The program reads its clock a little later than we do.
            let latest = (now + Duration::from_millis(400)).as_secs();
            if self.last_second.load(Ordering::Relaxed) < now.as_secs() {
                self.last_second.store(latest, Ordering::Relaxed);
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Watched {
            world: self,
            before,
            marker: run.marker().to_owned(),
            going: run.start(),
        }
    }

    /// The run opens the gate, and there is a backup that says so in every store.
    pub(crate) fn passes(&self, run: Run) -> Ended {
        let Watched { before, going, .. } = self.start(run);
        let ended = going.end();
        assert_eq!(ended.code, 0, "{}", ended.all());
        let after = self.snapshot();
        assert_eq!(after.uploads, Vec::<String>::new(), "{}", ended.all());
        for suffix in ["partial", "_object", "_parts"] {
            assert_eq!(after.ending(suffix), Vec::<&str>::new(), "{}", ended.all());
        }
        for (name, bytes) in &before.local {
            assert!(
                name == "RECOVERY.md" || after.local.get(name) == Some(bytes),
                "{name}"
            );
        }
        for (name, object) in &before.remote {
            assert!(
                name.ends_with("RECOVERY.md") || after.remote.get(name) == Some(object),
                "{name}"
            );
        }
        if ended.report()["dry_run"] == false {
            let manifests =
                after.ending(".manifest.json").len() - before.ending(".manifest.json").len();
            let stores = usize::from(self.local.is_some()) + usize::from(self.remote.is_some());
            assert_eq!(manifests, stores, "{}", ended.all());
            let secrets = [PASSWORD.to_owned(), SECRET_KEY.to_owned()];
            for (name, bytes) in &after.local {
                for canary in crate::support::run::forms(&secrets) {
                    assert!(
                        !crate::support::run::contains(bytes, canary.as_bytes()),
                        "{name}"
                    );
                }
            }
        } else {
            assert_eq!(after, before, "{}", ended.all());
        }
        ended
    }

    /// The run ends with this code, says `says` wherever people look, and leaves nothing.
    pub(crate) fn closes(&self, run: Run, code: i32, says: &[&str]) -> Ended {
        self.start(run).closes(code, says)
    }

    /// The same for a run whose command line or configuration cannot be used: it has no report.
    pub(crate) fn closes_before_it_starts(&self, run: Run, says: &str) -> Ended {
        let ended = self.closes(run, 2, &[says]);
        assert!(ended.report.is_none(), "{}", ended.all());
        ended
    }
}

/// A run of a world, with what the stores held before it.
pub(crate) struct Watched<'a> {
    world: &'a World<'a>,
    pub(crate) before: Snapshot,
    pub(crate) going: Going,
    pub(crate) marker: String,
}

impl Watched<'_> {
    /// See [`World::closes`].
    pub(crate) fn closes(self, code: i32, says: &[&str]) -> Ended {
        let (world, before, marker) = (self.world, self.before, self.marker);
        let ended = self.going.end();
        assert_eq!(ended.code, code, "{}", ended.all());
        let after = world.after_failure(&before, &ended);
        assert_same(&before, &after, &ended);
        assert_closed(world, &ended, says);
        assert_no_session(world.cluster, &marker);
        ended
    }
}

/// Nothing was added, changed or removed, and no upload is open.
fn assert_same(before: &Snapshot, after: &Snapshot, ended: &Ended) {
    let names = |snapshot: &Snapshot| {
        let mut names: Vec<String> = snapshot.local.keys().cloned().collect();
        names.extend(snapshot.remote.keys().cloned());
        names
    };
    assert_eq!(names(after), names(before), "{}", ended.all());
    assert!(
        after.local == before.local && after.remote == before.remote,
        "an object was changed: {}",
        ended.all()
    );
    assert_eq!(
        after.uploads,
        before.uploads,
        "open uploads: {}",
        ended.all()
    );
}

/// Report, summary, screen and outputs say that the deploy is blocked, why, and what to do.
pub(crate) fn assert_closed(world: &World, ended: &Ended, says: &[&str]) {
    assert_ne!(ended.code, 0);
    for words in says {
        ended.assert_says(words);
    }
    assert_eq!(ended.output("passed"), "false", "{}", ended.all());
    assert!(
        ended.summary.contains("deploy blocked"),
        "{}\n{}",
        ended.summary,
        ended.all()
    );
    assert_eq!(ended.output("receipt-key"), "", "{}", ended.all());
    let status = match ended.code {
        1 => "failed",
        2 | 3 => "error",
        _ => "interrupted",
    };
    assert_eq!(ended.output("status"), status, "{}", ended.all());
    if status != "interrupted" {
        let has_hint = ended.report.is_none() || ended.has_hint();
        assert!(has_hint, "no hint: {}", ended.all());
        assert!(
            ended.summary.contains("👉"),
            "{}\n{}",
            ended.summary,
            ended.all()
        );
        assert!(
            ended.stderr.contains("::error"),
            "no annotation: {}",
            ended.all()
        );
    }
    if world.local.as_deref().is_some_and(Path::is_dir) {
        let listed = backups(world);
        let manifests = world.snapshot().local;
        let manifests = manifests
            .keys()
            .filter(|key| key.ends_with(".manifest.json"));
        assert_eq!(listed.len(), manifests.count(), "{}", ended.all());
    }
}

/// The keys of the backups that `list` finds in the directory.
pub(crate) fn backups(world: &World) -> Vec<String> {
    let local = world.local.as_ref().expect("a directory");
    let listed = Run::new("list")
        .arg("--local")
        .arg(local)
        .args(&["--output", "json"])
        .at_home()
        .end();
    assert_eq!(listed.code, 0, "{}", listed.all());
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let stores = listed["stores"].as_array().expect("stores");
    stores
        .iter()
        .flat_map(|store| store["backups"].as_array().expect("backups"))
        .map(|backup| backup["key"].as_str().expect("a key").to_owned())
        .collect()
}

/// The server has no session of the run left.
pub(crate) fn assert_no_session(cluster: &Cluster, marker: &str) {
    if cluster.pid().is_none() {
        return;
    }
    let ask = format!("select count(*) from pg_stat_activity where application_name = '{marker}'");
    let until = Instant::now() + Duration::from_secs(15);
    while cluster.psql(&ask) != "0" {
        assert!(Instant::now() < until, "a session of {marker} is left");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The objects below a prefix, with what changes when they are written again.
fn objects(server: &SeaweedFs, prefix: &str) -> BTreeMap<String, (String, i64)> {
    let prefix = format!("{prefix}/");
    server.ask(|client| async move {
        let listing = client.list_objects_v2().bucket(BUCKET).prefix(&prefix);
        let listing = listing.send().await.expect("the server lists");
        let object = |object: &aws_sdk_s3::types::Object| {
            let key = object.key().unwrap_or_default();
            let key = key.strip_prefix(&prefix).unwrap_or(key).to_owned();
            let etag = object.e_tag().unwrap_or_default().to_owned();
            (key, (etag, object.size().unwrap_or_default()))
        };
        listing.contents().iter().map(object).collect()
    })
}

/// An object as the server holds it.
pub(crate) fn object(remote: &Remote, key: &str) -> Vec<u8> {
    let key = format!("{}/{key}", remote.prefix);
    remote.server.ask(|client| async move {
        let object = client.get_object().bucket(BUCKET).key(key).send().await;
        let body = object.expect("the object").body.collect().await;
        body.expect("its bytes").into_bytes().to_vec()
    })
}

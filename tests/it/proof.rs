//! The round trip on real clusters: what `psql` restored from a dump, dumped again and compared.
//! What comes back unharmed proves equal; every change that is made to it is named.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests run pg_dumpall and psql as a person would"
)]

use crate::support::cluster::{Cluster, ClusterOptions};
use crate::support::{need, root};
use backup_action::archive::index::{Index, Name, Sha256Digest, kind};
use backup_action::archive::object::Objects;
use backup_action::archive::rebuild::rebuild;
use backup_action::proof::{
    Context, Difference, DifferenceKind, Proof, Replacement, Rule, Scope, compare,
};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::Stdio;

const BOOTSTRAP: &str = "drill_bootstrap";

/// A cluster with what is known to come back in another form.
const AWKWARD: &str = r"
create role grp_a; create role grp_b; create role mem_x login; create role mgr superuser;
create role old_role; grant grp_a to mem_x with admin option;
set session authorization mem_x; grant grp_a to grp_b; reset session authorization;
grant pg_read_all_data to mgr;
alter role mem_x set work_mem='5MB'; alter role mem_x in database postgres set search_path='a, b';
create database owned owner mem_x; create database bootowned; create database empty_one;
alter database bootowned set datestyle='ISO, DMY';
grant connect on database bootowned to mem_x; revoke connect on database owned from public;
comment on database bootowned is 'boot';
\c bootowned
alter default privileges for role mem_x grant select on tables to grp_b;
alter default privileges grant execute on functions to grp_b;
grant select on pg_catalog.pg_authid to mem_x;
revoke execute on function pg_catalog.pg_sleep(double precision) from public;
grant usage on schema public to mem_x with grant option; grant create on schema public to mem_x;
create table t(id int primary key, v text default 'x'); insert into t values (1, 'a'), (2, 'b');
grant select on t to mem_x with grant option; comment on table t is 'one';
set session authorization mem_x; grant select on t to grp_b; reset session authorization;
create index t_v on t(v); create view w as select id from t;
create table par(a int); create table chi(b int) inherits (par); alter table par add column c int;
insert into chi values (1,2,3),(4,5,6);
create type en as enum('a','b','c'); create table hp(e en, x int) partition by hash(e);
create table hp0 partition of hp for values with (modulus 2, remainder 0);
create table hp1 partition of hp for values with (modulus 2, remainder 1);
insert into hp select (array['a','b','c'])[1+i%3]::en, i from generate_series(1,20) i;
create sequence sq; select nextval('sq');
create materialized view mv as select count(*) from t; create index on mv(count);
select lo_from_bytea(4711, '\x00'); grant select on large object 4711 to mem_x;
create publication p for table t; comment on extension plpgsql is 'other';
\c template1
create table in_t1(x int);
\c postgres
create table in_pg(x int); comment on table in_pg is 'c'; grant select on in_pg to mem_x;
";

struct Dump {
    sql: Vec<u8>,
    index: Index,
}

fn dump(cluster: &Cluster) -> Dump {
    let mut pg_dumpall = std::process::Command::new(cluster.bin_dir.join("pg_dumpall"));
    let output = pg_dumpall
        .args(["-d", &cluster.socket_url()])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    indexed(output.stdout)
}

fn indexed(sql: Vec<u8>) -> Dump {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&sql).unwrap();
    let rebuilt = rebuild(&gzip.finish().unwrap()[..], |_| {}).unwrap();
    assert!(rebuilt.completeness.is_complete());
    Dump {
        sql,
        index: rebuilt.index,
    }
}

fn start(major: u32, superuser: &'static str) -> Cluster {
    Cluster::start(ClusterOptions {
        major: Some(major),
        superuser,
        settings: vec!["autovacuum=off".to_owned()],
        ..ClusterOptions::default()
    })
}

fn feed(cluster: &Cluster, sql: &[u8]) {
    let mut psql = cluster.psql_command("postgres");
    // Its \connect takes connection strings, which keep nothing of the session before.
    psql.env("PGHOST", &cluster.socket_dir)
        .env("PGPORT", cluster.port.to_string())
        .env("PGUSER", cluster.psql("select current_user"));
    let mut child = psql
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let sql = sql.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&sql));
    let output = child.wait_with_output().unwrap();
    drop(writer.join().unwrap());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// From PostgreSQL 16 on only the first role of a cluster may be said to have granted what it
/// granted, so a restore into a cluster of another has to say that one.
fn with_our_grantor(dump: &Dump) -> (Vec<u8>, BTreeMap<usize, Replacement>) {
    let (from, to) = (" GRANTED BY postgres;", format!(" GRANTED BY {BOOTSTRAP};"));
    let mut sql = dump.sql.clone();
    let mut replaced = BTreeMap::new();
    for (number, entry) in dump.index.entries.iter().enumerate().rev() {
        let (start, end) = (entry.ranges[0].start as usize, entry.ranges[0].end as usize);
        let text = String::from_utf8_lossy(&dump.sql[start..end]).into_owned();
        if &*entry.kind != kind::GLOBAL || !text.contains(from) {
            continue;
        }
        let text = text.replace(from, &to);
        let digest = Sha256::digest(text.trim().as_bytes());
        replaced.insert(
            number,
            Replacement {
                sha256: Sha256Digest(digest.into()),
                what: "the grantor".to_owned(),
            },
        );
        sql.splice(start..end, text.into_bytes());
    }
    (sql, replaced)
}

/// A restored cluster beside the dump that it was restored from.
struct Pair {
    archive: Dump,
    restored: Cluster,
    context: Context,
}

impl Pair {
    fn new(source: &Cluster, major: u32) -> Pair {
        let archive = dump(source);
        let restored = start(major, BOOTSTRAP);
        let (sql, replaced) = match major {
            15 => (archive.sql.clone(), BTreeMap::new()),
            _ => with_our_grantor(&archive),
        };
        feed(&restored, &sql);
        let superusers = restored.psql("select rolname from pg_roles where rolsuper");
        Pair {
            archive,
            context: Context {
                drill_superuser: Name::from(BOOTSTRAP),
                superusers: superusers.lines().map(Name::from).collect(),
                replaced,
                scope: Scope::Cluster,
                rows: true,
                renamed: None,
            },
            restored,
        }
    }

    fn compared(&self) -> Proof {
        let mut proof = compare(
            &self.archive.index,
            &dump(&self.restored).index,
            &self.context,
        );
        for open in proof.undecided.clone() {
            let mut reader = open.reader();
            let copy = self.archive.index.entries[open.archive]
                .copy
                .as_ref()
                .unwrap();
            for range in &copy.data {
                reader.feed(&self.archive.sql[range.start as usize..range.end as usize]);
            }
            proof.decide(&open, reader.finish());
        }
        proof
    }
}

fn names(differences: &[Difference]) -> Vec<(DifferenceKind, &str)> {
    differences
        .iter()
        .map(|difference| (difference.kind, difference.object.as_str()))
        .collect()
}

fn rules(proof: &Proof) -> BTreeSet<Rule> {
    proof
        .harmless
        .iter()
        .map(|harmless| harmless.rule)
        .collect()
}

fn round_trip(major: u32, sql: &str) -> Option<(Proof, Pair)> {
    let test = "round trip";
    let server = format!("PostgreSQL {major}");
    need(test, &server, Cluster::installed(Some(major)))?;
    let source = start(major, "postgres");
    feed(&source, sql.as_bytes());
    let pair = Pair::new(&source, major);
    let proof = pair.compared();
    assert_eq!(proof.differences, [], "PostgreSQL {major}");
    assert!(proof.is_equal());
    assert_eq!(proof.archived.rows, proof.restored.rows);
    assert_eq!(proof.archived.databases, proof.restored.databases);
    assert!(proof.archived.entries > 0);
    Some((proof, pair))
}

#[test]
fn the_awkward_cluster_comes_back_on_every_major() {
    for major in [15, 17, 18] {
        let Some((proof, pair)) = round_trip(major, AWKWARD) else {
            continue;
        };
        let mut wanted = BTreeSet::from([
            Rule::DrillSuperuser,
            Rule::BootstrapOwner,
            Rule::ColumnOrder,
        ]);
        if major > 15 {
            wanted.insert(Rule::Replaced);
        }
        let mut found = rules(&proof);
        // Whether the leaves differ is up to the values that the enum was given.
        found.remove(&Rule::HashPartitions);
        assert_eq!(found, wanted, "PostgreSQL {major}");
        let of = |rule: Rule| -> Vec<&str> {
            let harmless = proof.harmless.iter().filter(|h| h.rule == rule);
            harmless.map(|h| h.object.as_str()).collect()
        };
        assert_eq!(of(Rule::DrillSuperuser), ["ROLE drill_bootstrap"; 2]);
        assert_eq!(of(Rule::ColumnOrder), ["TABLE DATA bootowned: public.chi"]);
        assert!(
            of(Rule::BootstrapOwner)
                .iter()
                .all(|object| { object.starts_with("ACL ") || object.starts_with("COMMENT ") })
        );

        // None of the rules holds for a cluster that was restored by somebody else.
        let restored = dump(&pair.restored).index;
        for spoil in [
            |context: &mut Context| context.drill_superuser = Name::from("mgr"),
            |context: &mut Context| context.superusers = BTreeSet::new(),
        ] {
            let mut context = pair.context.clone();
            spoil(&mut context);
            let proof = compare(&pair.archive.index, &restored, &context);
            assert!(!proof.differences.is_empty());
        }
    }
}

#[test]
fn the_hostile_cluster_comes_back_on_every_major() {
    let hostile = std::fs::read_to_string(root().join("fixtures/sql/hostile.sql")).unwrap();
    for major in [15, 17, 18] {
        round_trip(major, &hostile);
    }
}

#[test]
fn an_empty_cluster_and_the_sample_come_back() {
    if let Some((proof, _)) = round_trip(15, "") {
        assert_eq!(proof.archived.rows, 0);
        assert_eq!(proof.archived.tables, 0);
    }
    if need("sample", "PostgreSQL 15", Cluster::installed(Some(15))).is_some() {
        let source = start(15, "postgres");
        source.sample(2, 30);
        let pair = Pair::new(&source, 15);
        let proof = pair.compared();
        assert_eq!(proof.differences, []);
        assert_eq!(proof.restored.rows, 2 * (1 + 3 * 30) + 2);

        // One database under another name.
        let mut context = pair.context.clone();
        context.scope = Scope::Database(Name::from("nostromo"));
        pair.restored
            .psql("alter database nostromo rename to beside");
        context.renamed = Some((Name::from("nostromo"), Name::from("beside")));
        let restored = dump(&pair.restored).index;
        let create = pair
            .archive
            .index
            .entries
            .iter()
            .position(|entry| &*entry.kind == "DATABASE");
        let proof = compare(&pair.archive.index, &restored, &context);
        assert_eq!(
            names(&proof.differences),
            [(DifferenceKind::Statement, "DATABASE nostromo")]
        );
        let renamed = restored
            .entries
            .iter()
            .find(|entry| &*entry.kind == "DATABASE");
        context.replaced.insert(
            create.unwrap(),
            Replacement {
                sha256: renamed.unwrap().sha256,
                what: "its name".to_owned(),
            },
        );
        let proof = compare(&pair.archive.index, &restored, &context);
        assert_eq!(proof.differences, []);
        assert_eq!(proof.archived.databases, 1);

        // One schema of it.
        context.scope = Scope::Schema {
            database: Name::from("nostromo"),
            schema: Name::from("tenant_empresa_2"),
        };
        pair.restored
            .psql_in("beside", "drop table tenant_empresa_1.audit_log");
        let proof = compare(&pair.archive.index, &dump(&pair.restored).index, &context);
        assert_eq!(proof.differences, []);
        assert_eq!((proof.archived.schemas, proof.archived.tables), (1, 3));
        pair.restored
            .psql_in("beside", "drop view tenant_empresa_2.costs");
        let proof = compare(&pair.archive.index, &dump(&pair.restored).index, &context);
        assert_eq!(
            names(&proof.differences),
            [
                (
                    DifferenceKind::Missing,
                    "VIEW nostromo: tenant_empresa_2.costs"
                ),
                (
                    DifferenceKind::Missing,
                    "ACL nostromo: tenant_empresa_2.TABLE costs"
                ),
            ]
        );
    }
}

fn owner(cluster: &Cluster) -> u32 {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&cluster.data_dir).unwrap())
}

#[test]
fn every_change_is_named() {
    use DifferenceKind::{Added, Columns, Data, Missing, Rows, Statement};
    let Some((_, pair)) = round_trip(15, AWKWARD) else {
        return;
    };
    // A change, how it is undone, and what has to be said.
    type Change = (
        &'static str,
        &'static str,
        &'static [(DifferenceKind, &'static str)],
    );
    let changes: &[Change] = &[
        (
            "update t set v = 'c' where id = 2",
            "update t set v = 'b' where id = 2",
            &[(Data, "TABLE DATA bootowned: public.t")],
        ),
        (
            "insert into t values (3, 'c')",
            "delete from t where id = 3",
            &[(Rows, "TABLE DATA bootowned: public.t")],
        ),
        (
            "update chi set b = c, c = b",
            "update chi set b = c, c = b",
            &[(Data, "TABLE DATA bootowned: public.chi")],
        ),
        (
            "update hp set x = x + 1 where x = 20",
            "update hp set x = x - 1 where x = 21",
            &[(Data, "TABLE DATA bootowned: public.hp")],
        ),
        (
            "drop role old_role",
            "create role old_role",
            &[(Missing, "ROLE old_role"), (Missing, "ROLE old_role")],
        ),
        (
            "alter role mem_x superuser",
            "alter role mem_x nosuperuser",
            &[(Statement, "ROLE mem_x")],
        ),
        (
            "revoke pg_read_all_data from mgr",
            "grant pg_read_all_data to mgr granted by postgres",
            &[(Missing, "ROLE MEMBERSHIP pg_read_all_data")],
        ),
        (
            "create role forged superuser",
            "drop role forged",
            &[(Added, "ROLE forged"), (Added, "ROLE forged")],
        ),
        (
            "drop index t_v",
            "create index t_v on t(v)",
            &[(Missing, "INDEX bootowned: public.t_v")],
        ),
        (
            "create or replace view w as select id + 0 as id from t",
            "create or replace view w as select id from t",
            &[(Statement, "VIEW bootowned: public.w")],
        ),
        (
            "select nextval('sq')",
            "select setval('sq', 1)",
            &[(Statement, "SEQUENCE SET bootowned: public.sq")],
        ),
        (
            "comment on table t is 'two'",
            "comment on table t is 'one'",
            &[(Statement, "COMMENT bootowned: public.TABLE t")],
        ),
        (
            "grant insert on t to mem_x",
            "revoke insert on t from mem_x",
            &[(Statement, "ACL bootowned: public.TABLE t")],
        ),
        (
            "grant select on pg_catalog.pg_statistic to mem_x",
            "revoke select on pg_catalog.pg_statistic from mem_x",
            &[(Added, "ACL bootowned: pg_catalog.TABLE pg_statistic")],
        ),
        (
            "alter table t alter v set default 'y'",
            "alter table t alter v set default 'x'",
            &[(Statement, "TABLE bootowned: public.t")],
        ),
        (
            "alter database bootowned reset datestyle",
            "alter database bootowned set datestyle='ISO, DMY'",
            &[(Missing, "DATABASE PROPERTIES bootowned")],
        ),
        (
            "alter database empty_one owner to mem_x",
            "alter database empty_one owner to postgres",
            &[(Statement, "DATABASE empty_one")],
        ),
        (
            "alter table t set tablespace fast",
            "alter table t set tablespace pg_default",
            &[(Statement, "TABLE bootowned: public.t")],
        ),
        (
            "refresh materialized view mv with no data",
            "refresh materialized view mv",
            &[(Missing, "MATERIALIZED VIEW DATA bootowned: public.mv")],
        ),
        (
            "alter table par rename column a to aa",
            "alter table par rename column aa to a",
            &[
                (Statement, "TABLE bootowned: public.par"),
                (Columns, "TABLE DATA bootowned: public.chi"),
                (Columns, "TABLE DATA bootowned: public.par"),
            ],
        ),
        (
            "drop table hp",
            "",
            &[
                (Missing, "TABLE bootowned: public.hp"),
                (Missing, "TABLE bootowned: public.hp0"),
                (Missing, "TABLE bootowned: public.hp1"),
                (Missing, "TABLE ATTACH bootowned: public.hp0"),
                (Missing, "TABLE ATTACH bootowned: public.hp1"),
                // The leaves as the comments name them, the rows as COPY loads them.
                (Missing, "TABLE DATA bootowned: public.hp0"),
                (Missing, "TABLE DATA bootowned: public.hp"),
                (Missing, "TABLE DATA bootowned: public.hp"),
                (Missing, "TABLE DATA bootowned: public.hp1"),
            ],
        ),
        (
            "alter table t drop column v; alter table t add column v text default 'x'; update t set v = chr(96 + id); alter table t add column z int; alter table t drop column id cascade; alter table t add column id int",
            "",
            &[],
        ),
    ];
    // Its place is on the drill's side only, and is the one thing that is new in every answer.
    std::fs::create_dir(pair.restored.data_dir.join("../fast")).unwrap();
    let fast = pair
        .restored
        .data_dir
        .join("../fast")
        .canonicalize()
        .unwrap();
    std::os::unix::fs::chown(&fast, Some(owner(&pair.restored)), None).unwrap();
    pair.restored.psql(&format!(
        "create tablespace fast location '{}'",
        fast.display()
    ));
    for (change, undo, wanted) in changes {
        pair.restored.psql_in("bootowned", change);
        let mut proof = pair.compared();
        proof
            .differences
            .retain(|difference| difference.object != "TABLESPACE fast");
        if wanted.is_empty() {
            let found = names(&proof.differences);
            for wanted in [
                (Statement, "TABLE bootowned: public.t"),
                (Columns, "TABLE DATA bootowned: public.t"),
            ] {
                assert!(found.contains(&wanted), "{change}: {found:#?}");
            }
            continue;
        }
        assert_eq!(names(&proof.differences), *wanted, "{change}");
        if !undo.is_empty() {
            pair.restored.psql_in("bootowned", undo);
        }
    }
    // Databases, the empty one too, since no entry of its own might be left to miss.
    pair.restored.psql("drop database empty_one");
    let proof = pair.compared();
    let gone = (Missing, "DATABASE empty_one");
    let found = names(&proof.differences);
    assert_eq!(found.iter().filter(|one| **one == gone).count(), 1);
    // Nothing is compared twice or forgotten: without rows the data is not looked at.
    let mut context = pair.context.clone();
    context.rows = false;
    let proof = compare(&pair.archive.index, &dump(&pair.restored).index, &context);
    assert!(
        names(&proof.differences)
            .iter()
            .all(|(_, object)| !object.contains(" DATA ") && !object.starts_with("SEQUENCE SET")),
        "{:#?}",
        proof.differences
    );
    let objects = Objects::of(&pair.archive.index);
    assert!((0..pair.archive.index.entries.len()).any(|n| objects.kind(n) == "ROLE SETTING"));
}

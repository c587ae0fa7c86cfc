//! One schema out of an archive, in one transaction: all of it or nothing, and nobody else waits.

use super::bench::{Shelf, dumpall, scan, source};
use crate::support::cluster::Cluster;
use backup_action::archive::index::Name;
use backup_action::pipeline::progress::Progress;
use backup_action::restore::plan::Scope;
use backup_action::restore::schema::{Around, load_schema};
use backup_action::restore::{Load, Loaded};
use std::sync::Arc;

const TENANT: &str = "tenant_empresa_2";

fn scope() -> Scope {
    Scope::Schema {
        database: Name::from("nostromo"),
        schema: Name::from(TENANT),
    }
}

/// In place of the old one, saying which tables of others are locked when all is done.
fn around() -> Around {
    Around {
        before: format!("DROP SCHEMA {TENANT} CASCADE;").into_bytes(),
        after: format!(
            "INSERT INTO public.locked SELECT c.oid::pg_catalog.regclass::text, mode
             FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_class c ON c.oid = l.relation
             WHERE l.pid = pg_catalog.pg_backend_pid() AND c.relnamespace <> '{TENANT}'::regnamespace
               AND c.relnamespace::regnamespace::text LIKE 'tenant%'"
        )
        .into_bytes(),
    }
}

async fn replace(load: Load) -> anyhow::Result<Loaded> {
    load_schema(load, around(), &Arc::new(Progress::default())).await
}

async fn prepared(test: &str, rows: u32) -> Option<(Cluster, Shelf)> {
    let cluster = source(test, None)?;
    cluster.sample(4, rows);
    cluster.psql_in(
        "nostromo",
        "create table public.locked (name text, mode text)",
    );
    let shelf = Shelf::with_members(dumpall(&cluster), 20_000).await;
    Some((cluster, shelf))
}

/// The entries of the tenant, with their digests.
fn tenant(dump: &[u8]) -> Vec<String> {
    super::bench::contents(&scan(dump))
        .into_iter()
        .filter(|line| line.contains(TENANT))
        .collect()
}

#[tokio::test]
async fn one_tenant_is_replaced_and_nobody_else_waits() {
    let test = "one_tenant_is_replaced_and_nobody_else_waits";
    let Some((cluster, shelf)) = prepared(test, 2000).await else {
        return;
    };
    let before = tenant(&shelf.dump);
    cluster.psql_in(
        "nostromo",
        &format!("delete from {TENANT}.audit_log; drop view {TENANT}.costs"),
    );
    // The others are written meanwhile.
    let writer = cluster.hold(
        "nostromo",
        "lock table tenant_empresa_1.payroll in row exclusive mode",
    );
    let loaded = replace(shelf.load(&cluster, &scope())).await.unwrap();
    drop(writer);
    assert_eq!(tenant(&dumpall(&cluster)), before);
    assert_eq!(loaded.tables, 3);
    assert_eq!(loaded.rows, 6000);
    assert_eq!(
        cluster.psql_in("nostromo", "select * from public.locked"),
        ""
    );
    let read = loaded.archive_bytes_read as f64 / shelf.index().archive_bytes as f64;
    assert!(read < 0.4, "{read} of the archive was read for one of 4");
}

#[tokio::test]
async fn a_schema_that_fails_anywhere_leaves_the_old_one() {
    let test = "a_schema_that_fails_anywhere_leaves_the_old_one";
    let Some((cluster, shelf)) = prepared(test, 40).await else {
        return;
    };
    cluster.psql_in(
        "nostromo",
        &format!("delete from {TENANT}.audit_log where id < 5"),
    );
    let before = tenant(&dumpall(&cluster));
    let find = |kind: &str, name: &str| {
        let entries = shelf.index().entries.iter();
        let is = |e: &&backup_action::archive::index::Entry| {
            e.schema == Some(Name::from(TENANT)) && &*e.kind == kind && e.name == Name::from(name)
        };
        let found = entries.enumerate().find(|(_, e)| is(e));
        found.unwrap().0
    };
    let broken = b"select 1 from nowhere".to_vec();
    for (kind, name) in [
        ("TABLE", "payroll"),
        ("FK CONSTRAINT", "payroll payroll_employee_id_fkey"),
        ("INDEX", "payroll_month_idx"),
    ] {
        let mut load = shelf.load(&cluster, &scope());
        load.replace.insert(find(kind, name), broken.clone());
        let error = replace(load).await.unwrap_err();
        let error = backup_action::error::one_line(&error);
        assert!(
            error.contains(&format!("{kind} {TENANT}.{name}")),
            "{error}"
        );
        assert!(error.contains("nowhere"), "{error}");
        assert_eq!(tenant(&dumpall(&cluster)), before, "{kind}");
    }
    // A table whose rows do not fit.
    let mut load = shelf.load(&cluster, &scope());
    let sql =
        format!("CREATE TABLE {TENANT}.employees (id int, name text, email text, salary date)");
    load.replace
        .insert(find("TABLE", "employees"), sql.into_bytes());
    let error = backup_action::error::one_line(&replace(load).await.unwrap_err());
    assert!(
        error.contains(&format!("TABLE DATA {TENANT}.employees")),
        "{error}"
    );
    assert_eq!(tenant(&dumpall(&cluster)), before);
    // A rule of the caller that swallows nothing, but fails at the very end.
    let load = shelf.load(&cluster, &scope());
    let around = Around {
        after: b"select 1/0".to_vec(),
        ..around()
    };
    let error = load_schema(load, around, &Arc::default())
        .await
        .unwrap_err();
    let error = backup_action::error::one_line(&error);
    assert!(error.contains("division by zero"), "{error}");
    assert_eq!(tenant(&dumpall(&cluster)), before);
}

#[tokio::test]
async fn a_table_that_takes_fewer_rows_is_not_committed() {
    let test = "a_table_that_takes_fewer_rows_is_not_committed";
    let Some((cluster, shelf)) = prepared(test, 40).await else {
        return;
    };
    let before = tenant(&dumpall(&cluster));
    let entries = shelf.index().entries.iter();
    let is_table = |e: &backup_action::archive::index::Entry| {
        e.schema == Some(Name::from(TENANT))
            && &*e.kind == "TABLE"
            && e.name == Name::from("audit_log")
    };
    let table = entries.enumerate().find(|(_, e)| is_table(e)).unwrap().0;
    let mut load = shelf.load(&cluster, &scope());
    let sql = format!(
        "CREATE TABLE {TENANT}.audit_log (id bigint NOT NULL, at timestamptz NOT NULL, entry jsonb NOT NULL);
         CREATE FUNCTION {TENANT}.swallow() RETURNS trigger LANGUAGE plpgsql AS 'begin if new.id = 7 then return null; end if; return new; end';
         CREATE TRIGGER swallow BEFORE INSERT ON {TENANT}.audit_log FOR EACH ROW EXECUTE FUNCTION {TENANT}.swallow()"
    );
    load.replace.insert(table, sql.into_bytes());
    let error = backup_action::error::one_line(&replace(load).await.unwrap_err());
    assert!(error.contains("counts 39 rows, the index 40"), "{error}");
    assert!(error.contains(&format!("{TENANT}.audit_log")), "{error}");
    assert_eq!(tenant(&dumpall(&cluster)), before);
}

//! What cannot be restored is named, with the server's words; and the rest goes on when asked to.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that cannot go on ends its test"
)]

use super::bench::{Shelf, dumpall, run, source, target};
use backup_action::archive::index::{Index, Name};
use backup_action::error::one_line;
use backup_action::restore::OnFailure;
use backup_action::restore::plan::Scope;
use std::time::{Duration, Instant};

fn find(index: &Index, kind: &str, schema: Option<&str>, name: &str) -> usize {
    let mut entries = index.entries.iter();
    let found = entries.position(|e| {
        &*e.kind == kind && e.schema == schema.map(Name::from) && e.name == Name::from(name)
    });
    found.unwrap()
}

#[tokio::test]
async fn a_failure_is_named_and_the_rest_goes_on_when_asked() {
    let test = "a_failure_is_named_and_the_rest_goes_on_when_asked";
    let Some(from) = source(test, None) else {
        return;
    };
    from.sample(3, 60);
    let shelf = Shelf::new(dumpall(&from)).await;
    let index = shelf.index();
    let t1 = Some("tenant_empresa_1");
    let broken = [
        (find(index, "VIEW", t1, "costs"), "TABLE"),
        (find(index, "INDEX", t1, "payroll_month_idx"), ""),
        (
            find(
                index,
                "FK CONSTRAINT",
                t1,
                "payroll payroll_employee_id_fkey",
            ),
            "",
        ),
    ];
    let narrow = find(index, "TABLE", t1, "employees");
    let to = target(test, None).unwrap();
    let mut load = shelf.load(&to, &Scope::Cluster);
    for (entry, _) in broken {
        load.replace
            .insert(entry, b"\n\nselect 1 from nowhere".to_vec());
    }
    load.replace.insert(
        narrow,
        b"CREATE TABLE tenant_empresa_1.employees (id int, name text, email text, salary date)"
            .to_vec(),
    );
    load.on_failure = OnFailure::Continue;
    let loaded = run(load.clone()).await.unwrap();
    let named: Vec<(&str, &str)> = loaded
        .failures
        .iter()
        .map(|f| (f.object.as_str(), f.message.lines().next().unwrap()))
        .collect();
    let gone = "relation \"nowhere\" does not exist";
    assert_eq!(
        named,
        [
            ("VIEW tenant_empresa_1.costs of database nostromo", gone),
            (
                "TABLE DATA tenant_empresa_1.employees of database nostromo",
                "invalid input syntax for type date (line 1 of its rows)"
            ),
            (
                "INDEX tenant_empresa_1.payroll_month_idx of database nostromo",
                gone
            ),
            (
                "FK CONSTRAINT tenant_empresa_1.payroll payroll_employee_id_fkey of database nostromo",
                gone
            ),
            (
                "ACL tenant_empresa_1.TABLE costs of database nostromo",
                "relation \"tenant_empresa_1.costs\" does not exist"
            ),
        ]
    );
    assert_eq!(loaded.rows, index.rows() - 60);
    assert_eq!(
        to.psql_in(
            "nostromo",
            "select count(*) from tenant_empresa_3.audit_log"
        ),
        "60"
    );

    let to = target(test, None).unwrap();
    let mut load = shelf.load(&to, &Scope::Cluster);
    load.replace
        .insert(broken[1].0, b"select 1 from nowhere".to_vec());
    let error = one_line(&run(load).await.unwrap_err());
    assert!(
        error.starts_with(
            "could not restore INDEX tenant_empresa_1.payroll_month_idx of database nostromo: "
        ),
        "{error}"
    );
    assert!(error.contains(gone), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_or_stands_still_ends_the_restore() {
    let test = "a_server_that_goes_away_or_stands_still_ends_the_restore";
    let Some(from) = source(test, None) else {
        return;
    };
    from.psql(
        "create table big as select i, repeat('x', 900) as t from generate_series(1, 60000) i",
    );
    let shelf = Shelf::new(dumpall(&from)).await;
    let mut to = target(test, None).unwrap();
    let load = shelf.load(&to, &Scope::Cluster);
    let restore = tokio::spawn(run(load));
    let until = Instant::now() + Duration::from_secs(30);
    while to.psql("select count(*) from pg_stat_activity where query like 'COPY%' and pid <> pg_backend_pid()") == "0" {
        assert!(Instant::now() < until && !restore.is_finished());
    }
    to.stop();
    let error = restore.await.unwrap().unwrap_err();
    let error = one_line(&error);
    assert!(
        error.contains("connection") || error.contains("no server"),
        "{error}"
    );
}

//! One tenant out of a full archive, in one transaction.

use super::{TENANT, count, empty, filled, restore, shelf};

#[test]
fn one_tenant_is_replaced_while_others_are_written() {
    let test = "one_tenant_is_replaced_while_others_are_written";
    let Some(world) = shelf(test) else { return };
    let target = filled();
    let wanted = count(world.cluster, "nostromo", "tenant_empresa_2.payroll");
    target.psql_in(
        "nostromo",
        "delete from tenant_empresa_2.audit_log; create table tenant_empresa_2.extra (i int)",
    );
    let ended = restore(world, &target).args(&["--schema", TENANT]).end();
    assert_eq!(ended.code, 2, "{}", ended.all());
    assert!(
        ended.stderr.contains("add --yes") && ended.stderr.contains("replaces"),
        "{}",
        ended.all()
    );
    assert_eq!(count(&target, "nostromo", "tenant_empresa_2.extra"), "0");
    let other = target.hold("nostromo", "insert into tenant_empresa_1.audit_log select * from tenant_empresa_1.audit_log limit 0; lock table tenant_empresa_1.payroll in row exclusive mode");
    let ended = restore(world, &target)
        .args(&["--schema", TENANT, "--yes"])
        .end();
    drop(other);
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(
        count(&target, "nostromo", "tenant_empresa_2.payroll"),
        wanted
    );
    assert_eq!(
        target.psql_in(
            "nostromo",
            "select to_regclass('tenant_empresa_2.extra') is null"
        ),
        "t"
    );
    assert_eq!(
        target.psql_in(
            "nostromo",
            "select count(*) from pg_namespace where nspname ~ '_before_'"
        ),
        "0"
    );
}

#[test]
fn a_tenant_that_others_depend_on_is_refused_by_name() {
    let Some(world) = shelf("a_tenant_that_others_depend_on_is_refused_by_name") else {
        return;
    };
    let target = filled();
    target.psql_in(
        "nostromo",
        "create view public.totals as select count(*) from tenant_empresa_2.payroll",
    );
    let ended = restore(world, &target)
        .args(&["--schema", TENANT, "--yes"])
        .end();
    assert_eq!(ended.code, 1, "{}", ended.all());
    ended.assert_says("public.totals");
    assert_eq!(count(&target, "nostromo", "public.totals"), "1");
}

#[test]
fn roles_that_are_missing_are_created_or_refused() {
    let Some(world) = shelf("roles_that_are_missing_are_created_or_refused") else {
        return;
    };
    let target = empty();
    target.psql("create database nostromo");
    let run = || restore(world, &target).args(&["--schema", TENANT]);
    let ended = run().args(&["--missing-roles", "refuse"]).end();
    assert_eq!(ended.code, 1, "{}", ended.all());
    ended.assert_says("roles are missing");
    assert_eq!(
        target.psql("select count(*) from pg_roles where rolname !~ '^pg_'"),
        "1"
    );
    let ended = run().end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    ended.assert_says("created roles as the archive has them");
    let owner = format!("select nspowner::regrole from pg_namespace where nspname = '{TENANT}'");
    assert_eq!(
        target.psql_in("nostromo", &owner),
        world.cluster.psql_in("nostromo", &owner)
    );
}

#[test]
fn a_failure_leaves_the_old_tenant_as_it_was() {
    let Some(world) = shelf("a_failure_leaves_the_old_tenant_as_it_was") else {
        return;
    };
    let target = filled();
    let before = count(&target, "nostromo", "tenant_empresa_2.payroll");
    // Refuses the last step only.
    target.psql_in("nostromo", "create function public.no() returns event_trigger language plpgsql as $$ begin raise exception 'not today'; end $$; create event trigger no on sql_drop execute function public.no()");
    let ended = restore(world, &target)
        .args(&["--schema", TENANT, "--yes"])
        .end();
    assert_eq!(ended.code, 3, "{}", ended.all());
    ended.assert_says("not today");
    assert_eq!(
        count(&target, "nostromo", "tenant_empresa_2.payroll"),
        before
    );
    assert_eq!(
        target.psql_in(
            "nostromo",
            "select count(*) from pg_namespace where nspname ~ '_before_'"
        ),
        "0"
    );
}

#[test]
fn one_of_many_tenants_reads_only_its_part_of_the_bucket() {
    let test = "one_of_many_tenants_reads_only_its_part_of_the_bucket";
    let Some(cluster) = crate::gate::world::own(test) else {
        return;
    };
    cluster.sample(12, 40000);
    let Some(world) = crate::gate::world::World::remote(test, &cluster) else {
        return;
    };
    let gate = world.gate().end();
    assert!(!gate.output("manifest-key").is_empty(), "{}", gate.all());
    let target = filled();
    let ended = restore(&world, &target)
        .args(&["--schema", TENANT, "--yes"])
        .end();
    assert_eq!(ended.code, 0, "{}", ended.all());
    assert_eq!(
        count(&target, "nostromo", "tenant_empresa_2.payroll"),
        "40000"
    );
    let restored = &ended.report()["restored"];
    let read = restored["archive_bytes_read"].as_f64().expect("bytes");
    let all = ended.report()["archive"]["archive_bytes"]
        .as_f64()
        .expect("bytes");
    // A twelfth, and what every restore reads: a few members for definitions and settings.
    assert!(read / all < 0.4, "{read} of {all} bytes\n{}", ended.all());
}

//! What depends on what: rows that the server checks with code that reads other tables, partitions,
//! inheritance, exclusion constraints, views on keys, large objects, encodings.

use super::bench::{Shelf, assert_same, dumpall, run, source, target};
use backup_action::restore::plan::Scope;

#[tokio::test]
async fn rows_whose_checks_read_other_tables_come_in_the_order_of_the_dump() {
    let test = "rows_whose_checks_read_other_tables_come_in_the_order_of_the_dump";
    let Some(from) = source(test, None) else {
        return;
    };
    // "a_lookup" comes first in the dump; the tables that look it up are larger and would overtake.
    from.psql(
        "create table a_lookup (k int); insert into a_lookup select generate_series(1, 2000);
         create function known(int) returns boolean immutable language plpgsql as
             'begin return exists (select from public.a_lookup where k >= \\$1); end';
         create domain known_int as int check (public.known(value));
         create type pair as (a known_int, b int);
         create table b_check (k int check (public.known(k)), filler text);
         create table c_domain (k known_int, filler text);
         create table d_type (p pair, filler text);
         create table e_generated (k int, g boolean generated always as (public.known(k)) stored, filler text);
         create table f_child (x int) inherits (b_check);
         create function always(int) returns int immutable language plpgsql as
             'begin if not exists (select from public.a_lookup where k >= 2000) then raise exception ''a_lookup is empty''; end if; return \\$1; end';
         create table g_parted (k int, filler text) partition by list (public.always(k));
         create table g_parted_1 partition of g_parted for values in (1);
         insert into b_check select 2000, repeat('x', 500) from generate_series(1, 2000);
         insert into c_domain select 2000, repeat('x', 500) from generate_series(1, 2000);
         insert into d_type select row(2000, 1)::pair, repeat('x', 500) from generate_series(1, 2000);
         insert into e_generated (k, filler) select 2000, repeat('x', 500) from generate_series(1, 2000);
         insert into f_child select 2000, repeat('x', 500), 1 from generate_series(1, 2000);
         insert into g_parted select 1, repeat('x', 500) from generate_series(1, 2000);"
            .replace("\\$1", "$1")
            .as_str(),
    );
    let shelf = Shelf::new(dumpall(&from)).await;
    for _ in 0..2 {
        let to = target(test, None).unwrap();
        let mut load = shelf.load(&to, &Scope::Cluster);
        load.jobs = 4;
        run(load).await.unwrap();
        assert_same(&shelf, &to);
    }
}

#[tokio::test]
async fn families_keys_views_and_large_objects_come_back() {
    let test = "families_keys_views_and_large_objects_come_back";
    let Some(from) = source(test, None) else {
        return;
    };
    from.psql(
        "create schema s;
         create table s.p (k int, t text, primary key (k)) partition by range (k);
         create index on s.p (t);
         create table s.p1 partition of s.p for values from (0) to (100);
         create table s.p2 partition of s.p for values from (100) to (200) partition by range (k);
         create table s.p2a partition of s.p2 for values from (100) to (150);
         create table s.p2b partition of s.p2 default;
         insert into s.p select i, 'row ' || i from generate_series(0, 199) i;
         create table s.parent (id serial primary key, v text);
         create table s.kid (w text, unique (w)) inherits (s.parent);
         insert into s.kid (v, w) select 'v', 'w' || i from generate_series(1, 50) i;
         create table s.ex (r int4range, exclude using gist (r with &&));
         insert into s.ex select int4range(i * 10, i * 10 + 5) from generate_series(1, 50) i;
         create view s.grouped as select p.id, p.v, count(*) as n from s.parent p group by p.id;
         create materialized view s.mv as select * from s.grouped;
         create unique index on s.mv (id);
         create index on s.parent (lower(v));
         create table s.fk (id int references s.parent, k int references s.p);
         insert into s.fk select 1, 1 where false;
         create table s.ident (id int generated always as identity, c text collate \"C\");
         insert into s.ident (c) values ('x');
         alter table s.ident replica identity full;
         alter table s.parent cluster on parent_pkey;
         create statistics s.st on k, t from s.p1;
         create function s.f(int) returns int immutable language sql as 'select $1';
         create index with_call on s.ex (s.f(lower(r)));
         select setval('s.parent_id_seq', 4711);
         select lo_from_bytea(7001, decode(repeat('00ff5c2e0a', 1000), 'hex'));",
    );
    from.psql("create database latin template template0 encoding 'LATIN1' locale 'C'");
    from.psql_in(
        "latin",
        "set client_encoding = 'UTF8'; create table \"café\" (\"naïve\" text primary key);
         insert into \"café\" values ('ünïcödé'), ('§')",
    );
    let shelf = Shelf::with_members(dumpall(&from), 3_000).await;
    let to = target(test, None).unwrap();
    let mut load = shelf.load(&to, &Scope::Cluster);
    load.jobs = 4;
    run(load).await.unwrap();
    assert_same(&shelf, &to);
}

#[tokio::test]
async fn names_like_psqls_variables_are_not_replaced() {
    let test = "names_like_psqls_variables_are_not_replaced";
    let Some(from) = source(test, None) else {
        return;
    };
    from.psql(
        // Only expressions of a table name its columns bare.
        "create table t (a int[], n int, \"ENCODING\" int, \"VERSION\" int, \"USER\" int,
             x int[] generated always as (a[1: n]) stored, y int[] generated always as (a[1: \"ENCODING\"]) stored,
             z int[] generated always as (a[\"ENCODING\": \"USER\"]) stored, check (a[1: \"VERSION\"] is not null));
         insert into t values ('{1,2,3}', 2, 1, 3, 2)",
    );
    let shelf = Shelf::new(dumpall(&from)).await;
    let to = target(test, None).unwrap();
    run(shelf.load(&to, &Scope::Cluster)).await.unwrap();
    assert_same(&shelf, &to);
    assert_eq!(to.psql("select x, y, z from t"), "{1,2}|{1}|{1,2}");
}

#[tokio::test]
async fn one_database_comes_back_alone_under_another_name() {
    let test = "one_database_comes_back_alone_under_another_name";
    let Some(from) = source(test, None) else {
        return;
    };
    from.sample(2, 30);
    let shelf = Shelf::new(dumpall(&from)).await;
    let to = target(test, None).unwrap();
    to.psql("create role nostromo_app; create role nostromo_ro; create role postgres superuser");
    let nostromo = backup_action::archive::index::Name::from("nostromo");
    let mut load = shelf.load(&to, &Scope::Database(nostromo.clone()));
    let create = load.plan.databases[0].create[0];
    load.replace.insert(
        create,
        b"CREATE DATABASE beside TEMPLATE template0".to_vec(),
    );
    load.rename.insert(nostromo, "beside".into());
    let loaded = run(load).await.unwrap();
    assert_eq!(loaded.databases, 1);
    assert_eq!(
        to.psql(
            "select string_agg(datname, ',' order by datname) from pg_database where not datistemplate"
        ),
        "beside,postgres"
    );
    assert_eq!(
        to.psql_in("beside", "select count(*) from tenant_empresa_2.payroll"),
        "30"
    );
}

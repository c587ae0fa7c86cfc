//! What tests put into and beside a server: the runbook's database, and fake tools.
#![expect(
    clippy::expect_used,
    reason = "test support stops the test when it cannot go on"
)]

use super::{Cluster, write_program};
use crate::support::root;
use tempfile::TempDir;

impl Cluster {
    /// A multi-tenant database `nostromo` as in the runbook: `central`, `parametros`,
    /// `tenant_empresa_1` … with employees, payroll and audit rows, and their roles.
    pub(crate) fn sample(&self, tenants: u32, rows: u32) {
        self.psql("create role nostromo_app login password 'app'; create role nostromo_ro; grant nostromo_ro to nostromo_app; create database nostromo owner nostromo_app;");
        let mut sql = String::from(
            "create schema central; create table central.tenants (id int primary key, name text not null, created_at timestamptz not null);
             create schema parametros; create table parametros.settings (key text primary key, value jsonb not null);
             insert into parametros.settings values ('iva', '{\"rate\": 21}'), ('locale', '\"es_AR\"');\n",
        );
        for n in 1..=tenants {
            let schema = format!("tenant_empresa_{n}");
            sql.push_str(&format!(
                "insert into central.tenants values ({n}, 'Empresa {n}', '2026-01-01 00:00Z'::timestamptz + interval '{n} days');
                 create schema {schema};
                 create table {schema}.employees (id int primary key, name text not null, email text unique, salary numeric(12,2));
                 create table {schema}.payroll (id bigint generated always as identity primary key, employee_id int not null references {schema}.employees, month date not null, amount numeric(12,2) not null);
                 create table {schema}.audit_log (id bigserial primary key, at timestamptz not null, entry jsonb not null);
                 create index on {schema}.payroll (month);
                 create view {schema}.costs as select month, sum(amount) as total from {schema}.payroll group by month;
                 insert into {schema}.employees select i, 'Employee ' || i, 'e' || i || '@empresa{n}.example', 1000 + i from generate_series(1, {rows}) i;
                 insert into {schema}.payroll (employee_id, month, amount) select i, '2026-01-01', 1000 + i from generate_series(1, {rows}) i;
                 insert into {schema}.audit_log (at, entry) select '2026-01-01 00:00Z'::timestamptz + i * interval '1 minute', json_build_object('n', i, 'action', md5(i::text)) from generate_series(1, {rows}) i;
                 grant usage on schema {schema} to nostromo_ro; grant select on all tables in schema {schema} to nostromo_ro;\n"
            ));
        }
        self.psql_in("nostromo", &sql);
    }

    /// A directory to be used as `--pg-bin-dir` in which pg_dumpall is `fixtures/bin/<behaviour>`
    /// and everything else is real.
    pub(crate) fn fake_bin_dir(&self, behaviour: &str) -> TempDir {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let fake = root().join("fixtures/bin").join(behaviour);
        assert!(fake.is_file(), "{} exists", fake.display());
        for name in ["psql", "pg_dump"] {
            std::os::unix::fs::symlink(self.bin_dir.join(name), dir.path().join(name))
                .expect("a link");
        }
        write_program(
            &dir.path().join("pg_dumpall"),
            &format!(
                "#!/bin/bash\nREAL_PG_DUMPALL='{}' exec '{}' \"$@\"\n",
                self.bin_dir.join("pg_dumpall").display(),
                fake.display()
            ),
        );
        dir
    }
}

//! What the preflight asks the catalogue, as SQL, and the shape of the answers. No judgement here.
//!
//! Names come in hexadecimal: they are bytes in the encoding of their database.

use crate::archive::index::{Name, from_hex};
use crate::error::messages;
use crate::postgres::psql::Psql;
use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, de};

/// A name that the server printed as `encode(namesend(…), 'hex')`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HexName(Name);

impl HexName {
    /// The name for people.
    pub(in crate::postgres) fn to_lossy(&self) -> String {
        self.0.to_lossy()
    }
}

impl From<HexName> for Name {
    fn from(name: HexName) -> Name {
        name.0
    }
}

impl<'de> Deserialize<'de> for HexName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let hex = String::deserialize(deserializer)?;
        let bytes = from_hex(&hex).ok_or_else(|| de::Error::custom("name is not hexadecimal"))?;
        Ok(HexName(bytes.into()))
    }
}

/// The first answer of the server.
#[derive(Debug, Deserialize)]
pub(in crate::postgres) struct Contact {
    pub(super) version_num: u32,
    pub(super) version: String,
    pub(super) backend: Backend,
}

impl Contact {
    pub(super) fn major(&self) -> u32 {
        self.version_num / 10_000
    }
}

/// A server process: the same number may come again, the same start may not.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(in crate::postgres) struct Backend {
    pid: i32,
    started: Option<String>,
}

const BACKEND: &str = "json_build_object('pid', pg_backend_pid(), 'started', \
    (select backend_start::text from pg_stat_activity where pid = pg_backend_pid()))";

/// Connects, and says which database it was: the one that was asked for, else `postgres`, else
/// `template1`, as pg_dumpall does.
pub(in crate::postgres) async fn contact(psql: &Psql) -> anyhow::Result<(Name, Contact)> {
    let sql = format!(
        "select json_build_object(\
            'version_num', current_setting('server_version_num')::int, \
            'version', current_setting('server_version'), \
            'backend', {BACKEND})"
    );
    if let Some(database) = psql.connection.database() {
        let database = Name::from(database.as_encoded_bytes());
        let contact = psql.query_json(&database, &sql).await?;
        return Ok((database, contact));
    }
    let (postgres, template1) = (Name::from("postgres"), Name::from("template1"));
    match psql.query_json(&postgres, &sql).await {
        Ok(contact) => Ok((postgres, contact)),
        Err(error) if is_missing_database(&error) => {
            let contact = psql.query_json(&template1, &sql).await?;
            Ok((template1, contact))
        }
        Err(error) => Err(error),
    }
}

/// Whether psql failed because the database is not (or no longer) there.
pub(in crate::postgres) fn is_missing_database(error: &anyhow::Error) -> bool {
    messages(error)
        .iter()
        .any(|m| m.contains("FATAL:") && m.contains("database \"") && m.contains("does not exist"))
}

/// The cluster as seen from one database.
#[derive(Debug, Deserialize)]
pub(super) struct ClusterSurvey {
    pub(super) backend: Backend,
    pub(super) role: String,
    pub(super) superuser: bool,
    pub(super) bypass_rls: bool,
    /// May read pg_authid.
    pub(super) reads_passwords: bool,
    /// The role that initdb made.
    pub(super) bootstrap: Option<HexName>,
    pub(super) in_recovery: bool,
    pub(super) data_checksums: bool,
    /// Databases with page-checksum failures.
    pub(super) checksum_failures: Vec<ChecksumFailures>,
    pub(super) max_locks_per_transaction: u64,
    /// max_connections + max_prepared_transactions.
    pub(super) lock_holders: u64,
    pub(super) tls: bool,
    pub(super) gss_encrypted: bool,
    /// Through a socket of the server's own machine.
    pub(super) unix_socket: bool,
    pub(super) databases: Vec<DatabaseRow>,
    /// Seconds since 1970.
    server_clock: i64,
    /// How far the server's clock is ahead of this machine's, at least.
    #[serde(skip)]
    pub(super) clock_ahead: SignedDuration,
    #[serde(skip)]
    pub(super) system_identifier: Option<String>,
}

/// Page-checksum failures of one database.
#[derive(Debug, Deserialize)]
pub(super) struct ChecksumFailures {
    /// None for the shared catalogues.
    pub(super) database: Option<HexName>,
    pub(super) failures: u64,
    pub(super) last: Option<String>,
}

/// One row of pg_database.
#[derive(Debug, Deserialize)]
pub(super) struct DatabaseRow {
    pub(super) name: HexName,
    pub(super) bytes: Option<u64>,
    pub(super) dumped: bool,
    pub(super) template: bool,
    /// The role has CONNECT.
    pub(super) may_connect: bool,
}

/// Asks for everything that is the same from every database.
pub(super) async fn cluster(
    psql: &Psql,
    database: &Name,
    version_num: u32,
) -> anyhow::Result<ClusterSurvey> {
    let since_12 = |sql: &'static str, before: &'static str| {
        if version_num >= 120_000 { sql } else { before }
    };
    let checksum_failures = since_12(
        "(select coalesce(json_agg(json_build_object(\
            'database', encode(namesend(datname), 'hex'), \
            'failures', checksum_failures, \
            'last', checksum_last_failure::text)), '[]') \
          from pg_stat_database where checksum_failures > 0)",
        "json_build_array()",
    );
    let gss = since_12(
        "coalesce((select encrypted from pg_stat_gssapi where pid = pg_backend_pid()), false)",
        "false",
    );
    let sql = format!(
        "select json_build_object(\
            'backend', {BACKEND}, \
            'role', current_user, \
            'superuser', r.rolsuper, \
            'bypass_rls', r.rolbypassrls, \
            'reads_passwords', has_table_privilege('pg_catalog.pg_authid', 'select'), \
            'bootstrap', (select encode(namesend(rolname), 'hex') from pg_roles where oid = 10), \
            'in_recovery', pg_is_in_recovery(), \
            'data_checksums', current_setting('data_checksums') = 'on', \
            'checksum_failures', {checksum_failures}, \
            'max_locks_per_transaction', current_setting('max_locks_per_transaction')::int, \
            'lock_holders', current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int, \
            'tls', coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false), \
            'gss_encrypted', {gss}, \
            'unix_socket', inet_client_addr() is null, \
            'server_clock', floor(extract(epoch from clock_timestamp()))::bigint, \
            'databases', (select coalesce(json_agg(json_build_object(\
                'name', encode(namesend(datname), 'hex'), \
                'bytes', case when has_database_privilege(oid, 'connect') or pg_has_role('pg_read_all_stats', 'usage') \
                              then pg_database_size(oid) end, \
                'dumped', datallowconn and datconnlimit <> -2, \
                'template', datistemplate, \
                'may_connect', has_database_privilege(oid, 'connect')) order by datname), '[]') from pg_database)) \
         from pg_roles r where r.rolname = current_user"
    );
    let asked_at = Timestamp::now();
    let mut survey: ClusterSurvey = psql
        .query_json(database, &sql)
        .await
        .context("could not read the server's catalogue")?;
    survey.clock_ahead = ahead(survey.server_clock, asked_at, Timestamp::now());
    // Managed services may not let us; then the manifest goes without.
    survey.system_identifier = psql
        .query_json(
            database,
            "select to_json(system_identifier::text) from pg_control_system()",
        )
        .await
        .ok();
    Ok(survey)
}

/// How far a clock is ahead that said `seconds` between two readings of ours; none of it is the time
/// that the answer took.
fn ahead(seconds: i64, before: Timestamp, after: Timestamp) -> SignedDuration {
    let (before, after) = (before.as_second(), after.as_second());
    let ahead = if seconds > after {
        seconds.saturating_sub(after)
    } else {
        seconds.saturating_sub(before).min(0)
    };
    SignedDuration::from_secs(ahead)
}

/// One database as seen from inside.
#[derive(Debug, Deserialize)]
pub(super) struct DatabaseSurvey {
    /// Tables that a dump locks.
    pub(super) lockable: u64,
    pub(super) unreadable: Found,
    /// Tables whose rows are hidden from the role by a policy.
    pub(super) row_security: Found,
    pub(super) blockers: Vec<Blocker>,
}

/// How many there are, and the first of them.
#[derive(Debug, Deserialize)]
pub(super) struct Found {
    pub(super) count: u64,
    pub(super) names: Vec<(HexName, HexName)>,
}

/// A session that holds, or waits for, the lock that no dump can pass.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Blocker {
    /// None for a prepared transaction.
    pub(super) pid: Option<i32>,
    /// The name of a prepared transaction.
    pub(super) gid: Option<String>,
    pub(super) granted: bool,
    pub(super) user: Option<String>,
    pub(super) application: Option<String>,
    pub(super) state: Option<String>,
    /// Seconds since its query, or the prepared transaction, began.
    pub(super) age: Option<f64>,
    pub(super) schema: HexName,
    pub(super) relation: HexName,
}

impl Blocker {
    pub(super) fn is_same(&self, other: &Blocker) -> bool {
        let key = |b: &Blocker| (b.pid, b.gid.clone(), b.schema.clone(), b.relation.clone());
        key(self) == key(other)
    }
}

/// ACCESS EXCLUSIVE, held or waited for: our ACCESS SHARE would queue behind either. Autovacuum
/// gives way by itself. A prepared transaction is found by the lock on its own number: its virtual
/// number is that of the session it was prepared in, until the server restarts.
const BLOCKERS: &str = "(select coalesce(json_agg(json_build_object(\
        'pid', l.pid, 'gid', p.gid, 'granted', l.granted, \
        'user', coalesce(a.usename, p.owner), 'application', a.application_name, 'state', a.state, \
        'age', extract(epoch from clock_timestamp() - coalesce(a.query_start, p.prepared)), \
        'schema', encode(namesend(n.nspname), 'hex'), 'relation', encode(namesend(c.relname), 'hex')) \
        order by l.granted desc, a.query_start), '[]') \
    from pg_locks l \
    join pg_class c on c.oid = l.relation \
    join pg_namespace n on n.oid = c.relnamespace \
    left join pg_stat_activity a on a.pid = l.pid \
    left join lateral (select x.gid, x.owner, x.prepared \
        from pg_locks own join pg_prepared_xacts x on x.transaction = own.transactionid \
        where l.pid is null and own.locktype = 'transactionid' and own.pid is null \
          and own.virtualtransaction = l.virtualtransaction limit 1) p on true \
    where l.locktype = 'relation' and l.mode = 'AccessExclusiveLock' \
      and l.database = (select oid from pg_database where datname = current_database()) \
      and l.pid is distinct from pg_backend_pid() \
      and c.relkind in ('r', 'p', 'm', 'S') and c.relpersistence <> 't' \
      and coalesce(a.backend_type, '') <> 'autovacuum worker')";

/// Surveys every database that pg_dumpall will dump and the role may enter.
pub(super) async fn databases(
    psql: &Psql,
    cluster: &ClusterSurvey,
) -> Vec<(Name, anyhow::Result<DatabaseSurvey>)> {
    let names = cluster
        .databases
        .iter()
        .filter(|row| row.dumped && row.may_connect)
        .map(|row| Name::from(row.name.clone()))
        .collect();
    let found = |condition: &str| {
        format!(
            "json_build_object(\
                'count', (select count(*) from rel where {condition}), \
                'names', (select coalesce(json_agg(json_build_array(encode(namesend(nspname), 'hex'), encode(namesend(relname), 'hex'))), '[]') \
                          from (select nspname, relname from rel where {condition} order by 1, 2 limit 20) first))"
        )
    };
    // Extension members are left out of dumps, except the tables whose rows an extension marks.
    let sql = format!(
        "with rel as (\
            select c.oid, c.relkind, c.relname, n.nspname, n.oid as namespace \
            from pg_class c join pg_namespace n on n.oid = c.relnamespace \
            where c.relkind in ('r', 'p', 'S', 'm') \
              and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' \
              and (not exists (select 1 from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e') \
                   or exists (select 1 from pg_extension e where c.oid = any (e.extconfig)))) \
         select json_build_object(\
            'lockable', (select count(*) from rel where relkind in ('r', 'p')), \
            'unreadable', {}, \
            'row_security', {}, \
            'blockers', {BLOCKERS})",
        found(
            "not (has_schema_privilege(namespace, 'usage') and has_table_privilege(oid, 'select'))"
        ),
        found("relkind in ('r', 'p') and row_security_active(oid)"),
    );
    psql.query_each(names, &sql).await
}

/// Asks again for the blockers of `databases`.
pub(super) async fn blockers(
    psql: &Psql,
    databases: Vec<Name>,
) -> Vec<(Name, anyhow::Result<Vec<Blocker>>)> {
    psql.query_each(databases, &format!("select {BLOCKERS}"))
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_the_answer_is_not_the_clocks() {
        let (before, after) = (1_800_000_000, 1_800_000_030);
        let at = |second| Timestamp::from_second(second).unwrap();
        for (seconds, expected) in [
            (before, 0),
            (before + 10, 0),
            (after, 0),
            (after + 60, 60),
            (before - 60, -60),
            (i64::MAX, i64::MAX - after),
            (i64::MIN, i64::MIN),
        ] {
            let ahead = ahead(seconds, at(before), at(after));
            assert_eq!(ahead.as_secs(), expected, "{seconds}");
        }
    }
}

//! What a server to restore into says about itself: SQL and the shape of the answers. No judgement.

use super::preflight::survey::{self, HexName};
use super::psql::Psql;
use crate::archive::index::{Name, to_hex};
use anyhow::Context;
use serde::Deserialize;

/// The server as seen from its maintenance database.
#[derive(Clone, Debug)]
pub struct TargetServer {
    /// `server_version_num`: 150020.
    pub version_num: u32,
    /// `15.20`.
    pub version: String,
    /// The role that we are.
    pub role: String,
    /// Whether it is a superuser.
    pub superuser: bool,
    /// Whether the server is a standby.
    pub in_recovery: bool,
    /// Every role.
    pub roles: Vec<Name>,
    /// The superusers among them.
    pub superusers: Vec<Name>,
    /// The superuser that initdb made.
    pub bootstrap: String,
    /// Every tablespace.
    pub tablespaces: Vec<Name>,
    /// Every database.
    pub databases: Vec<TargetDatabase>,
    /// Extensions that can be created.
    pub extensions: Vec<Name>,
}

impl TargetServer {
    /// `15`.
    pub fn major(&self) -> u32 {
        self.version_num / 10_000
    }

    /// The database of this name.
    pub fn database(&self, name: &Name) -> Option<&TargetDatabase> {
        self.databases
            .iter()
            .find(|database| database.name == *name)
    }
}

/// A database of the server.
#[derive(Clone, Debug)]
pub struct TargetDatabase {
    /// Its name.
    pub name: Name,
    /// Its size, where the role may know.
    pub bytes: Option<u64>,
    /// Whether anybody can connect.
    pub allow_connections: bool,
    /// `datistemplate`.
    pub template: bool,
    /// Sessions in it, ours not counted.
    pub sessions: u64,
    /// What keeps it from being renamed: prepared transactions, replication slots.
    pub blockers: Vec<String>,
}

#[derive(Deserialize)]
struct Answer {
    version_num: u32,
    version: String,
    role: String,
    superuser: bool,
    in_recovery: bool,
    roles: Vec<HexName>,
    superusers: Vec<HexName>,
    bootstrap: String,
    tablespaces: Vec<HexName>,
    extensions: Vec<String>,
    databases: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    name: HexName,
    bytes: Option<u64>,
    allow_connections: bool,
    template: bool,
    sessions: u64,
    blockers: Vec<String>,
}

const SERVER: &str = "select json_build_object(\
    'version_num', current_setting('server_version_num')::int, \
    'version', split_part(current_setting('server_version'), ' ', 1), \
    'role', current_user, \
    'superuser', (select rolsuper from pg_roles where rolname = current_user), \
    'in_recovery', pg_is_in_recovery(), \
    'roles', (select coalesce(json_agg(encode(namesend(rolname), 'hex')), '[]') from pg_roles), \
    'superusers', (select coalesce(json_agg(encode(namesend(rolname), 'hex')), '[]') from pg_roles where rolsuper), \
    'bootstrap', (select rolname from pg_roles where oid = 10), \
    'tablespaces', (select coalesce(json_agg(encode(namesend(spcname), 'hex')), '[]') from pg_tablespace), \
    'extensions', (select coalesce(json_agg(name), '[]') from pg_available_extensions), \
    'databases', (select coalesce(json_agg(json_build_object(\
        'name', encode(namesend(d.datname), 'hex'), \
        'bytes', case when has_database_privilege(d.oid, 'connect') or pg_has_role('pg_read_all_stats', 'usage') \
                      then pg_database_size(d.oid) end, \
        'allow_connections', d.datallowconn, 'template', d.datistemplate, \
        'sessions', (select count(*) from pg_stat_activity a where a.datid = d.oid and a.pid <> pg_backend_pid() \
                     and a.backend_type in ('client backend', 'walsender')), \
        'blockers', (select coalesce(json_agg(what), '[]') from (\
            select 'prepared transaction ' || quote_literal(x.gid) as what from pg_prepared_xacts x where x.database = d.datname \
            union all select 'replication slot ' || s.slot_name from pg_replication_slots s where s.database = d.datname \
            union all select 'subscription ' || quote_ident(s.subname) from pg_subscription s where s.subdbid = d.oid) found)\
        ) order by d.datname), '[]') from pg_database d where d.datname <> 'template0'))";

/// Connects (to the database that was asked for, else `postgres`, else `template1`) and surveys the
/// server; returns that database too.
///
/// # Errors
/// No connection, or a catalogue that the role may not read.
pub async fn server(psql: &Psql) -> anyhow::Result<(Name, TargetServer)> {
    let (maintenance, _) = survey::contact(psql).await?;
    let answer: Answer = psql
        .query_json(&maintenance, SERVER)
        .await
        .context("could not read the catalogue of the server to restore into")?;
    let names = |names: Vec<HexName>| names.into_iter().map(Name::from).collect();
    let server = TargetServer {
        version_num: answer.version_num,
        version: answer.version,
        role: answer.role,
        superuser: answer.superuser,
        in_recovery: answer.in_recovery,
        roles: names(answer.roles),
        superusers: names(answer.superusers),
        bootstrap: answer.bootstrap,
        tablespaces: names(answer.tablespaces),
        extensions: answer
            .extensions
            .iter()
            .map(|name| Name::from(name.as_str()))
            .collect(),
        databases: answer
            .databases
            .into_iter()
            .map(|row| TargetDatabase {
                name: row.name.into(),
                bytes: row.bytes,
                allow_connections: row.allow_connections,
                template: row.template,
                sessions: row.sessions,
                blockers: row.blockers,
            })
            .collect(),
    };
    Ok((maintenance, server))
}

/// What a database holds that no fresh one does: schemas, tables, functions, types, extensions; at
/// most ten names.
///
/// # Errors
/// No connection.
pub async fn user_objects(psql: &Psql, database: &Name) -> anyhow::Result<Vec<String>> {
    // Below 16384 are the objects that initdb makes.
    const SQL: &str = "select coalesce(json_agg(what), '[]') from (\
        select 'schema ' || quote_ident(nspname) as what from pg_namespace where oid >= 16384 and nspname !~ '^pg_(temp|toast_temp)_' \
        union all select 'relation ' || c.oid::regclass::text from pg_class c where c.oid >= 16384 \
            and c.relnamespace::regnamespace::text !~ '^pg_(toast|temp)' and c.relkind <> 'i' \
        union all select 'function ' || p.oid::regprocedure::text from pg_proc p where p.oid >= 16384 \
            and p.pronamespace::regnamespace::text !~ '^pg_temp' \
        union all select 'type ' || t.oid::regtype::text from pg_type t where t.oid >= 16384 and t.typtype in ('d', 'e', 'r') \
        union all select 'extension ' || quote_ident(extname) from pg_extension where oid >= 16384 \
        limit 10) found";
    psql.query_json(database, SQL).await
}

/// A schema that stands where another is to be restored.
#[derive(Clone, Debug, Deserialize)]
pub struct TargetSchema {
    /// Tables and materialised views.
    pub tables: u64,
    /// Their size with indexes.
    pub bytes: u64,
    /// Rows, as the statistics have them; tables that were never analysed count as empty.
    pub rows_estimate: u64,
    /// Objects of other schemas, or of none, that hang on objects of this one.
    pub dependents: Vec<String>,
}

/// What hangs on the objects of the schema with this name, which is an expression: one row an
/// object, `what`. Parts of a table (rules, defaults, triggers, policies) stand for the table.
pub fn dependents_sql(schema: &str) -> String {
    format!(
        "with n as (select oid from pg_catalog.pg_namespace where nspname = {schema}), \
        members as (\
            select 'pg_catalog.pg_namespace'::pg_catalog.regclass as classid, oid as objid from n \
            union all select 'pg_catalog.pg_class'::pg_catalog.regclass, oid from pg_catalog.pg_class where relnamespace = (select oid from n) \
            union all select 'pg_catalog.pg_type'::pg_catalog.regclass, oid from pg_catalog.pg_type where typnamespace = (select oid from n) \
            union all select 'pg_catalog.pg_proc'::pg_catalog.regclass, oid from pg_catalog.pg_proc where pronamespace = (select oid from n) \
            union all select 'pg_catalog.pg_operator'::pg_catalog.regclass, oid from pg_catalog.pg_operator where oprnamespace = (select oid from n) \
            union all select 'pg_catalog.pg_opclass'::pg_catalog.regclass, oid from pg_catalog.pg_opclass where opcnamespace = (select oid from n) \
            union all select 'pg_catalog.pg_opfamily'::pg_catalog.regclass, oid from pg_catalog.pg_opfamily where opfnamespace = (select oid from n) \
            union all select 'pg_catalog.pg_collation'::pg_catalog.regclass, oid from pg_catalog.pg_collation where collnamespace = (select oid from n) \
            union all select 'pg_catalog.pg_conversion'::pg_catalog.regclass, oid from pg_catalog.pg_conversion where connamespace = (select oid from n) \
            union all select 'pg_catalog.pg_ts_config'::pg_catalog.regclass, oid from pg_catalog.pg_ts_config where cfgnamespace = (select oid from n) \
            union all select 'pg_catalog.pg_ts_dict'::pg_catalog.regclass, oid from pg_catalog.pg_ts_dict where dictnamespace = (select oid from n) \
            union all select 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, oid from pg_catalog.pg_statistic_ext where stxnamespace = (select oid from n) \
            union all select 'pg_catalog.pg_constraint'::pg_catalog.regclass, oid from pg_catalog.pg_constraint where connamespace = (select oid from n)), \
        hanging as (\
            select d.classid as part_class, d.objid as part, \
                case when r.oid is not null or a.oid is not null or t.oid is not null or p.oid is not null \
                     then 'pg_catalog.pg_class'::pg_catalog.regclass else d.classid end as classid, \
                coalesce(r.ev_class, a.adrelid, t.tgrelid, p.polrelid, d.objid) as objid \
            from members m join pg_catalog.pg_depend d on d.refclassid = m.classid and d.refobjid = m.objid and d.deptype in ('n', 'a') \
            left join pg_catalog.pg_rewrite r on d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass and r.oid = d.objid \
            left join pg_catalog.pg_attrdef a on d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass and a.oid = d.objid \
            left join pg_catalog.pg_trigger t on d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass and t.oid = d.objid \
            left join pg_catalog.pg_policy p on d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass and p.oid = d.objid \
            where d.classid <> 'pg_catalog.pg_default_acl'::pg_catalog.regclass \
              and not exists (select from pg_catalog.pg_amop x where d.classid = 'pg_catalog.pg_amop'::pg_catalog.regclass and x.oid = d.objid \
                  and exists (select from members f where f.classid = 'pg_catalog.pg_opfamily'::pg_catalog.regclass and f.objid = x.amopfamily)) \
              and not exists (select from pg_catalog.pg_amproc x where d.classid = 'pg_catalog.pg_amproc'::pg_catalog.regclass and x.oid = d.objid \
                  and exists (select from members f where f.classid = 'pg_catalog.pg_opfamily'::pg_catalog.regclass and f.objid = x.amprocfamily))) \
        select distinct pg_catalog.pg_describe_object(h.part_class, h.part, 0) as what from hanging h \
        where not exists (select from members m where m.classid = h.classid and m.objid = h.objid)"
    )
}

/// The schema of this name, if there is one.
///
/// # Errors
/// No connection.
pub async fn schema(
    psql: &Psql,
    database: &Name,
    schema: &Name,
) -> anyhow::Result<Option<TargetSchema>> {
    let name = literal(schema);
    let sql = format!(
        "select (select json_build_object(\
            'tables', (select count(*) from pg_class where relnamespace = n.oid and relkind in ('r', 'p', 'm')), \
            'bytes', (select coalesce(sum(pg_total_relation_size(oid)), 0)::bigint from pg_class where relnamespace = n.oid and relkind in ('r', 'm')), \
            'rows_estimate', (select coalesce(sum(greatest(reltuples, 0)), 0)::bigint from pg_class where relnamespace = n.oid and relkind in ('r', 'm')), \
            'dependents', (select coalesce(json_agg(what order by what), '[]') from ({}) dependents)) \
         from pg_namespace n where n.nspname = {name})",
        dependents_sql(&name)
    );
    psql.query_json(database, &sql).await
}

/// A name as an expression that is exact in any encoding, and holds no text of the name.
pub fn literal(name: &Name) -> String {
    format!(
        "pg_catalog.convert_from(pg_catalog.decode('{}', 'hex'), pg_catalog.getdatabaseencoding()::text)::name",
        to_hex(name.as_bytes())
    )
}

/// A name as an SQL identifier.
pub fn quoted(name: &Name) -> Vec<u8> {
    let mut text = vec![b'"'];
    for byte in name.as_bytes() {
        if *byte == b'"' {
            text.push(b'"');
        }
        text.push(*byte);
    }
    text.push(b'"');
    text
}

//! The questions that are asked before the dump starts, and what is learnt about the server on the
//! way. The order of the story is here; the SQL is in `survey`, the answers are judged in `judge`.

mod judge;
mod link;
pub(in crate::postgres) mod survey;

use super::client::Wish;
use super::connection::Connection;
use super::psql::Psql;
use super::tools::{ClientTooOld, Tools};
use crate::archive::index::Name;
use crate::check::{Check, CheckId, Severity};
use crate::error::{hint, one_line};
use crate::process::RunAs;
use jiff::SignedDuration;
use std::path::PathBuf;
use std::time::Duration;
pub(crate) use survey::HexName;
pub(super) use survey::is_missing_database;
use survey::{Blocker, ClusterSurvey, Contact, DatabaseSurvey};

/// A lock that is gone after this long would not have held up the dump.
const BLOCKER_RECHECK: Duration = Duration::from_secs(1);

/// Whether the dump holds the roles' password verifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RolePasswords {
    /// Where the role may read them.
    #[default]
    Auto,
    /// Always; a role that may not read them fails the check.
    Include,
    /// Never.
    Exclude,
}

/// What the preflight needs to know.
pub struct PreflightOptions<'a> {
    /// What a "no" to a check does.
    pub severity: &'a (dyn Fn(CheckId) -> Severity + Send + Sync),
    /// What is wanted of the roles' passwords.
    pub role_passwords: RolePasswords,
    /// Databases that may be missing from the backup because nobody can connect to them.
    pub accepted_unconnectable: &'a [String],
    /// The only directory to look for the client programs in.
    pub pg_bin_dir: Option<PathBuf>,
    /// As which user of the operating system, or where, the programs run.
    pub run_as: Option<RunAs>,
    /// Where the client programs come from.
    pub client: Wish,
}

/// What the preflight found.
#[derive(Debug)]
pub struct Preflight {
    /// The checks that were reached, in order.
    pub checks: Vec<Check>,
    /// What is known about the server, once it answered.
    pub facts: Option<ServerFacts>,
    /// What the dump needs, once the server answered and the client programs fit.
    pub server: Option<Server>,
}

/// A server that answered, with programs that fit it.
#[derive(Clone, Debug)]
pub struct Server {
    /// How it is asked; holds the connection and the user to run as.
    pub psql: Psql,
    /// The client programs.
    pub tools: Tools,
    /// What it said about itself.
    pub facts: ServerFacts,
}

/// What a server says about itself.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// `server_version_num`: 150020.
    pub version_num: u32,
    /// `server_version` without the distribution's addition: `15.20`.
    pub version: String,
    /// `15`.
    pub major: u32,
    /// The cluster's `system_identifier`, where the role may read it.
    pub system_identifier: Option<String>,
    /// The role that we are.
    pub role: String,
    /// Whether that role is a superuser.
    pub is_superuser: bool,
    /// The bootstrap superuser, the role that initdb made, where it still exists.
    pub bootstrap_role: Option<Name>,
    /// Whether the server is a standby.
    pub in_recovery: bool,
    /// How far the server's clock is ahead of this machine's.
    pub clock_ahead: SignedDuration,
    /// Whether a connection pooler stands in between.
    pub pooled: bool,
    /// Size of all databases on the server's disk, as far as the role may know.
    pub total_bytes: u64,
    /// Every database, `template0` included.
    pub databases: Vec<DatabaseFacts>,
    /// The decision: whether the dump will hold the roles' passwords.
    pub role_passwords: bool,
    /// The database that catalogue questions go to.
    pub maintenance_database: Name,
}

/// One database of the server.
#[derive(Clone, Debug)]
pub struct DatabaseFacts {
    /// Its name.
    pub name: Name,
    /// Its size on the server's disk; 0 where the role may not know.
    pub bytes: u64,
    /// `datallowconn`, and not left invalid by an interrupted DROP DATABASE: pg_dumpall dumps it.
    pub allow_connections: bool,
    /// Whether it is a template.
    pub is_template: bool,
}

/// Asks every preflight check that needs the server. Writes nothing.
pub async fn run(connection: &Connection, options: &PreflightOptions<'_>) -> Preflight {
    let dir = options.pg_bin_dir.as_deref();
    let wish = &options.client;
    let first = match wish
        .first_psql(connection, dir, options.run_as.as_ref())
        .await
    {
        Ok(psql) => survey::contact(&psql).await.map(|found| (psql, found)),
        Err(error) => Err(error),
    };
    let (mut psql, (database, contact)) = match first {
        Ok(first) => first,
        Err(error) => {
            return Preflight {
                checks: vec![unknown(CheckId::ServerReachable, &error)],
                facts: None,
                server: None,
            };
        }
    };
    let fitting = wish.fitting(&psql, connection, contact.major(), dir).await;
    let tools = fitting.map(|(fitting, tools)| {
        psql = fitting;
        tools
    });
    match survey::cluster(&psql, &database, contact.version_num).await {
        Ok(cluster) => judge_all(&psql, database, &contact, cluster, tools, options).await,
        Err(error) => {
            let reached = format!("PostgreSQL at {} answers", connection.describe());
            let mut checks = vec![Check::passed(CheckId::ServerReachable, reached)];
            checks.extend(client_checks(contact.major(), &tools, options));
            checks.extend(ASKED_OF_THE_SERVER.iter().map(|id| unknown(*id, &error)));
            Preflight {
                checks,
                facts: None,
                server: None,
            }
        }
    }
}

/// The checks whose answers come from the catalogue.
const ASKED_OF_THE_SERVER: &[CheckId] = &[
    CheckId::SeesEverything,
    CheckId::SourceChecksums,
    CheckId::DatabasesConnectable,
    CheckId::LockBudget,
    CheckId::NoBlockers,
    CheckId::ConnectionVerified,
];

async fn judge_all(
    psql: &Psql,
    database: Name,
    contact: &Contact,
    cluster: ClusterSurvey,
    tools: anyhow::Result<Tools>,
    options: &PreflightOptions<'_>,
) -> Preflight {
    let severity = options.severity;
    let surveys = survey::databases(psql, &cluster).await;
    let blockers = lasting_blockers(psql, &surveys).await;
    let facts = facts(contact, &cluster, database, options.role_passwords);
    let connection = &psql.connection;
    let mut checks = vec![judge::reachable(&facts, connection)];
    checks.extend(client_checks(facts.major, &tools, options));
    checks.extend([
        judge::sees_everything(&facts, &cluster, &surveys, options.role_passwords, severity),
        judge::source_checksums(&cluster, severity),
        judge::databases_connectable(&facts, options.accepted_unconnectable, severity),
        judge::lock_budget(&cluster, &surveys, severity),
        judge::no_blockers(&surveys, blockers, severity),
        link::connection_verified(&link::Link::of(connection, &cluster), severity),
    ]);
    let server = tools.ok().map(|tools| Server {
        psql: psql.clone(),
        tools,
        facts: facts.clone(),
    });
    Preflight {
        checks,
        facts: Some(facts),
        server,
    }
}

fn client_checks(
    server_major: u32,
    tools: &anyhow::Result<Tools>,
    options: &PreflightOptions<'_>,
) -> Vec<Check> {
    match tools {
        Ok(tools) => vec![
            judge::client_version(tools, server_major),
            judge::client_patched(&tools.version, options.severity),
        ],
        Err(error) => match error.downcast_ref::<ClientTooOld>() {
            // Without a client there is no dump, whatever the configuration says.
            Some(too_old) => vec![Check::failed(
                CheckId::ClientVersion,
                too_old.to_string(),
                too_old.hint(),
            )],
            None => vec![unknown(CheckId::ClientVersion, error)],
        },
    }
}

/// Blockers that are still there a moment later. The error of any database is the answer.
async fn lasting_blockers(
    psql: &Psql,
    surveys: &[(Name, anyhow::Result<DatabaseSurvey>)],
) -> anyhow::Result<Vec<(Name, Blocker)>> {
    let first: Vec<(Name, Blocker)> = surveys
        .iter()
        .filter_map(|(name, survey)| Some((name, survey.as_ref().ok()?)))
        .flat_map(|(name, survey)| survey.blockers.iter().map(|b| (name.clone(), b.clone())))
        .collect();
    if first.is_empty() {
        return Ok(first);
    }
    tokio::time::sleep(BLOCKER_RECHECK).await;
    let mut databases: Vec<Name> = first.iter().map(|(name, _)| name.clone()).collect();
    databases.dedup();
    let mut lasting = Vec::new();
    for (name, again) in survey::blockers(psql, databases).await {
        lasting.extend(
            again?
                .into_iter()
                .map(|blocker| (name.clone(), blocker))
                .filter(|now| {
                    first
                        .iter()
                        .any(|then| then.0 == now.0 && then.1.is_same(&now.1))
                }),
        );
    }
    Ok(lasting)
}

fn facts(
    contact: &Contact,
    cluster: &ClusterSurvey,
    maintenance_database: Name,
    wanted: RolePasswords,
) -> ServerFacts {
    let databases: Vec<DatabaseFacts> = cluster
        .databases
        .iter()
        .map(|row| DatabaseFacts {
            name: row.name.clone().into(),
            bytes: row.bytes.unwrap_or(0),
            allow_connections: row.dumped,
            is_template: row.template,
        })
        .collect();
    ServerFacts {
        version_num: contact.version_num,
        version: contact
            .version
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_owned(),
        major: contact.major(),
        system_identifier: cluster.system_identifier.clone(),
        role: cluster.role.clone(),
        is_superuser: cluster.superuser,
        bootstrap_role: cluster.bootstrap.clone().map(Name::from),
        in_recovery: cluster.in_recovery,
        clock_ahead: cluster.clock_ahead,
        // A connection of one's own always gets a new server process.
        pooled: contact.backend == cluster.backend,
        total_bytes: databases.iter().map(|database| database.bytes).sum(),
        databases,
        role_passwords: match wanted {
            RolePasswords::Auto => cluster.reads_passwords,
            RolePasswords::Include => true,
            RolePasswords::Exclude => false,
        },
        maintenance_database,
    }
}

fn unknown(id: CheckId, error: &anyhow::Error) -> Check {
    Check::not_checked(id, one_line(error), hint(error))
}

//! Everything that is known before anything is changed: what is restored, into what, and what is in
//! the way. Only reads.

use super::names::few;
use super::needs::{self, Needs};
use super::roles::{self, Roles, Spared};
use crate::archive::index::Name;
use crate::check::{Check, CheckId};
use crate::command::Context;
use crate::command::journal::Journal;
use crate::command::source::{self, Source};
use crate::config::MissingRoles;
use crate::error::Usage;
use crate::postgres::connection::Connection;
use crate::postgres::psql::Psql;
use crate::postgres::target::{self, TargetDatabase, TargetSchema, TargetServer};
use crate::postgres::tools::{self, Tools};
use crate::restore::plan::{self, Plan, Scope};
use crate::restore::{Archive, Load, OnFailure};
use std::collections::{BTreeMap, BTreeSet};

/// A restore that could start.
pub(super) struct Prepared {
    /// Kept for its temporary archive.
    pub(super) source: Source,
    pub(super) archive: Archive,
    pub(super) scope: Scope,
    pub(super) plan: Plan,
    pub(super) needs: Needs,
    pub(super) roles: Roles,
    pub(super) spared: Option<Spared>,
    pub(super) psql: Psql,
    pub(super) tools: Tools,
    pub(super) maintenance: Name,
    pub(super) server: TargetServer,
    /// The database that stands where one is restored.
    pub(super) existing_database: Option<TargetDatabase>,
    /// The schema that stands where one is restored.
    pub(super) existing_schema: Option<TargetSchema>,
    /// What is in the way, each with what to do.
    pub(super) problems: Vec<(String, String)>,
}

/// Surveys the backup and the server, and answers `archive-intact` and `target-ready`. None when the
/// backup itself is damaged.
///
/// # Errors
/// What was typed does not go together, no such backup or database, no connection.
pub(super) async fn prepare(
    context: &Context,
    journal: &mut Journal,
) -> anyhow::Result<Option<Prepared>> {
    let Some(source) = source::resolve(context, journal).await? else {
        return Ok(None);
    };
    let scope = scope(context, &source)?;
    let plan = plan::plan(&source.index, &scope)?;
    let archive = source.archive();
    let (psql, tools, maintenance, server) = connect(context, journal).await?;
    let needs = needs::read(&archive, &scope, &plan).await?;
    let mut prepared = Prepared {
        roles: match &scope {
            Scope::Cluster => Roles::default(),
            Scope::Database(_) | Scope::Schema { .. } => roles::missing(&needs, &server),
        },
        spared: match &scope {
            Scope::Cluster => Some(roles::spared(&needs, &server)),
            Scope::Database(_) | Scope::Schema { .. } => None,
        },
        existing_database: match &scope {
            Scope::Database(name) => server.database(name).cloned(),
            Scope::Cluster | Scope::Schema { .. } => None,
        },
        existing_schema: None,
        problems: Vec::new(),
        source,
        archive,
        scope,
        plan,
        needs,
        psql,
        tools,
        maintenance,
        server,
    };
    let mut problems = common_problems(context, &prepared);
    problems.extend(match prepared.scope.clone() {
        Scope::Cluster => cluster_problems(&prepared).await?,
        Scope::Database(name) => database_problems(context, &prepared, &name),
        Scope::Schema { database, schema } => {
            schema_problems(&mut prepared, &database, &schema).await?
        }
    });
    prepared.problems = problems;
    journal.check(ready(&prepared));
    Ok(Some(prepared))
}

/// What is restored. A schema may leave its database to the archive.
fn scope(context: &Context, source: &Source) -> anyhow::Result<Scope> {
    let config = &context.config;
    let database = config.database.as_deref().map(Name::from);
    if config.restore.swap && (database.is_none() || config.schema.is_some()) {
        return Err(Usage::new("--swap is for one database")
            .hint("Add --database NAME, without --schema; a schema is replaced in one transaction.")
            .into());
    }
    if config.table.is_some() {
        return Err(Usage::new("a single table cannot be restored")
            .hint("Print its SQL with `backup-action extract --schema … --table …`, and look at it first.")
            .into());
    }
    let Some(schema) = config.schema.as_deref().map(Name::from) else {
        return Ok(database.map_or(Scope::Cluster, Scope::Database));
    };
    let filter = crate::archive::extract::Filter {
        database,
        schema: Some(schema.clone()),
        table: None,
    };
    let database = crate::archive::extract::select(&source.index, &filter)?.database;
    Ok(Scope::Schema { database, schema })
}

/// Connects to the server to restore into. `DATABASE_URL` is not asked: in most places it is
/// production, and what is meant has to be said.
async fn connect(
    context: &Context,
    journal: &mut Journal,
) -> anyhow::Result<(Psql, Tools, Name, TargetServer)> {
    let config = &context.config;
    let env = |name: &str| match name {
        "DATABASE_URL" => None,
        other => std::env::var_os(other),
    };
    let into = config.restore.into.as_ref();
    let named = ["PGHOST", "PGHOSTADDR", "PGSERVICE", "PGPORT", "PGUSER"];
    if into.is_none() && named.iter().all(|name| std::env::var_os(name).is_none()) {
        return Err(Usage::new("no server to restore into is named")
            .hint("Add --into postgres://USER@HOST/postgres, or set PGHOST and PGUSER. DATABASE_URL is not used for this.")
            .into());
    }
    let connection = Connection::resolve(into, &env)?;
    let secrets = connection.secrets();
    crate::command::mask(context, &secrets);
    journal.secrets.extend(secrets);
    let (way, user) = (&config.reach.way, config.sudo_user.as_deref());
    let (connection, run_as) = way.open(connection, user).await?;
    let dir = config.pg_bin_dir.as_deref();
    let mut psql = Psql {
        program: tools::locate_any_psql(dir)?,
        connection,
        run_as,
    };
    let (maintenance, server) = target::server(&psql).await?;
    let tools = tools::locate(server.major(), dir).await?;
    psql.program.clone_from(&tools.psql);
    Ok((psql, tools, maintenance, server))
}

fn common_problems(context: &Context, prepared: &Prepared) -> Vec<(String, String)> {
    let server = &prepared.server;
    let mut problems = Vec::new();
    let mut say = |what: String, hint: &str| problems.push((what, hint.to_owned()));
    if server.in_recovery {
        say(
            "the server is a standby".to_owned(),
            "Restore into the primary.",
        );
    }
    if let Some(major) = prepared.source.server_major()
        && major > server.major()
    {
        say(
            format!(
                "the backup is of PostgreSQL {major}, the server is {} and cannot be sure to read it",
                server.version
            ),
            "Restore into a server of the same major version or a newer one.",
        );
    }
    let there: BTreeSet<&Name> = server.extensions.iter().collect();
    let missing = prepared.needs.extensions.iter();
    let missing: Vec<&Name> = missing.filter(|name| !there.contains(name)).collect();
    if !missing.is_empty() {
        say(
            format!(
                "extensions are not installed on the server: {}",
                list(&missing)
            ),
            "Install their packages on the server's machine.",
        );
    }
    let there: BTreeSet<&Name> = server.tablespaces.iter().collect();
    let missing = prepared.needs.tablespaces.iter();
    let missing: Vec<&Name> = missing.filter(|name| !there.contains(name)).collect();
    if !missing.is_empty() {
        say(
            format!("tablespaces do not exist: {}", list(&missing)),
            "Create them first: CREATE TABLESPACE name LOCATION 'directory'.",
        );
    }
    let roles = &prepared.roles;
    if !roles.unknown.is_empty() {
        say(
            format!(
                "roles are missing, and the archive does not have them either: {}",
                list(&roles.unknown.iter().collect::<Vec<_>>())
            ),
            "Create them first.",
        );
    }
    if !roles.create.is_empty() && context.config.restore.missing_roles == MissingRoles::Refuse {
        say(
            format!(
                "roles are missing: {}",
                list(&roles.create.iter().collect::<Vec<_>>())
            ),
            "Create them first, or leave out --missing-roles refuse: they are made as the archive has them.",
        );
    }
    problems
}

/// A whole cluster goes into an empty one: nothing is there that could be replaced.
async fn cluster_problems(prepared: &Prepared) -> anyhow::Result<Vec<(String, String)>> {
    let server = &prepared.server;
    let mut found: Vec<String> = server
        .databases
        .iter()
        .filter(|database| !is_of_initdb(&database.name))
        .map(|database| format!("database {}", database.name))
        .collect();
    for database in server.databases.iter().filter(|d| is_of_initdb(&d.name)) {
        if database.allow_connections {
            let objects = target::user_objects(&prepared.psql, &database.name).await?;
            let objects = objects.iter();
            found.extend(objects.map(|what| format!("{what} in database {}", database.name)));
        }
    }
    // Two roles of one name are rarely the same: attributes, passwords and memberships would be
    // those of the server. Whoever restores, and initdb's own, have to be there.
    let own = [&server.role, &server.bootstrap].map(|role| Name::from(role.as_str()));
    let taken = server.roles.iter().filter(|role| !own.contains(role));
    let taken = taken.filter(|role| prepared.needs.has_role(role));
    found.extend(taken.map(|role| format!("role {role}")));
    let mut problems = Vec::new();
    if !found.is_empty() {
        problems.push((
            format!("the server is not empty: {}", few(&found)),
            "Restore a whole cluster into a fresh one; or one database with --database, one schema with --schema.".to_owned(),
        ));
    }
    if !server.superuser {
        problems.push((
            format!("role {} is no superuser", server.role),
            "A whole cluster, with its roles, needs a superuser.".to_owned(),
        ));
    }
    Ok(problems)
}

fn is_of_initdb(name: &Name) -> bool {
    matches!(name.as_bytes(), b"postgres" | b"template0" | b"template1")
}

fn database_problems(context: &Context, prepared: &Prepared, name: &Name) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let created = prepared.plan.databases.iter().any(|d| !d.create.is_empty());
    if !created {
        problems.push((
            format!("the dump does not create database {name}: it is one that every cluster has"),
            "Restore the whole cluster into an empty one, or one schema of it with --schema."
                .to_owned(),
        ));
    }
    if *name == prepared.maintenance {
        problems.push((
            format!("database {name} is the one that this run is connected to"),
            "Name another one in --into, such as postgres.".to_owned(),
        ));
    }
    let Some(existing) = &prepared.existing_database else {
        return problems;
    };
    if !context.config.restore.swap {
        problems.push((
            format!("database {name} exists"),
            "Add --swap to restore beside it and swap the names at the end; the old one stays under another name.".to_owned(),
        ));
    } else if !existing.blockers.is_empty() {
        problems.push((
            format!(
                "database {name} cannot be renamed: {}",
                few(&existing.blockers)
            ),
            "Finish the prepared transactions, and drop the slots and subscriptions, first."
                .to_owned(),
        ));
    }
    problems
}

async fn schema_problems(
    prepared: &mut Prepared,
    database: &Name,
    schema: &Name,
) -> anyhow::Result<Vec<(String, String)>> {
    let Some(target) = prepared.server.database(database) else {
        return Ok(vec![(
            format!("database {database} does not exist on the server"),
            "Restore the whole database first: --database without --schema.".to_owned(),
        )]);
    };
    if !target.allow_connections {
        return Ok(vec![(
            format!("database {database} does not allow connections"),
            "ALTER DATABASE … ALLOW_CONNECTIONS true.".to_owned(),
        )]);
    }
    let existing = target::schema(&prepared.psql, database, schema).await?;
    let mut problems = Vec::new();
    if let Some(existing) = &existing
        && !existing.dependents.is_empty()
    {
        problems.push((
            format!(
                "objects outside of schema {schema} depend on it and would go with it: {}",
                few(&existing.dependents)
            ),
            "Drop them first and make them again afterwards, or restore the whole database with --swap.".to_owned(),
        ));
    }
    prepared.existing_schema = existing;
    Ok(problems)
}

fn ready(prepared: &Prepared) -> Check {
    match prepared.problems.as_slice() {
        [] => Check::passed(
            CheckId::TargetReady,
            format!(
                "PostgreSQL {} at {}",
                prepared.server.version,
                prepared.psql.connection.describe()
            ),
        ),
        [(_, hint), ..] => {
            let all: Vec<&str> = prepared.problems.iter().map(|(what, _)| &**what).collect();
            Check::failed(CheckId::TargetReady, all.join("; "), hint.clone())
        }
    }
}

impl Prepared {
    /// A load of `plan` with what every load has in common; failures stop it.
    pub(super) fn load(&self, context: &Context, plan: Plan) -> Load {
        Load {
            archive: self.archive.clone(),
            plan,
            psql: self.psql.clone(),
            maintenance: self.maintenance.clone(),
            rename: BTreeMap::new(),
            skip: BTreeSet::new(),
            replace: BTreeMap::new(),
            jobs: context.config.jobs,
            on_failure: OnFailure::Stop,
            little_wal: false,
            stall_timeout: context.config.stall_timeout,
        }
    }
}

fn list(names: &[&Name]) -> String {
    few(&names.iter().map(|name| name.to_lossy()).collect::<Vec<_>>())
}

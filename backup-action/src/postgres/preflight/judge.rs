//! From what the server answered to answered checks. Pure: no questions are asked here.

use super::survey::{Blocker, ClusterSurvey, DatabaseSurvey, Found};
use super::{RolePasswords, ServerFacts, unknown};
use crate::archive::index::Name;
use crate::check::{Check, CheckId, Severity};
use crate::postgres::connection::Connection;
use crate::postgres::list_names;
use crate::postgres::tools::{ToolVersion, Tools};
use humansize::{BINARY, format_size};

/// The lowest minor version of each major that has the fixes for CVE-2025-8714/8715 and
/// CVE-2026-18408. Later majors were released with them, earlier ones never get them.
const PATCHED: &[(u32, u32)] = &[(14, 24), (15, 19), (16, 15), (17, 11), (18, 6)];

type Severities<'a> = &'a (dyn Fn(CheckId) -> Severity + Send + Sync);
type Surveys = [(Name, anyhow::Result<DatabaseSurvey>)];

pub(super) fn reachable(facts: &ServerFacts, connection: &Connection) -> Check {
    let mut evidence = format!(
        "PostgreSQL {} at {} as role {}, {} databases, {}",
        facts.version,
        connection.describe(),
        facts.role,
        facts.databases.len(),
        format_size(facts.total_bytes, BINARY),
    );
    if facts.in_recovery {
        evidence.push_str(", a standby: long dumps may conflict with its replication");
    }
    if !facts.pooled {
        return Check::passed(CheckId::ServerReachable, evidence);
    }
    evidence.push_str(", through a connection pooler");
    Check::warned(
        CheckId::ServerReachable,
        evidence,
        "Connect to the server itself: a pooler may mix up or cut the session of a dump.",
    )
}

pub(super) fn client_version(tools: &Tools, server_major: u32) -> Check {
    let mut evidence = tools.to_string();
    if tools.version.major > server_major {
        evidence.push_str(&format!(
            ", newer than the server ({server_major}): the dump may need a server of version {} to restore",
            tools.version.major
        ));
    }
    Check::passed(CheckId::ClientVersion, evidence)
}

pub(super) fn client_patched(version: &ToolVersion, severity: Severities<'_>) -> Check {
    let id = CheckId::ClientPatched;
    let floor = PATCHED.iter().find(|(major, _)| *major == version.major);
    let newest_listed = PATCHED.iter().map(|(major, _)| *major).max().unwrap_or(0);
    match floor {
        Some((_, minor)) if version.minor >= *minor => {
            Check::passed(id, format!("pg_dumpall {version}"))
        }
        None if version.major > newest_listed => Check::passed(id, format!("pg_dumpall {version}")),
        Some((major, minor)) => Check::no(
            id,
            severity(id),
            format!(
                "pg_dumpall {version} lacks the fixes of {major}.{minor} (CVE-2025-8714, CVE-2025-8715, CVE-2026-18408)"
            ),
            format!(
                "Update the client to {major}.{minor} or later: a dump made with an older one can run commands on the machine that restores it."
            ),
        ),
        None => Check::no(
            id,
            severity(id),
            format!("pg_dumpall {version} gets no security fixes any more"),
            "Use the client of a supported major version; it dumps older servers too.",
        ),
    }
}

pub(super) fn sees_everything(
    facts: &ServerFacts,
    cluster: &ClusterSurvey,
    surveys: &Surveys,
    wanted: RolePasswords,
    severity: Severities<'_>,
) -> Check {
    let id = CheckId::SeesEverything;
    let role = &facts.role;
    if let Some((name, Err(error))) = surveys.iter().find(|(_, survey)| survey.is_err()) {
        return unknown_in(id, name, error);
    }
    let closed: Vec<String> = cluster
        .databases
        .iter()
        .filter(|row| row.dumped && !row.may_connect)
        .map(|row| row.name.to_lossy())
        .collect();
    let unreadable = tables(surveys, |survey| &survey.unreadable);
    let hidden = tables(surveys, |survey| &survey.row_security);
    let mut missing = Vec::new();
    if !closed.is_empty() {
        missing.push(format!("may not connect to {}", list_names(&closed)));
    }
    if unreadable.0 > 0 {
        missing.push(format!(
            "cannot read {} tables and sequences ({})",
            unreadable.0,
            list_some(&unreadable)
        ));
    }
    if hidden.0 > 0 {
        missing.push(format!(
            "row security hides rows of {} tables ({})",
            hidden.0,
            list_some(&hidden)
        ));
    }
    let passwords_missing = wanted == RolePasswords::Include && !cluster.reads_passwords;
    if passwords_missing {
        missing.push("cannot read the passwords of the roles (pg_authid)".into());
    }
    if missing.is_empty() {
        let rights = match (facts.is_superuser, cluster.bypass_rls) {
            (true, _) => "is a superuser",
            (false, true) => "reads every table and bypasses row security",
            (false, false) => "reads every table",
        };
        let passwords = match (facts.role_passwords, wanted) {
            (true, _) => "",
            (false, RolePasswords::Auto) => {
                "; the passwords of the roles cannot be read and are left out"
            }
            (false, RolePasswords::Include | RolePasswords::Exclude) => {
                "; the passwords of the roles are left out"
            }
        };
        return Check::passed(id, format!("role {role} {rights}{passwords}"));
    }
    let hint = if missing.len() == 1 && passwords_missing {
        "On a managed service use --role-passwords exclude, else a superuser."
    } else {
        "Use a superuser, or: GRANT pg_read_all_data TO the role; ALTER ROLE the role BYPASSRLS; and CONNECT on every database."
    };
    Check::no(
        id,
        severity(id),
        format!("role {role} {}", missing.join("; ")),
        hint,
    )
}

fn unknown_in(id: CheckId, database: &Name, error: &anyhow::Error) -> Check {
    let mut check = unknown(id, error);
    check.evidence = format!("database {database}: {}", check.evidence);
    check
}

/// How many tables of all databases, and the first of them as `database.schema.table`.
fn tables(surveys: &Surveys, which: impl Fn(&DatabaseSurvey) -> &Found) -> (u64, Vec<String>) {
    let mut all = (0, Vec::new());
    for (database, survey) in surveys {
        if let Ok(survey) = survey {
            let found = which(survey);
            all.0 += found.count;
            all.1.extend(found.names.iter().map(|(schema, table)| {
                format!("{database}.{}.{}", schema.to_lossy(), table.to_lossy())
            }));
        }
    }
    all
}

/// The names may be fewer than the count.
fn list_some((count, names): &(u64, Vec<String>)) -> String {
    let shown = &names[..names.len().min(5)];
    match count.saturating_sub(shown.len() as u64) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

pub(super) fn source_checksums(cluster: &ClusterSurvey, severity: Severities<'_>) -> Check {
    let id = CheckId::SourceChecksums;
    if cluster.checksum_failures.is_empty() {
        return Check::passed(
            id,
            if cluster.data_checksums {
                "data_checksums is on, no failures seen"
            } else {
                "no failures seen, but data_checksums is off: the server cannot notice damaged pages"
            },
        );
    }
    let seen: Vec<String> = cluster
        .checksum_failures
        .iter()
        .map(|row| {
            let database = row
                .database
                .as_ref()
                .map_or("the shared catalogues".into(), |d| d.to_lossy());
            let last = row
                .last
                .as_ref()
                .map_or(String::new(), |last| format!(", last at {last}"));
            format!("{} in {database}{last}", row.failures)
        })
        .collect();
    Check::no(
        id,
        severity(id),
        format!("the server has seen damaged pages: {}", list_names(&seen)),
        "Keep all earlier backups and look at the server's log and disks; when the damage is repaired, reset the counter with pg_stat_reset().",
    )
}

pub(super) fn databases_connectable(
    facts: &ServerFacts,
    accepted: &[String],
    severity: Severities<'_>,
) -> Check {
    let id = CheckId::DatabasesConnectable;
    let closed = || {
        facts
            .databases
            .iter()
            .filter(|database| !database.allow_connections)
            .map(|database| database.name.to_lossy())
            .filter(|name| name != "template0")
    };
    let skipped: Vec<String> = closed().filter(|name| !accepted.contains(name)).collect();
    let agreed: Vec<String> = closed().filter(|name| accepted.contains(name)).collect();
    if !skipped.is_empty() {
        return Check::no(
            id,
            severity(id),
            format!(
                "pg_dumpall skips databases that allow no connections: {}",
                list_names(&skipped)
            ),
            "ALTER DATABASE … ALLOW_CONNECTIONS true, or drop the database, or accept by name that it is not in the backup.",
        );
    }
    let open = facts
        .databases
        .iter()
        .filter(|database| database.allow_connections)
        .count();
    let mut evidence = format!("{open} databases will be dumped");
    if !agreed.is_empty() {
        evidence.push_str(&format!("; left out as accepted: {}", list_names(&agreed)));
    }
    Check::passed(id, evidence)
}

pub(super) fn lock_budget(
    cluster: &ClusterSurvey,
    surveys: &Surveys,
    severity: Severities<'_>,
) -> Check {
    let id = CheckId::LockBudget;
    if let Some((name, Err(error))) = surveys.iter().find(|(_, survey)| survey.is_err()) {
        return unknown_in(id, name, error);
    }
    let largest = surveys
        .iter()
        .filter_map(|(name, survey)| Some((survey.as_ref().ok()?.lockable, name)))
        .max_by_key(|(tables, _)| *tables);
    let (tables, database) = match largest {
        Some((tables, name)) => (tables, name.to_lossy()),
        None => (0, "none".into()),
    };
    let holders = cluster.lock_holders.max(1);
    let room = cluster.max_locks_per_transaction * holders;
    let evidence = format!("{tables} tables in {database}, room for {room} locks");
    if tables <= room {
        return Check::passed(id, evidence);
    }
    let needed = (tables + tables / 4).div_ceil(holders);
    Check::no(
        id,
        severity(id),
        format!(
            "{evidence} (max_locks_per_transaction = {})",
            cluster.max_locks_per_transaction
        ),
        format!("Set max_locks_per_transaction = {needed} and restart the server."),
    )
}

pub(super) fn no_blockers(
    surveys: &Surveys,
    blockers: anyhow::Result<Vec<(Name, Blocker)>>,
    severity: Severities<'_>,
) -> Check {
    let id = CheckId::NoBlockers;
    if let Some((name, Err(error))) = surveys.iter().find(|(_, survey)| survey.is_err()) {
        return unknown_in(id, name, error);
    }
    let blockers = match blockers {
        Ok(blockers) if blockers.is_empty() => {
            return Check::passed(id, "no session holds ACCESS EXCLUSIVE on a table");
        }
        Ok(blockers) => blockers,
        Err(error) => return unknown(id, &error),
    };
    let described: Vec<String> = blockers
        .iter()
        .map(|(db, b)| describe_blocker(db, b))
        .collect();
    let prepared = blockers.iter().find_map(|(_, blocker)| blocker.gid.clone());
    let hint = match (prepared, blockers.iter().find_map(|(_, b)| b.pid)) {
        (Some(gid), _) => format!("COMMIT PREPARED or ROLLBACK PREPARED the transaction {gid:?}."),
        (None, Some(pid)) => {
            format!("Let the session end, or end it: SELECT pg_terminate_backend({pid});")
        }
        (None, None) => "Let the session end.".into(),
    };
    Check::no(
        id,
        severity(id),
        format!("the dump would wait for {}", list_names(&described)),
        hint,
    )
}

fn describe_blocker(database: &Name, blocker: &Blocker) -> String {
    let who = match (&blocker.pid, &blocker.gid) {
        (Some(pid), _) => format!("pid {pid}"),
        (None, Some(gid)) => format!("prepared transaction {gid:?}"),
        (None, None) => "an unknown session".into(),
    };
    let user = blocker.user.as_deref().unwrap_or("unknown");
    let application = match blocker.application.as_deref() {
        Some(name) if !name.is_empty() => format!(", application {name}"),
        Some(_) | None => String::new(),
    };
    let state = blocker
        .state
        .as_ref()
        .map_or(String::new(), |s| format!(", {s}"));
    let age = blocker
        .age
        .map_or(String::new(), |age| format!(", for {:.0} s", age.max(0.0)));
    let mode = if blocker.granted {
        "holds"
    } else {
        "waits for"
    };
    format!(
        "{who} (user {user}{application}{state}{age}) which {mode} ACCESS EXCLUSIVE on {database}.{}.{}",
        blocker.schema.to_lossy(),
        blocker.relation.to_lossy()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Outcome;

    #[test]
    fn only_patched_minors_pass() {
        for (major, minor, patched) in [
            (13, 23, false),
            (14, 23, false),
            (14, 24, true),
            (15, 18, false),
            (15, 20, true),
            (16, 15, true),
            (17, 10, false),
            (17, 11, true),
            (18, 5, false),
            (18, 6, true),
            (19, 0, true),
        ] {
            let version = ToolVersion {
                major,
                minor,
                text: format!("{major}.{minor}"),
            };
            let check = client_patched(&version, &|id| id.default_severity());
            let expected = if patched {
                Outcome::Passed
            } else {
                Outcome::Warned
            };
            assert_eq!(check.outcome, expected, "{version}");
        }
    }
}

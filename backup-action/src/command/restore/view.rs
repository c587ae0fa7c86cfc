//! `restore --plan`: the steps with their sizes, and what would be replaced. Changes nothing.

use super::confirm;
use super::hooks::Hooks;
use super::prepare::Prepared;
use crate::archive::index::Name;
use crate::archive::read::spans_for;
use crate::command::Context;
use crate::pipeline::fetch::SPAN_BYTES;
use crate::report::{escape, format};
use crate::restore::plan::Scope;
use jiff::Timestamp;
use serde::Serialize;

/// The plan as JSON has it.
#[derive(Serialize)]
pub(super) struct View {
    format: u32,
    scope: String,
    backup: String,
    server: String,
    server_version: String,
    /// What is in the way; empty when the restore could start.
    problems: Vec<String>,
    replaces: Vec<String>,
    creates_roles: Vec<Name>,
    keeps_roles: Vec<Name>,
    steps: Vec<StepView>,
    rows: u64,
    dump_bytes: u64,
    archive_bytes: u64,
    archive_bytes_to_read: u64,
    sessions: usize,
    before: Vec<String>,
    after: Vec<String>,
}

#[derive(Serialize)]
struct StepView {
    phase: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<Name>,
    entries: usize,
    dump_bytes: u64,
}

impl View {
    pub(super) fn of(context: &Context, prepared: &Prepared, hooks: &Hooks) -> View {
        let index = &prepared.archive.index;
        let entries = prepared.plan.entries();
        let ranges: Vec<_> = entries
            .iter()
            .flat_map(|n| index.entries[*n].ranges.iter().copied())
            .collect();
        let spans = spans_for(index, &ranges, SPAN_BYTES);
        let (before, after) = hooks.texts();
        let steps = prepared.plan.steps(index).into_iter();
        View {
            format: 1,
            scope: scope_text(&prepared.scope),
            backup: prepared.source.place.clone(),
            server: prepared.psql.connection.describe(),
            server_version: prepared.server.version.clone(),
            problems: prepared
                .problems
                .iter()
                .map(|(what, _)| what.clone())
                .collect(),
            replaces: confirm::replaced(prepared),
            creates_roles: prepared.roles.create.clone(),
            keeps_roles: prepared
                .spared
                .as_ref()
                .map_or_else(Vec::new, |spared| spared.roles.clone()),
            steps: steps
                .map(|step| StepView {
                    phase: step.phase.to_string(),
                    database: step.database,
                    entries: step.entries,
                    dump_bytes: step.dump_bytes,
                })
                .collect(),
            rows: entries
                .iter()
                .filter_map(|n| index.entries[*n].copy.as_ref())
                .map(|copy| copy.rows)
                .sum(),
            dump_bytes: prepared.plan.dump_bytes(index),
            archive_bytes: index.archive_bytes,
            archive_bytes_to_read: spans
                .iter()
                .map(|span| span.archive.end - span.archive.start)
                .sum(),
            sessions: match prepared.scope {
                Scope::Schema { .. } => 1,
                Scope::Cluster | Scope::Database(_) => context.config.jobs,
            },
            before,
            after,
        }
    }

    pub(super) fn is_possible(&self) -> bool {
        self.problems.is_empty()
    }

    /// The plan for people.
    pub(super) fn text(&self, prepared: &Prepared) -> String {
        let mut lines = vec![
            ("restore", self.scope.clone()),
            ("from", confirm::replacement(prepared, Timestamp::now())),
            (
                "into",
                format!("PostgreSQL {} at {}", self.server_version, self.server),
            ),
            (
                "reads",
                format!(
                    "{} of {} of the archive ({} of SQL)",
                    format::bytes(self.archive_bytes_to_read),
                    format::bytes(self.archive_bytes),
                    format::bytes(self.dump_bytes)
                ),
            ),
        ];
        lines.extend(self.before.iter().map(|hook| ("before", hook.clone())));
        let names = |names: &[Name]| {
            names
                .iter()
                .map(Name::to_lossy)
                .collect::<Vec<_>>()
                .join(", ")
        };
        if !self.creates_roles.is_empty() {
            lines.push(("roles", format!("creates {}", names(&self.creates_roles))));
        }
        if !self.keeps_roles.is_empty() {
            lines.push((
                "roles",
                format!("leaves as they are: {}", names(&self.keeps_roles)),
            ));
        }
        for step in &self.steps {
            let database = step
                .database
                .as_ref()
                .map_or_else(String::new, |name| format!(" of {name}"));
            let sessions = match (&*step.phase, self.sessions) {
                ("data" | "indexes and keys", 2..) => format!(", {} sessions", self.sessions),
                _ => String::new(),
            };
            lines.push((
                "step",
                format!(
                    "{}{database}: {}, {}{sessions}",
                    step.phase,
                    format::counted(step.entries as u64, "object"),
                    format::bytes(step.dump_bytes),
                ),
            ));
        }
        lines.extend(self.replaces.iter().map(|what| ("replaces", what.clone())));
        lines.extend(self.after.iter().map(|hook| ("after", hook.clone())));
        for (what, hint) in &prepared.problems {
            lines.push(("cannot", what.clone()));
            lines.push(("", format!("→ {hint}")));
        }
        let mut text = String::new();
        for (label, line) in lines {
            text.push_str(&format!("  {label:<9} {}\n", escape::terminal(&line)));
        }
        text.push_str(match self.is_possible() {
            true => "\nNothing was changed. Run the same without --plan to restore.\n",
            false => "\nNothing was changed. This restore would be refused.\n",
        });
        text
    }
}

/// `the whole cluster`, `database nostromo`, `schema central of database nostromo`.
pub(super) fn scope_text(scope: &Scope) -> String {
    match scope {
        Scope::Cluster => "the whole cluster".to_owned(),
        Scope::Database(name) => format!("database {name}"),
        Scope::Schema { database, schema } => format!("schema {schema} of database {database}"),
    }
}

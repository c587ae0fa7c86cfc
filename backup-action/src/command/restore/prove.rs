//! What came back against what went in: a database or a cluster is dumped again through the same
//! scanner, and the two indexes are compared by name.

use super::needs::is_of_database;
use super::prepare::Prepared;
use crate::archive::index::{Index, Name, Sha256Digest, kind};
use crate::check::{Check, CheckId};
use crate::command::journal::Journal;
use crate::command::{Context, proving};
use crate::postgres::dump::DumpOptions;
use crate::proof::{self, Proof, Replacement};
use crate::report::format;
use crate::report::restored::ProofSummary;
use crate::report::words::Step;
use crate::restore::plan::Scope;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Dumps what was restored, compares it with the archive, and answers `round-trip`. `beside` is the
/// name that a database has for now.
///
/// # Errors
/// The dump failed, or trouble of our own.
pub(super) async fn round_trip(
    context: &Context,
    journal: &mut Journal,
    prepared: &Prepared,
    beside: Option<(&Name, &Name)>,
) -> anyhow::Result<ProofSummary> {
    let begun = Instant::now();
    context.progress.begin(
        Step::Prove,
        prepared.plan.dump_bytes(&prepared.archive.index),
    );
    let dumped = dump_again(context, prepared, beside).await?;
    let mut proof = compare(prepared, dumped, beside);
    proving::settle(&prepared.archive, &mut proof).await?;
    journal.took(Step::Prove, begun);
    journal.check(judge(&proof));
    Ok(proof.into())
}

async fn dump_again(
    context: &Context,
    prepared: &Prepared,
    beside: Option<(&Name, &Name)>,
) -> anyhow::Result<Index> {
    let manifest = prepared.source.manifest.as_ref();
    let mut extra_args = manifest.map_or_else(Vec::new, |m| m.source.pg_dumpall_args.clone());
    if let Some((_, beside)) = beside {
        // pg_dumpall of everything but the others: the same format as the archive's.
        let others = prepared.server.databases.iter();
        extra_args.extend(
            others
                .filter(|database| database.name != *beside)
                .map(|database| format!("--exclude-database={}", pattern(&database.name))),
        );
    }
    let options = DumpOptions {
        role_passwords: beside.is_none() && manifest.is_none_or(|m| m.source.role_passwords),
        lock_wait_timeout: context.config.lock_wait_timeout,
        extra_args,
    };
    let seen = proving::dump_again(
        context,
        &prepared.psql,
        &prepared.tools.pg_dumpall,
        &prepared.maintenance,
        &options,
    )
    .await?;
    Ok(seen.index)
}

/// A database for `--exclude-database`, which takes patterns: in quotes nothing stands for anything
/// else.
fn pattern(name: &Name) -> String {
    format!("\"{}\"", name.to_lossy().replace('"', "\"\""))
}

fn compare(prepared: &Prepared, dumped: Index, beside: Option<(&Name, &Name)>) -> Proof {
    let archive = &prepared.archive.index;
    let scope = match &prepared.scope {
        Scope::Cluster => proof::Scope::Cluster,
        Scope::Database(name) => proof::Scope::Database(name.clone()),
        Scope::Schema { database, schema } => proof::Scope::Schema {
            database: database.clone(),
            schema: schema.clone(),
        },
    };
    let role = Name::from(prepared.server.role.as_str());
    let context = proof::Context {
        drill_superuser: role.clone(),
        superusers: prepared
            .server
            .superusers
            .iter()
            .cloned()
            .chain([role])
            .collect(),
        replaced: grants(prepared),
        scope,
        rows: true,
        renamed: beside.map(|(name, beside)| (name.clone(), beside.clone())),
    };
    let (left, right) = match beside {
        // Those statements run when the database gets its name.
        Some(_) => (
            without(archive, |number| is_about_database(archive, number)),
            without(&dumped, |number| is_about_database(&dumped, number)),
        ),
        None => {
            let kept: BTreeSet<Name> = match &prepared.spared {
                Some(spared) => spared.roles.iter().cloned().collect(),
                None => BTreeSet::new(),
            };
            // Roles that were there before are whatever they were, and so are those of the target
            // that the archive does not know.
            let there: BTreeSet<Name> = prepared.server.roles.iter().cloned().chain(kept).collect();
            let left = |index: &Index, number: usize| {
                let entry = &index.entries[number];
                &*entry.kind == kind::GLOBAL && there.contains(&entry.name)
            };
            (
                without(archive, |number| left(archive, number)),
                without(&dumped, |number| left(&dumped, number)),
            )
        }
    };
    proof::compare(&left, &right, &context)
}

fn is_about_database(index: &Index, number: usize) -> bool {
    &*index.entries[number].kind == "DATABASE" || is_of_database(index, number)
}

/// The index without some of its entries, whose positions stay those of comments that nobody
/// compares.
fn without(index: &Index, is_left_out: impl Fn(usize) -> bool) -> Index {
    let mut kept = index.clone();
    let left_out: Vec<usize> = (0..index.entries.len())
        .filter(|n| is_left_out(*n))
        .collect();
    for number in left_out {
        kept.entries[number].kind = kind::COMMENT.into();
    }
    kept
}

/// What a dump prints of the memberships that have another grantor now.
fn grants(prepared: &Prepared) -> BTreeMap<usize, Replacement> {
    let Some(spared) = &prepared.spared else {
        return BTreeMap::new();
    };
    let grantor = match prepared.server.major() >= 16 {
        true => &prepared.server.bootstrap,
        false => &prepared.server.role,
    };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let grantor = match grantor.chars().all(plain) {
        true => grantor.clone(),
        false => format!("\"{}\"", grantor.replace('"', "\"\"")),
    };
    let replaced = spared.replace.iter().map(|(number, sql)| {
        let text = sql.strip_suffix(b";").unwrap_or(sql);
        let printed = [text, b" GRANTED BY ", grantor.as_bytes(), b";"].concat();
        let replacement = Replacement {
            sha256: Sha256Digest(Sha256::digest(&printed).into()),
            what: "who granted the membership".to_owned(),
        };
        (*number, replacement)
    });
    replaced.collect()
}

fn judge(proof: &Proof) -> Check {
    let counts = &proof.restored;
    if proof.is_equal() {
        return Check::passed(
            CheckId::RoundTrip,
            format!(
                "{}, {} and {} compared by digest, all equal",
                format::counted(counts.entries, "object"),
                format::counted(counts.tables, "table"),
                format::counted(counts.rows, "row"),
            ),
        );
    }
    let open = proof.undecided.iter().map(|open| open.object.clone());
    let names: Vec<String> = proof
        .differences
        .iter()
        .map(|difference| format!("{}: {}", difference.object, difference.detail))
        .chain(open.map(|object| format!("{object}: its columns are in another order")))
        .collect();
    Check::failed(
        CheckId::RoundTrip,
        format!(
            "{}: {}",
            format::counted(names.len() as u64, "difference"),
            super::names::few(&names)
        ),
        "Look at what differs; the report lists all of it.",
    )
}

//! What proving a restore and proving a drill have in common.

use super::Context;
use crate::archive::index::Name;
use crate::pipeline::inspect::{self, Inspected};
use crate::postgres::dump::{self, DumpOptions};
use crate::postgres::psql::Psql;
use crate::process::Running;
use crate::proof::Proof;
use crate::report::restored::{Phase, Restored};
use crate::restore::{Archive, Loaded, read};
use anyhow::Context as _;
use std::path::Path;

/// Dumps what was restored with `pg_dumpall`, through the scanner that read the archived dump.
///
/// # Errors
/// The dump failed or is not whole.
pub(crate) async fn dump_again(
    context: &Context,
    psql: &Psql,
    pg_dumpall: &Path,
    maintenance: &Name,
    options: &DumpOptions,
) -> anyhow::Result<Inspected> {
    let command = dump::dumpall(psql, pg_dumpall, maintenance, options);
    let (child, stdout) = Running::start(command)?;
    let seen = inspect::inspect(
        child,
        stdout,
        context.config.stall_timeout,
        &context.progress,
    )
    .await
    .context("could not dump what was restored")?;
    let finished = &seen.finished;
    if !finished.exit.is_success() {
        let secrets = psql.connection.secrets();
        return Err(dump::explain_failure(&finished.exit, &finished.stderr_tail, &secrets).into());
    }
    anyhow::ensure!(
        seen.completeness.is_complete(),
        "the dump of what was restored ends {}",
        seen.completeness.ended_in
    );
    Ok(seen)
}

/// Notes in the report what was replayed, and how long each phase took.
pub(crate) fn replayed(report: &mut Restored, loaded: &Loaded) {
    report.phases = loaded
        .phases
        .iter()
        .map(|(phase, seconds)| Phase {
            name: phase.to_string(),
            seconds: *seconds,
        })
        .collect();
    report.dump_bytes = loaded.dump_bytes;
    report.archive_bytes_read = loaded.archive_bytes_read;
}

/// Decides what only the archived rows can.
///
/// # Errors
/// They cannot be read.
pub(crate) async fn settle(archive: &Archive, proof: &mut Proof) -> anyhow::Result<()> {
    for open in proof.undecided.clone() {
        let mut reader = open.reader();
        read::rows(archive, open.archive, |bytes| reader.feed(bytes)).await?;
        proof.decide(&open, reader.finish());
    }
    Ok(())
}

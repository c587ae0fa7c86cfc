//! `extract`: the SQL of one database, schema or table on standard output, reading only the members
//! that hold it.

use super::{Context, ExitStatus, stores};
use crate::archive::extract::{self, Filter, Selection};
use crate::archive::index::{ByteRange, Index, Name};
use crate::archive::read::{spans, spans_for};
use crate::pipeline::fetch::{self, SPAN_BYTES, Want};
use crate::pipeline::publish;
use crate::report::words::Step;
use anyhow::Context as _;
use std::io::Write;
use std::sync::Arc;

/// Runs the command.
///
/// # Errors
/// The backup or what is asked of it cannot be found, a read differs from the index, or standard
/// output is closed.
pub(crate) async fn run(context: &Context) -> anyhow::Result<ExitStatus> {
    let config = &context.config;
    let stores = stores::open(config).await?;
    let found = stores::find(&stores, &config.backup).await?;
    let index =
        Arc::new(publish::load_index(&found.store, &found.keys.index, &found.manifest).await?);
    let source = Source {
        context,
        store: &found.store,
        key: &found.keys.archive,
        index: &index,
    };
    let filter = Filter {
        database: config.database.as_deref().map(Name::from),
        schema: config.schema.as_deref().map(Name::from),
        table: config.table.as_deref().map(Name::from),
    };
    if filter.database.is_none() && filter.schema.is_none() && filter.table.is_none() {
        source
            .print(&[ByteRange {
                start: 0,
                end: index.dump_bytes,
            }])
            .await?;
        return Ok(ExitStatus::PASSED);
    }
    let mut selection = extract::select(&index, &filter)?;
    decide(&source, &mut selection, &filter).await?;
    let ranges: Vec<ByteRange> = selection
        .entries
        .iter()
        .flat_map(|number| index.entries[*number].ranges.iter().copied())
        .collect();
    let guard = random_key()?;
    write(
        format!(
            "--\n-- extracted from {} (database {})\n--\n\n",
            found.keys.archive,
            one_line(&selection.database)
        )
        .as_bytes(),
    )?;
    if selection.restricted {
        write(format!("\\restrict {guard}\n\n").as_bytes())?;
    }
    source.print(&ranges).await?;
    if selection.restricted {
        write(format!("\\unrestrict {guard}\n").as_bytes())?;
    }
    Ok(ExitStatus::PASSED)
}

/// Reads the statements of indexes that may belong to the table, and keeps those that do.
async fn decide(
    source: &Source<'_>,
    selection: &mut Selection,
    filter: &Filter,
) -> anyhow::Result<()> {
    let (Some(table), Some(schema)) = (&filter.table, extract::schema_of(source.index, selection))
    else {
        return Ok(());
    };
    for number in std::mem::take(&mut selection.undecided) {
        let mut statement = Vec::new();
        source
            .read(&source.index.entries[number].ranges, |bytes| {
                statement.extend_from_slice(bytes);
                Ok(())
            })
            .await?;
        if extract::is_on_table(&statement, &schema, table) {
            selection.entries.push(number);
        }
    }
    selection.entries.sort_unstable();
    Ok(())
}

/// Where the bytes come from.
struct Source<'a> {
    context: &'a Context,
    store: &'a crate::store::Store,
    key: &'a crate::store::Key,
    index: &'a Arc<Index>,
}

impl Source<'_> {
    async fn print(&self, ranges: &[ByteRange]) -> anyhow::Result<()> {
        self.read(ranges, write).await
    }

    /// Hands the bytes of `ranges`, which are in the order of the dump, to `each`.
    async fn read(
        &self,
        ranges: &[ByteRange],
        mut each: impl FnMut(&[u8]) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let wanted = match ranges {
            [all] if all.start == 0 && all.end == self.index.dump_bytes => {
                spans(self.index, SPAN_BYTES)
            }
            _ => spans_for(self.index, ranges, SPAN_BYTES),
        };
        self.context.progress.begin(
            Step::ReadBack,
            wanted
                .iter()
                .map(|span| span.archive.end - span.archive.start)
                .sum(),
        );
        let mut decoded = fetch::spans(
            self.store,
            self.key,
            self.index,
            wanted,
            Want::Dump,
            self.context.config.jobs,
        );
        let mut next = 0;
        while let Some(part) = fetch::next(&mut decoded, &self.context.progress).await? {
            let (start, end) = (part.span.dump.start, part.span.dump.end);
            while let Some(range) = ranges.get(next).filter(|range| range.start < end) {
                let from = usize::try_from(range.start.max(start) - start)
                    .context("range is too large")?;
                let to =
                    usize::try_from(range.end.min(end) - start).context("range is too large")?;
                each(&part.dump[from..to])?;
                if range.end > end {
                    break;
                }
                next += 1;
            }
        }
        anyhow::ensure!(
            next == ranges.len(),
            "the archive ended before all ranges were read"
        );
        Ok(())
    }
}

fn write(bytes: &[u8]) -> anyhow::Result<()> {
    std::io::stdout()
        .lock()
        .write_all(bytes)
        .context("could not write to standard output")
}

/// A name in a comment must not end it.
fn one_line(name: &Name) -> String {
    name.to_lossy().replace(['\n', '\r'], " ")
}

fn random_key() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("could not get random bytes")?;
    Ok(crate::archive::index::to_hex(&bytes))
}

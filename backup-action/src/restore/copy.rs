//! Rows: several tables through one psql. Each COPY statement is an argument, its rows come on
//! stdin, and the server's count is compared with the index.

use super::script::Place;
use super::session::{Action, Output, Session, as_argument};
use super::settings::{Cursor, InForce};
use super::source::Ranges;
use super::work::{Work, object};
use crate::archive::index::{ByteRange, Entry};
use crate::archive::statements::{RowReader, Statement, copy_statement};
use crate::postgres::target::quoted;
use anyhow::{Context, ensure};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// Tables whose entries are smaller share a psql, up to this size together.
const BATCH_BYTES: u64 = 4 * 1024 * 1024;

/// Smaller tables are not emptied first.
const FRESH_BYTES: u64 = 1024 * 1024;

/// Tables of one psql at most.
const BATCH_TABLES: usize = 200;

/// Bytes of COPY statements of one psql at most; the system takes 2 MiB of arguments.
const BATCH_ARGUMENTS: u64 = 256 * 1024;

/// Cuts `tables`, which are in the order of the dump, into batches: the largest table first, small
/// ones together with their neighbours, because they share members.
pub(super) fn batches(work: &Work, tables: &[usize]) -> Vec<Vec<usize>> {
    let size = |number: &usize| work.entry(*number).bytes();
    let total: u64 = tables.iter().map(size).sum();
    let share = total / (4 * work.load.jobs.max(1) as u64);
    let limit = share.clamp(64 * 1024, BATCH_BYTES);
    let mut batches: Vec<(u64, Vec<usize>)> = Vec::new();
    let mut open: (u64, u64, Vec<usize>) = Default::default();
    for table in tables {
        let bytes = size(table);
        if bytes >= limit {
            batches.push((bytes, vec![*table]));
            continue;
        }
        let header = header_bytes(work.entry(*table));
        let full = open.0 + bytes > limit
            || open.1 + header > BATCH_ARGUMENTS
            || open.2.len() >= BATCH_TABLES;
        if full && !open.2.is_empty() {
            let (bytes, _, tables) = std::mem::take(&mut open);
            batches.push((bytes, tables));
        }
        open.0 += bytes;
        open.1 += header;
        open.2.push(*table);
    }
    if !open.2.is_empty() {
        batches.push((open.0, open.2));
    }
    batches.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    batches.into_iter().map(|(_, tables)| tables).collect()
}

fn header_bytes(entry: &Entry) -> u64 {
    let rows: u64 = entry
        .copy
        .iter()
        .flat_map(|copy| &copy.data)
        .map(ByteRange::bytes)
        .sum();
    entry.bytes() - rows
}

/// Loads the rows of a batch of tables.
///
/// # Errors
/// The first failure when failures stop the restore; an archive that differs from its index; no
/// connection.
pub(super) async fn run(place: &Place, tables: &[usize]) -> anyhow::Result<()> {
    let mut at = 0;
    while at < tables.len() {
        at += attempt(place, &tables[at..]).await?;
    }
    Ok(())
}

/// Loads tables up to the first that fails; how many are done with.
async fn attempt(place: &Place, tables: &[usize]) -> anyhow::Result<usize> {
    let work = &place.work;
    let mut rows = Rows::open(work, tables).await?;
    let actions = actions(place, tables, &rows.statements)?;
    let mut session = Session::start(work, &place.database, actions, Output::Tags)?;
    for number in tables {
        if !rows.feed(work, *number, &mut session).await? {
            break;
        }
    }
    let ended = session.end().await?;
    let counted = counts(&ended.output);
    ensure!(counted.len() <= tables.len(), "psql counts too many tables");
    for (table, counted) in tables.iter().zip(&counted) {
        check_count(work, *table, *counted)?;
    }
    if ended.is_success() {
        ensure!(counted.len() == tables.len(), "psql counts too few tables");
        return Ok(tables.len());
    }
    let failed = tables
        .get(counted.len())
        .context("psql failed behind the last table")?;
    work.fail(*failed, ended.refusal()?.message)?;
    Ok(counted.len() + 1)
}

/// The numbers of the `COPY n` lines.
pub(super) fn counts(output: &[String]) -> Vec<u64> {
    let tags = output.iter().filter_map(|line| line.strip_prefix("COPY "));
    tags.filter_map(|count| count.parse().ok()).collect()
}

/// Compares the server's count with the index.
pub(super) fn check_count(work: &Work, table: usize, counted: u64) -> anyhow::Result<()> {
    let rows = work.entry(table).copy.as_ref().map_or(0, |copy| copy.rows);
    if rows != counted {
        let message = format!("the server counts {counted} rows, the index {rows}");
        return work.fail(table, message);
    }
    work.copied(rows);
    Ok(())
}

/// The settings of each place, then its COPY.
pub(super) fn actions(
    place: &Place,
    tables: &[usize],
    statements: &[Statement],
) -> anyhow::Result<Vec<Action>> {
    let mut actions = Vec::new();
    let mut cursor = Cursor::default();
    let mut in_force = InForce::new();
    for (table, statement) in tables.iter().zip(statements) {
        place.settings.advance(&mut cursor, *table);
        for setting in place.settings.missing(&in_force, &cursor.in_force) {
            if !place.work.skips(setting) {
                let text = place.settings.text(setting)?.to_vec();
                actions.push(Action::Statement(as_argument(text)?));
            }
        }
        in_force.clone_from(&cursor.in_force);
        let context = || format!("could not restore {}", object(place.work.entry(*table)));
        let mut push = |sql: Vec<u8>| {
            let argument = as_argument(sql).with_context(context)?;
            actions.push(Action::Statement(argument));
            anyhow::Ok(())
        };
        if !is_fresh(place, *table) {
            push(statement.bytes.clone())?;
            continue;
        }
        // Nothing is written to the log of a table that is new in its transaction, and its rows
        // need no second visit.
        push(b"BEGIN".to_vec())?;
        push(truncate(place.work.entry(*table)))?;
        let copy = statement.bytes.strip_suffix(b";");
        let copy = copy.unwrap_or(&statement.bytes);
        push([copy, b" WITH (FREEZE);"].concat())?;
        push(b"COMMIT".to_vec())?;
    }
    Ok(actions)
}

/// Whether a table is one that this restore made, holds nothing, and is worth a transaction of its
/// own.
fn is_fresh(place: &Place, table: usize) -> bool {
    place.fresh.contains(&table) && place.work.entry(table).bytes() >= FRESH_BYTES
}

fn truncate(entry: &Entry) -> Vec<u8> {
    let mut sql = b"TRUNCATE ONLY ".to_vec();
    if let Some(schema) = &entry.schema {
        sql.extend(quoted(schema));
        sql.push(b'.');
    }
    sql.extend(quoted(&entry.name));
    sql
}

/// Tables whose COPY statements were read and whose rows are to be fed.
pub(super) struct Rows {
    /// By table.
    pub(super) statements: Vec<Statement>,
    ranges: Ranges,
    /// Whose rows each range holds; none for what stands before them.
    owners: Vec<Option<usize>>,
    /// Rows that were read on the way to the statements, with their range.
    held: VecDeque<(usize, Bytes)>,
}

impl Rows {
    /// Reads the COPY statements. Rows on the way to them are kept when they are few; else they are
    /// read again, because memory is bounded.
    pub(super) async fn open(work: &Arc<Work>, tables: &[usize]) -> anyhow::Result<Rows> {
        let bytes: u64 = tables.iter().map(|n| work.entry(*n).bytes()).sum();
        if tables.len() <= 1 || bytes <= BATCH_BYTES {
            return Rows::read(work, tables, true).await;
        }
        let headers = Rows::read(work, tables, false).await?;
        let (ranges, owners) = ranges_of(work, tables, false, true)?;
        Ok(Rows {
            statements: headers.statements,
            ranges: work.source.ranges(ranges),
            owners,
            held: VecDeque::new(),
        })
    }

    async fn read(work: &Arc<Work>, tables: &[usize], with_rows: bool) -> anyhow::Result<Rows> {
        let (ranges, owners) = ranges_of(work, tables, true, with_rows)?;
        let mut rows = Rows {
            statements: Vec::new(),
            ranges: work.source.ranges(ranges),
            owners,
            held: VecDeque::new(),
        };
        let mut header = Vec::new();
        for number in tables {
            let entry = work.entry(*number);
            let context = || format!("could not read {}", object(entry));
            loop {
                let chunk = rows.ranges.next().await.with_context(context)?;
                let chunk = chunk.with_context(context)?;
                if rows.owners[chunk.range].is_none() {
                    header.extend_from_slice(&chunk.bytes);
                    if header.len() as u64 >= header_of(entry).bytes() {
                        break;
                    }
                } else {
                    rows.held.push_back((chunk.range, chunk.bytes));
                }
            }
            let statement = copy_statement(entry, &header).with_context(context)?;
            rows.statements.push(statement);
            header.clear();
        }
        Ok(rows)
    }

    /// Feeds the rows of one table and their end. `false` when psql has gone.
    pub(super) async fn feed(
        &mut self,
        work: &Work,
        number: usize,
        session: &mut Session,
    ) -> anyhow::Result<bool> {
        let entry = work.entry(number);
        let context = || format!("could not read {}", object(entry));
        let mut reader = RowReader::default();
        work.progress.at(object(entry));
        loop {
            let (range, bytes) = match self.held.pop_front() {
                Some(held) => held,
                None => match self.ranges.next().await.with_context(context)? {
                    Some(chunk) => (chunk.range, chunk.bytes),
                    None => break,
                },
            };
            if self.owners[range] != Some(number) {
                self.held.push_front((range, bytes));
                break;
            }
            reader.feed(&bytes).with_context(context)?;
            let size = bytes.len() as u64;
            if !bytes.is_empty() && !session.send(bytes).await? {
                return Ok(false);
            }
            work.progress.advance(size);
        }
        reader.finish(entry).with_context(context)?;
        work.progress.advance(header_bytes(entry));
        session.send(Bytes::from_static(b"\\.\n")).await
    }
}

/// What of `tables` is to be read, and whose rows each range holds.
fn ranges_of(
    work: &Work,
    tables: &[usize],
    headers: bool,
    rows: bool,
) -> anyhow::Result<(Vec<ByteRange>, Vec<Option<usize>>)> {
    let (mut ranges, mut owners) = (Vec::new(), Vec::new());
    for number in tables {
        let entry = work.entry(*number);
        let copy = entry.copy.as_ref().context("table without rows")?;
        if headers {
            ranges.push(header_of(entry));
            owners.push(None);
        }
        if rows {
            ranges.extend(&copy.data);
            owners.extend(copy.data.iter().map(|_| Some(*number)));
        }
    }
    Ok((ranges, owners))
}

/// What stands before the rows.
fn header_of(entry: &Entry) -> ByteRange {
    let start = entry.ranges.first().map_or(0, |range| range.start);
    let data = entry.copy.as_ref().and_then(|copy| copy.data.first());
    ByteRange {
        start,
        end: data.map_or(start, |data| data.start),
    }
}

//! The rows of a table against the rows that came back.

use super::{DifferenceKind, Rule};
use crate::archive::index::{CopyData, RowsDigest, Sha256Digest};
use crate::archive::reorder;

/// What becomes of the rows of one table.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rows {
    Equal,
    Harmless(Rule, String),
    Differ(DifferenceKind, String),
    /// The archived rows, with their columns in this order, must have this digest.
    Undecided {
        order: Vec<usize>,
        wanted: RowsDigest,
    },
}

/// COPY line and rows.
type Data<'a> = (Sha256Digest, &'a CopyData);

/// Judges one table, or all leaves that are loaded through one root. As many on both sides.
pub(super) fn judge(archive: &[Data<'_>], restored: &[Data<'_>]) -> Rows {
    if identities(archive) == identities(restored) {
        return Rows::Equal;
    }
    let (before, after) = (total(archive), total(restored));
    if before.0 != after.0 {
        let detail = format!("{} rows in the archive, {} restored", before.0, after.0);
        return Rows::Differ(DifferenceKind::Rows, detail);
    }
    match (archive, restored) {
        ([one], [other]) if one.0 != other.0 => other_columns(one.1, other.1),
        _ if lines(archive) != lines(restored) => Rows::Differ(
            DifferenceKind::Columns,
            "the COPY lines of its partitions are others".to_owned(),
        ),
        // The digest of all rows is the same whatever their order, and whichever leaf they are in.
        _ if before.1 != after.1 => Rows::Differ(
            DifferenceKind::Data,
            format!("as many rows ({}), but not the same", before.0),
        ),
        ([_], [_]) => Rows::Harmless(
            Rule::RowOrder,
            format!("the same {} rows in another order", before.0),
        ),
        _ => match lines(archive).iter().all(|line| *line == archive[0].0) {
            true => Rows::Harmless(
                Rule::HashPartitions,
                format!("the same {} rows, in other partitions", before.0),
            ),
            false => Rows::Differ(
                DifferenceKind::Columns,
                "its partitions are loaded with different columns".to_owned(),
            ),
        },
    }
}

fn other_columns(archive: &CopyData, restored: &CopyData) -> Rows {
    match reorder::order(&archive.columns, &restored.columns) {
        Some(order) if archive.columns != restored.columns => Rows::Undecided {
            order,
            wanted: restored.rows_digest,
        },
        Some(_) => Rows::Differ(
            DifferenceKind::Statement,
            "its COPY line is another".to_owned(),
        ),
        None => Rows::Differ(
            DifferenceKind::Columns,
            format!(
                "columns {} in the archive, {} restored",
                columns(archive),
                columns(restored)
            ),
        ),
    }
}

fn columns(copy: &CopyData) -> String {
    let names: Vec<String> = copy.columns.iter().map(|name| name.to_lossy()).collect();
    format!("({})", names.join(", "))
}

fn total(data: &[Data<'_>]) -> (u64, u128) {
    data.iter().fold((0, 0), |(rows, digest), (_, copy)| {
        (
            rows.saturating_add(copy.rows),
            digest.wrapping_add(copy.rows_digest.0),
        )
    })
}

fn identities(data: &[Data<'_>]) -> Vec<([u8; 32], [u8; 32])> {
    let mut all: Vec<_> = data
        .iter()
        .map(|(line, copy)| (line.0, copy.data_sha256.0))
        .collect();
    all.sort_unstable();
    all
}

fn lines(data: &[Data<'_>]) -> Vec<Sha256Digest> {
    let mut all: Vec<_> = data.iter().map(|(line, _)| *line).collect();
    all.sort_unstable_by_key(|line| line.0);
    all
}

//! How large the dump is, against limits and against earlier backups. Asked before the seal: a dump
//! from which a table is missing must not become a backup.

use crate::archive::index::Index;
use crate::check::{Check, CheckId, Severity};
use crate::command::Context;
use crate::command::journal::Journal;
use crate::command::past::{self, Earlier};
use crate::error;
use crate::history::growth::{self, Direction, Excuse, Move, Part, Sizes};
use crate::history::summary::{self, Summary};
use crate::manifest::Manifest;
use crate::report::{escape, format};
use crate::store::Store;
use jiff::Timestamp;

/// Parts that a message names.
const SHOWN: usize = 5;

/// Reads what the dump will be compared with. When that cannot be read, `size-shrink` and
/// `size-growth` are answered at once: where they block, a dump would be in vain.
pub(super) async fn earlier(
    context: &Context,
    journal: &mut Journal,
    stores: &[Store],
) -> Option<Earlier> {
    let cluster = journal.cluster_id();
    let count = summary::SIZES - 1;
    let found = past::earlier(stores, &cluster, journal.started_at, count).await;
    if let Ok(found) = &found {
        let passed_over = found.passed_over.iter();
        let passed_over = passed_over.map(|place| format!("not compared with {place}"));
        journal.notes.extend(passed_over);
    }
    match found.and_then(comparable) {
        Ok(found) => Some(found),
        Err(error) => {
            for id in [CheckId::SizeShrink, CheckId::SizeGrowth] {
                journal.check(unknown(id, context.config.severities.of(id), &error));
            }
            None
        }
    }
}

/// What cannot be read may be all that there is to compare with: that is not a first backup.
fn comparable(earlier: Earlier) -> anyhow::Result<Earlier> {
    let (None, [first, rest @ ..]) = (&earlier.baseline, earlier.passed_over.as_slice()) else {
        return Ok(earlier);
    };
    let others = match rest.len() as u64 {
        0 => String::new(),
        more => format!(", and {} more", format::count(more)),
    };
    Err(error::Explained::new(
        format!("{first}{others}"),
        "Read them with the version of backup-action that wrote them, or run the gate once with `--check size-shrink=warn --check size-growth=warn`: the next one has this backup to compare with.",
    )
    .into())
}

/// Answers what is not answered yet, and records what the report says about sizes over time.
pub(super) fn ask(
    context: &Context,
    journal: &mut Journal,
    index: &Index,
    earlier: Option<&Earlier>,
) {
    let databases = journal.databases.clone();
    let now = Sizes {
        dump_bytes: index.dump_bytes,
        databases: &databases,
    };
    let severity = context.config.severities.of(CheckId::SizeFloor);
    floor(context, journal, &now, severity);
    let Some(earlier) = earlier else {
        return;
    };
    journal.history = Some(Summary::new(
        journal.started_at,
        index.archive_bytes,
        &now,
        &earlier.newest,
        earlier.baseline.as_ref(),
    ));
    for (id, direction) in [
        (CheckId::SizeShrink, Direction::Shrink),
        (CheckId::SizeGrowth, Direction::Growth),
    ] {
        let check = change(context, journal.started_at, &now, earlier, id, direction);
        journal.check(check);
    }
}

fn floor(context: &Context, journal: &mut Journal, now: &Sizes<'_>, severity: Severity) {
    let floors = &context.config.history.limits.floors;
    let below: Vec<String> = growth::below_floor(now, floors)
        .into_iter()
        .map(|(floor, bytes)| {
            let part = match &floor.part {
                None => "the dump".to_owned(),
                Some(part) => format!("schema {part}"),
            };
            let least = format::bytes(floor.bytes);
            format!("{part} has {}, less than {least}", format::bytes(bytes))
        })
        .collect();
    let check = if !below.is_empty() {
        Check::no(
            CheckId::SizeFloor,
            severity,
            format::names(&below),
            "Find out what is missing before you deploy. When it is meant to be that small, lower `--size-floor`.",
        )
    } else if floors.is_empty() {
        let size = format::bytes(now.dump_bytes);
        Check::passed(CheckId::SizeFloor, format!("{size}; no floor is set"))
    } else {
        let floors = format::counted(floors.len() as u64, "floor");
        let size = format::bytes(now.dump_bytes);
        Check::passed(CheckId::SizeFloor, format!("{size}; {floors} held"))
    };
    journal.check(check);
}

/// No answer: where a no only warns, so does this.
fn unknown(id: CheckId, severity: Severity, error: &anyhow::Error) -> Check {
    let evidence = format!(
        "earlier backups could not be read: {}",
        error::one_line(error)
    );
    let hint = error::hint(error).unwrap_or_else(|| "Look at the store and try again.".to_owned());
    match severity {
        Severity::Warn => Check::warned(id, evidence, hint),
        Severity::Block => Check::not_checked(id, evidence, Some(hint)),
    }
}

fn change(
    context: &Context,
    started_at: Timestamp,
    now: &Sizes<'_>,
    earlier: &Earlier,
    id: CheckId,
    direction: Direction,
) -> Check {
    let Some(baseline) = &earlier.baseline else {
        return Check::passed(id, "no earlier backup to compare with");
    };
    // Among too many backups of others the newest is not found; then nothing is known already.
    let newest = earlier.newest.first().unwrap_or(baseline);
    let severity = context.config.severities.of(id);
    let limits = &context.config.history.limits;
    let of = |manifest: &'_ Manifest| manifest.archive.dump_bytes;
    let age = started_at.duration_since(baseline.started_at);
    let moves = growth::moves(
        direction,
        now,
        &Sizes {
            dump_bytes: of(baseline),
            databases: &baseline.databases,
        },
        age,
        &Sizes {
            dump_bytes: of(newest),
            databases: &newest.databases,
        },
        limits,
    );
    let against = format!(
        "the backup of {} ({})",
        format::minute(baseline.started_at),
        format::old(age.as_secs())
    );
    // Where a no blocks, what an earlier gate has published was accepted then. Where it warns,
    // nobody was asked.
    let counts = |moved: &&Move| match (moved.excuse, severity) {
        (None, _) | (Some(Excuse::Known), Severity::Warn) => true,
        (Some(Excuse::Accepted), _) | (Some(Excuse::Known), Severity::Block) => false,
    };
    let (objections, excused): (Vec<&Move>, Vec<&Move>) = moves.iter().partition(counts);
    if objections.is_empty() {
        let mut evidence = format!(
            "{} since {against}",
            format::change_percent(of(baseline), now.dump_bytes)
        );
        if !excused.is_empty() {
            evidence = format!("{evidence}; let through: {}", said(&excused));
        }
        return Check::passed(id, evidence);
    }
    Check::no(
        id,
        severity,
        format!("{}; compared with {against}", said(&objections)),
        hint(direction, &objections),
    )
}

/// `schema tenant_1 of nostromo 61 MB → 2 MB (−97 %); …`
fn said(moves: &[&Move]) -> String {
    let one = |moved: &&Move| {
        let part = match &moved.part {
            Part::Cluster => "the dump".to_owned(),
            Part::Schema(database, schema) => format!("schema {schema} of {database}"),
        };
        let (before, now) = (moved.before_bytes, moved.now_bytes);
        let excuse = match moved.excuse {
            None => "",
            Some(Excuse::Accepted) => ", accepted",
            Some(Excuse::Known) => ", as the newest backup has it",
        };
        format!(
            "{part} {} → {} ({}{excuse})",
            format::bytes(before),
            format::bytes(now),
            format::change_percent(before, now)
        )
    };
    let all: Vec<String> = moves.iter().map(one).collect();
    format::names(&all)
}

fn hint(direction: Direction, moves: &[&Move]) -> String {
    let parts = moves.iter().filter_map(|moved| match &moved.part {
        Part::Cluster => None,
        Part::Schema(database, schema) => Some(format!("{database}.{schema}")),
    });
    let mut accept: Vec<String> = parts
        .take(SHOWN + 1)
        .map(|name| format!("--accept-size-change {}", escape::shell_word(&name)))
        .collect();
    // A name for each of many would not be read.
    if accept.is_empty() || accept.len() > SHOWN {
        accept = vec![format!("--accept-size-change {}", growth::ALL)];
    }
    let accept = accept.join(" ");
    match direction {
        Direction::Shrink => format!(
            "Find out what was deleted before you deploy. When it was meant, run the gate once with `{accept}`."
        ),
        Direction::Growth => format!(
            "Look for a leak: a log or queue table that nobody empties. When it was meant, run the gate with `{accept}`, or raise --max-growth-percent."
        ),
    }
}

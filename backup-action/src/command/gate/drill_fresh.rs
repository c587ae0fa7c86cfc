//! Whether a drill of the last weeks proved that backups of this cluster can be restored.

use crate::check::{Check, CheckId, Severity};
use crate::command::journal::Journal;
use crate::command::receipts::{self, Drills};
use crate::error;
use crate::report::format;
use crate::store::Store;
use std::time::Duration;

const HINT: &str = "Run `backup-action drill`, and let a schedule run it every month.";

/// Asks the receipts in `stores`.
pub(super) async fn ask(
    journal: &mut Journal,
    stores: &[Store],
    max_age: Duration,
    severity: Severity,
) {
    let cluster = journal.source.as_ref();
    let found = receipts::newest_passed_drill(stores, cluster, journal.started_at, |_| true).await;
    let check = match found {
        Ok(drills) => judge(journal, drills, max_age, severity),
        // Where a no only warns, so does no answer; a store in trouble closes the gate by itself.
        Err(error) => {
            let evidence = format!(
                "the receipts of drills could not be read: {}",
                error::one_line(&error)
            );
            let hint = error::hint(&error).unwrap_or_else(|| HINT.to_owned());
            match severity {
                Severity::Warn => Check::warned(CheckId::DrillFresh, evidence, hint),
                Severity::Block => Check::not_checked(CheckId::DrillFresh, evidence, Some(hint)),
            }
        }
    };
    journal.check(check);
}

fn judge(journal: &Journal, drills: Drills, max_age: Duration, severity: Severity) -> Check {
    let passed_over = match drills.passed_over.as_slice() {
        [] => String::new(),
        [one] => format!("; {one}"),
        [one, rest @ ..] => format!("; {one}; and {} more", rest.len()),
    };
    let newest = drills.newest.and_then(|found| {
        let age = found.receipt.age_seconds(journal.started_at)?;
        Some((found, age))
    });
    let Some((found, age)) = newest else {
        return Check::no(
            CheckId::DrillFresh,
            severity,
            format!("no drill of this cluster has ever passed{passed_over}"),
            HINT,
        );
    };
    let old = format::old(i64::try_from(age).unwrap_or(i64::MAX));
    let key = &found.key;
    if age > max_age.as_secs() {
        let limit = format::age(i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX));
        return Check::no(
            CheckId::DrillFresh,
            severity,
            format!("the newest passed drill is {old}, more than {limit}: {key}{passed_over}"),
            HINT,
        );
    }
    let restored = match found.receipt.report().durations.restore_seconds {
        Some(seconds) => format!(", restored in {}", format::duration(seconds)),
        None => String::new(),
    };
    let accepted = found.receipt.acknowledged();
    let equal = match accepted {
        0 => "proved equal".to_owned(),
        n => format!(
            "proved equal except {}",
            format::counted(n as u64, "acknowledged defect")
        ),
    };
    Check::passed(
        CheckId::DrillFresh,
        format!("{old}{restored}, {equal}: {key}{passed_over}"),
    )
}

//! Why a plan is not carried out, and what to do about it.

use super::Tier;
use super::clock::Distrust;
use std::fmt;

/// How many of `total` may go in one run when nobody said otherwise: half of them, or 10.
pub fn cap(total: usize, max_delete: Option<usize>) -> usize {
    max_delete.unwrap_or((total / 2).max(10))
}

/// So many backups may go by one clock while only the newest stay: where backups come seldom, each
/// gate deletes the one before the last.
pub const FEW: usize = 3;

/// Why a plan is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The clocks cannot be believed.
    Clock(Distrust),
    /// It would delete more than a run may.
    TooMany {
        /// Where.
        tier: Tier,
        /// So many would go …
        planned: usize,
        /// … of so many …
        total: usize,
        /// … and no more than this may.
        cap: usize,
    },
    /// Only the machine's own clock says that all but the newest are too old. One that is ahead says
    /// so of good backups.
    OneClock {
        /// Where.
        tier: Tier,
        /// So many would go …
        planned: usize,
        /// … of so many.
        total: usize,
    },
    /// It would leave nothing of a kind.
    Everything(Tier),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Clock(distrust) => write!(f, "clock untrusted: {distrust}"),
            Stop::TooMany {
                tier,
                planned,
                total,
                cap,
            } => write!(
                f,
                "{planned} of {total} backups of the {tier} tier are too old, and one run deletes at most {cap}"
            ),
            Stop::OneClock {
                tier,
                planned,
                total,
            } => write!(
                f,
                "{planned} of {total} backups of the {tier} tier would go and only the newest {} stay, and there is no second clock to say that this machine's is right",
                total - planned
            ),
            Stop::Everything(tier) => {
                write!(f, "the plan would leave no backup in the {tier} tier")
            }
        }
    }
}

impl Stop {
    /// What to do about it, as a sentence.
    pub fn hint(&self) -> String {
        match self {
            Stop::Clock(distrust) => distrust.hint(),
            Stop::TooMany { planned, .. } => format!(
                "After a long pause this is right: look at `backup-action prune --dry-run`, then run `backup-action prune --max-delete {planned}` once."
            ),
            Stop::OneClock { planned, .. } => format!(
                "Compare this machine's clock with another. If it is right, run `backup-action prune --max-delete {planned}` once, or wait: when a few backups are young, the old ones go."
            ),
            Stop::Everything(_) => {
                "This is a fault of the program: nothing was deleted; please report it.".to_owned()
            }
        }
    }
}

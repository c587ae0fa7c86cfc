//! Whether the time can be believed. Ages are differences of two clocks; when those disagree,
//! nothing is deleted.

use super::Backup;
use jiff::{SignedDuration, Timestamp};
use std::fmt;

/// How far clocks may be apart.
pub const MAX_SKEW: SignedDuration = SignedDuration::from_mins(15);

/// What is known of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Now, by this machine.
    pub now: Timestamp,
    /// How far the store's clock is ahead; none when there is no other clock to ask.
    pub store_ahead: Option<SignedDuration>,
    /// How far the database server's clock is ahead; none when it was not asked. It may be this
    /// machine's: it can speak against the time, and not for it.
    pub server_ahead: Option<SignedDuration>,
    /// How far this machine's clock ran ahead of its own count of seconds since the run began.
    pub jumped: SignedDuration,
}

/// Why the time cannot be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// The store's clock says otherwise.
    Store(SignedDuration),
    /// The database server's clock says otherwise.
    Server(SignedDuration),
    /// This machine's clock was set while the run went on.
    Jumped(SignedDuration),
    /// A backup is from the future.
    Future(String, Timestamp),
}

impl Clock {
    /// A time that nothing speaks against.
    pub fn certain(now: Timestamp) -> Clock {
        Clock {
            now,
            store_ahead: Some(SignedDuration::ZERO),
            server_ahead: None,
            jumped: SignedDuration::ZERO,
        }
    }

    /// Why this clock cannot be believed beside these backups.
    pub fn distrust(&self, backups: &[Backup]) -> Option<Distrust> {
        if let Some(ahead) = self.store_ahead
            && ahead.abs() > MAX_SKEW
        {
            return Some(Distrust::Store(ahead));
        }
        if let Some(ahead) = self.server_ahead
            && ahead.abs() > MAX_SKEW
        {
            return Some(Distrust::Server(ahead));
        }
        if self.jumped.abs() > MAX_SKEW {
            return Some(Distrust::Jumped(self.jumped));
        }
        let latest = |backup: &Backup| backup.started_at.max(backup.finished_at);
        let newest = backups.iter().max_by_key(|backup| latest(backup))?;
        let ahead = latest(newest).duration_since(self.now);
        (ahead > MAX_SKEW).then(|| Distrust::Future(newest.key.clone(), latest(newest)))
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let apart = |by: &SignedDuration| {
            let minutes = by.abs().as_mins();
            match minutes {
                0..=5_759 => format!("{minutes} minutes"),
                _ => format!("{} days", minutes / 1_440),
            }
        };
        match self {
            Distrust::Store(ahead) => {
                write!(f, "this machine and the store are {} apart", apart(ahead))
            }
            Distrust::Server(ahead) => write!(
                f,
                "this machine and the database server are {} apart",
                apart(ahead)
            ),
            Distrust::Jumped(by) => {
                write!(
                    f,
                    "this machine's clock was set by {} during the run",
                    apart(by)
                )
            }
            Distrust::Future(key, at) => write!(f, "{key} is from the future ({at})"),
        }
    }
}

impl Distrust {
    /// What to do about it, as a sentence.
    pub fn hint(&self) -> String {
        match self {
            Distrust::Store(_) | Distrust::Jumped(_) => {
                "Set the clock of this machine by NTP; until then nothing is deleted.".to_owned()
            }
            Distrust::Server(_) => "Set the clocks of this machine and of the database server by NTP; until then nothing is deleted.".to_owned(),
            Distrust::Future(..) => "Check this machine's clock. If it is right, the other run's was wrong: look at that backup and delete its manifest by hand, or wait until its time has come.".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Tier;
    use super::super::properties::{backup, time};
    use super::*;

    #[test]
    fn clocks_that_disagree_are_not_believed() {
        let now = time("2026-03-20T02:00:00Z");
        let at = |store_minutes: Option<i64>, jumped_minutes: i64| Clock {
            now,
            store_ahead: store_minutes.map(SignedDuration::from_mins),
            server_ahead: None,
            jumped: SignedDuration::from_mins(jumped_minutes),
        };
        let past = [backup(Tier::Local, "2026-03-20T01:00:00Z")];
        for clock in [
            at(None, 0),
            at(Some(15), 0),
            at(Some(-15), 15),
            at(None, -15),
        ] {
            assert_eq!(clock.distrust(&past), None, "{clock:?}");
        }
        for (clock, says) in [
            (at(Some(16), 0), "the store are 16 minutes apart"),
            (at(Some(-16), 0), "the store are 16 minutes apart"),
            (at(Some(-14_400), 0), "the store are 10 days apart"),
            (at(Some(0), 16), "was set by 16 minutes"),
        ] {
            let distrust = clock.distrust(&past).unwrap();
            assert!(distrust.to_string().contains(says), "{distrust}");
        }
        for (minutes, is_believed) in [(15, true), (-15, true), (16, false), (-16, false)] {
            let clock = Clock {
                server_ahead: Some(SignedDuration::from_mins(minutes)),
                ..at(Some(0), 0)
            };
            assert_eq!(clock.distrust(&past).is_none(), is_believed, "{minutes}");
        }
        let mut future = [
            backup(Tier::Local, "2026-03-20T02:20:00Z"),
            backup(Tier::Local, "2026-03-20T02:10:00Z"),
        ];
        let distrust = at(Some(0), 0).distrust(&future).unwrap();
        assert!(
            distrust.to_string().contains("from the future"),
            "{distrust}"
        );
        future[0].started_at = time("2026-03-20T02:14:00Z");
        future[0].finished_at = time("2026-03-20T02:14:00Z");
        assert_eq!(at(Some(0), 0).distrust(&future), None);
        future[0].finished_at = time("2026-03-20T02:16:00Z");
        assert!(at(Some(0), 0).distrust(&future).is_some());
    }
}

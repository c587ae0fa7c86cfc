//! What a generation of the lock says: who holds it. Text of another run, and so hostile.

use super::EXPIRY;
use crate::manifest::CiRun;
use anyhow::{Context, Result};
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// The newest format that this version reads, and the one it writes.
const FORMAT: u32 = 1;

/// The longest expiry that a lock may ask for.
const MAX_EXPIRY: Duration = Duration::from_secs(3600);

/// Whether the lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// By the holder, while it renews.
    Held,
    /// By nobody; the holder was the last.
    Released,
}

/// A run that holds a lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// Random, and nobody else's.
    pub owner: String,
    /// `gate` or `prune`.
    pub command: String,
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// The run of the workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<CiRun>,
    /// When it began to wait for the lock, by its own clock.
    pub since: Timestamp,
}

/// The JSON of a generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// `FORMAT`.
    pub format: u32,
    /// Whether the lock is held.
    pub state: State,
    /// By whom, or who was the last.
    pub holder: Holder,
    /// When this was written, by the holder's clock. For people: nothing is decided by it.
    pub renewed_at: Timestamp,
    /// After how much silence it may be taken over.
    pub expires_after_seconds: u64,
}

impl Record {
    /// What `holder` will write.
    pub fn new(holder: Holder) -> Record {
        Record {
            format: FORMAT,
            state: State::Held,
            renewed_at: holder.since,
            holder,
            expires_after_seconds: EXPIRY.as_secs(),
        }
    }

    /// With another expiry.
    pub fn expiring_after(mut self, seconds: u64) -> Record {
        self.expires_after_seconds = seconds;
        self
    }

    /// Reads a generation.
    ///
    /// # Errors
    /// Why it cannot be read: it is damaged, or newer than this version.
    pub fn parse(bytes: &[u8]) -> Result<Record, String> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(bytes)
            .map_err(|error| format!("it is not a lock of this program: {error}"))?;
        if format > FORMAT {
            return Err(format!(
                "its format {format} is newer than {FORMAT}, the newest this version reads"
            ));
        }
        serde_json::from_slice(bytes).map_err(|error| format!("it is damaged: {error}"))
    }

    /// The JSON, written at `now`.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn to_bytes(&self, state: State, now: Timestamp) -> Result<Bytes> {
        let record = Record {
            state,
            renewed_at: now,
            ..self.clone()
        };
        let mut bytes =
            serde_json::to_vec_pretty(&record).context("could not write the lock as JSON")?;
        bytes.push(b'\n');
        Ok(bytes.into())
    }

    /// After how much silence it may be taken over; nobody can ask for more than an hour.
    pub fn expiry(&self) -> Duration {
        Duration::from_secs(self.expires_after_seconds).min(MAX_EXPIRY)
    }
}

/// `gate of acme/payroll, https://…/runs/4711, on host web-1 (process 12), since 02:00:01 UTC`
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.command)?;
        if let Some(run) = &self.run {
            write!(f, " of {}", run.repository)?;
            if !run.url.is_empty() {
                write!(f, ", {},", run.url)?;
            }
        }
        write!(
            f,
            " on {} (process {}, owner {}) since {}",
            self.host,
            self.pid,
            self.owner,
            self.since.strftime("%Y-%m-%d %H:%M:%S UTC")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record::new(Holder {
            owner: "1a2b".to_owned(),
            command: "gate".to_owned(),
            host: "web-1".to_owned(),
            pid: 12,
            run: None,
            since: "2026-01-18T02:00:01Z".parse().unwrap(),
        })
    }

    #[test]
    fn a_record_comes_back_and_says_who() {
        let bytes = record()
            .to_bytes(State::Released, Timestamp::UNIX_EPOCH)
            .unwrap();
        let read = Record::parse(&bytes).unwrap();
        assert_eq!(
            (read.state, &read.holder),
            (State::Released, &record().holder)
        );
        assert_eq!(
            read.holder.to_string(),
            "gate on web-1 (process 12, owner 1a2b) since 2026-01-18 02:00:01 UTC"
        );
        assert_eq!(read.expiry(), EXPIRY);
    }

    #[test]
    fn what_cannot_be_read_says_why_and_nobody_asks_for_more_than_an_hour() {
        let newer = br#"{"format": 2, "state": "resting"}"#;
        assert!(Record::parse(newer).unwrap_err().contains("newer than 1"));
        assert!(Record::parse(b"").unwrap_err().contains("not a lock"));
        let damaged = br#"{"format": 1, "state": "held"}"#;
        assert!(Record::parse(damaged).unwrap_err().contains("damaged"));
        assert_eq!(record().expiring_after(u64::MAX).expiry(), MAX_EXPIRY);
    }
}

//! Running one program and watching it: wall time, peak memory of its own process, temporary
//! files. Reads `/proc`, so Linux only.

use anyhow::{Context, Result};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// How often the process is looked at.
const INTERVAL: Duration = Duration::from_millis(10);

/// What was seen.
pub(crate) struct Sample {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// From start to end.
    pub(crate) took: Duration,
    /// The kernel's own high-water mark of the resident set (`VmHWM`), as last seen: it only
    /// grows, so at most the last interval is missed. Children are not counted.
    pub(crate) peak_bytes: u64,
    temporary: Vec<String>,
}

impl Sample {
    /// The files that appeared in the temporary directory or were open without a name.
    pub(crate) fn temporary(&self) -> impl Iterator<Item = &str> {
        self.temporary.iter().map(String::as_str)
    }
}

/// Runs to the end, looking every few milliseconds.
pub(crate) fn run(command: &mut Command, temporary_dir: &Path) -> Result<Sample> {
    let start = Instant::now();
    let mut child = command
        .spawn()
        .context("could not start the program to measure")?;
    let proc = Path::new("/proc").join(child.id().to_string());
    let mut peak_bytes = 0;
    let mut temporary = Vec::new();
    loop {
        let ended = child
            .try_wait()
            .context("could not wait for the measured program")?;
        if let Some(status) = ended {
            let took = start.elapsed();
            temporary.sort();
            temporary.dedup();
            return Ok(Sample {
                status,
                took,
                peak_bytes,
                temporary,
            });
        }
        peak_bytes = peak_bytes.max(high_water_bytes(&proc).unwrap_or(0));
        look(temporary_dir, &proc, &mut temporary);
        std::thread::sleep(INTERVAL);
    }
}

/// `VmHWM` of `/proc/<pid>/status`; none when the process is just ending.
fn high_water_bytes(proc: &Path) -> Option<u64> {
    let status = fs::read_to_string(proc.join("status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Adds the names in the temporary directory, and open files that have no name any more.
fn look(temporary_dir: &Path, proc: &Path, found: &mut Vec<String>) {
    let named = fs::read_dir(temporary_dir).into_iter().flatten().flatten();
    found.extend(named.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let open = fs::read_dir(proc.join("fd"))
        .into_iter()
        .flatten()
        .flatten();
    let targets = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    found.extend(
        targets
            .map(|target| target.to_string_lossy().into_owned())
            // A deleted regular file, but not an anonymous memory file of the runtime.
            .filter(|target| target.ends_with(" (deleted)") && !target.starts_with("/memfd:")),
    );
}

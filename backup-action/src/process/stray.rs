//! Processes that are not our children any more, found by the directory that they live in: what a
//! run that was killed left behind. Each is held by a descriptor before it is looked at, so that a
//! number that was given away meanwhile is never signalled.
//!
//! Without Linux's `/proc` nothing is found.

use std::path::Path;

/// A process that lives in the directory that was asked for.
#[derive(Debug)]
pub struct Stray {
    /// Its number when it was found.
    pub pid: i32,
    /// The file name of its program.
    pub program: String,
    #[cfg(target_os = "linux")]
    handle: std::os::fd::OwnedFd,
}

/// The processes whose working directory is `dir` (an absolute path without symbolic links) or
/// lies below it and whose program is called one of `programs`, with everything that they started.
#[cfg(target_os = "linux")]
pub fn living_in(dir: &Path, programs: &[&str]) -> Vec<Stray> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let (mut found, mut others) = (Vec::new(), Vec::new());
    for process in pids.filter_map(linux::look) {
        let is_one = process.lives_in(dir) && programs.contains(&process.stray.program.as_str());
        if is_one {
            found.push(process);
        } else {
            others.push(process);
        }
    }
    // What they started, and what that started.
    let mut at = 0;
    while at < found.len() {
        let parent = found[at].stray.pid;
        let (children, rest) = others.into_iter().partition(|p| p.parent == parent);
        found.extend::<Vec<_>>(children);
        others = rest;
        at += 1;
    }
    found.into_iter().map(|process| process.stray).collect()
}

/// Nothing is found here.
#[cfg(not(target_os = "linux"))]
pub fn living_in(_dir: &Path, _programs: &[&str]) -> Vec<Stray> {
    Vec::new()
}

impl Stray {
    /// SIGQUIT: a server of PostgreSQL ends at once, with everything it started.
    pub fn quit(&self) {
        self.signal(rustix::process::Signal::QUIT);
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.signal(rustix::process::Signal::KILL);
    }

    #[cfg(target_os = "linux")]
    fn signal(&self, signal: rustix::process::Signal) {
        // It ended by itself meanwhile, or is not ours to signal: then it is found again.
        match rustix::process::pidfd_send_signal(&self.handle, signal) {
            Ok(()) | Err(_) => {}
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn signal(&self, _signal: rustix::process::Signal) {}
}

#[cfg(target_os = "linux")]
mod linux {
    use super::Stray;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    use std::os::unix::ffi::OsStrExt;
    use std::path::{Path, PathBuf};

    pub(super) struct Process {
        pub(super) stray: Stray,
        pub(super) parent: i32,
        cwd: PathBuf,
    }

    impl Process {
        pub(super) fn lives_in(&self, dir: &Path) -> bool {
            self.cwd.starts_with(dir)
        }
    }

    /// What `/proc` says about a process; nothing for zombies and for those that may not be seen.
    pub(super) fn look(pid: i32) -> Option<Process> {
        let handle = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let stat = std::fs::read_to_string(proc.join("stat")).ok()?;
        let (_, parent, _) = super::super::stat::parse_stat(&stat)?;
        let cwd = target(&proc.join("cwd"))?;
        let program = target(&proc.join("exe"))?;
        let program = program.file_name()?.to_string_lossy().into_owned();
        Some(Process {
            stray: Stray {
                pid,
                program,
                handle,
            },
            parent,
            cwd,
        })
    }

    /// Where a link of `/proc` leads, also when the file was deleted since.
    fn target(link: &Path) -> Option<PathBuf> {
        let path = std::fs::read_link(link).ok()?;
        let bytes = path.as_os_str().as_bytes();
        let bytes = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
        Some(PathBuf::from(std::ffi::OsStr::from_bytes(bytes)))
    }
}

//! The file in which libpq finds the password, and those in which ssh finds its keys. Nothing else
//! touches the disk in this folder.
//!
//! A run that is killed cannot remove its file; the next one does. The directory's name holds the
//! process, and the file is locked while it is used: a process of another container may have a
//! number that nobody has here.

use crate::secret::Secret;
use rustix::fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, flock, openat, unlinkat};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const PREFIX: &str = "backup-action-";
const NAME: &str = "passfile";

/// A 0600 file in a 0700 directory, removed on drop.
#[derive(Debug)]
pub(super) struct PassFile {
    path: PathBuf,
    /// Open for its lock.
    _file: File,
    _dir: tempfile::TempDir,
}

impl PassFile {
    /// Writes it, for `owner` (user and group) when given.
    pub(super) fn write(password: &Secret, owner: Option<(u32, u32)>) -> anyhow::Result<PassFile> {
        let temporary = std::env::temp_dir();
        let us = rustix::process::geteuid().as_raw();
        sweep(&temporary, &[us, owner.map_or(us, |(uid, _)| uid)]);
        Self::write_in(&temporary, password, owner)
    }

    /// Writes a file that another program than libpq reads.
    pub(super) fn keep(contents: &[u8]) -> anyhow::Result<PassFile> {
        let temporary = std::env::temp_dir();
        sweep(&temporary, &[rustix::process::geteuid().as_raw()]);
        Self::write_bytes(&temporary, contents, None)
    }

    fn write_in(
        temporary: &Path,
        password: &Secret,
        owner: Option<(u32, u32)>,
    ) -> anyhow::Result<PassFile> {
        let escaped = password.expose().replace('\\', "\\\\").replace(':', "\\:");
        Self::write_bytes(temporary, format!("*:*:*:*:{escaped}\n").as_bytes(), owner)
    }

    fn write_bytes(
        temporary: &Path,
        contents: &[u8],
        owner: Option<(u32, u32)>,
    ) -> anyhow::Result<PassFile> {
        let dir = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}-", std::process::id()))
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir_in(temporary)?;
        let dir_path = std::path::absolute(dir.path())?;
        let path = dir_path.join(NAME);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        // Some file systems know no locks: there the number of the process has to do.
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) | Err(_) => {}
        }
        file.write_all(contents)?;
        file.sync_data()?;
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
            std::os::unix::fs::chown(&dir_path, Some(uid), Some(gid))?;
        }
        Ok(PassFile {
            path,
            _file: file,
            _dir: dir,
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Removes what killed runs of the users `owners` left in `temporary`. What cannot be removed
/// stays: a backup does not fail over it.
fn sweep(temporary: &Path, owners: &[u32]) {
    // Without /proc every process would look dead.
    if !Path::new("/proc/self").exists() {
        return;
    }
    let Ok(entries) = std::fs::read_dir(temporary) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let killed = name
            .to_str()
            .and_then(process)
            .is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
        if killed && remove(&entry.path(), owners).is_err() {
            continue;
        }
    }
}

/// The process in `backup-action-<pid>-<random>`.
fn process(name: &str) -> Option<u32> {
    let (pid, random) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let plain = !random.is_empty() && !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit());
    pid.parse().ok().filter(|_| plain)
}

/// Removes one directory, by descriptors: whoever puts a link in its place gains nothing.
fn remove(path: &Path, owners: &[u32]) -> rustix::io::Result<()> {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let dir = openat(CWD, path, flags | OFlags::DIRECTORY, Mode::empty())?;
    if !owners.contains(&rustix::fs::fstat(&dir)?.st_uid) {
        return Ok(());
    }
    match openat(&dir, NAME, flags | OFlags::RDONLY, Mode::empty()) {
        Ok(file) => {
            let stat = rustix::fs::fstat(&file)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
                return Ok(());
            }
            // Locked: somebody uses it.
            flock(&file, FlockOperation::NonBlockingLockExclusive)?;
            unlinkat(&dir, NAME, AtFlags::empty())?;
        }
        Err(rustix::io::Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    // Refused when anything else lies in it.
    unlinkat(CWD, path, AtFlags::REMOVEDIR)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Greater than any process number of Linux.
    const NOBODY: u32 = 4_194_305;

    fn plant(temporary: &Path, name: &str) -> PathBuf {
        let dir = temporary.join(name);
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join(NAME), "*:*:*:*:old\n").unwrap();
        dir
    }

    #[test]
    fn what_a_killed_run_left_is_removed_and_nothing_else() {
        let temporary = tempfile::tempdir().unwrap();
        let temporary = temporary.path();
        let us = rustix::process::geteuid().as_raw();
        let killed = plant(temporary, &format!("{PREFIX}{NOBODY}-abc"));
        let empty = temporary.join(format!("{PREFIX}{NOBODY}-empty"));
        std::fs::create_dir(&empty).unwrap();

        let alive = plant(temporary, &format!("{PREFIX}{}-abc", std::process::id()));
        let foreign_name = plant(temporary, &format!("{PREFIX}{NOBODY}"));
        let elsewhere = plant(temporary, "elsewhere");
        let link = temporary.join(format!("{PREFIX}{NOBODY}-link"));
        std::os::unix::fs::symlink(&elsewhere, &link).unwrap();
        let more = plant(temporary, &format!("{PREFIX}{NOBODY}-more"));
        std::fs::write(more.join("other"), "").unwrap();
        let locked = plant(temporary, &format!("{PREFIX}{NOBODY}-locked"));
        let user = File::open(locked.join(NAME)).unwrap();
        flock(&user, FlockOperation::NonBlockingLockExclusive).unwrap();

        sweep(temporary, &[us + 1]);
        assert!(killed.exists(), "it belongs to somebody else");
        sweep(temporary, &[us]);
        assert!(!killed.exists() && !empty.exists());
        for kept in [alive, foreign_name, elsewhere, locked] {
            assert!(kept.join(NAME).exists(), "{}", kept.display());
        }
        assert!(link.is_symlink() && more.join("other").exists());
    }

    #[test]
    fn a_file_in_use_is_private_and_survives_a_sweep() {
        let temporary = tempfile::tempdir().unwrap();
        let secret = Secret::new("a:b\\c".to_owned());
        let written = PassFile::write_in(temporary.path(), &secret, None).unwrap();
        let dir = written.path().parent().unwrap().to_owned();
        let name = dir.file_name().unwrap().to_str().unwrap();
        assert_eq!(process(name), Some(std::process::id()));
        // As another container sees it, where the number is nobody's.
        let moved = temporary.path().join(format!("{PREFIX}{NOBODY}-abc"));
        std::fs::rename(&dir, &moved).unwrap();
        sweep(temporary.path(), &[rustix::process::geteuid().as_raw()]);
        std::fs::rename(&moved, &dir).unwrap();
        let text = std::fs::read_to_string(written.path()).unwrap();
        assert_eq!(text, "*:*:*:*:a\\:b\\\\c\n");
        drop(written);
        assert!(!dir.exists());
    }
}

//! Private directories of a run in the temporary directory. A file in each is locked for as long as
//! it is in use: what a killed run left is removed by the next that makes one.

use anyhow::Context;
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

const LOCK: &str = "in-use";

/// A private directory, removed when this is dropped, and the lock that says that it is in use.
#[derive(Debug)]
pub struct Scratch {
    dir: tempfile::TempDir,
    _lock: File,
}

impl Scratch {
    /// Makes one whose name begins with `prefix`.
    ///
    /// # Errors
    /// The temporary directory cannot be written.
    pub fn new(prefix: &str) -> anyhow::Result<Scratch> {
        Scratch::below(&std::env::temp_dir(), prefix)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    fn below(temporary: &Path, prefix: &str) -> anyhow::Result<Scratch> {
        sweep(temporary, prefix);
        let dir = tempfile::Builder::new()
            .prefix(prefix)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(std::path::absolute(temporary)?)
            .with_context(|| format!("could not make a directory in {}", temporary.display()))?;
        let lock = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(dir.path().join(LOCK))
            .context("could not make a file in the temporary directory")?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .context("could not lock a file in the temporary directory")?;
        Ok(Scratch { dir, _lock: lock })
    }
}

/// Removes what killed runs of this user left. What cannot be removed stays.
fn sweep(temporary: &Path, prefix: &str) {
    let us = rustix::process::geteuid().as_raw();
    let Ok(entries) = std::fs::read_dir(temporary) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let named = entry.file_name().to_string_lossy().starts_with(prefix)
            && std::fs::symlink_metadata(&path).is_ok_and(|m| m.is_dir());
        // Without its lock file a directory is just being made or removed: it is left alone. The
        // directory may have been given to the user of a psql; the lock file stays ours.
        let lock = named.then(|| File::open(path.join(LOCK)).ok()).flatten();
        let Some(lock) = lock.filter(|lock| lock.metadata().is_ok_and(|m| m.uid() == us)) else {
            continue;
        };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            match std::fs::remove_dir_all(&path) {
                Ok(()) | Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "backup-action-test-";

    #[test]
    fn the_directory_of_a_killed_run_is_removed_and_one_in_use_stays() {
        let temporary = tempfile::tempdir().unwrap();
        let living = Scratch::below(temporary.path(), PREFIX).unwrap();
        let dead = temporary.path().join(format!("{PREFIX}dead"));
        std::fs::create_dir(&dead).unwrap();
        std::fs::write(dead.join(LOCK), "").unwrap();
        std::fs::write(dead.join("script"), "secret").unwrap();
        let third = Scratch::below(temporary.path(), PREFIX).unwrap();
        assert!(!dead.exists());
        assert!(living.path().exists() && third.path().exists());
        let mode = std::fs::metadata(third.path()).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o700);
        drop((living, third));
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
    }
}

//! The file in which libpq finds the password. Nothing else touches the disk in this folder.

use crate::secret::Secret;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A 0600 file in a 0700 directory, removed on drop.
#[derive(Debug)]
pub(super) struct PassFile {
    path: PathBuf,
    _dir: tempfile::TempDir,
}

impl PassFile {
    /// Writes it, for `owner` (user and group) when given.
    pub(super) fn write(password: &Secret, owner: Option<(u32, u32)>) -> anyhow::Result<PassFile> {
        let dir = tempfile::Builder::new()
            .prefix("backup-action-")
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir()?;
        let dir_path = std::path::absolute(dir.path())?;
        let path = dir_path.join("passfile");
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        let escaped = password.expose().replace('\\', "\\\\").replace(':', "\\:");
        file.write_all(format!("*:*:*:*:{escaped}\n").as_bytes())?;
        file.sync_data()?;
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
            std::os::unix::fs::chown(&dir_path, Some(uid), Some(gid))?;
        }
        Ok(PassFile { path, _dir: dir })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

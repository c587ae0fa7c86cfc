//! Files below the root of a directory store: reads, lists, deletions, directories.
//!
//! Objects are reached from a descriptor of the root, one directory at a time, and no symbolic link
//! is followed below the root: whoever can write into the store cannot point it elsewhere.

use super::dir_error::{failed, root_failed, too_large};
use super::keys::PARTIAL;
use super::{FreeSpace, Key, ObjectInfo};
use anyhow::{Context, Result};
use bytes::Bytes;
use jiff::Timestamp;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Objects lie two or three directories deep; a deeper tree is not ours.
const MAX_DEPTH: usize = 16;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Which files are looked for.
#[derive(Clone, Copy)]
enum Names {
    Objects,
    Unfinished,
}

/// The root directory, open.
pub(super) struct Root {
    pub(super) path: PathBuf,
    fd: OwnedFd,
}

/// Runs file system calls off the executor's threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("a file system call did not return")?
}

pub(super) fn open_root(path: &Path) -> Result<Root> {
    let explain = |error: std::io::Error| {
        root_failed(
            &format!("could not open the local store {}", path.display()),
            error,
        )
    };
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(explain)?;
    // The root itself may be reached through links: the operator named it.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| explain(errno.into()))?;
    Ok(Root {
        path: path.to_owned(),
        fd,
    })
}

impl Root {
    pub(super) fn locate(&self, key: &Key) -> String {
        self.path.join(key.as_str()).display().to_string()
    }

    /// The directory of `key`, and the name in it.
    fn parent(&self, key: &Key, make: bool) -> std::io::Result<OwnedFd> {
        let (directories, _) = key.split();
        let mut fd = self.fd.try_clone()?;
        for name in directories {
            fd = match rustix::fs::openat(&fd, name, DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) if make => {
                    match rustix::fs::mkdirat(&fd, name, Mode::RWXU) {
                        // Another run may have been faster.
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => return Err(errno.into()),
                    }
                    // The new name has to survive a power cut like the object below it.
                    rustix::fs::fsync(&fd)?;
                    rustix::fs::openat(&fd, name, DIRECTORY, Mode::empty())?
                }
                other => other?,
            };
        }
        Ok(fd)
    }

    /// The directory of `key`, made when it is missing.
    pub(super) fn parent_for_writing(&self, key: &Key) -> Result<OwnedFd> {
        self.parent(key, true).map_err(|error| {
            failed(
                &format!("could not make the directory of {}", self.locate(key)),
                error,
            )
        })
    }

    fn open_object(&self, key: &Key) -> std::io::Result<File> {
        let (_, name) = key.split();
        let parent = self.parent(key, false)?;
        // Not blocking, so that a planted FIFO does not hang the run.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = File::from(rustix::fs::openat(&parent, name, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::other("it is not a regular file"));
        }
        Ok(file)
    }

    pub(super) fn read(&self, key: &Key, max_bytes: u64) -> Result<Bytes> {
        let explain = |error| failed(&format!("could not read {}", self.locate(key)), error);
        let file = self.open_object(key).map_err(explain)?;
        let mut bytes = Vec::new();
        file.take(max_bytes.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(explain)?;
        if bytes.len() as u64 > max_bytes {
            return Err(too_large(&self.locate(key), max_bytes));
        }
        Ok(bytes.into())
    }

    pub(super) fn read_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        let explain = |error| {
            let (start, end) = (range.start, range.end);
            let what = format!(
                "could not read bytes {start}..{end} of {}",
                self.locate(key)
            );
            failed(&what, error)
        };
        let file = self.open_object(key).map_err(explain)?;
        let bytes = range.end.checked_sub(range.start).map(usize::try_from);
        let Some(Ok(bytes)) = bytes else {
            return Err(explain(std::io::ErrorKind::InvalidInput.into()));
        };
        // A damaged manifest must not make us reserve what the file does not hold.
        if range.end > file.metadata().map_err(explain)?.len() {
            return Err(explain(std::io::ErrorKind::UnexpectedEof.into()));
        }
        let mut buffer = vec![0; bytes];
        file.read_exact_at(&mut buffer, range.start)
            .map_err(explain)?;
        Ok(buffer.into())
    }

    pub(super) fn info(&self, key: &Key) -> Result<Option<ObjectInfo>> {
        match self.open_object(key).and_then(|file| file.metadata()) {
            Ok(metadata) => Ok(Some(ObjectInfo {
                key: key.clone(),
                bytes: metadata.len(),
                crc64nvme: None,
                modified: Timestamp::from_second(metadata.mtime()).ok(),
            })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(
                &format!("could not look at {}", self.locate(key)),
                error,
            )),
        }
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.found(prefix, Names::Objects)
    }

    /// What is being written, or was when its writer was killed: under the keys that it would have.
    pub(super) fn unfinished(&self) -> Result<Vec<ObjectInfo>> {
        self.found("", Names::Unfinished)
    }

    fn found(&self, prefix: &str, names: Names) -> Result<Vec<ObjectInfo>> {
        let mut found = Vec::new();
        let top = self.fd.try_clone().context("could not open the store")?;
        self.walk(top, String::new(), (prefix, names), 0, &mut found)
            .map_err(|error| {
                failed(
                    &format!("could not list the local store {}", self.path.display()),
                    error,
                )
            })?;
        found.sort_by(|a: &ObjectInfo, b| a.key.cmp(&b.key));
        Ok(found)
    }

    fn walk(
        &self,
        directory: OwnedFd,
        path: String,
        (prefix, names): (&str, Names),
        depth: usize,
        found: &mut Vec<ObjectInfo>,
    ) -> std::io::Result<()> {
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else {
                continue; // No key has such a name.
            };
            let unfinished = name.strip_suffix(PARTIAL);
            let stem = match names {
                Names::Objects => name,
                Names::Unfinished => unfinished.unwrap_or(name),
            };
            let Ok(key) = Key::parse(&format!("{path}{stem}")) else {
                continue;
            };
            let is_wanted = match names {
                Names::Objects => true,
                Names::Unfinished => unfinished.is_some(),
            };
            let stat = match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue, // Deleted meanwhile.
                other => other?,
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile if is_wanted && key.as_str().starts_with(prefix) => {
                    found.push(ObjectInfo {
                        key,
                        bytes: u64::try_from(stat.st_size).unwrap_or(0),
                        crc64nvme: None,
                        modified: Timestamp::from_second(stat.st_mtime).ok(),
                    });
                }
                FileType::Directory if depth < MAX_DEPTH => {
                    let below = format!("{key}/");
                    if !(below.starts_with(prefix) || prefix.starts_with(&below)) {
                        continue;
                    }
                    match rustix::fs::openat(&directory, name, DIRECTORY, Mode::empty()) {
                        Ok(fd) => self.walk(fd, below, (prefix, names), depth + 1, found)?,
                        Err(Errno::NOENT) => {}
                        Err(errno) => return Err(errno.into()),
                    }
                }
                FileType::RegularFile
                | FileType::Directory
                | FileType::Symlink
                | FileType::Fifo
                | FileType::Socket
                | FileType::CharacterDevice
                | FileType::BlockDevice
                | FileType::Unknown => {}
            }
        }
        Ok(())
    }

    pub(super) fn delete(&self, key: &Key) -> Result<()> {
        let (_, name) = key.split();
        let removed = self.parent(key, false).and_then(|parent| {
            rustix::fs::unlinkat(&parent, name, AtFlags::empty())?;
            rustix::fs::fsync(&parent)?;
            Ok(())
        });
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(
                &format!("could not delete {}", self.locate(key)),
                error,
            )),
            _ => Ok(()),
        }
    }

    /// Removes what a killed run left where [`DirStore::put`] overwrites.
    pub(super) fn clear_partial(&self, key: &Key) -> Result<()> {
        let (_, name) = key.split();
        let parent = self.parent_for_writing(key)?;
        match rustix::fs::unlinkat(&parent, format!("{name}{PARTIAL}"), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(failed(
                &format!("could not remove {}{PARTIAL}", self.locate(key)),
                errno.into(),
            )),
        }
    }

    pub(super) fn free_space(&self) -> Result<FreeSpace> {
        let explain = |error: std::io::Error| {
            failed(
                &format!(
                    "could not ask for the free space of {}",
                    self.path.display()
                ),
                error,
            )
        };
        let stat = rustix::fs::fstatvfs(&self.fd).map_err(|errno| explain(errno.into()))?;
        Ok(FreeSpace {
            available_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            mount_point: mount_point(&self.path).map_err(explain)?,
        })
    }
}

/// The highest directory above `path` on the same file system.
fn mount_point(path: &Path) -> std::io::Result<PathBuf> {
    let path = path.canonicalize()?;
    let device = path.metadata()?.dev();
    let mut top = path.as_path();
    while let Some(parent) = top.parent() {
        if parent.metadata()?.dev() != device {
            break;
        }
        top = parent;
    }
    Ok(top.to_owned())
}

pub(super) fn write_some(mut file: &File, bytes: &[u8]) -> std::io::Result<()> {
    file.write_all(bytes)
}

pub(super) fn sync_directory(directory: impl AsFd) -> std::io::Result<()> {
    rustix::fs::fsync(directory)?;
    Ok(())
}

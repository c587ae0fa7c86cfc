//! A store in a directory: reads, lists, small writes. Streams are in `dir_upload`.
//!
//! Objects are reached from a descriptor of the root, one directory at a time, and no symbolic link
//! is followed below the root: whoever can write into the store cannot point it elsewhere.

use super::dir_upload::{DirUpload, Over, Partial};
use super::error::{StoreErrorKind, store_error, store_error_from};
use super::keys::PARTIAL;
use super::{FreeSpace, Key, ObjectInfo};
use crate::error::Usage;
use anyhow::{Context, Result};
use bytes::Bytes;
use jiff::Timestamp;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Objects lie two or three directories deep; a deeper tree is not ours.
const MAX_DEPTH: usize = 16;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

pub(super) struct DirStore(Arc<Root>);

/// The root directory, open.
pub(super) struct Root {
    path: PathBuf,
    fd: OwnedFd,
}

impl DirStore {
    pub(super) async fn open(path: &Path) -> Result<Self> {
        if !path.is_absolute() {
            return Err(Usage::new(format!(
                "the local store {} is not absolute",
                path.display()
            ))
            .hint("Give the whole path, beginning with /.")
            .into());
        }
        let path = path.to_owned();
        let root = blocking(move || open_root(&path)).await?;
        Ok(Self(Arc::new(root)))
    }

    pub(super) fn root(&self) -> &Path {
        &self.0.path
    }

    pub(super) async fn free_space(&self) -> Result<FreeSpace> {
        let root = Arc::clone(&self.0);
        blocking(move || root.free_space()).await
    }

    pub(super) async fn create(&self, key: &Key) -> Result<DirUpload> {
        let (root, key) = (Arc::clone(&self.0), key.clone());
        let partial = blocking(move || Partial::create(root, key, Over::Nothing)).await?;
        Ok(DirUpload::start(partial))
    }

    pub(super) async fn put(&self, key: &Key, bytes: Bytes, over: Over) -> Result<()> {
        let (root, key) = (Arc::clone(&self.0), key.clone());
        blocking(move || {
            if over == Over::Anything {
                root.clear_partial(&key)?;
            }
            let mut partial = Partial::create(root, key, over)?;
            let written = partial.write_all(&bytes).and_then(|()| match over {
                Over::Nothing => partial.publish(),
                Over::Anything => partial.replace(),
            });
            match written {
                Ok(()) => Ok(()),
                Err(error) => Err(partial.discard_after(error)),
            }
        })
        .await
    }

    pub(super) async fn get(&self, key: &Key, max_bytes: u64) -> Result<Bytes> {
        let (root, key) = (Arc::clone(&self.0), key.clone());
        blocking(move || root.read(&key, max_bytes)).await
    }

    pub(super) async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        let (root, key) = (Arc::clone(&self.0), key.clone());
        blocking(move || root.read_range(&key, range)).await
    }

    pub(super) async fn head(&self, key: &Key) -> Result<Option<ObjectInfo>> {
        let (root, key) = (Arc::clone(&self.0), key.clone());
        blocking(move || root.info(&key)).await
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        let (root, prefix) = (Arc::clone(&self.0), prefix.to_owned());
        blocking(move || root.list(&prefix)).await
    }

    pub(super) async fn delete(&self, key: &Key) -> Result<()> {
        let (root, key) = (Arc::clone(&self.0), key.clone());
        blocking(move || root.delete(&key)).await
    }
}

/// Runs file system calls off the executor's threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("a file system call did not return")?
}

fn open_root(path: &Path) -> Result<Root> {
    let explain = |error: std::io::Error| {
        failed(
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

    fn read(&self, key: &Key, max_bytes: u64) -> Result<Bytes> {
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

    fn read_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
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

    fn info(&self, key: &Key) -> Result<Option<ObjectInfo>> {
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

    fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        let mut found = Vec::new();
        let top = self.fd.try_clone().context("could not open the store")?;
        self.walk(top, String::new(), prefix, 0, &mut found)
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
        prefix: &str,
        depth: usize,
        found: &mut Vec<ObjectInfo>,
    ) -> std::io::Result<()> {
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else {
                continue; // No key has such a name.
            };
            let Ok(key) = Key::parse(&format!("{path}{name}")) else {
                continue;
            };
            let stat = match rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue, // Deleted meanwhile.
                other => other?,
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile if key.as_str().starts_with(prefix) => {
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
                        Ok(fd) => self.walk(fd, below, prefix, depth + 1, found)?,
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

    fn delete(&self, key: &Key) -> Result<()> {
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
    fn clear_partial(&self, key: &Key) -> Result<()> {
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

/// Puts what the operating system said into words and a kind.
pub(super) fn failed(what: &str, error: std::io::Error) -> anyhow::Error {
    use std::io::ErrorKind as Io;
    let (kind, hint) = match error.kind() {
        Io::NotFound => (
            StoreErrorKind::NotFound,
            "Check the name, and that nobody removed it meanwhile.",
        ),
        Io::AlreadyExists => (
            StoreErrorKind::AlreadyExists,
            "Nothing was overwritten. Start the backup again: its name holds the time.",
        ),
        Io::PermissionDenied => (
            StoreErrorKind::Denied,
            "Give the user that runs the backup read and write permission on the directory.",
        ),
        Io::ReadOnlyFilesystem => (
            StoreErrorKind::Denied,
            "The file system is mounted read-only. Remount it, or give another --local directory.",
        ),
        Io::StorageFull | Io::QuotaExceeded => (
            StoreErrorKind::Full,
            "Free some space, or give a --local directory on a larger file system.",
        ),
        _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error())
            || error.raw_os_error() == Some(Errno::NOTDIR.raw_os_error()) =>
        {
            (
                StoreErrorKind::Other,
                "A symbolic link or a file stands where the store keeps a directory or an object. \
                 Links inside the store are never followed: remove it.",
            )
        }
        Io::UnexpectedEof => (
            StoreErrorKind::Other,
            "The file is shorter than its manifest says: the backup is damaged, use another one.",
        ),
        _ => (
            StoreErrorKind::Other,
            "Check the disk and the kernel's log (dmesg), then try again.",
        ),
    };
    store_error_from(kind, what, hint, error)
}

/// The same for both kinds of store.
pub(super) fn too_large(what: &str, max_bytes: u64) -> anyhow::Error {
    store_error(
        StoreErrorKind::Other,
        format!("cannot use {what}: it is larger than {max_bytes} bytes"),
        "A file of that name should be far smaller; look at what it is.",
    )
}

pub(super) fn write_some(mut file: &File, bytes: &[u8]) -> std::io::Result<()> {
    file.write_all(bytes)
}

pub(super) fn sync_directory(directory: impl AsFd) -> std::io::Result<()> {
    rustix::fs::fsync(directory)?;
    Ok(())
}

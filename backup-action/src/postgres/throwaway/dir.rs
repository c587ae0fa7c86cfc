//! The directory of a local cluster. A marker file in it is locked for as long as the run lives;
//! whoever gets the lock knows that the owner is dead, and may stop what lives there and remove
//! it. Nothing here starts a server.
//!
//! ```text
//! backup-action-drill-0123456789ab/   ours, and only to be passed through by the server's user
//!     owner                           the marker; removed last
//!     data/ socket/ log               the server user's
//! ```

use super::{PREFIX, Swept, random_id};
use crate::error::{self, Explained};
use crate::process::stray;
use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const MARKER: &str = "owner";

/// The programs of a server, which are stopped when they live in a directory of ours.
const PROGRAMS: &[&str] = &["postgres", "initdb"];

/// A server that was told to end at once gets this long; PostgreSQL itself kills sessions after 5 s.
const QUIT_LIMIT: Duration = Duration::from_secs(8);

/// After SIGKILL only a process in the kernel's hands is left.
const KILL_LIMIT: Duration = Duration::from_secs(12);

/// What the kernel takes as the path of a socket, less a margin for systems that take less.
const MAX_SOCKET_PATH: usize = 103;

/// Where a socket goes whose path would be too long in the cluster's directory.
const SHORT_BASE: &str = "/tmp";

/// What the marker says, as JSON.
#[derive(Debug, Deserialize, Serialize)]
struct Marker {
    /// The random part of the directory's name.
    backup_action_drill: String,
    /// The process that made it, for people.
    pid: u32,
    /// Whether the socket lies in a directory of its own below [`SHORT_BASE`].
    socket_apart: bool,
    /// The user whom the server runs as.
    server_uid: u32,
}

/// A directory that is ours as long as this value lives.
#[derive(Debug)]
pub(super) struct Dir {
    path: PathBuf,
    socket: PathBuf,
    marker: Marker,
    /// Open for its lock.
    _locked: File,
}

impl Dir {
    /// Makes a directory below `base`, with places that belong to `server` (user and group) when
    /// the server runs as another user.
    pub(super) fn create(base: &Path, server: Option<(u32, u32)>) -> anyhow::Result<Dir> {
        let base = base
            .canonicalize()
            .with_context(|| format!("could not find directory {}", base.display()))?;
        for _ in 0..16 {
            let id = random_id()?;
            let path = base.join(format!("{PREFIX}{id}"));
            match make_dir(&path, None) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                made => made.with_context(|| format!("could not make {}", path.display()))?,
            }
            if let Some(locked) = lock_new_marker(&path)? {
                return Self::furnish(path, id, locked, server);
            }
        }
        bail!("could not make a directory in {}", base.display())
    }

    fn furnish(
        path: PathBuf,
        id: String,
        mut locked: File,
        server: Option<(u32, u32)>,
    ) -> anyhow::Result<Dir> {
        let apart = !fits(&path.join("socket"));
        let dir = Dir {
            socket: if apart {
                short_socket_dir(&id)
            } else {
                path.join("socket")
            },
            path,
            marker: Marker {
                backup_action_drill: id,
                pid: std::process::id(),
                socket_apart: apart,
                server_uid: server.map_or(us(), |(uid, _)| uid),
            },
            _locked: locked.try_clone()?,
        };
        let text = serde_json::to_string(&dir.marker)? + "\n";
        let furnished = locked
            .write_all(text.as_bytes())
            .and_then(|()| make_dir(&dir.data(), server))
            .and_then(|()| make_dir(&dir.socket, server))
            .and_then(|()| make_log(&dir.log(), server))
            .and_then(|()| match server {
                // The server's user has to pass, not to look or to write.
                Some(_) => std::fs::set_permissions(&dir.path, Permissions::from_mode(0o711)),
                None => Ok(()),
            });
        if let Err(error) = furnished {
            let what = format!("could not prepare {}", dir.path.display());
            dir.remove()?;
            return Err(anyhow::Error::new(error).context(what));
        }
        Ok(dir)
    }

    /// The directory itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The data directory of the server.
    pub(super) fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// The directory of the socket.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// The server's log.
    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    /// Stops what lives in it and removes it.
    pub(super) fn remove(&self) -> anyhow::Result<()> {
        clear(&self.path, &self.marker)
    }
}

/// Where to look for leftovers: the base, and the two places where it may have fallen back to.
pub(super) fn bases(base: Option<&Path>) -> Vec<PathBuf> {
    let mut bases: Vec<PathBuf> = Vec::new();
    let candidates = [
        base.map(Path::to_owned),
        Some(std::env::temp_dir()),
        Some(SHORT_BASE.into()),
    ];
    for candidate in candidates.into_iter().flatten() {
        // What is not there holds nothing.
        if let Ok(real) = candidate.canonicalize()
            && !bases.contains(&real)
        {
            bases.push(real);
        }
    }
    bases
}

/// Removes the directories of dead runs in `bases`. Blocks.
pub(super) fn sweep(bases: &[PathBuf]) -> Swept {
    let mut swept = Swept::default();
    let entries = bases.iter().filter_map(|base| std::fs::read_dir(base).ok());
    for entry in entries.flatten().flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
            continue;
        };
        if !is_id(id) {
            continue;
        }
        let path = entry.path();
        match sweep_one(&path, id) {
            Ok(None) => {}
            Ok(Some(pid)) => swept.removed.push(format!(
                "removed {}, left by a drill that was killed (process {pid})",
                path.display()
            )),
            Err(error) => swept.left.push(format!(
                "could not remove {}, left by an earlier drill: {}",
                path.display(),
                error::one_line(&error)
            )),
        }
    }
    swept
}

/// Removes one directory when it is ours and its owner is dead; says which process that was.
fn sweep_one(path: &Path, id: &str) -> anyhow::Result<Option<u32>> {
    let is_ours = |meta: &Metadata| meta.is_dir() && meta.uid() == us() && meta.mode() & 0o022 == 0;
    if !path.symlink_metadata().is_ok_and(|meta| is_ours(&meta)) {
        return Ok(None);
    }
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::RDONLY;
    let file = match rustix::fs::open(path.join(MARKER), flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::NOENT) => {
            // Killed before the marker was made, or behind its removal. With anything in it the
            // directory is not ours.
            match rustix::fs::rmdir(path) {
                Ok(()) | Err(_) => return Ok(None),
            }
        }
        Err(errno) => return Err(errno).context("could not open its marker"),
    };
    let meta = file.metadata()?;
    if !meta.is_file() || meta.uid() != us() || !lock(&file)? {
        return Ok(None);
    }
    let mut text = String::new();
    (&file).take(4096).read_to_string(&mut text)?;
    let marker = if text.is_empty() {
        // Killed before it was written, so there is nothing else.
        Marker {
            backup_action_drill: id.to_owned(),
            pid: 0,
            socket_apart: false,
            server_uid: us(),
        }
    } else {
        serde_json::from_str(&text).context("its marker cannot be read")?
    };
    if marker.backup_action_drill != id {
        bail!("its marker is that of another directory");
    }
    clear(path, &marker)?;
    Ok(Some(marker.pid))
}

/// Stops the processes, then removes socket, content, marker and directory, in this order: while
/// anything is left the marker is there, and the next sweep goes on.
fn clear(path: &Path, marker: &Marker) -> anyhow::Result<()> {
    stop_processes(path)?;
    if marker.socket_apart {
        let socket = short_socket_dir(&marker.backup_action_drill);
        let is_ours = |meta: &Metadata| {
            meta.is_dir() && (meta.uid() == us() || meta.uid() == marker.server_uid)
        };
        if socket.symlink_metadata().is_ok_and(|meta| is_ours(&meta)) {
            gone(std::fs::remove_dir_all(&socket))
                .with_context(|| format!("could not remove {}", socket.display()))?;
        }
    }
    let what = || format!("could not remove {}", path.display());
    let entries = match std::fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(what)?,
    };
    for entry in entries {
        let entry = entry.with_context(what)?;
        if entry.file_name() == MARKER {
            continue;
        }
        // Symbolic links are removed, never followed.
        let removed = if entry.file_type().with_context(what)?.is_dir() {
            std::fs::remove_dir_all(entry.path())
        } else {
            std::fs::remove_file(entry.path())
        };
        gone(removed).with_context(|| format!("could not remove {}", entry.path().display()))?;
    }
    gone(std::fs::remove_file(path.join(MARKER))).with_context(what)?;
    gone(std::fs::remove_dir(path)).with_context(what)?;
    // One that was just being started when its owner was killed.
    stop_processes(path)
}

/// Ends the servers that live in `dir`, with everything they started. Blocks.
fn stop_processes(dir: &Path) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut told = BTreeSet::new();
    loop {
        let strays = stray::living_in(dir, PROGRAMS);
        if strays.is_empty() {
            return Ok(());
        }
        for stray in &strays {
            // A server that is told to quit leaves no shared memory behind.
            if stray.program == "postgres" && begun.elapsed() < QUIT_LIMIT {
                if told.insert(stray.pid) {
                    stray.quit();
                }
            } else {
                stray.kill();
            }
        }
        if begun.elapsed() > KILL_LIMIT {
            let pids: Vec<String> = strays.iter().map(|stray| stray.pid.to_string()).collect();
            bail!("processes of its server do not end: {}", pids.join(", "));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Makes and locks the marker of a new directory; none when a sweep of another run was faster.
fn lock_new_marker(dir: &Path) -> anyhow::Result<Option<File>> {
    let path = dir.join(MARKER);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    let file = match options.open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.with_context(|| format!("could not make {}", path.display()))?,
    };
    if !lock(&file)? {
        return Ok(None);
    }
    let same = match path.symlink_metadata() {
        Ok(meta) => meta.ino() == file.metadata()?.ino(),
        Err(_) => false,
    };
    Ok(same.then_some(file))
}

/// Takes the lock, unless somebody else has it.
fn lock(file: &File) -> anyhow::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(Explained::new(
            "cannot lock files in the directory for the throw-away cluster",
            "Name a directory on a local file system with --drill-dir.",
        )
        .caused_by(errno.into())
        .into()),
    }
}

fn make_dir(path: &Path, owner: Option<(u32, u32)>) -> std::io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    match owner {
        Some((uid, gid)) => chown(path, Some(uid), Some(gid)),
        None => Ok(()),
    }
}

fn make_log(path: &Path, owner: Option<(u32, u32)>) -> std::io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    match owner {
        Some((uid, gid)) => std::os::unix::fs::fchown(&file, Some(uid), Some(gid)),
        None => Ok(()),
    }
}

/// Removed, or somebody else was faster.
fn gone(removed: std::io::Result<()>) -> std::io::Result<()> {
    match removed {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn short_socket_dir(id: &str) -> PathBuf {
    Path::new(SHORT_BASE).join(format!("{PREFIX}socket-{id}"))
}

/// Whether a socket in `dir` has a path that the kernel and libpq take: libpq splits hosts at
/// commas, the server unquotes its list of directories.
fn fits(dir: &Path) -> bool {
    let bytes = dir.as_os_str().as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/_.-+".contains(byte);
    bytes.len() + "/.s.PGSQL.5432".len() <= MAX_SOCKET_PATH && bytes.iter().all(plain)
}

fn is_id(id: &str) -> bool {
    id.len() == 12
        && id
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn us() -> u32 {
    rustix::process::geteuid().as_raw()
}

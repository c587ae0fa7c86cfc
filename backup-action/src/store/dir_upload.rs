//! One object on its way into a directory: `<name>.partial`, written by a thread of its own, synced
//! while it grows, renamed into place by the seal. Nothing else writes streams to a disk.

use super::dir_caller::Caller;
use super::dir_error::failed;
use super::dir_root::{Root, blocking, sync_directory, write_some};
use super::error::{StoreErrorKind, left_behind, store_error_from};
use super::keys::PARTIAL;
use super::{ABORT_DEADLINE, Key, SealedObject, crc64nvme_base64};
use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest};
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// How much may be unsynced before a sync starts beside the writes, so that the last one is short.
const SYNC_EVERY_BYTES: u64 = 32 * 1024 * 1024;

/// Writes larger than this are cut, so that the queue is bounded in bytes.
const SLICE_BYTES: usize = 1024 * 1024;

/// Slices that wait for the disk.
const QUEUE_SLICES: usize = 8;

/// What a new file may replace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    Nothing,
    Anything,
}

/// The unfinished file, and the lock that makes publishing and discarding exclude each other.
pub(super) struct Partial {
    file: File,
    bytes: u64,
    shared: Arc<Shared>,
}

/// What the writer and the abort handles share.
pub(super) struct Shared {
    root: Arc<Root>,
    key: Key,
    parent: OwnedFd,
    name: String,
    unfinished: String,
    stage: Mutex<Stage>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    Published,
    Discarded,
}

impl Partial {
    /// Makes `<name>.partial`, unless it or the object exists; with a `nonce` where others may do so too.
    pub(super) fn create(
        root: Arc<Root>,
        key: Key,
        over: Over,
        nonce: Option<&str>,
    ) -> Result<Self> {
        let parent = root.parent_for_writing(&key)?;
        let name = key.split().1.to_owned();
        let unfinished = nonce.map_or_else(|| partial(&name), |n| partial(&format!("{name}.{n}")));
        let what = format!("could not create {}", root.locate(&key));
        if over == Over::Nothing
            && rustix::fs::statat(&parent, &name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
        {
            return Err(failed(&what, std::io::ErrorKind::AlreadyExists.into()));
        }
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(
            &parent,
            &unfinished,
            flags,
            Mode::RUSR | Mode::WUSR,
        )
        .map_err(|errno| match errno {
            Errno::EXIST => store_error_from(
                StoreErrorKind::AlreadyExists,
                what,
                format!(
                    "Another run is writing it, or a killed one left {}{PARTIAL}: remove that file if no \
                     other backup is running.",
                    root.locate(&key)
                ),
                std::io::Error::from(errno),
            ),
            other => failed(&what, other.into()),
        })?;
        Ok(Self {
            file: fd.into(),
            bytes: 0,
            shared: Arc::new(Shared {
                root,
                key,
                parent,
                name,
                unfinished,
                stage: Mutex::new(Stage::Open),
            }),
        })
    }

    /// Writes all of `bytes`.
    pub(super) fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        match write_some(&self.file, bytes) {
            Ok(()) => {
                self.bytes += bytes.len() as u64;
                Ok(())
            }
            Err(error) => Err(self.shared.write_failed(self.bytes, error)),
        }
    }

    /// Syncs the file and gives it its name, which must be free.
    fn publish(&self) -> Result<()> {
        self.finish(|shared| shared.rename(Over::Nothing))
    }

    /// Syncs the file and gives it its name, unless `caller` is gone.
    pub(super) fn publish_for(&self, caller: &Caller, over: Over) -> Result<()> {
        self.finish(|shared| caller.while_listening(|| shared.rename(over)))
    }

    fn finish(&self, rename: impl FnOnce(&Shared) -> std::io::Result<()>) -> Result<()> {
        let shared = &self.shared;
        let explain = |what: &str, error| {
            failed(
                &format!("could not {what} {}", shared.root.locate(&shared.key)),
                error,
            )
        };
        match self.file.sync_all() {
            Ok(()) => {}
            Err(error) => return Err(shared.write_failed(self.bytes, error)),
        }
        let mut stage = shared.stage.lock().unwrap_or_else(PoisonError::into_inner);
        if *stage != Stage::Open {
            return Err(anyhow!("the upload was aborted"));
        }
        rename(shared).map_err(|error| explain("create", error))?;
        *stage = Stage::Published;
        sync_directory(&shared.parent).map_err(|error| explain("sync the directory of", error))
    }

    /// Removes the object that was just published, because nobody heard of it.
    fn unpublish(&self) -> Result<()> {
        let shared = &self.shared;
        let removed = rustix::fs::unlinkat(&shared.parent, &shared.name, AtFlags::empty());
        removed.map_err(|errno| {
            failed(
                &format!("could not remove {}", shared.root.locate(&shared.key)),
                errno.into(),
            )
        })
    }

    /// Removes the file after `error`, and says so when that fails too.
    pub(super) fn discard_after(&self, error: anyhow::Error) -> anyhow::Error {
        match self.shared.discard() {
            Ok(()) => error,
            Err(second) => left_behind(error, &second),
        }
    }
}

impl Drop for Partial {
    /// Nobody else knows of a file whose `create` was cancelled.
    fn drop(&mut self) {
        // Whoever tried before has said why it failed; a drop has nobody to tell.
        match self.shared.discard() {
            Ok(()) | Err(_) => {}
        }
    }
}

fn partial(name: &str) -> String {
    format!("{name}{PARTIAL}")
}

/// Renames without ever overwriting. Some network file systems know no such rename; a hard link
/// refuses an existing name just as well.
pub(super) fn publish_name(parent: &OwnedFd, from: &str, to: &str) -> std::io::Result<()> {
    match rustix::fs::renameat_with(parent, from, parent, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            rustix::fs::linkat(parent, from, parent, to, AtFlags::empty())?;
            rustix::fs::unlinkat(parent, from, AtFlags::empty())?;
            Ok(())
        }
        other => Ok(other?),
    }
}

impl Shared {
    fn rename(&self, over: Over) -> std::io::Result<()> {
        match over {
            Over::Nothing => publish_name(&self.parent, &self.unfinished, &self.name),
            Over::Anything => {
                rustix::fs::renameat(&self.parent, &self.unfinished, &self.parent, &self.name)?;
                Ok(())
            }
        }
    }

    fn is_published(&self) -> bool {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) == Stage::Published
    }

    /// Removes the unfinished file; after a seal it does nothing.
    fn discard(&self) -> Result<()> {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        if *stage != Stage::Open {
            return Ok(());
        }
        match rustix::fs::unlinkat(&self.parent, &self.unfinished, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {
                *stage = Stage::Discarded;
                Ok(())
            }
            Err(errno) => Err(failed(
                &format!("could not remove {}{PARTIAL}", self.root.locate(&self.key)),
                errno.into(),
            )),
        }
    }

    fn write_failed(&self, written: u64, error: std::io::Error) -> anyhow::Error {
        let mut what = format!(
            "could not write {} after {written} bytes",
            self.root.locate(&self.key)
        );
        // Root may still see reserved blocks; what counts is what we were refused.
        if error.kind() == std::io::ErrorKind::StorageFull
            && let Ok(free) = self.root.free_space()
        {
            what.push_str(&format!(
                ": {} has {} bytes left",
                free.mount_point.display(),
                free.available_bytes
            ));
        }
        failed(&what, error)
    }
}

/// Ends an upload from outside.
pub(super) async fn abort(shared: &Arc<Shared>) -> Result<()> {
    let shared = Arc::clone(shared);
    tokio::time::timeout(ABORT_DEADLINE, blocking(move || shared.discard()))
        .await
        .context("could not remove the unfinished file in time: the disk does not answer")?
}

/// The sending side.
pub(super) struct DirUpload {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Message>,
    writer: tokio::task::JoinHandle<Result<()>>,
    crc: Digest,
    bytes: u64,
}

enum Message {
    Write(Bytes),
    Seal(oneshot::Sender<()>),
}

impl DirUpload {
    pub(super) fn start(partial: Partial) -> Self {
        let (queue, messages) = mpsc::channel(QUEUE_SLICES);
        Self {
            shared: Arc::clone(&partial.shared),
            queue,
            writer: tokio::task::spawn_blocking(move || write_out(partial, messages)),
            crc: Digest::new(CrcAlgorithm::Crc64Nvme),
            bytes: 0,
        }
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    pub(super) async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            let slice = bytes.split_to(bytes.len().min(SLICE_BYTES));
            self.crc.update(&slice);
            self.bytes += slice.len() as u64;
            if self.queue.send(Message::Write(slice)).await.is_err() {
                return Err(self.why_stopped().await);
            }
        }
        Ok(())
    }

    pub(super) async fn seal(mut self) -> Result<SealedObject> {
        let (sealed, done) = oneshot::channel();
        if self.queue.send(Message::Seal(sealed)).await.is_err() || done.await.is_err() {
            return Err(self.why_stopped().await);
        }
        Ok(SealedObject {
            key: self.shared.key.clone(),
            bytes: self.bytes,
            crc64nvme: crc64nvme_base64(self.crc.finalize()),
            store_checksum: None,
            warnings: Vec::new(),
        })
    }

    async fn why_stopped(&mut self) -> anyhow::Error {
        match (&mut self.writer).await {
            Ok(Err(error)) => error,
            Ok(Ok(())) => anyhow!("the upload was aborted"),
            Err(error) => anyhow::Error::new(error).context("the writer of the file stopped"),
        }
    }
}

/// The writer's thread: ends with the seal, with an error, or when the sender is gone. Only the
/// seal leaves a file.
fn write_out(mut partial: Partial, mut messages: mpsc::Receiver<Message>) -> Result<()> {
    let mut syncer = Syncer::default();
    let result = loop {
        match messages.blocking_recv() {
            Some(Message::Write(bytes)) => {
                let written = partial
                    .write_all(&bytes)
                    .and_then(|()| syncer.advance(&partial));
                if let Err(error) = written {
                    break Err(error);
                }
            }
            Some(Message::Seal(done)) => {
                match syncer.finish(&partial).and_then(|()| partial.publish()) {
                    Ok(()) if done.send(()).is_ok() => return Ok(()),
                    // The caller was cancelled while the seal was under way.
                    Ok(()) => return partial.unpublish(),
                    // Renamed, but perhaps not for ever.
                    Err(error) if partial.shared.is_published() => {
                        return Err(match partial.unpublish() {
                            Ok(()) => error,
                            Err(second) => left_behind(error, &second),
                        });
                    }
                    Err(error) => break Err(error),
                }
            }
            None => break Ok(()),
        }
    };
    match result {
        Ok(()) => partial.shared.discard(),
        Err(error) => Err(partial.discard_after(error)),
    }
}

/// Syncs beside the writes. A failed sync is reported by the kernel only once: it is never dropped.
#[derive(Default)]
struct Syncer {
    running: Option<JoinHandle<std::io::Result<()>>>,
    started_at_bytes: u64,
}

impl Syncer {
    fn advance(&mut self, partial: &Partial) -> Result<()> {
        if self.running.as_ref().is_some_and(JoinHandle::is_finished) {
            self.finish(partial)?;
        }
        if self.running.is_none() && partial.bytes - self.started_at_bytes >= SYNC_EVERY_BYTES {
            let file = partial
                .file
                .try_clone()
                .context("could not sync the file")?;
            let sync = std::thread::Builder::new()
                .name("sync".to_owned())
                .spawn(move || file.sync_data())
                .context("could not start a thread")?;
            self.running = Some(sync);
            self.started_at_bytes = partial.bytes;
        }
        Ok(())
    }

    fn finish(&mut self, partial: &Partial) -> Result<()> {
        match self.running.take().map(JoinHandle::join) {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(error))) => Err(partial.shared.write_failed(partial.bytes, error)),
            Some(Err(_panic)) => Err(anyhow!("the sync of the file stopped")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::dir_root::open_root;
    use super::*;

    fn names(dir: &std::path::Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn begin(dir: &std::path::Path, name: &str, over: Over) -> Partial {
        let root = Arc::new(open_root(dir).unwrap());
        Partial::create(root, Key::parse(name).unwrap(), over, None).unwrap()
    }

    #[test]
    fn a_put_makes_nothing_once_its_caller_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        for over in [Over::Nothing, Over::Anything] {
            let (caller, listening) = Caller::new();
            let mut put = begin(dir.path(), "a", over);
            put.write_all(b"bytes").unwrap();
            drop(listening);
            let error = put.publish_for(&caller, over).unwrap_err();
            assert_eq!(names(dir.path()), ["a.partial"]);
            put.discard_after(error);
            assert_eq!(names(dir.path()), [""; 0]);
        }
        let (caller, listening) = Caller::new();
        let put = begin(dir.path(), "a", Over::Nothing);
        put.publish_for(&caller, Over::Nothing).unwrap();
        drop(listening);
        drop(put);
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn a_file_that_nobody_took_over_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let partial = begin(dir.path(), "a", Over::Nothing);
        assert_eq!(names(dir.path()), ["a.partial"]);
        drop(partial);
        assert_eq!(names(dir.path()), [""; 0]);
    }
}

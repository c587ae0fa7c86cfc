//! The bytes of a dump in blocks, and the buffers that they live in.

use super::progress::Progress;
use crate::archive::compress::BLOCK_BYTES;
use crate::archive::scanned::Piece;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A piece of the dump with what the scanner found in it.
pub(super) struct Block {
    pub(super) bytes: Vec<u8>,
    pub(super) start: u64,
    pub(super) pieces: Vec<Piece>,
    pub(super) spare: Spare,
}

impl Drop for Block {
    fn drop(&mut self) {
        self.spare.give(std::mem::take(&mut self.bytes));
    }
}

/// Buffers that were used before: a fresh megabyte costs 256 page faults.
#[derive(Clone, Default)]
pub(super) struct Spare(Arc<Mutex<Vec<Vec<u8>>>>);

impl Spare {
    /// A buffer of [`BLOCK_BYTES`], with anything in it.
    pub(super) fn take(&self) -> Vec<u8> {
        let used = match self.0.lock() {
            Ok(mut buffers) => buffers.pop(),
            Err(_) => None,
        };
        let mut buffer = used.unwrap_or_default();
        buffer.resize(BLOCK_BYTES, 0);
        buffer
    }

    fn give(&self, buffer: Vec<u8>) {
        if let Ok(mut buffers) = self.0.lock() {
            buffers.push(buffer);
        }
    }
}

/// Reads a pipe, or whatever gives the bytes of a dump, in large pieces.
///
/// pg_dump writes 4 KiB at a time. Whoever reads as soon as there is something is woken 250,000
/// times for a gigabyte, and pays for it with half a core. A short pause lets the pipe fill instead;
/// it is far too short to fill the whole pipe at any speed of pg_dump, so nobody waits.
pub(super) struct Input {
    from: Box<dyn Read + Send>,
    pause: Option<Duration>,
}

impl Input {
    /// The stdout of a child.
    pub(super) fn pipe(stdout: File) -> Input {
        let pause = (pipe_bytes(&stdout) >= 512 * 1024).then_some(Duration::from_micros(700));
        Input {
            from: Box::new(stdout),
            pause,
        }
    }

    /// What never has to be waited for, such as a file.
    pub(super) fn reader(from: impl Read + Send + 'static) -> Input {
        Input {
            from: Box::new(from),
            pause: None,
        }
    }

    /// Fills `bytes`, or less at the end of the dump; returns how much.
    pub(super) fn fill(&mut self, bytes: &mut [u8], progress: &Progress) -> std::io::Result<usize> {
        const ENOUGH: usize = 64 * 1024;
        let mut filled = 0;
        while filled < bytes.len() {
            progress.waiting(true);
            let read = self.from.read(&mut bytes[filled..]);
            progress.waiting(false);
            match read {
                Ok(0) => break,
                Ok(count) => {
                    filled += count;
                    if let Some(pause) = self.pause.filter(|_| count < ENOUGH) {
                        std::thread::sleep(pause);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// How much the pipe holds; 0 where that is not known.
fn pipe_bytes(pipe: &File) -> usize {
    #[cfg(target_os = "linux")]
    return rustix::pipe::fcntl_getpipe_size(pipe).unwrap_or(0);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = pipe;
        0
    }
}

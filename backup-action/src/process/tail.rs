//! What is kept of a child's stderr: its first lines and its last ones, in bounded memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::sync::Mutex;

/// The first error is often the cause.
const HEAD_BYTES: usize = 16 * 1024;

/// The last lines say how it ended.
const TAIL_BYTES: usize = 112 * 1024;

/// The beginning and the end of a stream of lines.
#[derive(Debug, Default)]
pub(super) struct Tail {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    dropped_bytes: u64,
    dropped_lines: u64,
}

impl Tail {
    fn push(&mut self, mut bytes: &[u8]) {
        let room = HEAD_BYTES.saturating_sub(self.head.len()).min(bytes.len());
        let (head, rest) = bytes.split_at(room);
        self.head.extend_from_slice(head);
        bytes = rest;
        if bytes.len() > TAIL_BYTES {
            let (lost, kept) = bytes.split_at(bytes.len() - TAIL_BYTES);
            self.forget(self.tail.len());
            self.dropped_bytes += lost.len() as u64;
            self.dropped_lines += count_lines(lost);
            bytes = kept;
        }
        self.forget((self.tail.len() + bytes.len()).saturating_sub(TAIL_BYTES));
        self.tail.extend(bytes);
    }

    fn forget(&mut self, bytes: usize) {
        let lost = self.tail.drain(..bytes);
        self.dropped_bytes += lost.len() as u64;
        self.dropped_lines += lost.filter(|byte| *byte == b'\n').count() as u64;
    }

    /// Lines between the head and the tail that are gone.
    pub(super) fn dropped_lines(&self) -> u64 {
        self.dropped_lines
    }

    /// Head and tail as text, with a line that says how much is missing between them.
    pub(super) fn text(&self) -> String {
        let mut bytes = self.head.clone();
        if self.dropped_bytes > 0 {
            let (lines, dropped) = (self.dropped_lines, self.dropped_bytes);
            let gap = format!("\n[{lines} lines ({dropped} bytes) left out]\n");
            bytes.extend_from_slice(gap.as_bytes());
        }
        bytes.extend(&self.tail);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}

/// Reads `pipe` to its end, so that a child that floods stderr never waits for us.
pub(super) fn drain(mut pipe: File, tail: &Mutex<Tail>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match pipe.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => super::lock(tail).push(&buffer[..n]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                let note = format!("\n[could not read stderr: {error}]\n");
                return super::lock(tail).push(note.as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_and_tail_survive_a_flood_in_bounded_memory() {
        for chunk in [1, 7, 4096, 300_000] {
            let mut tail = Tail::default();
            let text: String = (0..50_000).map(|n| format!("line {n}\n")).collect();
            for bytes in text.as_bytes().chunks(chunk) {
                tail.push(bytes);
            }
            let kept = tail.text();
            assert!(kept.len() < HEAD_BYTES + TAIL_BYTES + 100, "{}", kept.len());
            assert!(kept.starts_with("line 0\nline 1\n"), "chunks of {chunk}");
            assert!(
                kept.ends_with("line 49998\nline 49999\n"),
                "chunks of {chunk}"
            );
            let shown = kept.lines().filter(|l| l.starts_with("line ")).count() as u64;
            // The two lines at the cuts are shown in part.
            assert!(
                (shown + tail.dropped_lines()).abs_diff(50_000) <= 2,
                "{shown}"
            );
        }
    }

    #[test]
    fn nothing_is_left_out_of_a_short_text() {
        let mut tail = Tail::default();
        tail.push(b"a\n");
        tail.push(b"\xff\n");
        assert_eq!(tail.text(), "a\n\u{fffd}\n");
        assert_eq!(tail.dropped_lines(), 0);
    }
}

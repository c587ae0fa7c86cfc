//! Any bytes in any chunking: the scanner never panics, every byte belongs to one entry, and the
//! entries and digests are those of the same bytes in one block.
//! `cargo +nightly fuzz run scan`

#![no_main]

use backup_action::archive::digest::{Digester, Digests};
use backup_action::archive::scan::Scanner;
use backup_action::archive::scanned::{Scan, ScanError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, Vec<u8>)| {
    let (dump, sizes) = input;
    let whole = read(&dump, &[]);
    let chunked = read(&dump, &sizes);
    match (whole, chunked) {
        (Ok(whole), Ok(chunked)) => {
            let mut end = 0;
            for entry in &whole.0.entries {
                assert_eq!(entry.range.start, end);
                end = entry.range.end;
            }
            assert_eq!(end, dump.len() as u64);
            assert_eq!(whole, chunked);
        }
        (Err(whole), Err(chunked)) => assert_eq!(whole.offset, chunked.offset),
        (whole, chunked) => panic!("{whole:?} but {chunked:?}"),
    }
});

/// Blocks of the sizes given, then the rest in one.
fn read(dump: &[u8], sizes: &[u8]) -> Result<(Scan, Digests), ScanError> {
    let mut scanner = Scanner::new();
    let mut digester = Digester::new();
    let mut rest = dump;
    let mut sizes = sizes.iter().map(|size| usize::from(*size));
    while !rest.is_empty() {
        let size = sizes.next().unwrap_or(rest.len()).min(rest.len());
        let start = (dump.len() - rest.len()) as u64;
        let (block, more) = rest.split_at(size);
        let mut pieces = Vec::new();
        scanner.feed(block, &mut pieces)?;
        digester
            .feed(block, start, &pieces)
            .expect("the scanner's pieces fit their block");
        rest = more;
    }
    Ok((scanner.finish(), digester.finish()))
}

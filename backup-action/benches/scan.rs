//! How fast the scanner and the digester are on a dump that is mostly rows: prints MB/s of each, on
//! one core. `cargo bench -p backup-action --bench scan [-- MEGABYTES]`

#![expect(
    clippy::print_stdout,
    reason = "a benchmark's result is what it prints"
)]

use backup_action::archive::digest::Digester;
use backup_action::archive::scan::Scanner;
use backup_action::archive::scanned::{Piece, ScanError};
use std::time::Instant;

const BLOCK: usize = 1024 * 1024;

fn main() -> anyhow::Result<()> {
    let megabytes = std::env::args()
        .find_map(|arg| arg.parse().ok())
        .unwrap_or(512);
    let dump = dump_of(megabytes * 1_000_000);

    let started = Instant::now();
    let pieces = scan(&dump)?;
    report("scanner", dump.len(), started);

    let started = Instant::now();
    let mut digester = Digester::new();
    for (i, block) in dump.chunks(BLOCK).enumerate() {
        digester.feed(block, (i * BLOCK) as u64, &pieces[i])?;
    }
    let digests = digester.finish();
    report("digester", dump.len(), started);
    println!("sha256    {}", digests.dump_sha256);
    Ok(())
}

fn scan(dump: &[u8]) -> Result<Vec<Vec<Piece>>, ScanError> {
    let mut scanner = Scanner::new();
    let mut all = Vec::new();
    for block in dump.chunks(BLOCK) {
        let mut pieces = Vec::new();
        scanner.feed(block, &mut pieces)?;
        all.push(pieces);
    }
    let scan = scanner.finish();
    let rows: u64 = scan
        .entries
        .iter()
        .filter_map(|e| e.copy.as_ref())
        .map(|c| c.rows)
        .sum();
    println!(
        "dump      {} bytes, {} entries, {rows} rows",
        dump.len(),
        scan.entries.len()
    );
    Ok(all)
}

fn report(what: &str, bytes: usize, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    println!("{what:9} {:.0} MB/s", bytes as f64 / 1e6 / seconds);
}

/// Tables of about 4 MB with rows of about 100 bytes, nulls and backslashes among them.
fn dump_of(bytes: usize) -> Vec<u8> {
    let mut dump = Vec::with_capacity(bytes + 8 * BLOCK);
    dump.extend_from_slice(b"\\connect nostromo\n\n");
    let mut table = 0;
    while dump.len() < bytes {
        table += 1;
        dump.extend_from_slice(format!("--\n-- Data for Name: payroll; Type: TABLE DATA; Schema: tenant_{table}; Owner: app\n--\n\nCOPY tenant_{table}.payroll (id, employee, amount, note, path) FROM stdin;\n").as_bytes());
        for row in 0..40_000u64 {
            let noise = row.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ table;
            dump.extend_from_slice(format!("{row}\temployee number {noise}\t{}.{:02}\t\\N\tC:\\\\share\\\\{noise:x}\t2026-01-18 02:00:01+00\n", noise % 10_000, noise % 100).as_bytes());
        }
        dump.extend_from_slice(b"\\.\n\n\n");
    }
    dump
}

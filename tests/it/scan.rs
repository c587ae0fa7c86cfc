//! The scanner and the digester on real dumps of PostgreSQL 15, 17 and 18 of a hostile cluster
//! (`fixtures/make-dumps.sh`), against what the live cluster said of itself, and on dumps made up
//! from a model. No server is needed here.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that cannot go on ends its test"
)]

use crate::support;
use backup_action::archive::digest::{Digester, Digests, assemble};
use backup_action::archive::index::{
    ByteRange, Index, Member, Name, RowsDigest, Sha256Digest, from_hex, kind,
};
use backup_action::archive::rebuild::rebuild;
use backup_action::archive::scan::Scanner;
use backup_action::archive::scanned::{Completeness, LOOK_BACK, Part, Piece, Scan, ScanError};
use proptest::prelude::*;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::io::{Read, Write};

const MAJORS: [u32; 3] = [15, 17, 18];
const TRAILER: &[u8] = b"--\n-- PostgreSQL database cluster dump complete\n--\n\n";

fn fixture(major: u32) -> Vec<u8> {
    let path = support::root().join(format!("fixtures/dumps/{major}/hostile.sql.gz"));
    let file = std::fs::File::open(path).unwrap();
    let mut dump = Vec::new();
    flate2::read::GzDecoder::new(file)
        .read_to_end(&mut dump)
        .unwrap();
    dump
}

fn truth(major: u32) -> Vec<Value> {
    let path = support::root().join(format!("fixtures/dumps/{major}/hostile.json"));
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn unhex(value: &Value) -> Option<Name> {
    value.as_str().map(|hex| Name::from(from_hex(hex).unwrap()))
}

/// Scans and digests `dump`, cut into blocks of the sizes that `sizes` gives, over and over.
fn read(dump: &[u8], sizes: &[usize]) -> Result<(Scan, Digests, Vec<Piece>), ScanError> {
    let mut scanner = Scanner::new();
    let mut digester = Digester::new();
    let mut all = Vec::new();
    let mut rest = dump;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let (block, more) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
        let start = (dump.len() - rest.len()) as u64;
        let mut pieces = Vec::new();
        scanner.feed(block, &mut pieces)?;
        for piece in &pieces {
            assert!(piece.range.start + LOOK_BACK as u64 >= start);
        }
        digester.feed(block, start, &pieces).unwrap();
        all.extend(pieces);
        rest = more;
    }
    Ok((scanner.finish(), digester.finish(), all))
}

fn read_whole(dump: &[u8]) -> (Scan, Digests, Vec<Piece>) {
    read(dump, &[1024 * 1024]).unwrap()
}

fn index_of(dump: &[u8], sizes: &[usize]) -> Index {
    let (scan, digests, _) = read(dump, sizes).unwrap();
    let member = Member {
        dump_bytes: u32::try_from(dump.len()).unwrap(),
        archive_bytes: 20,
        crc32: 0,
        sha256: Sha256Digest([0; 32]),
    };
    assemble(scan, digests, vec![member], Sha256Digest([1; 32])).unwrap()
}

fn slice(dump: &[u8], range: ByteRange) -> &[u8] {
    &dump[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
}

#[test]
fn every_table_row_and_column_of_the_live_cluster_is_found() {
    for major in MAJORS {
        let dump = fixture(major);
        let (scan, _, _) = read_whole(&dump);
        assert!(scan.completeness.is_complete(), "{:?}", scan.completeness);
        assert_eq!(scan.completeness.ended_in, "at the end");
        assert!(scan.server_version.unwrap().starts_with(&major.to_string()));
        assert!(scan.client_version.unwrap().starts_with(&major.to_string()));

        let truth = truth(major);
        let databases: Vec<_> = scan
            .completeness
            .databases
            .iter()
            .map(|d| d.0.clone())
            .collect();
        let expected: Vec<_> = truth
            .iter()
            .map(|d| unhex(&d["database"]).unwrap())
            .collect();
        assert_eq!(databases, expected, "PostgreSQL {major}");

        for database in &truth {
            let name = unhex(&database["database"]);
            let mut found: Vec<_> = scan
                .entries
                .iter()
                .filter(|e| e.database == name)
                .filter_map(|e| {
                    let copy = e.copy.as_ref()?;
                    Some((
                        e.schema.clone(),
                        e.name.clone(),
                        copy.rows,
                        copy.columns.clone(),
                    ))
                })
                .collect();
            let mut expected: Vec<_> = database["tables"]
                .as_array()
                .unwrap()
                .iter()
                .map(|t| {
                    let columns = t["columns"].as_array().unwrap();
                    (
                        unhex(&t["schema"]),
                        unhex(&t["name"]).unwrap(),
                        t["rows"].as_u64().unwrap(),
                        columns
                            .iter()
                            .map(|c| unhex(c).unwrap())
                            .collect::<Vec<_>>(),
                    )
                })
                .collect();
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "PostgreSQL {major}, {name:?}");
        }
    }
}

#[test]
fn names_are_exact_although_the_comments_are_not() {
    for major in MAJORS {
        let (scan, _, _) = read_whole(&fixture(major));
        for database in truth(major) {
            let name = unhex(&database["database"]);
            for object in database["objects"].as_array().unwrap() {
                let (kind, schema) = (object[0].as_str().unwrap(), unhex(&object[1]));
                let object = unhex(&object[2]).unwrap();
                let found = scan
                    .entries
                    .iter()
                    .filter(|e| e.database == name && &*e.kind == kind)
                    .filter(|e| e.schema == schema && e.name == object)
                    .count();
                assert_eq!(
                    found, 1,
                    "PostgreSQL {major}, {name:?}: {kind} {schema:?} {object:?}"
                );
            }
        }
        let function = scan
            .entries
            .iter()
            .find(|e| e.name.to_lossy().starts_with("f\nunc"));
        let function = function.expect("the function with a newline in its name");
        assert_eq!(
            function.name.to_lossy(),
            "f\nunc; Type: TABLE(\"new\nline\".\"ta\nble; Type: INDEX\", \"q\"\"uote.d'ot\".\"t.t\"\"t't\")"
        );
        let reader = Name::from("reader; Type: TABLE; Schema: public; Owner: x");
        let owned = scan
            .entries
            .iter()
            .filter(|e| e.owner.as_ref() == Some(&reader));
        let owned: Vec<_> = owned.map(|e| &*e.kind).collect();
        assert_eq!(owned, ["TABLE", "TABLE DATA"]);
    }
}

#[test]
fn every_byte_belongs_to_one_entry_and_every_entry_to_its_place() {
    for major in MAJORS {
        let dump = fixture(major);
        let (scan, _, _) = read_whole(&dump);
        let mut end = 0;
        for entry in &scan.entries {
            assert_eq!(entry.range.start, end, "{entry:?}");
            end = entry.range.end;
            let text = slice(&dump, entry.range);
            match &*entry.kind {
                kind::SETTING => assert!(
                    text.starts_with(b"SET ") || text.starts_with(b"SELECT pg_catalog.set_config(")
                ),
                kind::META => assert!(text.starts_with(b"\\")),
                kind::COMMENT => {
                    assert!(text.starts_with(b"--\n") || text.starts_with(b"-- Dumped "))
                }
                kind::GLOBAL => assert!(entry.database.is_none()),
                kind::STATEMENT => panic!("statement without an object: {entry:?}"),
                _ => {
                    assert!(entry.database.is_some());
                    let names = memchr::memmem::find_iter(text, b"Name: ").next();
                    assert!(text.starts_with(b"--\n-- ") && names.is_some());
                }
            }
        }
        assert_eq!(end, dump.len() as u64);
        // SET SESSION AUTHORIZATION of a second grantor stays inside the privileges.
        let acl = scan.entries.iter().any(|e| {
            &*e.kind == "ACL"
                && memchr::memmem::find(slice(&dump, e.range), b"SET SESSION AUTHORIZATION grantor")
                    .is_some()
        });
        assert!(acl, "PostgreSQL {major}");
        let first = scan
            .entries
            .iter()
            .find(|e| &*e.kind == "DATABASE")
            .unwrap();
        assert_eq!(first.database, Some(first.name.clone()));
    }
}

#[test]
fn globals_and_settings_are_named_by_what_they_are_about() {
    let (scan, _, _) = read_whole(&fixture(18));
    let named = |kind: &str, database: Option<&str>| -> Vec<String> {
        let database = database.map(Name::from);
        let entries = scan.entries.iter();
        entries
            .filter(|e| &*e.kind == kind && e.database == database)
            .map(|e| e.name.to_lossy())
            .collect()
    };
    let awkward = r#"ro;le "q" \ ' $$"#;
    let reader = "reader; Type: TABLE; Schema: public; Owner: x";
    let mut roles = vec!["app_owner"; 3];
    roles.extend(["grantor", "grantor", "postgres", "postgres", reader, reader]);
    roles.extend([awkward, awkward, "app_owner", "app_owner"]);
    assert_eq!(named(kind::GLOBAL, None), roles);
    let settings = named(kind::SETTING, Some("user"));
    assert!(settings.contains(&"search_path".to_owned()), "{settings:?}");
    assert!(settings.contains(&"default_tablespace".to_owned()));
    assert_eq!(
        named(kind::META, Some("-rf")),
        [
            "restrict",
            "unrestrict",
            "encoding",
            "connect",
            "restrict",
            "unrestrict"
        ]
    );
    assert_eq!(scan.entries.last().unwrap().database, None);
    let first = scan.entries.first().unwrap();
    assert_eq!(first.name.to_lossy(), "PostgreSQL database cluster dump");
}

#[test]
fn dumps_of_minors_before_restrict_are_complete_too() {
    let dump = fixture(15);
    let (scan, _, _) = read_whole(&dump);
    let mut old = Vec::new();
    for entry in &scan.entries {
        let text = slice(&dump, entry.range);
        if !(text.starts_with(b"\\restrict ") || text.starts_with(b"\\unrestrict ")) {
            old.extend_from_slice(text);
        }
    }
    let (old, _, _) = read_whole(&old);
    assert!(old.completeness.is_complete(), "{:?}", old.completeness);
    assert_eq!(old.completeness.databases, scan.completeness.databases);
}

#[test]
fn the_same_rows_have_the_same_digests_on_every_server() {
    let tables = |major| -> Vec<_> {
        let index = index_of(&fixture(major), &[1 << 20]);
        let entries = index.entries.into_iter();
        entries
            .filter_map(|e| Some((e.database, e.schema, e.name, e.sha256, e.copy?)))
            .map(|(database, schema, name, line, copy)| {
                (
                    database,
                    schema,
                    name,
                    line,
                    copy.data_sha256,
                    copy.rows_digest,
                )
            })
            .collect()
    };
    let fifteen = tables(15);
    for major in [17, 18] {
        let other = tables(major);
        assert_eq!(fifteen.len(), other.len());
        for (one, other) in fifteen.iter().zip(other) {
            assert_eq!(*one, other, "PostgreSQL {major}");
        }
    }
}

#[test]
fn a_dump_that_was_cut_anywhere_is_not_complete() {
    for major in MAJORS {
        let dump = fixture(major);
        let mut cuts: Vec<usize> = memchr::memchr_iter(b'\n', &dump).map(|at| at + 1).collect();
        cuts.extend((1..200).map(|n| dump.len() - n));
        for text in [&b"cluster dump complete"[..], b"dump complete\\n--\\n\\n"] {
            cuts.extend(memchr::memmem::find_iter(&dump, text).map(|at| at + text.len()));
        }
        cuts.sort_unstable();
        cuts.dedup();
        let mut scanner = Scanner::new();
        let mut fed = 0;
        for cut in cuts {
            scanner.feed(&dump[fed..cut], &mut Vec::new()).unwrap();
            fed = cut;
            let completeness = scanner.clone().finish().completeness;
            assert_eq!(
                completeness.is_complete(),
                cut == dump.len(),
                "cut at {cut}: {completeness:?}"
            );
            assert_eq!(
                completeness.cluster_trailer,
                cut == dump.len(),
                "cut at {cut}"
            );
        }
        assert_eq!(fed, dump.len());
    }
}

#[test]
fn a_cut_is_described_where_it_happened() {
    let dump = fixture(15);
    let ended_in = |text: &[u8]| {
        let at = memchr::memmem::find(&dump, text).unwrap() + text.len();
        read_whole(&dump[..at]).0.completeness.ended_in
    };
    assert_eq!(
        ended_in(b"row 1\n2\trow"),
        "inside the rows of we ird \"q\" = 'x' \\ $$ ; é 🐘: public.t after 1 rows"
    );
    assert_eq!(
        ended_in(b"RETURN $$"),
        "inside a statement, in hostile: app.body()"
    );
    assert_eq!(
        ended_in(b"CREATE ROLE grantor;\n"),
        "after GLOBAL of globals: grantor"
    );
    assert_eq!(
        read_whole(b"").0.completeness.ended_in,
        "before the first byte"
    );
    assert!(!read_whole(b"").0.completeness.is_complete());
    assert!(
        !read_whole(b"pg_dumpall: error: x\n")
            .0
            .completeness
            .is_complete()
    );
    assert!(!read_whole(TRAILER).0.completeness.is_complete());
}

#[test]
fn blocks_of_any_size_give_the_same_entries_and_digests() {
    // Of one dump the long row is cut down, so that blocks of one byte are affordable.
    let long = b"0123456789abcde\\n".repeat(1000);
    let dump = fixture(17);
    let at = memchr::memmem::find(&dump, &long).unwrap();
    let end = memchr::memchr(b'\n', &dump[at..]).unwrap() + at;
    let mut short = dump[..at].to_vec();
    short.extend_from_slice(&dump[end..]);
    let one = index_of(&short, &[short.len()]);
    for sizes in [&[1][..], &[2], &[3], &[7, 1, 31], &[33], &[4096], &[65536]] {
        assert_eq!(index_of(&short, sizes), one, "{sizes:?}");
    }
    assert_eq!(index_of(&dump, &[1 << 20]), index_of(&dump, &[1 << 16]));
}

#[test]
fn digests_are_those_of_the_bytes_in_question() {
    for major in MAJORS {
        let dump = fixture(major);
        let index = index_of(&dump, &[100_003]);
        assert_eq!(
            index.dump_sha256,
            Sha256Digest(Sha256::digest(&dump).into())
        );
        let mut tables = 0;
        for entry in &index.entries {
            let text = slice(&dump, entry.ranges[0]);
            if let Some(copy) = &entry.copy {
                let rows = slice(&dump, copy.data[0]);
                assert_eq!(copy.data_sha256, Sha256Digest(Sha256::digest(rows).into()));
                assert_eq!(copy.rows_digest, rows_digest(rows));
                let line_end = memchr::memmem::find(text, b" FROM stdin;\n").unwrap() + 12;
                let line = memchr::memmem::find(&text[..line_end], b"\nCOPY ").unwrap() + 1;
                assert_eq!(
                    entry.sha256,
                    Sha256Digest(Sha256::digest(&text[line..line_end]).into())
                );
                assert!(text.ends_with(b"\\.\n\n\n"));
                tables += 1;
            }
            if &*entry.kind == kind::SETTING {
                assert_eq!(
                    entry.sha256,
                    Sha256Digest(Sha256::digest(text.trim_ascii()).into())
                );
            }
            if &*entry.kind == "VIEW" {
                let create = memchr::memmem::find(text, b"CREATE VIEW").unwrap();
                let owner = memchr::memmem::rfind(text, b"\nALTER ").unwrap();
                let mut hash = Sha256::new();
                hash.update(text[create..owner].trim_ascii());
                hash.update(text[owner..].trim_ascii());
                assert_eq!(entry.sha256, Sha256Digest(hash.finalize().into()));
            }
        }
        assert!(tables > 25);
    }
}

/// [`RowsDigest`] as its definition reads.
fn rows_digest(rows: &[u8]) -> RowsDigest {
    let lines = rows
        .strip_suffix(b"\n")
        .map(|rows| rows.split(|b| *b == b'\n'));
    RowsDigest(lines.into_iter().flatten().fold(0u128, |sum, row| {
        sum.wrapping_add(xxhash_rust::xxh3::xxh3_128(row))
    }))
}

#[test]
fn rows_in_another_order_have_the_same_rows_digest_only() {
    let copy = |rows: &str| {
        let dump = format!("\\connect a\n\nCOPY public.t (a) FROM stdin;\n{rows}\\.\n");
        let index = index_of(dump.as_bytes(), &[3]);
        index.entries.into_iter().find_map(|e| e.copy).unwrap()
    };
    let (a, b, c) = (
        copy("1\n2\n2\n\n"),
        copy("2\n\n1\n2\n"),
        copy("1\n1\n2\n\n"),
    );
    assert_eq!(a.rows_digest, b.rows_digest);
    assert_ne!(a.data_sha256, b.data_sha256);
    assert_ne!(a.rows_digest, c.rows_digest);
    assert_ne!(copy("").rows_digest, copy("\n").rows_digest);
}

#[test]
fn text_that_pg_dumpall_does_not_write_is_refused() {
    for (dump, offset, message) in [
        ("\\! id\n", 0, "meta-command"),
        ("SELECT 1;\n\\i x\n", 10, "meta-command"),
        ("SELECT 1; \\g\n", 10, "backslash in the middle of a line"),
        ("SELECT 1 \\g\n", 9, "backslash inside a statement"),
        ("COPY a.b TO stdout;\n", 0, "COPY other than"),
        (
            "COPY a.b (c) FROM stdin WITH (FORMAT csv);\n1\n\\.\n",
            0,
            "COPY other than",
        ),
        ("COPY a.b (c) FROM stdin; \n", 24, "text behind a COPY line"),
        ("SET client_encoding = 'SJIS';\n", 0, "client encoding"),
        ("\n\\encoding GB18030\n", 1, "client encoding"),
    ] {
        for size in [1, 1000] {
            let error = read(dump.as_bytes(), &[size]).unwrap_err();
            assert_eq!(error.offset, offset, "{dump}");
            assert!(error.message.contains(message), "{dump}: {error}");
        }
        let mut scanner = Scanner::new();
        let first = scanner.feed(dump.as_bytes(), &mut Vec::new()).unwrap_err();
        assert_eq!(scanner.feed(TRAILER, &mut Vec::new()), Err(first));
        assert!(!scanner.finish().completeness.is_complete());
    }
}

fn whole(middle: &str) -> String {
    format!(
        "--\n-- PostgreSQL database cluster dump\n--\n\n{middle}--\n-- PostgreSQL database cluster dump complete\n--\n\n"
    )
}

fn completeness(dump: &str) -> Completeness {
    read_whole(dump.as_bytes()).0.completeness
}

#[test]
fn the_trailer_counts_only_behind_its_own_restrict_keys() {
    assert!(completeness(&whole("")).is_complete());
    assert!(completeness(&whole("\\restrict a\n\n\\unrestrict a\n\n")).is_complete());
    for middle in [
        "\\restrict a\n\n",
        "\\restrict a\n\n\\unrestrict b\n\n",
        "\\unrestrict a\n\n",
        "\\restrict a\n\\restrict a\n\\unrestrict a\n",
        "\\restrict a\n\\unrestrict a\n\\restrict b\n",
        "\\restrict a\n\\connect x\n\\unrestrict a\n",
    ] {
        let completeness = completeness(&whole(middle));
        assert!(!completeness.is_complete(), "{middle}");
        assert!(!completeness.cluster_trailer, "{middle}");
        assert!(completeness.restrict_fault.is_some(), "{middle}");
    }
}

#[test]
fn the_trailer_is_the_last_thing_and_the_header_the_first() {
    let dump = whole("");
    for behind in [
        "SELECT 1;\n",
        "S",
        "-",
        "--",
        "-- x\n",
        "/",
        "/*",
        "/* */",
        "\\",
        "\\connect x\n",
        "\\encoding UTF8\n",
    ] {
        for blank in ["", "\n"] {
            let completeness = completeness(&format!("{dump}{blank}{behind}"));
            assert!(!completeness.cluster_trailer, "{behind}");
        }
    }
    assert!(completeness(&format!("{dump}\n \n")).is_complete());
    for before in ["SET a = b;\n\n", "-- x\n\n", "\\connect x\n\n"] {
        assert!(
            !completeness(&format!("{before}{dump}")).cluster_header,
            "{before}"
        );
    }
}

#[test]
fn two_dumps_in_one_stream_are_not_one() {
    let mut dumps: Vec<_> = MAJORS.map(fixture).into();
    dumps.push(whole("").into_bytes());
    for dump in dumps {
        assert!(read_whole(&dump).0.completeness.is_complete());
        let unfinished = dump.strip_suffix(b"\n").unwrap();
        let headless = &dump[dump.windows(2).position(|w| w == b"\n\n").unwrap()..];
        for (what, twice) in [
            ("twice", [&dump[..], &dump].concat()),
            ("run together", [unfinished, &dump].concat()),
            ("without the second header", [&dump[..], headless].concat()),
            ("a second trailer", [&dump[..], TRAILER].concat()),
        ] {
            for size in [dump.len().min(1000) / 50, 1024 * 1024] {
                let (scan, _, _) = read(&twice, &[size]).unwrap();
                let found = scan.completeness;
                assert!(!found.is_complete(), "{what}: {found:?}");
                assert!(!found.cluster_trailer, "{what}: {found:?}");
                let told = ["something follows the cluster trailer", "is not the first"];
                let told = told.iter().any(|text| found.ended_in.contains(text));
                assert!(told, "{what}: {}", found.ended_in);
            }
        }
    }
}

/// A dump of about 2 MiB, and how many rows it has.
fn large() -> (String, u64) {
    const ROWS: u64 = 300_000;
    let mut middle = "\\connect d\n\n--\n-- Data for Name: t; Type: TABLE DATA; Schema: s; Owner: o\n--\n\nCOPY s.t (a) FROM stdin;\n".to_owned();
    for row in 0..ROWS {
        middle += &format!("{row}\n");
    }
    middle += "\\.\n\n\n--\n-- PostgreSQL database dump complete\n--\n\n";
    (whole(&middle), ROWS)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn gzip_of_any_members_is_indexed_and_found_whole() {
    let (dump, rows) = large();
    let dump = dump.as_bytes();
    let small: Vec<u8> = dump.chunks(1024 * 1024).flat_map(gzip).collect();
    let (front, back) = dump.split_at(100);
    for (what, archive, members) in [
        ("gzip", gzip(dump), 0),
        ("cat", [gzip(front), gzip(back)].concat(), 0),
        ("an empty member", [gzip(dump), gzip(b"")].concat(), 0),
        (
            "members of the format",
            small,
            dump.len().div_ceil(1024 * 1024),
        ),
    ] {
        let rebuilt = rebuild(&archive[..], |_| {}).unwrap();
        let index = rebuilt.index;
        assert!(rebuilt.completeness.is_complete(), "{what}");
        assert_eq!(index.rows(), rows, "{what}");
        assert_eq!(index.dump_bytes, dump.len() as u64, "{what}");
        assert_eq!(index.archive_bytes, archive.len() as u64, "{what}");
        assert_eq!(index.dump_sha256.0[..], Sha256::digest(dump)[..], "{what}");
        assert_eq!(
            index.archive_sha256.0[..],
            Sha256::digest(&archive)[..],
            "{what}"
        );
        assert_eq!(index.members.len(), members, "{what}");
        index.validate().unwrap();
    }
    let whole = gzip(dump);
    assert!(rebuild(&whole[..whole.len() - 9], |_| {}).is_err());
    let twice = rebuild(&[&whole[..], &whole].concat()[..], |_| {}).unwrap();
    assert!(!twice.completeness.is_complete());
}

#[test]
fn statements_that_psql_itself_cannot_read_are_named() {
    const NONE: [u32; 0] = [];
    let unreadable = |body: &str| {
        let dump = whole(&format!("CREATE FUNCTION {body};\n\n"));
        let (scan, _, _) = read(dump.as_bytes(), &[4]).unwrap();
        assert!(scan.completeness.is_complete(), "{body}");
        scan.unreadable_by_psql
    };
    assert_eq!(unreadable("a.begin() AS $$x$$"), [1]);
    assert_eq!(unreadable("begin.a() AS $$x$$"), [1]);
    let atomic = |body| unreadable(&format!("a() BEGIN ATOMIC SELECT {body}; END"));
    assert_eq!(atomic("1 AS begin"), [1]);
    assert_eq!(atomic("CASE WHEN (1 = 1) THEN 2 END AS \"begin\""), NONE);
    assert_eq!(unreadable("a(begin int) AS $$begin$$"), NONE);
    for major in MAJORS {
        assert_eq!(read_whole(&fixture(major)).0.unreadable_by_psql, NONE);
    }
}

#[test]
fn statements_decide_what_an_ambiguous_comment_means() {
    let dump = "\\connect d\n\n--\n-- Name: t; Type: TABLE; Schema: s; Owner: x; Type: TABLE; Schema: s; Owner: y z\n--\n\n\
        CREATE TABLE s.t ();\n\nALTER TABLE s.t OWNER TO \"x; Type: TABLE; Schema: s; Owner: y\nz\";\n\n\
        --\n-- Data for Name: t; Type: TABLE DATA; Schema: s; Owner: x; Type: TABLE; Schema: s; Owner: y z\n--\n\n\
        COPY s.t  FROM stdin;\n\n\\.\n\nCOPY s.u FROM stdin;\n\n\n\\.\n\n";
    let (scan, _, _) = read(dump.as_bytes(), &[5]).unwrap();
    let owner = Some("x; Type: TABLE; Schema: s; Owner: y\nz".to_owned());
    let found: Vec<_> = scan.entries[1..]
        .iter()
        .map(|e| {
            let rows = e.copy.as_ref().map(|copy| copy.rows);
            let owner = e.owner.as_ref().map(Name::to_lossy);
            (&*e.kind, e.name.to_lossy(), owner, rows)
        })
        .collect();
    assert_eq!(
        found,
        [
            ("TABLE", "t".to_owned(), owner.clone(), None),
            ("TABLE DATA", "t".to_owned(), owner, Some(1)),
            ("TABLE DATA", "u".to_owned(), None, Some(2)),
        ]
    );
}

#[test]
fn a_database_is_complete_only_when_its_own_trailer_is_the_last_thing_in_it() {
    let end = "--\n-- PostgreSQL database dump complete\n--\n\n";
    let open = "\\connect a\n\nCREATE TABLE x ();\n\n";
    assert!(completeness(&whole(&format!("{open}{end}"))).is_complete());
    for middle in [
        open.to_owned(),
        format!("{open}{end}CREATE TABLE y ();\n\n"),
        format!("{open}{end}\\connect b\n\n"),
        format!("{open}{end}--\n-- Database \"b\" dump\n--\n\n"),
        format!("{open}-- PostgreSQL database dump complete\n\n"),
        format!("{open}/* {end} */\n\n"),
        format!("{open}SELECT '{end}';\n\n"),
        format!("{open}{end}--\n-- Name: x; Type: TABLE; Schema: y; Owner: z\n--\n\n"),
    ] {
        let completeness = completeness(&whole(&middle));
        assert!(completeness.cluster_trailer, "{middle}");
        assert!(!completeness.is_complete(), "{middle}: {completeness:?}");
    }
}

#[test]
fn a_trailer_inside_anything_is_none() {
    let trailer = "\n--\n-- PostgreSQL database cluster dump complete\n--\n\n";
    let head = "--\n-- PostgreSQL database cluster dump\n--\n\n";
    for open in [
        "SELECT 'x",
        "SELECT E'\\'",
        "SELECT \"x",
        "SELECT $$",
        "SELECT $a$ $$",
        "SELECT (1;",
        "/* /* */",
        "SELECT 1 /*",
        "COPY a.b (c) FROM stdin;",
        "SELECT 1",
        "CREATE FUNCTION a.b() RETURNS int\n    BEGIN ATOMIC\n SELECT CASE WHEN true THEN 1 END; SELECT 1;",
        "SELECT a$$ $$",
        "SELECT é$$ $$",
        "SELECT 'é''",
        "SELECT U&'\\'",
        "SELECT e'''\\\\\\'",
        "SET standard_conforming_strings = off;\nSELECT 'it\\'s ",
        "CREATE RULE a AS ON INSERT TO b DO (SELECT 1;",
    ] {
        let dump = format!("{head}{open}{trailer}");
        let completeness = completeness(&dump);
        assert!(!completeness.cluster_trailer, "{open}: {completeness:?}");
    }
    // The same, closed: the trailer behind it is genuine, so the lexer came out where it should.
    for closed in [
        "SELECT '\\';",
        "SELECT a$$, \u{e9}$$;",
        "SELECT E'''\\'';",
        "SELECT E'\\'';",
        "SELECT E'\\\\';",
        "SELECT \"\"\"\\\";",
        "SELECT $a$ $$ $b$ $a$;",
        "SELECT ';', \";\", $$;$$;",
        "/* /* */ ' */",
        "SELECT 1 -- ' $$ \"\n;",
        "SELECT a$$ + $1 - $2;",
        "SELECT 1 - 2 / 3;",
        "SELECT U&'\\';",
        "SELECT $1 || E'';",
        "CREATE FUNCTION begin.begin() RETURNS int AS $$ begin atomic $$;",
        "CREATE FUNCTION a.b(begin int) RETURNS int\n    BEGIN ATOMIC\n SELECT CASE WHEN true THEN 1 END; SELECT (CASE 1 WHEN 2 THEN 3 END);\nEND;",
        "CREATE RULE a AS ON INSERT TO b DO (SELECT 1; SELECT 2);",
        "SELECT $é$ $ $é $é$;",
        "SELECT $$a$b$$;",
        "COPY a.b FROM stdin;\n\\.",
        "SET standard_conforming_strings = off;\nSELECT 'it\\'s ';",
        "COPY a.b (c) FROM stdin;\n\\\\.\n\\N\n.\n\\.",
    ] {
        let dump = format!("{head}{closed}{trailer}");
        for size in [1, 2, 1000] {
            let (scan, _, _) = read(dump.as_bytes(), &[size]).unwrap();
            assert!(
                scan.completeness.cluster_trailer,
                "{closed}: {:?}",
                scan.completeness
            );
        }
    }
}

/// Text that tries to be something else.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z' \"\\\\$;\n\t()-]{0,12}",
        Just("\\.".to_owned()),
        Just("\n\\.\n".to_owned()),
        Just("COPY a.b (c) FROM stdin;".to_owned()),
        Just("\n\\connect postgres\n".to_owned()),
        Just("\n--\n-- PostgreSQL database cluster dump complete\n--\n\n".to_owned()),
        Just("; Type: TABLE; Schema: s; Owner: o".to_owned()),
        Just("$$ $_$ /* ".to_owned()),
        Just("é🐘".to_owned()),
    ]
}

fn name() -> impl Strategy<Value = String> {
    hostile().prop_map(|text| format!("n{}", text.replace('\0', "")))
}

#[derive(Clone, Debug)]
struct Table {
    schema: String,
    name: String,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    body: String,
}

fn table() -> impl Strategy<Value = Table> {
    (1..4usize)
        .prop_flat_map(|columns| {
            (
                name(),
                name(),
                prop::collection::vec(name(), columns),
                prop::collection::vec(prop::collection::vec(hostile(), columns), 0..5),
                hostile(),
            )
        })
        .prop_map(|(schema, name, columns, rows, body)| Table {
            schema,
            name,
            columns,
            rows,
            body,
        })
}

fn in_quotes(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn on_one_line(name: &str) -> String {
    name.replace(['\n', '\r'], " ")
}

/// One field as COPY writes it.
fn copy_field(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('\n', "\\n")
        .replace('\t', "\\t")
        .replace('\r', "\\r")
}

/// The dump that pg_dumpall would write of these tables, each followed by a function.
fn write_dump(tables: &[Table]) -> String {
    let mut text = "--\n-- PostgreSQL database cluster dump\n--\n\n\\restrict k\n\nSET a = 'b';\n\n\\unrestrict k\n\n\\connect d\n\n\\restrict k\n\n".to_owned();
    for t in tables {
        let (schema, name) = (in_quotes(&t.schema), in_quotes(&t.name));
        let columns: Vec<_> = t.columns.iter().map(|c| in_quotes(c)).collect();
        text += &format!(
            "--\n-- Name: {}; Type: TABLE; Schema: {}; Owner: o\n--\n\nCREATE TABLE {schema}.{name} ();\n\n\nALTER TABLE {schema}.{name} OWNER TO o;\n\n",
            on_one_line(&t.name),
            on_one_line(&t.schema)
        );
        text += &format!(
            "--\n-- Name: f(); Type: FUNCTION; Schema: {}; Owner: o\n--\n\nCREATE FUNCTION {schema}.f() AS $_XXX${}$_XXX$ '{}';\n\n\n",
            on_one_line(&t.schema),
            t.body,
            t.body.replace('\'', "''")
        );
        text += &format!(
            "--\n-- Data for Name: {}; Type: TABLE DATA; Schema: {}; Owner: o\n--\n\nCOPY {schema}.{name} ({}) FROM stdin;\n",
            on_one_line(&t.name),
            on_one_line(&t.schema),
            columns.join(", ")
        );
        for row in &t.rows {
            let fields: Vec<_> = row.iter().map(|value| copy_field(value)).collect();
            text += &fields.join("\t");
            text += "\n";
        }
        text += "\\.\n\n\n";
    }
    text + "--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict k\n\n--\n-- PostgreSQL database cluster dump complete\n--\n\n"
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_dump_made_from_a_model_gives_back_the_model(
        tables in prop::collection::vec(table(), 0..4),
        sizes in prop::collection::vec(1..200usize, 1..20),
    ) {
        let dump = write_dump(&tables);
        let (scan, digests, _) = read(dump.as_bytes(), &sizes).unwrap();
        prop_assert!(scan.completeness.is_complete(), "{:?}", scan.completeness);
        let objects: Vec<_> = scan.entries.iter()
            .filter(|e| !matches!(&*e.kind, kind::META | kind::SETTING | kind::COMMENT))
            .collect();
        prop_assert_eq!(objects.len(), tables.len() * 3);
        for (table, entries) in tables.iter().zip(objects.chunks(3)) {
            let [created, function, data] = entries else { unreachable!() };
            prop_assert_eq!((&*created.kind, &*function.kind, &*data.kind), ("TABLE", "FUNCTION", "TABLE DATA"));
            for entry in [created, data] {
                prop_assert_eq!(&entry.name, &Name::from(table.name.as_str()));
                prop_assert_eq!(entry.owner.as_ref().unwrap(), &Name::from("o"));
            }
            for entry in entries {
                prop_assert_eq!(entry.schema.as_ref().unwrap(), &Name::from(table.schema.as_str()));
            }
            let copy = data.copy.as_ref().unwrap();
            prop_assert_eq!(copy.rows, table.rows.len() as u64);
            let columns: Vec<_> = table.columns.iter().map(|c| Name::from(c.as_str())).collect();
            prop_assert_eq!(&copy.columns, &columns);
        }
        let (one, one_digests, _) = read_whole(dump.as_bytes());
        prop_assert_eq!(scan, one);
        prop_assert_eq!(digests, one_digests);
    }

    #[test]
    fn any_prefix_of_a_model_dump_is_incomplete(
        tables in prop::collection::vec(table(), 1..3),
        cut in any::<prop::sample::Index>(),
    ) {
        let dump = write_dump(&tables);
        let (scan, _, _) = read_whole(&dump.as_bytes()[..cut.index(dump.len())]);
        prop_assert!(!scan.completeness.is_complete());
    }

    #[test]
    fn arbitrary_bytes_give_the_same_in_any_chunking_and_never_panic(
        parts in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..8),
            hostile().prop_map(String::into_bytes),
            "(--|/[*]|[*]/|'|E'|\"|[$]a[$]|[$]|\\\\|;|\n|SET |SELECT |COPY a [(]b[)] FROM stdin;\n|BEGIN ATOMIC|CREATE FUNCTION |CASE|END| )".prop_map(String::into_bytes),
        ], 0..30),
        sizes in prop::collection::vec(1..20usize, 1..10),
    ) {
        let dump = parts.concat();
        let whole = read(&dump, &[1 << 20]);
        let chunked = read(&dump, &sizes);
        match (whole, chunked) {
            (Ok((scan, digests, pieces)), Ok((other, other_digests, other_pieces))) => {
                let end = scan.entries.iter().try_fold(0, |at, e| (e.range.start == at).then_some(e.range.end));
                prop_assert_eq!(end, Some(dump.len() as u64));
                prop_assert_eq!(scan, other);
                prop_assert_eq!(digests, other_digests);
                prop_assert_eq!(joined(pieces), joined(other_pieces));
            }
            (Err(one), Err(other)) => prop_assert_eq!((one.offset, one.message), (other.offset, other.message)),
            (one, other) => prop_assert!(false, "{one:?} but {other:?}"),
        }
    }
}

/// Pieces that touch, joined: what remains is the same in any chunking.
fn joined(pieces: Vec<Piece>) -> Vec<(u32, bool, ByteRange)> {
    let mut all: Vec<(u32, bool, ByteRange)> = Vec::new();
    for piece in pieces {
        let rows = piece.part == Part::CopyRows;
        match all.last_mut() {
            Some((entry, part, range))
                if (*entry, *part, range.end) == (piece.entry, rows, piece.range.start) =>
            {
                range.end = piece.range.end;
            }
            _ => all.push((piece.entry, rows, piece.range)),
        }
    }
    all
}

//! Backups that are not what they were: the drill fails, and names the object.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests, which clippy does not see as tests"
)]

use super::{different, drill};
use crate::gate::happy::gunzip;
use crate::gate::world::{World, sample};
use crate::support::run::Ended;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::path::PathBuf;

/// A world with one good backup in its directory.
fn backed_up(test: &str) -> Option<(World<'static>, PathBuf)> {
    let world = World::local(sample(test)?);
    let gate = world.passes(world.gate());
    let archive = world
        .local
        .as_ref()
        .unwrap()
        .join(gate.output("archive-key"));
    Some((world, archive))
}

/// The dump as members of the format.
fn gzip(dump: &[u8]) -> Vec<u8> {
    dump.chunks(1 << 20)
        .flat_map(|block| {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
            gzip.write_all(block).unwrap();
            gzip.finish().unwrap()
        })
        .collect()
}

fn replaced(dump: &[u8], from: &str, to: &str) -> Vec<u8> {
    let at = memchr::memmem::find(dump, from.as_bytes())
        .unwrap_or_else(|| panic!("{from:?} is in the dump"));
    [&dump[..at], to.as_bytes(), &dump[at + from.len()..]].concat()
}

/// Cuts from the TOC comment that begins with `from` to the next one.
fn without_entry(dump: &[u8], from: &str) -> Vec<u8> {
    let start = memchr::memmem::find(dump, from.as_bytes())
        .unwrap_or_else(|| panic!("{from:?} is in the dump"));
    let next = memchr::memmem::find(&dump[start + from.len()..], b"\n-- Name: ")
        .or_else(|| memchr::memmem::find(&dump[start + from.len()..], b"\n-- Data for Name: "))
        .unwrap();
    [&dump[..start], &dump[start + from.len() + next + 1..]].concat()
}

fn fails(world: &World, names: &[&str]) -> Ended {
    let ended = drill(world).end();
    assert_eq!(ended.code, 1, "{}", ended.all());
    for name in names {
        ended.assert_says(name);
    }
    assert_eq!(ended.check("archive-intact")["outcome"], "failed");
    ended
}

#[test]
fn every_change_of_the_archive_is_named() {
    let Some((world, archive)) = backed_up("drill::tampered") else {
        return;
    };
    let good = std::fs::read(&archive).unwrap();
    let dump = gunzip(&good);
    type Change = Box<dyn Fn(&[u8]) -> Vec<u8>>;
    let swap = |from: &'static str, to: &'static str| -> Change {
        Box::new(move |dump| replaced(dump, from, to))
    };
    let cases: Vec<(&str, Change)> = vec![
        (
            "TABLE DATA nostromo: tenant_empresa_1.employees",
            swap("Employee 7\t", "Employee 8\t"),
        ),
        (
            "TABLE DATA nostromo: parametros.settings",
            swap("\niva\t", "\nadded\t{}\niva\t"),
        ),
        (
            "TABLE nostromo: parametros.settings",
            Box::new(|dump| without_entry(dump, "-- Name: settings; Type: TABLE; ")),
        ),
        ("ROLE nostromo_ro", swap("CREATE ROLE nostromo_ro;\n", "")),
        (
            "INDEX nostromo: tenant_empresa_2.payroll_month_idx",
            swap(
                "CREATE INDEX payroll_month_idx ON tenant_empresa_2.payroll USING btree (month);\n",
                "",
            ),
        ),
        (
            "VIEW nostromo: tenant_empresa_3.costs",
            swap("sum(payroll.amount)", "min(payroll.amount)"),
        ),
        (
            "SEQUENCE SET nostromo: tenant_empresa_1.audit_log_id_seq",
            swap(
                "setval('tenant_empresa_1.audit_log_id_seq', 40, true)",
                "setval('tenant_empresa_1.audit_log_id_seq', 41, true)",
            ),
        ),
    ];
    for (name, change) in cases {
        let mut changed = change(&dump);
        if name.starts_with("VIEW") {
            // The first view is another tenant's.
            changed = replace_behind(
                &dump,
                "CREATE VIEW tenant_empresa_3.costs",
                "sum(payroll.amount)",
                "min(payroll.amount)",
            );
        }
        std::fs::write(&archive, gzip(&changed)).unwrap();
        let ended = fails(&world, &[name]);
        let listed = different(ended.report());
        assert!(listed.iter().any(|object| object == name), "{listed:?}");
        assert_eq!(listed.len(), 1, "{listed:?}\n{}", ended.all());
    }
    std::fs::write(&archive, &good).unwrap();
    assert_eq!(drill(&world).end().code, 0);
}

fn replace_behind(dump: &[u8], behind: &str, from: &str, to: &str) -> Vec<u8> {
    let at = memchr::memmem::find(dump, behind.as_bytes()).unwrap();
    [&dump[..at], &replaced(&dump[at..], from, to)].concat()
}

#[test]
fn a_cut_archive_is_named_by_what_is_gone() {
    let Some((world, archive)) = backed_up("drill::truncated") else {
        return;
    };
    let good = std::fs::read(&archive).unwrap();
    std::fs::write(&archive, &good[..good.len() / 2]).unwrap();
    fails(&world, &["objects are damaged or gone", "nostromo"]);
    // Cut where gzip sees nothing, behind a whole member, in the middle of a table's rows.
    let dump = gunzip(&good);
    let rows = memchr::memmem::find(&dump, b"COPY tenant_empresa_3.payroll ").unwrap();
    std::fs::write(&archive, gzip(&dump[..rows + 200])).unwrap();
    fails(
        &world,
        &["inside the rows of nostromo: tenant_empresa_3.payroll"],
    );
}

#[test]
fn the_same_dump_in_another_gzip_is_not_the_archive() {
    let Some((world, archive)) = backed_up("drill::recompressed") else {
        return;
    };
    let dump = gunzip(&std::fs::read(&archive).unwrap());
    std::fs::write(&archive, gzip(&dump)).unwrap();
    fails(&world, &["no object differs"]);
}

#[test]
fn a_flipped_byte_is_found_although_the_length_is_right() {
    let Some((world, archive)) = backed_up("drill::flipped") else {
        return;
    };
    let mut bytes = std::fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&archive, &bytes).unwrap();
    fails(&world, &["nostromo"]);
}

#[test]
fn an_index_or_a_manifest_of_something_else_is_refused_by_field() {
    let Some((world, archive)) = backed_up("drill::manifest") else {
        return;
    };
    let stem = archive.to_str().unwrap().strip_suffix(".sql.gz").unwrap();
    let (index, manifest) = (
        format!("{stem}.index.json.gz"),
        format!("{stem}.manifest.json"),
    );
    let good_index = std::fs::read(&index).unwrap();
    let good_manifest = std::fs::read_to_string(&manifest).unwrap();

    // The index of another backup.
    let second = world.passes(world.gate());
    let other = world.local.as_ref().unwrap().join(
        second
            .output("archive-key")
            .replace(".sql.gz", ".index.json.gz"),
    );
    std::fs::write(&index, std::fs::read(&other).unwrap()).unwrap();
    let key = archive.file_name().unwrap().to_str().unwrap();
    let month = archive.parent().unwrap().file_name().unwrap();
    let key = format!("{}/{key}", month.to_str().unwrap());
    let first = |says: &str| {
        let ended = drill(&world).arg(&key).end();
        assert_eq!(ended.code, 1, "{says}: {}", ended.all());
        ended.assert_says(says);
        assert_eq!(ended.check("archive-intact")["outcome"], "failed");
    };
    first("index");
    std::fs::write(&index, &good_index).unwrap();

    let value: serde_json::Value = serde_json::from_str(&good_manifest).unwrap();
    let rows = value["archive"]["rows"].as_u64().unwrap();
    for (says, from, to) in [
        (
            "rows",
            format!("\"rows\": {rows},"),
            format!("\"rows\": {},", rows + 1),
        ),
        (
            "databases",
            "\"name\": \"tenant_empresa_2\"".to_owned(),
            "\"name\": \"tenant_empresa_9\"".to_owned(),
        ),
        (
            "pg_dumpall_args",
            "\"role_passwords\": true".to_owned(),
            "\"role_passwords\": true, \"pg_dumpall_args\": [\"--file=/tmp/canary\"]".to_owned(),
        ),
        (
            "server_version",
            "\"server_version\": \"".to_owned(),
            "\"server_version\": \"9".to_owned(),
        ),
    ] {
        assert!(good_manifest.contains(&from), "{from}");
        std::fs::write(&manifest, good_manifest.replacen(&from, &to, 1)).unwrap();
        first(says);
    }
    std::fs::write(&manifest, &good_manifest).unwrap();
    assert_eq!(drill(&world).arg(&key).end().code, 0);
}

//! Dumps that try to run something on the machine that restores: one test for each place where they
//! could say it. The canary is a file that must not appear.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that cannot go on ends its test"
)]

use super::bench::{Shelf, assert_same, dumpall, run, source, target};
use backup_action::archive::index::{ByteRange, Index, Sha256Digest, kind};
use backup_action::error::one_line;
use backup_action::restore::OnFailure;
use backup_action::restore::plan::Scope;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// A directory in which the canary would appear.
struct Canary(TempDir);

impl Canary {
    fn new() -> Canary {
        Canary(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("canary")
    }

    /// The command that a dump must not run.
    fn touch(&self) -> String {
        format!("\\! touch {}", self.path().display())
    }

    fn assert_absent(&self, place: &str) {
        assert!(!self.path().exists(), "{place} ran a program");
    }
}

/// A cluster made by `sql`, in which `CMD` stands for the command, comes back whole and runs nothing.
async fn comes_back(test: &str, sql: &str) {
    let canary = Canary::new();
    let Some(from) = source(test, None) else {
        return;
    };
    // psql of the test must not take the command for its own.
    from.psql(&sql.replace("CMD", &canary.touch().replace('\'', "''")));
    let dump = dumpall(&from);
    let found = memchr::memmem::find(&dump, b"! touch").is_some();
    assert!(found, "the dump holds the command");
    let shelf = Shelf::new(dump).await;
    let to = target(test, None).unwrap();
    run(shelf.load(&to, &Scope::Cluster)).await.unwrap();
    assert_same(&shelf, &to);
    canary.assert_absent(test);
}

#[tokio::test]
async fn in_the_name_of_a_table() {
    let sql = "do $do$ begin execute format('create table %I (a int)', e'x\\n' || $c$CMD$c$ || e'\\n'); end $do$";
    // Names have 63 bytes; the command fits only shortened, which is enough to be one.
    comes_back("in_the_name_of_a_table", sql).await;
}

#[tokio::test]
async fn in_the_name_of_a_schema_and_a_column() {
    let sql = "do $do$ begin execute format('create schema %1$I; create table %1$I.t (%1$I int); comment on column %1$I.t.%1$I is %1$L', e'\\n' || $c$CMD$c$ || e'\\n'); end $do$";
    comes_back("in_the_name_of_a_schema_and_a_column", sql).await;
}

#[tokio::test]
async fn in_a_comment() {
    let sql = "create table t (a int); do $do$ begin execute format('comment on table t is %L', e'x''\\n' || $c$CMD$c$ || e'\\n--\\n'); end $do$";
    comes_back("in_a_comment", sql).await;
}

#[tokio::test]
async fn in_the_body_of_a_function() {
    let sql = "create function f() returns text language sql as $f$ select 'x'
CMD
$f$";
    let sql = sql.replace("select 'x'\nCMD\n", "select 'x' || $c$\nCMD\n$c$");
    comes_back("in_the_body_of_a_function", &sql).await;
}

#[tokio::test]
async fn in_rows_and_behind_what_looks_like_their_end() {
    let sql = "create table t (a text); insert into t values ($c$CMD$c$), (e'\\\\.\\n' || $c$CMD$c$), (e'\\\\.'), ($c$CMD$c$)";
    comes_back("in_rows_and_behind_what_looks_like_their_end", sql).await;
}

#[tokio::test]
async fn in_a_setting_of_a_role() {
    let sql = "create role r; do $do$ begin execute format('alter role r set application_name = %L', e'x''\\n' || $c$CMD$c$); end $do$";
    comes_back("in_a_setting_of_a_role", sql).await;
}

/// A small dump whose rows are `good`, and its archive.
async fn forged(dump: &str, change: impl FnOnce(&mut Index, &str)) -> Shelf {
    let mut shelf = Shelf::new(dump.as_bytes().to_vec()).await;
    let mut index = Index::clone(shelf.index());
    change(&mut index, dump);
    shelf.archive.index = Arc::new(index);
    shelf
}

fn dump_with(rows: &str) -> String {
    format!(
        "--\n-- PostgreSQL database cluster dump\n--\n\n\\connect postgres\n\nSET client_encoding = 'UTF8';\n\n\
         --\n-- Name: t; Type: TABLE; Schema: public; Owner: postgres\n--\n\nCREATE TABLE public.t (a text);\n\n\n\
         --\n-- Data for Name: t; Type: TABLE DATA; Schema: public; Owner: postgres\n--\n\nCOPY public.t (a) FROM stdin;\n{rows}\\.\n\n\n\
         --\n-- PostgreSQL database dump complete\n--\n\n--\n-- PostgreSQL database cluster dump complete\n--\n\n"
    )
}

/// Loading a forged archive ends with an error that says `says`, and runs nothing.
async fn is_refused(test: &str, canary: &Canary, shelf: &Shelf, says: &str) {
    for on_failure in [OnFailure::Stop, OnFailure::Continue] {
        let Some(to) = target(test, None) else {
            return;
        };
        let mut load = shelf.load(&to, &Scope::Cluster);
        load.on_failure = on_failure;
        let error = one_line(&run(load).await.unwrap_err());
        assert!(error.contains(says), "{error}");
        canary.assert_absent(test);
    }
}

fn range_of(dump: &str, text: &str) -> ByteRange {
    let start = dump.find(text).unwrap() as u64;
    ByteRange {
        start,
        end: start + text.len() as u64,
    }
}

fn sha256(text: &str) -> Sha256Digest {
    Sha256Digest(Sha256::digest(text).into())
}

#[tokio::test]
async fn in_rows_that_an_index_calls_a_statement() {
    let canary = Canary::new();
    let command = canary.touch();
    // As a row it is written with two backslashes, of which the forged range leaves out the first.
    let dump = dump_with(&format!("\\{command}\n"));
    let shelf = forged(&dump, |index, dump| {
        let table = index
            .entries
            .iter_mut()
            .find(|e| &*e.kind == "TABLE")
            .unwrap();
        table.ranges = vec![range_of(dump, &format!("{command}\n"))];
        table.sha256 = sha256("");
    })
    .await;
    is_refused(
        "in_rows_that_an_index_calls_a_statement",
        &canary,
        &shelf,
        "TABLE public.t of database postgres",
    )
    .await;
}

#[tokio::test]
async fn in_rows_that_an_index_calls_a_setting() {
    let canary = Canary::new();
    let command = canary.touch();
    let dump = dump_with(&format!("\\{command}\nSET x = y;\n"));
    let shelf = forged(&dump, |index, dump| {
        let setting = index
            .entries
            .iter_mut()
            .find(|e| &*e.kind == kind::SETTING && e.database.is_some());
        let setting = setting.unwrap();
        setting.ranges = vec![range_of(dump, &format!("{command}\nSET x = y;\n"))];
        setting.sha256 = sha256("SET x = y;");
    })
    .await;
    is_refused(
        "in_rows_that_an_index_calls_a_setting",
        &canary,
        &shelf,
        "SETTING client_encoding",
    )
    .await;
}

#[tokio::test]
async fn behind_an_end_of_rows_that_an_index_calls_rows() {
    let canary = Canary::new();
    let command = canary.touch();
    let dump = dump_with("good\n");
    let dump = dump.replace(
        "\\.\n\n\n--\n-- PostgreSQL database dump",
        &format!("\\.\n\n-- {command}\n--\n-- PostgreSQL database dump"),
    );
    let shelf = forged(&dump, |index, dump| {
        let text = format!("good\n\\.\n\n-- {command}\n");
        let data = range_of(dump, &text);
        let entry = index.entries.iter_mut().find(|e| e.copy.is_some()).unwrap();
        entry.ranges[0].end = data.end;
        let copy = entry.copy.as_mut().unwrap();
        copy.data = vec![data];
        copy.rows = 4;
        copy.data_sha256 = sha256(&text);
    })
    .await;
    is_refused(
        "behind_an_end_of_rows_that_an_index_calls_rows",
        &canary,
        &shelf,
        "begins with \\.",
    )
    .await;
}

#[tokio::test]
async fn in_a_copy_line_that_is_no_copy_from_stdin() {
    let canary = Canary::new();
    let program = format!(
        "COPY public.t (a) FROM PROGRAM 'touch {}';\n",
        canary.path().display()
    );
    let dump = dump_with(&program);
    let shelf = forged(&dump, |index, dump| {
        let header = range_of(dump, &program);
        let entry = index.entries.iter_mut().find(|e| e.copy.is_some()).unwrap();
        entry.ranges = vec![ByteRange {
            start: header.start,
            end: header.end + 3,
        }];
        entry.sha256 = sha256(program.trim_end());
        let copy = entry.copy.as_mut().unwrap();
        copy.data = vec![ByteRange {
            start: header.end,
            end: header.end,
        }];
        copy.rows = 0;
        copy.data_sha256 = sha256("");
    })
    .await;
    is_refused(
        "in_a_copy_line_that_is_no_copy_from_stdin",
        &canary,
        &shelf,
        "COPY other than COPY table FROM stdin",
    )
    .await;
}

#[tokio::test]
async fn in_rows_that_a_failed_copy_leaves_behind() {
    let test = "in_rows_that_a_failed_copy_leaves_behind";
    let canary = Canary::new();
    let rows = format!(
        "good\nwith\\ttab\tbad\n{}\nDROP TABLE public.t;\n",
        canary.touch().replace('\\', "\\\\")
    );
    let shelf = Shelf::new(dump_with(&rows).into_bytes()).await;
    let Some(to) = target(test, None) else {
        return;
    };
    let mut load = shelf.load(&to, &Scope::Cluster);
    load.on_failure = OnFailure::Continue;
    let loaded = run(load).await.unwrap();
    assert_eq!(
        loaded.failures[0].object,
        "TABLE DATA public.t of database postgres"
    );
    assert!(
        loaded.failures[0]
            .message
            .contains("extra data after last expected column")
    );
    assert_eq!(to.psql("select count(*) from public.t"), "0");
    canary.assert_absent(test);
}

#[tokio::test]
async fn an_index_of_another_archive_is_refused_by_name() {
    let test = "an_index_of_another_archive_is_refused_by_name";
    let canary = Canary::new();
    let dump = dump_with("good\n");
    let shelf = forged(&dump, |index, _| {
        let entry = index.entries.iter_mut().find(|e| e.copy.is_some()).unwrap();
        entry.copy.as_mut().unwrap().rows = 2;
    })
    .await;
    is_refused(
        test,
        &canary,
        &shelf,
        "could not read TABLE DATA public.t of database postgres: its rows differ from the index",
    )
    .await;
    let shelf = forged(&dump, |index, _| {
        let entry = index
            .entries
            .iter_mut()
            .find(|e| &*e.kind == "TABLE")
            .unwrap();
        entry.sha256 = sha256("CREATE TABLE public.t (a int);");
    })
    .await;
    is_refused(
        test,
        &canary,
        &shelf,
        "could not read TABLE public.t of database postgres: its statements have another SHA-256",
    )
    .await;
}

//! The house rules that the compiler does not check: who may import whom, who may spawn, name AWS
//! types or touch files, a first line that says what a file is for, and the length of files. Read
//! from the sources, without running anything.
#![expect(
    clippy::unwrap_used,
    reason = "a helper that cannot go on ends its test"
)]

use crate::support::root;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The modules of the library from the top floor to the bottom. A file uses its own module and the
/// floors below. Modules on one floor do not use each other.
const FLOORS: &[&[&str]] = &[
    &["main"],
    &["command"],
    &["restore"],
    &["pipeline", "github", "notify"],
    &["receipt"],
    &["report"],
    &["config"],
    &["cli"],
    &["settings", "postgres"],
    &["retention", "history"],
    &["store"],
    &["lock"],
    &["manifest"],
    &["proof"],
    &["archive"],
    &["check", "process", "http"],
    &["error", "secret"],
];

/// Modules without I/O beyond `Read` and `Write`.
const PURE: &[&str] = &[
    "archive",
    "manifest",
    "proof",
    "receipt",
    "report",
    "check",
    "retention",
    "history",
    "lock",
];

/// Files above the limit of length, and why.
const LONG_FILES: &[(&str, &str)] = &[];

/// Lines of a file without its tests.
const MAX_LINES: usize = 400;

struct Source {
    /// Path below `src/`, with `/`.
    path: String,
    /// The whole text.
    text: String,
    /// The code: without comments, strings and test modules. Line numbers are not kept.
    code: String,
}

impl Source {
    /// `store` for `store/s3.rs`, `manifest` for `manifest.rs`.
    fn module(&self) -> &str {
        let first = self.path.split('/').next().unwrap();
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// `archive::index` for `archive/index.rs`, `archive` for `archive/mod.rs`.
    fn name(&self) -> String {
        let path = self.path.strip_suffix(".rs").unwrap();
        path.strip_suffix("/mod").unwrap_or(path).replace('/', "::")
    }

    /// Full paths inside the crate that the code names: `archive::index::Name`.
    fn uses(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (start, lead) in [
            ("crate::", None),
            ("backup_action::", None),
            ("super::", Some(())),
        ] {
            for (at, _) in self.code.match_indices(start) {
                let before = self.code[..at].chars().next_back().unwrap_or(' ');
                if before.is_alphanumeric() || before == '_' || before == ':' {
                    continue;
                }
                let base = match lead {
                    None => String::new(),
                    Some(()) => self.parent(),
                };
                expand(&base, &self.code[at + start.len()..], &mut found);
            }
        }
        found
    }

    fn parent(&self) -> String {
        let name = self.name();
        name.rsplit_once("::")
            .map(|(parent, _)| parent.to_owned())
            .unwrap_or_default()
    }
}

/// Reads one path or one tree of braces from the start of `text`.
fn expand(base: &str, text: &str, found: &mut BTreeSet<String>) {
    let join = |name: &str| {
        if base.is_empty() {
            name.to_owned()
        } else {
            format!("{base}::{name}")
        }
    };
    let text = text.trim_start();
    if let Some(inner) = text.strip_prefix('{') {
        let mut depth = 0;
        let mut start = 0;
        for (at, c) in inner.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => {
                    expand(base, &inner[start..at], found);
                    return;
                }
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    expand(base, &inner[start..at], found);
                    start = at + 1;
                }
                _ => {}
            }
        }
        return;
    }
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    let name = &text[..end];
    if name.is_empty() || name == "self" {
        found.insert(base.to_owned());
        return;
    }
    match text[end..].strip_prefix("::") {
        Some(rest) if !rest.starts_with('<') => expand(&join(name), rest, found),
        _ => {
            found.insert(join(name));
        }
    }
}

fn sources() -> Vec<Source> {
    let src = root().join("backup-action/src");
    let mut files = Vec::new();
    collect(&src, &src, &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.len() > 10, "the sources are where this test looks");
    files
}

fn collect(root: &Path, dir: &Path, files: &mut Vec<Source>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            files.push(Source {
                path: path
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned(),
                code: code_of(&text),
                text,
            });
        }
    }
}

/// `text` without comments, string contents and everything behind `#[cfg(test)]` on an item.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        let rest = &text[i..];
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = 2 + hashes;
            rest[open..]
                .find(&close)
                .map_or(rest.len(), |end| open + end + close.len())
        } else if rest.starts_with('"') {
            string_end(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("'\\\"'") {
            4
        } else {
            let c = rest.chars().next().unwrap();
            code.push(c);
            i += c.len_utf8();
            continue;
        };
        code.push(' ');
        i += skip;
    }
    without_tests(&code)
}

fn raw_string(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

fn string_end(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Drops each item behind `#[cfg(test)]`: to its closing brace, or to its semicolon.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        out.push_str(&rest[..at]);
        let item = &rest[at + MARK.len()..];
        let mut depth = 0;
        let end = item
            .char_indices()
            .find(|(_, c)| match c {
                '{' => {
                    depth += 1;
                    false
                }
                '}' => {
                    depth -= 1;
                    depth == 0
                }
                ';' => depth == 0,
                _ => false,
            })
            .map_or(item.len(), |(at, _)| at + 1);
        rest = &item[end..];
    }
    out.push_str(rest);
    out
}

/// Files that exist for tests only: `#[cfg(test)] mod name;` stands in their parent.
fn is_test_file(source: &Source, sources: &[Source]) -> bool {
    let name = source.name();
    let (parent, own) = name.rsplit_once("::").unwrap_or(("lib", &name));
    sources
        .iter()
        .filter(|other| other.name() == parent)
        .any(|other| {
            let declared = |text: &str| text.contains(&format!("mod {own};"));
            declared(&other.text) && !declared(&other.code)
        })
}

fn shipped() -> Vec<Source> {
    let all = sources();
    let test_only: BTreeSet<String> = all
        .iter()
        .filter(|source| is_test_file(source, &all))
        .map(|source| source.path.clone())
        .collect();
    all.into_iter()
        .filter(|source| !test_only.contains(&source.path))
        .collect()
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

fn none(found: Vec<String>) {
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn a_file_uses_only_floors_below_its_own() {
    let mut wrong = Vec::new();
    for source in shipped() {
        let module = source.module();
        if module == "lib" {
            continue;
        }
        let Some(own) = floor(module) else {
            wrong.push(format!(
                "{}: give module {module} a floor in FLOORS",
                source.path
            ));
            continue;
        };
        for used in source.uses() {
            let other = used.split("::").next().unwrap();
            if other == module || other.is_empty() {
                continue;
            }
            match floor(other) {
                Some(floor) if floor > own => {}
                Some(_) => wrong.push(format!(
                    "{} uses {used}, which is not below it",
                    source.path
                )),
                None => wrong.push(format!(
                    "{} uses {used} through the root; name the module that defines it",
                    source.path
                )),
            }
        }
    }
    none(wrong);
}

#[test]
fn files_form_no_circle() {
    let sources = shipped();
    let names: BTreeSet<String> = sources.iter().map(Source::name).collect();
    let graph: BTreeMap<String, BTreeSet<String>> = sources
        .iter()
        .filter(|source| source.name() != "lib")
        .map(|source| {
            let own = source.name();
            let targets = source
                .uses()
                .into_iter()
                .filter_map(|used| file_of(&used, &names))
                .filter(|target| *target != own)
                .collect();
            (own, targets)
        })
        .collect();
    for start in graph.keys() {
        let mut seen = BTreeSet::new();
        let mut todo: Vec<(&String, Vec<&String>)> = vec![(start, vec![start])];
        while let Some((at, path)) = todo.pop() {
            for next in graph.get(at).into_iter().flatten() {
                assert!(next != start, "circle: {path:?} and back to {start}");
                if seen.insert(next) {
                    let mut path = path.clone();
                    path.push(next);
                    todo.push((next, path));
                }
            }
        }
    }
}

/// The file that defines `used`: the longest prefix that is one.
fn file_of(used: &str, names: &BTreeSet<String>) -> Option<String> {
    let mut path = used;
    loop {
        if names.contains(path) {
            return Some(path.to_owned());
        }
        path = path.rsplit_once("::")?.0;
    }
}

#[test]
fn pure_modules_do_no_io() {
    let mut wrong = Vec::new();
    for source in shipped() {
        if !PURE.contains(&source.module()) {
            continue;
        }
        for word in [
            "std::fs",
            "std::net",
            "std::process",
            "std::env",
            "tokio",
            "aws_",
            "rustix",
            "Timestamp::now",
            "SystemTime::now",
            "Instant::now",
            "stdout()",
            "stderr()",
        ] {
            if source.code.contains(word) {
                wrong.push(format!("{} names {word}", source.path));
            }
        }
    }
    none(wrong);
}

#[test]
fn report_and_archive_never_see_what_they_describe() {
    let mut wrong = Vec::new();
    for source in shipped() {
        if !["report", "archive"].contains(&source.module()) {
            continue;
        }
        for used in source.uses() {
            let module = used.split("::").next().unwrap();
            if [
                "github", "store", "postgres", "pipeline", "command", "process",
            ]
            .contains(&module)
            {
                wrong.push(format!("{} uses {used}", source.path));
            }
        }
    }
    none(wrong);
}

#[test]
fn only_one_place_spawns_names_aws_or_decides_the_exit_code() {
    let rules: &[(&str, &[&str], &[&str])] = &[
        // The constructor itself is guarded by clippy's disallowed-methods.
        ("std::process::Command", &["process"], &[]),
        ("tokio::process", &["process"], &[]),
        ("aws_", &["store"], &[]),
        ("ExitCode", &["main"], &[]),
        ("process::exit", &[], &[]),
        ("use crate::command", &["main", "cli", "command"], &[]),
    ];
    let mut wrong = Vec::new();
    for source in shipped() {
        for (word, allowed, except) in rules {
            let mut code = source.code.clone();
            for exception in *except {
                code = code.replace(exception, "");
            }
            if code.contains(word) && !allowed.contains(&source.module()) {
                wrong.push(format!("{} names {word}", source.path));
            }
        }
    }
    none(wrong);
}

#[test]
fn a_file_opens_with_what_lives_there() {
    let mut wrong = Vec::new();
    for source in sources() {
        // The skeleton of a file that somebody is still writing.
        if source.text == "fn main() {}\n" || source.text == "//! placeholder\n" {
            continue;
        }
        let first = source.text.lines().next().unwrap_or_default();
        if !first.starts_with("//! ") {
            wrong.push(format!("{} opens with {first:?}", source.path));
        }
    }
    none(wrong);
}

#[test]
fn a_file_is_short_or_says_why_not() {
    let mut wrong = Vec::new();
    for source in shipped() {
        let code = match source.text.find("\n#[cfg(test)]\nmod tests {") {
            Some(at) => &source.text[..at],
            None => &source.text,
        };
        let lines = code.lines().count();
        let reason = LONG_FILES.iter().find(|(path, _)| *path == source.path);
        match reason {
            None if lines > MAX_LINES => wrong.push(format!(
                "{} has {lines} lines: split it, or give a reason in LONG_FILES",
                source.path
            )),
            Some((path, _)) if lines <= MAX_LINES => {
                wrong.push(format!("{path} is short now: take it out of LONG_FILES"));
            }
            Some((path, reason)) if reason.len() < 20 => {
                wrong.push(format!("{path} has no reason"));
            }
            None | Some(_) => {}
        }
    }
    none(wrong);
}

#[test]
fn the_reader_of_sources_sees_what_matters() {
    let text = r##"
        use crate::{archive::{index::Name, scan}, check}; // crate::comment::x
        use super::escape::{self, shorten};
        fn a() { let s = "crate::string::x"; crate::store::open::<u8>(r#"crate::raw::"x"#, '"'); }
        #[cfg(test)]
        mod tests { use crate::github::x; fn b() { {} } }
        fn c() -> crate::manifest::Manifest {}
    "##;
    let source = Source {
        path: "report/text.rs".to_owned(),
        text: text.to_owned(),
        code: code_of(text),
    };
    let uses: Vec<String> = source.uses().into_iter().collect();
    assert_eq!(
        uses,
        [
            "archive::index::Name",
            "archive::scan",
            "check",
            "manifest::Manifest",
            "report::escape",
            "report::escape::shorten",
            "store::open",
        ]
    );
}

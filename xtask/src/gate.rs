//! Building the binary and starting its gate: what the demo and the benchmark share.

use crate::cluster::Cluster;
use crate::{paths, proc};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Cargo's profiles that the tasks use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build; the parts that do the work are optimised in it too.
    Dev,
    /// What is shipped.
    Release,
}

/// The given program, or `backup-action` freshly built with `profile`.
pub(crate) fn program(given: Option<&Path>, profile: Profile) -> Result<PathBuf> {
    match given {
        Some(program) => program
            .canonicalize()
            .with_context(|| format!("could not find {}", program.display())),
        None => build(profile),
    }
}

/// Builds `backup-action` and returns the path of the program.
pub(crate) fn build(profile: Profile) -> Result<PathBuf> {
    let mut cargo = proc::inheriting("cargo");
    cargo
        .args(["build", "--locked", "--package", "backup-action"])
        .current_dir(paths::root());
    let dir = match profile {
        Profile::Dev => "debug",
        Profile::Release => {
            cargo.arg("--release");
            "release"
        }
    };
    proc::run(&mut cargo).context("could not build backup-action")?;
    Ok(paths::target()?.join(dir).join("backup-action"))
}

/// `backup-action gate` of `cluster` into `store`. The URL with the password travels by
/// environment, as it should.
pub(crate) fn command(program: &Path, cluster: &Cluster, store: &Path) -> Command {
    let mut gate = proc::command(program);
    gate.arg("gate")
        .arg("--local")
        .arg(store)
        .env("DATABASE_URL", cluster.url());
    gate
}

/// The manifests in a store, oldest first: each is a backup.
pub(crate) fn manifests(store: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    walk(store, &mut |file| {
        if file.to_string_lossy().ends_with(".manifest.json") {
            found.push(file.to_path_buf());
        }
    })?;
    found.sort();
    Ok(found)
}

/// The archive that a manifest stands for.
pub(crate) fn archive(manifest: &Path) -> PathBuf {
    let name = manifest.to_string_lossy();
    let stem = name.strip_suffix(".manifest.json").unwrap_or(&name);
    PathBuf::from(format!("{stem}.sql.gz"))
}

/// Calls `visit` with every file below `dir`; a directory that does not exist has none.
pub(crate) fn walk(dir: &Path, visit: &mut impl FnMut(&Path)) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let entries =
        std::fs::read_dir(dir).with_context(|| format!("could not list {}", dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, visit)?;
        } else {
            visit(&path);
        }
    }
    Ok(())
}

//! Where things are: the checkout, cargo's target directory, the private directory `.xtask`.
//! Only names; nothing here creates or deletes.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// What the tasks keep between runs. Ignored by git, safe to delete.
pub(crate) fn private() -> PathBuf {
    root().join(".xtask")
}

/// The directory of a tool's program in the private virtual environment.
pub(crate) fn venv_bin() -> PathBuf {
    private().join("venv/bin")
}

/// Cargo's target directory: this program lies in `<target>/<profile>/`.
pub(crate) fn target() -> Result<PathBuf> {
    let exe = std::env::current_exe().context("could not find the path of xtask itself")?;
    exe.ancestors()
        .nth(2)
        .map(Path::to_path_buf)
        .context("xtask is not in a target directory; start it with `cargo xtask`")
}

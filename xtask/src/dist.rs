//! `cargo xtask dist`: the program as it is released: static on Linux, stripped, the same bytes on
//! every machine, with its list of dependencies (CycloneDX) and checksums, in `dist/`.
//!
//! Linux programs are made with zig as C compiler and linker, at one version, because the hosts'
//! own would each make other bytes. Where Rust's musl target cannot be had, name a GNU target:
//! the program is then linked for glibc 2.17.

use crate::{elf, paths, proc, table};
use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// What to build.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The target; without it this machine's, static on Linux
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// Build a second time, from a copy in another directory, and compare
    #[arg(long)]
    reproduce: bool,
}

/// The oldest GNU C library that a program for a GNU target runs with: Rust's own oldest.
const OLDEST_GLIBC: (u32, u32) = (2, 17);
const LARGEST_BYTES: usize = 20_000_000;
/// Writes the list of dependencies.
const CYCLONEDX: &str = "0.5.9";

/// Builds, checks and describes the program.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let target = match &args.target {
        Some(target) => target.clone(),
        None => host()?,
    };
    let version = version()?;
    add_target(&target)?;
    let start = Instant::now();
    let built = compile(
        &paths::root(),
        &target,
        &paths::private().join("dist/target"),
    )?;
    let bytes = fs::read(&built).with_context(|| format!("could not read {}", built.display()))?;
    println!("built in {}", table::seconds(start.elapsed()));
    println!("{}", inspect(&bytes, &target, &forbidden()?)?);
    smoke(&built, &target)?;
    if args.reproduce {
        reproduce(&bytes, &target)?;
    }
    let dist = dir();
    fs::create_dir_all(&dist).with_context(|| format!("could not make {}", dist.display()))?;
    let name = program_name(&version, &target);
    fs::copy(&built, dist.join(&name)).context("could not copy the program to dist/")?;
    let list = dependencies(&target)?;
    fs::write(dist.join(format!("{name}.cdx.json")), list)
        .context("could not write the list of dependencies")?;
    let sums = sums(&files()?);
    fs::write(dist.join("SHA256SUMS"), &sums).context("could not write SHA256SUMS")?;
    print!("dist/SHA256SUMS:\n{sums}");
    Ok(ExitCode::SUCCESS)
}

fn dir() -> PathBuf {
    paths::root().join("dist")
}

/// The name of a released program.
pub(crate) fn program_name(version: &str, target: &str) -> String {
    format!("backup-action-{version}-{target}")
}

/// The version of the workspace.
pub(crate) fn version() -> Result<String> {
    let text = fs::read_to_string(paths::root().join("Cargo.toml"))
        .context("could not read Cargo.toml")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("version = \""));
    let version = line.and_then(|rest| rest.strip_suffix('"'));
    Ok(version.context("Cargo.toml names no version")?.to_owned())
}

/// SHA-256 of the programs in dist/, by name.
pub(crate) fn built() -> Result<BTreeMap<String, String>> {
    let mut built = files()?;
    built.retain(|name, _| !name.ends_with(".json"));
    Ok(built)
}

/// SHA-256 of all that a release has in dist/, but for the checksums themselves.
fn files() -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    crate::gate::walk(&dir(), &mut |path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name != "SHA256SUMS" {
            files.insert(name.into_owned(), path.to_path_buf());
        }
    })?;
    files
        .into_iter()
        .map(|(name, path)| {
            let bytes =
                fs::read(&path).with_context(|| format!("could not read {}", path.display()))?;
            Ok((name, sha256(&bytes)))
        })
        .collect()
}

/// As `sha256sum --check` reads it.
fn sums(files: &BTreeMap<String, String>) -> String {
    files
        .iter()
        .map(|(name, sha256)| format!("{sha256}  {name}\n"))
        .collect()
}

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The released target of this machine.
fn host() -> Result<String> {
    let text = proc::read(
        proc::inheriting("rustc")
            .arg("-vV")
            .current_dir(paths::root()),
    )?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc names no host")?;
    Ok(host.replace("-linux-gnu", "-linux-musl"))
}

fn add_target(target: &str) -> Result<()> {
    proc::run(
        proc::inheriting("rustup")
            .args(["target", "add", target])
            .current_dir(paths::root()),
    )
    .with_context(|| {
        let arch = target.split('-').next().unwrap_or_default();
        format!(
            "could not get Rust's library for {target}; `cargo xtask dist --target {arch}-unknown-linux-gnu` needs none, and makes a program for glibc 2.17"
        )
    })
}

/// Builds the checkout at `root`; the program holds no path of this machine.
fn compile(root: &Path, target: &str, into: &Path) -> Result<PathBuf> {
    let cargo_home = cargo_home()?;
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    // The last that fits counts.
    let flags = [
        remap(&cargo_home, "/cargo"),
        remap(root, "/build"),
        remap(into, "/target"),
    ];
    let epoch = proc::read(
        proc::inheriting("git")
            .args(["log", "-1", "--format=%ct"])
            .current_dir(paths::root()),
    )?;
    let mut command = proc::inheriting("cargo");
    let linux = target.contains("-linux-");
    let glibc = format!("{target}.{}.{}", OLDEST_GLIBC.0, OLDEST_GLIBC.1);
    let wanted = if target.ends_with("-linux-gnu") {
        &glibc
    } else {
        target
    };
    if linux {
        let bin = compilers()?.join("bin");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs = std::iter::once(bin.clone()).chain(std::env::split_paths(&path));
        command
            .env(
                "PATH",
                std::env::join_paths(dirs).context("PATH cannot be extended")?,
            )
            .env("CARGO_ZIGBUILD_PYTHON_PATH", bin.join("python3"))
            .arg("zigbuild");
    } else {
        command.arg("build");
    }
    command
        .args([
            "--release",
            "--locked",
            "--package",
            "backup-action",
            "--target",
            wanted,
        ])
        .arg("--target-dir")
        .arg(into)
        .current_dir(root)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env("SOURCE_DATE_EPOCH", epoch.trim());
    proc::run(&mut command)?;
    Ok(into.join(target).join("release/backup-action"))
}

/// The virtual environment with zig, apart from that of the tests, which need none.
fn compilers() -> Result<PathBuf> {
    let dir = paths::private().join("dist/venv");
    let list = paths::root().join("xtask/dist-requirements.txt");
    let wanted = fs::read_to_string(&list).context("could not read dist-requirements.txt")?;
    let stamp = dir.join(".requirements");
    if fs::read_to_string(&stamp).is_ok_and(|done| done == wanted) {
        return Ok(dir);
    }
    proc::run(proc::inheriting("python3").args(["-m", "venv"]).arg(&dir))?;
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
    ];
    proc::run(
        proc::inheriting(dir.join("bin/python"))
            .args(pip)
            .arg("--requirement")
            .arg(&list),
    )?;
    fs::write(&stamp, wanted).context("could not note what was installed")?;
    Ok(dir)
}

fn cargo_home() -> Result<PathBuf> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(PathBuf::from(home));
    }
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    Ok(PathBuf::from(home).join(".cargo"))
}

/// What must not be in a program: the directories of this machine.
fn forbidden() -> Result<Vec<String>> {
    Ok([paths::root(), cargo_home()?]
        .iter()
        .map(|path| path.display().to_string())
        .collect())
}

/// Says what a program is, or why it cannot be released.
fn inspect(bytes: &[u8], target: &str, forbidden: &[String]) -> Result<String> {
    let size = bytes.len();
    ensure!(
        size <= LARGEST_BYTES,
        "the program has {size} bytes; {LARGEST_BYTES} are allowed"
    );
    for path in forbidden {
        let found = bytes
            .windows(path.len())
            .any(|window| window == path.as_bytes());
        ensure!(
            !found,
            "the program holds the path {path}, so that it differs from machine to machine"
        );
    }
    let mut text = format!("{target}: {size} bytes, SHA-256 {}", sha256(bytes));
    if target.contains("-linux-") {
        let needs = elf::needs(bytes)?;
        if needs.is_static() {
            text += ", static";
        } else {
            ensure!(
                !target.ends_with("-musl"),
                "the program is not static: {needs:?}"
            );
            let newest = needs.glibc.context("a program for glibc that needs none")?;
            ensure!(
                newest <= OLDEST_GLIBC,
                "the program needs GLIBC_{}.{}; {}.{} is allowed",
                newest.0,
                newest.1,
                OLDEST_GLIBC.0,
                OLDEST_GLIBC.1
            );
            text += &format!(
                ", newest symbol GLIBC_{}.{}, libraries: {}",
                newest.0,
                newest.1,
                needs.libraries.join(" ")
            );
        }
    }
    Ok(text)
}

/// Starts the program, where this machine can: it says its version, and that of a command its help.
fn smoke(program: &Path, target: &str) -> Result<()> {
    if !target.starts_with(std::env::consts::ARCH) || !target.contains(std::env::consts::OS) {
        println!("not started: this machine cannot run programs for {target}");
        return Ok(());
    }
    let version = proc::read(proc::command(program).arg("--version"))?;
    ensure!(
        version.contains(&self::version()?),
        "--version says {version}"
    );
    let help = proc::read(proc::command(program).args(["gate", "--help"]))?;
    ensure!(help.contains("--database-url"), "gate --help does not help");
    print!("started: {version}");
    Ok(())
}

/// Builds a copy of the tracked files in another directory, and compares.
fn reproduce(first: &[u8], target: &str) -> Result<()> {
    let copy = paths::private().join("dist/another directory/of another length");
    let tracked = proc::read(
        proc::inheriting("git")
            .args(["ls-files", "-z"])
            .current_dir(paths::root()),
    )?;
    for name in tracked.split('\0').filter(|name| !name.is_empty()) {
        let to = copy.join(name);
        let dir = to.parent().context("a file without a directory")?;
        fs::create_dir_all(dir).with_context(|| format!("could not make {}", dir.display()))?;
        fs::copy(paths::root().join(name), &to)
            .with_context(|| format!("could not copy {name}"))?;
    }
    let built = compile(&copy, target, &copy.join("target"))?;
    let second = fs::read(&built).with_context(|| format!("could not read {}", built.display()))?;
    println!("first  {}\nsecond {}", sha256(first), sha256(&second));
    if second != first {
        bail!(
            "the second build is not the first; look at {}",
            built.display()
        );
    }
    println!("reproducible: two builds in two directories are equal");
    fs::remove_dir_all(&copy).context("could not remove the second build")
}

/// The list of dependencies of the program, as CycloneDX.
fn dependencies(target: &str) -> Result<String> {
    let tools = paths::private().join("dist/cargo");
    let program = tools.join("bin/cargo-cyclonedx");
    let is_right = proc::read(proc::inheriting(&program).args(["cyclonedx", "--version"]))
        .is_ok_and(|text| text.contains(CYCLONEDX));
    if !is_right {
        proc::run(
            proc::inheriting("cargo")
                .args([
                    "install",
                    "--locked",
                    "--force",
                    "--version",
                    CYCLONEDX,
                    "cargo-cyclonedx",
                    "--root",
                ])
                .arg(&tools),
        )?;
    }
    // It writes beside each Cargo.toml.
    let name = "dist-sbom";
    proc::run(
        proc::inheriting(&program)
            .args([
                "cyclonedx",
                "--format",
                "json",
                "--spec-version",
                "1.5",
                "--target",
                target,
            ])
            .args(["--override-filename", name, "--quiet"])
            .env("SOURCE_DATE_EPOCH", "0")
            .current_dir(paths::root()),
    )?;
    let read = paths::root().join(format!("backup-action/{name}.json"));
    let text = fs::read_to_string(&read).context("cargo-cyclonedx wrote nothing")?;
    for package in ["backup-action", "xtask"] {
        fs::remove_file(paths::root().join(package).join(format!("{name}.json")))
            .with_context(|| format!("could not remove {name}.json of {package}"))?;
    }
    Ok(text.replace(&paths::root().display().to_string(), "/build"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_sha256sum() {
        let files = BTreeMap::from([
            ("b".to_owned(), sha256(b"abc")),
            ("a".to_owned(), sha256(b"")),
        ]);
        assert_eq!(
            sums(&files),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a\n\
             ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  b\n"
        );
    }

    #[test]
    fn a_program_that_is_large_foreign_or_bound_to_a_machine_is_refused() {
        let refused = |bytes: &[u8], target: &str, forbidden: &[&str]| {
            let forbidden: Vec<String> = forbidden.iter().map(|f| (*f).to_owned()).collect();
            format!("{:#}", inspect(bytes, target, &forbidden).unwrap_err())
        };
        let apple = "x86_64-apple-darwin";
        assert!(refused(&vec![0; LARGEST_BYTES + 1], apple, &[]).contains("bytes"));
        assert!(refused(b"in /home/me/x.rs", apple, &["/home/me"]).contains("/home/me"));
        assert!(refused(b"MZ", "x86_64-unknown-linux-musl", &[]).contains("ELF"));
        assert!(inspect(b"a Mach-O", apple, &["/home/me".to_owned()]).is_ok());
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn a_dynamic_program_is_not_released_as_a_static_one() {
        let sh = ["/bin/true", "/usr/bin/true"].map(fs::read);
        let bytes = sh.into_iter().find_map(Result::ok).unwrap();
        let error = inspect(&bytes, "x86_64-unknown-linux-musl", &[]).unwrap_err();
        assert!(error.to_string().contains("not static"), "{error}");
    }

    #[test]
    fn the_compilers_have_one_version() {
        let text = fs::read_to_string(paths::root().join("xtask/dist-requirements.txt")).unwrap();
        let packages: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(packages.len(), 2);
        assert!(
            packages
                .iter()
                .all(|package| package.split("==").count() == 2),
            "{packages:?}"
        );
    }
}

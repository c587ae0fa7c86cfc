//! `cargo xtask image`: an image with a real PostgreSQL server where no registry can be reached,
//! made in seconds from what is installed on this machine: the server's directories, the
//! libraries that they are linked to, a shell with a few programs, locales and time zones.
//!
//! It has a name of its own, so that it never stands in for `postgres:MAJOR`.

use crate::{paths, proc, tools};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::Instant;

/// The name of the images; the tag is the major version.
const NAME: &str = "backup-action-test/postgres";

/// The major of the second image: one that the machine has no system package of, so that a test can
/// see the client come out of a container.
const OTHER_MAJOR: u32 = 17;

/// What the scripts of a drill, and a person who looks around, need.
const PROGRAMS: &[&str] = &[
    "cat", "chmod", "chown", "cp", "date", "df", "env", "false", "grep", "head", "id", "ls",
    "mkdir", "mv", "rm", "sed", "setpriv", "sh", "sleep", "sort", "stat", "tail", "touch", "true",
    "wc",
];

/// Directories and files that are copied when they are there.
const DATA: &[&str] = &[
    "/usr/lib/locale/C.utf8",
    "/usr/lib/locale/locale-archive",
    "/usr/share/i18n/charmaps",
    "/usr/share/zoneinfo",
];

/// Its compiled bitcode would pull in a compiler of 100 MB.
const LEFT_OUT: &[&str] = &["bitcode", "llvmjit.so", "pgxs", "include", "man", "doc"];

/// Which image.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Major version of the server; none for the newest of the system's packages
    #[arg(long)]
    major: Option<u32>,
    /// Another name than backup-action-test/postgres:MAJOR
    #[arg(long)]
    tag: Option<String>,
}

/// Makes the image, also when there is one.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let (major, bin) = match args.major {
        Some(major) => (
            major,
            tools::postgres_of(major).with_context(|| {
                format!(
                    "no server of PostgreSQL {major} on this machine; `cargo xtask setup` says why"
                )
            })?,
        ),
        None => default_server()?,
    };
    let tag = args
        .tag
        .clone()
        .unwrap_or_else(|| format!("{NAME}:{major}"));
    make(major, &bin, &tag)?;
    Ok(ExitCode::SUCCESS)
}

/// Makes the images of the tests that Docker does not have yet: the default one, and one of a major
/// version that the machine has no system package of.
pub(crate) fn make_when_missing() -> Result<()> {
    let docker = docker()?;
    let (major, bin) = default_server()?;
    make_unless_there(&docker, major, &bin)?;
    match tools::postgres_of(OTHER_MAJOR) {
        Some(bin) if OTHER_MAJOR != major => make_unless_there(&docker, OTHER_MAJOR, &bin),
        Some(_) | None => Ok(()),
    }
}

fn make_unless_there(docker: &Path, major: u32, bin: &Path) -> Result<()> {
    let tag = format!("{NAME}:{major}");
    let there = proc::command(docker)
        .args(["image", "inspect", &tag])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("could not start docker")?;
    if there.success() {
        return Ok(());
    }
    make(major, bin, &tag)
}

/// The newest server of the system's packages.
fn default_server() -> Result<(u32, PathBuf)> {
    let bin = tools::system_postgres().context("no server of PostgreSQL on this machine")?;
    let version = proc::read(proc::command(bin.join("postgres")).arg("--version"))?;
    let major = version
        .split_once("(PostgreSQL) ")
        .and_then(|(_, rest)| {
            rest.split(|c: char| !c.is_ascii_digit())
                .next()?
                .parse()
                .ok()
        })
        .with_context(|| format!("cannot read the version in \"{}\"", version.trim()))?;
    Ok((major, bin))
}

/// docker's command line with an engine that answers.
fn docker() -> Result<PathBuf> {
    let docker = tools::find("docker").context("docker is not installed")?;
    // `docker info` ends with status 0 also without a server.
    proc::read(proc::command(&docker).args(["version", "--format", "{{.Server.Version}}"]))
        .context("no Docker engine answers")?;
    Ok(docker)
}

fn make(major: u32, bin: &Path, tag: &str) -> Result<()> {
    let begun = Instant::now();
    let docker = docker()?;
    let stage = paths::target()?.join(format!("xtask-image-{}", std::process::id()));
    let made = fill(&stage, major, bin).and_then(|()| import(&stage, &docker, tag));
    if stage.exists() {
        fs::remove_dir_all(&stage)?;
    }
    made?;
    println!("made image {tag} in {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Lays the root file system out.
fn fill(stage: &Path, major: u32, bin: &Path) -> Result<()> {
    for dir in [
        "usr/bin",
        "usr/sbin",
        "usr/lib",
        "usr/lib64",
        "etc",
        "proc",
        "sys",
        "dev",
        "run",
    ] {
        fs::create_dir_all(stage.join(dir))?;
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), stage.join(name))?;
    }
    for dir in ["tmp", "var/lib/postgresql/data"] {
        fs::create_dir_all(stage.join(dir))?;
        fs::set_permissions(stage.join(dir), fs::Permissions::from_mode(0o1777))?;
    }
    fs::write(stage.join("etc/passwd"), PASSWD)?;
    fs::write(stage.join("etc/group"), GROUP)?;
    fs::write(
        stage.join("etc/nsswitch.conf"),
        "passwd: files\ngroup: files\nhosts: files\n",
    )?;
    let server = bin
        .parent()
        .context("the server's programs are in no directory")?;
    let inside = PathBuf::from(format!("/usr/lib/postgresql/{major}"));
    copy_tree(server, &below(stage, &inside))?;
    let share = PathBuf::from(format!("/usr/share/postgresql/{major}"));
    for dir in DATA.iter().map(PathBuf::from).chain([share]) {
        if dir.exists() {
            copy_tree(&dir, &below(stage, &dir))?;
        }
    }
    let mut linked = vec![];
    objects(server, &mut linked)?;
    for name in PROGRAMS {
        let program = tools::find(name).with_context(|| format!("could not find {name}"))?;
        copy_file(&program, &stage.join("usr/bin").join(name))?;
        linked.push(program);
    }
    for library in libraries(&linked)? {
        // Those of a wheel came with its directory, and are found there.
        if !library.starts_with(server) {
            copy_file(&library, &below(stage, &library))?;
        }
    }
    Ok(())
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    postgres:x:999:999::/var/lib/postgresql:/bin/sh\n\
    nobody:x:65534:65534:nobody:/nonexistent:/bin/sh\n";
const GROUP: &str = "root:x:0:\npostgres:x:999:\nnogroup:x:65534:\n";

fn below(stage: &Path, path: &Path) -> PathBuf {
    stage.join(path.strip_prefix("/").unwrap_or(path))
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    let copied = match to.parent() {
        Some(dir) => fs::create_dir_all(dir).and_then(|()| fs::copy(from, to)),
        None => fs::copy(from, to),
    };
    copied.with_context(|| format!("could not copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// Copies a directory, or one file; links stay links.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let kind = fs::symlink_metadata(from)?.file_type();
    if kind.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(from)?, to)?;
    } else if kind.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            if !LEFT_OUT.iter().any(|left_out| name == *left_out) {
                copy_tree(&from.join(&name), &to.join(&name))?;
            }
        }
    } else {
        copy_file(from, to)?;
    }
    Ok(())
}

/// The programs and shared objects of a server, which libraries are needed for.
fn objects(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        if LEFT_OUT.iter().any(|left_out| name == *left_out) {
            continue;
        }
        if path.is_dir() {
            objects(&path, found)?;
        } else if path.parent().is_some_and(|dir| dir.ends_with("bin"))
            || path.extension() == Some(OsStr::new("so"))
        {
            found.push(path);
        }
    }
    Ok(())
}

/// What `ldd` says that `objects` are linked to, directly or through others, and the loader.
fn libraries(objects: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    ensure!(!objects.is_empty(), "the server has no programs");
    let output = proc::command("ldd")
        .args(objects)
        .env("LC_ALL", "C")
        .output()
        .context("could not start ldd")?;
    // Its status is 1 when one of the files is a script.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let paths: BTreeSet<PathBuf> = text
        .lines()
        .filter(|line| line.starts_with('\t'))
        .filter_map(|line| {
            let path = line.rsplit_once(" => ").map_or(line, |(_, path)| path);
            let path = path.trim().split(" (").next()?;
            path.starts_with('/').then(|| PathBuf::from(path))
        })
        .collect();
    if paths.is_empty() {
        bail!(
            "ldd named no library: {}",
            proc::tail(&String::from_utf8_lossy(&output.stderr))
        );
    }
    Ok(paths)
}

/// Packs it, the same bytes for the same files, and hands it to Docker.
fn import(stage: &Path, docker: &Path, tag: &str) -> Result<()> {
    let mut tar = proc::command("tar");
    tar.args([
        "--sort=name",
        "--mtime=@0",
        "--owner=0",
        "--group=0",
        "--numeric-owner",
    ])
    .arg("-C")
    .arg(stage)
    .args(["-c", "."])
    .stdout(Stdio::piped());
    let mut tar = tar.spawn().context("could not start tar")?;
    let stdout = tar.stdout.take().context("tar has no standard output")?;
    let changes = [
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        // As in the official image: the data lies in a volume.
        "VOLUME /var/lib/postgresql/data",
        "LABEL org.backup-action.image=test",
    ];
    let imported = proc::run(
        proc::command(docker)
            .arg("import")
            .args(changes.iter().flat_map(|change| ["--change", *change]))
            .args(["-", tag])
            .stdin(stdout)
            .stdout(Stdio::null()),
    );
    let packed = tar.wait().context("could not wait for tar")?;
    imported?;
    ensure!(packed.success(), "tar failed ({packed})");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_what_ldd_says() {
        let shell = tools::find("sh").unwrap();
        let found = libraries(&[shell]).unwrap();
        let has = |part: &str| {
            found
                .iter()
                .any(|path| path.to_string_lossy().contains(part))
        };
        assert!(has("libc.so"), "{found:?}");
        assert!(has("ld-linux") || has("ld64"), "{found:?}");
    }
}

//! Finding or installing what the tasks need. Every step looks first and is quick when nothing is
//! to do. What could not be installed is remembered with the reason and shown; the tasks decide
//! whether they can go on without it.

use crate::{image, paths, table, tools};
use anyhow::{Context, Result, bail};
use std::process::ExitCode;
use xshell::{Shell, cmd};

const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// What is not there, and why.
pub(crate) struct Missing {
    /// A package, or a group of them.
    pub(crate) what: String,
    /// The reason, in one line.
    pub(crate) why: String,
}

/// Does every step. An `Err` is a defect of this machine that no task can work around.
pub(crate) fn run() -> Result<Vec<Missing>> {
    let sh = Shell::new()?;
    let mut missing = Vec::new();
    for (what, step) in [
        ("git", git as fn(&Shell) -> Result<()>),
        ("PostgreSQL server", postgres),
        ("python3 venv", python),
        ("chromium", chromium),
        ("OpenSSH server and sudo", sshd),
        ("zsh, fish, groff and systemd", readers),
    ] {
        if let Err(error) = step(&sh) {
            missing.push(Missing {
                what: what.to_owned(),
                why: format!("{error:#}"),
            });
        }
    }
    match venv(&sh) {
        Ok(packages) => missing.extend(packages),
        Err(error) => missing.push(Missing {
            what: "the tools of xtask/requirements.txt".to_owned(),
            why: format!("{error:#}"),
        }),
    }
    // From the server that was found or installed above.
    if let Err(error) = image::make_when_missing() {
        missing.push(Missing {
            what: "the image of a PostgreSQL server".to_owned(),
            why: format!("{error:#}"),
        });
    }
    Ok(missing)
}

/// `cargo xtask setup`.
pub(crate) fn show() -> Result<ExitCode> {
    let missing = run()?;
    print_missing(&missing);
    if missing.is_empty() {
        println!("set-up is complete");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// The table of what is missing; nothing when nothing is.
pub(crate) fn print_missing(missing: &[Missing]) {
    if missing.is_empty() {
        return;
    }
    let rows: Vec<_> = missing
        .iter()
        .map(|m| vec![m.what.clone(), m.why.replace('\n', " ")])
        .collect();
    println!("\nCould not be installed:");
    print!("{}", table::render(&["what", "why"], &rows));
}

fn git(sh: &Shell) -> Result<()> {
    match tools::find("git") {
        Some(_) => Ok(()),
        None => install(sh, &["git"]),
    }
}

fn postgres(sh: &Shell) -> Result<()> {
    if tools::system_postgres().is_some() {
        return Ok(());
    }
    // Debian's package would create and start a cluster of its own: not what a test machine wants.
    let dir = "/etc/postgresql-common/createcluster.d";
    let drop_in = "/etc/postgresql-common/createcluster.d/backup-action-xtask.conf";
    let write = format!("mkdir -p {dir} && echo create_main_cluster = false > {drop_in}");
    let privilege = privilege(sh)?;
    as_root(sh, privilege, &["sh", "-c", &write])?;
    let installed = install(sh, &["postgresql", "postgresql-client"]);
    as_root(sh, privilege, &["rm", "-f", drop_in])?;
    installed?;
    if tools::system_postgres().is_none() {
        bail!(
            "the package postgresql is installed, but there is no server under /usr/lib/postgresql"
        );
    }
    Ok(())
}

fn python(sh: &Shell) -> Result<()> {
    if has_venv(sh) {
        return Ok(());
    }
    install(sh, &["python3", "python3-venv"])
}

/// The browser that the tests of the HTML report look with, and a font for it to draw.
fn chromium(sh: &Shell) -> Result<()> {
    match tools::find("chromium") {
        Some(_) => Ok(()),
        None => install(sh, &["chromium", "fonts-dejavu-core"]),
    }
}

/// The server that the tests of SSH start for themselves. Debian's package would start one as well.
fn sshd(sh: &Shell) -> Result<()> {
    let there = |name: &str| std::path::Path::new(name).is_file();
    if there("/usr/sbin/sshd") && tools::find("sudo").is_some() {
        return Ok(());
    }
    let policy = "/usr/sbin/policy-rc.d";
    let privilege = privilege(sh)?;
    let ours = !there(policy);
    if ours {
        let write = format!(
            "echo 'exit 101' > {policy} && chmod +x {policy} && sed -i '1i #!/bin/sh' {policy}"
        );
        as_root(sh, privilege, &["sh", "-c", &write])?;
    }
    let installed = install(sh, &["openssh-server", "openssh-client", "sudo"]);
    if ours {
        as_root(sh, privilege, &["rm", "-f", policy])?;
    }
    installed
}

fn has_venv(sh: &Shell) -> bool {
    cmd!(sh, "python3 -c 'import venv, ensurepip'")
        .quiet()
        .ignore_stderr()
        .run()
        .is_ok()
}

#[derive(Clone, Copy)]
enum Privilege {
    Root,
    Sudo,
}

fn privilege(sh: &Shell) -> Result<Privilege> {
    if tools::is_root() {
        return Ok(Privilege::Root);
    }
    let sudo = tools::find("sudo").is_some()
        && cmd!(sh, "sudo -n true")
            .quiet()
            .ignore_stderr()
            .run()
            .is_ok();
    if !sudo {
        bail!("not root, and sudo asks for a password; install the package by hand");
    }
    Ok(Privilege::Sudo)
}

fn as_root(sh: &Shell, privilege: Privilege, argv: &[&str]) -> Result<()> {
    match privilege {
        Privilege::Root => {
            let (program, args) = argv.split_first().context("no program was named")?;
            cmd!(sh, "{program} {args...}").run()?;
        }
        Privilege::Sudo => cmd!(sh, "sudo -n {argv...}").run()?,
    }
    Ok(())
}

/// Installs Debian packages.
fn install(sh: &Shell, packages: &[&str]) -> Result<()> {
    if tools::find("apt-get").is_none() {
        bail!(
            "no apt-get on this machine; install {} by hand",
            packages.join(", ")
        );
    }
    let privilege = privilege(sh)?;
    as_root(sh, privilege, &["apt-get", "update", "-qq"])?;
    let mut argv = vec!["env", "DEBIAN_FRONTEND=noninteractive"];
    argv.extend(["apt-get", "install", "-y", "-qq", "--no-install-recommends"]);
    argv.extend(packages);
    as_root(sh, privilege, &argv)
}

/// What reads completions, manual pages and units in the tests.
fn readers(sh: &Shell) -> Result<()> {
    let packages: Vec<&str> = [
        ("zsh", "zsh"),
        ("fish", "fish"),
        ("groff", "groff"),
        ("systemd-analyze", "systemd"),
    ]
    .into_iter()
    .filter(|(program, _)| tools::find(program).is_none())
    .map(|(_, package)| package)
    .collect();
    match packages.as_slice() {
        [] => Ok(()),
        packages => install(sh, packages),
    }
}

/// Makes the virtual environment hold exactly the pinned versions; returns the packages that could
/// not be installed. The stamp holds the list that was installed, so that the second run is instant.
fn venv(sh: &Shell) -> Result<Vec<Missing>> {
    let dir = paths::private().join("venv");
    let stamp = dir.join(".requirements");
    if std::fs::read_to_string(&stamp).is_ok_and(|done| done == REQUIREMENTS) {
        return Ok(Vec::new());
    }
    let python = dir.join("bin/python");
    if !python.is_file() {
        if !has_venv(sh) {
            bail!("python3 cannot make virtual environments on this machine");
        }
        cmd!(sh, "python3 -m venv {dir}").run()?;
    }
    let pip = |what: &[&str]| {
        cmd!(
            sh,
            "{python} -m pip install --quiet --disable-pip-version-check --no-input {what...}"
        )
        .run()
    };
    let list = paths::root().join("xtask/requirements.txt");
    let list = list.to_string_lossy();
    let mut missing = Vec::new();
    if pip(&["--requirement", &list]).is_err() {
        // One package that does not exist for this platform must not cost the others.
        for package in pinned(REQUIREMENTS) {
            if let Err(error) = pip(&[package]) {
                missing.push(Missing {
                    what: package.to_owned(),
                    why: format!("pip could not install it: {error}"),
                });
            }
        }
    }
    if missing.is_empty() {
        std::fs::write(&stamp, REQUIREMENTS)
            .with_context(|| format!("could not write {}", stamp.display()))?;
    }
    Ok(missing)
}

/// The packages of a requirements file.
fn pinned(requirements: &str) -> impl Iterator<Item = &str> {
    requirements
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_one_version() {
        let packages: Vec<_> = pinned(REQUIREMENTS).collect();
        assert!(packages.len() > 5);
        for package in packages {
            assert_eq!(package.split("==").count(), 2, "{package} is not pinned");
        }
    }
}

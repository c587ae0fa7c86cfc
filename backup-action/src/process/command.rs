//! What to start: program, arguments, environment, and as which user. Secrets have a way into the
//! environment and none into the arguments.

use super::inside::Inside;
use super::remote::{self, Remote};
use super::{stat, withheld};
use crate::error::{Explained, Usage};
use crate::secret::Secret;
use anyhow::Context;
use rustix::process::{Pid, Signal};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// A child to be started. `Display` shows program and arguments, never the environment.
#[derive(Clone, Debug)]
pub struct Command {
    program: PathBuf,
    args: Vec<OsString>,
    env: BTreeMap<OsString, Option<Value>>,
    scrubbed_prefixes: Vec<&'static str>,
    cwd: Option<PathBuf>,
    pub(super) run_as: Option<RunAs>,
}

#[derive(Clone, Debug)]
enum Value {
    Plain(OsString),
    Secret(Secret),
}

impl Command {
    /// `program` is a path, or a name to be found in `PATH`.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            scrubbed_prefixes: Vec::new(),
            cwd: None,
            run_as: None,
        }
    }

    /// Adds an argument. Everybody on the machine can read it.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable.
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env
            .insert(key.into(), Some(Value::Plain(value.into())));
        self
    }

    /// Sets a variable that must not be shown.
    pub fn env_secret(mut self, key: impl Into<OsString>, value: &Secret) -> Self {
        self.env
            .insert(key.into(), Some(Value::Secret(value.clone())));
        self
    }

    /// Does not hand a variable on.
    pub fn env_remove(mut self, key: impl Into<OsString>) -> Self {
        self.env.insert(key.into(), None);
        self
    }

    /// Does not hand on any variable of ours whose name begins with `prefix`, unless set here.
    pub fn env_scrub(mut self, prefix: &'static str) -> Self {
        self.scrubbed_prefixes.push(prefix);
        self
    }

    /// For a program of PostgreSQL, ssh or docker: its messages come in English.
    pub fn scrubbed(mut self) -> Self {
        self.scrubbed_prefixes.extend(withheld::FROM_CLIENTS);
        self.env("LC_ALL", "C")
    }

    /// For a program of somebody else, which gets no credentials of ours.
    pub fn without_credentials(mut self) -> Self {
        self.scrubbed_prefixes.extend(withheld::FROM_STRANGERS);
        self
    }

    /// The directory to start in.
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    /// Starts as another user of the operating system.
    pub fn run_as(mut self, run_as: Option<RunAs>) -> Self {
        self.run_as = run_as;
        self
    }

    /// The last component of the program's path, for messages.
    pub fn program_name(&self) -> String {
        let name = self.program.file_name().unwrap_or(self.program.as_os_str());
        name.to_string_lossy().into_owned()
    }

    /// The path or name that was given.
    pub fn program(&self) -> &Path {
        &self.program
    }

    pub(super) fn build(&self) -> anyhow::Result<std::process::Command> {
        let mut command = match &self.run_as {
            None | Some(RunAs::Direct { .. }) => {
                let mut command = new(&self.program);
                command.args(&self.args);
                command
            }
            Some(RunAs::Sudo { name }) => {
                let mut command = new(Path::new("sudo"));
                command.args(self.sudo_args(name)?);
                command
            }
            Some(RunAs::Container(inside)) => {
                let mut command = new(&inside.docker);
                let handed_on = self.env.iter().filter(|(_, value)| value.is_some());
                command.args(inside.exec(
                    &self.program,
                    &self.args,
                    self.cwd.as_deref(),
                    handed_on.map(|(key, _)| key.as_os_str()),
                ));
                command
            }
            Some(RunAs::Ssh(remote)) => {
                let mut command = new(&remote.ssh);
                command.args(remote.exec(
                    &self.program,
                    &self.args,
                    self.plain(),
                    self.secrets().count(),
                ));
                command.env("LC_ALL", "C");
                command
            }
        };
        for (key, _) in std::env::vars_os() {
            let mut scrubbed = withheld::FROM_ALL.iter().chain(&self.scrubbed_prefixes);
            if let Some(name) = key.to_str()
                && scrubbed.any(|prefix| name.starts_with(prefix))
            {
                command.env_remove(key);
            }
        }
        for (key, value) in &self.env {
            match value {
                // They are those of the program on the other machine, and not ssh's.
                Some(_) if matches!(self.run_as, Some(RunAs::Ssh(_))) => &mut command,
                Some(Value::Plain(value)) => command.env(key, value),
                Some(Value::Secret(secret)) => command.env(key, secret.expose()),
                None => command.env_remove(key),
            };
        }
        if let Some(RunAs::Direct { name, uid, gid }) = &self.run_as {
            command.uid(*uid).gid(*gid);
            command.env("USER", name).env("LOGNAME", name);
            // libpq finds the home directory by the user then.
            command.env_remove("HOME");
        }
        match (&self.cwd, &self.run_as) {
            // It is one of the container's.
            (_, Some(RunAs::Container(_) | RunAs::Ssh(_))) => {}
            (Some(dir), _) => {
                command.current_dir(dir);
            }
            // The other user may not be allowed to be where we are.
            (None, Some(_)) => {
                command.current_dir("/");
            }
            (None, None) => {}
        }
        Ok(command)
    }

    fn plain(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.env.iter().filter_map(|(key, value)| match value {
            Some(Value::Plain(value)) => Some((key.as_os_str(), value.as_os_str())),
            Some(Value::Secret(_)) | None => None,
        })
    }

    fn secrets(&self) -> impl Iterator<Item = (&OsStr, &Secret)> {
        self.env.iter().filter_map(|(key, value)| match value {
            Some(Value::Secret(secret)) => Some((key.as_os_str(), secret)),
            Some(Value::Plain(_)) | None => None,
        })
    }

    /// What the child is sent before anything else; nothing for most.
    pub(super) fn preface(&self) -> Option<Vec<u8>> {
        match &self.run_as {
            Some(RunAs::Ssh(_)) => Some(remote::preface(self.secrets())).filter(|t| !t.is_empty()),
            Some(RunAs::Direct { .. } | RunAs::Sudo { .. } | RunAs::Container(_)) | None => None,
        }
    }

    /// sudo resets the environment, so variables travel as arguments of `env`, which is why no
    /// secret may be among them.
    fn sudo_args(&self, name: &str) -> anyhow::Result<Vec<OsString>> {
        let mut args: Vec<OsString> = ["-n", "-u", name, "--", "env"].map(Into::into).into();
        for (key, value) in &self.env {
            match value {
                Some(Value::Plain(value)) => {
                    let mut pair = key.clone();
                    pair.push("=");
                    pair.push(value);
                    args.push(pair);
                }
                Some(Value::Secret(_)) => {
                    return Err(Explained::new(
                        format!(
                            "cannot hand a secret to a program that runs as {name} through sudo"
                        ),
                        "Use peer authentication without a password, or run as root.",
                    )
                    .into());
                }
                None => {}
            }
        }
        args.push(self.program.clone().into());
        args.extend(self.args.iter().cloned());
        Ok(args)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program.to_string_lossy())?;
        for arg in &self.args {
            write!(f, " {}", arg.to_string_lossy())?;
        }
        Ok(())
    }
}

/// Another user of the operating system to start a child as, as in the runbook's
/// `sudo -u postgres`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunAs {
    /// We are root: the ids are set directly.
    Direct {
        /// The user's name.
        name: String,
        /// The user's id.
        uid: u32,
        /// The user's primary group.
        gid: u32,
    },
    /// We are not root: `sudo -n` does it.
    Sudo {
        /// The user's name.
        name: String,
    },
    /// In a container: program and paths are those of its image. Killing such a child ends
    /// docker's command line; what it started ends with the container.
    Container(Inside),
    /// On another machine: program and paths are those of that machine. Killing such a child ends
    /// ssh; what it started there ends at its next write.
    Ssh(Remote),
}

impl RunAs {
    /// Finds out how to become `name`.
    ///
    /// # Errors
    /// No such user, or a name that programs would take for an option.
    pub async fn resolve(name: &str) -> anyhow::Result<RunAs> {
        if name.is_empty() || name.starts_with('-') || name.contains(['\0', '#', ' ']) {
            return Err(
                Usage::new(format!("sudo-user: cannot run as user {name:?}"))
                    .hint("Name a user of this machine.")
                    .into(),
            );
        }
        let uid = id("-u", name).await?;
        if !rustix::process::geteuid().is_root() {
            return Ok(RunAs::Sudo { name: name.into() });
        }
        let gid = id("-g", name).await?;
        Ok(RunAs::Direct {
            name: name.into(),
            uid,
            gid,
        })
    }

    /// The user's name; in a container perhaps a number.
    pub fn name(&self) -> &str {
        match self {
            RunAs::Direct { name, .. } | RunAs::Sudo { name } => name,
            RunAs::Container(inside) => &inside.user,
            RunAs::Ssh(remote) => remote.sudo.as_deref().unwrap_or(&remote.host),
        }
    }

    /// Signals a group that belongs to the other user, and the groups of what it started: with
    /// `use_pty`, the default of some distributions, sudo runs the program in a session of its
    /// own. Best effort: a rule for sudo may not allow `kill`; closing the pipe ends the child
    /// then, at its next write.
    pub(super) fn kill_group(&self, pgid: Pid, signal: Signal) {
        let RunAs::Sudo { name } = self else { return };
        let signal = if signal == Signal::KILL {
            "-KILL"
        } else {
            "-TERM"
        };
        let groups = stat::descendant_groups(pgid.as_raw_nonzero().get());
        if groups.is_empty() {
            return;
        }
        let status = new(Path::new("sudo"))
            .args(["-n", "-u", name, "--", "kill", signal, "--"])
            .args(groups.iter().map(|group| format!("-{group}")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        match status {
            Ok(_) | Err(_) => {}
        }
    }
}

async fn id(what: &str, name: &str) -> anyhow::Result<u32> {
    let command = Command::new("id").args([what, "--", name]);
    let output = super::capture(command, Duration::from_secs(10), 4096)
        .await
        .context("could not look up a user")?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.trim().parse() {
        Ok(number) if output.status.is_success() => Ok(number),
        _ => Err(Usage::new(format!("no user {name:?} on this machine"))
            .hint("Name a user of the operating system, usually \"postgres\".")
            .into()),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the module that starts children"
)]
fn new(program: &Path) -> std::process::Command {
    std::process::Command::new(OsStr::new(program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sudo_gets_variables_as_arguments_and_never_a_secret() {
        let command = Command::new("/bin/pg_dumpall")
            .arg("--no-password")
            .env("PGPORT", "5433")
            .env_remove("PGDATABASE")
            .run_as(Some(RunAs::Sudo {
                name: "postgres".into(),
            }));
        assert_eq!(
            command.sudo_args("postgres").unwrap().join(OsStr::new(" ")),
            "-n -u postgres -- env PGPORT=5433 /bin/pg_dumpall --no-password"
        );
        let secret = command.env_secret("PGPASSWORD", &Secret::new("hunter2"));
        assert!(!format!("{secret:?} {secret}").contains("hunter2"));
        let error = secret.build().unwrap_err().to_string();
        assert!(error.contains("cannot hand a secret"), "{error}");
        assert!(!error.contains("hunter2"));
    }

    #[test]
    fn a_container_gets_variables_by_name_only() {
        let command = Command::new("/usr/bin/psql")
            .arg("-X")
            .env("PGPORT", "5433")
            .env_secret("PGPASSWORD", &Secret::new("hunter2"))
            .env_remove("PGDATABASE");
        let inside = Inside {
            docker: "/usr/bin/docker".into(),
            container: "c".into(),
            user: "999".into(),
        };
        let built = command
            .run_as(Some(RunAs::Container(inside)))
            .build()
            .unwrap();
        assert_eq!(built.get_program(), "/usr/bin/docker");
        let args: Vec<&OsStr> = built.get_args().collect();
        assert_eq!(
            args.join(OsStr::new(" ")),
            "exec -i -u 999 -w / -e PGPASSWORD -e PGPORT c /usr/bin/psql -X"
        );
        let password = built.get_envs().find(|(key, _)| *key == "PGPASSWORD");
        assert_eq!(password.unwrap().1, Some(OsStr::new("hunter2")));
    }

    #[test]
    fn exits_are_told_apart_by_status_and_signal() {
        use crate::process::Exit;
        assert_eq!(Exit::Code(1).to_string(), "status 1");
        assert_eq!(Exit::Signal(9).to_string(), "signal 9 (SIGKILL)");
        assert_eq!(Exit::Signal(64).to_string(), "signal 64");
    }
}

//! Runs a workflow as its file stands, with `act` on the host: what it names as
//! `backup-action/backup-action` is the action of this checkout with the built program, and what it
//! names as `actions/upload-artifact` copies files, because the real one needs GitHub's own service.
//! `actions/checkout` of the repository itself is what act does anyway.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper that starts act ends its test when it cannot go on"
)]

use super::{assignment, wait};
use crate::support::run::PROGRAM;
use crate::support::{need, root, tool};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The commit that the examples name as a release of the action.
const RELEASE: &str = "0000000000000000000000000000000000000000";

const UPLOAD: &str = r#"
name: upload-artifact
inputs:
  name: { required: true }
  path: { required: true }
  if-no-files-found: { default: warn }
runs:
  using: composite
  steps:
    - shell: bash
      env:
        NAME: ${{ inputs.name }}
        FILES: ${{ inputs.path }}
      run: |
        mkdir -p "$ARTIFACTS/$NAME"
        while IFS= read -r file; do
          if [[ -n $file ]]; then cp "$file" "$ARTIFACTS/$NAME/"; fi
        done <<<"$FILES"
"#;

/// A repository with one workflow, and how it is run.
pub(crate) struct Workflow {
    act: PathBuf,
    dir: TempDir,
    event: &'static str,
    args: Vec<OsString>,
    env: Vec<(String, OsString)>,
}

impl Workflow {
    /// The workflow of this file of the checkout; none when act is not installed.
    pub(crate) fn of_file(test: &str, file: &str) -> Option<Workflow> {
        let text = fs::read_to_string(root().join(file)).expect("the workflow is there");
        Self::of_text(test, &text)
    }

    /// A workflow of this text.
    pub(crate) fn of_text(test: &str, text: &str) -> Option<Workflow> {
        let act = need(test, "act", tool("act"))?;
        let dir = tempfile::tempdir().expect("a temporary directory");
        let workflow = Workflow {
            act,
            dir,
            event: "push",
            args: Vec::new(),
            env: Vec::new(),
        };
        workflow.write(
            &workflow.repository().join(".github/workflows/it.yml"),
            text,
        );
        // What a deploy is: it says that it ran.
        let deploy = "#!/bin/sh\ndate >\"$DEPLOYED\"\n";
        crate::support::cluster::write_program(&workflow.repository().join("deploy.sh"), deploy);
        let upload = workflow.dir.path().join("upload-artifact/action.yml");
        workflow.write(&upload, UPLOAD);
        Some(workflow.program(Path::new(PROGRAM)))
    }

    /// Another program in the place of the built one.
    pub(crate) fn program(self, program: &Path) -> Workflow {
        let action = fs::read_to_string(root().join("action.yml")).expect("action.yml");
        let at = action.find("\n  bin-path:\n").expect("an input bin-path");
        let (before, after) = action.split_at(at);
        let given = format!("default: '{}'", program.display());
        let after = after.replacen("default: ''", &given, 1);
        // For `uses: ./` as for the released action.
        for to in [self.dir.path().join("action"), self.repository()] {
            self.write(&to.join("action.yml"), &format!("{before}{after}"));
            copy_dir(&root().join("action"), &to.join("action"));
            copy_dir(&root().join("support"), &to.join("support"));
        }
        self
    }

    fn write(&self, path: &Path, text: &str) {
        fs::create_dir_all(path.parent().expect("it lies in a directory")).expect("a directory");
        fs::write(path, text).expect("the file can be written");
    }

    /// The repository that the workflow runs in.
    pub(crate) fn repository(&self) -> PathBuf {
        let path = self.dir.path().join("repository");
        fs::create_dir_all(&path).expect("a directory");
        path
    }

    /// A further file of the repository.
    pub(crate) fn file(self, path: &str, text: &str) -> Workflow {
        self.write(&self.repository().join(path), text);
        self
    }

    /// An event with its description.
    pub(crate) fn event(mut self, event: &'static str, description: &Value) -> Workflow {
        self.event = event;
        let path = self.dir.path().join("event.json");
        self.write(&path, &description.to_string());
        self.args.extend(["-e".into(), path.into()]);
        self
    }

    pub(crate) fn var(self, name: &str, value: impl AsRef<OsStr>) -> Workflow {
        self.pair("--var", name, value.as_ref())
    }

    pub(crate) fn secret(self, name: &str, value: impl AsRef<OsStr>) -> Workflow {
        self.pair("-s", name, value.as_ref())
    }

    /// What act says of GitHub instead of what it is.
    pub(crate) fn github(self, name: &str, value: &str) -> Workflow {
        self.pair("--env", name, OsStr::new(value))
    }

    fn pair(mut self, flag: &str, name: &str, value: &OsStr) -> Workflow {
        self.args.push(flag.into());
        self.args.push(assignment(name, value));
        self
    }

    /// A variable that the steps inherit from the runner.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Workflow {
        self.env.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Commits what there is, and runs the workflow to its end. May be called again: then it is a
    /// new run of the same commit unless a file has changed.
    pub(crate) fn run(&self) -> Seen {
        let repository = self.repository();
        commit(&repository, self.dir.path());
        let artifacts = self.dir.path().join("artifacts");
        let deployed = self.dir.path().join("deployed");
        if deployed.exists() {
            fs::remove_file(&deployed).expect("the last run's mark can be removed");
        }
        if artifacts.exists() {
            fs::remove_dir_all(&artifacts).expect("the last run's files can be removed");
        }
        let log = self.dir.path().join("log");
        let mut command = Command::new(&self.act);
        command
            .current_dir(&repository)
            .arg(self.event)
            .args(["--json", "--pull=false", "-W", ".github/workflows/it.yml"])
            .args(["-P", "ubuntu-24.04=-self-hosted"])
            .args(["-P", "self-hosted=-self-hosted"]);
        for (action, dir) in [
            (format!("backup-action/backup-action@{RELEASE}"), "action"),
            (
                "actions/upload-artifact@b7c566a772e6b6bfb58ed0dc250532a479d7789f".to_owned(),
                "upload-artifact",
            ),
        ] {
            let path = self.dir.path().join(dir);
            command
                .arg("--local-repository")
                .arg(assignment(&action, path.as_os_str()));
        }
        command
            .args(&self.args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").expect("PATH"))
            .env("HOME", self.dir.path())
            .env("XDG_CACHE_HOME", self.dir.path().join("cache"))
            .env("ARTIFACTS", &artifacts)
            .env("DEPLOYED", &deployed)
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        let success = wait(command, &log);
        let text = fs::read_to_string(&log).expect("act writes a log");
        Seen {
            success,
            deployed: deployed.exists(),
            lines: text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok())
                .collect(),
            text,
            artifacts,
        }
    }
}

/// What act saw.
pub(crate) struct Seen {
    /// Whether every job ended well.
    pub(crate) success: bool,
    /// Whether `deploy.sh` ran.
    pub(crate) deployed: bool,
    /// Everything that act wrote.
    pub(crate) text: String,
    /// What the stand-in of `actions/upload-artifact` kept.
    pub(crate) artifacts: PathBuf,
    lines: Vec<Value>,
}

impl Seen {
    /// The log as people read it.
    pub(crate) fn log(&self) -> String {
        self.lines
            .iter()
            .filter_map(|line| line["msg"].as_str())
            .map(|message| format!("{}\n", message.trim_end()))
            .collect()
    }

    /// How the runs of a job ended, one for each leg of its matrix; none when it was skipped.
    pub(crate) fn job(&self, id: &str) -> Vec<&str> {
        self.lines
            .iter()
            .filter(|line| line["jobID"] == id)
            .filter_map(|line| line["jobResult"].as_str())
            .collect()
    }

    /// How the steps of a job that are called so ended, `success`, `failure` or `skipped`.
    pub(crate) fn step(&self, job: &str, name: &str) -> Vec<&str> {
        self.lines
            .iter()
            .filter(|line| line["jobID"] == job && line["step"] == name && line["stage"] == "Main")
            .filter(|line| line["stepID"].as_array().is_some_and(|ids| ids.len() == 1))
            .filter_map(|line| line["stepResult"].as_str())
            .collect()
    }

    /// The output of a step as act gave it to the steps after it.
    pub(crate) fn output(&self, step: &str, name: &str) -> &str {
        self.lines
            .iter()
            .filter(|line| line["command"] == "set-output" && line["name"] == name)
            .filter(|line| line["stepID"] == serde_json::json!([step]))
            .filter_map(|line| line["arg"].as_str())
            .next_back()
            .unwrap_or_else(|| panic!("{step} has no output {name}:\n{}", self.log()))
    }

    /// The job summaries of the action's steps, in the order in which they were written.
    pub(crate) fn summaries(&self) -> Vec<&str> {
        self.lines
            .iter()
            .filter(|line| line["command"] == "summary" && line["stepID"][1] == "run")
            .filter_map(|line| line["content"].as_str())
            .collect()
    }
}

fn commit(repository: &Path, dir: &Path) {
    let message = dir.to_str().expect("a path in UTF-8");
    let first = !repository.join(".git").exists();
    let steps: &[&[&str]] = &[
        if first {
            &["init", "--quiet"]
        } else {
            &["status", "--short"]
        },
        &["add", "--all"],
        // The directory's name is random: two repositories of one second have commits of their own.
        &["commit", "--quiet", "--message", message],
    ];
    for args in steps {
        let output = Command::new("git")
            .current_dir(repository)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .args(["-c", "user.name=t", "-c", "user.email=t@example"])
            .args(*args)
            .output()
            .expect("git starts");
        let nothing_new = !first && args[0] == "commit";
        assert!(
            output.status.success() || nothing_new,
            "git {args:?}: {output:?}"
        );
    }
}

/// Copies the files of a directory, when there is one.
fn copy_dir(from: &Path, to: &Path) {
    let Ok(entries) = fs::read_dir(from) else {
        return;
    };
    fs::create_dir_all(to).expect("a directory");
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("a copy");
        }
    }
}

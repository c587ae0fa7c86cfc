//! The action as a workflow sees it: action.yml and the bootstrap, run by `act` on the host, with a
//! deploy job that needs the gate job. Programs are given by `bin-path`.
#![expect(
    clippy::disallowed_methods,
    reason = "tests start act, git and bash themselves"
)]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper that cannot go on ends its test"
)]

mod examples;
mod first_gate;
mod inputs;
mod own;
mod pattern;
mod workflow;

use crate::support::{need, root, tool};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What a run of `fixtures/workflows/deploy-gate.yml` came to.
pub(crate) struct ActRun {
    /// Whether every job ended well.
    pub(crate) success: bool,
    /// The log as people read it: what the steps printed and what act says about it.
    pub(crate) log: String,
    /// What the deploy job wrote, the archive key; none when it did not run.
    pub(crate) deployed: Option<String>,
    /// `success` or `failure`: the result of the gate job as the deploy job sees it.
    pub(crate) gate_result: String,
    /// The outputs of the gate job as the deploy job sees them.
    pub(crate) outputs: BTreeMap<String, String>,
    /// The job summary of the action.
    pub(crate) summary: String,
}

/// Runs the workflow with `program` as `bin-path`. `vars` may hold `COMMAND` and `LOCAL`, `secrets`
/// `DATABASE_URL` and `SLACK_WEBHOOK_URL`; `env` is all that the steps inherit besides `PATH` and a private `HOME`.
pub(crate) fn run_act(
    act: &Path,
    program: &Path,
    vars: &[(&str, &str)],
    secrets: &[(&str, &str)],
    env: &[(&str, &str)],
) -> ActRun {
    let dir = tempfile::tempdir().unwrap();
    let marker = dir.path().join("deployed");
    let seen = dir.path().join("seen.json");
    let own = [
        ("DEPLOY_MARKER", marker.to_str().unwrap()),
        ("SEEN", seen.to_str().unwrap()),
    ];
    let run = run_workflow(&Act {
        act,
        workflow: "fixtures/workflows/deploy-gate.yml",
        event: None,
        bin_path: program,
        vars: &[&own, vars].concat(),
        secrets,
        github: &[],
        env,
    });
    let text = run.log;
    let seen = fs::read_to_string(&seen).unwrap_or_else(|_| panic!("no gate job ran:\n{text}"));
    let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
    ActRun {
        success: run.success,
        log: text,
        deployed: fs::read_to_string(&marker)
            .ok()
            .map(|key| key.trim_end().to_owned()),
        gate_result: seen["result"].as_str().unwrap().to_owned(),
        outputs: serde_json::from_value(seen["outputs"].clone()).unwrap(),
        summary: run.summary,
    }
}

/// A workflow to be run on this machine.
pub(crate) struct Act<'a> {
    pub(crate) act: &'a Path,
    /// Below the root of the checkout.
    pub(crate) workflow: &'a str,
    /// The event and its description; a push without one.
    pub(crate) event: Option<(&'a str, &'a Path)>,
    /// The variable `BIN_PATH`.
    pub(crate) bin_path: &'a Path,
    pub(crate) vars: &'a [(&'a str, &'a str)],
    pub(crate) secrets: &'a [(&'a str, &'a str)],
    /// What act says of GitHub instead of what it is: `GITHUB_API_URL`, ….
    pub(crate) github: &'a [(&'a str, &'a str)],
    /// All that the steps inherit besides `PATH` and a private `HOME`.
    pub(crate) env: &'a [(&'a str, &'a str)],
}

/// What a workflow came to.
pub(crate) struct WorkflowRun {
    /// Whether every job ended well.
    pub(crate) success: bool,
    /// The log as people read it.
    pub(crate) log: String,
    /// The job summary of the action.
    pub(crate) summary: String,
}

/// Runs a workflow to its end.
pub(crate) fn run_workflow(run: &Act) -> WorkflowRun {
    let dir = tempfile::tempdir().unwrap();
    let checkout = checkout(&dir, run.workflow);
    let log = dir.path().join("log");
    let mut command = Command::new(run.act);
    command
        .current_dir(&checkout)
        .arg(run.event.map_or("push", |(name, _)| name))
        .args(["--json", "--pull=false", "-W", run.workflow])
        .args(["-P", "ubuntu-latest=-self-hosted"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", dir.path())
        .env("XDG_CACHE_HOME", dir.path().join("cache"))
        .envs(run.env.iter().copied());
    if let Some((_, description)) = run.event {
        command.arg("-e").arg(description);
    }
    let bin_path = assignment("BIN_PATH", run.bin_path.as_os_str());
    command.arg("--var").arg(bin_path);
    for (flag, pairs) in [
        ("--var", run.vars),
        ("-s", run.secrets),
        ("--env", run.github),
    ] {
        for (name, value) in pairs {
            command.arg(flag).arg(assignment(name, OsStr::new(value)));
        }
    }
    let success = wait(command, &log);
    let lines: Vec<serde_json::Value> = fs::read_to_string(&log)
        .unwrap()
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let log = lines
        .iter()
        .filter_map(|line| line["msg"].as_str())
        .map(|message| format!("{}\n", message.trim_end()))
        .collect();
    let summary = lines
        .iter()
        .find(|line| line["command"] == "summary" && line["stepID"][1] == "run")
        .and_then(|line| line["content"].as_str())
        .unwrap_or_default()
        .to_owned();
    WorkflowRun {
        success,
        log,
        summary,
    }
}

/// The files of the action in a repository of their own: act wants one, and copies all of it.
fn checkout(dir: &TempDir, workflow: &str) -> PathBuf {
    let checkout = dir.path().join("checkout");
    for file in ["action.yml", "action/bootstrap.sh", workflow] {
        let to = checkout.join(file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(root().join(file), to).unwrap();
    }
    // The directory's name is random: two runs of one second have commits of their own.
    let message = dir.path().to_str().unwrap();
    for args in [
        &["init", "--quiet"][..],
        &["add", "--all"],
        &["commit", "--quiet", "--message", message],
    ] {
        let output = Command::new("git")
            .current_dir(&checkout)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .args(["-c", "user.name=t", "-c", "user.email=t@example"])
            .args(args)
            .output()
            .expect("git starts");
        assert!(output.status.success(), "git {args:?}: {output:?}");
    }
    checkout
}

fn assignment(name: &str, value: &OsStr) -> std::ffi::OsString {
    let mut text = std::ffi::OsString::from(format!("{name}="));
    text.push(value);
    text
}

/// Runs to the end, or kills after five minutes; both streams go to `log`.
fn wait(mut command: Command, log: &Path) -> bool {
    let file = fs::File::create(log).unwrap();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .expect("the program starts");
    let deadline = Instant::now() + Duration::from_secs(300);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.success();
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("hangs:\n{}", fs::read_to_string(log).unwrap());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A program that does what `script` says.
fn program(dir: &Path, name: &str, script: &str) -> PathBuf {
    let path = dir.join(name);
    // Written under another name first: a test that forks meanwhile must not hold it open for
    // writing, or it cannot be started.
    let draft = dir.join(format!("{name}.draft"));
    fs::write(&draft, format!("#!/usr/bin/env bash\nset -eu\n{script}\n")).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
    let copied = Command::new("cp").arg(&draft).arg(&path).status().unwrap();
    assert!(copied.success());
    path
}

const OPEN: &str = r#"
printf 'passed<<a\nfalse\na\narchive-key<<b\n2026-01/x.sql.gz\nb\n' >>"$GITHUB_OUTPUT"
printf '## passed with %s into %s\n' "$1" "$BACKUP_ACTION_LOCAL" >>"$GITHUB_STEP_SUMMARY"
printf 'passed<<a\ntrue\na\n' >>"$GITHUB_OUTPUT"
"#;

#[test]
fn deploy_runs_behind_an_open_gate() {
    let test = "deploy_runs_behind_an_open_gate";
    let Some(act) = need(test, "act", tool("act")) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path(), "backup-action", OPEN);
    let vars = [("LOCAL", "/back ups")];
    let run = run_act(&act, &program, &vars, &[], &[]);
    assert!(run.success, "{}", run.log);
    assert_eq!(run.deployed.as_deref(), Some("2026-01/x.sql.gz"));
    assert_eq!(run.gate_result, "success");
    assert_eq!(run.outputs["passed"], "true");
    assert_eq!(run.summary, "## passed with gate into /back ups\n");
}

#[test]
fn deploy_does_not_run_behind_a_closed_gate() {
    let test = "deploy_does_not_run_behind_a_closed_gate";
    let Some(act) = need(test, "act", tool("act")) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let failed = r###"
        printf 'passed<<a\nfalse\na\nstatus<<b\nfailed\nb\nfailed-checks<<c\ndump-exit\nc\n' >>"$GITHUB_OUTPUT"
        echo "## pg_dumpall was killed" >>"$GITHUB_STEP_SUMMARY"
        exit 1"###;
    let run = run_act(&act, &program(dir.path(), "failed", failed), &[], &[], &[]);
    assert!(!run.success, "{}", run.log);
    assert_eq!(run.deployed, None);
    assert_eq!(run.gate_result, "failure");
    // Outputs and summary survive the failure: the next job can say why.
    assert_eq!(run.outputs["passed"], "false");
    assert_eq!(run.outputs["failed-checks"], "dump-exit");
    assert_eq!(run.summary, "## pg_dumpall was killed\n");

    // Each half of the gate holds when the other lies.
    let lies = [
        ("exits_0_without_a_pass", "exit 0"),
        (
            "passes_and_exits_3",
            r#"echo passed=true >>"$GITHUB_OUTPUT"; exit 3"#,
        ),
    ];
    for (name, script) in lies {
        let run = run_act(&act, &program(dir.path(), name, script), &[], &[], &[]);
        assert_eq!(run.deployed, None, "{name}: {}", run.log);
    }
}

#[test]
fn a_missing_program_closes_the_gate_and_says_so() {
    let test = "a_missing_program_closes_the_gate_and_says_so";
    let Some(act) = need(test, "act", tool("act")) else {
        return;
    };
    let run = run_act(&act, Path::new("/nowhere/backup-action"), &[], &[], &[]);
    assert!(!run.success);
    assert_eq!(run.deployed, None);
    assert_eq!(run.outputs["passed"], "false");
    assert!(
        run.summary.contains("bin-path does not name a program"),
        "{}",
        run.summary
    );
}

/// Runs the bootstrap with nothing in its environment but `env`.
fn bootstrap(dir: &Path, env: &[(&str, &str)]) -> Output {
    Command::new("bash")
        .arg(root().join("action/bootstrap.sh"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("GITHUB_OUTPUT", dir.join("output"))
        .env("GITHUB_ACTION_PATH", dir)
        .envs(env.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn the_bootstrap_becomes_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(
        dir.path(),
        "program",
        "echo $$; compgen -e; echo \"$@\"; exit 7",
    );
    let child = Command::new("bash")
        .arg(root().join("action/bootstrap.sh"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("BACKUP_ACTION_BIN_PATH", &program)
        .env("BACKUP_ACTION_COMMAND", "verify")
        .env("BACKUP_ACTION_ACTION_REF", "v1")
        .env("BACKUP_ACTION_LOCAL", "/x")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = child.id().to_string();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines.first(),
        Some(&pid.as_str()),
        "signals reach the program"
    );
    assert_eq!(lines.last(), Some(&"verify"));
    let ours: Vec<_> = lines
        .iter()
        .filter(|l| l.starts_with("BACKUP_ACTION_"))
        .collect();
    assert_eq!(ours, [&"BACKUP_ACTION_LOCAL"]);
}

#[test]
fn the_bootstrap_refuses_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let alien = dir.path().join("alien");
    fs::write(&alien, b"\x7fELF\0\0").unwrap();
    fs::set_permissions(&alien, fs::Permissions::from_mode(0o755)).unwrap();
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[("RUNNER_OS", "Windows")],
            "Windows runners are not supported",
        ),
        (
            &[("BACKUP_ACTION_ACTION_REPOSITORY", "acme/backup-action")],
            "no released program",
        ),
        (
            &[("BACKUP_ACTION_COMMAND", "gate; true")],
            "input command cannot be used",
        ),
        (
            &[("BACKUP_ACTION_BIN_PATH", "/etc/passwd")],
            "bin-path does not name",
        ),
        // A program of another machine.
        (
            &[("BACKUP_ACTION_BIN_PATH", alien.to_str().unwrap())],
            "the program cannot be run",
        ),
        // A bare name would be looked up in PATH, where anything may answer with status 0.
        (
            &[("BACKUP_ACTION_BIN_PATH", "backup-action")],
            "bin-path does not name",
        ),
        (
            &[("GITHUB_OUTPUT", "/dev/full")],
            "could not write the step outputs",
        ),
    ];
    for (env, reason) in cases {
        let output = bootstrap(dir.path(), env);
        assert_eq!(output.status.code(), Some(3), "{env:?}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("::error title=backup-action::"), "{text}");
        assert!(text.contains(reason), "{text}");
    }
    let written = fs::read_to_string(dir.path().join("output")).unwrap();
    assert!(
        written.lines().all(|line| line == "passed=false"),
        "{written}"
    );
}

#[test]
fn a_checkout_is_built_without_the_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let cargo = r#"
        compgen -e >environment
        echo "$@" >arguments
        [[ -z ${BREAK_BUILD:-} ]] || exit 101
        mkdir -p target/release
        printf '#!/usr/bin/env bash\necho built "$@" "$PGPASSWORD"\n' >target/release/backup-action
        chmod +x target/release/backup-action"#;
    let bin = dir.path().join("bin");
    fs::create_dir(&bin).unwrap();
    program(&bin, "cargo", cargo);
    let mut path = bin.into_os_string().into_string().unwrap();
    path.push_str(":/usr/bin:/bin");
    let env = [
        ("PATH", path.as_str()),
        ("BACKUP_ACTION_DATABASE_URL", "secret"),
        ("PGPASSWORD", "secret"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "secret"),
        ("CARGO_NET_RETRY", "3"),
    ];
    let output = bootstrap(dir.path(), &env);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.ends_with("built gate secret\n"), "{text}");
    let seen = fs::read_to_string(dir.path().join("environment")).unwrap();
    assert!(seen.contains("CARGO_NET_RETRY"));
    for name in ["BACKUP_ACTION_", "PGPASSWORD", "AWS_", "ACTIONS_"] {
        assert!(!seen.contains(name), "{name} in {seen}");
    }
    let arguments = fs::read_to_string(dir.path().join("arguments")).unwrap();
    assert!(arguments.contains("--release --locked"), "{arguments}");

    // A failed build never falls back to the program of an earlier one.
    let broken = bootstrap(dir.path(), &[&env[..], &[("BREAK_BUILD", "1")]].concat());
    assert_eq!(broken.status.code(), Some(3), "{broken:?}");
}

//! `doctor --workflow` over real files, and `init`: what it writes passes every lint, and nothing is
//! ever overwritten or half written.
#![expect(
    clippy::disallowed_methods,
    reason = "tests start lints and python themselves"
)]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that cannot go on ends its test"
)]

use crate::support::run::{Ended, PROGRAM, Run};
use crate::support::{need, root, tool};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const ACTION: &str = "backup-action/backup-action@0123456789abcdef0123456789abcdef01234567";
const ROLE: &str = "arn:aws:iam::111122223333:role/backup";

/// A gate that deploys whatever it said, without a time limit.
const HOLES: &str = "\
on: push
concurrency: deploy
jobs:
  gate:
    runs-on: ubuntu-24.04
    steps:
      - uses: backup-action/backup-action@0123456789abcdef0123456789abcdef01234567
        with:
          local: /b
  deploy:
    needs: gate
    if: always()
    runs-on: ubuntu-24.04
    steps:
      - run: ./deploy.sh
";

#[test]
fn the_workflows_of_this_repository_have_no_hole() {
    let mut seen = 0;
    for dir in [".github/workflows", "docs/examples", "examples/workflows"] {
        let dir = root().join(dir);
        if !dir.is_dir() {
            continue;
        }
        seen += 1;
        let ended = Run::new("doctor")
            .at_home()
            .arg("--workflow")
            .arg(&dir)
            .end();
        assert_eq!(ended.code, 0, "{}", ended.screen());
    }
    assert!(seen >= 2);
}

#[test]
fn holes_are_said_on_the_screen_in_json_and_at_their_lines() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("deploy.yml");
    fs::write(&file, HOLES).unwrap();
    let name = file.to_str().unwrap();
    let look = || Run::new("doctor").arg("--workflow").arg(&file);
    let text = look().end();
    assert_eq!(text.code, 1, "{}", text.screen());
    says(
        &text,
        &format!("{name}:12:9: error: always() lets job deploy run"),
    );
    says(&text, "Write `if: needs.gate.outputs.passed == 'true'`.");
    says(&text, &format!("{name}:4:3: warning: job gate may hang"));
    says(&text, "1 file: 2 holes found");
    assert!(
        text.stderr.contains(&format!(
            "::error file={name},line=12,title=deploy-always::"
        )),
        "{}",
        text.stderr
    );
    assert!(
        text.stderr.contains(&format!(
            "::warning file={name},line=4,title=timeout-minutes::"
        )),
        "{}",
        text.stderr
    );
    let home = look().at_home().args(&["--output", "json"]).end();
    assert_eq!((home.code, home.stderr.as_str()), (1, ""));
    let json: Value = serde_json::from_slice(&home.stdout).unwrap();
    let found = &json["files"][0]["findings"][1];
    assert_eq!(found["id"], "deploy-always");
    assert_eq!(
        (&found["line"], &found["column"]),
        (&Value::from(12), &Value::from(9))
    );

    // A file that is no workflow is another matter, and does not hide the holes of the next.
    let broken = dir.path().join("broken.yml");
    for (bytes, said) in [
        (&b"jobs: [\n"[..], "broken.yml:2:1: not valid YAML"),
        (b"a: 1\n", "no workflow: it has no jobs"),
        (b"\xff", "not valid UTF-8"),
    ] {
        fs::write(&broken, bytes).unwrap();
        let ended = Run::new("doctor")
            .at_home()
            .arg("--workflow")
            .arg(&broken)
            .arg("--workflow")
            .arg(&file)
            .end();
        assert_eq!(ended.code, 2, "{}", ended.screen());
        says(&ended, said);
        says(&ended, "always() lets job deploy run");
    }
    let missing = Run::new("doctor")
        .at_home()
        .arg("--workflow")
        .arg(dir.path().join("no.yml"))
        .end();
    assert_eq!(missing.code, 2);
    says(&missing, "could not read workflow");
}

/// The screen has the words.
fn says(ended: &Ended, words: &str) {
    assert!(ended.all().contains(words), "{words}:\n{}", ended.all());
}

/// An empty repository.
fn repository() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(".git")).unwrap();
    dir
}

fn init(dir: &Path, args: &[&str]) -> Ended {
    Run::new("init").at_home().at(dir).args(args).end()
}

/// Files below a directory, without `.git`.
fn written(dir: &Path) -> Vec<String> {
    let mut found: Vec<String> = walk(dir)
        .iter()
        .map(|path| path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned())
        .filter(|path| !path.starts_with(".git/"))
        .collect();
    found.sort();
    found
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir)
        .unwrap()
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path),
                false => vec![path],
            }
        })
        .collect()
}

#[test]
fn what_init_writes_passes_every_lint() {
    let test = "init";
    let lints: Vec<(PathBuf, Vec<&str>)> = [
        ("actionlint", vec![]),
        ("zizmor", vec!["--offline", "--no-progress"]),
        (
            "check-jsonschema",
            vec!["--builtin-schema", "vendor.github-workflows"],
        ),
    ]
    .into_iter()
    .filter_map(|(name, args)| Some((need(test, name, tool(name))?, args)))
    .collect();
    let keys = [
        "--remote",
        "s3://company-backups/nostromo",
        "--s3-endpoint",
        "https://s3.example.org",
        "--pr-size",
        "--slack",
    ];
    let role = [
        "--remote",
        "s3://company-backups/nostromo",
        "--aws-role",
        ROLE,
        "--s3-region",
        "eu-west-1",
        "--pr-size",
    ];
    let local = [
        "--local",
        "/var/backups/pg",
        "--runner",
        "self-hosted",
        "--deploy",
        "make deploy && echo \"done: it's\" # ok",
    ];
    for (action, args) in [(ACTION, &keys[..]), (ACTION, &role), ("./", &local)] {
        let dir = repository();
        let ended = init(
            dir.path(),
            &[&["--yes", "--action-ref", action], args].concat(),
        );
        assert_eq!(ended.code, 0, "{}", ended.screen());
        let workflows: Vec<PathBuf> = walk(&dir.path().join(".github/workflows"));
        assert_eq!(
            workflows.len(),
            2 + usize::from(args.contains(&"--pr-size"))
        );
        for (lint, lint_args) in &lints {
            let output = Command::new(lint)
                .args(lint_args)
                .args(&workflows)
                .current_dir(dir.path())
                .output()
                .unwrap();
            assert!(output.status.success(), "{}: {output:?}", lint.display());
        }
        let doctor = Run::new("doctor")
            .at_home()
            .at(dir.path())
            .args(&["--workflow", ".github/workflows"])
            .end();
        assert_eq!(doctor.code, 0, "{}", doctor.screen());
        // The configuration is read: a directory of its own that has no backups yet.
        let list = Run::new("list")
            .at_home()
            .at(dir.path())
            .args(&["--remote", "not-a-bucket"])
            .end();
        says(&list, "does not begin with s3://");
        // Once more changes nothing, and says so.
        let again = init(
            dir.path(),
            &[&["--yes", "--action-ref", action], args].concat(),
        );
        assert_eq!(again.code, 0);
        says(&again, "nothing to do");
    }
}

#[test]
fn init_never_overwrites_and_writes_all_or_nothing() {
    let args = [
        "--yes",
        "--action-ref",
        ACTION,
        "--remote",
        "s3://company-backups/nostromo",
    ];
    let dir = repository();
    let drill = dir.path().join(".github/workflows/restore-drill.yml");
    fs::create_dir_all(drill.parent().unwrap()).unwrap();
    fs::write(&drill, "mine").unwrap();
    let ended = init(dir.path(), &args);
    assert_eq!(ended.code, 2, "{}", ended.screen());
    says(
        &ended,
        "restore-drill.yml exists and says something else; nothing was written",
    );
    assert_eq!(written(dir.path()), [".github/workflows/restore-drill.yml"]);
    assert_eq!(fs::read_to_string(&drill).unwrap(), "mine");
    // A link that leads nowhere is there, too.
    fs::remove_file(&drill).unwrap();
    std::os::unix::fs::symlink(dir.path().join("elsewhere"), &drill).unwrap();
    assert_ne!(init(dir.path(), &args).code, 0);
    assert!(!dir.path().join("elsewhere").exists());
    assert!(!dir.path().join(".github/backup-action.toml").exists());

    let other = repository();
    let dry = init(other.path(), &[&args[1..], &["--dry-run"]].concat());
    assert_eq!(dry.code, 0);
    says(&dry, "name: deploy-gate");
    assert_eq!(written(other.path()), Vec::<String>::new());
    for (args, said) in [
        (&args[1..], "there is no terminal to ask on"),
        (
            &["--yes", "--remote", "s3://company-backups/x"][..],
            "--action-ref is missing",
        ),
        (&["--yes", "--action-ref", ACTION][..], "no store is named"),
    ] {
        let ended = init(other.path(), args);
        assert_eq!(ended.code, 2, "{}", ended.screen());
        says(&ended, said);
    }
    let no_repository = tempfile::tempdir().unwrap();
    let ended = init(no_repository.path(), &args);
    assert_eq!(ended.code, 2);
    says(&ended, "is not the root of a repository");
    assert_eq!(written(no_repository.path()), Vec::<String>::new());
}

/// Types answers into a terminal, each after a prompt; prints what was seen, and ends as the program.
const TERMINAL: &str = r#"
import os, pty, select, sys
typed = [os.fsencode(text) for text in sys.argv[2:]]
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1], "init"])
seen = b""
while True:
    ready = select.select([fd], [], [], 60)[0]
    if not ready:
        os.kill(pid, 9)
        sys.exit("no prompt: " + repr(seen))
    try:
        data = os.read(fd, 65536)
    except OSError:
        break
    if not data:
        break
    seen += data
    if seen.endswith(b": ") and typed:
        os.write(fd, typed.pop(0))
status = os.waitpid(pid, 0)[1]
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 100 + os.WTERMSIG(status))
"#;

#[test]
fn init_asks_on_a_terminal() {
    let Some(python) = need("init", "python3", tool("python3")) else {
        return;
    };
    let on_terminal = |dir: &Path, typed: &[&str]| {
        let output = Command::new(&python)
            .args(["-c", TERMINAL, PROGRAM])
            .args(typed)
            .current_dir(dir)
            .output()
            .unwrap();
        let seen = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (output.status.code(), seen)
    };
    let action = format!("{ACTION}\n");
    // Action, bucket, endpoint, region, role; then secret, deploy, branch, runner, cron, Slack, comments.
    let answers = [
        &*action,
        "s3://company-backups/nostromo\n",
        "\n",
        "eu-west-1\n",
        "\n",
        "\n",
        "make ship\n",
        "\n",
        "\n",
        "\n",
        "n\n",
        "n\n",
    ];
    let dir = repository();
    let (code, seen) = on_terminal(dir.path(), &[&answers[..], &["y\n"]].concat());
    assert_eq!(code, Some(0), "{seen}");
    let gate = fs::read_to_string(dir.path().join(".github/workflows/deploy-gate.yml")).unwrap();
    assert!(
        gate.contains("run: make ship\n") && gate.contains(ACTION),
        "{gate}"
    );
    assert_eq!(written(dir.path()).len(), 3);

    for (ending, expected) in [("n\n", 2), ("\u{4}", 2), ("\u{3}", 102)] {
        let dir = repository();
        let (code, seen) = on_terminal(dir.path(), &[&answers[..], &[ending]].concat());
        assert_eq!(code, Some(expected), "{seen}");
        assert_eq!(written(dir.path()), Vec::<String>::new(), "{seen}");
    }
}

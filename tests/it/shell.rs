//! Completions and manual pages, loaded by what reads them.
#![expect(
    clippy::disallowed_methods,
    reason = "tests start shells and groff themselves"
)]
#![expect(
    clippy::unwrap_used,
    reason = "a helper that cannot go on ends its test"
)]

use crate::support::run::{PROGRAM, Run};
use crate::support::{need, tool};
use std::fs;
use std::process::Command;

fn script(shell: &str) -> tempfile::NamedTempFile {
    let ended = Run::new("completions").at_home().arg(shell).end();
    assert_eq!(ended.code, 0, "{}", ended.screen());
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), ended.stdout).unwrap();
    file
}

#[test]
fn bash_completes_commands_options_and_shells() {
    let Some(bash) = need("completions", "bash", tool("bash")) else {
        return;
    };
    let file = script("bash");
    let complete = |words: &[&str]| {
        let text = format!(
            "source {}; complete -p backup-action >/dev/null || exit 9; \
             COMP_WORDS=({}); COMP_CWORD={}; _backup__action backup-action '{}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            file.path().display(),
            words.join(" "),
            words.len() - 1,
            words[words.len() - 1],
            words[words.len() - 2],
        );
        let output = Command::new(&bash)
            .args(["--norc", "-c", &text])
            .output()
            .unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete(&["backup-action", "dri"]), ["drill"]);
    assert_eq!(
        complete(&["backup-action", "gate", "--s3-end"]),
        ["--s3-endpoint"]
    );
    assert_eq!(
        complete(&["backup-action", "doctor", "--workf"]),
        ["--workflow"]
    );
    assert_eq!(complete(&["backup-action", "completions", "z"]), ["zsh"]);
    // What is not for people is not offered.
    assert!(!complete(&["backup-action", ""]).contains(&"internals".to_owned()));
}

#[test]
fn zsh_and_fish_can_read_theirs() {
    for shell in ["zsh", "fish"] {
        let file = script(shell);
        let Some(program) = need("completions", shell, tool(shell)) else {
            continue;
        };
        let output = Command::new(program)
            .arg("-n")
            .arg(file.path())
            .output()
            .unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
    }
}

#[test]
fn an_unknown_shell_or_command_is_a_mistake() {
    for args in [
        &["completions", "tcsh"][..],
        &["man", "nothing"],
        &["man", "--dir", "x", "gate"],
    ] {
        let output = Command::new(PROGRAM).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}

#[test]
fn manual_pages_are_read_without_a_warning() {
    let Some(groff) = need("man", "groff", tool("groff")) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let ended = Run::new("man").at_home().arg("--dir").arg(dir.path()).end();
    assert_eq!(ended.code, 0, "{}", ended.screen());
    let mut pages = 0;
    for entry in fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let output = Command::new(&groff)
            .args([
                "-man", "-Tutf8", "-Kutf8", "-ww", "-P-c", "-P-b", "-P-u", "-P-o",
            ])
            .arg(&path)
            .output()
            .unwrap();
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{}: {}",
            path.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            shown.contains("NAME") && shown.contains("SYNOPSIS"),
            "{shown}"
        );
        pages += 1;
    }
    assert!(pages >= 16, "{pages}");
    let one = Run::new("man").at_home().arg("gate").end();
    assert_eq!(
        one.stdout,
        fs::read(dir.path().join("backup-action-gate.1")).unwrap()
    );
    let text = String::from_utf8(one.stdout).unwrap();
    assert!(
        text.contains(".SH EXAMPLES\n.nf\n  backup\\-action gate"),
        "{text}"
    );
}

//! How the action gets its program: `support/release.json`, the download, the tool cache, the
//! attestation. Programs are scripts, handed out by a server of the test that does it well or badly.
#![expect(
    clippy::disallowed_methods,
    reason = "tests start bash themselves, as the runner does"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that cannot go on ends its test"
)]

use crate::support::files::{Answer, Files};
use crate::support::{need, root, tool};
use sha2::{Digest, Sha256};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// The released program: says what it was asked, and ends with a status of its own.
const PROGRAM: &str = "#!/bin/sh\necho RAN \"$@\"\nexit 7\n";

/// The target of this machine.
fn target() -> &'static str {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => "x86_64-unknown-linux-musl",
        ("linux", "aarch64") => "aarch64-unknown-linux-musl",
        ("macos", "x86_64") => "x86_64-apple-darwin",
        ("macos", "aarch64") => "aarch64-apple-darwin",
        other => panic!("no program for {other:?}"),
    }
}

fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A runner: the action's files as of a release, a tool cache, a directory for temporary files; all
/// below a directory whose name has a space.
struct Runner {
    dir: TempDir,
}

impl Runner {
    /// The release has `PROGRAM`, and its address is `url`.
    fn new(url: &str) -> Runner {
        let dir = tempfile::Builder::new()
            .prefix("run ner")
            .tempdir()
            .unwrap();
        let runner = Runner { dir };
        for part in ["action/action", "action/support", "tools", "temp"] {
            fs::create_dir_all(runner.path(part)).unwrap();
        }
        fs::copy(
            root().join("action/bootstrap.sh"),
            runner.path("action/action/bootstrap.sh"),
        )
        .unwrap();
        runner.release(&[(target(), &sha256(PROGRAM), url)]);
        runner
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes support/release.json as `cargo xtask release --write` does.
    fn release(&self, assets: &[(&str, &str, &str)]) {
        let lines: Vec<String> = assets
            .iter()
            .map(|(target, sha256, url)| {
                format!("    {{ \"target\": \"{target}\", \"sha256\": \"{sha256}\", \"url\": \"{url}\" }}")
            })
            .collect();
        let text = format!(
            "{{\n  \"version\": \"9.9.9\",\n  \"repository\": \"acme/backup-action\",\n  \"assets\": [\n{}\n  ]\n}}\n",
            lines.join(",\n")
        );
        fs::write(self.path("action/support/release.json"), text).unwrap();
    }

    /// The bootstrap, as of a repository that is not checked out.
    fn start(&self, env: &[(&str, &str)]) -> Child {
        Command::new("bash")
            .arg(self.path("action/action/bootstrap.sh"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("GITHUB_ACTION_PATH", self.path("action"))
            .env("GITHUB_OUTPUT", self.path("output"))
            .env("GITHUB_STEP_SUMMARY", self.path("summary"))
            .env("RUNNER_TOOL_CACHE", self.path("tools"))
            .env("RUNNER_TEMP", self.path("temp"))
            .env("BACKUP_ACTION_ACTION_REPOSITORY", "acme/backup-action")
            .env("BACKUP_ACTION_VERIFY_ATTESTATION", "false")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn run(&self, env: &[(&str, &str)]) -> Output {
        self.start(env).wait_with_output().unwrap()
    }

    /// The program of the tool cache.
    fn cached(&self) -> PathBuf {
        self.path("tools/backup-action")
            .join(sha256(PROGRAM))
            .join("backup-action")
    }

    /// Everything below the tool cache and the directory for temporary files that is a file.
    fn files(&self) -> Vec<PathBuf> {
        fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, into);
                } else {
                    into.push(path);
                }
            }
        }
        let mut files = Vec::new();
        walk(&self.path("tools"), &mut files);
        walk(&self.path("temp"), &mut files);
        files
    }

    /// A directory with programs for `PATH`: those of `/usr/bin` and `/bin` by these names, where
    /// they are, and scripts of the test.
    fn programs(&self, names: &[&str], scripts: &[(&str, &str)]) -> String {
        let bin = self.path("bin");
        fs::create_dir_all(&bin).unwrap();
        for name in names {
            let found = ["/usr/bin", "/bin"]
                .map(|dir| Path::new(dir).join(name))
                .into_iter()
                .find(|path| path.exists());
            let found = found.unwrap_or_else(|| panic!("no {name}"));
            symlink(found, bin.join(name)).unwrap();
        }
        for (name, script) in scripts {
            // Written under another name first: a test that forks meanwhile must not hold it open.
            let draft = bin.join(format!("{name}.draft"));
            fs::write(&draft, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
            let copied = Command::new("cp")
                .arg(&draft)
                .arg(bin.join(name))
                .status()
                .unwrap();
            assert!(copied.success());
        }
        bin.into_os_string().into_string().unwrap()
    }
}

/// What the bootstrap needs besides curl.
const TOOLS: &[&str] = &[
    "bash",
    "sh",
    "mkdir",
    "mktemp",
    "chmod",
    "mv",
    "rm",
    "cut",
    "cat",
    "uname",
    "sha256sum",
];

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The released program ran, with the command as its only argument.
fn assert_ran(output: &Output) {
    let text = text(output);
    assert_eq!(output.status.code(), Some(7), "{text}");
    assert!(text.ends_with("RAN gate\n"), "{text}");
}

/// Nothing ran, nothing was kept, the gate is closed, and log and summary say why.
fn assert_refused(runner: &Runner, output: &Output, reason: &str) {
    let text = text(output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(!text.contains("RAN"), "{text}");
    assert!(
        text.contains(&format!("::error title=backup-action::{reason}")),
        "{text}"
    );
    assert!(
        fs::read_to_string(runner.path("summary"))
            .unwrap()
            .contains(reason)
    );
    let written = fs::read_to_string(runner.path("output")).unwrap();
    assert!(
        written.lines().all(|line| line == "passed=false"),
        "{written}"
    );
    assert_eq!(runner.files(), Vec::<PathBuf>::new(), "{text}");
}

fn curl(test: &str) -> bool {
    need(test, "curl", tool("curl")).is_some()
}

#[test]
fn the_released_program_is_kept_and_runs_again_without_a_network() {
    if !curl("the_released_program_is_kept_and_runs_again_without_a_network") {
        return;
    }
    let files = Files::start(&[Answer::File(PROGRAM.to_owned())]);
    let runner = Runner::new(&files.url("/v9.9.9/program"));
    assert_ran(&runner.run(&[]));
    assert_eq!(runner.files(), [runner.cached()], "no draft stays");
    drop(files);
    assert_ran(&runner.run(&[]));
}

#[test]
fn other_bytes_than_the_released_ones_never_run() {
    if !curl("other_bytes_than_the_released_ones_never_run") {
        return;
    }
    let evil = "#!/bin/sh\necho RAN evil >\"$RUNNER_TEMP/ran\"\n".to_owned();
    let cases = [
        (Answer::File(evil), "the SHA-256 of http"),
        (
            Answer::File(PROGRAM.replace('7', "0")),
            "the SHA-256 of http",
        ),
        (Answer::File(String::new()), "the SHA-256 of http"),
        (
            Answer::Truncated(PROGRAM.to_owned()),
            "could not download http",
        ),
        (Answer::Status(404), "could not download http"),
        (Answer::Silence, "could not download http"),
        (
            Answer::Elsewhere("file:///etc/passwd".to_owned()),
            "could not download http",
        ),
    ];
    for (answer, reason) in cases {
        let files = Files::start(&[answer]);
        // A checkout with cargo is at hand: it must not be the second way.
        let runner = Runner::new(&files.url("/program"));
        let cargo = runner.programs(&[], &[("cargo", "echo RAN by cargo")]);
        let path = format!("{cargo}:{}", std::env::var("PATH").unwrap());
        let output = runner.run(&[("PATH", &path), ("BACKUP_ACTION_DOWNLOAD_TIMEOUT", "2")]);
        assert_refused(&runner, &output, reason);
    }
}

#[test]
fn what_passes_is_tried_again_and_what_moved_is_followed() {
    if !curl("what_passes_is_tried_again_and_what_moved_is_followed") {
        return;
    }
    let there = Files::start(&[Answer::Slowly(PROGRAM.to_owned())]);
    let files = Files::start(&[
        Answer::Status(503),
        Answer::Elsewhere(there.url("/storage/7")),
    ]);
    let runner = Runner::new(&files.url("/program"));
    assert_ran(&runner.run(&[]));
    assert_eq!(files.heard().len(), 2);
    assert_eq!(there.heard(), ["GET /storage/7"]);
}

#[test]
fn a_changed_tool_cache_is_noticed_and_replaced() {
    if !curl("a_changed_tool_cache_is_noticed_and_replaced") {
        return;
    }
    let files = Files::start(&[Answer::File(PROGRAM.to_owned())]);
    let runner = Runner::new(&files.url("/program"));
    assert_ran(&runner.run(&[]));
    fs::write(runner.cached(), "#!/bin/sh\necho poison\n").unwrap();
    let output = runner.run(&[]);
    assert_ran(&output);
    assert!(text(&output).contains("::warning"), "{}", text(&output));
    assert!(!text(&output).contains("poison"));
    assert_eq!(fs::read_to_string(runner.cached()).unwrap(), PROGRAM);
    assert_eq!(files.heard().len(), 2);

    // Nor does a directory in its place stop the runner for good.
    fs::remove_file(runner.cached()).unwrap();
    fs::create_dir(runner.cached()).unwrap();
    assert_ran(&runner.run(&[]));
    assert_eq!(fs::read_to_string(runner.cached()).unwrap(), PROGRAM);

    // Without a network it is refused, not run.
    fs::write(runner.cached(), "#!/bin/sh\necho poison\n").unwrap();
    drop(files);
    let output = runner.run(&[("BACKUP_ACTION_DOWNLOAD_TIMEOUT", "2")]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    assert!(!text(&output).contains("poison"));
}

#[test]
fn a_tool_cache_that_cannot_be_written_is_done_without() {
    if !curl("a_tool_cache_that_cannot_be_written_is_done_without") {
        return;
    }
    let files = Files::start(&[Answer::File(PROGRAM.to_owned())]);
    let runner = Runner::new(&files.url("/program"));
    // A file where a directory should be made: not even root can.
    fs::write(runner.path("tools/backup-action"), "").unwrap();
    assert_ran(&runner.run(&[]));
    assert_ran(&runner.run(&[("RUNNER_TOOL_CACHE", "")]));
    let none = Runner::new(&files.url("/program"));
    let output = none.run(&[("RUNNER_TOOL_CACHE", ""), ("RUNNER_TEMP", "/dev/null")]);
    assert_refused(&none, &output, "could not make a directory");
}

#[test]
fn jobs_that_start_together_share_a_tool_cache() {
    if !curl("jobs_that_start_together_share_a_tool_cache") {
        return;
    }
    let files = Files::start(&[Answer::Slowly(PROGRAM.to_owned())]);
    let runner = Runner::new(&files.url("/program"));
    let jobs: Vec<Child> = (0..6).map(|_| runner.start(&[])).collect();
    for job in jobs {
        assert_ran(&job.wait_with_output().unwrap());
    }
    assert_eq!(runner.files(), [runner.cached()]);
}

#[test]
fn proxies_and_mirrors_are_asked() {
    if !curl("proxies_and_mirrors_are_asked") {
        return;
    }
    // Only the proxy knows the host.
    let proxy = Files::start(&[Answer::File(PROGRAM.to_owned())]);
    let runner = Runner::new("http://releases.invalid/program");
    assert_ran(&runner.run(&[("http_proxy", &proxy.url(""))]));
    assert_eq!(proxy.heard(), ["GET http://releases.invalid/program"]);

    let proxy = Files::start(&[Answer::Status(407)]);
    let runner = Runner::new("https://releases.invalid/program");
    let output = runner.run(&[("https_proxy", &proxy.url(""))]);
    assert_refused(
        &runner,
        &output,
        "could not download https://releases.invalid",
    );
    assert_eq!(proxy.heard(), ["CONNECT releases.invalid:443"]);

    for slash in ["", "/"] {
        let mirror = Files::start(&[Answer::File(PROGRAM.to_owned())]);
        let runner = Runner::new("https://releases.invalid/download/v9.9.9/program");
        let base = mirror.url(&format!("/mirror{slash}"));
        assert_ran(&runner.run(&[("BACKUP_ACTION_DOWNLOAD_BASE", &base)]));
        assert_eq!(mirror.heard(), ["GET /mirror/program"]);
    }
    // A mirror is believed no more than anybody.
    let mirror = Files::start(&[Answer::File("#!/bin/sh\necho RAN\n".to_owned())]);
    let runner = Runner::new("https://releases.invalid/program");
    let output = runner.run(&[("BACKUP_ACTION_DOWNLOAD_BASE", &mirror.url(""))]);
    assert_refused(&runner, &output, "the SHA-256 of http");
}

#[test]
fn wget_does_where_curl_is_missing() {
    let test = "wget_does_where_curl_is_missing";
    if need(test, "wget", tool("wget")).is_none() {
        return;
    }
    let tools = [TOOLS, &["wget", "timeout"]].concat();
    for (answer, good) in [
        (Answer::File(PROGRAM.to_owned()), true),
        (Answer::Status(404), false),
        (Answer::Silence, false),
    ] {
        let files = Files::start(&[answer]);
        let runner = Runner::new(&files.url("/program"));
        let path = runner.programs(&tools, &[]);
        let env = [
            ("PATH", path.as_str()),
            (
                "BACKUP_ACTION_DOWNLOAD_TIMEOUT",
                if good { "60" } else { "2" },
            ),
        ];
        let output = runner.run(&env);
        if good {
            assert_ran(&output);
        } else {
            assert_refused(&runner, &output, "could not download");
        }
    }
    // Neither of them: said, not hung.
    let runner = Runner::new("http://127.0.0.1:9/program");
    let path = runner.programs(TOOLS, &[]);
    assert_refused(
        &runner,
        &runner.run(&[("PATH", &path)]),
        "could not download",
    );
}

#[test]
fn machines_without_a_program_are_told() {
    let runner = Runner::new("http://127.0.0.1:9/program");
    for (uname, reason) in [
        (
            "[ $1 = -s ] && echo Linux || echo riscv64",
            "there is no program for Linux-riscv64",
        ),
        (
            "[ $1 = -s ] && echo FreeBSD || echo x86_64",
            "there is no program for FreeBSD-x86_64",
        ),
        (
            "[ $1 = -s ] && echo MINGW64_NT-10.0 || echo x86_64",
            "Windows runners are not supported",
        ),
        (
            "[ $1 = -s ] && echo Darwin || echo arm64",
            "there is no released program for aarch64-apple-darwin",
        ),
    ] {
        let path = runner.programs(&[], &[("uname", uname)]);
        let path = format!("{path}:{}", std::env::var("PATH").unwrap());
        assert_refused(&runner, &runner.run(&[("PATH", &path)]), reason);
    }
}

#[test]
fn a_release_file_that_is_not_understood_names_no_program() {
    let good = sha256(PROGRAM);
    let upper = good.to_uppercase();
    let short = &good[1..];
    let other = "s390x-unknown-linux-gnu";
    for (target, sha256, url) in [
        (target(), upper.as_str(), "https://releases.invalid/p"),
        (target(), short, "https://releases.invalid/p"),
        (target(), "", "https://releases.invalid/p"),
        (target(), good.as_str(), "file:///etc/passwd"),
        (target(), good.as_str(), "https://releases.invalid/p --next"),
        (other, good.as_str(), "https://releases.invalid/p"),
    ] {
        let runner = Runner::new("http://127.0.0.1:9/program");
        runner.release(&[(target, sha256, url)]);
        assert_refused(&runner, &runner.run(&[]), "there is no released program");
    }
    let runner = Runner::new("http://127.0.0.1:9/program");
    fs::remove_file(runner.path("action/support/release.json")).unwrap();
    assert_eq!(runner.run(&[]).status.code(), Some(3));
}

/// A `gh` that writes down what it is asked. `$GH_SAYS` is its status.
const GH: &str = r#"
case "$*" in *--help) exit "${GH_KNOWS:-0}" ;; esac
printf '%s\n' "$*" "token $GH_TOKEN" >>"$RUNNER_TEMP/../gh"
[ ! -x "$3" ] || echo executable >>"$RUNNER_TEMP/../gh"
exit "${GH_SAYS:-0}""#;

#[test]
fn the_attestation_is_asked_as_the_input_says() {
    if !curl("the_attestation_is_asked_as_the_input_says") {
        return;
    }
    let files = Files::start(&[Answer::File(PROGRAM.to_owned())]);
    let url = files.url("/program");
    let asked = |runner: &Runner| fs::read_to_string(runner.path("gh")).unwrap_or_default();
    let run = |runner: &Runner, env: &[(&str, &str)]| {
        let own = runner.path("bin").join("gh");
        if !own.exists() {
            runner.programs(&[], &[("gh", GH)]);
        }
        let path = format!(
            "{}:{}",
            runner.path("bin").display(),
            std::env::var("PATH").unwrap()
        );
        let token = ("BACKUP_ACTION_GITHUB_TOKEN", "t0ken");
        runner.run(&[&[("PATH", path.as_str()), token], env].concat())
    };
    let input = |value| [("BACKUP_ACTION_VERIFY_ATTESTATION", value)];

    // auto: for a download, before it can be executed; with the workflow that may have built it.
    let runner = Runner::new(&url);
    assert_ran(&run(&runner, &input("auto")));
    let first = asked(&runner);
    assert!(
        first.contains("--repo acme/backup-action --signer-workflow acme/backup-action/.github/workflows/release.yml"),
        "{first}"
    );
    assert!(
        first.contains("token t0ken") && !first.contains("executable"),
        "{first}"
    );
    assert_ran(&run(&runner, &input("auto")));
    assert_eq!(
        asked(&runner),
        first,
        "the cached program was proved before"
    );
    // true: every time, and a no is a no for the cached program as well.
    assert_ran(&run(&runner, &input("true")));
    assert_ne!(asked(&runner), first);
    let output = run(&runner, &[&input("true")[..], &[("GH_SAYS", "1")]].concat());
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));

    // A no, and what is not there.
    for value in ["auto", "true"] {
        let runner = Runner::new(&url);
        let output = run(&runner, &[&input(value)[..], &[("GH_SAYS", "1")]].concat());
        assert_refused(
            &runner,
            &output,
            "the attestation of the program could not be verified",
        );
    }
    for nothing in [
        ("GH_KNOWS", "1"),
        ("GITHUB_SERVER_URL", "https://github.acme.example"),
    ] {
        let runner = Runner::new(&url);
        let output = run(&runner, &[&input("auto")[..], &[nothing]].concat());
        assert_ran(&output);
        assert!(
            text(&output).contains("was not asked for"),
            "{}",
            text(&output)
        );
    }
    let runner = Runner::new(&url);
    let output = run(
        &runner,
        &[&input("true")[..], &[("GH_KNOWS", "1")]].concat(),
    );
    assert_refused(
        &runner,
        &output,
        "input verify-attestation is true, and gh cannot do it",
    );
    let runner = Runner::new(&url);
    assert_ran(&run(
        &runner,
        &[&input("false")[..], &[("GH_SAYS", "1")]].concat(),
    ));
    assert_eq!(asked(&runner), "");
}

#[test]
fn inputs_of_the_bootstrap_are_checked_and_run_nothing() {
    let runner = Runner::new("http://127.0.0.1:9/program");
    let bad: &[(&str, &[&str])] = &[
        (
            "COMMAND",
            &[
                "Gate",
                "gate; touch ran",
                "$(touch ran)",
                "--help",
                "gate\nx",
                "${{ x }}",
                "'",
            ],
        ),
        (
            "VERIFY_ATTESTATION",
            &["yes", "TRUE", "$(touch ran)", "auto\ntrue"],
        ),
        (
            "DOWNLOAD_BASE",
            &[
                "ftp://x",
                "file:///etc",
                "-o/etc/x",
                "http://a b",
                "http://u:p@h/",
                "https://$(touch ran) x",
                "http://x\n::error::y",
            ],
        ),
        (
            "DOWNLOAD_TIMEOUT",
            &[
                "0",
                "-1",
                "1.5",
                "5m",
                "999999",
                "1;touch ran",
                "a[$(touch ran)]",
            ],
        ),
        (
            "BIN_PATH",
            &[
                "/nowhere",
                "/tmp",
                "/etc/passwd",
                "$(touch ran)",
                "`touch ran`",
                "x\ny",
            ],
        ),
    ];
    for (name, values) in bad {
        let variable = format!("BACKUP_ACTION_{name}");
        let input = name.to_lowercase().replace('_', "-");
        for value in *values {
            let output = runner.run(&[(&variable, value)]);
            assert_refused(&runner, &output, &format!("input {input} "));
            let lines = text(&output);
            assert_eq!(lines.lines().count(), 1, "{value:?}: {lines}");
        }
    }
    assert!(!Path::new("ran").exists());
}

/// What is committed can be read by everybody who reads it.
#[test]
fn the_committed_release_file_is_json_in_the_form_that_bash_reads() {
    let text = fs::read_to_string(root().join("support/release.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let assets = json["assets"].as_array().unwrap();
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("    { \"target\": "))
            .count(),
        assets.len()
    );
    // Before the first release there is neither; afterwards, every target.
    let released = !json["version"].as_str().unwrap().is_empty();
    assert_eq!(assets.len(), if released { 4 } else { 0 });
    assert!(text.contains(&format!("\n  \"repository\": {},\n", json["repository"])));
}

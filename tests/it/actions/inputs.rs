//! Bad input for every input of the action: what is in action.yml is read, so that a new input
//! cannot be left out. Each value goes the way that the action's step gives it, through the bootstrap
//! into the program, and then has to be either text like any other, or refused by name. Nothing of it
//! runs, and nothing of it speaks for the program: not in the outputs, not in the log.
#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "tests start bash, and stop when they cannot go on"
)]

use super::workflow::Workflow;
use crate::gate::world::sample;
use crate::support::root;
use crate::support::run::{PROGRAM, files};
use crate::support::s3::{ACCESS_KEY, BUCKET, SECRET_KEY, SeaweedFs};
use backup_action::settings::{SETTINGS, Setting};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Everything that a shell, the runner's files and the runner's log would take for their own.
const INJECTIONS: &[&str] = &[
    "'; touch CANARY; '",
    "\"; touch CANARY; \" $(touch CANARY) `touch CANARY` ${{ github.token }} | touch CANARY & %0Apassed=true",
    "x\npassed=true\npassed<<E\ntrue\nE\n::set-output name=passed::true\n::error title=forged::forged\n##[error]forged\ntouch CANARY",
    "x%0A::error title=forged::forged ##[error]forged ::set-output name=passed::true",
    "--help $(touch CANARY)\r::error title=forged::forged",
];

/// Values of a wrong type, for settings that have one. A word, no number, a space, too much.
const WRONG: &[&str] = &[
    "hello world",
    "-1",
    " ",
    "99999999999999999999999",
    "\u{202e}true",
];

/// What action.yml says: input → environment variable, and the names of the outputs.
struct Action {
    inputs: BTreeMap<String, String>,
    outputs: Vec<String>,
}

fn action() -> Action {
    let text = fs::read_to_string(root().join("action.yml")).expect("action.yml");
    let section = |begin: &str, end: &str| {
        let (_, after) = text.split_once(begin).expect("the section begins");
        let (section, _) = after.split_once(end).expect("the section ends");
        section
            .lines()
            .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'))
            .filter(|name| !name.starts_with(' '))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let passed_on: BTreeMap<_, _> = text
        .lines()
        .filter_map(|line| {
            let (variable, value) = line.trim().split_once(": ${{ inputs.")?;
            Some((value.strip_suffix(" }}")?.to_owned(), variable.to_owned()))
        })
        .collect();
    let inputs = section("\ninputs:\n", "\noutputs:\n");
    let names: Vec<_> = passed_on.keys().cloned().collect();
    let mut sorted = inputs.clone();
    sorted.sort_unstable();
    assert_eq!(
        names, sorted,
        "every input is passed on, and nothing else is"
    );
    Action {
        inputs: passed_on,
        outputs: section("\noutputs:\n", "\nruns:\n"),
    }
}

/// Whether a value of this kind has a form, so that the injections above cannot be one. Decided by
/// the placeholder that `--help` shows.
fn has_a_form(setting: &Setting) -> bool {
    setting.value.is_empty()
        || setting.value.contains('|')
        || setting.value.contains('=')
        || setting.value.ends_with("URL")
        || matches!(
            setting.value,
            "DURATION" | "N" | "SIZE" | "DAYS" | "s3://BUCKET/PREFIX"
        )
}

/// A step of the action on this machine.
struct Step<'a> {
    action: &'a Action,
    base: BTreeMap<String, String>,
}

struct Ended {
    code: i32,
    log: String,
    outputs: BTreeMap<String, String>,
}

impl Step<'_> {
    fn run(&self, input: &str, value: &str) -> Ended {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| dir.path().join(name);
        for name in ["work", "tmp"] {
            fs::create_dir(at(name)).expect("a directory");
        }
        let mut command = Command::new("bash");
        command
            .arg(root().join("action/bootstrap.sh"))
            .current_dir(at("work"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").expect("PATH"))
            .env("HOME", at("work"))
            .env("TMPDIR", at("tmp"))
            .env("RUNNER_TEMP", at("tmp"))
            .env("RUNNER_OS", "Linux")
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_ACTION_PATH", root())
            .env("GITHUB_REPOSITORY", "acme/payroll")
            .env("GITHUB_SHA", "5ha")
            .env("GITHUB_RUN_ID", "7")
            .env("GITHUB_SERVER_URL", "http://127.0.0.1:1")
            .env("GITHUB_API_URL", "http://127.0.0.1:1")
            .env("GITHUB_OUTPUT", at("output"))
            .env("GITHUB_STEP_SUMMARY", at("summary"));
        // A step gives every input, empty where the workflow says nothing.
        for variable in self.action.inputs.values() {
            command.env(variable, "");
        }
        command
            .env("BACKUP_ACTION_LOCAL", at("store"))
            .envs(&self.base)
            .env(&self.action.inputs[input], value);
        let output = command.output().expect("bash starts");
        let ran: Vec<_> = files(dir.path())
            .into_iter()
            .filter(|path| path.file_name().is_some_and(|name| name == "CANARY"))
            .collect();
        assert!(ran.is_empty(), "{input}: {value:?} was executed: {ran:?}");
        Ended {
            code: output.status.code().expect("nobody kills it"),
            log: [output.stdout, output.stderr]
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .join("\n"),
            outputs: outputs(&at("output")),
        }
    }
}

/// The outputs as the runner reads them (`FileCommandManager.cs`); a file that it refuses has none.
fn outputs(path: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut lines = text.lines();
    let mut found = BTreeMap::new();
    while let Some(line) = lines.next() {
        let heredoc = line
            .split_once("<<")
            .filter(|(name, _)| !name.contains('='));
        if let Some((name, delimiter)) = heredoc {
            let value: Vec<_> = lines
                .by_ref()
                .take_while(|line| *line != delimiter)
                .collect();
            found.insert(name.to_owned(), value.join("\n"));
        } else if let Some((name, value)) = line.split_once('=') {
            found.insert(name.to_owned(), value.to_owned());
        }
    }
    found
}

/// What the runner would take for a command in this log, outside of `::stop-commands::`.
fn forged(log: &str) -> Option<&str> {
    let mut stopped: Option<&str> = None;
    log.split(['\n', '\r']).find(|line| {
        let line = line.trim_start();
        if let Some(token) = stopped {
            if line.strip_prefix("::").and_then(|l| l.strip_suffix("::")) == Some(token) {
                stopped = None;
            }
            return false;
        }
        if let Some(token) = line.strip_prefix("::stop-commands::") {
            stopped = Some(token);
            return false;
        }
        // `##[` is found anywhere in a line.
        line.starts_with("::set-output")
            || line.contains("##[error]forged")
            || line.starts_with("::error title=forged")
    })
}

/// Whether the log names the input: by its name, or by its words.
fn names(log: &str, input: &str) -> bool {
    let log = log.to_lowercase();
    log.contains(input) || log.contains(&input.replace('-', " "))
}

fn judge(action: &Action, input: &str, value: &str, ended: &Ended, form: bool) {
    let Ended { code, log, outputs } = ended;
    let case = format!("{input} = {value:?}, exit code {code}:\n{log}\n{outputs:?}");
    assert!((0..=3).contains(code), "{case}");
    assert_eq!(forged(log), None, "{case}");
    let known = |name: &String| action.outputs.contains(name);
    assert!(outputs.keys().all(known), "{case}");
    let passed = outputs.get("passed").map(String::as_str);
    assert!(matches!(passed, Some("true" | "false")), "{case}");
    assert!(*code == 0 || passed == Some("false"), "{case}");
    if *code == 2 {
        assert!(names(log, input), "does not name it: {case}");
    }
    if form {
        assert_eq!(*code, 2, "a value without the form was taken: {case}");
    }
}

/// The command that reads an input, and what that command needs besides.
fn base(input: &str, cluster: &str, remote: &str, endpoint: &str) -> BTreeMap<String, String> {
    let setting = SETTINGS.iter().find(|setting| setting.name == input);
    let command = setting
        .and_then(|setting| {
            ["gate", "drill", "verify-receipt", "annotate", "prune"]
                .into_iter()
                .find(|command| setting.is_of(command))
        })
        .unwrap_or(if input == "backup" { "verify" } else { "gate" });
    let mut base: BTreeMap<_, _> = [
        ("BACKUP_ACTION_BIN_PATH", PROGRAM),
        ("BACKUP_ACTION_COMMAND", command),
        ("BACKUP_ACTION_DATABASE_URL", cluster),
        ("BACKUP_ACTION_ENGINE", "local"),
        ("BACKUP_ACTION_NOTIFY_ON", "never"),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    // What belongs to a bucket or to mail is looked at only with one.
    if input.starts_with("s3-") || input.contains("remote") || input.contains("archive-class") {
        base.insert("BACKUP_ACTION_REMOTE".to_owned(), remote.to_owned());
        base.insert("BACKUP_ACTION_S3_ENDPOINT".to_owned(), endpoint.to_owned());
    }
    if input == "s3-kms-key-id" {
        base.insert("BACKUP_ACTION_S3_SSE".to_owned(), "aws:kms".to_owned());
    }
    if input.starts_with("email-") || input.starts_with("smtp-") {
        for (name, value) in [
            ("SMTP_URL", "smtp://127.0.0.1:1?tls=none"),
            ("EMAIL_TO", "ops@example.org"),
            ("EMAIL_FROM", "backup@example.org"),
        ] {
            base.insert(format!("BACKUP_ACTION_{name}"), value.to_owned());
        }
    }
    base
}

#[test]
fn every_input_is_text_or_refused_by_name() {
    let test = "actions::inputs";
    let (Some(cluster), Some(server)) = (sample(test), SeaweedFs::start(test)) else {
        return;
    };
    let action = action();
    let mut accepted = BTreeMap::new();
    for input in action.inputs.keys() {
        let setting = SETTINGS.iter().find(|setting| setting.name == input);
        let form = setting.is_some_and(has_a_form);
        let remote = format!("s3://{BUCKET}/{}", server.prefix("inputs"));
        let step = Step {
            action: &action,
            base: base(input, &cluster.url(), &remote, &server.endpoint()),
        };
        for value in INJECTIONS {
            let ended = step.run(input, value);
            judge(&action, input, value, &ended, form);
            if ended.code == 0 {
                accepted.insert(input.clone(), value);
            }
        }
        if form {
            // A list of spaces is an empty list: nothing was given.
            let is_list = setting.is_some_and(|setting| setting.list);
            for value in WRONG.iter().filter(|value| **value != " " || !is_list) {
                judge(&action, input, value, &step.run(input, value), true);
            }
        }
    }
    // The test would prove nothing if every run ended at the door.
    assert!(accepted.contains_key("cluster"), "{accepted:?}");
}

/// The same through act, which fills in `${{ }}` itself: the value comes from outside, as the name of
/// a branch or the message of a commit would. One step for each input.
#[test]
fn a_workflow_that_passes_hostile_text_on_runs_none_of_it() {
    let test = "actions::inputs::act";
    let action = action();
    let mut text = String::from(
        "name: it\non: push\njobs:\n  gate:\n    runs-on: ubuntu-24.04\n    steps:\n\
         \x20     - uses: actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd\n",
    );
    for input in action.inputs.keys() {
        let local = if input == "local" {
            ""
        } else {
            "          local: ${{ runner.temp }}/store\n"
        };
        text.push_str(&format!(
            "      - id: {input}\n        name: {input}\n        continue-on-error: true\n        uses: ./\n\
             \x20       with:\n          {input}: ${{{{ vars.VALUE }}}}\n{local}",
        ));
    }
    let Some(workflow) = Workflow::of_text(test, &text) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let canary = dir.path().join("CANARY");
    let value = format!(
        "'; touch {0}; ' \"; touch {0}; \" $(touch {0}) `touch {0}` ${{{{ secrets.CANARY }}}} ${{{{ toJSON(secrets) }}}}",
        canary.display()
    );
    let seen = workflow
        .var("VALUE", value)
        .secret("CANARY", "c4n4ry-of-the-secrets")
        .env("PGHOST", dir.path())
        .run();
    assert!(!canary.exists(), "{}", seen.log());
    assert!(
        !seen.text.contains("c4n4ry-of-the-secrets"),
        "{}",
        seen.log()
    );
    for input in action.inputs.keys() {
        assert_eq!(seen.output(input, "passed"), "false", "{input}");
        assert_eq!(
            seen.step("gate", input),
            ["failure"],
            "{input}: {}",
            seen.log()
        );
    }
}

//! Tests only: the runner's own parsers, written again from its sources (`FileCommandManager.cs`,
//! `ActionCommand.cs`), as the judge of what our outputs and commands mean to it.

use super::commands::{Level, annotation, annotations, group, masks, relay};
use super::output::{Extra, MAX_VALUE_BYTES, Outputs, values, write_summary};
use crate::check::{Check, CheckId};
use crate::report::samples;
use crate::secret::Secret;
use proptest::prelude::*;

/// `EnvFileKeyValuePairs`: what the runner makes of the file; an error fails the step.
fn env_file(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut rest = text;
    while let Some((line, _)) = read_line(&mut rest) {
        if line.is_empty() {
            continue;
        }
        let equals = line.find('=');
        let heredoc = line.find("<<");
        match (equals, heredoc) {
            (equals, Some(at)) if equals.is_none_or(|equals| at < equals) => {
                let (name, delimiter) = (&line[..at], &line[at + 2..]);
                if name.is_empty() || delimiter.is_empty() {
                    return Err(format!("invalid format {line:?}"));
                }
                let start = rest;
                let mut end = 0;
                loop {
                    match read_line(&mut rest) {
                        None => return Err("matching delimiter not found".to_owned()),
                        Some((line, _)) if line == delimiter => break,
                        Some((_, false)) => return Err("EOF marker missing new line".to_owned()),
                        Some((_, true)) => end = start.len() - rest.len() - 1,
                    }
                }
                pairs.push((name.to_owned(), start[..end].to_owned()));
            }
            (Some(at), _) if at > 0 => {
                pairs.push((line[..at].to_owned(), line[at + 1..].to_owned()));
            }
            _ => return Err(format!("invalid format {line:?}")),
        }
    }
    Ok(pairs)
}

fn read_line<'a>(rest: &mut &'a str) -> Option<(&'a str, bool)> {
    if rest.is_empty() {
        return None;
    }
    let (line, newline, after) = match rest.split_once('\n') {
        Some((line, after)) => (line, true, after),
        None => (*rest, false, ""),
    };
    *rest = after;
    Some((line, newline))
}

/// The last value of a name, as later lines override earlier ones.
fn last<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs
        .iter()
        .rev()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

#[derive(Debug, PartialEq, Clone)]
struct Command {
    name: String,
    properties: Vec<(String, String)>,
    data: String,
}

const REGISTERED: &[&str] = &[
    "error",
    "warning",
    "notice",
    "debug",
    "group",
    "endgroup",
    "add-mask",
    "stop-commands",
    "set-output",
    "save-state",
    "echo",
];

/// `TryParseV2`, then `TryParse`: the command that a line of stdout is, if it is one.
fn command(line: &str, registered: &[&str]) -> Option<Command> {
    v2(line, registered).or_else(|| v1(line, registered))
}

fn v2(line: &str, registered: &[&str]) -> Option<Command> {
    let rest = line.trim_start().strip_prefix("::")?;
    let (info, data) = rest.split_once("::")?;
    let (name, properties) = info.split_once(' ').unwrap_or((info, ""));
    if !registered.contains(&name) {
        return None;
    }
    let unescape_data = |text: &str| {
        text.replace("%0D", "\r")
            .replace("%0A", "\n")
            .replace("%25", "%")
    };
    let unescape_property = |text: &str| {
        text.replace("%0D", "\r")
            .replace("%0A", "\n")
            .replace("%3A", ":")
            .replace("%2C", ",")
            .replace("%25", "%")
    };
    let properties = properties
        .trim()
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), unescape_property(value)))
        .collect();
    Some(Command {
        name: name.to_owned(),
        properties,
        data: unescape_data(data),
    })
}

fn v1(line: &str, registered: &[&str]) -> Option<Command> {
    let rest = &line[line.find("##[")? + 3..];
    let (info, data) = rest.split_once(']')?;
    let name = info.split(' ').next()?;
    registered.contains(&name).then(|| Command {
        name: name.to_owned(),
        properties: Vec::new(),
        data: data.to_owned(),
    })
}

/// Every command of a log, with `stop-commands` honoured. Lines end at `\n`, `\r` and `\r\n`.
fn commands(log: &str) -> Vec<Command> {
    let mut found = Vec::new();
    let mut stopped: Option<String> = None;
    for line in log.split(['\n', '\r']) {
        match &stopped {
            Some(token) => {
                if command(line, &[token]).is_some() {
                    stopped = None;
                }
            }
            None => {
                if let Some(command) = command(line, REGISTERED) {
                    if command.name == "stop-commands" {
                        stopped = Some(command.data.clone());
                    }
                    found.push(command);
                }
            }
        }
    }
    assert_eq!(stopped, None, "commands were not resumed");
    found
}

fn property<'a>(command: &'a Command, name: &str) -> Option<&'a str> {
    command
        .properties
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

/// Text made of the pieces that mean something to the runner.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\n"),
        Just("\r"),
        Just("\r\n"),
        Just("::"),
        Just("::error::x"),
        Just("::add-mask::x"),
        Just("::stop-commands::x"),
        Just("##[error]"),
        Just("##"),
        Just("[group]"),
        Just("passed=true"),
        Just("passed<<EOF"),
        Just("EOF"),
        Just("ghadelimiter_"),
        Just("<<"),
        Just("="),
        Just("%"),
        Just("%0A"),
        Just("%25"),
        Just(","),
        Just(":"),
        Just(" "),
        Just("\u{2003}"),
        Just("title="),
        Just("ä"),
        Just("\0"),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn outputs_survive_whatever_they_hold(a in hostile(), b in hostile()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("output");
        let outputs = Outputs::begin(Some(&path)).unwrap();
        outputs.set("archive-key", &a).unwrap();
        outputs.set("receipt-key", &b).unwrap();
        let pairs = env_file(&std::fs::read_to_string(&path).unwrap()).unwrap();
        prop_assert_eq!(pairs, vec![
            ("passed".to_owned(), "false".to_owned()),
            ("archive-key".to_owned(), a),
            ("receipt-key".to_owned(), b),
        ]);
    }

    #[test]
    fn an_annotation_is_one_command(title in hostile(), message in hostile()) {
        let line = annotation(Level::Warning, &title, &message);
        let found = commands(&line);
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(&found[0].name, "warning");
        prop_assert_eq!(found[0].properties.len(), 1);
        // The runner prints the message into the log, where nothing may act either.
        prop_assert_eq!(commands(&found[0].data), vec![]);
        prop_assert_eq!(&found[0].data, &crate::report::escape::terminal(&message));
    }

    #[test]
    fn a_group_is_one_command(title in hostile()) {
        prop_assert_eq!(commands(&group(&title)).len(), 1);
    }

    #[test]
    fn a_child_cannot_speak_to_the_runner(text in hostile()) {
        let log = format!("{}::notice::after\n", relay(&text).unwrap());
        let names: Vec<_> = commands(&log).into_iter().map(|command| command.name).collect();
        prop_assert_eq!(names, ["stop-commands", "notice"]);
    }

    #[test]
    fn masks_name_the_secret_exactly(secret in "[a-z%@:/\\n\r ]{0,12}") {
        let lines = masks(&Secret::new(secret.clone()));
        let data: Vec<_> = lines.iter().flat_map(|line| commands(line)).collect();
        prop_assert_eq!(data.len(), lines.len());
        for command in &data {
            prop_assert_eq!(&command.name, "add-mask");
            prop_assert!(command.data.trim().chars().count() >= 4);
        }
        if secret.trim().chars().count() >= 4 {
            prop_assert!(data.iter().any(|command| command.data == secret));
        }
    }
}

#[test]
fn an_open_gate_is_written_last_and_only_for_a_whole_pass() {
    let dir = tempfile::tempdir().unwrap();
    let reports = [
        (samples::passed(), "true", "passed", ""),
        (
            samples::failed(),
            "false",
            "failed",
            "dump-exit,dump-complete,gzip-stream,manifest-published",
        ),
        (samples::error(), "false", "error", "store-writable"),
        (samples::interrupted(), "false", "interrupted", "dump-exit"),
    ];
    let mut dry = samples::passed();
    dry.dry_run = true;
    for (report, passed, status, failed) in
        reports.into_iter().chain([(dry, "false", "dry-run", "")])
    {
        let path = dir.path().join(status);
        let outputs = Outputs::begin(Some(&path)).unwrap();
        let early = env_file(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(early, [("passed".to_owned(), "false".to_owned())]);
        let extra = Extra {
            receipt_key: Some("receipts/gate/1.json"),
            ..Extra::default()
        };
        outputs.finish(&report, extra).unwrap();
        let pairs = env_file(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(
            pairs.last().unwrap(),
            &("passed".to_owned(), passed.to_owned())
        );
        assert_eq!(last(&pairs, "status"), Some(status));
        assert_eq!(last(&pairs, "failed-checks"), Some(failed));
        assert_eq!(last(&pairs, "receipt-key"), Some("receipts/gate/1.json"));
        let archive = (status == "passed" || status == "dry-run").then_some(samples::KEY);
        assert_eq!(last(&pairs, "archive-key"), archive);
    }
}

#[test]
fn an_archive_that_was_not_published_is_not_named() {
    let mut report = samples::failed();
    report.archive = samples::passed().archive;
    let named = |report: &crate::report::Report| {
        values(report, Extra::default())
            .iter()
            .any(|(name, _)| *name == "archive-key")
    };
    assert!(!named(&report));
    // One store may hold a good copy although the other failed.
    report.copies = samples::passed().copies;
    assert!(named(&report));
}

#[test]
fn every_declared_output_is_written_for_a_pass() {
    let written: Vec<_> = values(&samples::passed(), Extra::default())
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    for (name, _) in super::action::OUTPUTS {
        assert!(written.contains(name), "{name}");
    }
    assert_eq!(written.len(), super::action::OUTPUTS.len());
}

#[test]
fn an_unwritable_file_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    for path in [
        None,
        Some(dir.path()),
        Some(std::path::Path::new("/dev/full")),
    ] {
        let error = Outputs::begin(path).unwrap_err();
        assert!(crate::error::hint(&error).is_some(), "{error:#}");
    }
    assert!(write_summary(dir.path(), "x").is_err());
    let summary = dir.path().join("summary");
    write_summary(&summary, "a\n").unwrap();
    write_summary(&summary, "b\n").unwrap();
    assert_eq!(std::fs::read_to_string(&summary).unwrap(), "a\nb\n");
    assert!(write_summary(&summary, &"x".repeat(1024 * 1024 + 1)).is_err());
}

#[test]
fn long_and_unknown_outputs_are_dealt_with() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("output");
    let outputs = Outputs::begin(Some(&path)).unwrap();
    outputs.set("archive-key", &"ä".repeat(2_000_000)).unwrap();
    assert!(outputs.set("archive-uri", "x").is_err());
    let pairs = env_file(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let value = last(&pairs, "archive-key").unwrap();
    assert!(value.len() <= MAX_VALUE_BYTES + 3 && value.ends_with("ä…"));
}

#[test]
fn annotations_say_the_verdict_first_and_stop_at_ten() {
    let kinds = |report: crate::report::Report| -> Vec<(String, String)> {
        commands(&annotations(&report).join("\n"))
            .into_iter()
            .map(|c| {
                (
                    c.name.clone(),
                    property(&c, "title").unwrap_or_default().to_owned(),
                )
            })
            .collect()
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        kinds(samples::passed()),
        [
            pair("notice", "gate PASSED in 10.6 s"),
            pair("warning", "client-patched"),
        ]
    );
    assert_eq!(
        kinds(samples::failed()),
        [
            pair("error", "gate FAILED: dump-exit, dump-complete"),
            pair("error", "dump-exit"),
            pair("error", "dump-complete"),
        ]
    );
    let mut report = samples::failed();
    report.checks = CheckId::ALL
        .iter()
        .map(|id| Check::failed(*id, "\n::error::x ".repeat(2_000), "Fix it."))
        .collect();
    let found = commands(&annotations(&report).join("\n"));
    assert_eq!(found.len(), 10);
    assert!(found.iter().all(|c| c.data.chars().count() <= 4_096));
    let more = found.last().unwrap();
    let shown = CheckId::ALL.len() - 8;
    assert_eq!(
        property(more, "title"),
        Some(format!("and {shown} more").as_str())
    );
}

#[test]
fn a_password_is_masked_in_every_form_it_may_show_in() {
    let masked: Vec<String> = masks(&Secret::new("p%40ss w0rd/€"))
        .iter()
        .flat_map(|line| commands(line))
        .map(|command| command.data)
        .collect();
    for form in [
        "p%40ss w0rd/€",
        "p@ss w0rd/€",
        "p%40ss%20w0rd%2F%E2%82%AC",
        "p%40ss w0rd%2F€",
        "p%2540ss w0rd%2F€",
    ] {
        assert!(masked.iter().any(|m| m == form), "{form} not in {masked:?}");
    }
    let lines = masks(&Secret::new("-----BEGIN KEY-----\r\nabcd\r\nxy\r\n"));
    assert!(lines.contains(&"::add-mask::abcd".to_owned()), "{lines:#?}");
    assert!(!lines.contains(&"::add-mask::xy".to_owned()));
    for short in ["", "abc", "   ", "\n\n\n\n\n"] {
        assert_eq!(
            masks(&Secret::new(short)),
            Vec::<String>::new(),
            "{short:?}"
        );
    }
}

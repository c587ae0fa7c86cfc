//! The files that `init` writes: templates with their places filled in. What is filled in was checked
//! before (`Answers::check`), so that no answer can become more than a word of the file. Pure.

use super::answers::Answers;

const DEPLOY_GATE: &str = include_str!("templates/deploy-gate.yml");
const RESTORE_DRILL: &str = include_str!("templates/restore-drill.yml");
const PR_SIZE: &str = include_str!("templates/pr-size.yml");
const CONFIG: &str = include_str!("templates/backup-action.toml");

/// A file: its path below the root of the repository, and its text.
pub(super) struct File {
    pub(super) path: &'static str,
    pub(super) text: String,
}

/// Every file for these answers.
pub(super) fn files(answers: &Answers) -> Vec<File> {
    let places = places(answers);
    let file = |path, template| File {
        path,
        text: filled(template, &places),
    };
    let mut files = vec![
        file(".github/backup-action.toml", CONFIG),
        file(".github/workflows/deploy-gate.yml", DEPLOY_GATE),
        file(".github/workflows/restore-drill.yml", RESTORE_DRILL),
    ];
    if answers.pr_size {
        files.push(file(".github/workflows/pr-size.yml", PR_SIZE));
    }
    files
}

fn places(answers: &Answers) -> Vec<(&'static str, String)> {
    let has_role = answers.role.is_some();
    let line = |is_there: bool, text: &str| match is_there {
        true => text.to_owned(),
        false => String::new(),
    };
    let needs_keys = answers.remote.is_some() && !has_role;
    // zizmor asks whether a local action is meant to be one.
    let action = match answers.action_ref.starts_with('.') {
        true => format!(
            "{} # zizmor: ignore[self-repository] the action of this checkout",
            answers.action_ref
        ),
        false => answers.action_ref.clone(),
    };
    vec![
        ("ACTION", action),
        ("BRANCH", answers.branch.clone()),
        ("RUNNER", answers.runner.clone()),
        ("CRON", answers.drill_cron.clone()),
        ("DATABASE_SECRET", answers.database_secret.clone()),
        ("DEPLOY", run(&answers.deploy)),
        (
            "ID_TOKEN",
            line(
                has_role,
                "id-token: write # to get short-lived AWS credentials",
            ),
        ),
        (
            "ROLE",
            answers
                .role
                .as_ref()
                .map_or(String::new(), |role| format!("aws-role-to-assume: {role}")),
        ),
        (
            "SLACK",
            line(
                answers.slack,
                "slack-webhook-url: ${{ secrets.SLACK_WEBHOOK_URL }}",
            ),
        ),
        (
            "KEYS",
            line(
                needs_keys,
                "env:\n  AWS_ACCESS_KEY_ID: ${{ secrets.BACKUP_KEY_ID }}\n  AWS_SECRET_ACCESS_KEY: ${{ secrets.BACKUP_KEY }}",
            ),
        ),
        ("STORES", stores(answers)),
    ]
}

/// A block, in which only the end of a line means something, and the command has one line.
fn run(command: &str) -> String {
    let is_plain = command.starts_with(|c: char| c.is_alphanumeric() || "./".contains(c))
        && command
            .chars()
            .all(|c| c.is_alphanumeric() || " ./_-=".contains(c));
    match is_plain {
        true => format!("run: {command}"),
        false => format!("run: |\n  {command}"),
    }
}

fn stores(answers: &Answers) -> String {
    let settings = [
        ("local", &answers.local),
        ("remote", &answers.remote),
        ("s3-endpoint", &answers.s3_endpoint),
        ("s3-region", &answers.s3_region),
    ];
    let lines: Vec<String> = settings
        .iter()
        .filter_map(|(name, value)| {
            value
                .as_ref()
                .map(|value| format!("{name} = {}", quoted(value)))
        })
        .collect();
    lines.join("\n")
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Fills `@@NAME@@` in, in one pass, so that an answer which looks like a place stays an answer. A
/// place that is a whole line takes the lines of its text with its own indentation, or goes.
fn filled(template: &str, places: &[(&str, String)]) -> String {
    let mut out = String::new();
    for line in template.lines() {
        let content = line.trim_start();
        let indentation = &line[..line.len() - content.len()];
        let whole = places
            .iter()
            .find(|(name, _)| content == format!("@@{name}@@"));
        if let Some((_, text)) = whole {
            for line in text.lines() {
                out.push_str(&format!("{indentation}{line}\n"));
            }
            continue;
        }
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("@@") {
            out.push_str(before);
            let (name, after) = after.split_once("@@").unwrap_or((after, ""));
            if let Some((_, text)) = places.iter().find(|(place, _)| *place == name) {
                out.push_str(text);
            }
            rest = after;
        }
        out.push_str(rest);
        out.push('\n');
    }
    // A step that gives nothing but its command needs no empty map.
    out.replace("        with:\n\n", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::github::workflow;

    fn answers(change: impl FnOnce(&mut Answers)) -> Answers {
        let mut answers = Answers {
            action_ref: "backup-action/backup-action@0123456789abcdef0123456789abcdef01234567"
                .to_owned(),
            remote: Some("s3://company-backups/nostromo".to_owned()),
            role: Some("arn:aws:iam::111122223333:role/backup".to_owned()),
            pr_size: true,
            ..Answers::default()
        };
        change(&mut answers);
        answers.check().unwrap();
        answers
    }

    #[test]
    fn what_is_written_has_no_hole_and_no_place_left() {
        for answers in [
            answers(|_| {}),
            answers(|a| a.role = None),
            answers(|a| a.slack = true),
            answers(|a| a.action_ref = "./backup-action".to_owned()),
            answers(|a| a.deploy = "echo '@@CRON@@' \"$(date)\": # 'x'".to_owned()),
            answers(|a| {
                a.remote = None;
                a.role = None;
                a.local = Some("/var/back \"ups\" \\ $(id)".to_owned());
                a.runner = "self-hosted".to_owned();
            }),
        ] {
            for file in files(&answers) {
                let left = file.text.replace("'@@CRON@@'", "");
                assert!(!left.contains("@@"), "{}", file.text);
                if file.path.ends_with(".toml") {
                    let table: toml::Table = toml::from_str(&file.text).unwrap();
                    assert_eq!(
                        table.get("local").and_then(|v| v.as_str()),
                        answers.local.as_deref()
                    );
                    continue;
                }
                let review = workflow::review(file.text.as_bytes()).unwrap();
                assert!(review.is_ours, "{}", file.path);
                assert_eq!(review.holes, [], "{}:\n{}", file.path, file.text);
            }
            let gate = files(&answers).swap_remove(1).text;
            let root = workflow::yaml::parse(gate.as_bytes()).unwrap();
            let steps = root
                .get("jobs")
                .and_then(|jobs| jobs.get("deploy"))
                .and_then(|job| job.get("steps"));
            let run = steps
                .unwrap()
                .items()
                .last()
                .unwrap()
                .get("run")
                .unwrap()
                .text()
                .unwrap();
            assert_eq!(run.trim_end(), answers.deploy);
        }
    }
}

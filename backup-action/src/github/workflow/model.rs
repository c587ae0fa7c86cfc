//! A workflow as the rules see it: jobs, steps, and which of them use this program. Judges nothing.

use super::yaml::{Node, Place};
use std::collections::BTreeSet;

/// A workflow.
#[derive(Debug)]
pub struct Workflow<'a> {
    /// The whole file.
    pub root: &'a Node,
    /// What it runs on: the names of the events.
    pub events: Vec<(&'a str, Place)>,
    /// Its jobs in the order of the file.
    pub jobs: Vec<Job<'a>>,
}

/// A job.
#[derive(Debug)]
pub struct Job<'a> {
    /// Its key.
    pub id: &'a str,
    /// Where the key stands.
    pub at: Place,
    /// The job.
    pub node: &'a Node,
    /// The jobs that it names in `needs`.
    pub needs: Vec<&'a str>,
    /// Its steps.
    pub steps: Vec<Step<'a>>,
}

/// A step.
#[derive(Debug)]
pub struct Step<'a> {
    /// The step.
    pub node: &'a Node,
    /// The command of this program that it runs.
    pub command: Option<&'static str>,
}

/// The commands that the rules know.
const COMMANDS: &[&str] = &[
    "gate",
    "drill",
    "verify-receipt",
    "verify",
    "annotate",
    "prune",
];

/// Inputs that no other local action is likely to have.
const OUR_INPUTS: &[&str] = &[
    "bin-path",
    "database-url",
    "remote",
    "once-per",
    "max-receipt-age",
];

/// The parts of commands that change what runs in production.
const DEPLOYING: &[&str] = &["kubectl apply", "helm upgrade", "terraform apply", "deploy"];

impl<'a> Workflow<'a> {
    /// The workflow of a file; `None` when it has no jobs.
    pub fn of(root: &'a Node) -> Option<Workflow<'a>> {
        let jobs = root.get("jobs")?;
        Some(Workflow {
            root,
            events: root.get("on").map(Node::words).unwrap_or_default(),
            jobs: jobs
                .entries()
                .iter()
                .map(|(key, node)| Job {
                    id: &key.text,
                    at: key.at,
                    node,
                    needs: node
                        .get("needs")
                        .map(|needs| needs.words().into_iter().map(|(word, _)| word).collect())
                        .unwrap_or_default(),
                    steps: node
                        .get("steps")
                        .map(|steps| steps.items().iter().map(Step::of).collect())
                        .unwrap_or_default(),
                })
                .collect(),
        })
    }

    /// Where the event's name stands.
    pub fn event(&self, name: &str) -> Option<Place> {
        self.events
            .iter()
            .find(|(event, _)| *event == name)
            .map(|(_, at)| *at)
    }

    /// The job of that name; GitHub compares them without case.
    pub fn job(&self, id: &str) -> Option<&Job<'a>> {
        self.jobs.iter().find(|job| job.id.eq_ignore_ascii_case(id))
    }

    /// Every job that `job` needs, directly or not.
    pub fn before(&self, job: &Job<'a>) -> BTreeSet<&'a str> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&str> = job.needs.clone();
        while let Some(next) = open.pop() {
            if let Some(needed) = self.job(next)
                && found.insert(needed.id)
            {
                open.extend(&needed.needs);
            }
        }
        found
    }

    /// Whether any step uses this program.
    pub fn uses_program(&self) -> bool {
        self.jobs.iter().any(Job::uses_program)
    }
}

impl<'a> Job<'a> {
    /// The steps that run a command.
    pub fn running<'s>(&'s self, command: &'s str) -> impl Iterator<Item = &'s Step<'a>> {
        self.steps
            .iter()
            .filter(move |step| step.command == Some(command))
    }

    /// Whether it is a gate.
    pub fn is_gate(&self) -> bool {
        self.running("gate").next().is_some()
    }

    /// Whether a step uses this program.
    pub fn uses_program(&self) -> bool {
        self.steps.iter().any(|step| step.command.is_some())
    }

    /// A text of the job itself.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.node.get(key).and_then(Node::text)
    }

    /// Whether it looks as if it changed production: an environment, its name, or what it runs. A
    /// job that makes a backup or drills is none, whatever its environment.
    pub fn deploys(&self) -> bool {
        if ["gate", "drill"]
            .iter()
            .any(|name| self.running(name).next().is_some())
        {
            return false;
        }
        let names = [Some(self.id), self.text("name"), self.text("uses")];
        self.node.get("environment").is_some()
            || names.into_iter().flatten().any(is_deploying)
            || self.steps.iter().any(Step::deploys)
    }
}

impl<'a> Step<'a> {
    fn of(node: &'a Node) -> Step<'a> {
        Step {
            node,
            command: command(node),
        }
    }

    /// A text of the step itself.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.node.get(key).and_then(Node::text)
    }

    /// An input of its action.
    pub fn input(&self, name: &str) -> Option<&'a Node> {
        self.node.get("with").and_then(|with| with.get(name))
    }

    /// Whether its action is `owner/name`.
    pub fn uses(&self, action: &str) -> bool {
        self.text("uses")
            .is_some_and(|uses| uses.split('@').next() == Some(action))
    }

    /// Whether it looks as if it changed production.
    pub fn deploys(&self) -> bool {
        let said = [self.text("name"), self.text("run"), self.text("uses")];
        self.command.is_none() && said.into_iter().flatten().any(is_deploying)
    }
}

fn is_deploying(text: &str) -> bool {
    let text = text.to_lowercase();
    DEPLOYING.iter().any(|part| text.contains(part))
}

/// The command of this program that a step runs, through the action or in a shell.
fn command(step: &Node) -> Option<&'static str> {
    let known = |name: &str| COMMANDS.iter().copied().find(|known| *known == name);
    if let Some(uses) = step.get("uses").and_then(Node::text) {
        let with = step.get("with");
        let given = with
            .and_then(|with| with.get("command"))
            .and_then(Node::text);
        let path = uses
            .split('@')
            .next()
            .unwrap_or_default()
            .trim_end_matches('/');
        let has_our_name = path
            .rsplit('/')
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case("backup-action"));
        let looks_like_ours = || {
            given.and_then(known).is_some()
                || with.is_some_and(|with| OUR_INPUTS.iter().any(|name| with.get(name).is_some()))
        };
        if !(has_our_name || path.starts_with('.') && looks_like_ours()) {
            return None;
        }
        return match given {
            None | Some("") => Some("gate"),
            // An expression: what its last choice says.
            Some(text) if text.contains("${{") => COMMANDS
                .iter()
                .copied()
                .find(|name| text.contains(&format!("'{name}'"))),
            Some(text) => known(text.trim()),
        };
    }
    let run = step.get("run").and_then(Node::text)?;
    run.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        words
            .by_ref()
            .find(|word| word.rsplit('/').next() == Some("backup-action"))?;
        words.next().and_then(known)
    })
}

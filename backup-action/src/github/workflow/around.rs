//! Rules about every job that uses this program: its time, its rights, its secrets.

use super::Review;
use super::gate::has_secrets;
use super::model::{Job, Step, Workflow};
use super::yaml::{Node, Place};

pub(super) fn rules(workflow: &Workflow, review: &mut Review) {
    if let Some(at) = workflow.event("pull_request_target") {
        review.error(
            "pull-request-target",
            at,
            "a pull request from a fork can run this with the repository's secrets and tokens",
            "Use push for a gate, and pull_request for annotate.",
        );
    }
    for job in &workflow.jobs {
        secrets_in_outputs(job, review);
        if !job.uses_program() {
            continue;
        }
        if job.node.get("timeout-minutes").is_none() {
            review.warning(
                "timeout-minutes",
                job.at,
                format!("job {} may hang for six hours", job.id),
                "Add `timeout-minutes:`, such as 60.",
            );
        }
        token(workflow, job, review);
        for step in &job.steps {
            pinned(step, review);
            keeps_credentials(job, step, review);
        }
    }
}

fn secrets_in_outputs(job: &Job, review: &mut Review) {
    let outputs = job.node.get("outputs");
    for (text, at) in outputs.into_iter().flat_map(Node::scalars) {
        if has_secrets(text) {
            review.error(
                "secret-in-output",
                at,
                format!(
                    "an output of job {} holds a secret: GitHub drops it, or shows it",
                    job.id
                ),
                "Name the secret in the job that needs it.",
            );
        }
    }
    for step in &job.steps {
        let Some(run) = step.node.get("run") else {
            continue;
        };
        let text = run.text().unwrap_or_default();
        for line in text.lines().filter(|line| line.contains("GITHUB_OUTPUT")) {
            if has_secrets(line) {
                review.error(
                    "secret-in-output",
                    run.at,
                    format!("a step of job {} writes a secret into an output", job.id),
                    "Name the secret in the step that needs it.",
                );
            }
        }
    }
    // What comes from the bucket's name is in the outputs of the job: none of them would arrive.
    for step in job.running("gate").filter(|_| outputs.is_some()) {
        for name in ["remote", "cluster"] {
            let Some(value) = step.input(name) else {
                continue;
            };
            if value.text().is_some_and(has_secrets) {
                review.warning(
                    "secret-in-output",
                    value.at,
                    format!(
                        "{name} comes from a secret: GitHub drops every output that holds its text"
                    ),
                    "Keep it in a variable: `${{ vars.NAME }}`.",
                );
            }
        }
    }
}

/// Short-lived AWS credentials need the right to ask for a token.
fn token(workflow: &Workflow, job: &Job, review: &mut Review) {
    let role = job.steps.iter().find_map(|step| {
        let own = step.command.and_then(|_| step.input("aws-role-to-assume"));
        own.or_else(|| {
            step.uses("aws-actions/configure-aws-credentials")
                .then(|| step.input("role-to-assume"))
                .flatten()
        })
    });
    let Some(role) = role else {
        return;
    };
    let permissions = job
        .node
        .get("permissions")
        .or_else(|| workflow.root.get("permissions"));
    let may = permissions.is_some_and(|permissions| {
        permissions.text() == Some("write-all")
            || permissions.get("id-token").and_then(Node::text) == Some("write")
    });
    if !may {
        review.error(
            "id-token",
            role.at,
            format!(
                "job {} assumes a role of AWS and may not ask for a token",
                job.id
            ),
            "Add `id-token: write` to its permissions.",
        );
    }
}

/// A tag can be moved to other code, which then gets the secrets of the job.
fn pinned(step: &Step, review: &mut Review) {
    let Some(uses) = step.node.get("uses") else {
        return;
    };
    let text = uses.text().unwrap_or_default();
    let Some((action, reference)) = text.split_once('@') else {
        return;
    };
    let is_hash = reference.len() == 40 && reference.bytes().all(|byte| byte.is_ascii_hexdigit());
    // What examples write where a hash belongs; GitHub refuses it.
    let is_blank = reference.starts_with('<') && reference.ends_with('>');
    if !is_hash && !is_blank && !action.starts_with("docker://") {
        review.warning(
            "unpinned-action",
            uses.at,
            format!("{action} is whatever \"{reference}\" is today"),
            "Write the full commit hash, with the version as a comment.",
        );
    }
}

fn keeps_credentials(job: &Job, step: &Step, review: &mut Review) {
    if !step.uses("actions/checkout") {
        return;
    }
    let at: Place = step.node.at;
    if step.input("persist-credentials").and_then(Node::text) != Some("false") {
        review.warning(
            "persist-credentials",
            at,
            format!(
                "checkout leaves the repository's token on the disk of job {}",
                job.id
            ),
            "Give it `persist-credentials: false`.",
        );
    }
}

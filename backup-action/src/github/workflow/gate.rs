//! Rules about the job of a gate: nothing may turn its no into a yes, nor cut it off.

use super::Review;
use super::deploy::is_matrix;
use super::model::{Job, Step, Workflow};
use super::yaml::Node;

pub(super) fn rules(workflow: &Workflow, review: &mut Review) {
    for job in workflow.jobs.iter().filter(|job| job.is_gate()) {
        continues_on_error(job, review);
        skipped(workflow, job, review);
        matrix(job, review);
        one_at_a_time(workflow, job, review);
        on_pull_requests(workflow, job, review);
    }
}

fn is_false(node: &Node) -> bool {
    node.text() == Some("false")
}

fn continues_on_error(job: &Job, review: &mut Review) {
    let mut look = |node: &Node, what: &str| {
        if let Some((key, value)) = node.entry("continue-on-error")
            && !is_false(value)
        {
            review.error(
                "gate-continue-on-error",
                key.at,
                format!("continue-on-error makes {what} green although the gate did not pass"),
                "Remove it.",
            );
        }
    };
    look(job.node, &format!("job {}", job.id));
    for step in job.running("gate") {
        look(step.node, &format!("the gate's step of job {}", job.id));
    }
    for step in job.running("gate") {
        let Some(run) = step.node.get("run") else {
            continue;
        };
        let text = run.text().unwrap_or_default();
        if ["|| true", "|| :", "|| exit 0", "set +e"]
            .iter()
            .any(|part| text.contains(part))
        {
            review.error(
                "gate-continue-on-error",
                run.at,
                format!("the shell of job {} drops the gate's exit code", job.id),
                "Let the step end with the exit code of backup-action.",
            );
        }
    }
}

/// A required check whose job was skipped counts as passed.
fn skipped(workflow: &Workflow, job: &Job, review: &mut Review) {
    let is_required = ["pull_request", "merge_group"]
        .iter()
        .any(|event| workflow.event(event).is_some());
    let conditions = std::iter::once(job.node)
        .chain(job.running("gate").map(|step| step.node))
        .filter_map(|node| node.entry("if"));
    for (key, _) in conditions.filter(|_| is_required) {
        review.warning(
            "gate-skipped",
            key.at,
            format!(
                "when this `if` is false, job {} counts as a required check that passed",
                job.id
            ),
            "Put the gate into a workflow on push, where it runs always.",
        );
    }
}

fn matrix(job: &Job, review: &mut Review) {
    if !is_matrix(job) {
        return;
    }
    if let Some((key, _)) = job.node.entry("outputs") {
        review.error(
            "matrix-outputs",
            key.at,
            format!(
                "the gates of job {} write the same outputs, and the last to end wins",
                job.id
            ),
            format!(
                "Remove them, and let the deploy ask `needs.{}.result == 'success'`.",
                job.id
            ),
        );
    }
    let strategy = job.node.get("strategy");
    let fail_fast = strategy.and_then(|strategy| strategy.get("fail-fast"));
    if !fail_fast.is_some_and(is_false) {
        review.warning(
            "matrix-fail-fast",
            strategy.map_or(job.at, |strategy| strategy.at),
            format!(
                "the first gate of job {} that fails cancels the backups of the others",
                job.id
            ),
            "Add `fail-fast: false` to its strategy.",
        );
    }
}

fn one_at_a_time(workflow: &Workflow, job: &Job, review: &mut Review) {
    let concurrency = job
        .node
        .entry("concurrency")
        .or_else(|| workflow.root.entry("concurrency"));
    let Some((_, concurrency)) = concurrency else {
        return review.warning(
            "concurrency",
            job.at,
            format!("two runs of job {} can dump the cluster at once, and deploy in the wrong order", job.id),
            "Add `concurrency:` with a group such as deploy-production and `cancel-in-progress: false`.",
        );
    };
    // A pull request deploys nothing, and only its last push matters.
    let is_only_tried = workflow
        .events
        .iter()
        .all(|(event, _)| *event == "pull_request");
    if let Some((key, cancel)) = concurrency.entry("cancel-in-progress")
        && cancel.text() == Some("true")
        && !is_only_tried
    {
        review.warning(
            "concurrency",
            key.at,
            "the next push cancels a gate in the middle of its backup",
            "Write `cancel-in-progress: false`.",
        );
    }
}

/// Names secrets, other than the job's own token.
pub(super) fn has_secrets(text: &str) -> bool {
    text.contains("${{")
        && (text
            .replace("secrets.GITHUB_TOKEN", "")
            .contains("secrets.")
            || text.contains("secrets["))
}

fn on_pull_requests(workflow: &Workflow, job: &Job, review: &mut Review) {
    let is_guarded = job
        .text("if")
        .is_some_and(|text| text.contains("github.event_name") || text.contains("head.repo"));
    let secret = job
        .steps
        .iter()
        .filter(|step| step.command.is_some())
        .flat_map(given)
        .find(|(text, _)| has_secrets(text));
    if let (Some(_), Some((_, at)), false) = (workflow.event("pull_request"), secret, is_guarded) {
        review.warning(
            "secrets-on-pull-request",
            at,
            format!("job {} gives secrets to the code of a pull request; one from a fork gets none and fails", job.id),
            "Put the gate into a workflow on push.",
        );
    }
}

fn given<'a>(step: &Step<'a>) -> Vec<(&'a str, super::yaml::Place)> {
    ["with", "env"]
        .iter()
        .filter_map(|key| step.node.get(key))
        .flat_map(Node::scalars)
        .collect()
}

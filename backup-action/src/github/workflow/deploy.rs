//! Rules about the jobs that come after a gate: they must not run unless it passed.

use super::Review;
use super::expression::{calls, conjuncts, equality, is_choice, is_text, outputs_of, same};
use super::model::{Job, Workflow};
use super::yaml::Place;

/// Jobs of such names tell or tidy up; they may run whatever the gate said.
const BYSTANDERS: &[&str] = &[
    "notify", "alert", "report", "summary", "comment", "cleanup", "clean-up", "slack", "rollback",
    "status",
];

pub(super) fn rules(workflow: &Workflow, review: &mut Review) {
    let gates: Vec<&Job> = workflow.jobs.iter().filter(|job| job.is_gate()).collect();
    if gates.is_empty() {
        return;
    }
    for job in &workflow.jobs {
        let before = workflow.before(job);
        let behind: Vec<&Job> = gates
            .iter()
            .copied()
            .filter(|gate| before.contains(gate.id))
            .collect();
        let feeds_a_gate = gates
            .iter()
            .any(|gate| workflow.before(gate).contains(job.id));
        if job.is_gate() {
            steps_after_the_gate(job, review);
        } else if behind.is_empty() {
            if job.deploys() && !feeds_a_gate && !is_bystander(job) {
                review.error(
                    "deploy-needs-gate",
                    job.at,
                    format!(
                        "job {} does not need the gate, so it starts beside it",
                        job.id
                    ),
                    format!(
                        "Add `needs: {0}` and `if: needs.{0}.outputs.passed == 'true'` to it.",
                        gates[0].id
                    ),
                );
            }
        } else {
            condition(workflow, job, &behind, review);
            if job.deploys() && !is_bystander(job) {
                receipt(workflow, job, &behind, review);
            }
        }
    }
}

fn is_bystander(job: &Job) -> bool {
    let names = [Some(job.id), job.text("name")];
    names.into_iter().flatten().any(|name| {
        let name = name.to_lowercase();
        BYSTANDERS.iter().any(|word| name.contains(word))
    })
}

/// `always()` and its like, by the function that is called.
fn status_function(text: &str) -> Option<&'static str> {
    ["always", "cancelled", "failure"]
        .into_iter()
        .find(|function| calls(text, function))
}

/// Whether the condition alone keeps the job back unless a gate passed.
fn asks_for_pass(text: &str, gates: &[&Job]) -> bool {
    conjuncts(text).iter().any(|condition| {
        let Some((left, right)) = equality(condition) else {
            return false;
        };
        gates.iter().any(|gate| {
            let is_output = |side: &str| {
                let outputs = outputs_of(side, gate.id);
                outputs.len() == 1
                    && same(side, &format!("needs.{}.outputs.{}", gate.id, outputs[0]))
            };
            let is_result = |side: &str| same(side, &format!("needs.{}.result", gate.id));
            let pair = |is_left: &dyn Fn(&str) -> bool, word: &str| {
                is_left(left) && same(right, word) || is_left(right) && same(left, word)
            };
            pair(&is_output, "'true'")
                // Outputs of a matrix say nothing; its result does.
                || is_matrix(gate) && pair(&is_result, "'success'")
        })
    })
}

pub(super) fn is_matrix(job: &Job) -> bool {
    job.node
        .get("strategy")
        .is_some_and(|strategy| strategy.get("matrix").is_some())
}

/// Whether the job is skipped with the gate because all that it needs is.
fn is_skipped_with(workflow: &Workflow, job: &Job, gates: &[&Job]) -> bool {
    let text = job.text("if").unwrap_or_default();
    if asks_for_pass(text, gates) {
        return true;
    }
    status_function(text).is_none()
        && job
            .needs
            .iter()
            .filter_map(|name| workflow.job(name))
            .filter(|needed| !needed.is_gate())
            .any(|needed| is_skipped_with(workflow, needed, gates))
}

fn condition(workflow: &Workflow, job: &Job, gates: &[&Job], review: &mut Review) {
    let gate = gates[0].id;
    let right = match is_matrix(gates[0]) {
        true => format!("needs.{gate}.result == 'success'"),
        false => format!("needs.{gate}.outputs.passed == 'true'"),
    };
    let fix = format!("Write `if: {right}`.");
    let Some((key, node)) = job.node.entry("if") else {
        if job.deploys() && !is_bystander(job) && !is_skipped_with(workflow, job, gates) {
            review.warning(
                "deploy-asks-passed",
                job.at,
                format!(
                    "job {} runs when job {gate} ends well, not only when it passed",
                    job.id
                ),
                format!("Add `if: {right}` to it."),
            );
        }
        return;
    };
    let text = node.text().unwrap_or_default();
    let at = node.at;
    if is_text(text) {
        return review.error(
            "if-always-true",
            at,
            format!(
                "the `if` of job {} is text with an expression in it, which is always true",
                job.id
            ),
            format!("Write it on one line, without ${{{{ }}}}: `if: {right}`."),
        );
    }
    if asks_for_pass(text, gates) {
        return mapped(job, gates, text, key.at, review);
    }
    if wrong_comparison(job, gates, text, at, &fix, review) {
        return;
    }
    if is_bystander(job) {
        return;
    }
    if let Some(function) = status_function(text) {
        // Only after a failure: that tells somebody, unless it says itself that it deploys.
        if function == "failure" && !job.deploys() {
            return;
        }
        return review.error(
            "deploy-always",
            at,
            format!(
                "{function}() lets job {} run although the gate did not pass",
                job.id
            ),
            fix,
        );
    }
    if job.deploys() && !is_skipped_with(workflow, job, gates) {
        review.warning(
            "deploy-asks-passed",
            at,
            format!(
                "the `if` of job {} does not ask whether the gate passed",
                job.id
            ),
            format!("Add `&& {right}` to it."),
        );
    }
}

/// A condition that names the output and asks wrongly.
fn wrong_comparison(
    job: &Job,
    gates: &[&Job],
    text: &str,
    at: Place,
    fix: &str,
    review: &mut Review,
) -> bool {
    let Some(gate) = gates
        .iter()
        .find(|gate| !outputs_of(text, gate.id).is_empty())
    else {
        return false;
    };
    let name = format!("needs.{}.outputs.", gate.id).to_lowercase();
    for condition in conjuncts(text) {
        let lower = condition.to_lowercase();
        if !lower.contains(&name) {
            continue;
        }
        let why = if is_choice(&condition) {
            "another condition opens it as well"
        } else if lower.contains("!=") {
            "an output that is missing differs from 'false' too"
        } else if equality(&condition).is_some_and(|(l, r)| same(l, "true") || same(r, "true")) {
            "the output is text and never equals the boolean true"
        } else if equality(&condition).is_none() && lower.starts_with(&name) {
            "any text is true, 'false' as well"
        } else {
            continue;
        };
        review.error(
            "passed-comparison",
            at,
            format!("the `if` of job {} asks the gate wrongly: {why}", job.id),
            fix,
        );
        return true;
    }
    false
}

/// The output that the condition asks for must be the gate's.
fn mapped(job: &Job, gates: &[&Job], text: &str, at: Place, review: &mut Review) {
    for gate in gates {
        for name in outputs_of(text, gate.id) {
            let output = gate.node.get("outputs").and_then(|outputs| {
                outputs
                    .entries()
                    .iter()
                    .find(|(key, _)| same(&key.text, &name))
            });
            let Some((key, value)) = output else {
                review.error(
                    "passed-not-mapped",
                    at,
                    format!("job {} asks for the output {name} that job {} does not have", job.id, gate.id),
                    format!("Give the gate's step an id, and job {} `outputs: {name}: ${{{{ steps.ID.outputs.passed }}}}`.", gate.id),
                );
                continue;
            };
            let value = value.text().unwrap_or_default().replace(' ', "");
            let is_the_gates = gate.running("gate").any(|step| {
                step.text("id").is_some_and(|id| {
                    value.eq_ignore_ascii_case(&format!("${{{{steps.{id}.outputs.passed}}}}"))
                })
            });
            // A run in a shell sets outputs under names of its own.
            if name == "passed"
                && !is_the_gates
                && gate.running("gate").all(|step| step.text("uses").is_some())
            {
                review.error(
                    "passed-not-mapped",
                    key.at,
                    format!("the output {name} of job {} is not what its gate said", gate.id),
                    "Give the gate's step an id, and write `passed: ${{ steps.ID.outputs.passed }}`.",
                );
            }
        }
    }
}

/// In one job with the gate: what comes after it.
fn steps_after_the_gate(job: &Job, review: &mut Review) {
    let mut is_after = false;
    for step in &job.steps {
        if step.command == Some("gate") {
            is_after = true;
            continue;
        }
        let Some((_, node)) = step.node.entry("if") else {
            continue;
        };
        let text = node.text().unwrap_or_default();
        if is_after && step.deploys() && (status_function(text).is_some() || is_text(text)) {
            review.error(
                "deploy-always",
                node.at,
                format!(
                    "a step of job {} that deploys runs although the gate did not pass",
                    job.id
                ),
                "Leave its `if` out: a step runs when those before it ended well.",
            );
        }
    }
}

/// A gate that was green last week stays green when its jobs are run again.
fn receipt(workflow: &Workflow, job: &Job, gates: &[&Job], review: &mut Review) {
    // What a runner keeps to itself cannot be asked from another; a called workflow is not seen.
    let is_remote = gates
        .iter()
        .flat_map(|gate| gate.running("gate"))
        .any(|step| {
            step.input("remote").is_some()
                || step.input("local").is_none() && step.text("uses").is_some()
        });
    if !is_remote || job.node.get("uses").is_some() {
        return;
    }
    // A job between the gate and this one may ask.
    let earlier = workflow.before(job);
    if workflow
        .jobs
        .iter()
        .any(|other| earlier.contains(other.id) && other.running("verify-receipt").next().is_some())
    {
        return;
    }
    let first_run = job.steps.iter().position(|step| {
        step.command.is_none() && (step.node.get("run").is_some() || step.deploys())
    });
    let asks = job
        .steps
        .iter()
        .position(|step| step.command == Some("verify-receipt"));
    match (asks, first_run) {
        (Some(asks), Some(first)) if asks > first => review.warning(
            "verify-receipt-first",
            job.steps[asks].node.at,
            format!("job {} asks for the receipt after it has begun to deploy", job.id),
            "Put verify-receipt before the first step that runs something.",
        ),
        (Some(_), _) => {}
        (None, _) => review.warning(
            "verify-receipt-first",
            job.at,
            format!("job {} does not ask for the receipt: run again next week, it deploys on an old backup", job.id),
            "Add a step with `command: verify-receipt` and the gate's `remote` before the first step that runs something.",
        ),
    }
}

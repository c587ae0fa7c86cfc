//! Rules about drills: a schedule that stops must be noticed.

use super::Review;
use super::model::{Job, Workflow};
use super::yaml::Place;

pub(super) fn rules(workflow: &Workflow, review: &mut Review) {
    drill_fresh(workflow, review);
    let drills: Vec<&Job> = workflow
        .jobs
        .iter()
        .filter(|job| job.running("drill").next().is_some())
        .collect();
    let crons = crons(workflow);
    let Some(drill) = drills.first() else {
        return;
    };
    let Some((_, first)) = crons.first() else {
        return;
    };
    let deploy = workflow.jobs.iter().find(|job| {
        job.deploys()
            && workflow
                .before(job)
                .iter()
                .any(|id| workflow.job(id).is_some_and(Job::is_gate))
    });
    if deploy.is_some() {
        review.warning(
            "drill-in-gate-file",
            *first,
            "GitHub switches a workflow with a schedule off after 60 quiet days, and the gate is in this one",
            "Move the drill and its schedule into a file of its own.",
        );
    }
    let is_once_per = drill
        .running("drill")
        .any(|step| step.input("once-per").is_some());
    let all_monthly = crons.iter().all(|(cron, _)| is_monthly(cron));
    for (cron, at) in &crons {
        let minute = cron.split_whitespace().next().unwrap_or_default();
        if minute == "0" || minute == "00" {
            review.warning(
                "schedule-on-the-hour",
                *at,
                "GitHub delays and drops scheduled runs at the full hour",
                "Take another minute, such as `43 4 * * 3`.",
            );
        }
        if all_monthly && !is_once_per {
            review.warning(
                "drill-monthly",
                *at,
                "one run that GitHub drops makes two months without a drill",
                "Run it weekly, such as `43 4 * * 3`, with the input `once-per: month`.",
            );
        }
    }
}

fn crons<'a>(workflow: &Workflow<'a>) -> Vec<(&'a str, Place)> {
    let schedule = workflow.root.get("on").and_then(|on| on.get("schedule"));
    schedule
        .into_iter()
        .flat_map(|schedule| schedule.items())
        .filter_map(|item| item.get("cron"))
        .filter_map(|cron| cron.text().map(|text| (text, cron.at)))
        .collect()
}

/// On one day of a month, and on no day of the week.
fn is_monthly(cron: &str) -> bool {
    let fields: Vec<&str> = cron.split_whitespace().collect();
    matches!(fields.as_slice(), [_, _, day, _, "*"] if day.parse::<u8>().is_ok())
}

/// The gate notices drills that stopped, unless it is told not to.
fn drill_fresh(workflow: &Workflow, review: &mut Review) {
    for step in workflow.jobs.iter().flat_map(|job| job.running("gate")) {
        let Some(check) = step.input("check") else {
            continue;
        };
        if check
            .text()
            .is_some_and(|text| text.replace(' ', "").contains("drill-fresh=warn"))
        {
            review.warning(
                "drill-fresh-warns",
                check.at,
                "nobody is stopped when drills stop, as a schedule does after 60 quiet days",
                "Write `drill-fresh=block`, or leave it to the configuration file.",
            );
        }
    }
}

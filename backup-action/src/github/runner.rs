//! Detects the runner and reads the facts of the run from its environment. No files are touched.

use crate::manifest::CiRun;
use std::path::PathBuf;

/// What the runner of GitHub Actions tells a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Runner {
    /// The file of outputs, `GITHUB_OUTPUT`. Its absence is as bad as an unwritable one.
    pub output: Option<PathBuf>,
    /// The file of the job summary, `GITHUB_STEP_SUMMARY`.
    pub summary: Option<PathBuf>,
    /// A directory for files of this job, `RUNNER_TEMP`.
    pub temp: Option<PathBuf>,
    /// Whether the user asked for debug logging: `RUNNER_DEBUG=1`.
    pub debug: bool,
    /// The event that started the run: `push`, `pull_request`, ….
    pub event: String,
    /// The file that describes the event, `GITHUB_EVENT_PATH`.
    pub event_path: Option<PathBuf>,
    /// Where the repository is checked out, `GITHUB_WORKSPACE`.
    pub workspace: Option<PathBuf>,
    /// GitHub's API, `GITHUB_API_URL`: of GitHub Enterprise `https://host/api/v3`.
    pub api_url: String,
    /// The run, for manifests and reports.
    pub run: CiRun,
}

impl Runner {
    /// The runner, when the environment is that of a step: `GITHUB_ACTIONS=true`, which the runner
    /// always sets. `env` looks one variable up.
    pub fn detect(env: &dyn Fn(&str) -> Option<String>) -> Option<Runner> {
        if env("GITHUB_ACTIONS").as_deref() != Some("true") {
            return None;
        }
        let get = |name: &str| env(name).filter(|value| !value.is_empty());
        let path = |name: &str| get(name).map(PathBuf::from);
        Some(Runner {
            output: path("GITHUB_OUTPUT"),
            summary: path("GITHUB_STEP_SUMMARY"),
            temp: path("RUNNER_TEMP"),
            debug: get("RUNNER_DEBUG").as_deref() == Some("1"),
            event: get("GITHUB_EVENT_NAME").unwrap_or_default(),
            event_path: path("GITHUB_EVENT_PATH"),
            workspace: path("GITHUB_WORKSPACE"),
            api_url: get("GITHUB_API_URL").unwrap_or_else(|| "https://api.github.com".to_owned()),
            run: run(&get),
        })
    }
}

fn run(get: &dyn Fn(&str) -> Option<String>) -> CiRun {
    let text = |name: &str| get(name).unwrap_or_default();
    let repository = text("GITHUB_REPOSITORY");
    let run_id = text("GITHUB_RUN_ID");
    let run_attempt = text("GITHUB_RUN_ATTEMPT");
    let server = get("GITHUB_SERVER_URL").unwrap_or_else(|| "https://github.com".to_owned());
    let mut url = String::new();
    if !repository.is_empty() && !run_id.is_empty() {
        url = format!(
            "{}/{repository}/actions/runs/{run_id}",
            server.trim_end_matches('/')
        );
        if !run_attempt.is_empty() {
            url = format!("{url}/attempts/{run_attempt}");
        }
    }
    CiRun {
        sha: text("GITHUB_SHA"),
        git_ref: text("GITHUB_REF"),
        workflow: text("GITHUB_WORKFLOW"),
        actor: text("GITHUB_ACTOR"),
        repository,
        run_id,
        run_attempt,
        url,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn detect(pairs: &[(&str, &str)]) -> Option<Runner> {
        let map: HashMap<_, _> = pairs.iter().copied().collect();
        Runner::detect(&|name| map.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn a_runner_is_a_runner_only_when_it_says_so() {
        assert_eq!(detect(&[]), None);
        assert_eq!(detect(&[("CI", "true"), ("GITHUB_OUTPUT", "/x")]), None);
        assert_eq!(detect(&[("GITHUB_ACTIONS", "false")]), None);
        let bare = detect(&[("GITHUB_ACTIONS", "true"), ("GITHUB_OUTPUT", "")]).unwrap();
        assert_eq!(bare.output, None);
        assert_eq!(bare.run.url, "");
    }

    #[test]
    fn the_run_can_be_found_again() {
        let runner = detect(&[
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_OUTPUT", "/tmp/out"),
            ("GITHUB_SERVER_URL", "https://ghes.example/"),
            ("GITHUB_REPOSITORY", "acme/payroll"),
            ("GITHUB_RUN_ID", "4711"),
            ("GITHUB_RUN_ATTEMPT", "2"),
            ("GITHUB_SHA", "0123"),
            ("RUNNER_DEBUG", "1"),
        ])
        .unwrap();
        assert_eq!(runner.output, Some(PathBuf::from("/tmp/out")));
        assert!(runner.debug);
        assert_eq!(
            runner.run.url,
            "https://ghes.example/acme/payroll/actions/runs/4711/attempts/2"
        );
    }
}

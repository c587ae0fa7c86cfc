//! Settings of annotate, and of deployment records.

use super::{PLAIN, Setting};

const ANNOTATE: &[&str] = &["annotate"];

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "github-token",
        env: "BACKUP_ACTION_GITHUB_TOKEN",
        value: "TOKEN",
        default: "GITHUB_TOKEN; in the Action the job's own",
        help: "The token for GitHub's API. A comment needs the permission pull-requests: write, a deployment record deployments: write.",
        secret: true,
        action_default: "${{ github.token }}",
        commands: &["gate", "annotate"],
        ..PLAIN
    },
    Setting {
        name: "comment-key",
        env: "BACKUP_ACTION_COMMENT_KEY",
        value: "WORD",
        default: "backup",
        help: "Which comment of the pull request is this one: clusters that are annotated side by side need a key each.",
        commands: ANNOTATE,
        ..PLAIN
    },
    Setting {
        name: "comment-author",
        env: "BACKUP_ACTION_COMMENT_AUTHOR",
        value: "LOGIN",
        default: "whom the token belongs to",
        help: "Only comments of this user are updated, such as github-actions[bot].",
        commands: ANNOTATE,
        ..PLAIN
    },
    Setting {
        name: "migration-path",
        env: "BACKUP_ACTION_MIGRATION_PATH",
        value: "GLOB",
        default: "**/*.sql",
        list: true,
        help: "Changed files that are read for the tables they name; * stays inside a directory, ** does not.",
        commands: ANNOTATE,
        ..PLAIN
    },
    Setting {
        name: "deployment",
        env: "BACKUP_ACTION_DEPLOYMENT",
        value: "ENVIRONMENT",
        help: "Keep a deployment record in this environment of the repository: in progress, then the verdict with a link to the run. A job with `environment:` has one already.",
        ..PLAIN
    },
];

//! Under which heading `--help` shows a setting, and which settings the short `-h` leaves out.

/// The headings in the order of `--help`, each with its settings, and whether `-h` shows them.
const HEADINGS: &[(&str, bool, &[&str])] = &[
    (
        "Database",
        true,
        &[
            "database-url",
            "cluster",
            "into",
            "sudo-user",
            "pg-bin-dir",
            "pg-client",
            "pg-image",
            "ssh",
            "ssh-exec",
            "ssh-key",
            "ssh-private-key",
            "ssh-known-hosts",
        ],
    ),
    (
        "Stores",
        true,
        &[
            "local",
            "remote",
            "s3-endpoint",
            "s3-region",
            "s3-path-style",
            "wait-lock",
        ],
    ),
    (
        "Stores in detail",
        false,
        &[
            "s3-sse",
            "s3-kms-key-id",
            "s3-storage-class",
            "aws-role-to-assume",
            "aws-profile",
        ],
    ),
    (
        "Checks",
        true,
        &[
            "check",
            "require-database",
            "require-schema",
            "accept-unconnectable",
            "max-drill-age",
        ],
    ),
    (
        "Sizes over time",
        false,
        &[
            "size-floor",
            "max-growth-percent",
            "growth-floor",
            "max-shrink-percent",
            "shrink-floor",
            "accept-size-change",
        ],
    ),
    (
        "Retention",
        false,
        &[
            "retention-mode",
            "retention-local",
            "retention-remote",
            "retention-archive",
            "retention-archive-class",
            "retention-min-keep",
            "max-delete",
        ],
    ),
    (
        "Alerts",
        false,
        &[
            "notify-on",
            "slack-webhook-url",
            "smtp-url",
            "email-to",
            "email-from",
            "webhook-url",
            "webhook-secret",
            "heartbeat-url",
        ],
    ),
    (
        "GitHub",
        false,
        &[
            "github-token",
            "deployment",
            "comment-key",
            "comment-author",
        ],
    ),
    (
        "Speed and time",
        false,
        &[
            "role-passwords",
            "pg-dumpall-arg",
            "lock-wait-timeout",
            "stall-timeout",
            "timeout",
            "verify",
            "level",
            "jobs",
        ],
    ),
    (
        "Output",
        true,
        &["output", "report", "summary", "html", "config", "dry-run"],
    ),
];

/// The heading of a setting, and whether `-h` shows it. What no heading names is the command's own.
pub fn heading(setting: &str) -> (Option<&'static str>, bool) {
    HEADINGS
        .iter()
        .find(|(_, _, settings)| settings.contains(&setting))
        .map_or((None, true), |(heading, is_short, _)| {
            (Some(heading), *is_short)
        })
}

/// Where `--help` shows a setting: what is the command's own first, then by heading.
pub fn rank(setting: &str) -> usize {
    HEADINGS
        .iter()
        .position(|(_, _, settings)| settings.contains(&setting))
        .map_or(0, |at| at + 1)
}

//! Which variables of ours a child does not get, by how their names begin.

/// From every child: they are the right to speak for this job.
pub(super) const FROM_ALL: &[&str] = &["ACTIONS_ID_TOKEN_REQUEST_", "ACTIONS_RUNTIME_"];

/// From programs of PostgreSQL, ssh and docker: secrets of other programs, the languages that would
/// translate the messages we read, and what changes the bytes of a dump.
pub(super) const FROM_CLIENTS: &[&str] = &[
    "PG",
    "DATABASE_URL",
    "BACKUP_ACTION_",
    "AWS_",
    "ACTIONS_",
    "GITHUB_",
    "INPUT_",
    "LC_",
    "LANG",
];

/// From programs that the user names: credentials of the server, of the stores and of the runner.
pub(super) const FROM_STRANGERS: &[&str] = &[
    "PG",
    "DATABASE_URL",
    "BACKUP_ACTION_",
    "AWS_",
    "ACTIONS_",
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "INPUT_",
];

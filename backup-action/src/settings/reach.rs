//! Settings of the way to the server: whose client programs, and through which machine.

use super::{PLAIN, Setting};

const REACHING: &[&str] = &["gate", "restore"];

/// The settings, in the order in which `--help` shows them.
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "pg-client",
        env: "BACKUP_ACTION_PG_CLIENT",
        value: "auto|local|docker",
        default: "auto",
        help: "Whose pg_dumpall and psql are used: auto takes those of the server's major version from this machine, \
               else from a container, else newer ones of this machine.",
        ..PLAIN
    },
    Setting {
        name: "pg-image",
        env: "BACKUP_ACTION_PG_IMAGE",
        value: "IMAGE",
        default: "postgres:<major of the server>",
        help: "The image with PostgreSQL's client programs, where a container runs them.",
        ..PLAIN
    },
    Setting {
        name: "ssh",
        env: "BACKUP_ACTION_SSH",
        value: "USER@HOST[:PORT]",
        help: "Connect to the server through an SSH tunnel over this host; the database's host and port are as that host sees them.",
        commands: REACHING,
        ..PLAIN
    },
    Setting {
        name: "ssh-exec",
        env: "BACKUP_ACTION_SSH_EXEC",
        value: "USER@HOST[:PORT]",
        help: "Run pg_dumpall and psql on this host by SSH, and bring the dump here; with --sudo-user as that user there.",
        ..PLAIN
    },
    Setting {
        name: "ssh-key",
        env: "BACKUP_ACTION_SSH_KEY",
        value: "FILE",
        default: "the agent's, and ssh's own",
        help: "The private key for --ssh or --ssh-exec.",
        commands: REACHING,
        ..PLAIN
    },
    Setting {
        name: "ssh-private-key",
        env: "BACKUP_ACTION_SSH_PRIVATE_KEY",
        value: "TEXT",
        help: "The text of the private key, where it is a secret of the workflow rather than a file.",
        secret: true,
        commands: REACHING,
        ..PLAIN
    },
    Setting {
        name: "ssh-known-hosts",
        env: "BACKUP_ACTION_SSH_KNOWN_HOSTS",
        value: "FILE",
        default: "ssh's own",
        help: "The file with the host key of --ssh or --ssh-exec, as ssh-keyscan prints it; an unknown host is never trusted.",
        commands: REACHING,
        ..PLAIN
    },
];

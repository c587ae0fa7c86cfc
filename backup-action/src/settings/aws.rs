//! Settings of the credentials for AWS.

use super::{PLAIN, Setting, WITH_STORES};

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        name: "aws-role-to-assume",
        env: "BACKUP_ACTION_AWS_ROLE_TO_ASSUME",
        value: "ARN",
        help: "The role to assume with the job's own identity token, renewed as long as the run lasts; needs the permission id-token: write.",
        commands: WITH_STORES,
        ..PLAIN
    },
    Setting {
        name: "aws-profile",
        env: "BACKUP_ACTION_AWS_PROFILE",
        value: "NAME",
        default: "AWS_PROFILE, after keys in the environment",
        help: "The profile of ~/.aws/config whose credentials and region are used, also where the environment has keys.",
        commands: WITH_STORES,
        ..PLAIN
    },
];

//! Credentials for an S3 store, out of what this run was told: joins the job's identity token of
//! GitHub with the role of AWS.

use super::say;
use crate::config::AwsConfig;
use crate::github::commands;
use crate::github::oidc::Minter;
use crate::secret::Secret;
use crate::store::{IdentityToken, RoleToAssume, S3Config, TokenFuture, WebIdentity};
use std::sync::Arc;

/// What STS wants in a token, in every partition.
const AUDIENCE: &str = "sts.amazonaws.com";

/// Puts the credentials that `aws` names into `store`.
///
/// # Errors
/// A role is named, and this is no job that may have a token.
pub(crate) fn named(aws: &AwsConfig, store: &mut S3Config) -> anyhow::Result<()> {
    store.profile.clone_from(&aws.profile);
    if let Some(arn) = &aws.role {
        let env = |name: &str| std::env::var(name).ok();
        store.role = Some(RoleToAssume {
            arn: arn.clone(),
            session: session(&env),
            identity: Arc::new(Job(Minter::of_job(&env)?)),
        });
    }
    Ok(())
}

/// The job that this runs in, as GitHub vouches for it.
#[derive(Debug)]
struct Job(Minter);

impl WebIdentity for Job {
    fn token(&self) -> TokenFuture<'_> {
        Box::pin(async {
            let minted = self.0.mint(AUDIENCE).await?;
            Ok(IdentityToken {
                token: minted.token,
                subject: minted.subject,
                audience: minted.audience,
            })
        })
    }

    fn hide(&self, secrets: &[Secret]) {
        // Nothing here prints them. A runner hears of them all the same, in the Action, where it reads
        // this; elsewhere the line could go into a file that people keep.
        if std::env::var_os("GITHUB_ACTION_PATH").is_none_or(|path| path.is_empty()) {
            return;
        }
        for line in secrets.iter().flat_map(commands::masks) {
            say(&format!("{line}\n"));
        }
    }
}

/// What CloudTrail shows: which run it was.
fn session(env: &dyn Fn(&str) -> Option<String>) -> String {
    let digits = |name: &str| {
        let text = env(name).unwrap_or_default();
        let is_number = !text.is_empty() && text.len() <= 20;
        (is_number && text.bytes().all(|b| b.is_ascii_digit())).then_some(text)
    };
    match (digits("GITHUB_RUN_ID"), digits("GITHUB_RUN_ATTEMPT")) {
        (Some(run), Some(attempt)) => format!("backup-action-{run}-{attempt}"),
        (Some(run), None) => format!("backup-action-{run}"),
        (None, _) => "backup-action".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_named_by_its_run_and_nothing_else() {
        let name = |run: &str, attempt: &str| {
            session(&|variable| match variable {
                "GITHUB_RUN_ID" => Some(run.to_owned()),
                "GITHUB_RUN_ATTEMPT" => Some(attempt.to_owned()),
                _ => None,
            })
        };
        assert_eq!(name("4711", "2"), "backup-action-4711-2");
        assert_eq!(name("4711", ""), "backup-action-4711");
        assert_eq!(name("47 11", "2"), "backup-action");
        assert_eq!(name(&"9".repeat(60), "2"), "backup-action");
    }
}

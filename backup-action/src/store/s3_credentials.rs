//! Which credentials the client of an S3 store uses, and how long they live as far as that can be known.

use super::s3_config::S3Config;
use super::s3_role::{AHEAD, RoleProvider};
use aws_config::SdkConfig;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_sdk_s3::config::{
    Credentials, IdentityCache, SharedCredentialsProvider, SharedHttpClient, SharedIdentityCache,
};
use jiff::Timestamp;
use std::time::Duration;

/// How long the sources of credentials may take together; each has deadlines of its own below it.
const LOAD_TIMEOUT: Duration = Duration::from_secs(90);

/// How long credentials live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialsLife {
    /// Their source is asked again before they end.
    Renewed,
    /// A key without an end.
    Endless,
    /// They end then, and nobody renews them.
    Until(Timestamp),
    /// A session token is among them, so they end; when is not known.
    Unknown,
}

/// The credentials of a store: whose, and how long they live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialsInfo {
    /// Where they come from, for people.
    pub source: String,
    /// How long they live.
    pub life: CredentialsLife,
}

/// What the configuration names instead of the default chain: keys, a role, a profile.
pub(super) fn named(
    config: &S3Config,
    sdk: &SdkConfig,
    http: &SharedHttpClient,
) -> Option<SharedCredentialsProvider> {
    if let Some(keys) = &config.credentials {
        return Some(SharedCredentialsProvider::new(Credentials::new(
            &keys.access_key_id,
            keys.secret_access_key.expose(),
            keys.session_token.as_ref().map(|t| t.expose().to_owned()),
            None,
            "configuration",
        )));
    }
    if let Some(role) = &config.role {
        let provider = RoleProvider::new(role.clone(), config, sdk);
        return Some(SharedCredentialsProvider::new(provider));
    }
    let profile = config.profile.as_ref()?;
    // Not the chain with this profile in it, where variables of the environment would win.
    let surroundings = ProviderConfig::without_region()
        .with_region(sdk.region().cloned())
        .with_http_client(http.clone());
    let provider = ProfileFileCredentialsProvider::builder()
        .profile_name(profile)
        .configure(&surroundings)
        .build();
    Some(SharedCredentialsProvider::new(provider))
}

/// Credentials are renewed in time for the largest part, and their sources may take theirs.
pub(super) fn cache() -> SharedIdentityCache {
    IdentityCache::lazy()
        .buffer_time(AHEAD)
        .load_timeout(LOAD_TIMEOUT)
        .build()
}

/// What is known about `credentials`; `env` looks one variable up.
pub(super) fn info(
    config: &S3Config,
    credentials: &Credentials,
    env: &dyn Fn(&str) -> Option<String>,
) -> CredentialsInfo {
    let is_of_environment =
        env("AWS_ACCESS_KEY_ID").as_deref() == Some(credentials.access_key_id());
    let source = match (&config.role, &config.profile) {
        _ if config.credentials.is_some() => "the configuration".to_owned(),
        (Some(role), _) => role.arn.clone(),
        (None, Some(profile)) => format!("the profile {profile}"),
        (None, None) if is_of_environment => "the environment".to_owned(),
        (None, None) => match env("AWS_PROFILE") {
            Some(profile) => format!("the profile {profile}"),
            None => "the machine (profile, web identity or metadata service)".to_owned(),
        },
    };
    let end = || {
        let end = env("AWS_CREDENTIAL_EXPIRATION")?;
        end.parse::<Timestamp>().ok()
    };
    let life = match (credentials.expiry(), credentials.session_token()) {
        (Some(_), _) => CredentialsLife::Renewed,
        (None, None) => CredentialsLife::Endless,
        (None, Some(_)) => match end().filter(|_| is_of_environment) {
            Some(end) => CredentialsLife::Until(end),
            None => CredentialsLife::Unknown,
        },
    };
    CredentialsInfo { source, life }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_known_renewed_or_said_to_be_unknown() {
        let config = S3Config::parse("s3://bucket").unwrap();
        let keys = |token: Option<&str>, expiry| {
            Credentials::new("AKIA", "s", token.map(str::to_owned), expiry, "test")
        };
        let end = "2026-01-18T03:00:00Z";
        let life = |credentials: &Credentials, variables: &[(&str, &str)]| {
            info(&config, credentials, &|name| {
                let found = variables.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            })
            .life
        };
        let own = ("AWS_ACCESS_KEY_ID", "AKIA");
        let says = ("AWS_CREDENTIAL_EXPIRATION", end);
        let soon = Some(std::time::SystemTime::now());
        assert_eq!(life(&keys(None, None), &[own]), CredentialsLife::Endless);
        assert_eq!(life(&keys(Some("t"), soon), &[]), CredentialsLife::Renewed);
        assert_eq!(
            life(&keys(Some("t"), None), &[own]),
            CredentialsLife::Unknown
        );
        assert_eq!(
            life(&keys(Some("t"), None), &[own, says]),
            CredentialsLife::Until(end.parse().unwrap())
        );
        // The variable speaks of other credentials, or says nothing that can be read.
        let other = ("AWS_ACCESS_KEY_ID", "ASIA");
        assert_eq!(
            life(&keys(Some("t"), None), &[other, says]),
            CredentialsLife::Unknown
        );
        let vague = ("AWS_CREDENTIAL_EXPIRATION", "soon");
        assert_eq!(
            life(&keys(Some("t"), None), &[own, vague]),
            CredentialsLife::Unknown
        );
    }
}

//! A role of AWS, assumed with an identity token of somebody else: fresh credentials as long as the
//! run lasts. Where the token comes from is not known here.

use super::s3_config::S3Config;
use super::s3_identity::{IdentityToken, RoleToAssume};
use crate::error::{self, Explained};
use crate::secret::{Secret, redact};
use aws_config::SdkConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{Credentials, ProvideCredentials};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::Client;
use aws_sdk_sts::operation::assume_role_with_web_identity::{
    AssumeRoleWithWebIdentityError, AssumeRoleWithWebIdentityOutput,
};
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;

/// Credentials are replaced so long before they end: a part that is on its way must arrive.
pub(super) const AHEAD: Duration = Duration::from_secs(5 * 60);

/// After a failed renewal the old ones, while they live, serve so long before it is tried again.
const AGAIN: Duration = Duration::from_secs(20);

/// Gives the role's credentials, and renews them.
#[derive(Debug)]
pub(super) struct RoleProvider {
    role: RoleToAssume,
    sts: Client,
    kept: Mutex<Option<Kept>>,
}

#[derive(Debug)]
struct Kept {
    credentials: Credentials,
    expires: SystemTime,
    renew_from: SystemTime,
}

impl RoleProvider {
    /// The same settings (proxy, certificates, region) as the store's client has.
    pub(super) fn new(role: RoleToAssume, config: &S3Config, sdk: &SdkConfig) -> Self {
        let attempt = config.timeouts.attempt.min(Duration::from_secs(10));
        let attempts = config.timeouts.attempts.clamp(1, 3);
        let max_backoff = config.timeouts.max_backoff.min(Duration::from_secs(2));
        let sts = aws_sdk_sts::config::Builder::from(sdk)
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(attempts)
                    .with_initial_backoff(config.timeouts.backoff.min(max_backoff))
                    .with_max_backoff(max_backoff),
            )
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(config.timeouts.connect)
                    .operation_attempt_timeout(attempt)
                    .operation_timeout((attempt + max_backoff) * attempts)
                    .build(),
            )
            .build();
        Self {
            role,
            sts: Client::from_conf(sts),
            kept: Mutex::new(None),
        }
    }

    async fn provide(&self) -> Result<Credentials, Explained> {
        // Held while STS is asked: requests that need credentials at once share one answer.
        let mut kept = self.kept.lock().await;
        let now = SystemTime::now();
        if let Some(kept) = kept.as_ref().filter(|kept| now < kept.renew_from) {
            return Ok(kept.credentials.clone());
        }
        match self.assume().await {
            Ok((credentials, expires)) => {
                let life = expires.duration_since(now).unwrap_or_default();
                *kept = Some(Kept {
                    credentials: credentials.clone(),
                    expires,
                    renew_from: expires - AHEAD.min(life / 2),
                });
                Ok(credentials)
            }
            Err(error) => match kept.as_mut() {
                // They are good for some minutes more, and STS may be as well.
                Some(kept) if SystemTime::now() < kept.expires => {
                    kept.renew_from = SystemTime::now() + AGAIN;
                    Ok(kept.credentials.clone())
                }
                _ => Err(error),
            },
        }
    }

    async fn assume(&self) -> Result<(Credentials, SystemTime), Explained> {
        let identity = &self.role.identity;
        let token = identity.token().await.map_err(|error| {
            let hint = error::hint(&error).unwrap_or_default();
            Explained::new(error::one_line(&error), hint)
        })?;
        identity.hide(std::slice::from_ref(&token.token));
        let answer = self
            .sts
            .assume_role_with_web_identity()
            .role_arn(&self.role.arn)
            .role_session_name(&self.role.session)
            .web_identity_token(token.token.expose())
            .send()
            .await
            .map_err(|error| self.explain(&token, &error))?;
        self.read(&answer)
    }

    fn read(
        &self,
        answer: &AssumeRoleWithWebIdentityOutput,
    ) -> Result<(Credentials, SystemTime), Explained> {
        let nonsense = || {
            Explained::new(
                format!("STS gave no credentials for {}", self.role.arn),
                "Check AWS_ENDPOINT_URL_STS, and what stands between here and STS.",
            )
        };
        let given = answer.credentials().ok_or_else(nonsense)?;
        let expires = SystemTime::try_from(*given.expiration()).map_err(|_| nonsense())?;
        self.role.identity.hide(&[
            Secret::new(given.access_key_id()),
            Secret::new(given.secret_access_key()),
            Secret::new(given.session_token()),
        ]);
        let credentials = Credentials::new(
            given.access_key_id(),
            given.secret_access_key(),
            Some(given.session_token().to_owned()),
            Some(expires),
            "role",
        );
        Ok((credentials, expires))
    }

    fn explain(
        &self,
        token: &IdentityToken,
        error: &SdkError<AssumeRoleWithWebIdentityError, HttpResponse>,
    ) -> Explained {
        let arn = &self.role.arn;
        let what = format!("could not assume the role {arn}");
        let claim = |claim: &Option<String>| claim.clone().unwrap_or_else(|| "unknown".to_owned());
        let (subject, audience) = (claim(&token.subject), claim(&token.audience));
        let (code, message) = match error {
            SdkError::ServiceError(service) => (
                service.err().code().unwrap_or_default(),
                service.err().message().unwrap_or_default(),
            ),
            SdkError::TimeoutError(_) => {
                return Explained::new(
                    format!("{what}: STS did not answer in time"),
                    "Check the network and the proxy, and AWS_REGION, which says whose STS is asked.",
                );
            }
            other => {
                // STS may repeat what it was sent.
                let text = redact(
                    &super::s3_error::chain(other),
                    std::slice::from_ref(&token.token),
                );
                return Explained::new(
                    format!("{what}: no answer of STS: {text}"),
                    "Check the network and the proxy, and AWS_REGION, which says whose STS is asked.",
                );
            }
        };
        let hint = match code {
            "AccessDenied" => format!(
                "Let the role's trust policy accept this job: its token has the sub \"{subject}\" and the \
                 aud \"{audience}\". Compare them letter by letter: aws iam get-role --role-name {}.",
                arn.rsplit('/').next().unwrap_or_default()
            ),
            "InvalidIdentityToken" => format!(
                "Make GitHub known to the account: aws iam create-open-id-connect-provider --url \
                 https://token.actions.githubusercontent.com --client-id-list {audience}. The token has \
                 the sub \"{subject}\"."
            ),
            "ExpiredTokenException" => {
                "The token lives some minutes: set the clock of this machine by NTP.".to_owned()
            }
            "RegionDisabledException" => {
                "STS is switched off in this region for the account: switch it on, or set AWS_REGION."
                    .to_owned()
            }
            _ => format!(
                "Look up the code in the documentation of AssumeRoleWithWebIdentity. The token has the \
                 sub \"{subject}\" and the aud \"{audience}\"."
            ),
        };
        let said = match message {
            "" => code.to_owned(),
            message => format!("{code}: {message}"),
        };
        let said = redact(
            &super::s3_error::tame(&said),
            std::slice::from_ref(&token.token),
        );
        Explained::new(format!("{what}: STS answered {said}"), hint)
    }
}

impl ProvideCredentials for RoleProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async move {
            self.provide()
                .await
                .map_err(CredentialsError::provider_error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::s3_identity::{TokenFuture, WebIdentity};
    use super::*;
    use aws_config::BehaviorVersion;
    use aws_sdk_s3::config::Region;
    use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
    use std::sync::Arc;
    use std::sync::Mutex as Lock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[derive(Debug, Default)]
    struct Somebody {
        asked: AtomicUsize,
        refuses: bool,
        hidden: Lock<Vec<Secret>>,
    }

    impl WebIdentity for Somebody {
        fn token(&self) -> TokenFuture<'_> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            Box::pin(async {
                if self.refuses {
                    return Err(Explained::new("no token", "Ask later.").into());
                }
                Ok(IdentityToken {
                    token: Secret::new("c4nary"),
                    subject: None,
                    audience: None,
                })
            })
        }

        fn hide(&self, secrets: &[Secret]) {
            self.hidden.lock().unwrap().extend_from_slice(secrets);
        }
    }

    async fn provider(identity: &Arc<Somebody>, endpoint: &str) -> RoleProvider {
        let mut config = S3Config::parse("s3://bucket").unwrap();
        config.timeouts.attempt = Duration::from_millis(200);
        config.timeouts.attempts = 2;
        config.timeouts.backoff = Duration::from_millis(1);
        config.timeouts.max_backoff = Duration::from_millis(10);
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let sdk = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .http_client(http)
            .endpoint_url(endpoint)
            .no_credentials()
            .load()
            .await;
        let role = RoleToAssume {
            arn: "arn:aws:iam::123456789012:role/gate".to_owned(),
            session: "backup-action".to_owned(),
            identity: Arc::<Somebody>::clone(identity),
        };
        RoleProvider::new(role, &config, &sdk)
    }

    fn kept(renew: i64, end: i64) -> Kept {
        let at = |seconds: i64| match u64::try_from(seconds) {
            Ok(later) => SystemTime::now() + Duration::from_secs(later),
            Err(_) => SystemTime::now() - Duration::from_secs(seconds.unsigned_abs()),
        };
        Kept {
            credentials: Credentials::new("OLD", "s", None, Some(at(end)), "test"),
            expires: at(end),
            renew_from: at(renew),
        }
    }

    #[tokio::test]
    async fn old_credentials_serve_while_they_live_and_no_longer() {
        let identity = Arc::new(Somebody {
            refuses: true,
            ..Somebody::default()
        });
        let provider = provider(&identity, "http://127.0.0.1:9").await;
        let asked = || identity.asked.load(Ordering::Relaxed);
        *provider.kept.lock().await = Some(kept(100, 200));
        assert_eq!(provider.provide().await.unwrap().access_key_id(), "OLD");
        assert_eq!(asked(), 0);
        *provider.kept.lock().await = Some(kept(-1, 200));
        assert_eq!(provider.provide().await.unwrap().access_key_id(), "OLD");
        assert_eq!(asked(), 1);
        // Not again for each request.
        assert_eq!(provider.provide().await.unwrap().access_key_id(), "OLD");
        assert_eq!(asked(), 1);
        *provider.kept.lock().await = Some(kept(-2, -1));
        let error = provider.provide().await.unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.hint()),
            ("no token", "Ask later.")
        );
    }

    #[tokio::test]
    async fn a_silent_sts_is_not_waited_for() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let identity = Arc::new(Somebody::default());
        let provider = provider(&identity, &endpoint).await;
        let error = provider.provide().await.unwrap_err();
        assert!(
            error.to_string().contains("did not answer in time"),
            "{error}"
        );
        assert_eq!(*identity.hidden.lock().unwrap(), [Secret::new("c4nary")]);
        assert!(!format!("{provider:?}").contains("c4nary"));
    }
}

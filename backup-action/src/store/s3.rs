//! A store under an S3 prefix: the client, its deadlines and what was found out about the store.
//! Requests are in `s3_read`, `s3_put` and `s3_upload`.
//!
//! Rules of the house: bodies are in memory with their own CRC-64/NVME (never `aws-chunked`, which
//! many stores refuse); every attempt has a deadline (the SDK has none); a lost answer is decided by
//! looking at the object, never guessed. Each write carries a random nonce in its metadata, so that
//! "it exists already" can be told from "it was me".

use super::Key;
use super::error::{StoreErrorKind, store_error_from};
use super::s3_config::{S3Config, Sse};
use super::s3_credentials::{self, CredentialsInfo};
use super::s3_error::{self, Call, NO_CREDENTIALS, is_garbled};
use super::s3_plain;
use crate::archive::index::to_hex;
use crate::error::Usage;
use anyhow::{Context, Result, anyhow};
use aws_config::BehaviorVersion;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::retry::{RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    ConfigBag, Intercept, ProvideCredentials, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, RuntimeComponents, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{ServerSideEncryption, StorageClass};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use jiff::{SignedDuration, Timestamp};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How often our own loops try; each try has the SDK's attempts inside.
pub(super) const OUTER_ATTEMPTS: u32 = 3;

#[derive(Clone)]
pub(super) struct S3Store(pub(super) Arc<Inner>);

impl std::ops::Deref for S3Store {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

pub(super) struct Inner {
    pub(super) client: Client,
    pub(super) config: S3Config,
    pub(super) credentials: CredentialsInfo,
    /// Whether `If-None-Match` is sent; the probe clears it where it is refused or ignored.
    pub(super) conditional_writes: AtomicBool,
    /// Whether CRC-64/NVME is sent; the probe clears it where it is refused.
    pub(super) checksums: AtomicBool,
    /// Whether the sums that the store shows are believed; the probe clears it where wrong sums
    /// are accepted, since such a store shows what it was told.
    pub(super) sums_believed: AtomicBool,
    clock: Arc<Clock>,
}

impl S3Store {
    pub(super) async fn open(config: S3Config) -> Result<Self> {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let timeouts = &config.timeouts;
        // Behind an endpoint only what the store needs: many know no default checksums.
        let behind_endpoint = config.endpoint.is_some();
        let (request, response) = if behind_endpoint {
            (
                RequestChecksumCalculation::WhenRequired,
                ResponseChecksumValidation::WhenRequired,
            )
        } else {
            (
                RequestChecksumCalculation::WhenSupported,
                ResponseChecksumValidation::WhenSupported,
            )
        };
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http.clone())
            .identity_cache(s3_credentials::cache())
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(timeouts.attempts.max(1))
                    .with_initial_backoff(timeouts.backoff)
                    .with_max_backoff(timeouts.max_backoff),
            )
            .timeout_config(deadlines(&config, timeouts.attempt))
            // The deadlines above end a stalled stream; two watchdogs would tell two stories.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .request_checksum_calculation(request)
            .response_checksum_validation(response);
        loader = match (&config.region, behind_endpoint) {
            (Some(region), _) => loader.region(Region::new(region.clone())),
            // Not the default chain: it asks the metadata service of a cloud that is not there.
            (None, true) => loader.region(
                RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
                    .or_else(profile_region(&config))
                    .or_else("us-east-1"),
            ),
            (None, false) => loader,
        };
        if let Some(profile) = &config.profile {
            loader = loader.profile_name(profile);
        }
        let mut sdk = loader.load().await;
        if sdk.region().is_none() {
            return Err(Usage::new("the region of the remote store is not known")
                .hint("Set AWS_REGION to the bucket's region.")
                .into());
        }
        if let Some(region) = sdk.region() {
            s3_plain::check_region(region.as_ref())?;
        }
        if let Some(named) = s3_credentials::named(&config, &sdk, &http) {
            sdk = sdk.into_builder().credentials_provider(named).build();
        } else if config.credentials.is_none() {
            s3_plain::check_keys(|name| std::env::var(name).ok())?;
        }
        let clock = Arc::new(Clock::default());
        // The endpoint is the store's alone: STS has its own address.
        let mut s3 = aws_sdk_s3::config::Builder::from(&sdk);
        if let Some(endpoint) = &config.endpoint {
            s3 = s3.endpoint_url(endpoint);
        }
        let s3 = s3
            .force_path_style(config.path_style)
            // The SDK's bucket of retry tokens is shared by the whole process and empties in a bad
            // hour; our attempts are counted per request.
            .retry_partition(
                RetryPartition::custom("backup-action")
                    .token_bucket(TokenBucket::unlimited())
                    .build(),
            )
            .interceptor(DateWatch(Arc::clone(&clock)))
            .build();
        let provider = sdk
            .credentials_provider()
            .context("no provider of credentials")?;
        let found = provider.provide_credentials().await.map_err(|error| {
            store_error_from(
                StoreErrorKind::Credentials,
                format!("could not find credentials for s3://{}", config.bucket),
                NO_CREDENTIALS,
                // The error's own text names sources, never values.
                anyhow::Error::new(error),
            )
        })?;
        let credentials = s3_credentials::info(&config, &found, &|name| std::env::var(name).ok());
        Ok(Self(Arc::new(Inner {
            client: Client::from_conf(s3),
            config,
            credentials,
            conditional_writes: AtomicBool::new(true),
            checksums: AtomicBool::new(true),
            sums_believed: AtomicBool::new(true),
            clock,
        })))
    }

    /// The same store, which asks for another storage class.
    pub(super) fn with_storage_class(&self, class: Option<String>) -> Self {
        let copied = |flag: &AtomicBool| AtomicBool::new(flag.load(Ordering::Relaxed));
        Self(Arc::new(Inner {
            client: self.client.clone(),
            config: S3Config {
                storage_class: class,
                ..self.config.clone()
            },
            credentials: self.credentials.clone(),
            conditional_writes: copied(&self.conditional_writes),
            checksums: copied(&self.checksums),
            sums_believed: copied(&self.sums_believed),
            clock: Arc::clone(&self.clock),
        }))
    }

    pub(super) fn url(&self, key: Option<&Key>) -> String {
        let (bucket, prefix) = (&self.config.bucket, &self.config.prefix);
        match key {
            Some(key) => format!("s3://{bucket}/{}", self.object(key)),
            None if prefix.is_empty() => format!("s3://{bucket}"),
            None => format!("s3://{bucket}/{prefix}"),
        }
    }

    /// The error for `call` on `target` (a URL).
    pub(super) fn explain<E>(
        &self,
        call: Call,
        target: &str,
        error: SdkError<E, HttpResponse>,
    ) -> anyhow::Error
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        s3_error::explain(&self.config, call, target, error)
    }

    /// The key in the bucket.
    pub(super) fn object(&self, key: &Key) -> String {
        match self.config.prefix.as_str() {
            "" => key.as_str().to_owned(),
            prefix => format!("{prefix}/{key}"),
        }
    }

    pub(super) fn clock_skew(&self) -> Option<SignedDuration> {
        *self.clock.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn if_none_match(&self) -> Option<String> {
        let conditional = self.conditional_writes.load(Ordering::Relaxed);
        conditional.then(|| "*".to_owned())
    }

    /// The sum to send with a body; none where the store refuses it.
    pub(super) fn sum_to_send(&self, sum: &str) -> Option<String> {
        let wanted = self.checksums.load(Ordering::Relaxed);
        wanted.then(|| sum.to_owned())
    }

    /// A sum that the store showed, where it counts as evidence.
    pub(super) fn believed(&self, shown: Option<String>) -> Option<String> {
        shown.filter(|_| self.sums_believed.load(Ordering::Relaxed))
    }

    pub(super) fn sse(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match &self.config.sse {
            None => (None, None),
            Some(Sse::Aes256) => (Some(ServerSideEncryption::Aes256), None),
            Some(Sse::Kms { key_id }) => (Some(ServerSideEncryption::AwsKms), key_id.clone()),
        }
    }

    pub(super) fn storage_class(&self) -> Option<StorageClass> {
        self.config.storage_class.as_deref().map(StorageClass::from)
    }

    /// Deadlines for a request that moves `bytes`.
    pub(super) fn transfer_deadlines(&self, bytes: u64) -> aws_sdk_s3::config::Builder {
        self.override_deadlines(self.config.timeouts.transfer(bytes))
    }

    pub(super) fn override_deadlines(&self, attempt: Duration) -> aws_sdk_s3::config::Builder {
        aws_sdk_s3::config::Builder::new().timeout_config(deadlines(&self.config, attempt))
    }
}

/// Sends a request again when the answer was garbled. Everything else is the SDK's to try again.
pub(super) async fn patiently<T, E, F>(
    request: impl Fn() -> F,
) -> Result<T, SdkError<E, HttpResponse>>
where
    F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
{
    for _ in 1..OUTER_ATTEMPTS {
        match request().await {
            Err(error) if is_garbled(&error) => {}
            decided => return decided,
        }
    }
    request().await
}

/// Somebody else's object is there.
pub(super) fn exists(call: Call, target: &str) -> anyhow::Error {
    store_error_from(
        StoreErrorKind::AlreadyExists,
        call.could_not(target),
        "Nothing was overwritten. Start the backup again: its name holds the time.",
        anyhow!("an object of that name exists"),
    )
}

/// 128 random bits.
pub(super) fn nonce() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("could not get random bytes")?;
    Ok(to_hex(&bytes))
}

fn profile_region(config: &S3Config) -> ProfileFileRegionProvider {
    match &config.profile {
        Some(profile) => ProfileFileRegionProvider::builder()
            .profile_name(profile)
            .build(),
        None => ProfileFileRegionProvider::new(),
    }
}

fn deadlines(config: &S3Config, attempt: Duration) -> TimeoutConfig {
    let timeouts = &config.timeouts;
    let attempts = timeouts.attempts.max(1);
    TimeoutConfig::builder()
        .connect_timeout(timeouts.connect)
        .operation_attempt_timeout(attempt)
        // Three slow attempts, or many quick ones with their pauses.
        .operation_timeout(attempt * attempts.min(3) + timeouts.max_backoff * attempts)
        .build()
}

/// How far the store's clock is ahead of ours, from the last answer.
#[derive(Debug, Default)]
struct Clock(Mutex<Option<SignedDuration>>);

#[derive(Debug)]
struct DateWatch(Arc<Clock>);

impl Intercept for DateWatch {
    fn name(&self) -> &'static str {
        "DateWatch"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        if let Some(Ok(date)) = date.map(jiff::fmt::rfc2822::parse) {
            let skew = date.timestamp().duration_since(Timestamp::now());
            *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(skew);
        }
        Ok(())
    }
}

//! A store under an S3 prefix: the client, reads, lists, small writes. Multipart uploads are in
//! `s3_upload`.
//!
//! Rules of the house: bodies are in memory with their own CRC-64/NVME (never `aws-chunked`, which
//! many stores refuse); every attempt has a deadline (the SDK has none); a lost answer is decided by
//! looking at the object, never guessed. Each write carries a random nonce in its metadata, so that
//! "it exists already" can be told from "it was me".

use super::error::{StoreErrorKind, left_behind, store_error, store_error_from};
use super::s3_config::{S3Config, Sse};
use super::s3_error::{Call, Failure, NO_CREDENTIALS, code, failure, is_garbled, nonsense, status};
use super::s3_upload::S3Upload;
use super::{Key, ObjectInfo, crc64nvme_base64};
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
    ConfigBag, Credentials, Intercept, ProvideCredentials, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, RuntimeComponents, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{BoxError, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ChecksumMode, ChecksumType, ServerSideEncryption, StorageClass};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use bytes::{Bytes, BytesMut};
use crc_fast::{CrcAlgorithm, checksum};
use jiff::{SignedDuration, Timestamp};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The metadata that holds the nonce of a write.
const NONCE: &str = "backup-action-write";

/// A listing longer than this loops, or is not a backup store.
const MAX_PAGES: usize = 10_000;

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
    /// Whether `If-None-Match` is sent; the probe clears it where it is refused or ignored.
    pub(super) conditional_writes: AtomicBool,
    /// Whether CRC-64/NVME is sent; the probe clears it where it is refused.
    pub(super) checksums: AtomicBool,
    clock: Arc<Clock>,
}

/// Whether a write may replace an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    Create,
    Overwrite,
}

/// Whose object lies under a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// It carries the nonce of this write. With the store's size and checksum.
    Us(ObjectInfo),
    SomebodyElse,
    Nobody,
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
            .http_client(http)
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
                    .or_else(ProfileFileRegionProvider::new())
                    .or_else("us-east-1"),
            ),
            (None, false) => loader,
        };
        if let Some(endpoint) = &config.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some(keys) = &config.credentials {
            loader = loader.credentials_provider(Credentials::new(
                &keys.access_key_id,
                keys.secret_access_key.expose(),
                keys.session_token.as_ref().map(|t| t.expose().to_owned()),
                None,
                "configuration",
            ));
        }
        let sdk = loader.load().await;
        if sdk.region().is_none() {
            return Err(Usage::new("the region of the remote store is not known")
                .hint("Set AWS_REGION to the bucket's region.")
                .into());
        }
        let clock = Arc::new(Clock::default());
        let s3 = aws_sdk_s3::config::Builder::from(&sdk)
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
        let store = Self(Arc::new(Inner {
            client: Client::from_conf(s3),
            config,
            conditional_writes: AtomicBool::new(true),
            checksums: AtomicBool::new(true),
            clock,
        }));
        let provider = sdk
            .credentials_provider()
            .context("no provider of credentials")?;
        provider.provide_credentials().await.map_err(|error| {
            store_error_from(
                StoreErrorKind::Credentials,
                format!("could not find credentials for {}", store.url(None)),
                NO_CREDENTIALS,
                // The error's own text names sources, never values.
                anyhow::Error::new(error),
            )
        })?;
        Ok(store)
    }

    pub(super) fn url(&self, key: Option<&Key>) -> String {
        let (bucket, prefix) = (&self.config.bucket, &self.config.prefix);
        match key {
            Some(key) => format!("s3://{bucket}/{}", self.object(key)),
            None if prefix.is_empty() => format!("s3://{bucket}"),
            None => format!("s3://{bucket}/{prefix}"),
        }
    }

    pub(super) fn endpoint(&self) -> &str {
        self.config.endpoint.as_deref().unwrap_or("Amazon S3")
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

    pub(super) async fn create(&self, key: &Key, expected_bytes: u64) -> Result<S3Upload> {
        self.refuse_existing(key, Call::CREATE).await?;
        S3Upload::start(self.clone(), key.clone(), expected_bytes)
    }

    /// Where the store ignores conditions, looking first is the best there is.
    pub(super) async fn refuse_existing(&self, key: &Key, call: Call) -> Result<()> {
        if self.conditional_writes.load(Ordering::Relaxed) || self.head(key).await?.is_none() {
            return Ok(());
        }
        Err(exists(call, &self.url(Some(key))))
    }

    pub(super) async fn put(
        &self,
        key: &Key,
        bytes: Bytes,
        content_type: &str,
        put: Put,
    ) -> Result<()> {
        if put == Put::Create {
            self.refuse_existing(key, Call::PUT).await?;
        }
        let nonce = nonce()?;
        self.put_as(key, bytes, content_type, put, &nonce).await?;
        Ok(())
    }

    /// Writes an object that carries `nonce`, and returns what the store has then.
    pub(super) async fn put_as(
        &self,
        key: &Key,
        bytes: Bytes,
        content_type: &str,
        put: Put,
        nonce: &str,
    ) -> Result<ObjectInfo> {
        let target = self.url(Some(key));
        let length = bytes.len() as u64;
        let sum = crc64nvme_base64(checksum(CrcAlgorithm::Crc64Nvme, &bytes));
        let (sse, kms_key) = self.sse();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let answer = self
                .client
                .put_object()
                .bucket(&self.config.bucket)
                .key(self.object(key))
                .content_type(content_type)
                .metadata(NONCE, nonce)
                .set_if_none_match(match put {
                    Put::Create => self.if_none_match(),
                    Put::Overwrite => None,
                })
                .set_checksum_crc64_nvme(self.sum_to_send(&sum))
                .set_server_side_encryption(sse.clone())
                .set_ssekms_key_id(kms_key.clone())
                .set_storage_class(self.storage_class())
                .body(ByteStream::from(bytes.clone()))
                .customize()
                .config_override(self.transfer_deadlines(length))
                .send()
                .await;
            let error = match answer {
                Ok(answer) if answer.e_tag().is_some() => {
                    let stored = answer.checksum_crc64_nvme().map(str::to_owned);
                    let info = ObjectInfo {
                        key: key.clone(),
                        bytes: length,
                        crc64nvme: stored,
                        modified: None,
                    };
                    return self.agree(info, length, &sum);
                }
                Ok(_) => nonsense(Call::PUT, &target, "holds no ETag"),
                Err(error) => {
                    let failure = failure(&error);
                    let error = self.explain(Call::PUT, &target, error);
                    match failure {
                        Failure::Unknown | Failure::Conflict => error,
                        Failure::Refused | Failure::NotImplemented => return Err(error),
                    }
                }
            };
            // The answer was lost, or the SDK's second attempt met the object of its first.
            match self.owner(key, nonce).await {
                Ok(Owner::Us(info)) => return self.agree(info, length, &sum),
                Ok(Owner::SomebodyElse) if put == Put::Create => {
                    return Err(exists(Call::PUT, &target));
                }
                Ok(Owner::SomebodyElse | Owner::Nobody) if attempt < OUTER_ATTEMPTS => {
                    tokio::time::sleep(self.config.timeouts.backoff).await;
                }
                Ok(Owner::SomebodyElse | Owner::Nobody) => return Err(error),
                Err(second) => return Err(left_behind(error, &second)),
            }
        }
    }

    /// The store must have the bytes that were sent.
    pub(super) fn agree(&self, info: ObjectInfo, bytes: u64, sum: &str) -> Result<ObjectInfo> {
        let target = self.url(Some(&info.key));
        if info.bytes != bytes {
            return Err(store_error(
                StoreErrorKind::Other,
                format!(
                    "{target} has {} bytes in the store, {bytes} were sent",
                    info.bytes
                ),
                "The store lost or added bytes. Do not trust it before this is understood.",
            ));
        }
        match &info.crc64nvme {
            Some(stored) if stored != sum => Err(store_error(
                StoreErrorKind::Other,
                format!("{target} has the CRC-64/NVME {stored} in the store, {sum} was sent"),
                "The store changed the bytes. Do not trust it before this is understood.",
            )),
            _ => Ok(info),
        }
    }

    /// Whether the object under `key` was written with `nonce`.
    pub(super) async fn owner(&self, key: &Key, nonce: &str) -> Result<Owner> {
        let Some(head) = self.head_raw(key).await? else {
            return Ok(Owner::Nobody);
        };
        let theirs = head.metadata().and_then(|metadata| metadata.get(NONCE));
        if theirs.is_some_and(|theirs| theirs == nonce) {
            return Ok(Owner::Us(info(key, &head)));
        }
        Ok(Owner::SomebodyElse)
    }

    pub(super) async fn get(&self, key: &Key, max_bytes: u64) -> Result<Bytes> {
        let target = self.url(Some(key));
        self.read(key, None, |answer| {
            match answer.content_length().map(u64::try_from) {
                Some(Ok(bytes)) if bytes > max_bytes => {
                    Err(super::dir::too_large(&target, max_bytes))
                }
                Some(Ok(bytes)) => Ok(bytes),
                Some(Err(_)) | None => Err(nonsense(Call::GET, &target, "holds no length")),
            }
        })
        .await
    }

    pub(super) async fn get_range(&self, key: &Key, range: Range<u64>) -> Result<Bytes> {
        let target = self.url(Some(key));
        let Some(bytes) = range.end.checked_sub(range.start) else {
            return Err(anyhow!("bytes {range:?} of {target} are no range"));
        };
        if bytes == 0 {
            return Ok(Bytes::new());
        }
        let (start, last) = (range.start, range.end - 1);
        let wanted = format!("bytes={start}-{last}");
        let expected = format!("bytes {start}-{last}/");
        self.read(key, Some(wanted), |answer| {
            let told = answer.content_range().unwrap_or_default();
            let length = answer.content_length().map(u64::try_from);
            if told.starts_with(&expected) && length == Some(Ok(bytes)) {
                return Ok(bytes);
            }
            Err(store_error(
                StoreErrorKind::Other,
                format!("could not read bytes {start}..{} of {target}", range.end),
                "The object is shorter than its manifest says, or the store knows no ranges: read it with --verify.",
            ))
        })
        .await
    }

    /// Reads a body of the length that `check` accepts; a body that breaks off is asked for again.
    async fn read(
        &self,
        key: &Key,
        range: Option<String>,
        check: impl Fn(&GetObjectOutput) -> Result<u64>,
    ) -> Result<Bytes> {
        let target = self.url(Some(key));
        let request = self
            .client
            .get_object()
            .bucket(&self.config.bucket)
            .key(self.object(key))
            // A sum over the whole object says nothing about a range.
            .set_checksum_mode(range.is_none().then_some(ChecksumMode::Enabled))
            .set_range(range);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let answer = patiently(|| request.clone().send())
                .await
                .map_err(|error| self.explain(Call::GET, &target, error))?;
            let error = if answer.e_tag().is_none() {
                nonsense(Call::GET, &target, "holds no ETag")
            } else {
                let bytes = check(&answer)?;
                match self.collect(answer, bytes).await {
                    Ok(bytes) => return Ok(bytes),
                    Err(error) => store_error_from(
                        StoreErrorKind::Unreachable,
                        format!("could not read {target}"),
                        "The answer broke off in several attempts. Check the network and the store's status.",
                        error,
                    ),
                }
            };
            if attempt >= OUTER_ATTEMPTS {
                return Err(error);
            }
            tokio::time::sleep(self.config.timeouts.backoff).await;
        }
    }

    async fn collect(&self, answer: GetObjectOutput, expected: u64) -> Result<Bytes> {
        let idle = self.config.timeouts.attempt;
        let work = async {
            let whole_sum = answer.content_range().is_none()
                && answer.checksum_type() != Some(&ChecksumType::Composite);
            let sum = answer.checksum_crc64_nvme().map(str::to_owned);
            let mut body = answer.body;
            // Reserved as it arrives: the length is only what the peer claims.
            let mut bytes = BytesMut::with_capacity(usize::try_from(expected.min(1 << 24))?);
            while let Some(chunk) = tokio::time::timeout(idle, body.next())
                .await
                .context("no bytes came for too long")?
            {
                bytes.extend_from_slice(&chunk.context("the answer broke off")?);
                if bytes.len() as u64 > expected {
                    return Err(anyhow!("more bytes came than {expected}"));
                }
            }
            if bytes.len() as u64 != expected {
                return Err(anyhow!("{} bytes came instead of {expected}", bytes.len()));
            }
            let ours = || crc64nvme_base64(checksum(CrcAlgorithm::Crc64Nvme, &bytes));
            match sum {
                Some(sum) if whole_sum && sum != ours() => Err(anyhow!(
                    "the bytes do not have the checksum {sum} of the store"
                )),
                _ => Ok(bytes.freeze()),
            }
        };
        tokio::time::timeout(self.config.timeouts.transfer(expected), work)
            .await
            .context("it took too long")?
    }

    pub(super) async fn head(&self, key: &Key) -> Result<Option<ObjectInfo>> {
        let head = self.head_raw(key).await?;
        Ok(head.map(|head| info(key, &head)))
    }

    async fn head_raw(&self, key: &Key) -> Result<Option<HeadObjectOutput>> {
        let target = self.url(Some(key));
        let request = self
            .client
            .head_object()
            .bucket(&self.config.bucket)
            .key(self.object(key))
            .checksum_mode(ChecksumMode::Enabled);
        let mut attempt = 0;
        loop {
            attempt += 1;
            match patiently(|| request.clone().send()).await {
                Ok(head) if head.e_tag().is_some() && head.content_length().is_some() => {
                    return Ok(Some(head));
                }
                Ok(_) if attempt < OUTER_ATTEMPTS => {
                    tokio::time::sleep(self.config.timeouts.backoff).await;
                }
                Ok(_) => return Err(nonsense(Call::HEAD, &target, "holds no ETag or no length")),
                // Some stores answer a missing bucket with its code even to HEAD.
                Err(error)
                    if status(&error) == Some(404) && code(&error) != Some("NoSuchBucket") =>
                {
                    return Ok(None);
                }
                Err(error) => return Err(self.explain(Call::HEAD, &target, error)),
            }
        }
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        let target = self.url(None);
        let base = match self.config.prefix.as_str() {
            "" => String::new(),
            own => format!("{own}/"),
        };
        let mut found = Vec::new();
        let mut tokens: HashSet<String> = HashSet::new();
        let mut next: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let request = self
                .client
                .list_objects_v2()
                .bucket(&self.config.bucket)
                .prefix(format!("{base}{prefix}"))
                .set_continuation_token(next.take())
                .set_max_keys(self.config.list_page);
            let page = patiently(|| request.clone().send())
                .await
                .map_err(|error| self.explain(Call::LIST, &target, error))?;
            // An empty document parses as an empty page: a listing repeats what was asked.
            if page.name().is_none() || page.is_truncated().is_none() {
                return Err(nonsense(Call::LIST, &target, "is no listing"));
            }
            for object in page.contents() {
                let key = object.key().and_then(|key| key.strip_prefix(&base));
                let Some(Ok(key)) = key.map(Key::parse) else {
                    continue; // Somebody else's object.
                };
                let Some(Ok(bytes)) = object.size().map(u64::try_from) else {
                    return Err(nonsense(
                        Call::LIST,
                        &target,
                        "holds an object without a size",
                    ));
                };
                found.push(ObjectInfo {
                    key,
                    bytes,
                    crc64nvme: None,
                    modified: object.last_modified().and_then(timestamp),
                });
            }
            match (page.is_truncated(), page.next_continuation_token()) {
                (Some(true), Some(token)) if tokens.insert(token.to_owned()) => {
                    next = Some(token.to_owned());
                }
                (Some(true), _) => {
                    return Err(nonsense(
                        Call::LIST,
                        &target,
                        "begins again, or does not say how to go on",
                    ));
                }
                (Some(false) | None, _) => {
                    found.sort_by(|a: &ObjectInfo, b| a.key.cmp(&b.key));
                    return Ok(found);
                }
            }
        }
        Err(nonsense(Call::LIST, &target, "never ends"))
    }

    pub(super) async fn delete(&self, key: &Key) -> Result<()> {
        let request = self
            .client
            .delete_object()
            .bucket(&self.config.bucket)
            .key(self.object(key));
        match patiently(|| request.clone().send()).await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == Some("NoSuchKey") => Ok(()),
            Err(error) => Err(self.explain(Call::DELETE, &self.url(Some(key)), error)),
        }
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

pub(super) fn nonce_metadata() -> &'static str {
    NONCE
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

fn info(key: &Key, head: &HeadObjectOutput) -> ObjectInfo {
    let full = head.checksum_type() != Some(&ChecksumType::Composite);
    ObjectInfo {
        key: key.clone(),
        bytes: head
            .content_length()
            .and_then(|bytes| u64::try_from(bytes).ok())
            .unwrap_or(0),
        crc64nvme: head
            .checksum_crc64_nvme()
            .filter(|_| full)
            .map(str::to_owned),
        modified: head.last_modified().and_then(timestamp),
    }
}

fn timestamp(at: &DateTime) -> Option<Timestamp> {
    Timestamp::from_second(at.secs()).ok()
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

//! From what the SDK and the store say to what a person can do. Never shows credentials: only the
//! store's code and message, and the messages of the error chain.

use super::error::{StoreErrorKind, store_error, store_error_from};
use super::s3_config::S3Config;
use crate::error::Explained;
use anyhow::anyhow;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use std::error::Error;

/// One kind of request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    /// What a person calls it: `write`, `read` …
    verb: &'static str,
    /// S3's name.
    api: &'static str,
    /// The right that it needs.
    right: &'static str,
}

macro_rules! calls {
    ($($name:ident = $verb:literal, $api:literal, $right:literal;)+) => {
        impl Call { $(pub(super) const $name: Call = Call { verb: $verb, api: $api, right: $right };)+ }
    };
}

calls! {
    HEAD_BUCKET = "reach", "HeadBucket", "s3:ListBucket";
    LIST = "list", "ListObjectsV2", "s3:ListBucket";
    HEAD = "look at", "HeadObject", "s3:GetObject";
    GET = "read", "GetObject", "s3:GetObject";
    PUT = "write", "PutObject", "s3:PutObject";
    DELETE = "delete", "DeleteObject", "s3:DeleteObject";
    CREATE = "start the upload of", "CreateMultipartUpload", "s3:PutObject";
    PART = "upload a part of", "UploadPart", "s3:PutObject";
    COMPLETE = "complete the upload of", "CompleteMultipartUpload", "s3:PutObject";
    ABORT = "abort the upload of", "AbortMultipartUpload", "s3:AbortMultipartUpload";
    LIST_UPLOADS = "list the unfinished uploads of", "ListMultipartUploads", "s3:ListBucketMultipartUploads";
    COPY = "copy", "CopyObject", "s3:GetObject and s3:PutObject";
    COPY_PART = "copy a part of", "UploadPartCopy", "s3:GetObject and s3:PutObject";
    TAG = "tag", "PutObjectTagging", "s3:PutObjectTagging";
    TAGS = "read the tags of", "GetObjectTagging", "s3:GetObjectTagging";
    VERSIONING = "read the versioning of", "GetBucketVersioning", "s3:GetBucketVersioning";
    OBJECT_LOCK = "read the object lock of", "GetObjectLockConfiguration", "s3:GetBucketObjectLockConfiguration";
    LIFECYCLE = "read the lifecycle rules of", "GetBucketLifecycleConfiguration", "s3:GetLifecycleConfiguration";
    LIST_PARTS = "list the parts of", "ListParts", "s3:ListMultipartUploadParts";
}

impl Call {
    /// `could not write s3://…`
    pub(super) fn could_not(self, target: &str) -> String {
        format!("could not {} {target}", self.verb)
    }
}

/// What a failed request means for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The store said no and did nothing.
    Refused,
    /// 412, or 409 of a competing write.
    Conflict,
    /// Nobody knows whether it was applied: no answer, half an answer, 5xx.
    Unknown,
    /// The store does not know a header that was sent.
    NotImplemented,
}

/// The code of an error answer, if the store gave one.
pub(super) fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    match error {
        SdkError::ServiceError(service) => service.err().code(),
        _ => None,
    }
}

pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|raw| raw.status().as_u16())
}

pub(super) fn failure<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Failure {
    match error {
        SdkError::ConstructionFailure(_) => Failure::Refused,
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
            Failure::Unknown
        }
        // A 200 with an error body says no, but from where nobody knows.
        SdkError::ServiceError(_) => match (status(error), code(error)) {
            (Some(501), _) | (_, Some("NotImplemented")) => Failure::NotImplemented,
            (Some(409 | 412), _) => Failure::Conflict,
            (Some(400..=499), Some("RequestTimeout")) => Failure::Unknown,
            (Some(300..=499), _) => Failure::Refused,
            _ => Failure::Unknown,
        },
        _ => Failure::Unknown,
    }
}

/// Whether something answered, but not in HTTP or not in S3's XML. The SDK gives up on that at
/// once; a connection that was cut in the middle looks like it.
pub(super) fn is_garbled<E>(error: &SdkError<E, HttpResponse>) -> bool {
    match error {
        SdkError::ResponseError(_) => true,
        SdkError::DispatchFailure(failure) => failure.is_other() && failure.as_other().is_none(),
        _ => false,
    }
}

/// The error for `call` on `target` (a URL).
pub(super) fn explain<E>(
    config: &S3Config,
    call: Call,
    target: &str,
    error: SdkError<E, HttpResponse>,
) -> anyhow::Error
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let what = call.could_not(target);
    let code = code(&error).unwrap_or_default().to_owned();
    let status = status(&error);
    match &error {
        SdkError::TimeoutError(_) => store_error_from(
            StoreErrorKind::Unreachable,
            what,
            format!(
                "{} did not answer {} in time, in several attempts. Check the network and the store's status.",
                endpoint(config),
                call.api
            ),
            anyhow!("no answer in time"),
        ),
        SdkError::DispatchFailure(_) | SdkError::ConstructionFailure(_) => {
            explain_no_answer(config, what, &error)
        }
        SdkError::ResponseError(_) => store_error_from(
            StoreErrorKind::Other,
            what,
            format!(
                "Check that {} is an S3 endpoint and not a proxy or a web page.",
                endpoint(config)
            ),
            anyhow!(
                "the answer to {} cannot be understood: {}",
                call.api,
                chain(&error)
            ),
        ),
        _ => explain_no(config, call, what, &code, status, said(&error)),
    }
}

/// No connection, or no credentials to sign with.
fn explain_no_answer(
    config: &S3Config,
    what: String,
    error: &(dyn Error + 'static),
) -> anyhow::Error {
    // "dispatch failure" is the SDK's word; what happened stands below it.
    let text = chain(error.source().unwrap_or(error));
    let text = ["other: ", "io error: "]
        .iter()
        .find_map(|layer| text.strip_prefix(layer))
        .unwrap_or(&text);
    let lower = text.to_lowercase();
    if lower.contains("credential") || lower.contains("identity") {
        return store_error_from(
            StoreErrorKind::Credentials,
            what,
            explained_hint(error).unwrap_or(NO_CREDENTIALS),
            anyhow!("no usable credentials: {text}"),
        );
    }
    let hint = if lower.contains("dns") || lower.contains("lookup") || lower.contains("resolve") {
        "The name of the endpoint was not found. Check --s3-endpoint, the region and the DNS."
    } else if lower.contains("refused") {
        "Nothing listens there. Check --s3-endpoint, and that the store is running."
    } else if lower.contains("certificate") || lower.contains("tls") {
        "The endpoint's certificate was not accepted. Check its name and the machine's CA certificates."
    } else {
        "The connection failed in several attempts. Check the network, the proxy and the store's status."
    };
    store_error_from(
        StoreErrorKind::Unreachable,
        what,
        hint,
        anyhow!("{}: {text}", endpoint(config)),
    )
}

/// The hint of ours somewhere below the SDK's errors, as that of a role that could not be assumed.
fn explained_hint<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a str> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(explained) = cause.downcast_ref::<Explained>() {
            return Some(explained.hint());
        }
        next = cause.source();
    }
    None
}

/// The store said no.
fn explain_no(
    config: &S3Config,
    call: Call,
    what: String,
    code: &str,
    status: Option<u16>,
    said: String,
) -> anyhow::Error {
    let bucket = &config.bucket;
    let (kind, hint) = match (code, status) {
        ("NoSuchBucket", _) => (
            StoreErrorKind::NoBucket,
            format!("Create the bucket {bucket}, or correct --remote. It is never created by a backup."),
        ),
        ("NoSuchKey" | "NotFound", _) => (
            StoreErrorKind::NotFound,
            "Check the name with `backup-action list`.".to_owned(),
        ),
        ("InvalidAccessKeyId", _) => (
            StoreErrorKind::Credentials,
            "The store does not know this access key. Check AWS_ACCESS_KEY_ID, the profile or the role."
                .to_owned(),
        ),
        ("SignatureDoesNotMatch", _) => (
            StoreErrorKind::Credentials,
            "The secret key is wrong. Check AWS_SECRET_ACCESS_KEY (no spaces, no newline) and the region."
                .to_owned(),
        ),
        ("ExpiredToken" | "TokenRefreshRequired" | "InvalidToken", _) => (
            StoreErrorKind::Credentials,
            expired(config).to_owned(),
        ),
        ("RequestTimeTooSkewed", _) => (
            StoreErrorKind::Credentials,
            "The clocks of this machine and of the store differ too much. Set this one by NTP.".to_owned(),
        ),
        ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException", _)
        | (_, Some(301 | 307)) => (
            StoreErrorKind::NoBucket,
            format!("The bucket {bucket} is in another region. Set AWS_REGION to it."),
        ),
        ("BadDigest" | "InvalidDigest" | "XAmzContentChecksumMismatch" | "XAmzContentSHA256Mismatch", _) => (
            StoreErrorKind::Other,
            "The bytes changed on their way. Look for a faulty proxy or memory, then try again.".to_owned(),
        ),
        ("PreconditionFailed" | "ConditionalRequestConflict", _) | (_, Some(409 | 412)) => (
            StoreErrorKind::AlreadyExists,
            "Nothing was overwritten. Start the backup again: its name holds the time.".to_owned(),
        ),
        ("AccessDenied" | "AllAccessDisabled" | "AccountProblem", _) | (_, Some(403)) => (
            StoreErrorKind::Denied,
            format!(
                "Allow {} on {} (and the use of the KMS key, if the bucket has one).",
                call.right,
                arn(config, call)
            ),
        ),
        ("QuotaExceeded" | "XMinioStorageFull" | "InsufficientCapacity", _) | (_, Some(507)) => (
            StoreErrorKind::Full,
            "The store has no room left. Prune old backups or raise the quota.".to_owned(),
        ),
        (_, Some(404)) => (
            StoreErrorKind::NotFound,
            "Check the bucket, and the name with `backup-action list`.".to_owned(),
        ),
        ("SlowDown" | "ServiceUnavailable" | "InternalError", _) | (_, Some(500..=599)) => (
            StoreErrorKind::Unreachable,
            "The store failed in several attempts. Look at its status, then run this again.".to_owned(),
        ),
        _ => (
            StoreErrorKind::Other,
            format!("Look up the store's answer to {}.", call.api),
        ),
    };
    let status = status.map_or_else(String::new, |status| format!(" (HTTP {status})"));
    store_error_from(
        kind,
        what,
        hint,
        anyhow!("{} answered {said}{status}", call.api),
    )
}

fn arn(config: &S3Config, call: Call) -> String {
    let bucket = &config.bucket;
    let is_of_bucket = ["s3:List", "s3:GetBucket", "s3:GetLifecycle"]
        .iter()
        .any(|start| call.right.starts_with(start));
    if is_of_bucket && call.right != Call::LIST_PARTS.right {
        return format!("arn:aws:s3:::{bucket}");
    }
    match config.prefix.as_str() {
        "" => format!("arn:aws:s3:::{bucket}/*"),
        prefix => format!("arn:aws:s3:::{bucket}/{prefix}/*"),
    }
}

/// What to do about a session token that the store does not take (any more).
fn expired(config: &S3Config) -> &'static str {
    if config.role.is_some() {
        "The credentials of the role were made for this run and are renewed in time: set the clock of \
         this machine by NTP, and check that nobody revoked the role's sessions."
    } else {
        "The session token has expired, or is wrong. In a workflow let this program renew it: \
         --aws-role-to-assume ARN instead of aws-actions/configure-aws-credentials. Else raise \
         role-duration-seconds there (and the role's own limit: aws iam update-role --role-name NAME \
         --max-session-duration 14400), or fetch the credentials right before this."
    }
}

fn endpoint(config: &S3Config) -> &str {
    config.endpoint.as_deref().unwrap_or("Amazon S3")
}

pub(super) const NO_CREDENTIALS: &str = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or let the job assume a role \
     (--aws-role-to-assume ARN, with the permission id-token: write).";

/// An answer with status 200 that is not the store's.
pub(super) fn nonsense(call: Call, target: &str, why: &str) -> anyhow::Error {
    store_error(
        StoreErrorKind::Other,
        format!(
            "{}: the answer to {} {why}",
            call.could_not(target),
            call.api
        ),
        "Something between here and the store changes its answers, or the store is faulty. Try again.",
    )
}

/// The store's code and message, on one line and of bounded length: they are hostile text.
fn said<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> String {
    let SdkError::ServiceError(service) = error else {
        return "an error".to_owned();
    };
    let code = service.err().code().unwrap_or("an error without a code");
    match service.err().message() {
        Some(message) => tame(&format!("{code}: {message}")),
        None => tame(code),
    }
}

pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let message = cause.to_string();
        if !text.contains(&message) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&message);
        }
        next = cause.source();
    }
    tame(&text)
}

pub(super) fn tame(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(400)
        .collect()
}

//! What a user says about an S3 store, checked before anything is asked of it. No I/O.

use super::Key;
use super::s3_identity::RoleToAssume;
use crate::error::Usage;
use crate::secret::Secret;
use anyhow::Result;
use std::time::Duration;

/// Where the objects go and how. [`parse`](S3Config::parse) fills in defaults.
#[derive(Clone, Debug)]
pub struct S3Config {
    /// The bucket; it must exist.
    pub bucket: String,
    /// In front of every key, without slashes at its ends; may be empty.
    pub prefix: String,
    /// `http://` or `https://` URL of an S3-compatible store; AWS without.
    pub endpoint: Option<String>,
    /// The region; else the environment's or profile's, else `us-east-1` behind an endpoint.
    pub region: Option<String>,
    /// `endpoint/bucket/key` instead of `bucket.endpoint/key`.
    pub path_style: bool,
    /// Server-side encryption to ask for.
    pub sse: Option<Sse>,
    /// Storage class to ask for, `STANDARD_IA`.
    pub storage_class: Option<String>,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// Parts on their way at the same time; one more is being filled.
    pub max_concurrency: usize,
    /// A fixed part size instead of the computed one.
    pub part_bytes: Option<u64>,
    /// Above this an object is copied in parts; S3 copies at most 5 GiB in one request.
    pub max_copy_bytes: u64,
    /// Objects in one page of a listing; the store's own default without.
    pub list_page: Option<i32>,
    /// Keys to use instead of the environment's, profile's or role's.
    pub credentials: Option<S3Credentials>,
    /// A role to assume instead.
    pub role: Option<RoleToAssume>,
    /// A profile to use instead, before the environment's keys.
    pub profile: Option<String>,
}

/// Server-side encryption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sse {
    /// With the store's own keys (`AES256`).
    Aes256,
    /// With a key of the key service (`aws:kms`); the account's default key without `key_id`.
    Kms {
        /// ARN, id or alias.
        key_id: Option<String>,
    },
}

/// An access key.
#[derive(Clone, Debug)]
pub struct S3Credentials {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: Secret,
    /// The token of temporary credentials.
    pub session_token: Option<Secret>,
}

/// Deadlines. The SDK has none of its own but for connecting.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For one attempt at a small request, and for silence while a body is read.
    pub attempt: Duration,
    /// The slowest store that is still worth waiting for: an attempt at a part may take
    /// `attempt` and its size divided by this.
    pub min_bytes_per_second: u64,
    /// For one attempt at completing a multipart upload, which may copy the object.
    pub complete: Duration,
    /// Attempts at a request, the first included.
    pub attempts: u32,
    /// Upper limit of the first random pause between attempts; it doubles up to `max_backoff`.
    pub backoff: Duration,
    /// Upper limit of every pause.
    pub max_backoff: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            attempt: Duration::from_secs(30),
            min_bytes_per_second: 256 * 1024,
            complete: Duration::from_secs(300),
            attempts: 5,
            backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(10),
        }
    }
}

impl Timeouts {
    /// For one attempt at sending or receiving `bytes`.
    pub(super) fn transfer(&self, bytes: u64) -> Duration {
        self.attempt + Duration::from_secs(bytes / self.min_bytes_per_second.max(1))
    }
}

impl S3Config {
    /// Reads `s3://bucket/prefix`.
    ///
    /// # Errors
    /// [`Usage`], which never repeats a URL that may hold a secret.
    pub fn parse(url: &str) -> Result<Self> {
        let form = "Write s3://bucket or s3://bucket/prefix.";
        let Some(rest) = url.strip_prefix("s3://") else {
            return usage("the remote store does not begin with s3://", form);
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.contains('@') {
            return usage(
                "the remote store has credentials in its URL",
                "Give them in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use a role.",
            );
        }
        if bucket.contains(':') {
            return usage(
                "the remote store has a port in its URL",
                "Give the server in --s3-endpoint; the URL holds bucket and prefix only.",
            );
        }
        if !is_bucket(bucket) {
            return usage(
                format!("{bucket:?} cannot be the name of a bucket"),
                "A bucket has 3 to 63 letters, digits, dots and hyphens, and begins with a letter or digit.",
            );
        }
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let plain = |c: char| c.is_alphanumeric() || "-_.!*'()/=+,@ ".contains(c);
        if !prefix.is_empty() {
            if let Some(odd) = prefix.chars().find(|c| !plain(*c)) {
                return usage(
                    format!("the prefix of the remote store holds {odd:?}"),
                    "Use letters, digits and -_./ in the prefix; options have flags of their own.",
                );
            }
            if Key::parse(prefix).is_err() || prefix.len() > 200 {
                return usage(
                    format!("{prefix:?} cannot be the prefix of a store"),
                    "A prefix has at most 200 bytes, no empty segments, no . and no .. in it.",
                );
            }
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            endpoint: None,
            region: None,
            path_style: false,
            sse: None,
            storage_class: None,
            timeouts: Timeouts::default(),
            max_concurrency: 2,
            part_bytes: None,
            max_copy_bytes: 5 * 1024 * 1024 * 1024,
            list_page: None,
            credentials: None,
            role: None,
            profile: None,
        })
    }

    /// The same store behind `endpoint`.
    ///
    /// # Errors
    /// [`Usage`] when it is no plain `http://` or `https://` URL.
    pub fn with_endpoint(self, endpoint: &str) -> Result<Self> {
        let hint = "Write https://host or http://host:port.";
        let rest = endpoint
            .strip_prefix("https://")
            .or_else(|| endpoint.strip_prefix("http://"));
        let Some(rest) = rest else {
            return usage(
                "the S3 endpoint does not begin with https:// or http://",
                hint,
            );
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if authority.contains('@') {
            return usage("the S3 endpoint has credentials in its URL", hint);
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let host_ok = !host.is_empty()
            && host
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b));
        let port_ok = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
        if !host_ok || !port_ok || path.chars().any(|c| c.is_control() || "?# ".contains(c)) {
            return usage("the S3 endpoint is not a plain URL", hint);
        }
        Ok(Self {
            endpoint: Some(endpoint.trim_end_matches('/').to_owned()),
            ..self
        })
    }

    /// The size of every part of a copy but the last. The store moves them by itself, so they are
    /// large.
    pub(super) fn copy_part_bytes(&self, bytes: u64) -> u64 {
        const MIB: u64 = 1024 * 1024;
        let needed = (bytes / 9_000).next_multiple_of(MIB);
        self.part_bytes
            .unwrap_or_else(|| needed.clamp(512 * MIB, 5 * 1024 * MIB))
    }

    /// The size of every part but the last: 8 MiB, more when `expected_bytes` needs more than
    /// 9,000 of them (the limit is 10,000, and estimates are estimates).
    pub(super) fn part_bytes(&self, expected_bytes: u64) -> u64 {
        const MIB: u64 = 1024 * 1024;
        let needed = (expected_bytes / 9_000).next_multiple_of(MIB);
        self.part_bytes
            .unwrap_or_else(|| needed.clamp(8 * MIB, 5 * 1024 * MIB))
    }
}

fn is_bucket(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
        && !name.contains("..")
}

fn usage<T>(message: impl Into<String>, hint: &str) -> Result<T> {
    Err(Usage::new(message).hint(hint).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{is_usage, one_line};

    #[test]
    fn well_formed_urls_are_taken_apart() {
        for (url, bucket, prefix) in [
            ("s3://bucket", "bucket", ""),
            ("s3://bucket/", "bucket", ""),
            ("s3://b.u-c/a/b", "b.u-c", "a/b"),
            ("s3://bucket/a/", "bucket", "a"),
        ] {
            let config = S3Config::parse(url).unwrap();
            assert_eq!((&*config.bucket, &*config.prefix), (bucket, prefix));
        }
    }

    #[test]
    fn malformed_urls_are_usage_errors_and_hide_secrets() {
        for url in [
            "",
            "bucket",
            "S3://bucket",
            "https://bucket",
            "s3:/bucket",
            "s3://",
            "s3:///prefix",
            "s3://ab",
            "s3://a..b",
            "s3://-abc",
            "s3://bu cket",
            "s3://bucket:9000/x",
            "s3://bucket//x",
            "s3://bucket/a//b",
            "s3://bucket/../x",
            "s3://bucket/a/..",
            "s3://bucket/x?region=y",
            "s3://bucket/x#y",
            "s3://bucket/a\nb",
            "s3://AKIA:hunter2@bucket/x",
        ] {
            let error = S3Config::parse(url).unwrap_err();
            assert!(is_usage(&error), "{url}");
            assert!(!one_line(&error).contains("hunter2"));
        }
    }

    #[test]
    fn endpoints_are_plain_urls() {
        let config = S3Config::parse("s3://bucket").unwrap();
        for good in [
            "http://127.0.0.1:8333",
            "https://s3.example.com/",
            "http://[::1]:9",
        ] {
            assert!(config.clone().with_endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "localhost:80",
            "ftp://x",
            "http://",
            "http://:80",
            "http://x:0",
            "http://x:99999",
            "http://u:hunter2@x",
            "http://x?y",
            "http://x/#y",
            "http://x y",
        ] {
            let error = config.clone().with_endpoint(bad).unwrap_err();
            assert!(is_usage(&error), "{bad}");
            assert!(!one_line(&error).contains("hunter2"));
        }
    }

    #[test]
    fn ten_thousand_parts_are_never_exceeded() {
        let config = S3Config::parse("s3://bucket").unwrap();
        let mib = 1024 * 1024;
        assert_eq!(config.part_bytes(0), 8 * mib);
        assert_eq!(config.part_bytes(70_000 * mib), 8 * mib);
        assert_eq!(config.part_bytes(140_000 * mib), 16 * mib);
        for expected in [1_u64, 1 << 30, 1 << 40, 10 << 40, 40 << 40] {
            assert!(
                expected.div_ceil(config.part_bytes(expected)) <= 10_000,
                "{expected}"
            );
        }
    }
}

//! What a bucket does by itself: lifecycle rules, versions, object lock. Only read.

use super::s3::{S3Store, patiently};
use super::s3_error::{Call, code};
use anyhow::Result;
use aws_sdk_s3::types::{BucketVersioningStatus, ExpirationStatus, LifecycleRule as SdkRule, Tag};

/// A bucket's own settings. Each was asked for by itself: a role may read one and not the other.
#[derive(Debug)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// In front of every key, with a slash at its end; may be empty.
    pub prefix: String,
    /// Whether deleted and replaced objects stay as versions.
    pub versions: Result<bool>,
    /// The default retention of object lock, for people; none when it is off.
    pub object_lock: Result<Option<String>>,
    /// The lifecycle rules that are enabled.
    pub rules: Result<Vec<LifecycleRule>>,
}

/// A lifecycle rule, as far as retention looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LifecycleRule {
    /// Its name.
    pub id: String,
    /// Keys that it is for begin so.
    pub prefix: String,
    /// Tags that objects must have.
    pub tags: Vec<(String, String)>,
    /// Whether it is for objects of some sizes only.
    pub sized: bool,
    /// Objects go after so many days.
    pub expire_days: Option<i32>,
    /// Old versions go after so many days.
    pub noncurrent_days: Option<i32>,
    /// Unfinished uploads go after so many days.
    pub abort_days: Option<i32>,
}

impl S3Store {
    pub(super) async fn bucket(&self) -> Bucket {
        Bucket {
            name: self.config.bucket.clone(),
            prefix: match self.config.prefix.as_str() {
                "" => String::new(),
                prefix => format!("{prefix}/"),
            },
            versions: self.versions().await,
            object_lock: self.object_lock().await,
            rules: self.rules().await,
        }
    }

    async fn versions(&self) -> Result<bool> {
        let bucket = &self.config.bucket;
        let request = self.client.get_bucket_versioning().bucket(bucket);
        let answer = patiently(|| request.clone().send())
            .await
            .map_err(|error| self.explain(Call::VERSIONING, &format!("s3://{bucket}"), error))?;
        Ok(match answer.status() {
            Some(BucketVersioningStatus::Enabled | BucketVersioningStatus::Suspended) => true,
            Some(_) | None => false,
        })
    }

    async fn object_lock(&self) -> Result<Option<String>> {
        let bucket = &self.config.bucket;
        let request = self.client.get_object_lock_configuration().bucket(bucket);
        let answer = match patiently(|| request.clone().send()).await {
            Ok(answer) => answer,
            Err(error) if code(&error) == Some("ObjectLockConfigurationNotFoundError") => {
                return Ok(None);
            }
            Err(error) => {
                return Err(self.explain(Call::OBJECT_LOCK, &format!("s3://{bucket}"), error));
            }
        };
        let Some(lock) = answer.object_lock_configuration() else {
            return Ok(None);
        };
        if lock.object_lock_enabled().is_none() {
            return Ok(None);
        }
        let default = lock.rule().and_then(|rule| rule.default_retention());
        Ok(Some(match default {
            None => "on, without a default retention".to_owned(),
            Some(default) => {
                let mode = default.mode().map_or("no mode", |mode| mode.as_str());
                match (default.days(), default.years()) {
                    (Some(days), _) => format!("{mode}, {days} days"),
                    (None, Some(years)) => format!("{mode}, {years} years"),
                    (None, None) => mode.to_owned(),
                }
            }
        }))
    }

    async fn rules(&self) -> Result<Vec<LifecycleRule>> {
        let bucket = &self.config.bucket;
        let request = self
            .client
            .get_bucket_lifecycle_configuration()
            .bucket(bucket);
        match patiently(|| request.clone().send()).await {
            Ok(answer) => Ok(answer
                .rules()
                .iter()
                .filter(|rule| rule.status() == &ExpirationStatus::Enabled)
                .map(rule)
                .collect()),
            Err(error) if code(&error) == Some("NoSuchLifecycleConfiguration") => Ok(Vec::new()),
            Err(error) => Err(self.explain(Call::LIFECYCLE, &format!("s3://{bucket}"), error)),
        }
    }
}

fn rule(rule: &SdkRule) -> LifecycleRule {
    let pair = |tag: &Tag| (tag.key().to_owned(), tag.value().to_owned());
    let mut read = LifecycleRule {
        id: rule.id().unwrap_or_default().to_owned(),
        expire_days: rule.expiration().and_then(|expiration| expiration.days()),
        noncurrent_days: rule
            .noncurrent_version_expiration()
            .and_then(|expiration| expiration.noncurrent_days()),
        abort_days: rule
            .abort_incomplete_multipart_upload()
            .and_then(|abort| abort.days_after_initiation()),
        ..LifecycleRule::default()
    };
    #[expect(deprecated, reason = "old rules have their prefix there")]
    let old_prefix = rule.prefix();
    let filter = rule.filter();
    let and = filter.and_then(|filter| filter.and());
    read.prefix = filter
        .and_then(|filter| filter.prefix())
        .or_else(|| and.and_then(|and| and.prefix()))
        .or(old_prefix)
        .unwrap_or_default()
        .to_owned();
    read.tags = filter
        .and_then(|filter| filter.tag())
        .into_iter()
        .chain(and.map(|and| and.tags()).unwrap_or_default())
        .map(pair)
        .collect();
    read.sized = filter.is_some_and(|filter| {
        filter.object_size_greater_than().is_some() || filter.object_size_less_than().is_some()
    }) || and.is_some_and(|and| {
        and.object_size_greater_than().is_some() || and.object_size_less_than().is_some()
    });
    read
}

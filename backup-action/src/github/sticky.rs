//! One comment of a pull request that stays: found by its marker *and* its author, since anybody can
//! write the marker, updated in place, and never two, also when two runs post at once.
//!
//! GitHub has no create-if-absent, so whoever created a comment looks again: of several of ours the
//! first one stays. The later creator sees both for certain, since it looks after both were made; it
//! moves its text into the first and deletes its own. Both may do that, and it comes to the same.

use super::api::Api;
use super::api_error::{ApiError, Kind};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// Pages of 100 comments that are looked through.
const MAX_PAGES: usize = 50;

/// What the token of a workflow writes as, when GitHub does not say it.
const WORKFLOW_BOT: &str = "github-actions[bot]";

/// What became of the comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// `created`, `updated` or `unchanged`.
    pub how: &'static str,
    /// Where it is.
    pub url: String,
    /// Why it may not be the only one; the next run looks again.
    pub unsettled: Option<ApiError>,
}

#[derive(Clone, Debug, Deserialize)]
struct Comment {
    id: u64,
    #[serde(default)]
    body: Option<String>,
    html_url: String,
    /// Null when the account is gone.
    user: Option<User>,
}

#[derive(Clone, Debug, Deserialize)]
struct User {
    login: String,
    #[serde(rename = "type")]
    kind: String,
}

/// The first line of the comment.
pub fn marker(key: &str) -> String {
    format!("<!-- backup-action:annotate:{key} -->")
}

/// Creates or updates the comment `key` of pull request `number`. `author` is whose comments are
/// ours, where the token does not say it.
///
/// # Errors
/// See [`ApiError`]. A create whose answer is lost is looked for, and never sent again.
pub async fn post(
    api: &Api,
    number: u64,
    key: &str,
    author: Option<&str>,
    text: &str,
) -> Result<Posted, ApiError> {
    let thread = Thread {
        api,
        number,
        marker: marker(key),
        body: format!("{}\n{text}", marker(key)),
    };
    let author = match author {
        Some(author) => author.to_owned(),
        None => match api.viewer().await {
            Ok(login) => login,
            Err(error) => match error.kind {
                // Not for this token. What it writes as shows in the answer to a create, and then
                // an older comment of ours is found all the same.
                Kind::Forbidden | Kind::NotFound | Kind::Unexpected => WORKFLOW_BOT.to_owned(),
                Kind::Unauthorized
                | Kind::Declined
                | Kind::RateLimited(_)
                | Kind::Server
                | Kind::NoAnswer => return Err(error),
            },
        },
    };
    let ours = thread.ours(&author).await?;
    if let Some(first) = ours.first() {
        let how = thread.update(first).await?;
        return Ok(Posted {
            how,
            url: first.html_url.clone(),
            unsettled: thread.delete_others(&ours, first.id).await.err(),
        });
    }
    let created = thread.create(&author).await?;
    let (url, unsettled) = match thread.only_one(&created, author).await {
        Ok(url) => (url, None),
        Err(error) => (created.html_url, Some(error)),
    };
    Ok(Posted {
        how: "created",
        url,
        unsettled,
    })
}

struct Thread<'a> {
    api: &'a Api,
    number: u64,
    marker: String,
    body: String,
}

impl Thread<'_> {
    fn path(&self) -> String {
        self.api.path(&format!("/issues/{}/comments", self.number))
    }

    /// Our comments, the first one first.
    async fn ours(&self, author: &str) -> Result<Vec<Comment>, ApiError> {
        let doing = format!(
            "could not list the comments of pull request {}",
            self.number
        );
        let (comments, _) = self
            .api
            .list::<Comment>(&doing, &self.path(), MAX_PAGES)
            .await?;
        let mut ours: Vec<Comment> = comments
            .into_iter()
            .filter(|comment| self.is_ours(comment, author))
            .collect();
        ours.sort_by_key(|comment| comment.id);
        Ok(ours)
    }

    fn is_ours(&self, comment: &Comment, author: &str) -> bool {
        let marked = comment
            .body
            .as_ref()
            .and_then(|body| body.lines().next())
            .is_some_and(|first| first == self.marker);
        marked
            && comment.user.as_ref().is_some_and(|user| {
                user.login.eq_ignore_ascii_case(author)
                    // An app may call itself by its name alone; only a bot can have the ending.
                    || (user.kind == "Bot"
                        && user.login.strip_suffix("[bot]") == Some(author))
            })
    }

    /// Sends the comment once; when the answer is lost, looks whether it is there.
    async fn create(&self, author: &str) -> Result<Comment, ApiError> {
        let doing = format!("could not comment on pull request {}", self.number);
        let body = json!({ "body": self.body });
        let error = match self.api.create(&doing, &self.path(), &body).await {
            Ok(created) => return Ok(created),
            Err(error) if !error.may_have_happened() => return Err(error),
            Err(error) => error,
        };
        for pause in [Duration::ZERO, Duration::from_secs(1)] {
            tokio::time::sleep(pause).await;
            let is_this = |comment: &Comment| {
                let body = comment.body.as_ref().map(|body| body.replace('\r', ""));
                body.is_some_and(|body| body.trim_end() == self.body.trim_end())
            };
            let ours = self.ours(author).await?;
            if let Some(found) = ours.into_iter().rev().find(is_this) {
                return Ok(found);
            }
        }
        Err(error)
    }

    /// Makes a comment say what is to be said.
    async fn update(&self, comment: &Comment) -> Result<&'static str, ApiError> {
        if comment.body.as_deref() == Some(&self.body) {
            return Ok("unchanged");
        }
        let doing = format!("could not update comment {}", comment.id);
        let path = self.api.path(&format!("/issues/comments/{}", comment.id));
        let body = json!({ "body": self.body });
        self.api.update(&doing, &path, &body).await?;
        Ok("updated")
    }

    /// Where our one comment is, after another run may have made one at the same time.
    async fn only_one(&self, created: &Comment, author: String) -> Result<String, ApiError> {
        // The answer names the author for certain.
        let author = created
            .user
            .as_ref()
            .map_or(author, |user| user.login.clone());
        let ours = self.ours(&author).await?;
        let first = ours.first().unwrap_or(created);
        if first.id != created.id {
            self.update(first).await?;
        }
        self.delete_others(&ours, first.id).await?;
        Ok(first.html_url.clone())
    }

    async fn delete_others(&self, ours: &[Comment], kept: u64) -> Result<(), ApiError> {
        for other in ours.iter().filter(|other| other.id != kept) {
            let doing = format!("could not delete the second comment {}", other.id);
            let path = self.api.path(&format!("/issues/comments/{}", other.id));
            self.api.delete(&doing, &path).await?;
        }
        Ok(())
    }
}

/// Whether a token that can only read is the reason: nothing to warn of, forks have no other.
pub fn is_read_only(error: &ApiError) -> bool {
    error.kind == Kind::Forbidden
}

//! GitHub's REST API through octocrab, for one repository. Reads and updates are tried again, a
//! create never is: two comments are worse than none. Everything ends before its deadline, and a
//! wait for a rate limit is a short one or none.
//!
//! octocrab gives the client, the headers and the base address; its own retries are left out of the
//! build, because they send a create again.

use super::api_error::{ApiError, Kind, Limits};
use super::runner::Runner;
use crate::config::HttpAddress;
use crate::report::escape;
use crate::secret::{Secret, redact};
use jiff::Timestamp;
use octocrab::Octocrab;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// One request with its answer.
const REQUEST: Duration = Duration::from_secs(10);

/// How often a request is sent that may be sent again.
const ATTEMPTS: u32 = 3;

/// The longest wait before another attempt.
const MAX_WAIT: Duration = Duration::from_secs(8);

/// Entries of a page, GitHub's maximum.
const PAGE: usize = 100;

/// Text of an answer that goes into a message.
const MAX_SAID_CHARS: usize = 300;

/// The API of one repository.
#[derive(Debug)]
pub struct Api {
    crab: Octocrab,
    api_url: String,
    repository: String,
    until: Instant,
    token: Secret,
}

#[derive(Clone, Copy)]
enum Method {
    Get,
    Post,
    Patch,
    Delete,
}

/// An answer that was a success.
struct Answer {
    body: String,
    has_next: bool,
}

impl Api {
    /// A client for the repository of the run; everything it does ends within `patience`.
    ///
    /// # Errors
    /// No usable address, or no certificates on this machine.
    pub fn new(runner: &Runner, token: &Secret, patience: Duration) -> Result<Api, ApiError> {
        let trouble = |said: String| {
            ApiError::new(Kind::Unexpected, said).while_doing("could not use GitHub's API")
        };
        let repository = runner.run.repository.clone();
        if !is_repository(&repository) {
            return Err(trouble(format!(
                "GITHUB_REPOSITORY is not owner/name: {repository:.100?}"
            )));
        }
        let api_url = runner.api_url.trim_end_matches('/').to_owned();
        // It is sent the token.
        HttpAddress::parse("GITHUB_API_URL", &api_url).map_err(|no| trouble(no.to_string()))?;
        let agent = concat!("backup-action/", env!("CARGO_PKG_VERSION"));
        let header = |name: &str| name.parse().map_err(|_| trouble(name.to_owned()));
        let builder = Octocrab::builder()
            .base_uri(api_url.as_str())
            .map_err(|_| trouble(format!("GITHUB_API_URL is not an address: {api_url:.100?}")))?
            .add_header(header("accept")?, "application/vnd.github+json".to_owned())
            .add_header(header("user-agent")?, agent.to_owned())
            .personal_token(token.expose())
            .set_connect_timeout(Some(REQUEST));
        let crab = builder
            .build()
            .map_err(|error| trouble(format!("no HTTPS client: {error}")))?;
        Ok(Api {
            crab,
            api_url,
            repository,
            until: Instant::now() + patience,
            token: token.clone(),
        })
    }

    /// `/repos/owner/name` and what follows.
    pub fn path(&self, rest: &str) -> String {
        format!("/repos/{}{rest}", self.repository)
    }

    /// The same client with patience anew.
    pub fn afresh(self, patience: Duration) -> Api {
        Api {
            until: Instant::now() + patience,
            ..self
        }
    }

    /// Reads one resource.
    ///
    /// # Errors
    /// See [`ApiError`]; `doing` says what was attempted.
    pub async fn read<T: DeserializeOwned>(&self, doing: &str, path: &str) -> Result<T, ApiError> {
        let answer = self.again(Method::Get, path, None).await;
        answer
            .and_then(|answer| parse(&answer))
            .map_err(|error| error.while_doing(doing))
    }

    /// Reads a list to its end, or to `max_pages`; the second value says whether it was longer.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn list<T: DeserializeOwned>(
        &self,
        doing: &str,
        path: &str,
        max_pages: usize,
    ) -> Result<(Vec<T>, bool), ApiError> {
        let mut all = Vec::new();
        for page in 1..=max_pages {
            // The number, not the address in the answer: a token goes where it belongs only.
            let path = format!("{path}?per_page={PAGE}&page={page}");
            let answer = self.again(Method::Get, &path, None).await;
            let answer = answer.map_err(|error| error.while_doing(doing))?;
            let items: Vec<T> = parse(&answer).map_err(|error| error.while_doing(doing))?;
            all.extend(items);
            if !answer.has_next {
                return Ok((all, false));
            }
        }
        Ok((all, true))
    }

    /// Creates something: sent once, whatever happens.
    ///
    /// # Errors
    /// See [`ApiError::may_have_happened`].
    pub async fn create<T: DeserializeOwned>(
        &self,
        doing: &str,
        path: &str,
        body: &Value,
    ) -> Result<T, ApiError> {
        let answer = self.once(Method::Post, path, Some(body)).await;
        answer
            .and_then(|answer| parse(&answer))
            .map_err(|error| error.while_doing(doing))
    }

    /// Changes something that is there.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn update(&self, doing: &str, path: &str, body: &Value) -> Result<(), ApiError> {
        let answer = self.again(Method::Patch, path, Some(body)).await;
        answer.map(drop).map_err(|error| error.while_doing(doing))
    }

    /// Appends to something where the same twice means the same: the status of a deployment.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn append(&self, doing: &str, path: &str, body: &Value) -> Result<(), ApiError> {
        let answer = self.again(Method::Post, path, Some(body)).await;
        answer.map(drop).map_err(|error| error.while_doing(doing))
    }

    /// Deletes something; that it is gone already is as good.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn delete(&self, doing: &str, path: &str) -> Result<(), ApiError> {
        match self.again(Method::Delete, path, None).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            Err(error) => Err(error.while_doing(doing)),
        }
    }

    /// Whom the token belongs to. `GET /user` is forbidden to the token of a workflow, the viewer of
    /// GraphQL is not.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn viewer(&self) -> Result<String, ApiError> {
        let url = match self.api_url.strip_suffix("/api/v3") {
            Some(host) => format!("{host}/api/graphql"),
            None => format!("{}/graphql", self.api_url),
        };
        let query = json!({ "query": "query { viewer { login } }" });
        let answer = self.again(Method::Post, &url, Some(&query)).await;
        let login = answer.and_then(|answer| {
            let answer: Value = parse(&answer)?;
            answer["data"]["viewer"]["login"]
                .as_str()
                .map(str::to_owned)
                .ok_or_else(|| {
                    let said = answer["errors"][0]["message"].as_str();
                    ApiError::new(Kind::Unexpected, self.shown(said.unwrap_or("no login")))
                })
        });
        login.map_err(|error| error.while_doing("could not ask whom the token belongs to"))
    }

    /// Sends what may be sent again, until it is answered or patience ends.
    async fn again(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, ApiError> {
        let mut attempt = 1;
        loop {
            let error = match self.once(method, path, body).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let pause = Duration::from_millis(500) * 2_u32.pow(attempt - 1);
            let wait = match error.kind {
                Kind::Server | Kind::NoAnswer => pause,
                Kind::RateLimited(Some(wait)) => wait.max(pause),
                Kind::RateLimited(None)
                | Kind::Unauthorized
                | Kind::Forbidden
                | Kind::NotFound
                | Kind::Declined
                | Kind::Unexpected => return Err(error),
            };
            let in_time = wait <= MAX_WAIT && Instant::now() + wait < self.until;
            if attempt == ATTEMPTS || !in_time {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn once(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, ApiError> {
        let until = self.until.min(Instant::now() + REQUEST);
        match tokio::time::timeout_at(until, self.send(method, path, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(ApiError::new(
                Kind::NoAnswer,
                "GitHub gave no answer in time",
            )),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, ApiError> {
        let sent = match method {
            Method::Get => self.crab._get(path).await,
            Method::Post => self.crab._post(path, body).await,
            Method::Patch => self.crab._patch(path, body).await,
            Method::Delete => self.crab._delete(path, body).await,
        };
        let no_answer =
            |error: octocrab::Error| ApiError::new(Kind::NoAnswer, self.shown(&causes(&error)));
        let response = sent.map_err(no_answer)?;
        let status = response.status();
        let header = |name: &str| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        let limits = Limits::of(&header, Timestamp::now());
        let has_next = header("link").is_some_and(|link| link.contains("rel=\"next\""));
        let body = self.crab.body_to_string(response).await;
        if status.is_success() {
            let body = body.map_err(no_answer)?;
            return Ok(Answer { body, has_next });
        }
        // A refusal counts also when its text is cut.
        let body = body.unwrap_or_default();
        let said = serde_json::from_str::<Value>(&body)
            .ok()
            .and_then(|json| json["message"].as_str().map(str::to_owned))
            .unwrap_or(body);
        let said = self.shown(&said);
        Err(ApiError::of_status(status.as_u16(), &limits, said))
    }

    /// What may be shown of an answer: some repeat the token.
    fn shown(&self, text: &str) -> String {
        let text = redact(text.trim(), std::slice::from_ref(&self.token));
        escape::shorten(&text, MAX_SAID_CHARS)
    }
}

/// `owner/name` and nothing that could lead elsewhere.
fn is_repository(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.bytes().all(|b| b == b'.')
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    text.split_once('/')
        .is_some_and(|(owner, name)| is_name(owner) && is_name(name))
}

fn parse<T: DeserializeOwned>(answer: &Answer) -> Result<T, ApiError> {
    serde_json::from_str(&answer.body).map_err(|error| {
        // Its own words may repeat the answer.
        let place = format!("line {}, column {}", error.line(), error.column());
        ApiError::new(
            Kind::Unexpected,
            format!("the answer is not what the API promises ({place})"),
        )
    })
}

/// The chain of an error of the client, each message once.
fn causes(error: &dyn std::error::Error) -> String {
    let mut messages: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let message = error.to_string();
        if !messages.iter().any(|known| known.contains(&message)) {
            messages.push(message);
        }
        next = error.source();
    }
    messages.join(": ")
}

#[cfg(test)]
mod tests {
    use super::is_repository;

    #[test]
    fn a_repository_leads_nowhere_else() {
        for good in ["acme/payroll", "a-b_c.d/.github"] {
            assert!(is_repository(good), "{good}");
        }
        for bad in [
            "", "acme", "acme/", "acme/a/b", "../x", "acme/..", "a/b?x", "a/b c",
        ] {
            assert!(!is_repository(bad), "{bad}");
        }
    }
}

//! The identity token of a workflow's job: asked from the runner's own service for each use, never
//! kept. Shows of a token what its claims say, never the token.

use crate::error::{Explained, Usage};
use crate::http;
use crate::secret::{Secret, redact};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::Value;
use std::io::Read;
use std::time::Duration;
use ureq::http::StatusCode;

/// Where a job asks, and with which right. Children never get these (`process::command`).
pub const URL_VARIABLE: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const TOKEN_VARIABLE: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

/// How long one request may take, and how many there are.
const LIMIT: Duration = Duration::from_secs(5);
const ATTEMPTS: u32 = 3;

/// What is read of an answer; a token has about 2 KB.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// Asks for tokens.
#[derive(Clone, Debug)]
pub struct Minter {
    url: Secret,
    token: Secret,
    limit: Duration,
    pause: Duration,
}

/// A token, and what it says of itself.
#[derive(Clone, Debug)]
pub struct Minted {
    /// The token.
    pub token: Secret,
    /// Its claim `sub`: what a trust policy looks at.
    pub subject: Option<String>,
    /// Its claim `aud`.
    pub audience: Option<String>,
}

impl Minter {
    /// Of the job that this runs in. `env` looks one variable up.
    ///
    /// # Errors
    /// [`Usage`]: the job may not have tokens, or this is no job.
    pub fn of_job(env: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Minter> {
        let get = |name: &str| env(name).filter(|value| !value.is_empty());
        if let (Some(url), Some(token)) = (get(URL_VARIABLE), get(TOKEN_VARIABLE)) {
            if !is_trusted(&url) {
                return Err(Usage::new(format!("{URL_VARIABLE} is no https:// address")).into());
            }
            return Ok(Minter {
                url: Secret::new(url),
                token: Secret::new(token),
                limit: LIMIT,
                pause: Duration::from_secs(1),
            });
        }
        let event = get("GITHUB_EVENT_NAME").unwrap_or_default();
        let hint = match (get("GITHUB_ACTIONS").as_deref(), event.as_str()) {
            (Some("true"), "pull_request" | "pull_request_target") => {
                "Add `permissions: { id-token: write, contents: read }` to the job. Pull requests of forks \
                 and of Dependabot get no identity token, whatever the permissions: run the gate where the \
                 deploy runs."
            }
            (Some("true"), _) => {
                "Add `permissions: { id-token: write, contents: read }` to the job; in a reusable workflow \
                 the job that calls it needs them as well."
            }
            _ => {
                "A role is assumed so only in a job of GitHub Actions. Elsewhere name a profile with \
                 role_arn: --aws-profile NAME."
            }
        };
        Err(Usage::new(
            "cannot get an identity token for the role: this job has no permission id-token: write",
        )
        .hint(hint)
        .into())
    }

    /// A new token for `audience`.
    ///
    /// # Errors
    /// The service says no, does not answer in time, or answers something else.
    pub async fn mint(&self, audience: &str) -> anyhow::Result<Minted> {
        let mut attempt = 1;
        loop {
            let (minter, wanted) = (self.clone(), audience.to_owned());
            let asked = tokio::task::spawn_blocking(move || minter.ask(&wanted)).await?;
            match asked {
                Ok(token) => return Ok(described(token)),
                Err(Refusal::Soon(_)) if attempt < ATTEMPTS => {
                    tokio::time::sleep(self.pause * attempt).await;
                    attempt += 1;
                }
                Err(Refusal::Soon(text)) => {
                    return Err(Explained::new(
                        "could not get an identity token of this job",
                        "Look at the status of GitHub Actions, then run this job again.",
                    )
                    .caused_by(anyhow::anyhow!("{text}, in {ATTEMPTS} attempts"))
                    .into());
                }
                Err(Refusal::Never(text)) => {
                    return Err(Explained::new(
                        "could not get an identity token of this job",
                        "Check that the job has `permissions: { id-token: write }` and has not ended: \
                         the right to ask ends with the job.",
                    )
                    .caused_by(anyhow::anyhow!(text))
                    .into());
                }
            }
        }
    }

    fn ask(&self, audience: &str) -> Result<Secret, Refusal> {
        let url = self.url.expose();
        let joint = if url.contains('?') { '&' } else { '?' };
        let answer = http::agent(self.limit)
            .get(format!("{url}{joint}audience={audience}"))
            .header("Authorization", format!("Bearer {}", self.token.expose()))
            .header("Accept", "application/json")
            .call();
        let mut answer = answer.map_err(|error| {
            let text = redact(&error.to_string(), &[self.url.clone(), self.token.clone()]);
            Refusal::Soon(format!("the runner's token service: {text}"))
        })?;
        let status = answer.status();
        let mut body = Vec::new();
        let read = (answer.body_mut().as_reader())
            .take(MAX_ANSWER_BYTES)
            .read_to_end(&mut body);
        let said = format!("the runner's token service answered {}", status.as_u16());
        match status {
            StatusCode::OK if read.is_ok() => {
                let value: Option<Value> = serde_json::from_slice(&body).ok();
                let token = value.as_ref().and_then(|value| value["value"].as_str());
                let token = token.filter(|token| is_token(token));
                token
                    .map(Secret::new)
                    .ok_or_else(|| Refusal::Soon(format!("{said} without a token")))
            }
            StatusCode::OK | StatusCode::TOO_MANY_REQUESTS => Err(Refusal::Soon(said)),
            status if status.is_server_error() => Err(Refusal::Soon(said)),
            _ => Err(Refusal::Never(said)),
        }
    }
}

enum Refusal {
    Soon(String),
    Never(String),
}

/// The right to ask must not travel in the clear; loopback is where a runner may keep a proxy.
fn is_trusted(url: &str) -> bool {
    let is_loopback = |rest: &str| {
        ["127.0.0.1", "localhost", "[::1]"].iter().any(|host| {
            rest.strip_prefix(host)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/', '?']))
        })
    };
    url.starts_with("https://") || url.strip_prefix("http://").is_some_and(is_loopback)
}

/// Three parts of base64url: nothing else goes into a request to somebody else.
fn is_token(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-_=.".contains(&c);
    text.split('.').count() == 3 && text.len() <= 20_000 && text.bytes().all(plain)
}

fn described(token: Secret) -> Minted {
    let claims = claims(token.expose());
    let claim = |name: &str| {
        let text = claims.as_ref()?[name].as_str()?;
        let text: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
        Some(text)
    };
    Minted {
        subject: claim("sub"),
        audience: claim("aud"),
        token,
    }
}

/// What a token claims. Nothing is verified: it is only shown.
fn claims(token: &str) -> Option<Value> {
    let middle = token.split('.').nth(1)?;
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(middle.trim_end_matches('='))
        .ok()?;
    serde_json::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{hint, is_usage, one_line};
    use std::io::Write;
    use std::net::TcpListener;

    fn env<'a>(pairs: &'a [(&str, &str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |wanted| {
            let found = pairs.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| (*value).to_owned())
        }
    }

    #[test]
    fn a_job_without_the_permission_is_told_which_one() {
        for (pairs, words) in [
            (&[][..], "--aws-profile"),
            (&[("GITHUB_ACTIONS", "true")][..], "id-token: write"),
            (
                &[
                    ("GITHUB_ACTIONS", "true"),
                    ("GITHUB_EVENT_NAME", "pull_request"),
                ][..],
                "forks",
            ),
            // Half of it is nothing.
            (
                &[("GITHUB_ACTIONS", "true"), (URL_VARIABLE, "https://x")][..],
                "id-token: write",
            ),
        ] {
            let error = Minter::of_job(&env(pairs)).unwrap_err();
            assert!(is_usage(&error));
            assert!(hint(&error).unwrap().contains(words), "{error:?}");
        }
    }

    #[test]
    fn the_right_to_ask_does_not_travel_in_the_clear() {
        for (url, good) in [
            ("https://pipelines.example/x?api-version=2.0", true),
            ("http://127.0.0.1:80/x", true),
            ("http://localhost/x", true),
            ("http://pipelines.example/x", false),
            ("http://127.0.0.1.example/x", false),
            ("http://localhost@evil.example/", false),
            ("ftp://x", false),
        ] {
            let pairs = [(URL_VARIABLE, url), (TOKEN_VARIABLE, "t")];
            assert_eq!(Minter::of_job(&env(&pairs)).is_ok(), good, "{url}");
        }
    }

    #[test]
    fn claims_are_read_and_tamed() {
        let body = BASE64_URL_SAFE_NO_PAD
            .encode("{\"sub\":\"repo:a/b:environment:\\u001bprod\",\"aud\":\"x\"}");
        let minted = described(Secret::new(format!("e30.{body}.c2ln")));
        assert_eq!(minted.subject.as_deref(), Some("repo:a/b:environment:prod"));
        assert_eq!(minted.audience.as_deref(), Some("x"));
        assert!(!format!("{minted:?}").contains(&body));
        assert_eq!(described(Secret::new("a.!.c")).subject, None);
        assert!(!is_token("a.b") && !is_token("a.b.c\r\nx: y") && is_token("a.b.c"));
    }

    #[tokio::test]
    async fn silence_ends_and_names_neither_address_nor_right() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let minter = Minter {
            url: Secret::new(format!("http://{address}/c4nary?x=y")),
            token: Secret::new("c4nary"),
            limit: Duration::from_millis(200),
            pause: Duration::ZERO,
        };
        let error = minter.mint("a").await.unwrap_err();
        let text = one_line(&error);
        assert!(text.contains("in 3 attempts"), "{text}");
        assert!(!text.contains("c4nary"), "{text}");
        assert!(hint(&error).unwrap().contains("GitHub Actions"));
        // A service that does not know the right is asked once.
        let served = std::thread::spawn(move || {
            let mut count = 0;
            for client in listener.incoming().skip(3) {
                count += 1;
                let mut client = client.unwrap();
                let mut heard = [0; 4096];
                let n = client.read(&mut heard).unwrap();
                let heard = String::from_utf8_lossy(&heard[..n]).to_lowercase();
                assert!(heard.starts_with("get /c4nary?x=y&audience=a http/1.1\r\n"));
                assert!(heard.contains("authorization: bearer c4nary\r\n"));
                let answer =
                    "HTTP/1.1 401 No\r\nContent-Length: 6\r\nConnection: close\r\n\r\nc4nary";
                client.write_all(answer.as_bytes()).unwrap();
                if count == 1 {
                    break;
                }
            }
        });
        let error = minter.mint("a").await.unwrap_err();
        served.join().unwrap();
        let text = one_line(&error);
        assert!(text.ends_with("answered 401"), "{text}");
    }
}

//! One request by HTTP, and what its answer means for a message.

use super::outcome::{Again, Failure, words};
use super::retry::no_answer;
use crate::config::HttpAddress;
use crate::http::agent;
use crate::secret::Secret;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;
use ureq::Body;
use ureq::http::{self, Response};

/// What is read of an answer.
const MAX_ANSWER_BYTES: u64 = 4 * 1024;

/// A request.
pub(super) struct Request {
    url: Secret,
    /// None asks with GET.
    body: Option<String>,
    headers: Vec<(&'static str, String)>,
}

impl Request {
    /// Sends JSON.
    pub(super) fn post(
        address: &HttpAddress,
        body: String,
        headers: Vec<(&'static str, String)>,
    ) -> Request {
        Request {
            url: address.url.clone(),
            body: Some(body),
            headers,
        }
    }

    /// Only asks.
    pub(super) fn get(address: &HttpAddress) -> Request {
        Request {
            url: address.url.clone(),
            body: None,
            headers: Vec::new(),
        }
    }
}

/// Sends `request`; the answer is its status with the server's words.
pub(super) async fn send(request: Arc<Request>, limit: Duration) -> Result<String, Failure> {
    match tokio::task::spawn_blocking(move || exchange(&request, limit)).await {
        Ok(result) => result,
        Err(error) => Err(Failure::never(format!("ended early: {error}"))),
    }
}

fn exchange(request: &Request, limit: Duration) -> Result<String, Failure> {
    let agent = agent(limit);
    let url = request.url.expose();
    let result = match &request.body {
        None => agent.get(url).call(),
        Some(body) => {
            let mut post = agent.post(url).content_type("application/json");
            for (name, value) in &request.headers {
                post = post.header(*name, value);
            }
            post.send(body)
        }
    };
    match result {
        Ok(response) => judge(response),
        Err(error) => Err(failure(error, limit)),
    }
}

fn judge(mut response: Response<Body>) -> Result<String, Failure> {
    let status = response.status().as_u16();
    let pause = retry_after(&response);
    let mut bytes = Vec::new();
    // The status decides; without its words it says less.
    match (response.body_mut().as_reader())
        .take(MAX_ANSWER_BYTES)
        .read_to_end(&mut bytes)
    {
        Ok(_) | Err(_) => {}
    }
    let said = words(&String::from_utf8_lossy(&bytes));
    let answer = match said.as_str() {
        "" => status.to_string(),
        said => format!("{status} {said}"),
    };
    let text = format!("answered {answer}");
    match status {
        200..=299 => Ok(answer),
        300..=399 => Err(Failure::never(format!(
            "answered {status}, a redirect, and the message goes nowhere else"
        ))),
        429 | 500..=599 => Err(Failure {
            again: pause.map_or(Again::Soon, Again::After),
            text,
        }),
        _ => Err(Failure::never(text)),
    }
}

/// In seconds, as Slack and most others write it; a date counts as not said.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let header = response.headers().get(http::header::RETRY_AFTER)?;
    let seconds = header.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Says what went wrong without the address, which is a secret.
fn failure(error: ureq::Error, limit: Duration) -> Failure {
    use ureq::Error;
    match error {
        Error::Timeout(_) => Failure::soon(no_answer(limit)),
        Error::HostNotFound => Failure::soon("the host name cannot be resolved"),
        Error::Io(error) => match tls(&error) {
            Some(error) => Failure::never(format!("no trusted connection: {error}")),
            None => Failure::soon(error.to_string()),
        },
        Error::Rustls(error) => Failure::never(format!("no trusted connection: {error}")),
        Error::ConnectionFailed => Failure::soon("no connection"),
        Error::ConnectProxyFailed(answer) => {
            Failure::soon(format!("the proxy refuses: {}", words(&answer)))
        }
        Error::Protocol(_) | Error::LargeResponseHeader(..) => {
            Failure::soon("the answer is no HTTP")
        }
        Error::BadUri(_) | Error::InvalidProxyUrl => {
            Failure::never("the address, or that of the proxy, cannot be used")
        }
        other => Failure::never(other.to_string()),
    }
}

/// What TLS objects to. No further attempt makes a certificate good.
fn tls(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

//! The headers with which a receiver of the webhook knows that the report is ours, and new.

use crate::archive::index::to_hex;
use crate::secret::Secret;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

/// HMAC-SHA-256 over the timestamp, a full stop, and the body.
fn sign(secret: &Secret, timestamp: i64, body: &str) -> Option<String> {
    // HMAC takes keys of any length.
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).ok()?;
    mac.update(format!("{timestamp}.").as_bytes());
    mac.update(body.as_bytes());
    Some(format!("sha256={}", to_hex(&mac.finalize().into_bytes())))
}

/// What happened, its identifier, which stays the same when it is sent again, the time, and with a
/// secret the signature.
pub(super) fn headers(
    secret: Option<&Secret>,
    event: &str,
    id: &str,
    now: Timestamp,
    body: &str,
) -> Vec<(&'static str, String)> {
    let timestamp = now.as_second();
    let mut headers = vec![
        ("X-Backup-Action-Event", event.to_owned()),
        ("X-Backup-Action-Id", id.to_owned()),
        ("X-Backup-Action-Timestamp", timestamp.to_string()),
    ];
    let signature = secret.and_then(|secret| sign(secret, timestamp, body));
    headers.extend(signature.map(|signature| ("X-Backup-Action-Signature", signature)));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf '1768701601.{"format":1}' | openssl dgst -sha256 -hmac 'a secret'`
    #[test]
    fn the_signature_is_that_of_openssl() {
        let secret = Secret::new("a secret");
        assert_eq!(
            sign(&secret, 1_768_701_601, "{\"format\":1}").unwrap(),
            "sha256=933b3cde4f708e8903f6f520e66a00813b85ee281322c92f79693028ff97c3c2"
        );
    }
}

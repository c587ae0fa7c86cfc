//! The addresses of alerts: `https://…` and `smtps://…`. Both hold secrets, so no part of one is
//! repeated in an error.

use crate::error::Usage;
use crate::secret::Secret;
use base64::Engine as _;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::net::IpAddr;

/// Parts of a path that are shorter are words, not tokens.
const MIN_TOKEN_CHARS: usize = 9;

/// An address that is asked by HTTP.
#[derive(Clone, Debug)]
pub struct HttpAddress {
    /// All of it.
    pub url: Secret,
    /// Its host, which is no secret.
    pub host: String,
}

/// A mail server.
#[derive(Clone, Debug)]
pub struct SmtpAddress {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is encrypted.
    pub security: SmtpSecurity,
    /// Who logs in.
    pub user: Option<String>,
    /// With what.
    pub password: Option<Secret>,
    url: Secret,
}

/// How a connection to a mail server is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// From the first byte.
    Tls,
    /// After STARTTLS, which the server must offer.
    StartTls,
    /// Not at all.
    Plain,
}

impl HttpAddress {
    /// Reads `url`; `name` is what the user calls it.
    ///
    /// # Errors
    /// No address, or one without TLS that is not of this machine.
    pub(crate) fn parse(name: &str, url: &str) -> Result<HttpAddress, Usage> {
        let invalid = || {
            Usage::new(format!("{name} is not a valid address"))
                .hint("Copy it again: https://host/path, without spaces or line breaks.")
        };
        let uri: ureq::http::Uri = url.parse().map_err(|_| invalid())?;
        let host = uri.host().filter(|host| !host.is_empty());
        let is_secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => host.is_some_and(is_loopback),
            Some(_) | None => false,
        };
        if !is_secure {
            return Err(Usage::new(format!("{name} does not begin with https://"))
                .hint("The address is a secret, so it needs TLS; plain http:// is only for this machine itself."));
        }
        Ok(HttpAddress {
            host: host.ok_or_else(invalid)?.to_owned(),
            url: Secret::new(url),
        })
    }

    /// The address, and what in it could be a token or a password.
    pub(super) fn secret_forms(&self) -> Vec<String> {
        let url = self.url.expose();
        let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (authority, rest) = match after_scheme.find(['/', '?']) {
            Some(at) => after_scheme.split_at(at),
            None => (after_scheme, ""),
        };
        let mut parts = vec![url.to_owned()];
        if let Some((credentials, _)) = authority.rsplit_once('@') {
            parts.push(credentials.to_owned());
            parts.extend(
                credentials
                    .split_once(':')
                    .map(|(_, password)| password.to_owned()),
            );
        }
        if rest.chars().count() >= MIN_TOKEN_CHARS {
            parts.push(rest.to_owned());
        }
        parts.extend(
            rest.split(['/', '?', '&', '='])
                .filter(|part| part.chars().count() >= MIN_TOKEN_CHARS)
                .map(str::to_owned),
        );
        with_decoded(parts)
    }
}

impl SmtpAddress {
    /// Reads `url`; `name` is what the user calls it.
    pub(super) fn parse(name: &str, url: &str) -> Result<SmtpAddress, Usage> {
        let invalid = || {
            Usage::new(format!("{name} is not a valid address"))
                .hint("Write smtps://user:password@host:465 or smtp://user:password@host:587; percent-encode special characters in the password (/ is %2F, ? is %3F, # is %23, % is %25).")
        };
        let (is_wrapped, rest) = match (url.strip_prefix("smtps://"), url.strip_prefix("smtp://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => {
                return Err(
                    Usage::new(format!("{name} does not begin with smtps:// or smtp://"))
                        .hint("Write smtps://user:password@host, or smtp:// for STARTTLS."),
                );
            }
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '#']) {
            return Err(invalid());
        }
        let (credentials, place) = match authority.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, authority),
        };
        let (host, port) = host_and_port(place).ok_or_else(invalid)?;
        let (user, password) =
            match credentials.map(|text| text.split_once(':').unwrap_or((text, ""))) {
                None => (None, None),
                Some((user, password)) => (
                    Some(decoded(name, user)?).filter(|user| !user.is_empty()),
                    Some(decoded(name, password)?).filter(|password| !password.is_empty()),
                ),
            };
        let security = security(name, is_wrapped, query, &host)?;
        if security == SmtpSecurity::Plain && password.is_some() && !is_loopback(&host) {
            return Err(
                Usage::new(format!("{name}: a password is not sent without TLS"))
                    .hint("Leave out tls=none, or the password."),
            );
        }
        let usual = match security {
            SmtpSecurity::Tls => 465,
            SmtpSecurity::StartTls => 587,
            SmtpSecurity::Plain => 25,
        };
        Ok(SmtpAddress {
            port: port.unwrap_or(usual),
            host,
            security,
            user,
            password: password.map(Secret::new),
            url: Secret::new(url),
        })
    }

    /// The address, the password, and both as a server sees them when somebody logs in.
    pub(super) fn secret_forms(&self) -> Vec<String> {
        let mut forms = vec![self.url.expose().to_owned()];
        if let Some(password) = &self.password {
            let password = password.expose();
            let base64 = base64::engine::general_purpose::STANDARD;
            let user = self.user.as_deref().unwrap_or_default();
            forms.push(password.to_owned());
            forms.push(utf8_percent_encode(password, NON_ALPHANUMERIC).to_string());
            forms.push(base64.encode(password));
            forms.push(base64.encode(format!("\0{user}\0{password}")));
            let raw = self.url.expose().rsplit_once('@').map(|(raw, _)| raw);
            forms.extend(
                raw.and_then(|raw| raw.rsplit_once(':'))
                    .map(|(_, raw)| raw.to_owned()),
            );
        }
        forms
    }
}

/// Whether a host is this machine.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn host_and_port(place: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            match after {
                "" => (host, None),
                after => (host, Some(after.strip_prefix(':')?)),
            }
        }
        None => match place.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
    let is_host = !host.is_empty() && host.chars().all(is_plain);
    let port = match port {
        None => None,
        Some(port) => Some(port.parse::<u16>().ok().filter(|port| *port > 0)?),
    };
    is_host.then(|| (host.to_owned(), port))
}

fn security(
    name: &str,
    is_wrapped: bool,
    query: Option<&str>,
    host: &str,
) -> Result<SmtpSecurity, Usage> {
    match (is_wrapped, query) {
        (true, None | Some("" | "tls=required")) => Ok(SmtpSecurity::Tls),
        (false, Some("tls=required")) => Ok(SmtpSecurity::StartTls),
        (false, Some("tls=none")) => Ok(SmtpSecurity::Plain),
        // What goes to this machine itself cannot be read on the way.
        (false, None | Some("")) if is_loopback(host) => Ok(SmtpSecurity::Plain),
        (false, None | Some("")) => Ok(SmtpSecurity::StartTls),
        (true, Some(_)) => Err(Usage::new(format!("{name}: smtps:// always uses TLS"))
            .hint("Leave out what follows the question mark; tls=none goes with smtp://.")),
        (false, Some(_)) => Err(Usage::new(format!("{name}: unknown parameter"))
            .hint("Behind the question mark only tls=required or tls=none may stand.")),
    }
}

fn decoded(name: &str, text: &str) -> Result<String, Usage> {
    match percent_decode_str(text).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(_) => Err(
            Usage::new(format!("{name} is not UTF-8 when it is decoded"))
                .hint("Percent-encode the password as UTF-8; a percent sign itself is %25."),
        ),
    }
}

fn with_decoded(parts: Vec<String>) -> Vec<String> {
    let decoded: Vec<String> = parts
        .iter()
        .filter_map(|part| percent_decode_str(part).decode_utf8().ok())
        .map(std::borrow::Cow::into_owned)
        .collect();
    parts.into_iter().chain(decoded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smtp(url: &str) -> (String, u16, SmtpSecurity, Option<String>, Option<String>) {
        let address = SmtpAddress::parse("smtp-url", url).unwrap();
        let password = address
            .password
            .map(|password| password.expose().to_owned());
        (
            address.host,
            address.port,
            address.security,
            address.user,
            password,
        )
    }

    #[test]
    fn a_mail_server_is_asked_for_tls_unless_it_is_this_machine() {
        use SmtpSecurity::{Plain, StartTls, Tls};
        let host = || "mail.example".to_owned();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(smtp("smtps://mail.example"), (host(), 465, Tls, None, None));
        assert_eq!(
            smtp("smtp://mail.example/"),
            (host(), 587, StartTls, None, None)
        );
        assert_eq!(
            smtp("smtp://mail.example?tls=none"),
            (host(), 25, Plain, None, None)
        );
        assert_eq!(
            smtp("smtp://a%40b:p%40%2F:s@mail.example:2525"),
            (host(), 2525, StartTls, text("a@b"), text("p@/:s"))
        );
        assert_eq!(
            smtp("smtp://u:p@127.0.0.1:1025"),
            ("127.0.0.1".to_owned(), 1025, Plain, text("u"), text("p"))
        );
        assert_eq!(smtp("smtp://[::1]:25").2, Plain);
        assert_eq!(smtp("smtp://localhost?tls=required").2, StartTls);
        assert_eq!(smtp("smtp://localhost.example").2, StartTls);
    }

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for good in [
            "https://h.example/x",
            "http://127.0.0.1:8080/x",
            "http://localhost/",
            "http://[::1]:1/",
        ] {
            assert!(HttpAddress::parse("x", good).is_ok(), "{good}");
        }
        for bad in [
            "http://h.example/x",
            "ftp://h/x",
            "/x",
            "http://127.0.0.1.example/",
            "",
            "https://",
        ] {
            assert!(HttpAddress::parse("x", bad).is_err(), "{bad}");
        }
    }
}

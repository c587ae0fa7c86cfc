//! `postgres://` addresses, read by libpq's rules, and libpq's keywords with their environment
//! variables. No file and no environment is touched here.

use crate::error::Usage;
use std::collections::BTreeMap;

/// libpq's keywords that we hand on, each with its variable. Those without one travel in the
/// connection string, which everybody on the machine can read.
pub(super) const KEYWORDS: &[(&str, Option<&str>)] = &[
    ("application_name", Some("PGAPPNAME")),
    ("channel_binding", Some("PGCHANNELBINDING")),
    ("connect_timeout", Some("PGCONNECT_TIMEOUT")),
    ("dbname", Some("PGDATABASE")),
    ("gssdelegation", Some("PGGSSDELEGATION")),
    ("gssencmode", Some("PGGSSENCMODE")),
    ("gsslib", Some("PGGSSLIB")),
    ("host", Some("PGHOST")),
    ("hostaddr", Some("PGHOSTADDR")),
    ("keepalives", None),
    ("keepalives_count", None),
    ("keepalives_idle", None),
    ("keepalives_interval", None),
    ("krbsrvname", Some("PGKRBSRVNAME")),
    ("load_balance_hosts", Some("PGLOADBALANCEHOSTS")),
    ("options", Some("PGOPTIONS")),
    ("passfile", Some("PGPASSFILE")),
    ("password", Some("PGPASSWORD")),
    ("port", Some("PGPORT")),
    ("require_auth", Some("PGREQUIREAUTH")),
    ("requirepeer", Some("PGREQUIREPEER")),
    ("service", Some("PGSERVICE")),
    ("ssl_max_protocol_version", Some("PGSSLMAXPROTOCOLVERSION")),
    ("ssl_min_protocol_version", Some("PGSSLMINPROTOCOLVERSION")),
    ("sslcert", Some("PGSSLCERT")),
    ("sslcertmode", Some("PGSSLCERTMODE")),
    ("sslcompression", Some("PGSSLCOMPRESSION")),
    ("sslcrl", Some("PGSSLCRL")),
    ("sslcrldir", Some("PGSSLCRLDIR")),
    ("sslkey", Some("PGSSLKEY")),
    ("sslmode", Some("PGSSLMODE")),
    ("sslnegotiation", Some("PGSSLNEGOTIATION")),
    ("sslrootcert", Some("PGSSLROOTCERT")),
    ("sslsni", Some("PGSSLSNI")),
    ("target_session_attrs", Some("PGTARGETSESSIONATTRS")),
    ("tcp_user_timeout", None),
    ("user", Some("PGUSER")),
];

/// Keywords that libpq knows and we refuse, with the reason.
const REFUSED: &[(&str, &str)] = &[
    (
        "client_encoding",
        "It would change the bytes of the dump; leave it out.",
    ),
    (
        "sslpassword",
        "libpq has no variable for it, so it would be visible to everybody; use a key without a passphrase.",
    ),
    (
        "replication",
        "A dump needs an ordinary connection; leave it out.",
    ),
];

const ENCODE: &str = "Percent-encode special characters in the password (@ is %40, : is %3A, / is %2F, % is %25), or leave it out and set PGPASSWORD.";

/// What an address says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    /// Keyword to decoded value, the password included.
    pub(super) settings: BTreeMap<&'static str, String>,
    /// The password as it was written.
    pub(super) raw_password: Option<String>,
}

/// Reads an address. No part of it is repeated in an error except names of parameters: a
/// misplaced `@` makes any part a piece of the password.
pub(super) fn parse(url: &str) -> Result<Parsed, Usage> {
    let Some(rest) = url
        .strip_prefix("postgres://")
        .or_else(|| url.strip_prefix("postgresql://"))
    else {
        return Err(Usage::new("database URL does not begin with postgres:// or postgresql://")
            .hint("Write postgres://user:password@host:5432/database, or leave it out and set PGHOST, PGUSER and PGPASSWORD."));
    };
    let mut parsed = Parsed::default();
    // libpq: the first @ before the first / ends the credentials.
    let rest = match rest.find(['@', '/']) {
        Some(at) if rest.as_bytes().get(at) == Some(&b'@') => {
            parsed.credentials(&rest[..at])?;
            &rest[at + 1..]
        }
        Some(_) | None => rest,
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    parsed.hosts(&rest[..end])?;
    let (path, query) = match rest[end..].split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (&rest[end..], None),
    };
    if path.contains('@') {
        return Err(Usage::new("database URL has a second @ or a / before the @").hint(ENCODE));
    }
    parsed.set_decoded("dbname", path.strip_prefix('/').unwrap_or(path))?;
    for parameter in query.into_iter().flat_map(|query| query.split('&')) {
        if !parameter.is_empty() {
            parsed.parameter(parameter)?;
        }
    }
    Ok(parsed)
}

impl Parsed {
    fn credentials(&mut self, text: &str) -> Result<(), Usage> {
        let (user, password) = match text.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (text, None),
        };
        self.set_decoded("user", user)?;
        if let Some(password) = password {
            self.password(password)?;
        }
        Ok(())
    }

    fn password(&mut self, raw: &str) -> Result<(), Usage> {
        self.set_decoded("password", raw)?;
        self.raw_password = Some(raw.to_owned()).filter(|raw| !raw.is_empty());
        Ok(())
    }

    /// `host`, `host:port`, `[::1]:port`, several separated by commas.
    fn hosts(&mut self, text: &str) -> Result<(), Usage> {
        if text.contains('@') {
            return Err(Usage::new("database URL has more than one @").hint(ENCODE));
        }
        let (mut hosts, mut ports) = (Vec::new(), Vec::new());
        for part in text.split(',') {
            let (host, port) = match part.strip_prefix('[') {
                Some(bracketed) => bracketed
                    .split_once(']')
                    .ok_or_else(|| Usage::new("database URL has a [ without ]"))?,
                None => part.split_at(part.find(':').unwrap_or(part.len())),
            };
            let port = match port.strip_prefix(':') {
                Some(port) => port,
                None if port.is_empty() => port,
                None => return Err(Usage::new("database URL has text between ] and the port")),
            };
            if !port.is_empty() && port.parse::<u16>().map_or(true, |port| port == 0) {
                return Err(Usage::new(
                    "database URL has a port that is no number from 1 to 65535",
                )
                .hint(ENCODE));
            }
            hosts.push(decode(host)?);
            ports.push(port);
        }
        if hosts.iter().any(|host| !host.is_empty()) {
            self.settings.insert("host", hosts.join(","));
        }
        if ports.iter().any(|port| !port.is_empty()) {
            self.settings.insert("port", ports.join(","));
        }
        Ok(())
    }

    fn parameter(&mut self, text: &str) -> Result<(), Usage> {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| Usage::new("database URL has a parameter without =").hint(ENCODE))?;
        let key = decode(key)?;
        if let Some((_, reason)) = REFUSED.iter().find(|(name, _)| *name == key) {
            let message = format!("parameter {key} is not accepted in a database URL");
            return Err(Usage::new(message).hint(*reason));
        }
        if key == "ssl" && value == "true" {
            self.settings.insert("sslmode", "require".into());
            return Ok(());
        }
        let Some((keyword, _)) = KEYWORDS.iter().find(|(name, _)| *name == key) else {
            return Err(unknown(&key));
        };
        match *keyword {
            "password" => self.password(value),
            keyword => self.set_decoded(keyword, value),
        }
    }

    fn set_decoded(&mut self, keyword: &'static str, value: &str) -> Result<(), Usage> {
        let value = decode(value)?;
        if !value.is_empty() {
            self.settings.insert(keyword, value);
        }
        Ok(())
    }
}

fn unknown(key: &str) -> Usage {
    let nearest = KEYWORDS
        .iter()
        .map(|(name, _)| (strsim::damerau_levenshtein(name, key), *name))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    let hint = match nearest {
        Some((_, name)) => format!("Did you mean {name}? libpq's parameters are accepted."),
        None => {
            "Remove it: only libpq's parameters are accepted, not those of other libraries.".into()
        }
    };
    Usage::new(format!("unknown parameter {key:?} in the database URL")).hint(hint)
}

/// Percent-decoding as strict as libpq's: `%` needs two digits, `%00` is forbidden.
fn decode(text: &str) -> Result<String, Usage> {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = (bytes.next(), bytes.next());
            let is_digit = |digit: Option<u8>| digit.is_some_and(|d| d.is_ascii_hexdigit());
            if !is_digit(digits.0) || !is_digit(digits.1) || digits == (Some(b'0'), Some(b'0')) {
                return Err(
                    Usage::new("database URL has a % that starts no character").hint(ENCODE)
                );
            }
        }
    }
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    decoded
        .map(Into::into)
        .map_err(|_| Usage::new("database URL is not UTF-8 after percent-decoding"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings(url: &str) -> Vec<(&'static str, String)> {
        parse(url).unwrap().settings.into_iter().collect()
    }

    fn pairs(expected: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        expected
            .iter()
            .map(|(k, v)| (*k, (*v).to_owned()))
            .collect()
    }

    #[test]
    fn addresses_are_read_by_libpqs_rules() {
        for (url, expected) in [
            ("postgres://", &[][..]),
            ("postgresql://h", &[("host", "h")]),
            (
                "postgres://u:p@h:5433/d",
                &[
                    ("dbname", "d"),
                    ("host", "h"),
                    ("password", "p"),
                    ("port", "5433"),
                    ("user", "u"),
                ],
            ),
            (
                "postgres://u%40x:p%2F%25%3A%40@%2Fvar%2Frun/d%20b",
                &[
                    ("dbname", "d b"),
                    ("host", "/var/run"),
                    ("password", "p/%:@"),
                    ("user", "u@x"),
                ],
            ),
            (
                "postgres://[::1]:5/d",
                &[("dbname", "d"), ("host", "::1"), ("port", "5")],
            ),
            (
                "postgres://a:1,b/d",
                &[("dbname", "d"), ("host", "a,b"), ("port", "1,")],
            ),
            (
                "postgres:///d?host=/run&sslmode=verify-full&password=a%26b",
                &[
                    ("dbname", "d"),
                    ("host", "/run"),
                    ("password", "a&b"),
                    ("sslmode", "verify-full"),
                ],
            ),
            (
                "postgres://h?ssl=true",
                &[("host", "h"), ("sslmode", "require")],
            ),
            (
                "postgres://u:a:b?#@h",
                &[("host", "h"), ("password", "a:b?#"), ("user", "u")],
            ),
        ] {
            assert_eq!(settings(url), pairs(expected), "{url}");
        }
        assert_eq!(
            parse("postgres://u:%70@h").unwrap().raw_password.unwrap(),
            "%70"
        );
    }

    #[test]
    fn refusals_never_repeat_a_piece_of_the_password() {
        for url in [
            "postgres://u:hunter2@hunter2@h/d",
            "postgres://u:hunter2/hunter2@h/d",
            "postgres://u:12/hunter2@h/d",
            "postgres://u:hunter2%zz@h/d",
            "postgres://u:%00hunter2@h/d",
            "mysql://u:hunter2@h/d",
            "host=h password=hunter2",
            "postgres://u:p@h:hunter2/d",
            "postgres://[hunter2/d",
            "postgres://h/d?hunter2",
            "postgres://u:p%ffhunter2@h",
        ] {
            let error = parse(url).unwrap_err();
            assert!(
                !format!("{error:?}").contains("hunter2"),
                "{url}: {error:?}"
            );
        }
    }

    #[test]
    fn unknown_parameters_are_named_with_the_nearest() {
        let error = format!("{:?}", parse("postgres://h?sslmod=x").unwrap_err());
        assert!(error.contains("Did you mean sslmode?"), "{error}");
        let error = format!("{:?}", parse("postgres://h?pgbouncer=true").unwrap_err());
        assert!(error.contains("not those of other libraries"), "{error}");
        assert!(parse("postgres://h?client_encoding=LATIN1").is_err());
    }

    proptest! {
        #[test]
        fn any_password_survives_encoding(password in "[^\0]{1,40}") {
            let encoded = percent_encoding::utf8_percent_encode(&password, percent_encoding::NON_ALPHANUMERIC);
            let parsed = parse(&format!("postgres://u:{encoded}@h/d")).unwrap();
            prop_assert_eq!(&parsed.settings["password"], &password);
        }

        #[test]
        fn no_text_panics(text in ".{0,60}") {
            drop(parse(&format!("postgres://{text}")));
            drop(parse(&text));
        }
    }
}

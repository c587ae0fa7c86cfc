//! Values that end up in the header of every signed request. The SDK signs with them as they are and
//! panics when they cannot be in a header, so they are looked at before; a secret that was pasted with
//! the line break behind it is the usual case. No value of a key is ever shown.

use crate::error::Usage;

/// A region that can be signed for.
pub(super) fn check_region(region: &str) -> Result<(), Usage> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if !region.is_empty() && region.bytes().all(plain) {
        return Ok(());
    }
    Err(Usage::new(format!("{region:?} cannot be a region"))
        .hint("Set s3-region or AWS_REGION to a name such as eu-west-1."))
}

/// Keys of the environment without spaces and line breaks.
pub(super) fn check_keys(env: impl Fn(&str) -> Option<String>) -> Result<(), Usage> {
    for name in [
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
    ] {
        let odd = env(name).is_some_and(|value| value.bytes().any(|b| !b.is_ascii_graphic()));
        if odd {
            return Err(Usage::new(format!(
                "{name} holds a space, a line break or another character that no key has"
            ))
            .hint("Store the secret again, without the line break at its end."));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_a_plain_word() {
        for good in ["us-east-1", "auto", "garage", "eu_central.1"] {
            assert!(check_region(good).is_ok(), "{good}");
        }
        for bad in ["", "eu west", "eu-west-1\n", "eu\rwest", "é", "a/b"] {
            assert!(check_region(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn keys_have_no_line_break_and_are_not_shown() {
        for name in [
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
        ] {
            let env = |asked: &str| (asked == name).then(|| "c4n4ry\n".to_owned());
            let error =
                check_keys(env).map_or_else(|error| format!("{error:?}"), |()| String::new());
            assert!(error.contains(name) && !error.contains("c4n4ry"), "{error}");
        }
        assert!(check_keys(|_| Some("AKIA+/=x".to_owned())).is_ok());
        assert!(check_keys(|_| None).is_ok());
    }
}

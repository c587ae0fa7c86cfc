//! The form of single values, without their meaning: durations, and names that were mistyped.

use std::time::Duration;

/// The nearest known names, as a hint.
pub(crate) fn did_you_mean<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> String {
    let best = known
        .map(|name| (strsim::jaro_winkler(typed, name), name))
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match best {
        Some((likeness, name)) if likeness > 0.7 => format!("Did you mean \"{name}\"?"),
        _ => "The list of names is in docs/reference.md, and in --help.".to_owned(),
    }
}

/// A whole number above 0 with the unit `s`, `m`, `h` or `d`; no unit means seconds.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (digits, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let seconds_per_unit = match unit.trim() {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let seconds = digits.parse::<u64>().ok()?.checked_mul(seconds_per_unit)?;
    // A century is longer than any run; it keeps additions to the clock from overflowing.
    (1..=100 * 366 * 86_400)
        .contains(&seconds)
        .then(|| Duration::from_secs(seconds))
}

/// A whole number with the unit `B`, `kB`, `MB`, `GB`, `TB` or `KiB`, `MiB`, `GiB`, `TiB`, in any
/// case; no unit means bytes.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, "b"),
    };
    let bytes_per_unit = match unit.trim().to_ascii_lowercase().as_str() {
        "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(bytes_per_unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit_and_a_bound() {
        assert_eq!(parse_size("0"), Some(0));
        assert_eq!(parse_size("512"), Some(512));
        assert_eq!(parse_size(" 10 mb "), Some(10_000_000));
        assert_eq!(parse_size("2GiB"), Some(2 << 30));
        for bad in [
            "",
            "MB",
            "1.5MB",
            "-1",
            "1 M",
            "5 megabytes",
            "99999999999TB",
        ] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_have_a_unit_and_a_bound() {
        assert_eq!(parse_duration("90"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("5m"), Some(Duration::from_secs(300)));
        assert_eq!(parse_duration("1d"), Some(Duration::from_secs(86_400)));
        for bad in [
            "",
            "m",
            "-1s",
            "1.5h",
            "7w",
            "99999999999999999999s",
            "99999999999d",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}

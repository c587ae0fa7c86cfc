//! Differences of sizes and counts, for people: with their sign, and in percent where that helps.

use super::format;

/// `+37 MB (+18.4 %)`.
pub(super) fn change(now: u64, before: u64) -> String {
    let difference = i128::from(now) - i128::from(before);
    format!(
        "{}{}",
        signed(difference, format::bytes),
        percent(now, before)
    )
}

/// ` (+18.4 %)`; nothing where that says nothing.
pub(super) fn percent(now: u64, before: u64) -> String {
    if now == before || before == 0 {
        return String::new();
    }
    format!(" ({})", format::change_percent(before, now))
}

/// `+37 MB`, with the real minus sign.
pub(super) fn signed(difference: i128, shown: fn(u64) -> String) -> String {
    let amount = shown(u64::try_from(difference.unsigned_abs()).unwrap_or(u64::MAX));
    match difference {
        ..0 => format!("−{amount}"),
        0 => "±0".to_owned(),
        1.. => format!("+{amount}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_read_as_people_write_them() {
        let said: Vec<_> = [
            (240_000_000, 203_000_000),
            (203_000_000, 240_000_000),
            (5, 5),
            (7, 0),
            (1_000_000, 1_000_001),
            (500_000, 1_000),
            (0, u64::MAX),
        ]
        .into_iter()
        .map(|(now, before)| change(now, before))
        .collect();
        assert_eq!(
            said,
            [
                "+37 MB (+18.2 %)",
                "−37 MB (−15.4 %)",
                "±0",
                "+7 B",
                "−1 B (−<0.1 %)",
                "+499 kB (+49,900 %)",
                "−18.4 EB (−100 %)",
            ]
        );
        assert_eq!(
            signed(i128::MIN, format::count),
            "−18,446,744,073,709,551,615"
        );
    }
}

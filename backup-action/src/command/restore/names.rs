//! Names that are made from other names, and lists of names for people.

use crate::archive::index::Name;
use crate::error::Explained;

/// All of a short list, the first of a long one.
pub(super) fn few(names: &[String]) -> String {
    const SHOWN: usize = 20;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len() - names.len().min(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A name with a suffix that keeps within the 63 bytes of a name and within its characters.
///
/// # Errors
/// [`Explained`] when nothing of the name would be left.
pub(super) fn suffixed(name: &Name, suffix: &str) -> anyhow::Result<Name> {
    const MAX_BYTES: usize = 63;
    let room = MAX_BYTES.saturating_sub(suffix.len());
    let bytes = name.as_bytes();
    let mut end = bytes.len().min(room);
    // Not in the middle of a character of UTF-8.
    while end > 0
        && bytes
            .get(end)
            .is_some_and(|byte| (0x80..0xc0).contains(byte))
    {
        end -= 1;
    }
    if end == 0 {
        return Err(Explained::new(
            format!("cannot make a name from {name}"),
            "Report this name.",
        )
        .into());
    }
    Ok(Name::from([&bytes[..end], suffix.as_bytes()].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_its_suffix_fits_and_keeps_whole_characters() {
        let of = |name: &str| suffixed(&Name::from(name), "_before_20260118_020001").unwrap();
        assert_eq!(of("nostromo").to_lossy(), "nostromo_before_20260118_020001");
        for name in [
            "x".repeat(63),
            "é".repeat(31),
            format!("a{}", "é".repeat(31)),
        ] {
            let made = of(&name);
            assert!(made.as_bytes().len() <= 63);
            assert!(std::str::from_utf8(made.as_bytes()).is_ok(), "{made}");
            assert!(made.to_lossy().ends_with("_before_20260118_020001"));
        }
    }
}

//! Reads what a Linux program asks of the machine that it runs on: its loader, its libraries, the
//! newest version of the GNU C library. Pure.

use anyhow::{Context, Result, ensure};

/// What a program needs.
#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Needs {
    /// The dynamic loader; none for a static program.
    pub(crate) loader: Option<String>,
    /// Shared libraries.
    pub(crate) libraries: Vec<String>,
    /// The newest `GLIBC_` version of a symbol: major and minor.
    pub(crate) glibc: Option<(u32, u32)>,
}

impl Needs {
    /// Whether it runs on every machine with this kernel and processor.
    pub(crate) fn is_static(&self) -> bool {
        self.loader.is_none() && self.libraries.is_empty() && self.glibc.is_none()
    }
}

const PROGRAM_INTERPRETER: u64 = 3;
const SECTION_DYNAMIC: u64 = 6;
const SECTION_VERSIONS_NEEDED: u64 = 0x6fff_fffe;
const DYNAMIC_NEEDED: u64 = 1;

/// Reads a 64-bit little-endian ELF program.
pub(crate) fn needs(bytes: &[u8]) -> Result<Needs> {
    ensure!(
        bytes.starts_with(b"\x7fELF\x02\x01"),
        "not a 64-bit little-endian ELF program"
    );
    let mut needs = Needs::default();
    let programs = number(bytes, 0x20, 8)?;
    for index in 0..number(bytes, 0x38, 2)? {
        let at = programs + index * number(bytes, 0x36, 2)?;
        if number(bytes, at, 4)? == PROGRAM_INTERPRETER {
            needs.loader = Some(text(bytes, number(bytes, at + 8, 8)?)?);
        }
    }
    let sections = number(bytes, 0x28, 8)?;
    let size = number(bytes, 0x3a, 2)?;
    let section = |index: u64| sections + index * size;
    for index in 0..number(bytes, 0x3c, 2)? {
        let at = section(index);
        let kind = number(bytes, at + 4, 4)?;
        let start = number(bytes, at + 0x18, 8)?;
        let length = number(bytes, at + 0x20, 8)?;
        let linked = section(number(bytes, at + 0x28, 4)?);
        match kind {
            SECTION_DYNAMIC => {
                let strings = number(bytes, linked + 0x18, 8)?;
                for entry in (start..start + length).step_by(16) {
                    if number(bytes, entry, 8)? == DYNAMIC_NEEDED {
                        let name = text(bytes, strings + number(bytes, entry + 8, 8)?)?;
                        needs.libraries.push(name);
                    }
                }
            }
            SECTION_VERSIONS_NEEDED => {
                let strings = number(bytes, linked + 0x18, 8)?;
                needs.glibc = needs.glibc.max(newest(bytes, start, strings)?);
            }
            _ => {}
        }
    }
    Ok(needs)
}

/// The newest `GLIBC_x.y` of a list of needed versions.
fn newest(bytes: &[u8], start: u64, strings: u64) -> Result<Option<(u32, u32)>> {
    let mut newest = None;
    let mut file = start;
    loop {
        let mut version = file + number(bytes, file + 8, 4)?;
        for _ in 0..number(bytes, file + 2, 2)? {
            let name = text(bytes, strings + number(bytes, version + 8, 4)?)?;
            newest = newest.max(glibc(&name));
            version += number(bytes, version + 12, 4)?;
        }
        match number(bytes, file + 12, 4)? {
            0 => return Ok(newest),
            next => file += next,
        }
    }
}

/// `GLIBC_2.17` or `GLIBC_2.2.5`: major and minor.
fn glibc(name: &str) -> Option<(u32, u32)> {
    let mut numbers = name.strip_prefix("GLIBC_")?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn number(bytes: &[u8], at: u64, width: usize) -> Result<u64> {
    let at = usize::try_from(at)?;
    let end = at.checked_add(width).context("a number out of bounds")?;
    let found = bytes.get(at..end).context("the program ends too early")?;
    let mut full = [0; 8];
    full[..width].copy_from_slice(found);
    Ok(u64::from_le_bytes(full))
}

fn text(bytes: &[u8], at: u64) -> Result<String> {
    let rest = bytes
        .get(usize::try_from(at)?..)
        .context("the program ends too early")?;
    let end = rest.iter().position(|byte| *byte == 0);
    let end = end.context("a text without an end")?;
    Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(glibc("GLIBC_2.2.5"), Some((2, 2)));
        assert!(glibc("GLIBC_2.17") > glibc("GLIBC_2.9"));
        assert_eq!(glibc("GLIBC_PRIVATE"), None);
        assert_eq!(glibc("GCC_3.0"), None);
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn this_very_program_needs_the_c_library() {
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        let found = needs(&bytes).unwrap();
        assert!(
            found.loader.as_deref().unwrap().contains("/ld-"),
            "{found:?}"
        );
        assert!(found.libraries.iter().any(|name| name == "libc.so.6"));
        // Rust's own lowest, and nothing that is not out yet.
        let glibc = found.glibc.unwrap();
        assert!(((2, 17)..(3, 0)).contains(&glibc), "{found:?}");
        assert!(!found.is_static());
        for length in [0, 5, 16, 64, 1000] {
            assert!(needs(&bytes[..length]).is_err(), "{length}");
        }
    }
}

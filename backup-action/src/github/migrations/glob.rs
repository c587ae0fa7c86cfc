//! Patterns of paths: `*` and `?` stay inside a directory, `**` goes through any number of them.

/// Whether `path`, with `/` between its parts, fits the pattern.
pub fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path) = (pattern.as_bytes(), path.as_bytes());
    // Which prefixes of the path the pattern so far fits: one row of the table at a time, so that
    // no pattern takes longer than its length times the path's.
    let mut fits = vec![false; path.len() + 1];
    fits[0] = true;
    let mut at = 0;
    while at < pattern.len() {
        let (taken, next) = match &pattern[at..] {
            // The directories of `**/` may be none.
            [b'*', b'*', b'/', ..] => (3, directories(&fits, path)),
            [b'*', b'*', ..] => (2, any(&fits, path, |_| true)),
            [b'*', ..] => (1, any(&fits, path, |byte| byte != b'/')),
            [b'?', ..] => (1, one(&fits, path, |byte| byte != b'/')),
            [wanted, ..] => (1, one(&fits, path, |byte| byte == *wanted)),
            [] => break,
        };
        fits = next;
        at += taken;
    }
    fits[path.len()]
}

fn one(fits: &[bool], path: &[u8], takes: impl Fn(u8) -> bool) -> Vec<bool> {
    let mut next = vec![false; fits.len()];
    for at in 0..path.len() {
        next[at + 1] = fits[at] && takes(path[at]);
    }
    next
}

fn any(fits: &[bool], path: &[u8], takes: impl Fn(u8) -> bool) -> Vec<bool> {
    let mut next = fits.to_vec();
    for at in 0..path.len() {
        next[at + 1] |= next[at] && takes(path[at]);
    }
    next
}

fn directories(fits: &[bool], path: &[u8]) -> Vec<bool> {
    let through = any(fits, path, |_| true);
    let mut next = fits.to_vec();
    for at in 0..path.len() {
        next[at + 1] |= path[at] == b'/' && through[at + 1];
    }
    next
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_know_directories() {
        for (pattern, path, wanted) in [
            ("**/*.sql", "a.sql", true),
            ("**/*.sql", "db/migrations/1.sql", true),
            ("**/*.sql", "db/1.sql.md", false),
            ("*.sql", "db/1.sql", false),
            ("migrations/**", "migrations/a/b.py", true),
            ("migrations/**", "db/migrations/b.py", false),
            ("**/migrations/*.sql", "db/migrations/b.sql", true),
            ("**/migrations/*.sql", "dbmigrations/b.sql", false),
            ("db/V?__*.sql", "db/V1__x.sql", true),
            ("db/V?__*.sql", "db/V12__x.sql", false),
            ("a**b", "a/x/b", true),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, path), wanted, "{pattern} {path}");
        }
        let long = "a/".repeat(2_000);
        assert!(!matches(&"**/a".repeat(50), &long));
    }
}

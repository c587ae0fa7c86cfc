//! The settings of a throw-away server: nothing in it has to survive a crash, and everything is
//! loaded once. Pure; both engines start the server with the same list.

use super::Wanted;

const MIB: u64 = 1 << 20;

/// `NAME=VALUE` for the command line of postgres, where they win over every file.
pub(super) fn settings(jobs: usize, tables: u64, memory_bytes: u64) -> Vec<String> {
    let jobs = u64::try_from(jobs).unwrap_or(u64::MAX).clamp(1, 1000);
    let connections = jobs + 20;
    let shared = (memory_bytes / 8).clamp(32 * MIB, 1024 * MIB);
    let maintenance = (memory_bytes / 8 / jobs).clamp(32 * MIB, 1024 * MIB);
    let work = (memory_bytes / 32 / jobs).clamp(4 * MIB, 128 * MIB);
    // A dump holds the lock of every table, and those of what it asks the definition of.
    let locks = 64 + tables.min(10_000_000).saturating_mul(3) / connections;
    let mut settings: Vec<String> = [
        "fsync=off",
        "synchronous_commit=off",
        "full_page_writes=off",
        "wal_level=minimal",
        "max_wal_senders=0",
        "archive_mode=off",
        "autovacuum=off",
        "max_wal_size=4GB",
        "checkpoint_timeout=1h",
        "wal_buffers=16MB",
        // The log is for us; what rows a statement held is nobody's business.
        "logging_collector=off",
        "log_destination=stderr",
        "log_min_messages=warning",
        "log_min_error_statement=panic",
        "ssl=off",
    ]
    .map(str::to_owned)
    .to_vec();
    settings.extend([
        format!("max_connections={connections}"),
        format!("max_locks_per_transaction={locks}"),
        format!("shared_buffers={}MB", shared / MIB),
        format!("maintenance_work_mem={}MB", maintenance / MIB),
        format!("work_mem={}MB", work / MIB),
    ]);
    settings
}

/// The options of initdb beside the directory and the name of the superuser.
pub(super) fn initdb_options(wanted: &Wanted) -> Vec<String> {
    let mut options = vec![
        format!("--encoding={}", wanted.encoding),
        "--locale=C".to_owned(),
        "--no-sync".to_owned(),
        "--auth-local=trust".to_owned(),
    ];
    // On by default since 18: checksums guard what stays.
    if wanted.major >= 18 {
        options.push("--no-data-checksums".to_owned());
    }
    options
}

/// The character classes of UTF-8 without the sorting of a language, where the system knows them:
/// a check such as `name ~ '^[[:alpha:]]+$'` has to accept what it accepted at home.
pub(super) fn utf8_locale(wanted: &Wanted) -> Option<&'static str> {
    ["UTF8", "UTF-8"]
        .iter()
        .any(|name| wanted.encoding.eq_ignore_ascii_case(name))
        .then_some("--lc-ctype=C.UTF-8")
}

#[cfg(test)]
mod tests {
    use super::super::EngineChoice;
    use super::*;
    use std::time::Duration;

    fn wanted() -> Wanted {
        Wanted {
            engine: EngineChoice::Local,
            major: 15,
            image: None,
            pg_bin_dir: None,
            base_dir: None,
            bootstrap: None,
            encoding: "UTF8".to_owned(),
            jobs: 1,
            tables: 0,
            deadline: Duration::from_secs(60),
        }
    }

    #[test]
    fn locks_and_memory_follow_the_work() {
        let settings = settings(4, 60_000, 8 << 30);
        for expected in [
            "max_connections=24",
            "max_locks_per_transaction=7564",
            "shared_buffers=1024MB",
            "maintenance_work_mem=256MB",
            "work_mem=64MB",
            "fsync=off",
        ] {
            assert!(
                settings.iter().any(|s| s == expected),
                "{expected}: {settings:?}"
            );
        }
        let small = super::settings(1, 0, 256 << 20);
        assert!(small.contains(&"shared_buffers=32MB".to_owned()));
        assert!(small.contains(&"max_locks_per_transaction=64".to_owned()));
    }

    #[test]
    fn initdb_is_told_what_its_version_knows() {
        let mut wanted = wanted();
        assert!(!initdb_options(&wanted).contains(&"--no-data-checksums".to_owned()));
        assert!(utf8_locale(&wanted).is_some());
        wanted.major = 18;
        wanted.encoding = "LATIN1".to_owned();
        assert!(initdb_options(&wanted).contains(&"--no-data-checksums".to_owned()));
        assert!(utf8_locale(&wanted).is_none());
    }
}

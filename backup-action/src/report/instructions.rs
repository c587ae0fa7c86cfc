//! The commands that get a backup back, with real names in them: for the summary and RECOVERY.md.
//! Every word is quoted for a POSIX shell.

use super::escape::shell_word;

/// Reading it with this program: the whole archive checked, one schema as SQL.
pub fn with_this_tool(tier: &str, store: &str, key: &str) -> String {
    let flag = if is_s3(store) || tier == "remote" {
        "--remote"
    } else {
        "--local"
    };
    let (store, key) = (shell_word(store), shell_word(key));
    format!(
        "# with this tool: check every byte, then one schema as SQL\n\
         backup-action verify {flag} {store} {key}\n\
         backup-action extract {flag} {store} {key} --schema NAME > NAME.sql\n"
    )
}

/// The whole cluster without this program.
pub fn with_psql_alone(store: &str, key: &str) -> String {
    let location = shell_word(&format!("{}/{key}", store.trim_end_matches('/')));
    let read = if is_s3(store) {
        format!("aws s3 cp {location} - | gunzip -c")
    } else {
        format!("gunzip -c {location}")
    };
    format!(
        "# without it: the whole cluster, into a fresh one (psql -h … for another than the local)\n\
         {read} | psql -X -v ON_ERROR_STOP=1 -d postgres\n"
    )
}

/// Whether a store is reached with `aws s3`.
pub fn is_s3(store: &str) -> bool {
    store.starts_with("s3://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted() {
        let text = with_psql_alone("/tmp/it's $(here)/", "2026-01/x.sql.gz");
        assert!(
            text.contains("gunzip -c '/tmp/it'\\''s $(here)/2026-01/x.sql.gz' |"),
            "{text}"
        );
        let text = with_this_tool("remote", "s3://b/p", "2026-01/x.sql.gz");
        assert!(
            text.contains("verify --remote s3://b/p 2026-01/x.sql.gz\n"),
            "{text}"
        );
    }
}

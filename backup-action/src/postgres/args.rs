//! Which further options of pg_dumpall may be given. An option that would make the dump partial,
//! unreadable to the scanner, or send it elsewhere is refused, with the reason.

use crate::error::Usage;

/// Accepted as they are.
const FLAGS: &[&str] = &[
    "--no-comments",
    "--no-publications",
    "--no-security-labels",
    "--no-subscriptions",
    "--no-sync",
    "--no-tablespaces",
    "--no-toast-compression",
    "--no-table-access-method",
    "--no-unlogged-table-data",
    "--quote-all-identifiers",
];

const PARTIAL: &str = "it would leave data or objects out, and a gate promises a complete backup";
const ROWS: &str = "rows must be COPY data, so that they can be counted and digested";
const CONNECTION: &str = "the connection comes from --database-url or the PG* variables";
const OUTPUT: &str = "the dump is a stream; --local and --remote say where it is stored";
const RESTORE: &str = "it would make every restore drop what is there";
const VERSION: &str = "it would print something that is no dump";

/// Options by their long and short names, and why they are refused.
const REFUSED: &[(&str, &[&str])] = &[
    (
        "a row that a policy hides would be missing from the backup without a word",
        &["--enable-row-security"],
    ),
    (
        OUTPUT,
        &[
            "--file",
            "-f",
            "--format",
            "-F",
            "--compress",
            "-Z",
            "--jobs",
            "-j",
        ],
    ),
    (RESTORE, &["--clean", "-c", "--if-exists"]),
    (
        PARTIAL,
        &[
            "--data-only",
            "-a",
            "--schema-only",
            "-s",
            "--globals-only",
            "-g",
            "--roles-only",
            "-r",
            "--tablespaces-only",
            "-t",
            "--exclude-database",
            "--statistics-only",
            "--no-data",
            "--no-schema",
            "--no-owner",
            "-O",
            "--no-privileges",
            "--no-acl",
            "-x",
            "--no-policies",
            "--filter",
            "--sequence-data-only",
        ],
    ),
    (
        ROWS,
        &[
            "--inserts",
            "--column-inserts",
            "--attribute-inserts",
            "--rows-per-insert",
            "--on-conflict-do-nothing",
        ],
    ),
    (
        CONNECTION,
        &[
            "--dbname",
            "-d",
            "--database",
            "-l",
            "--host",
            "-h",
            "--port",
            "-p",
            "--username",
            "-U",
            "--password",
            "-W",
            "--no-password",
            "-w",
            "--role",
        ],
    ),
    (
        "a dump keeps each database's own encoding",
        &["--encoding", "-E"],
    ),
    (
        "--lock-wait-timeout has an option of its own",
        &["--lock-wait-timeout"],
    ),
    (
        "--role-passwords include or exclude decides it",
        &["--no-role-passwords"],
    ),
    (
        "data would be restored without its triggers and constraints being asked",
        &["--disable-triggers"],
    ),
    ("only pg_upgrade may use it", &["--binary-upgrade"]),
    (
        "function bodies must keep their quotes",
        &["--disable-dollar-quoting"],
    ),
    (
        "the key must be a new random one in each dump",
        &["--restrict-key"],
    ),
    (
        "the data of a partition would be restored in another order than it was dumped",
        &["--load-via-partition-root"],
    ),
    (
        "it changes the comments and owner statements that the archive is indexed by",
        &["--verbose", "-v", "--use-set-session-authorization"],
    ),
    (VERSION, &["--help", "-?", "--version", "-V"]),
];

/// Checks the further options of pg_dumpall that a user asked for, and returns them.
///
/// # Errors
/// [`Usage`] for the first one that is not on the list, with the reason where there is one.
pub fn check_extra(args: &[String]) -> Result<Vec<String>, Usage> {
    for arg in args {
        let (name, value) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (arg.as_str(), None),
        };
        let accepted = match (name, value) {
            ("--extra-float-digits", Some(value)) => {
                value.parse::<i32>().is_ok_and(|n| (-15..=3).contains(&n))
            }
            (name, None) => FLAGS.contains(&name),
            (_, Some(_)) => false,
        };
        if !accepted {
            return Err(refusal(name, arg));
        }
    }
    Ok(args.to_vec())
}

fn refusal(name: &str, arg: &str) -> Usage {
    if name == "--extra-float-digits" {
        return Usage::new("pg_dumpall option --extra-float-digits needs =N with N from -15 to 3");
    }
    // A short option may carry its value: -fdump.sql.
    let short =
        |given: &&str| given.len() == 2 && !name.starts_with("--") && name.starts_with(*given);
    // getopt_long accepts unique beginnings: --enable-row is --enable-row-security.
    let beginning =
        |given: &&str| name.len() > 3 && given.starts_with("--") && given.starts_with(name);
    let reason = REFUSED.iter().find_map(|(reason, names)| {
        let hit = names
            .iter()
            .any(|given| *given == name || short(given) || beginning(given));
        hit.then_some(*reason)
    });
    match reason {
        Some(reason) => Usage::new(format!("pg_dumpall option {name} is refused: {reason}"))
            .hint("Leave the option out."),
        None => Usage::new(format!(
            "pg_dumpall option {arg:?} is not on the list of accepted options"
        ))
        .hint(format!(
            "Accepted are {} and --extra-float-digits=N.",
            FLAGS.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arg: &str) -> Result<Vec<String>, Usage> {
        check_extra(&[arg.to_owned()])
    }

    #[test]
    fn harmless_options_pass_and_everything_else_is_refused() {
        for arg in FLAGS
            .iter()
            .chain(&["--extra-float-digits=3", "--extra-float-digits=-15"])
        {
            assert!(check(arg).is_ok(), "{arg}");
        }
        for (arg, reason) in [
            ("--enable-row-security", "policy hides"),
            ("--enable-row", "policy hides"),
            ("-fdump.sql", "stream"),
            ("--file=/tmp/x", "stream"),
            ("--exclude-database=a*", "complete backup"),
            ("-s", "complete backup"),
            ("--inserts", "COPY data"),
            ("--rows-per-insert=5", "COPY data"),
            ("-dpostgres://u:p@h", "connection comes from"),
            ("--clean", "drop what is there"),
            ("--extra-float-digits=9", "from -15 to 3"),
            ("--no-comments=1", "not on the list"),
            ("--quote-all", "not on the list"),
            ("postgres", "not on the list"),
            ("", "not on the list"),
        ] {
            let message = check(arg).unwrap_err().to_string();
            assert!(message.contains(reason), "{arg}: {message}");
        }
    }

    #[test]
    fn no_option_is_both_accepted_and_refused() {
        for (_, names) in REFUSED {
            assert!(names.iter().all(|name| !FLAGS.contains(name)));
        }
    }
}

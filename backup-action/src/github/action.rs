//! Renders action.yml and the tables of docs/ from data in the code, so that they cannot
//! drift: `cargo xtask codegen` writes them, `--check` compares. Pure.

use crate::check::{CheckId, Severity};
use crate::settings::Setting;

/// The outputs of the action: name and what it holds.
pub const OUTPUTS: &[(&str, &str)] = &[
    (
        "passed",
        "`true` only after the last check; `false` is written first. The only output to gate on.",
    ),
    (
        "status",
        "`passed`, `failed`, `error`, `interrupted` or `dry-run`.",
    ),
    (
        "failed-checks",
        "The checks that closed the gate, separated by commas.",
    ),
    ("receipt-key", "Key of the receipt in the store."),
    (
        "archive-key",
        "Key of the archive in the store, without the bucket.",
    ),
    ("manifest-key", "Key of the manifest in the store."),
    ("archive-sha256", "SHA-256 of the stored archive."),
    (
        "dump-sha256",
        "SHA-256 of the dump: what `gunzip -c archive | sha256sum` prints.",
    ),
    ("archive-size-bytes", "Size of the archive in bytes."),
    ("dump-size-bytes", "Size of the dump in bytes."),
    ("server-version", "Version of the PostgreSQL server."),
    ("client-version", "Version of pg_dumpall."),
    ("database-count", "How many databases are in the archive."),
    ("duration-seconds", "How long the run took, in seconds."),
    ("report-path", "The JSON report on the runner."),
    (
        "html-path",
        "The HTML report on the runner, for `actions/upload-artifact`.",
    ),
];

/// Inputs that the bootstrap reads: name, default, what it is.
const BOOTSTRAP_INPUTS: &[(&str, &str, &str)] = &[
    (
        "command",
        "gate",
        "The command to run: `gate`, `verify`, `drill`, `verify-receipt`, `annotate`, `prune`, `history` or `doctor`.",
    ),
    (
        "backup",
        "latest",
        "The backup that `verify` and `drill` read: `latest`, a key, or a UTC time.",
    ),
    (
        "bin-path",
        "",
        "A backup-action program on the runner, used as it is: for runners without a network.",
    ),
    (
        "verify-attestation",
        "auto",
        "Whether `gh` checks that this repository's release workflow built the program: `true` at every use, `false` never, `auto` for downloads where `gh` can. The SHA-256 is always checked.",
    ),
    (
        "download-base",
        "",
        "The address of a directory with copies of the released programs, instead of github.com; the SHA-256 is still checked.",
    ),
    (
        "download-timeout",
        "300",
        "How long the download of the program may take, in seconds.",
    ),
];

/// The exit codes: code, name, meaning.
pub const EXIT_CODES: &[(&str, &str, &str)] = &[
    ("0", "passed", "Every check passed. Only this opens a gate."),
    ("1", "failed", "A check failed: the gate is closed."),
    (
        "2",
        "usage",
        "A flag, variable or key of the configuration cannot be used.",
    ),
    (
        "3",
        "error",
        "Could not check: network, credentials, tools, or an internal error.",
    ),
    (
        "130, 143",
        "interrupted",
        "Ended by `SIGINT` or `SIGTERM` (129 and 131: `SIGHUP`, `SIGQUIT`). A backup exists only if its manifest was there already.",
    ),
];

/// The text of action.yml. Defaults stay empty there, so that an input that is not given does not
/// override the configuration file; the description names the default.
pub fn action_yml(settings: &[Setting]) -> String {
    let mut out = String::from(
        "# Made by `cargo xtask codegen` from backup-action/src/settings.rs and github/action.rs.\n\
         name: backup-action\n\
         author: backup-action\n\
         description: Blocks the deploy unless a complete, verified, restorable PostgreSQL backup is stored.\n\
         branding:\n  icon: shield\n  color: blue\n\
         \n\
         inputs:\n",
    );
    for (name, default, help) in BOOTSTRAP_INPUTS {
        push_input(&mut out, name, help, default);
    }
    for setting in inputs(settings) {
        push_input(
            &mut out,
            setting.name,
            &described(setting),
            setting.action_default,
        );
    }
    out.push_str("\noutputs:\n");
    for (name, help) in OUTPUTS {
        out.push_str(&format!(
            "  {name}:\n    description: {}\n    value: ${{{{ steps.run.outputs.{name} }}}}\n",
            quoted(help)
        ));
    }
    // `exec` twice: a cancelled workflow signals the first process of the step, and that has to be
    // the program, so that it aborts uploads in the few seconds it is given.
    out.push_str(
        "\nruns:\n  using: composite\n  steps:\n    - name: Run backup-action\n      id: run\n      shell: bash\n\
         \x20     run: exec bash \"$GITHUB_ACTION_PATH/action/bootstrap.sh\"\n      env:\n\
         \x20       BACKUP_ACTION_ACTION_REPOSITORY: ${{ github.action_repository }}\n\
         \x20       BACKUP_ACTION_ACTION_REF: ${{ github.action_ref }}\n",
    );
    for (name, _, _) in BOOTSTRAP_INPUTS {
        let env = format!("BACKUP_ACTION_{}", name.to_uppercase().replace('-', "_"));
        push_env(&mut out, &env, name);
    }
    for setting in inputs(settings) {
        push_env(&mut out, setting.env, setting.name);
    }
    out
}

/// The table of inputs.
pub fn readme_inputs(settings: &[Setting]) -> String {
    let mut out = String::from("| input | default | |\n|---|---|---|\n");
    for (name, default, help) in BOOTSTRAP_INPUTS {
        out.push_str(&format!(
            "| `{name}` | {} | {} |\n",
            code_or_nothing(default),
            cell(help)
        ));
    }
    for setting in inputs(settings) {
        out.push_str(&format!(
            "| `{}` | {} | {} |\n",
            setting.name,
            code_or_nothing(setting.default),
            cell(setting.help)
        ));
    }
    out
}

/// The table of outputs.
pub fn readme_outputs() -> String {
    let mut out = String::from("| output | |\n|---|---|\n");
    for (name, help) in OUTPUTS {
        out.push_str(&format!("| `{name}` | {} |\n", cell(help)));
    }
    out
}

/// The table of checks.
pub fn readme_checks() -> String {
    let mut out = String::from("| check | asks whether | step | a no |\n|---|---|---|---|\n");
    for check in CheckId::ALL {
        let no = match check.default_severity() {
            Severity::Block => "blocks",
            Severity::Warn => "warns",
        };
        out.push_str(&format!(
            "| `{}` | {} | {} | {no} |\n",
            check.id(),
            cell(check.question()),
            check.group().name()
        ));
    }
    out
}

/// The table of exit codes.
pub fn readme_exit_codes() -> String {
    let mut out = String::from("| exit code | | |\n|--:|---|---|\n");
    for (code, name, meaning) in EXIT_CODES {
        out.push_str(&format!("| {code} | {name} | {} |\n", cell(meaning)));
    }
    out
}

fn inputs(settings: &[Setting]) -> impl Iterator<Item = &Setting> {
    settings.iter().filter(|setting| setting.action)
}

fn described(setting: &Setting) -> String {
    let default = match (setting.default, setting.value) {
        ("", _) => String::new(),
        (default, _) => format!(" Default: `{default}`."),
    };
    let switch = if setting.value.is_empty() {
        " `true` or `false`."
    } else {
        ""
    };
    format!("{}{switch}{default}", setting.help)
}

fn push_input(out: &mut String, name: &str, help: &str, default: &str) {
    out.push_str(&format!(
        "  {name}:\n    description: {}\n    required: false\n    default: {}\n",
        quoted(help),
        quoted(default)
    ));
}

fn push_env(out: &mut String, env: &str, input: &str) {
    out.push_str(&format!("        {env}: ${{{{ inputs.{input} }}}}\n"));
}

/// A YAML string in single quotes, where only the quote itself has a meaning.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''").replace('\n', " "))
}

/// Our own Markdown in a table cell: only the pipe would end it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn code_or_nothing(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("`{}`", cell(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use expect_test::expect;

    const SETTINGS: &[Setting] = &[
        Setting {
            name: "database-url",
            env: "BACKUP_ACTION_DATABASE_URL",
            value: "URL",
            default: "",
            help: "Address of the cluster's server.",
            secret: true,
            action: true,
            action_default: "",
            list: false,
            commands: &["gate"],
        },
        Setting {
            name: "verify",
            env: "BACKUP_ACTION_VERIFY",
            value: "readback|checksum",
            default: "readback",
            help: "How stored bytes are verified: a | b.",
            secret: false,
            action: true,
            action_default: "",
            list: false,
            commands: &["gate"],
        },
        Setting {
            name: "dry-run",
            env: "BACKUP_ACTION_DRY_RUN",
            value: "",
            default: "",
            help: "Only the preflight.",
            secret: false,
            action: false,
            action_default: "",
            list: false,
            commands: &["gate"],
        },
    ];

    #[test]
    fn action_yml_passes_inputs_by_environment_only() {
        let text = action_yml(SETTINGS);
        expect![[r##"
            # Made by `cargo xtask codegen` from backup-action/src/settings.rs and github/action.rs.
            name: backup-action
            author: backup-action
            description: Blocks the deploy unless a complete, verified, restorable PostgreSQL backup is stored.
            branding:
              icon: shield
              color: blue

            inputs:
              command:
                description: 'The command to run: `gate`, `verify`, `drill`, `verify-receipt`, `annotate`, `prune`, `history` or `doctor`.'
                required: false
                default: 'gate'
              backup:
                description: 'The backup that `verify` and `drill` read: `latest`, a key, or a UTC time.'
                required: false
                default: 'latest'
              bin-path:
                description: 'A backup-action program on the runner, used as it is: for runners without a network.'
                required: false
                default: ''
              verify-attestation:
                description: 'Whether `gh` checks that this repository''s release workflow built the program: `true` at every use, `false` never, `auto` for downloads where `gh` can. The SHA-256 is always checked.'
                required: false
                default: 'auto'
              download-base:
                description: 'The address of a directory with copies of the released programs, instead of github.com; the SHA-256 is still checked.'
                required: false
                default: ''
              download-timeout:
                description: 'How long the download of the program may take, in seconds.'
                required: false
                default: '300'
              database-url:
                description: 'Address of the cluster''s server.'
                required: false
                default: ''
              verify:
                description: 'How stored bytes are verified: a | b. Default: `readback`.'
                required: false
                default: ''

            outputs:
              passed:
                description: '`true` only after the last check; `false` is written first. The only output to gate on.'
                value: ${{ steps.run.outputs.passed }}
              status:
                description: '`passed`, `failed`, `error`, `interrupted` or `dry-run`.'
                value: ${{ steps.run.outputs.status }}
              failed-checks:
                description: 'The checks that closed the gate, separated by commas.'
                value: ${{ steps.run.outputs.failed-checks }}
              receipt-key:
                description: 'Key of the receipt in the store.'
                value: ${{ steps.run.outputs.receipt-key }}
              archive-key:
                description: 'Key of the archive in the store, without the bucket.'
                value: ${{ steps.run.outputs.archive-key }}
              manifest-key:
                description: 'Key of the manifest in the store.'
                value: ${{ steps.run.outputs.manifest-key }}
              archive-sha256:
                description: 'SHA-256 of the stored archive.'
                value: ${{ steps.run.outputs.archive-sha256 }}
              dump-sha256:
                description: 'SHA-256 of the dump: what `gunzip -c archive | sha256sum` prints.'
                value: ${{ steps.run.outputs.dump-sha256 }}
              archive-size-bytes:
                description: 'Size of the archive in bytes.'
                value: ${{ steps.run.outputs.archive-size-bytes }}
              dump-size-bytes:
                description: 'Size of the dump in bytes.'
                value: ${{ steps.run.outputs.dump-size-bytes }}
              server-version:
                description: 'Version of the PostgreSQL server.'
                value: ${{ steps.run.outputs.server-version }}
              client-version:
                description: 'Version of pg_dumpall.'
                value: ${{ steps.run.outputs.client-version }}
              database-count:
                description: 'How many databases are in the archive.'
                value: ${{ steps.run.outputs.database-count }}
              duration-seconds:
                description: 'How long the run took, in seconds.'
                value: ${{ steps.run.outputs.duration-seconds }}
              report-path:
                description: 'The JSON report on the runner.'
                value: ${{ steps.run.outputs.report-path }}
              html-path:
                description: 'The HTML report on the runner, for `actions/upload-artifact`.'
                value: ${{ steps.run.outputs.html-path }}

            runs:
              using: composite
              steps:
                - name: Run backup-action
                  id: run
                  shell: bash
                  run: exec bash "$GITHUB_ACTION_PATH/action/bootstrap.sh"
                  env:
                    BACKUP_ACTION_ACTION_REPOSITORY: ${{ github.action_repository }}
                    BACKUP_ACTION_ACTION_REF: ${{ github.action_ref }}
                    BACKUP_ACTION_COMMAND: ${{ inputs.command }}
                    BACKUP_ACTION_BACKUP: ${{ inputs.backup }}
                    BACKUP_ACTION_BIN_PATH: ${{ inputs.bin-path }}
                    BACKUP_ACTION_VERIFY_ATTESTATION: ${{ inputs.verify-attestation }}
                    BACKUP_ACTION_DOWNLOAD_BASE: ${{ inputs.download-base }}
                    BACKUP_ACTION_DOWNLOAD_TIMEOUT: ${{ inputs.download-timeout }}
                    BACKUP_ACTION_DATABASE_URL: ${{ inputs.database-url }}
                    BACKUP_ACTION_VERIFY: ${{ inputs.verify }}
        "##]].assert_eq(&text);
        let run: Vec<_> = text.lines().filter(|line| line.contains("run: ")).collect();
        assert!(run.iter().all(|line| !line.contains("${{")), "{run:?}");
        assert!(!text.contains("uses:"));
    }

    #[test]
    fn tables_hold_one_row_each() {
        expect![[r#"
            | input | default | |
            |---|---|---|
            | `command` | `gate` | The command to run: `gate`, `verify`, `drill`, `verify-receipt`, `annotate`, `prune`, `history` or `doctor`. |
            | `backup` | `latest` | The backup that `verify` and `drill` read: `latest`, a key, or a UTC time. |
            | `bin-path` |  | A backup-action program on the runner, used as it is: for runners without a network. |
            | `verify-attestation` | `auto` | Whether `gh` checks that this repository's release workflow built the program: `true` at every use, `false` never, `auto` for downloads where `gh` can. The SHA-256 is always checked. |
            | `download-base` |  | The address of a directory with copies of the released programs, instead of github.com; the SHA-256 is still checked. |
            | `download-timeout` | `300` | How long the download of the program may take, in seconds. |
            | `database-url` |  | Address of the cluster's server. |
            | `verify` | `readback` | How stored bytes are verified: a \| b. |
        "#]].assert_eq(&readme_inputs(SETTINGS));
        assert_eq!(readme_outputs().lines().count(), 2 + OUTPUTS.len());
        assert_eq!(readme_checks().lines().count(), 2 + CheckId::ALL.len());
        assert!(
            readme_checks()
                .contains("| `dump-exit` | pg_dumpall ended with status 0. | dump | blocks |\n")
        );
        assert!(readme_exit_codes().contains("| 1 | failed |"));
    }

    /// `cargo xtask codegen` runs this with `UPDATE_EXPECT=1`, which writes the files.
    #[test]
    fn committed_files_are_what_the_code_says() {
        use crate::settings::SETTINGS;
        expect_test::expect_file!["../../../action.yml"].assert_eq(&action_yml(&SETTINGS));
        let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let filled = |name: &str, regions: &[(&str, String)]| {
            let text = std::fs::read_to_string(docs.join(name)).ok()?;
            Some(regions.iter().fold(text, |text, (region, content)| {
                replace_generated(&text, region, content).unwrap()
            }))
        };
        let regions = [
            ("inputs", readme_inputs(&SETTINGS)),
            ("outputs", readme_outputs()),
            ("exit-codes", readme_exit_codes()),
        ];
        // The published package has no docs.
        if let Some(text) = filled("reference.md", &regions) {
            expect_test::expect_file!["../../../docs/reference.md"].assert_eq(&text);
        }
        if let Some(text) = filled("checks.md", &[("checks", readme_checks())]) {
            expect_test::expect_file!["../../../docs/checks.md"].assert_eq(&text);
        }
    }

    #[test]
    fn a_region_is_replaced_and_nothing_else() {
        let text = "a\n<!-- generated:x -->\nold\n<!-- /generated -->\nb <!-- generated:y --><!-- /generated -->\n";
        let new = replace_generated(text, "x", "new\n").unwrap();
        assert_eq!(new, text.replace("old", "new"));
        assert_eq!(replace_generated(&new, "x", "new\n").unwrap(), new);
        assert!(replace_generated(text, "z", "").is_err());
        assert!(replace_generated("<!-- generated:x -->", "x", "").is_err());
    }

    /// Replaces what stands between `<!-- generated:REGION -->` and the next `<!-- /generated -->`.
    ///
    /// # Errors
    /// The region is not there, or has no end.
    fn replace_generated(text: &str, region: &str, content: &str) -> anyhow::Result<String> {
        const END: &str = "<!-- /generated -->";
        let start = format!("<!-- generated:{region} -->");
        let (before, rest) = text
            .split_once(&start)
            .with_context(|| format!("no line {start}"))?;
        let (_, after) = rest
            .split_once(END)
            .with_context(|| format!("no {END} behind {start}"))?;
        Ok(format!(
            "{before}{start}\n{}\n{END}{after}",
            content.trim_end()
        ))
    }
}

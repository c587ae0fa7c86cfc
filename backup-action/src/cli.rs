//! The command line: one clap command per command of the program, made from `settings`. Knows
//! nothing of what a value means; `config` does.

mod plain;

use crate::settings::{SETTINGS, Setting, heading, rank};
use clap::{Arg, ArgAction, ArgMatches, Command};

/// A command of the program.
pub struct CommandInfo {
    /// The word that is typed.
    pub name: &'static str,
    /// One line for the list of commands.
    pub about: &'static str,
    /// Examples and remarks below the options.
    pub after: &'static str,
    /// Whether it takes `[BACKUP]`.
    pub takes_backup: bool,
}

const BACKUP_HELP: &str = "latest, a key of `list`, or a UTC time such as 2026-01-18T02:00:01Z";

/// The commands, in the order in which a newcomer meets them.
pub const COMMANDS: &[CommandInfo] = &[
    CommandInfo {
        name: "gate",
        about: "Take a full backup, verify it, store it, and block the deploy unless all of it worked",
        after: "\
Examples:
  backup-action gate --database-url postgres://backup@db:5432/postgres --local /var/backups/pg
  backup-action gate --remote s3://company-backups/nostromo --check client-patched=block
  backup-action gate --sudo-user postgres --local /backup --output json
  backup-action gate --remote s3://company-backups/nostromo --dry-run     only the checks before the dump

A backup exists once its manifest exists; the manifest is written last.
Exit codes: 0 passed, 1 a check failed, 2 usage or configuration, 3 could not check,
129/130/131/143 interrupted.
Only 0 opens the gate.",
        takes_backup: false,
    },
    CommandInfo {
        name: "verify",
        about: "Read a stored backup back, every byte, against its manifest",
        after: "\
Examples:
  backup-action verify --local /var/backups/pg
  backup-action verify --remote s3://company-backups/nostromo 2026-01-18T02:00:01Z
  backup-action verify some/dump.sql.gz          a file without a manifest: gzip, structure, trailer",
        takes_backup: true,
    },
    CommandInfo {
        name: "list",
        about: "List the backups of the stores",
        after: "\
Examples:
  backup-action list --local /var/backups/pg
  backup-action list --remote s3://company-backups/nostromo --output json

Only what has a manifest is a backup. Other objects are counted, never listed as backups.",
        takes_backup: false,
    },
    CommandInfo {
        name: "history",
        about: "Show sizes over time, growth, restore times and failed runs; as text, JSON or an HTML page",
        after: "\
Examples:
  backup-action history --local /var/backups/pg
  backup-action history --remote s3://company-backups/nostromo --since 90d --html history.html
  backup-action history --local /var/backups/pg --database nostromo --schema tenant_empresa_3 --output json

Reads manifests and receipts only, no database and no archive. A backup that lies in both stores
is counted once; clusters that share a prefix are shown apart.",
        takes_backup: false,
    },
    CommandInfo {
        name: "show",
        about: "Show what is inside a backup: databases, schemas, tables, rows, bytes",
        after: "\
Examples:
  backup-action show --local /var/backups/pg
  backup-action show --remote s3://company-backups/nostromo --database nostromo --schema tenant_empresa_3",
        takes_backup: true,
    },
    CommandInfo {
        name: "extract",
        about: "Print the SQL of one database, schema or table, reading only the ranges it needs",
        after: "\
Examples:
  backup-action extract --local /var/backups/pg --database nostromo --schema tenant_empresa_3 > tenant.sql
  backup-action extract --remote s3://company-backups/nostromo --schema central --table tenants | less
  backup-action extract --local /var/backups/pg > all.sql          the whole dump, as pg_dumpall wrote it

The SQL of a database, schema or table starts with the session settings that it needs and goes
into an existing database: `backup-action extract … | psql -X -v ON_ERROR_STOP=1 -1 -d target`.",
        takes_backup: true,
    },
    CommandInfo {
        name: "restore",
        about: "Restore a whole cluster, one database, or one schema out of a full backup",
        after: "\
Examples:
  backup-action restore --local /var/backups/pg --into postgres://postgres@newhost/postgres
        the whole cluster into an empty one
  backup-action restore --remote s3://company-backups/nostromo --schema tenant_empresa_3 --plan
        what would happen, with sizes; nothing is changed
  backup-action restore --remote s3://company-backups/nostromo --schema tenant_empresa_3 \\
        --before 'systemctl stop nostromo' --after 'systemctl start nostromo'
        one tenant, in one transaction: if it fails the old tenant is untouched
  backup-action restore --local /var/backups/pg --database nostromo --swap
        beside the old database, proved, then the names are swapped
  backup-action restore some/dump.sql.gz --database nostromo

Without --database and --schema the whole cluster is restored, into an empty one only.
Nothing that exists is replaced without --yes or an answer on the terminal.",
        takes_backup: true,
    },
    CommandInfo {
        name: "drill",
        about: "Restore a backup into a throw-away cluster and prove that what came back is what went in",
        after: "\
Examples:
  backup-action drill --remote s3://company-backups/nostromo
  backup-action drill --local /var/backups/pg --engine local --max-restore-time 30m
  backup-action drill 2026-01-18T02:00:01Z --local /var/backups/pg --engine docker --image postgis/postgis:15-3.5
  backup-action drill --local /var/backups/pg --schema-only      seconds, for a pull request; never counts as a drill

Production is not touched. Questions about the data, and defects that are known, stand in the
configuration file as [[drill.question]] and [[drill.acknowledge]].",
        takes_backup: true,
    },
    CommandInfo {
        name: "verify-receipt",
        about: "First step of a deploy job: the gate's receipt is genuine, recent, and its archive still there",
        after: "\
Examples:
  backup-action verify-receipt --remote s3://company-backups/nostromo
  backup-action verify-receipt --remote s3://company-backups/nostromo --receipt receipts/gate/….json --max-receipt-age 30m

In a workflow the repository and the commit come from GITHUB_REPOSITORY and GITHUB_SHA.",
        takes_backup: false,
    },
    CommandInfo {
        name: "notify",
        about: "Try the alerts: send one sample, marked TEST, through each configured channel",
        after: "\
Examples:
  BACKUP_ACTION_SLACK_WEBHOOK_URL=https://hooks.slack.com/services/… backup-action notify --test
  BACKUP_ACTION_SMTP_URL=smtps://user:password@mail.example.org backup-action notify --test --email-to ops@example.org
  backup-action notify --test --output json

Addresses that hold secrets are best given by environment variables.
Exit codes: 0 every channel took it, 1 one did not, 2 no channel is configured.",
        takes_backup: false,
    },
    CommandInfo {
        name: "annotate",
        about: "Comment on a pull request: backup sizes against its base, and what its SQL files touch",
        after: "\
Examples:
  backup-action annotate --remote s3://company-backups/nostromo            in a workflow on pull_request
  backup-action annotate --local /var/backups/pg --dry-run                 print the comment, post nothing
  backup-action annotate --remote s3://company-backups/nostromo --comment-key nostromo --migration-path 'db/**/*.sql'

Reads manifests and receipts, never the database. Needs the permission pull-requests: write; without
it, as for a fork, the job summary and the annotations say the same.
It has no verdict. Exit codes: 0 also when GitHub refuses or does not answer (a warning says so),
2 usage or configuration, 3 a store cannot be read.",
        takes_backup: false,
    },
    CommandInfo {
        name: "prune",
        about: "Archive each month's first backup, and delete what is too old; a gate does the same at its end",
        after: "\
Examples:
  backup-action prune --local /var/backups/pg --remote s3://company-backups/nostromo --dry-run
        the plan, with a reason for each backup; nothing is deleted
  backup-action prune --remote s3://company-backups/nostromo --retention-remote 60d --retention-archive 2y
  backup-action prune --remote s3://company-backups/shared --cluster nostromo-prod

The newest backups of each tier stay, whatever their age. Ages come from the manifests; when clocks
disagree, nothing is deleted. In the configuration file: [retention] with local = \"7d\", remote = \"30d\",
archive = \"1y\".",
        takes_backup: false,
    },
    CommandInfo {
        name: "doctor",
        about: "Look at the stores, or for holes in the workflows; say what to change",
        after: "\
Examples:
  backup-action doctor --remote s3://company-backups/nostromo
        rights, clocks, versions, object lock, lifecycle rules
  backup-action doctor --workflow .github/workflows
        jobs that deploy without the gate, gates that cannot say no, drills that can stop unnoticed
  backup-action doctor --remote s3://company-backups/nostromo --retention-mode lifecycle --output json | jq .lifecycle
        rules for aws s3api put-bucket-lifecycle-configuration --lifecycle-configuration

Exit codes: 0 nothing to change, 1 something to change, 2 a file is no workflow, 3 a store could not
be asked.",
        takes_backup: false,
    },
];

/// The hidden command that prints what is generated from the lists in the code.
pub const INTERNALS: &str = "internals";

/// The whole command line.
pub fn command() -> Command {
    Command::new("backup-action")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Blocks a deploy unless a complete, verified, restorable backup of the PostgreSQL cluster is stored")
        .after_help("Every setting can be a flag, an environment variable or a key of .github/backup-action.toml, in that order of precedence.\nStart with: backup-action init, or backup-action gate --help")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(COMMANDS.iter().map(subcommand))
        .subcommands(plain::commands())
}

/// The command line as people are told of it: for manual pages and completions.
pub fn visible() -> Command {
    let shown = command();
    let subcommands: Vec<Command> = shown
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .cloned()
        .collect();
    Command::new("backup-action")
        .version(env!("CARGO_PKG_VERSION"))
        .about(shown.get_about().cloned().unwrap_or_default())
        .subcommand_required(true)
        .subcommands(subcommands)
}

fn subcommand(info: &'static CommandInfo) -> Command {
    let mut command = Command::new(info.name)
        .about(info.about)
        .after_help(format!(
            "Examples and every option: backup-action {} --help",
            info.name
        ))
        .after_long_help(info.after);
    if info.takes_backup {
        command = command.arg(
            Arg::new("backup")
                .value_name("BACKUP")
                .help(match info.name {
                    "verify" | "restore" | "drill" => {
                        format!("{BACKUP_HELP}; or a file [default: latest]")
                    }
                    _ => format!("{BACKUP_HELP} [default: latest]"),
                }),
        );
    }
    // clap shows headings in the order in which they first appear.
    let mut settings: Vec<&Setting> = settings_of(info.name).collect();
    settings.sort_by_key(|setting| rank(setting.name));
    command.args(settings.into_iter().map(argument))
}

/// The settings that a command takes.
pub fn settings_of(command: &str) -> impl Iterator<Item = &'static Setting> {
    SETTINGS
        .iter()
        .filter(move |setting| setting.is_of(command))
}

fn argument(setting: &'static Setting) -> Arg {
    let default = match setting.default {
        "" => String::new(),
        default => format!(" [default: {default}]"),
    };
    let arg = Arg::new(setting.name)
        .long(setting.name)
        .help(format!("{}{default}", setting.help))
        .long_help(format!("{}{default} [env: {}]", setting.help, setting.env));
    let (heading, is_short) = heading(setting.name);
    let arg = arg.help_heading(heading).hide_short_help(!is_short);
    match (setting.value, setting.list) {
        // A switch also takes `--switch=false`, so that a flag can overrule the file.
        ("", _) => arg
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_parser(["true", "false"])
            .value_name("true|false")
            .hide_possible_values(true),
        (value, true) => arg.value_name(value).action(ArgAction::Append),
        (value, false) => arg.value_name(value),
    }
}

/// The values given on the command line for a setting, in order.
pub fn given(matches: &ArgMatches, setting: &Setting) -> Option<Vec<String>> {
    if matches.value_source(setting.name) != Some(clap::parser::ValueSource::CommandLine) {
        return None;
    }
    matches
        .get_many::<String>(setting.name)
        .map(|values| values.cloned().collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_well_formed() {
        super::command().debug_assert();
        super::visible().debug_assert();
    }

    #[test]
    fn every_command_has_examples_and_a_short_help_that_is_shorter() {
        for command in super::command().get_subcommands_mut() {
            if command.is_hide_set() {
                continue;
            }
            let name = command.get_name().to_owned();
            let (short, long) = (
                command.render_help().to_string(),
                command.render_long_help().to_string(),
            );
            assert!(long.contains("Examples:\n  "), "{name}");
            assert!(long.contains(&format!("backup-action {name}")), "{name}");
            assert!(short.len() < long.len(), "{name}");
            assert!(!short.contains("BACKUP_ACTION_"), "{name}");
        }
    }

    #[test]
    fn options_of_a_gate_stand_under_headings() {
        let command = super::command();
        let gate = command.find_subcommand("gate").unwrap();
        let loose: Vec<&str> = gate
            .get_arguments()
            .filter(|arg| arg.get_help_heading().is_none())
            .map(|arg| arg.get_id().as_str())
            .collect();
        assert_eq!(loose, Vec::<&str>::new());
        let long = gate.clone().render_long_help().to_string();
        let places: Vec<usize> = ["Database:", "Stores:", "Checks:", "Alerts:", "Output:"]
            .iter()
            .map(|heading| long.find(&format!("\n{heading}\n")).expect(heading))
            .collect();
        assert!(places.is_sorted(), "{places:?}");
        let short = gate.clone().render_help().to_string();
        assert!(short.contains("--remote") && !short.contains("--webhook-secret"));
    }
}

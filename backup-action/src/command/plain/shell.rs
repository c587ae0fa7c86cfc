//! `completions` and `man`: what clap's own generators make of the command line.

use crate::cli;
use crate::command::{ExitStatus, print};
use crate::error::Usage;
use anyhow::Context as _;
use clap::{ArgMatches, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use std::io::Write as _;
use std::path::Path;

/// Prints the completions of a shell.
pub(super) fn completions(matches: &ArgMatches) -> anyhow::Result<ExitStatus> {
    let shell = match matches.get_one::<String>("shell").map(String::as_str) {
        Some("zsh") => Shell::Zsh,
        Some("fish") => Shell::Fish,
        _ => Shell::Bash,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli::visible(), "backup-action", &mut script);
    let script = String::from_utf8(script).context("could not make the completions")?;
    // clap_complete 4.6.11 takes the hyphen of our name for the start of a command in one place of
    // two, so that bash would complete no option. The test of bash says when this can go.
    print(&script.replace("backup__subcmd__action", "backup__action"))?;
    Ok(ExitStatus::PASSED)
}

/// Prints a manual page, or writes all of them.
pub(super) fn man(matches: &ArgMatches) -> anyhow::Result<ExitStatus> {
    let all = cli::visible();
    if let Some(dir) = matches.get_one::<String>("dir").map(Path::new) {
        std::fs::create_dir_all(dir)
            .with_context(|| format!("could not make directory {}", dir.display()))?;
        write(dir, "backup-action", &page(&all, None)?)?;
        for command in all.get_subcommands() {
            let name = format!("backup-action-{}", command.get_name());
            write(dir, &name, &page(command, Some(&name))?)?;
        }
        return Ok(ExitStatus::PASSED);
    }
    let text = match matches.get_one::<String>("command") {
        None => page(&all, None)?,
        Some(wanted) => {
            let Some(command) = all.find_subcommand(wanted) else {
                return Err(Usage::new(format!("unknown command \"{wanted}\""))
                    .hint("See `backup-action --help` for the commands.")
                    .into());
            };
            page(command, Some(&format!("backup-action-{wanted}")))?
        }
    };
    print(&text)?;
    Ok(ExitStatus::PASSED)
}

fn write(dir: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let path = dir.join(format!("{name}.1"));
    std::fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))
}

/// One page. Examples keep their lines, so they are not left to the generator.
fn page(command: &Command, name: Option<&str>) -> anyhow::Result<String> {
    let mut shown = command.clone();
    if let Some(name) = name {
        shown =
            shown
                .display_name(name)
                .bin_name(name.replacen("backup-action-", "backup-action ", 1));
    }
    let examples = command.get_after_long_help().map(ToString::to_string);
    let man = Man::new(shown)
        .section("1")
        .manual("backup-action")
        .source(concat!("backup-action ", env!("CARGO_PKG_VERSION")));
    let mut out = Vec::new();
    let mut render = || -> std::io::Result<()> {
        man.render_title(&mut out)?;
        man.render_name_section(&mut out)?;
        man.render_synopsis_section(&mut out)?;
        man.render_description_section(&mut out)?;
        man.render_options_section(&mut out)?;
        if command.has_subcommands() {
            writeln!(out, ".SH COMMANDS")?;
            for command in command.get_subcommands() {
                let about = command
                    .get_about()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                let name = command.get_name();
                writeln!(
                    out,
                    ".TP\n\\fBbackup\\-action\\-{}\\fR(1)\n{}",
                    roff(name),
                    roff(&about)
                )?;
            }
        }
        if let Some(examples) = &examples {
            let examples = examples.strip_prefix("Examples:\n").unwrap_or(examples);
            writeln!(out, ".SH EXAMPLES\n.nf")?;
            for line in examples.lines() {
                writeln!(out, "{}", roff(line))?;
            }
            writeln!(out, ".fi")?;
        }
        Ok(())
    };
    render().context("could not make the manual page")?;
    String::from_utf8(out).context("could not make the manual page")
}

/// Text that groff shows as it is.
fn roff(line: &str) -> String {
    let line = line
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq");
    match line.starts_with('.') {
        true => format!("\\&{line}"),
        false => line,
    }
}

//! `cargo xtask codegen`: files that are written from the code, so that they cannot disagree with
//! it: action.yml, and the tables of docs/. The text comes from the binary's hidden
//! subcommand `internals`; here it is put in its place.

use crate::gate::{self, Profile};
use crate::{paths, proc};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// Write, or compare.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only say what would change
    #[arg(long)]
    check: bool,
}

/// The documents with tables from the code, and their regions: `<!-- generated:NAME -->` to
/// `<!-- /generated -->`.
const DOCUMENTS: &[(&str, &[&str])] = &[
    ("docs/reference.md", &["inputs", "outputs", "exit-codes"]),
    ("docs/checks.md", &["checks"]),
];

/// A file with the text that it should have.
struct Wanted {
    name: &'static str,
    text: String,
}

/// Writes the files, or with `--check` fails when one would change.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.check {
        let stale = stale()?;
        for name in &stale {
            println!("{name} is not what the code says; run `cargo xtask codegen`");
        }
        return Ok(if stale.is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        });
    }
    for wanted in wanted()? {
        if wanted.is_stale()? {
            let path = paths::root().join(wanted.name);
            fs::write(&path, &wanted.text)
                .with_context(|| format!("could not write {}", path.display()))?;
            println!("wrote {}", wanted.name);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The names of the files that would change.
pub(crate) fn stale() -> Result<Vec<&'static str>> {
    let mut stale = Vec::new();
    for wanted in wanted()? {
        if wanted.is_stale()? {
            stale.push(wanted.name);
        }
    }
    Ok(stale)
}

impl Wanted {
    fn is_stale(&self) -> Result<bool> {
        let path = paths::root().join(self.name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text != self.text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(error).with_context(|| format!("could not read {}", path.display())),
        }
    }
}

fn wanted() -> Result<Vec<Wanted>> {
    let program = gate::build(Profile::Dev)?;
    let mut wanted = vec![Wanted {
        name: "action.yml",
        text: internals(&program, &["action-yml"])?,
    }];
    for (name, regions) in DOCUMENTS {
        let path = paths::root().join(name);
        let mut text = fs::read_to_string(&path)
            .with_context(|| format!("could not read {}", path.display()))?;
        for region in *regions {
            let content = internals(&program, &["readme", region])?;
            text = replace_region(&text, region, &content).with_context(|| format!("in {name}"))?;
        }
        wanted.push(Wanted { name, text });
    }
    Ok(wanted)
}

fn internals(program: &Path, args: &[&str]) -> Result<String> {
    let text = proc::read(proc::command(program).arg("internals").args(args))
        .with_context(|| format!("could not generate {}", args.join(" ")))?;
    ensure!(
        !text.trim().is_empty(),
        "the binary printed nothing for {}",
        args.join(" ")
    );
    Ok(text)
}

/// `document` with the text between the markers of `region` replaced.
fn replace_region(document: &str, region: &str, text: &str) -> Result<String> {
    let open = format!("<!-- generated:{region} -->\n");
    let close = "<!-- /generated -->";
    let missing = || format!("there is no region {}", open.trim());
    let (before, rest) = document.split_once(&open).with_context(missing)?;
    ensure!(
        !rest.contains(&open),
        "the region {} is there twice",
        open.trim()
    );
    let (_, after) = rest
        .split_once(close)
        .with_context(|| format!("the region {} does not end with {close}", open.trim()))?;
    Ok(format!("{before}{open}{}\n{close}{after}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_region_changes() {
        let old = "a\n<!-- generated:x -->\nold\n<!-- /generated -->\nb\n<!-- generated:y -->\n<!-- /generated -->\n";
        let new = replace_region(old, "x", "new\n\n").unwrap();
        let expected = "a\n<!-- generated:x -->\nnew\n<!-- /generated -->\nb\n<!-- generated:y -->\n<!-- /generated -->\n";
        assert_eq!(new, expected);
        assert_eq!(replace_region(&new, "x", "new").unwrap(), new);
    }

    #[test]
    fn a_region_must_be_there_once() {
        assert!(replace_region("nothing", "x", "new").is_err());
        assert!(replace_region("<!-- generated:x -->\nopen", "x", "new").is_err());
        let twice = "<!-- generated:x -->\n<!-- /generated -->\n".repeat(2);
        assert!(replace_region(&twice, "x", "new").is_err());
    }
}

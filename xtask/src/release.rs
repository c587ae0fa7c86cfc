//! `cargo xtask release`: support/release.json, which names the programs that the action downloads,
//! and the rules that a release has to keep.
//!
//! The file holds the SHA-256 of programs that are built from the commit before it: commit A is
//! built, commit B adds the file and nothing else, and the tag is put on B. As builds are
//! reproducible, the release workflow builds B and gets the same bytes.

use crate::{dist, paths};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;
use xshell::{Shell, cmd};

/// Write the file, or check a release.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write support/release.json for the programs in dist/
    #[arg(long, conflicts_with = "check")]
    write: bool,
    /// Check that what is checked out can be released as it is
    #[arg(long)]
    check: bool,
    /// The tag, with --check; without it, the tag of the commit
    #[arg(long, value_name = "TAG", requires = "check")]
    tag: Option<String>,
}

/// What a release has a program for.
pub(crate) const TARGETS: [&str; 4] = [
    "x86_64-unknown-linux-musl",
    "aarch64-unknown-linux-musl",
    "x86_64-apple-darwin",
    "aarch64-apple-darwin",
];

const FILE: &str = "support/release.json";
const REPOSITORY: &str = "backup-action/backup-action";

/// A program that can be downloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asset {
    target: String,
    sha256: String,
    url: String,
}

/// support/release.json. Before the first release, version and assets are empty.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Manifest {
    version: String,
    repository: String,
    assets: Vec<Asset>,
}

impl Manifest {
    /// The text. action/bootstrap.sh reads it line by line.
    fn render(&self) -> String {
        let assets: Vec<String> = self
            .assets
            .iter()
            .map(|asset| {
                format!(
                    "    {{ \"target\": \"{}\", \"sha256\": \"{}\", \"url\": \"{}\" }}",
                    asset.target, asset.sha256, asset.url
                )
            })
            .collect();
        let end = if assets.is_empty() { "" } else { "\n" };
        format!(
            "{{\n  \"version\": \"{}\",\n  \"repository\": \"{}\",\n  \"assets\": [\n{}{end}  ]\n}}\n",
            self.version,
            self.repository,
            assets.join(",\n")
        )
    }

    /// Reads exactly what `render` writes.
    fn parse(text: &str) -> Result<Manifest> {
        let mut manifest = Manifest {
            version: String::new(),
            repository: String::new(),
            assets: Vec::new(),
        };
        for line in text.lines() {
            let parts: Vec<&str> = line.split('"').collect();
            match parts[..] {
                [_, "version", _, version, _] => manifest.version = version.to_owned(),
                [_, "repository", _, name, _] => manifest.repository = name.to_owned(),
                [
                    _,
                    "target",
                    _,
                    target,
                    _,
                    "sha256",
                    _,
                    sha256,
                    _,
                    "url",
                    _,
                    url,
                    _,
                ] => {
                    manifest.assets.push(Asset {
                        target: target.to_owned(),
                        sha256: sha256.to_owned(),
                        url: url.to_owned(),
                    });
                }
                _ => {}
            }
        }
        ensure!(
            manifest.render() == text,
            "{FILE} is not in the form that `cargo xtask release --write` gives it"
        );
        Ok(manifest)
    }
}

/// What is known when a release is checked.
struct Facts {
    /// Of Cargo.toml.
    version: String,
    changelog: String,
    manifest: Manifest,
    tag: String,
    /// SHA-256 of the programs in dist/, by name.
    built: BTreeMap<String, String>,
    /// The files that the commit changed.
    changed: Vec<String>,
    /// What git calls changed or unknown.
    unclean: String,
}

/// Writes or checks.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let sh = Shell::new()?;
    sh.change_dir(paths::root());
    if args.write {
        let manifest = released(&dist::version()?, &dist::built()?)?;
        let path = paths::root().join(FILE);
        fs::write(&path, manifest.render())
            .with_context(|| format!("could not write {}", path.display()))?;
        println!(
            "wrote {FILE}; commit it alone, and put the tag v{} on that commit",
            manifest.version
        );
        return Ok(ExitCode::SUCCESS);
    }
    ensure!(args.check, "say --write or --check");
    let problems = problems(&facts(&sh, args.tag.clone())?);
    for problem in &problems {
        println!("{problem}");
    }
    if problems.is_empty() {
        println!("this can be released");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

fn facts(sh: &Shell, tag: Option<String>) -> Result<Facts> {
    let read = |name: &str| {
        fs::read_to_string(paths::root().join(name))
            .with_context(|| format!("could not read {name}"))
    };
    let tag = match tag {
        Some(tag) => tag,
        None => cmd!(sh, "git tag --points-at HEAD").quiet().read()?,
    };
    let changed = cmd!(sh, "git diff --name-only HEAD^ HEAD").quiet().read()?;
    Ok(Facts {
        version: dist::version()?,
        changelog: read("CHANGELOG.md")?,
        manifest: Manifest::parse(&read(FILE)?)?,
        tag,
        built: dist::built()?,
        changed: changed.lines().map(str::to_owned).collect(),
        unclean: cmd!(sh, "git status --porcelain").quiet().read()?,
    })
}

/// The file for the programs of dist/.
fn released(version: &str, built: &BTreeMap<String, String>) -> Result<Manifest> {
    let assets = TARGETS.map(|target| {
        let name = dist::program_name(version, target);
        let sha256 = built.get(&name).with_context(|| {
            format!("no {name} in dist/; build it with `cargo xtask dist --target {target}`")
        })?;
        Ok(Asset {
            target: target.to_owned(),
            sha256: sha256.clone(),
            url: format!("https://github.com/{REPOSITORY}/releases/download/v{version}/{name}"),
        })
    });
    if version.is_empty() {
        bail!("a release has a version");
    }
    Ok(Manifest {
        version: version.to_owned(),
        repository: REPOSITORY.to_owned(),
        assets: assets.into_iter().collect::<Result<_>>()?,
    })
}

/// What speaks against a release; nothing when it is good.
fn problems(facts: &Facts) -> Vec<String> {
    let mut problems = Vec::new();
    let version = &facts.version;
    if facts.tag != format!("v{version}") {
        problems.push(format!(
            "the tag is \"{}\", and Cargo.toml says {version}",
            facts.tag
        ));
    }
    let heading = |line: &str| {
        let rest = line.strip_prefix("## ").unwrap_or_default();
        let rest = rest.strip_prefix('[').unwrap_or(rest);
        let after = rest.strip_prefix(version.as_str());
        after.is_some_and(|after| after.is_empty() || after.starts_with([']', ' ']))
    };
    if !facts.changelog.lines().any(heading) {
        problems.push(format!("CHANGELOG.md has no heading \"## {version}\""));
    }
    match released(version, &facts.built) {
        Err(error) => problems.push(format!("{error:#}")),
        Ok(right) if right != facts.manifest => problems.push(format!(
            "{FILE} is not that of the programs in dist/; it should be:\n{}",
            right.render()
        )),
        Ok(_) => {}
    }
    if facts.changed != [FILE] {
        problems.push(format!(
            "the commit must change {FILE} alone, so that its programs are those of the commit before it; it changes: {}",
            facts.changed.join(", ")
        ));
    }
    if !facts.unclean.is_empty() {
        problems.push(format!("not everything is committed:\n{}", facts.unclean));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built() -> BTreeMap<String, String> {
        TARGETS
            .iter()
            .enumerate()
            .map(|(n, target)| (dist::program_name("1.2.3", target), format!("{n:064}")))
            .collect()
    }

    fn good() -> Facts {
        Facts {
            version: "1.2.3".to_owned(),
            changelog: "# Changelog\n\n## Unreleased\n\n## 1.2.3 - 2026-11-24\n".to_owned(),
            manifest: released("1.2.3", &built()).unwrap(),
            tag: "v1.2.3".to_owned(),
            built: built(),
            changed: vec![FILE.to_owned()],
            unclean: String::new(),
        }
    }

    #[test]
    fn the_file_is_read_as_it_is_written() {
        let manifest = good().manifest;
        assert_eq!(manifest.assets.len(), 4);
        assert_eq!(Manifest::parse(&manifest.render()).unwrap(), manifest);
        let shuffled = manifest.render().replace("sha256", "sha1");
        assert!(Manifest::parse(&shuffled).is_err());
        let text = fs::read_to_string(paths::root().join(FILE)).unwrap();
        let committed = Manifest::parse(&text).unwrap();
        assert_eq!(committed.repository, REPOSITORY);
    }

    #[test]
    fn a_good_release_has_no_problem() {
        assert_eq!(problems(&good()), Vec::<String>::new());
        let mut bracketed = good();
        bracketed.changelog = "## [1.2.3] - 2026-11-24".to_owned();
        assert_eq!(problems(&bracketed), Vec::<String>::new());
    }

    #[test]
    fn every_rule_is_kept() {
        type Break = fn(&mut Facts);
        let breaks: &[(Break, &str)] = &[
            (
                |facts| facts.tag = "v1.2.4".to_owned(),
                "the tag is \"v1.2.4\"",
            ),
            (|facts| facts.tag.clear(), "the tag is \"\""),
            (
                |facts| facts.changelog = "## 1.2.30\n## 1.2\n".to_owned(),
                "CHANGELOG.md",
            ),
            (
                |facts| facts.manifest.assets[2].sha256 = "f".repeat(64),
                "not that of the programs",
            ),
            (
                |facts| facts.manifest.assets[0].url += "x",
                "not that of the programs",
            ),
            (
                |facts| facts.manifest.version = "1.2.2".to_owned(),
                "not that of the programs",
            ),
            (
                |facts| facts.manifest.assets.truncate(3),
                "not that of the programs",
            ),
            (
                |facts| facts.built = BTreeMap::new(),
                "no backup-action-1.2.3-x86_64",
            ),
            (
                |facts| facts.changed.push("src/main.rs".to_owned()),
                "src/main.rs",
            ),
            (
                |facts| facts.changed.clear(),
                "must change support/release.json alone",
            ),
            (
                |facts| facts.unclean = " M x".to_owned(),
                "not everything is committed",
            ),
        ];
        for (number, (change, reason)) in breaks.iter().enumerate() {
            let mut facts = good();
            change(&mut facts);
            let found = problems(&facts);
            assert!(
                found.len() == 1 && found[0].contains(reason),
                "{number}: {found:?}"
            );
        }
    }
}

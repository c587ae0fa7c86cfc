//! What docker is asked to run in a container. Arguments only; nothing is started here.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where a child runs that runs in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// docker's command line.
    pub docker: PathBuf,
    /// The container's name.
    pub container: String,
    /// Name or number of a user of the image.
    pub user: String,
}

impl Inside {
    /// The arguments of `docker exec`. Variables are named, and docker takes their values from its
    /// own environment: so no secret is an argument.
    pub(super) fn exec<'a>(
        &self,
        program: &Path,
        args: &[OsString],
        cwd: Option<&Path>,
        variables: impl Iterator<Item = &'a OsStr>,
    ) -> Vec<OsString> {
        let mut all: Vec<OsString> = ["exec", "-i", "-u", &self.user, "-w"]
            .map(Into::into)
            .into();
        all.push(cwd.unwrap_or(Path::new("/")).into());
        for variable in variables {
            all.push("-e".into());
            all.push(variable.into());
        }
        all.push(self.container.clone().into());
        let words = || std::iter::once(program.as_os_str()).chain(args.iter().map(AsRef::as_ref));
        // docker sends arguments as JSON, which holds no bytes that are not UTF-8.
        if words().all(|word| word.to_str().is_some()) {
            all.extend(words().map(OsStr::to_owned));
        } else {
            all.extend(["sh", "-c"].map(OsString::from));
            all.push(script(words()).into());
        }
        all
    }
}

/// A script that becomes the program with these words, any bytes. A substitution drops line breaks
/// at its end, which the `x` keeps.
fn script<'a>(words: impl Iterator<Item = &'a OsStr>) -> String {
    let mut script = String::from("set --\n");
    for word in words {
        let octal: String = word
            .as_bytes()
            .iter()
            .map(|byte| format!("\\{byte:03o}"))
            .collect();
        script.push_str(&format!(
            "word=$(printf '{octal}x'); set -- \"$@\" \"${{word%x}}\"\n"
        ));
    }
    script.push_str("exec \"$@\"\n");
    script
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "sh is asked what it makes of it")]
    fn a_script_hands_on_any_bytes() {
        let words: Vec<OsString> = [
            &b"printf"[..],
            b"[%s]",
            b"caf\xe9 '\"$(echo no)\\n",
            b"",
            b"two\nlines\n\n",
            b"%s\\x",
        ]
        .map(|word| OsString::from_vec(word.to_vec()))
        .into();
        let script = script(words.iter().map(AsRef::as_ref));
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .env("LC_ALL", "C")
            .output()
            .unwrap();
        assert_eq!(
            output.stdout,
            b"[caf\xe9 '\"$(echo no)\\n][][two\nlines\n\n][%s\\x]"
        );
    }

    #[test]
    fn text_goes_as_it_is() {
        let inside = Inside {
            docker: "docker".into(),
            container: "c".to_owned(),
            user: "999".to_owned(),
        };
        let args = inside.exec(
            Path::new("psql"),
            &["-c".into(), "é".into()],
            None,
            [OsStr::new("PGUSER")].into_iter(),
        );
        let wanted = [
            "exec", "-i", "-u", "999", "-w", "/", "-e", "PGUSER", "c", "psql", "-c", "é",
        ];
        assert_eq!(args, wanted.map(OsString::from));
    }
}

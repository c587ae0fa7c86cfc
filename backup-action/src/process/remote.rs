//! What ssh is asked to run on another machine. Arguments only; nothing is started here.
//!
//! ssh joins its arguments to one text and gives it to the login shell there, whichever that is. So
//! that text is a constant, behind it words of letters, digits and octal numbers in single quotes:
//! nothing in an argument means anything to a shell. Secrets are no arguments at all; they come on
//! standard input, before whatever the program itself reads.

use crate::secret::Secret;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Where a child runs that runs on another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// ssh.
    pub ssh: PathBuf,
    /// Its options, without the destination.
    pub options: Vec<OsString>,
    /// The host, as ssh is told it.
    pub host: String,
    /// The user of the operating system there, when it is not the one who logs in.
    pub sudo: Option<String>,
}

/// Runs `env` with its words: first decodes them, then reads as many secrets as it is told. The
/// `x` keeps line breaks at the end, which a substitution drops. It holds no quote, backslash or
/// exclamation mark, so that every login shell hands it on as it is.
const DECODE: &str = "s=$1; shift; \
    for w do shift; w=$(printf %bx \"$w\"); set -- \"$@\" \"${w%x}\"; done; \
    while [ \"$s\" -gt 0 ]; do IFS= read -r w || exit 1; \
    w=$(printf %bx \"$w\"); export \"${w%x}\"; s=$((s-1)); done; \
    exec env \"$@\"";

impl Remote {
    /// The arguments of ssh.
    pub(super) fn exec<'a>(
        &self,
        program: &Path,
        args: &[OsString],
        variables: impl Iterator<Item = (&'a OsStr, &'a OsStr)>,
        secrets: usize,
    ) -> Vec<OsString> {
        let mut text = String::from("exec ");
        if let Some(user) = &self.sudo {
            text.push_str(&format!("sudo -n -u {} -- ", quoted(user.as_bytes())));
        }
        text.push_str(&format!("sh -c '{DECODE}' sh {secrets}"));
        let mut word = |bytes: &[u8]| {
            text.push(' ');
            text.push_str(&quoted(bytes));
        };
        for (key, value) in variables {
            word(&[key.as_bytes(), b"=", value.as_bytes()].concat());
        }
        word(program.as_os_str().as_bytes());
        args.iter().for_each(|arg| word(arg.as_bytes()));
        let mut all = self.options.clone();
        all.extend(["--".into(), self.host.clone().into(), text.into()]);
        all
    }
}

/// What is written to standard input for variables that are secrets, one a line.
pub(super) fn preface<'a>(secrets: impl Iterator<Item = (&'a OsStr, &'a Secret)>) -> Vec<u8> {
    let mut text = String::new();
    for (key, secret) in secrets {
        let pair = [key.as_bytes(), b"=", secret.expose().as_bytes()].concat();
        text.push_str(&octal(&pair));
        text.push('\n');
    }
    text.into_bytes()
}

/// A word that every shell hands on as it is.
fn quoted(bytes: &[u8]) -> String {
    format!("'{}'", octal(bytes))
}

/// For `printf %b`.
fn octal(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b' '
            | b'_'
            | b'-'
            | b'.'
            | b','
            | b'/'
            | b'=' => {
                text.push(char::from(*byte));
            }
            other => text.push_str(&format!("\\0{other:03o}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::ffi::OsStringExt;
    use std::process::Stdio;

    fn remote() -> Remote {
        Remote {
            ssh: "ssh".into(),
            options: vec!["-T".into()],
            host: "db".to_owned(),
            sudo: None,
        }
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "shells are asked what they make of it"
    )]
    fn every_shell_hands_on_any_bytes_and_runs_none_of_them() {
        let words: Vec<OsString> = [
            &b"[%s]\n"[..],
            b"caf\xe9 '\"$(touch /tmp/no)`touch /tmp/no`\\n!!",
            b"",
            b"two\nlines\n\n",
            b"%s\\x\\0101 ${{ a }}; exit 3 #",
            b"-n",
        ]
        .map(|word| OsString::from_vec(word.to_vec()))
        .into();
        let variables = [(OsStr::new("A"), OsStr::new("it's $HOME\n"))];
        let script = OsString::from("printf \"$@\"; printf \"[%s][%s]\" \"$A\" \"$S\"; cat");
        let args: Vec<OsString> = ["-c".into(), script, "sh".into()]
            .into_iter()
            .chain(words)
            .collect();
        let all = remote().exec(Path::new("sh"), &args, variables.into_iter(), 1);
        assert_eq!(all[..3], ["-T", "--", "db"].map(OsString::from));
        let secret = Secret::new("p'a\\ss\n$word");
        let mut input = preface([(OsStr::new("S"), &secret)].into_iter());
        assert!(!String::from_utf8_lossy(&input).contains("p'a"));
        input.extend(b"rest\n");
        for shell in ["sh", "bash"] {
            let mut child = std::process::Command::new(shell)
                .arg("-c")
                .arg(&all[3])
                .env("LC_ALL", "C")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(&input).unwrap();
            let output = child.wait_with_output().unwrap();
            let wanted =
                b"[caf\xe9 '\"$(touch /tmp/no)`touch /tmp/no`\\n!!]\n[]\n[two\nlines\n\n]\n\
                [%s\\x\\0101 ${{ a }}; exit 3 #]\n[-n]\n[it's $HOME\n][p'a\\ss\n$word]rest\n";
            assert_eq!(
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(wanted),
                "{shell}"
            );
            assert!(output.status.success());
        }
    }

    #[test]
    fn another_user_is_a_word_too() {
        let remote = Remote {
            sudo: Some("postgres".to_owned()),
            ..remote()
        };
        let all = remote.exec(Path::new("/bin/psql"), &[], std::iter::empty(), 0);
        let text = all[3].to_string_lossy();
        assert!(
            text.starts_with("exec sudo -n -u 'postgres' -- sh -c "),
            "{text}"
        );
        assert!(text.ends_with(" sh 0 '/bin/psql'"), "{text}");
    }
}

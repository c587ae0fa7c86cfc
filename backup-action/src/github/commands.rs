//! Workflow commands: the lines of stdout that the runner reads. Pure functions from data to lines;
//! the caller prints them, and only under a runner.

use super::output::random_hex;
use crate::check::{Check, Outcome};
use crate::report::Report;
use crate::report::escape::{self, command_data, command_property, terminal};
use crate::report::format;
use crate::report::words::{self, Ending};
use crate::secret::Secret;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The runner cuts messages here; we cut ourselves, where it can be seen.
const MAX_MESSAGE_CHARS: usize = 4_000;

/// The runner shows at most ten annotations of a kind for the whole action.
const MAX_PER_LEVEL: usize = 10;

/// Shorter values are not masked: the runner would blank them everywhere, in words and figures,
/// which makes the log unreadable and tells by its gaps what the value is.
const MIN_MASK_CHARS: usize = 4;

/// The kind of an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `::error`.
    Error,
    /// `::warning`.
    Warning,
    /// `::notice`.
    Notice,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Notice => "notice",
        }
    }
}

/// One annotation as a line without its newline. `title` and `message` may be hostile.
pub fn annotation(level: Level, title: &str, message: &str) -> String {
    let title = terminal(&escape::shorten(title, 200));
    // Escapes make text longer, and the limit is for what the runner decodes.
    let message = escape::shorten(&terminal(message), MAX_MESSAGE_CHARS);
    format!(
        "::{} title={}::{}",
        level.word(),
        command_property(&title),
        command_data(&message)
    )
}

/// An annotation at a line of a file of the repository. A name that could do harm in a log, or that
/// nobody can see, is only told in the message.
pub fn file_annotation(level: Level, file: &str, line: u32, title: &str, message: &str) -> String {
    let plain = annotation(level, title, message);
    if terminal(file) != file {
        return plain;
    }
    let place = format!("file={},line={line},", command_property(file));
    plain.replacen("title=", &format!("{place}title="), 1)
}

/// At most nine of `all`, which leaves one of a kind for the command itself; the last then says how
/// many more there are, and `where_else`.
pub fn few(mut all: Vec<String>, level: Level, where_else: &str) -> Vec<String> {
    const FEW: usize = MAX_PER_LEVEL - 1;
    if all.len() > FEW {
        let more = all.split_off(FEW - 1).len();
        all.push(annotation(level, &format!("and {more} more"), where_else));
    }
    all
}

/// The annotations of a report: the verdict first, then one for each failed, unanswered or warned
/// check, at most ten of a kind.
pub fn annotations(report: &Report) -> Vec<String> {
    let level = match Ending::of(report) {
        Ending::Passed => Level::Notice,
        Ending::DryRun => Level::Warning,
        Ending::Failed | Ending::Error | Ending::Interrupted => Level::Error,
    };
    let (mut failed, mut warned) = (Vec::new(), Vec::new());
    for check in &report.checks {
        match check.outcome {
            Outcome::Passed => {}
            Outcome::Warned => warned.push(check),
            Outcome::Failed => failed.push(check),
            // Checks behind the failed one were not reached; each would say the same.
            Outcome::NotChecked if check.hint.is_none() => {}
            Outcome::NotChecked => failed.push(check),
        }
    }
    let (title, message) = verdict(report);
    let mut lines = vec![annotation(level, &title, &message)];
    for (kind, checks) in [(Level::Error, failed), (Level::Warning, warned)] {
        let room = MAX_PER_LEVEL - usize::from(kind == level);
        lines.extend(one_each(kind, &checks, room));
    }
    lines
}

fn verdict(report: &Report) -> (String, String) {
    let title = format!("{} {}", report.command, words::headline(report));
    let mut message = words::consequence(report).to_owned();
    let published = Ending::of(report) == Ending::Passed;
    if let Some(archive) = report.archive.as_ref().filter(|_| published) {
        let size = format::bytes(archive.archive_bytes);
        message = format!("{message}: {} ({size})", archive.key);
    }
    if let Some(error) = &report.error {
        message = format!("{message}: {}", error.messages.join(": "));
        if let Some(hint) = &error.hint {
            message = format!("{message}. {hint}");
        }
    }
    (title, message)
}

fn one_each(level: Level, checks: &[&Check], room: usize) -> Vec<String> {
    let shown = if checks.len() > room {
        room.saturating_sub(1)
    } else {
        checks.len()
    };
    let (shown, rest) = checks.split_at(shown);
    let mut lines: Vec<String> = shown
        .iter()
        .map(|check| {
            let hint = check.hint.as_deref().unwrap_or_default();
            let message = format!("{}. {hint}", check.evidence);
            annotation(level, check.id.id(), message.trim_end())
        })
        .collect();
    if !rest.is_empty() {
        let names: Vec<_> = rest.iter().map(|check| check.id.id()).collect();
        let title = format!("and {} more", rest.len());
        lines.push(annotation(level, &title, &names.join(", ")));
    }
    lines
}

/// The lines that make the runner blank a secret: as it is, percent-decoded and percent-encoded,
/// and line by line. The runner itself adds base64, JSON and shell forms of each. Values of fewer
/// than four characters give no line. Print these before anything else, and only under a runner,
/// since a line holds the secret until the runner has read it.
pub fn masks(secret: &Secret) -> Vec<String> {
    let raw = secret.expose();
    if is_short(raw) {
        return Vec::new();
    }
    let mut forms = vec![raw.to_owned()];
    if let Ok(decoded) = percent_decode_str(raw).decode_utf8() {
        forms.push(decoded.into_owned());
    }
    let whole = forms.clone();
    for form in &whole {
        forms.push(utf8_percent_encode(form, NON_ALPHANUMERIC).to_string());
        // What people write into a URL by hand: only the characters that end a password are encoded.
        forms.push(
            form.replace('%', "%25")
                .replace('@', "%40")
                .replace(':', "%3A")
                .replace('/', "%2F"),
        );
    }
    for form in &whole {
        forms.extend(
            form.lines()
                .map(|line| line.trim_end_matches('\r').to_owned()),
        );
    }
    let mut lines: Vec<String> = Vec::new();
    for form in forms {
        if is_short(&form) {
            continue;
        }
        let line = format!("::add-mask::{}", command_data(&form));
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

fn is_short(text: &str) -> bool {
    text.trim().chars().count() < MIN_MASK_CHARS
}

/// The start of a fold in the log.
pub fn group(title: &str) -> String {
    format!("::group::{}", command_data(&terminal(title)))
}

/// The end of a fold.
pub fn end_group() -> &'static str {
    "::endgroup::"
}

/// Text of a child for the log: between `::stop-commands::` with a random token, each line made
/// harmless as well. With its final newline.
///
/// # Errors
/// The system gives no random bytes.
pub fn relay(text: &str) -> anyhow::Result<String> {
    let token = format!("backup-action-{}", random_hex()?);
    let mut out = format!("::stop-commands::{token}\n");
    for line in text.lines() {
        out.push_str(&terminal(line));
        out.push('\n');
    }
    out.push_str(&format!("::{token}::\n"));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_of_a_file_names_it_unless_the_name_acts() {
        let of = |file| file_annotation(Level::Notice, file, 3, "title= a", "b");
        assert_eq!(
            of("db/a, b:c%.sql"),
            "::notice file=db/a%2C b%3Ac%25.sql,line=3,title=title= a::b"
        );
        for hostile in ["a\n::error::x.sql", "##[error]x.sql", "a\u{202e}lqs.x"] {
            assert_eq!(of(hostile), "::notice title=title= a::b");
        }
    }

    #[test]
    fn few_are_nine_with_the_rest_counted() {
        let all = |n: usize| vec![String::from("x"); n];
        assert_eq!(few(all(9), Level::Notice, "there").len(), 9);
        let cut = few(all(12), Level::Notice, "there");
        assert_eq!(cut.len(), 9);
        assert_eq!(cut[8], "::notice title=and 4 more::there");
    }
}

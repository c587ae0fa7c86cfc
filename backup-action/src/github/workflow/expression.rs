//! What an `if:` asks, as far as a gate needs it: its conjuncts, and the status functions it calls.
//! Not an evaluator.

/// The conditions that must all hold, without outer parentheses and `${{ }}`; blanks are single.
pub fn conjuncts(text: &str) -> Vec<String> {
    let text = unwrapped(text);
    let text = without_parentheses(text);
    let parts = split(text, "&&");
    if parts.len() == 1 {
        return vec![normal(text)];
    }
    parts.into_iter().flat_map(conjuncts).collect()
}

/// Whether `||` stands at the top.
pub fn is_choice(condition: &str) -> bool {
    split(condition, "||").len() > 1
}

/// Whether a status function such as `always` is called, outside of quotes.
pub fn calls(text: &str, function: &str) -> bool {
    let text = normal(&outside_quotes(text)).to_lowercase();
    text.match_indices(function).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + function.len()..].trim_start();
        after.starts_with('(') && !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// Whether GitHub sees text and not an expression, which is always true: something besides one
/// `${{ }}`, such as the line break that `if: |` leaves.
pub fn is_text(text: &str) -> bool {
    if !text.contains("${{") {
        return false;
    }
    let whole = text.starts_with("${{") && text.ends_with("}}");
    !whole || text.matches("${{").count() > 1
}

/// `a == b` as (a, b), when that is all.
pub fn equality(condition: &str) -> Option<(&str, &str)> {
    let (left, right) = condition.split_once("==")?;
    (!right.contains("==")).then(|| (left.trim(), right.trim()))
}

/// Whether two conditions are the same, whatever their case; quoted text of GitHub's `==` is
/// compared without case as well.
pub fn same(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right)
}

/// The `needs.JOB.outputs.NAME` that the text mentions.
pub fn outputs_of(text: &str, job: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let lead = format!("needs.{}.outputs.", job.to_lowercase());
    lower
        .match_indices(&lead)
        .map(|(at, _)| {
            lower[at + lead.len()..]
                .chars()
                .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))
                .collect()
        })
        .collect()
}

fn unwrapped(text: &str) -> &str {
    let text = text.trim();
    match text
        .strip_prefix("${{")
        .and_then(|rest| rest.strip_suffix("}}"))
    {
        Some(inner) if !inner.contains("${{") => inner.trim(),
        _ => text,
    }
}

fn without_parentheses(text: &str) -> &str {
    let mut text = text.trim();
    while let Some(inner) = text
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'))
    {
        let mut depth = 1;
        let closes_early = inner.chars().any(|c| {
            depth += match c {
                '(' => 1,
                ')' => -1,
                _ => 0,
            };
            depth == 0
        });
        if closes_early {
            break;
        }
        text = inner.trim();
    }
    text
}

/// Splits at an operator outside of quotes and parentheses.
fn split<'a>(text: &'a str, operator: &str) -> Vec<&'a str> {
    let (mut depth, mut quoted, mut start) = (0i32, false, 0);
    let mut parts = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            '(' | '[' if !quoted => depth += 1,
            ')' | ']' if !quoted => depth -= 1,
            _ if !quoted && depth == 0 && at >= start && text[at..].starts_with(operator) => {
                parts.push(&text[start..at]);
                start = at + operator.len();
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn outside_quotes(text: &str) -> String {
    text.split('\'').step_by(2).collect::<Vec<_>>().join("''")
}

fn normal(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conjuncts_are_what_must_hold() {
        for (text, expected) in [
            ("a == 'x'", vec!["a == 'x'"]),
            ("${{ a  ==\n 'x' }}", vec!["a == 'x'"]),
            ("a && (b && c)", vec!["a", "b", "c"]),
            ("(a && b)", vec!["a", "b"]),
            ("(a) && (b)", vec!["a", "b"]),
            ("a && (b || c)", vec!["a", "b || c"]),
            ("a == '&&' && b", vec!["a == '&&'", "b"]),
            ("contains(x, '(') && b", vec!["contains(x, '(')", "b"]),
        ] {
            assert_eq!(conjuncts(text), expected, "{text}");
        }
        assert!(is_choice("a || b") && !is_choice("(a || b)") && !is_choice("'||'"));
    }

    #[test]
    fn functions_are_seen_where_they_are_called() {
        assert!(calls("always()", "always") && calls("a && ! Cancelled ( )", "cancelled"));
        assert!(!calls("x == 'always()'", "always") && !calls("my_always()", "always"));
    }

    #[test]
    fn text_is_always_true() {
        for (text, expected) in [
            ("a == 'b'", false),
            ("${{ a == 'b' }}", false),
            ("${{ a == 'b' }}\n", true),
            ("${{ a }} == 'b'", true),
            ("${{ a }} && ${{ b }}", true),
            (" ${{ a }}", true),
        ] {
            assert_eq!(is_text(text), expected, "{text:?}");
        }
    }
}

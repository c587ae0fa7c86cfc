//! The questions of the configuration file, asked to the restored cluster.

use crate::archive::index::Name;
use crate::config::{Expected, Question};
use crate::postgres::psql::Psql;
use crate::report::escape;

/// How much of an answer is kept: reports and receipts hold it.
const MAX_SHOWN_CHARS: usize = 200;

/// What became of a question.
pub(super) struct Answer {
    /// The value, or what went wrong.
    pub(super) said: String,
    /// Whether it is what was expected.
    pub(super) right: bool,
}

/// Asks one question. A question that cannot be answered has the wrong answer: in production it
/// had one.
pub(super) async fn ask(psql: &Psql, question: &Question) -> Answer {
    let database = Name::from(question.database.as_str());
    match psql.ask(&database, &question.sql).await {
        Ok(values) => judge(&values, &question.expected),
        Err(error) => Answer {
            said: crate::error::one_line(&error),
            right: false,
        },
    }
}

/// What is expected, for people.
pub(super) fn expectation(expected: &Expected) -> String {
    match expected {
        Expected::Equals(text) => format!("= {text}"),
        Expected::Range {
            min: Some(min),
            max: None,
        } => format!("≥ {min}"),
        Expected::Range {
            min: None,
            max: Some(max),
        } => format!("≤ {max}"),
        Expected::Range {
            min: Some(min),
            max: Some(max),
        } => format!("{min} to {max}"),
        Expected::Range {
            min: None,
            max: None,
        } => "anything".to_owned(),
    }
}

fn judge(values: &[Option<String>], expected: &Expected) -> Answer {
    let [value] = values else {
        return Answer {
            said: format!("{} rows instead of one", values.len()),
            right: false,
        };
    };
    let Some(value) = value else {
        return Answer {
            said: "NULL".to_owned(),
            right: false,
        };
    };
    let right = match expected {
        Expected::Equals(text) => means(text) == means(value),
        Expected::Range { min, max } => value.trim().parse::<f64>().is_ok_and(|number| {
            number.is_finite()
                && min.is_none_or(|min| number >= min)
                && max.is_none_or(|max| number <= max)
        }),
    };
    Answer {
        said: escape::shorten(value, MAX_SHOWN_CHARS),
        right,
    }
}

/// PostgreSQL casts a boolean to `true`, and shows it as `t`.
fn means(text: &str) -> &str {
    match text {
        "t" => "true",
        "f" => "false",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_right(values: &[Option<&str>], expected: &Expected) -> bool {
        let values: Vec<_> = values.iter().map(|v| v.map(str::to_owned)).collect();
        judge(&values, expected).right
    }

    #[test]
    fn only_one_row_with_the_expected_value_is_right() {
        let at_least_one = Expected::Range {
            min: Some(1.0),
            max: None,
        };
        assert!(is_right(&[Some("1")], &at_least_one));
        assert!(is_right(&[Some("2.5")], &at_least_one));
        for wrong in [
            &[Some("0")][..],
            &[Some("many")],
            &[Some("NaN")],
            &[None],
            &[],
            &[Some("1"), Some("2")],
        ] {
            assert!(!is_right(wrong, &at_least_one), "{wrong:?}");
        }
        let five = Expected::Equals("5".to_owned());
        assert!(is_right(&[Some("5")], &five));
        assert!(!is_right(&[Some("50")], &five));
        assert!(is_right(&[Some("true")], &Expected::Equals("t".to_owned())));
        let between = Expected::Range {
            min: Some(1.0),
            max: Some(3.0),
        };
        assert!(is_right(&[Some("3")], &between));
        assert!(!is_right(&[Some("3.1")], &between));
    }
}

//! What a drill was told: engine, limits, and from the tables of the configuration file its
//! questions and the defects that are known.

use super::form::did_you_mean;
use super::values::Values;
use crate::error::Usage;
use crate::postgres::throwaway::EngineChoice;
use jiff::civil::Date;
use std::path::PathBuf;
use std::time::Duration;

/// What `drill` was told.
#[derive(Debug)]
pub struct DrillConfig {
    /// Where to restore.
    pub engine: EngineChoice,
    /// Another image than `postgres:MAJOR`.
    pub image: Option<String>,
    /// Where the local engine keeps its cluster.
    pub dir: Option<PathBuf>,
    /// Restore no rows.
    pub schema_only: bool,
    /// The restore time objective.
    pub max_restore_time: Option<Duration>,
    /// Let a drill without tables or rows pass.
    pub allow_empty: bool,
    /// Do nothing when a drill passed within this time.
    pub once_per: Option<OncePer>,
    /// What to ask the restored cluster: `[[drill.question]]`.
    pub questions: Vec<Question>,
    /// Defects that are known: `[[drill.acknowledge]]`.
    pub acknowledged: Vec<Acknowledged>,
}

/// How often a drill is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OncePer {
    /// Once in each calendar month, UTC.
    Month,
    /// Not again within this time.
    Time(Duration),
}

/// A question to the restored cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// What it is called in the report.
    pub name: String,
    /// The database that is asked.
    pub database: String,
    /// One SELECT of one value.
    pub sql: String,
    /// What the answer has to be.
    pub expected: Expected,
}

/// What an answer has to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// Exactly this text.
    Equals(String),
    /// A number within these bounds, both included.
    Range {
        /// Lower bound.
        min: Option<f64>,
        /// Upper bound.
        max: Option<f64>,
    },
}

/// A defect of the cluster that is known: it stays in the report and does not fail a drill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The object as the report names it.
    pub object: String,
    /// In which way it is defective.
    pub kind: DefectKind,
    /// Why it is accepted.
    pub reason: String,
    /// The last day on which it is.
    pub until: Date,
}

/// In which way an object is known to be defective.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefectKind {
    /// It cannot be restored, and so does not come back.
    NotRestored,
    /// It is restored, and comes back as something else.
    Different,
}

impl DrillConfig {
    pub(super) fn resolve(values: &Values) -> anyhow::Result<DrillConfig> {
        let duration = |name: &str| match values.text(name)? {
            Some(_) => values.duration(name, "").map(Some),
            None => Ok(None),
        };
        let place = format!("configuration file {}", values.file.display());
        let (questions, acknowledged) = match &values.file_drill {
            None => (Vec::new(), Vec::new()),
            Some(table) => tables(&place, table)?,
        };
        Ok(DrillConfig {
            engine: values.word(
                "engine",
                &[
                    ("auto", EngineChoice::Auto),
                    ("docker", EngineChoice::Docker),
                    ("local", EngineChoice::Local),
                ],
            )?,
            image: values.text("image")?,
            dir: values.text("drill-dir")?.map(PathBuf::from),
            schema_only: values.switch("schema-only", false)?,
            max_restore_time: duration("max-restore-time")?,
            allow_empty: values.switch("allow-empty", false)?,
            once_per: match values.text("once-per")?.as_deref() {
                None => None,
                Some("month") => Some(OncePer::Month),
                Some(_) => Some(OncePer::Time(values.duration("once-per", "")?)),
            },
            questions,
            acknowledged,
        })
    }
}

/// `[[drill.question]]` and `[[drill.acknowledge]]`.
fn tables(place: &str, table: &toml::Table) -> anyhow::Result<(Vec<Question>, Vec<Acknowledged>)> {
    let (mut questions, mut acknowledged) = (Vec::new(), Vec::new());
    for (key, value) in table {
        let rows = || {
            value.as_array().ok_or_else(|| {
                anyhow::Error::new(
                    Usage::new(format!("{place}: \"drill.{key}\" is not a list of tables"))
                        .hint(format!("Write each as [[drill.{key}]].")),
                )
            })
        };
        match key.as_str() {
            "question" => {
                for (number, row) in rows()?.iter().enumerate() {
                    questions.push(question(&Row::new(place, "question", number, row)?)?);
                }
            }
            "acknowledge" => {
                for (number, row) in rows()?.iter().enumerate() {
                    let row = Row::new(place, "acknowledge", number, row)?;
                    let defect = acknowledge(&row)?;
                    let is_same = |other: &Acknowledged| {
                        (&other.object, other.kind) == (&defect.object, defect.kind)
                    };
                    if acknowledged.iter().any(is_same) {
                        return Err(row.wrong("the same object is acknowledged twice"));
                    }
                    acknowledged.push(defect);
                }
            }
            other => {
                return Err(
                    Usage::new(format!("{place}: unknown key \"drill.{other}\""))
                        .hint(did_you_mean(other, ["question", "acknowledge"].into_iter()))
                        .into(),
                );
            }
        }
    }
    Ok((questions, acknowledged))
}

fn question(row: &Row<'_>) -> anyhow::Result<Question> {
    row.only(&["name", "database", "sql", "equals", "min", "max"])?;
    let expected = match (row.get("equals"), row.number("min")?, row.number("max")?) {
        (Some(value), None, None) => Expected::Equals(match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Boolean(true) => "t".to_owned(),
            toml::Value::Boolean(false) => "f".to_owned(),
            _ => return Err(row.wrong("\"equals\" must be a string, a number or true or false")),
        }),
        (None, None, None) => {
            return Err(row.wrong("there is no expected answer: add equals, min or max"));
        }
        (None, min, max) => Expected::Range { min, max },
        (Some(_), _, _) => return Err(row.wrong("\"equals\" excludes \"min\" and \"max\"")),
    };
    Ok(Question {
        name: row.text("name")?,
        database: row.text("database")?,
        sql: row.text("sql")?,
        expected,
    })
}

fn acknowledge(row: &Row<'_>) -> anyhow::Result<Acknowledged> {
    row.only(&["object", "kind", "reason", "until"])?;
    let kind = match row.get("kind").map(toml::Value::as_str) {
        None | Some(Some("not-restored")) => DefectKind::NotRestored,
        Some(Some("different")) => DefectKind::Different,
        Some(_) => return Err(row.wrong("\"kind\" must be \"not-restored\" or \"different\"")),
    };
    let until = match row.get("until") {
        Some(toml::Value::String(text)) => text.parse().ok(),
        Some(toml::Value::Datetime(date)) => date.to_string().parse().ok(),
        _ => None,
    };
    Ok(Acknowledged {
        object: row.text("object")?,
        kind,
        reason: row.text("reason")?,
        until: until.ok_or_else(|| row.wrong("\"until\" must be a day such as \"2026-12-31\""))?,
    })
}

/// One table of a list, with its place for messages.
struct Row<'a> {
    place: String,
    table: &'a toml::Table,
}

impl<'a> Row<'a> {
    fn new(
        place: &str,
        kind: &str,
        number: usize,
        value: &'a toml::Value,
    ) -> anyhow::Result<Row<'a>> {
        let place = format!("{place}: drill.{kind} number {}", number + 1);
        match value.as_table() {
            Some(table) => Ok(Row { place, table }),
            None => Err(Usage::new(format!("{place} is not a table"))
                .hint(format!("Write it as [[drill.{kind}]]."))
                .into()),
        }
    }

    fn wrong(&self, what: &str) -> anyhow::Error {
        Usage::new(format!("{}: {what}", self.place))
            .hint("See docs/drill-policy.md for an example.")
            .into()
    }

    fn only(&self, known: &[&str]) -> anyhow::Result<()> {
        match self.table.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(Usage::new(format!("{}: unknown key \"{key}\"", self.place))
                .hint(did_you_mean(key, known.iter().copied()))
                .into()),
        }
    }

    fn get(&self, key: &str) -> Option<&'a toml::Value> {
        self.table.get(key)
    }

    fn text(&self, key: &str) -> anyhow::Result<String> {
        match self.get(key).and_then(toml::Value::as_str) {
            Some(text) if !text.trim().is_empty() => Ok(text.to_owned()),
            _ => Err(self.wrong(&format!("\"{key}\" must be a string that is not empty"))),
        }
    }

    fn number(&self, key: &str) -> anyhow::Result<Option<f64>> {
        match self.get(key) {
            None => Ok(None),
            Some(toml::Value::Integer(number)) => Ok(Some(*number as f64)),
            Some(toml::Value::Float(number)) if number.is_finite() => Ok(Some(*number)),
            Some(_) => Err(self.wrong(&format!("\"{key}\" must be a number"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::messages;

    fn parse(text: &str) -> anyhow::Result<(Vec<Question>, Vec<Acknowledged>)> {
        let table: toml::Table = toml::from_str(text).unwrap();
        tables("file", table["drill"].as_table().unwrap())
    }

    #[test]
    fn questions_and_acknowledged_defects_are_read() {
        let (questions, acknowledged) = parse(
            r#"
            [[drill.question]]
            name = "tenants"
            database = "nostromo"
            sql = "SELECT count(*) FROM central.tenants"
            min = 1
            [[drill.question]]
            name = "mode"
            database = "nostromo"
            sql = "SELECT true"
            equals = true
            [[drill.acknowledge]]
            object = "MATERIALIZED VIEW DATA nostromo: central.stats"
            reason = "needs a search_path, ticket 7"
            until = 2027-01-31
            "#,
        )
        .unwrap();
        assert_eq!(
            questions[0].expected,
            Expected::Range {
                min: Some(1.0),
                max: None
            }
        );
        assert_eq!(questions[1].expected, Expected::Equals("t".to_owned()));
        assert_eq!(acknowledged[0].until, jiff::civil::date(2027, 1, 31));
    }

    #[test]
    fn every_mistake_names_its_place() {
        let question = "[[drill.question]]\nname = \"n\"\ndatabase = \"d\"\nsql = \"select 1\"\n";
        for (text, wanted) in [
            (
                "[[drill.questoin]]\nname = \"n\"".to_owned(),
                "unknown key \"drill.questoin\"",
            ),
            (
                question.to_owned(),
                "question number 1: there is no expected answer",
            ),
            (
                format!("{question}equal = 1"),
                "question number 1: unknown key \"equal\"",
            ),
            (format!("{question}min = \"1\""), "\"min\" must be a number"),
            (
                format!("{question}min = 1\nequals = 2"),
                "excludes \"min\" and \"max\"",
            ),
            (
                question.replace("\"select 1\"", "\" \"") + "min = 1",
                "\"sql\" must be a string that is not empty",
            ),
            (
                "[drill]\nquestion = 1".to_owned(),
                "\"drill.question\" is not a list of tables",
            ),
            (
                "[[drill.acknowledge]]\nobject = \"o\"\nreason = \"r\"\nuntil = \"soon\""
                    .to_owned(),
                "\"until\" must be a day",
            ),
            (
                "[[drill.acknowledge]]\nobject = \"o\"\nuntil = \"2027-01-31\"".to_owned(),
                "\"reason\" must be",
            ),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(crate::error::is_usage(&error));
            let said = messages(&error).join(" ");
            assert!(said.contains(wanted), "{text}: {said}");
        }
    }
}

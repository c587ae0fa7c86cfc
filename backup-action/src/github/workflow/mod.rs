//! Reviews a workflow that uses this program: where it lets a deploy through without a backup, and
//! where a gate or a drill can stop without anybody noticing. Pure: from the bytes of a file to
//! findings with their places. It reads one file, so it never judges what another file does.

mod around;
mod deploy;
mod drill;
pub mod expression;
mod gate;
pub mod model;
pub mod yaml;

use model::Workflow;
use yaml::{Place, YamlError};

/// How bad a hole is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// A deploy can happen without a backup, or a secret can leave.
    Error,
    /// A guard is missing.
    Warning,
}

/// A hole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Its name.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Where it is.
    pub at: Place,
    /// What is wrong, in a message's style.
    pub message: String,
    /// What to write instead, as a sentence.
    pub fix: String,
}

/// What was found in a file.
#[derive(Clone, Debug, Default)]
pub struct Review {
    /// Whether the file uses this program at all.
    pub is_ours: bool,
    /// Holes, in the order of the file.
    pub holes: Vec<Hole>,
    /// What was not looked at, and why.
    pub notes: Vec<(Place, String)>,
}

impl Review {
    fn add(
        &mut self,
        id: &'static str,
        severity: Severity,
        at: Place,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.holes.push(Hole {
            id,
            severity,
            at,
            message: message.into(),
            fix: fix.into(),
        });
    }

    fn error(
        &mut self,
        id: &'static str,
        at: Place,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.add(id, Severity::Error, at, message, fix);
    }

    fn warning(
        &mut self,
        id: &'static str,
        at: Place,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.add(id, Severity::Warning, at, message, fix);
    }
}

/// Looks for holes.
///
/// # Errors
/// The bytes are no workflow.
pub fn review(bytes: &[u8]) -> Result<Review, YamlError> {
    let root = yaml::parse(bytes)?;
    let Some(workflow) = Workflow::of(&root) else {
        return Err(YamlError {
            at: root.at,
            message: "no workflow: it has no jobs".to_owned(),
        });
    };
    let mut review = Review {
        is_ours: workflow.uses_program(),
        ..Review::default()
    };
    for job in &workflow.jobs {
        if let Some(uses) = job.node.get("uses") {
            let called = uses.text().unwrap_or_default();
            let note = format!("job {} calls {called}, which was not looked at", job.id);
            review.notes.push((uses.at, note));
        }
    }
    if !review.is_ours {
        return Ok(review);
    }
    deploy::rules(&workflow, &mut review);
    gate::rules(&workflow, &mut review);
    drill::rules(&workflow, &mut review);
    around::rules(&workflow, &mut review);
    review.holes.sort_by_key(|hole| hole.at);
    Ok(review)
}

#[cfg(test)]
mod tests;

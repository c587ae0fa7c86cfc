//! The changed SQL files of a pull request, read from the checkout or from GitHub, against the
//! tables of the backup. Nothing here fails the command: what cannot be read is a note.

use crate::command::stores::Found;
use crate::config::GitHubConfig;
use crate::error;
use crate::github::api::Api;
use crate::github::api_error::{ApiError, Kind};
use crate::github::event::PullRequest;
use crate::github::migrations::glob;
use crate::github::migrations::mentions;
use crate::github::migrations::tables::Tables;
use crate::github::pulls::{self, ChangedFile};
use crate::github::runner::Runner;
use crate::pipeline::publish;
use crate::report::format;
use crate::report::sizes::Touch;
use std::path::Path;

/// Files that are read; a pull request of more is not about its migrations.
const MAX_FILES: usize = 200;

/// The largest file that is read: a dump in the repository is no migration.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// What the changed files do to tables of the backup, and how many files were read.
pub(super) async fn touches(
    api: &Api,
    runner: &Runner,
    pull: &PullRequest,
    head: &Found,
    github: &GitHubConfig,
    notes: &mut Vec<String>,
) -> (Vec<Touch>, u64) {
    let files = match pulls::changed_files(api, pull.number).await {
        Ok((files, is_longer)) => {
            if is_longer {
                notes.push("the pull request changes more files than GitHub lists".to_owned());
            }
            wanted(files, &github.migration_paths, notes)
        }
        Err(error) => {
            notes.push(format!("{error}; its SQL files were not looked at"));
            return (Vec::new(), 0);
        }
    };
    if files.is_empty() {
        return (Vec::new(), 0);
    }
    let tables = match publish::load_index(&head.store, &head.keys.index, &head.manifest).await {
        Ok(index) => Tables::of(&index),
        Err(error) => {
            notes.push(format!(
                "the changed SQL files were not looked at: {}",
                error::one_line(&error)
            ));
            return (Vec::new(), 0);
        }
    };
    let (mut touches, mut read) = (Vec::new(), 0);
    for (at, file) in files.iter().enumerate() {
        match text(api, runner, pull, &file.filename).await {
            Ok(text) => {
                read += 1;
                touches.extend(tables.touches(&file.filename, &mentions::mentions(&text)));
            }
            Err(Unread::This(why)) => {
                notes.push(format!("{} was not looked at: {why}", file.filename));
            }
            Err(Unread::All(error)) => {
                let left = format::counted((files.len() - at) as u64, "changed SQL file");
                notes.push(format!("{left} not looked at: {error}"));
                break;
            }
        }
    }
    (touches, read)
}

fn wanted(files: Vec<ChangedFile>, globs: &[String], notes: &mut Vec<String>) -> Vec<ChangedFile> {
    let mut files: Vec<ChangedFile> = files
        .into_iter()
        .filter(|file| globs.iter().any(|g| glob::matches(g, &file.filename)))
        .collect();
    if files.len() > MAX_FILES {
        let more = files.split_off(MAX_FILES).len();
        notes.push(format!("{more} more changed SQL files were not looked at"));
    }
    files
}

/// Why there is no text.
enum Unread {
    /// The fault of this file.
    This(String),
    /// GitHub's, which would have none for the next one either.
    All(ApiError),
}

/// The text of a file: of the checkout where it is there, which costs no request, else of GitHub.
async fn text(
    api: &Api,
    runner: &Runner,
    pull: &PullRequest,
    file: &str,
) -> Result<Vec<u8>, Unread> {
    // Only here the checkout is sure to be of the pull request.
    let workspace = runner
        .workspace
        .as_ref()
        .filter(|_| runner.event == "pull_request");
    if let Some(workspace) = workspace
        && let Some(text) = checked_out(workspace, file).map_err(Unread::This)?
    {
        return Ok(text);
    }
    pulls::contents(api, file, &pull.head_sha)
        .await
        .map_err(|error| match error.kind {
            Kind::NotFound | Kind::Declined | Kind::Unexpected => Unread::This(error.to_string()),
            Kind::Unauthorized
            | Kind::Forbidden
            | Kind::RateLimited(_)
            | Kind::Server
            | Kind::NoAnswer => Unread::All(error),
        })
}

/// A regular file inside the checkout: a link in a pull request may point anywhere.
fn checked_out(workspace: &Path, file: &str) -> Result<Option<Vec<u8>>, String> {
    let path = workspace.join(file);
    let Ok(metadata) = std::fs::symlink_metadata(&path) else {
        return Ok(None);
    };
    let is_inside = match (path.canonicalize(), workspace.canonicalize()) {
        (Ok(path), Ok(workspace)) => path.starts_with(workspace),
        (_, _) => false,
    };
    if !metadata.is_file() || !is_inside {
        return Err("it is no regular file of the checkout".to_owned());
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(format!("it has more than {MAX_FILE_BYTES} bytes"));
    }
    std::fs::read(&path)
        .map(Some)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_the_checkout_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let workspace = dir.path().join("checkout");
        std::fs::create_dir_all(workspace.join("db")).unwrap();
        std::fs::write(workspace.join("db/1.sql"), "select 1").unwrap();
        std::fs::write(dir.path().join("outside.sql"), "secret").unwrap();
        std::os::unix::fs::symlink(dir.path(), workspace.join("up")).unwrap();
        std::os::unix::fs::symlink("1.sql", workspace.join("db/link.sql")).unwrap();
        let read = |file: &str| checked_out(&workspace, file);
        assert_eq!(read("db/1.sql"), Ok(Some(b"select 1".to_vec())));
        assert_eq!(read("db/2.sql"), Ok(None));
        for refused in ["../outside.sql", "up/outside.sql", "db/link.sql", "db"] {
            assert!(read(refused).is_err(), "{refused}");
        }
        std::fs::File::create(workspace.join("big.sql"))
            .unwrap()
            .set_len(MAX_FILE_BYTES + 1)
            .unwrap();
        assert!(read("big.sql").is_err());
    }
}

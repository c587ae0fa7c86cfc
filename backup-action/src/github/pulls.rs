//! The files that a pull request changes, and their text.

use super::api::Api;
use super::api_error::{ApiError, Kind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

/// GitHub lists 3,000 files and no more.
const MAX_PAGES: usize = 30;

/// What a path keeps as it is; the slash between its parts is one.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A file of a pull request that is there after it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ChangedFile {
    /// From the root of the repository. Hostile.
    pub filename: String,
    status: String,
}

/// The files that the pull request adds or changes, in GitHub's order, and whether there are more
/// than GitHub lists.
///
/// # Errors
/// See [`ApiError`].
pub async fn changed_files(api: &Api, number: u64) -> Result<(Vec<ChangedFile>, bool), ApiError> {
    let path = api.path(&format!("/pulls/{number}/files"));
    let doing = format!("could not list the files of pull request {number}");
    let (mut files, is_longer) = api.list(&doing, &path, MAX_PAGES).await?;
    files.retain(|file: &ChangedFile| file.status != "removed");
    Ok((files, is_longer))
}

/// The bytes of a file at a commit.
///
/// # Errors
/// See [`ApiError`]; GitHub gives no text above 1 MB.
pub async fn contents(api: &Api, file: &str, sha: &str) -> Result<Vec<u8>, ApiError> {
    #[derive(Deserialize)]
    struct Contents {
        encoding: String,
        content: String,
    }
    let path = api.path(&format!(
        "/contents/{}?ref={}",
        utf8_percent_encode(file, PATH),
        utf8_percent_encode(sha, NON_ALPHANUMERIC)
    ));
    let doing = format!("could not read {file:?}");
    let unreadable = |said: &str| ApiError::new(Kind::Unexpected, said).while_doing(doing.clone());
    let contents: Contents = api.read(&doing, &path).await?;
    if contents.encoding != "base64" {
        return Err(unreadable("GitHub gives no text of a file above 1 MB"));
    }
    let text: String = contents.content.split_ascii_whitespace().collect();
    STANDARD
        .decode(text)
        .map_err(|_| unreadable("its text is not base64"))
}

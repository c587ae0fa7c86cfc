//! One store that an archive is being written to, on the undo list from its first byte.

use super::cleanup::{Cleanup, Ticket, Undo};
use crate::archive::compress::Encoded;
use crate::store::{Key, Store, Upload};

/// One store that an archive is being written to.
pub struct OpenCopy {
    /// The store.
    pub store: Store,
    upload: Option<Upload>,
    ticket: Ticket,
    /// Why this copy was given up.
    pub failure: Option<anyhow::Error>,
}

impl OpenCopy {
    /// Begins the upload and puts it on the undo list.
    ///
    /// # Errors
    /// The store refuses; nothing was begun.
    pub async fn begin(
        store: &Store,
        key: &Key,
        expected_bytes: u64,
        cleanup: &Cleanup,
    ) -> anyhow::Result<OpenCopy> {
        let upload = store.create(key, expected_bytes).await?;
        let ticket = cleanup.add(Undo::Abort(
            store.clone(),
            key.clone(),
            upload.abort_handle(),
        ));
        Ok(OpenCopy {
            store: store.clone(),
            upload: Some(upload),
            ticket,
            failure: None,
        })
    }

    pub(super) fn take(self) -> (Store, Option<Upload>, Ticket, Option<anyhow::Error>) {
        (self.store, self.upload, self.ticket, self.failure)
    }

    /// Sends a member; a store that fails is given up, and its copy says why.
    pub(super) async fn write(&mut self, member: &Encoded) {
        let Some(upload) = &mut self.upload else {
            return;
        };
        if let Err(error) = upload.write(member.bytes.clone()).await {
            let handle = upload.abort_handle();
            self.upload = None;
            // The item on the undo list tries again when this does not work.
            let aborted = handle.abort().await.err();
            self.failure = Some(match aborted {
                None => error,
                Some(left) => {
                    error.context(format!("an unfinished upload was left behind ({left:#})"))
                }
            });
        }
    }
}

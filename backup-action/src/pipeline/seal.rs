//! The archive becomes an object: the multipart upload is completed, the file renamed into place.
//! Only a stream whose checks all passed gets here; anything else is aborted.

use super::cleanup::{Cleanup, Ticket, Undo};
use super::stream::Streamed;
use crate::archive::index::Index;
use crate::check::{Check, CheckId, Verdict};
use crate::store::{SealedObject, Store};
use anyhow::Context;

/// Keeps other modules from making the proof of this step.
struct Proof;

/// The checks that have to be answered yes before an archive is sealed.
pub const REQUIRED: &[CheckId] = &[
    CheckId::DumpExit,
    CheckId::DumpComplete,
    CheckId::Inventory,
    CheckId::NotEmpty,
    CheckId::GzipStream,
];

/// A copy that is complete in its store, not yet verified.
pub struct SealedCopy {
    /// The store.
    pub store: Store,
    /// What the store says it holds.
    pub object: SealedObject,
    pub(super) ticket: Ticket,
}

/// A copy that was given up, with the reason.
pub struct LostCopy {
    /// The store.
    pub store: Store,
    /// The reason.
    pub error: anyhow::Error,
}

/// The sealed copies. Only [`Streamed::seal`] makes it.
pub struct Sealed {
    /// What is in the archive.
    pub index: Index,
    /// Lowest and highest level used.
    pub levels_used: [u32; 2],
    /// Copies to verify.
    pub copies: Vec<SealedCopy>,
    /// Copies that failed until now.
    pub lost: Vec<LostCopy>,
    _proof: Proof,
}

impl Streamed {
    /// Completes every copy that still stands.
    ///
    /// # Errors
    /// A check of [`REQUIRED`] was not answered yes: nothing is sealed. Trouble with one store is
    /// no error; the copy is in [`Sealed::lost`].
    pub async fn seal(self, checks: &[Check], cleanup: &Cleanup) -> anyhow::Result<Sealed> {
        let index = self
            .index
            .context("a stream that ended early cannot be sealed")?;
        match Verdict::of(checks, REQUIRED) {
            Verdict::Passed => {}
            Verdict::Failed | Verdict::Error => {
                anyhow::bail!("a stream whose checks did not pass cannot be sealed")
            }
        }
        let mut sealed = Sealed {
            index,
            levels_used: self.levels_used,
            copies: Vec::new(),
            lost: Vec::new(),
            _proof: Proof,
        };
        for copy in self.copies {
            let (store, upload, open, failure) = copy.take();
            let Some(upload) = upload else {
                let error = failure.unwrap_or_else(|| anyhow::anyhow!("the upload was given up"));
                sealed.lost.push(LostCopy { store, error });
                continue;
            };
            match upload.seal().await {
                Ok(object) => {
                    let ticket = cleanup.add(Undo::Delete(store.clone(), object.key.clone()));
                    cleanup.disarm(open);
                    sealed.copies.push(SealedCopy {
                        store,
                        object,
                        ticket,
                    });
                }
                // The abort stays on the undo list: nothing became visible.
                Err(error) => sealed.lost.push(LostCopy { store, error }),
            }
        }
        Ok(sealed)
    }
}

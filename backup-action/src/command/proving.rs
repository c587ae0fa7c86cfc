//! What proving a restore and proving a drill have in common.

use crate::proof::Proof;
use crate::restore::{Archive, read};

/// Decides what only the archived rows can.
///
/// # Errors
/// They cannot be read.
pub(crate) async fn settle(archive: &Archive, proof: &mut Proof) -> anyhow::Result<()> {
    for open in proof.undecided.clone() {
        let mut reader = open.reader();
        read::rows(archive, open.archive, |bytes| reader.feed(bytes)).await?;
        proof.decide(&open, reader.finish());
    }
    Ok(())
}

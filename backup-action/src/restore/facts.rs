//! What the statements of a database say about which work may run side by side. Everything here errs
//! on one side: what cannot be shown to be independent is not.

use crate::archive::index::{Entry, Index};
use crate::archive::statements::Statement;

#[derive(Debug, Default)]
pub(super) struct Facts {}

impl Facts {
    pub(super) fn learn(&mut self, _entry: &Entry, _statement: &Statement) {}
    pub(super) fn stages(&self, _index: &Index, data: &[usize]) -> Vec<Vec<usize>> {
        data.iter().map(|n| vec![*n]).collect()
    }
}

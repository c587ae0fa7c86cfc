//! What stands between us and the server: a tunnel, a container, another machine. A connection
//! keeps it alive, hands its children what it says, and asks it for its trouble.

use crate::error::Explained;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

/// A part of the way. Dropping the last of its owners ends it.
pub(super) trait Way: fmt::Debug + Send + Sync {
    /// What is wrong with it; none as far as it knows.
    fn trouble(&self) -> Option<Explained>;
}

/// The way from here to the server; none for most.
#[derive(Clone, Debug, Default)]
pub(super) struct Route {
    /// Values of libpq's keywords that replace what was asked for.
    pub(super) settings: BTreeMap<&'static str, OsString>,
    /// Whether the programs cannot read a file of ours.
    pub(super) password_by_variable: bool,
    place: Option<String>,
    ways: Vec<Arc<dyn Way>>,
}

impl Route {
    pub(super) fn add(
        &mut self,
        way: Arc<dyn Way>,
        settings: BTreeMap<&'static str, OsString>,
        place: Option<String>,
    ) {
        self.ways.push(way);
        self.settings.extend(settings);
        if place.is_some() {
            self.place = place;
        }
    }

    pub(super) fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    pub(super) fn trouble(&self) -> Option<Explained> {
        self.ways.iter().find_map(|way| way.trouble())
    }
}

//! Where a dump puts its tables and indexes: their statements do not name a tablespace or access
//! method, the `SET` in force does.

use crate::archive::index::{Index, kind};

/// The settings that place an object.
pub(super) const SETTINGS: [&[u8]; 2] = [b"default_tablespace", b"default_table_access_method"];

/// For each entry the positions of the settings in force.
pub(super) struct Places(Vec<[u32; 2]>);

const NONE: u32 = u32::MAX;

impl Places {
    pub(super) fn of(index: &Index) -> Places {
        let mut places = Vec::with_capacity(index.entries.len());
        let mut now = [NONE; 2];
        for (number, entry) in (0u32..).zip(&index.entries) {
            let name = entry.name.as_bytes();
            match &*entry.kind {
                // A new session has the defaults.
                kind::META if name == b"connect" => now = [NONE; 2],
                kind::SETTING => {
                    if let Some(at) = SETTINGS.iter().position(|setting| *setting == name) {
                        now[at] = number;
                    }
                }
                _ => {}
            }
            places.push(now);
        }
        Places(places)
    }

    pub(super) fn of_entry(&self, number: usize) -> [Option<usize>; 2] {
        self.0
            .get(number)
            .copied()
            .unwrap_or([NONE; 2])
            .map(|at| usize::try_from(at).ok().filter(|_| at != NONE))
    }
}

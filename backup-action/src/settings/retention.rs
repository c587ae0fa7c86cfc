//! Settings of prune, and of what a gate removes at its end.

use super::Setting;

pub(super) const SETTINGS: &[Setting] = &[];

//! Settings of messages to people and machines.

use super::Setting;

pub(super) const SETTINGS: &[Setting] = &[];

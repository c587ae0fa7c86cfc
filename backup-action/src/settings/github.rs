//! Settings of annotate, and of deployment records.

use super::Setting;

pub(super) const SETTINGS: &[Setting] = &[];

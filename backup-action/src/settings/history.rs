//! Settings of history, of the size checks and of the HTML report.

use super::Setting;

pub(super) const SETTINGS: &[Setting] = &[];

//! I6: ids are stable for life and never used again.

use regency_testkit::rules;

use super::{Checked, Entry, broken};

/// Ids ever seen.
#[derive(Debug, Default)]
pub struct Ids(rules::Ids);

impl Ids {
    pub(super) fn follow(&mut self, entry: &Entry<'_>) -> Checked {
        self.0.follow(&entry.step).map_err(broken("I6"))
    }
}

//! I5: a task's state moves along legal lines, and an end is final.

use regency_testkit::rules;

use super::{Checked, Entry, broken};

pub(super) fn check(entry: &Entry<'_>) -> Checked {
    rules::tasks(&entry.step).map_err(broken("I5"))
}

//! I15: a framework is removed only by its own failover timeout, in cluster time, by its own entry.

use regency_testkit::rules;

use super::{Checked, Entry, broken};

pub(super) fn check(entry: &Entry<'_>) -> Checked {
    rules::frameworks(&entry.step).map_err(broken("I15"))
}

//! Making a failing history short: steps are left out while it still breaks the same rule.

use super::op::Op;
use super::run::run_history;

/// Leaves out what is not needed for the history to break that rule.
#[must_use]
pub fn shrink(seed: u64, ops: &[Op], invariant: &str) -> Vec<Op> {
    let fails = |ops: &[Op]| {
        let failure = run_history(seed, ops).0.failure;
        failure.is_some_and(|failure| failure.invariant == invariant)
    };
    let mut kept = ops.to_vec();
    if !fails(&kept) {
        return kept;
    }
    // Ever smaller pieces, then single steps until none can go.
    let mut piece = kept.len().div_ceil(2).max(1);
    loop {
        let mut shorter = false;
        let mut start = 0;
        while start < kept.len() {
            let end = (start + piece).min(kept.len());
            let without = [&kept[..start], &kept[end..]].concat();
            if fails(&without) {
                kept = without;
                shorter = true;
            } else {
                start = end;
            }
        }
        if piece == 1 && !shorter {
            return kept;
        }
        piece = (piece / 2).max(1);
    }
}

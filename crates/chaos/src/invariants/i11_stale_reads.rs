//! I11: reads that may be old are still of one history, and never go back.

use std::collections::BTreeMap;

use super::Verdict;
use crate::history::{Call, History, Operation, Outcome};

pub(super) fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::new(
        "I11",
        "Every read carries its index; it is not below the one asked for, never goes back at one \
         master, and the same index shows the same everywhere",
    );
    // What was shown at an index; keys share the answer.
    let mut shown: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    let mut by_start: BTreeMap<(u64, u32), Vec<(&Operation, u64)>> = BTreeMap::new();
    for operation in &history.operations {
        let Outcome::Told {
            index,
            digest,
            start,
            ..
        } = operation.outcome
        else {
            continue;
        };
        verdict.look();
        if let Call::ReadStale(asked) = operation.call
            && index < asked
        {
            verdict.broken(format!(
                "master {} told entry {index}, asked for {asked}",
                operation.master
            ));
        }
        let (first, master) = *shown.entry(index).or_insert((digest, operation.master));
        if first != digest {
            verdict.broken(format!(
                "masters {master} and {} show different things at entry {index}",
                operation.master
            ));
        }
        if let Some(start) = start {
            let reads = by_start.entry((operation.master, start)).or_default();
            reads.push((operation, index));
        }
    }
    for ((master, _), reads) in by_start {
        never_back(master, reads, &mut verdict);
    }
    verdict
}

/// A read that began after another had ended must not show less.
fn never_back(master: u64, mut reads: Vec<(&Operation, u64)>, verdict: &mut Verdict) {
    let mut ended: Vec<(u64, u64)> = reads.iter().map(|(read, i)| (read.to_us, *i)).collect();
    ended.sort_unstable();
    reads.sort_by_key(|(read, _)| read.from_us);
    let (mut at, mut highest) = (0, 0);
    for (read, index) in reads {
        while at < ended.len() && ended[at].0 < read.from_us {
            highest = highest.max(ended[at].1);
            at += 1;
        }
        if index < highest {
            verdict.broken(format!(
                "master {master} went back from entry {highest} to {index} at {} us",
                read.from_us
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::made::{operation, told};

    fn stale(from_us: u64, asked: u64, value: u64, index: u64) -> Operation {
        let call = Call::ReadStale(asked);
        operation(from_us, from_us + 1, call, told(Some(value), index))
    }

    fn n_violations(operations: Vec<Operation>) -> u64 {
        let history = History {
            operations,
            ..History::default()
        };
        check(&history).n_violations
    }

    #[test]
    fn going_back_too_old_and_forked_reads_are_found() {
        assert_eq!(n_violations(vec![stale(0, 0, 1, 5), stale(2, 5, 1, 5)]), 0);
        assert_eq!(n_violations(vec![stale(0, 0, 2, 6), stale(2, 0, 1, 5)]), 1);
        assert_eq!(n_violations(vec![stale(0, 7, 1, 5)]), 1);
        assert_eq!(n_violations(vec![stale(0, 0, 1, 5), stale(2, 0, 2, 5)]), 1);
        let mut other = stale(2, 0, 1, 5);
        other.master = 2;
        assert_eq!(n_violations(vec![stale(0, 0, 2, 6), other]), 0);
    }
}

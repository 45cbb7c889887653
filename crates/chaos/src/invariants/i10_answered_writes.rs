//! I10: what was answered with 2xx is in every later consistent read, from any master.

use std::collections::BTreeMap;

use super::Verdict;
use crate::history::{Call, History, Operation, Outcome};

pub(super) fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::new(
        "I10",
        "A write that was answered is in every later consistent read, from any master",
    );
    for (key, operations) in history.registers() {
        of_key(key, &operations, &mut verdict);
    }
    verdict
}

fn of_key(key: &str, operations: &[&Operation], verdict: &mut Verdict) {
    let mut writes: Vec<(&Operation, u64)> = Vec::new();
    // When each value was certainly written; for ever open where nobody knows.
    let mut written: BTreeMap<u64, u64> = BTreeMap::new();
    for operation in operations {
        let Call::Write(value) = operation.call else {
            continue;
        };
        match operation.outcome {
            Outcome::Written => {
                writes.push((operation, value));
                written.insert(value, operation.to_us);
            }
            Outcome::Failed => {}
            _ => {
                written.insert(value, u64::MAX);
            }
        }
    }
    writes.sort_by_key(|(write, _)| write.to_us);
    // Of those answered until then, when the one began that began last.
    let mut latest: Vec<(u64, &Operation, u64)> = Vec::new();
    for (write, value) in writes {
        match latest.last() {
            Some((_, last, _)) if last.from_us >= write.from_us => {
                latest.push((
                    write.to_us,
                    latest[latest.len() - 1].1,
                    latest[latest.len() - 1].2,
                ));
            }
            _ => latest.push((write.to_us, write, value)),
        }
    }
    for read in operations {
        let (Call::Read, Outcome::Told { value, .. }) = (read.call, read.outcome) else {
            continue;
        };
        verdict.look();
        let n_before = latest.partition_point(|(to_us, ..)| *to_us < read.from_us);
        let Some((_, last, newest)) = n_before.checked_sub(1).map(|i| latest[i]) else {
            continue;
        };
        let at = read.master;
        match value {
            None => verdict.broken(format!(
                "{key} = {newest} was answered at {} us, but at {} us master {at} knew of nothing",
                last.to_us, read.from_us
            )),
            Some(value) => {
                let to_us = written.get(&value).copied();
                if to_us.is_none() {
                    verdict.broken(format!("master {at} told {key} = {value}, never written"));
                } else if to_us.is_some_and(|to_us| to_us < last.from_us) {
                    verdict.broken(format!(
                        "{key} = {newest} was answered at {} us, but at {} us master {at} still \
                         told {value}",
                        last.to_us, read.from_us
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::made::{read, unknown, write};

    fn n_violations(operations: Vec<Operation>) -> u64 {
        let history = History {
            operations,
            ..History::default()
        };
        check(&history).n_violations
    }

    #[test]
    fn an_answered_write_that_is_not_read_later_is_found() {
        assert_eq!(n_violations(vec![write(0, 1, 1), read(2, 3, Some(1))]), 0);
        assert_eq!(n_violations(vec![write(0, 1, 1), read(2, 3, None)]), 1);
        let old = vec![write(0, 1, 1), write(2, 3, 2), read(4, 5, Some(1))];
        assert_eq!(n_violations(old), 1);
        let foreign = vec![write(0, 1, 1), read(2, 3, Some(9))];
        assert_eq!(n_violations(foreign), 1);
    }

    #[test]
    fn what_went_on_at_the_same_time_and_what_nobody_knows_is_no_evidence() {
        assert_eq!(n_violations(vec![write(0, 5, 1), read(2, 3, None)]), 0);
        let both = vec![write(0, 9, 1), write(2, 8, 2), read(10, 11, Some(1))];
        assert_eq!(n_violations(both), 0);
        let late = vec![unknown(0, 1, 1), write(2, 3, 2), read(4, 5, Some(1))];
        assert_eq!(n_violations(late), 0);
    }
}

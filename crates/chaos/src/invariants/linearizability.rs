//! Consistent reads and writes of each register have one order that explains all of them.

use super::Verdict;
use crate::history::History;
use crate::linearizable::{Answer, check as search};

pub(super) fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::new(
        "linearizability",
        "Writes and consistent reads of each register are in one order, which is that of time",
    );
    for (key, operations) in history.registers() {
        verdict.look();
        match search(&operations) {
            Answer::Linearizable => {}
            Answer::Not(read) => verdict.broken(format!(
                "nothing explains {read:?} among the {} operations of {key}",
                operations.len()
            )),
            Answer::Undecided => {
                verdict.undecided = Some(format!("the search for {key} takes too long"));
            }
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::made::{read, write};

    #[test]
    fn a_register_that_goes_back_is_found() {
        let mut history = History {
            operations: vec![write(0, 1, 1), write(2, 3, 2), read(4, 5, Some(2))],
            ..History::default()
        };
        assert!(check(&history).holds());
        history.operations.push(read(6, 7, Some(1)));
        assert_eq!(check(&history).n_violations, 1);
    }
}

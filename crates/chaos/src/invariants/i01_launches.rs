//! I1: a launch starts at most once, and has exactly one definite fate.

use std::collections::{BTreeMap, BTreeSet};

use super::Verdict;
use crate::history::{Happened, History};

pub(super) fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::new(
        "I1",
        "A launch starts at most once, and exactly one definite fate is told for it",
    );
    let mut answered = BTreeSet::new();
    // The ends that were told of each task; a repeated update has the same identity.
    let mut fates: BTreeMap<&str, BTreeSet<(&str, &str)>> = BTreeMap::new();
    for event in &history.framework {
        match &event.what {
            Happened::Launched { task } => {
                answered.insert(task.as_str());
            }
            Happened::Updated {
                task,
                state,
                terminal: true,
                uuid,
            } => {
                fates.entry(task).or_default().insert((state, uuid));
            }
            _ => {}
        }
    }
    for task in answered {
        verdict.look();
        match fates.get(task) {
            None => verdict.broken(format!("nobody told how {task} ended")),
            Some(ends) if ends.len() > 1 => {
                verdict.broken(format!("{task} ended in more than one way: {ends:?}"));
            }
            Some(_) => {}
        }
    }
    for (task, starts) in history.ledger.iter().flatten() {
        verdict.look();
        if *starts > 1 {
            verdict.broken(format!("{task} ran {starts} times"));
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::made::{framework, launched, updated};

    #[test]
    fn one_end_told_twice_is_one_and_all_else_is_found() {
        let base = || launched("t", "o", false).into_iter();
        let end = || updated("t", "TASK_FINISHED", "a");
        let good = framework(base().chain([updated("t", "TASK_RUNNING", "r"), end(), end()]));
        assert!(check(&good).holds());
        assert_eq!(check(&framework(base())).n_violations, 1, "no fate");
        let two = framework(base().chain([end(), updated("t", "TASK_LOST", "b")]));
        assert_eq!(check(&two).n_violations, 1);
        let mut again = good;
        again.ledger = Some([("t".to_owned(), 2)].into());
        assert_eq!(check(&again).violations, ["t ran 2 times"]);
    }
}

//! I2: an offer is used at most once.

use std::collections::{BTreeMap, BTreeSet};

use super::Verdict;
use crate::history::{Happened, History};

/// States of a task that ran, or may have.
const RAN: [&str; 4] = [
    "TASK_STARTING",
    "TASK_RUNNING",
    "TASK_FINISHED",
    "TASK_KILLED",
];

/// A subscription can be under way while the use of an offer is answered, and tell of it once more.
const ON_ITS_WAY: u64 = 1;

pub(super) fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::new(
        "I2",
        "An offer is accepted at most once, and one that was used is never offered again",
    );
    let mut spent_tasks = BTreeSet::new();
    // Offers whose use was answered, and since which subscription.
    let mut used: BTreeMap<&str, u64> = BTreeMap::new();
    let mut of_task: BTreeMap<&str, &str> = BTreeMap::new();
    let mut subscription = 0;
    for event in &history.framework {
        match &event.what {
            Happened::Subscribed { .. } => subscription += 1,
            Happened::Launching { task, offer, spent } => {
                of_task.insert(task, offer);
                if *spent {
                    spent_tasks.insert(task.as_str());
                    verdict.look();
                }
            }
            Happened::Launched { task } => {
                if let Some(offer) = of_task.get(task.as_str()) {
                    used.entry(offer).or_insert(subscription);
                }
            }
            Happened::Offered { offer } => {
                verdict.look();
                let used = used.get(offer.as_str());
                if used.is_some_and(|at| *at + ON_ITS_WAY < subscription) {
                    verdict.broken(format!("offer {offer} was made again after it was used"));
                }
            }
            Happened::Updated { task, state, .. }
                if spent_tasks.contains(task.as_str()) && RAN.contains(&state.as_str()) =>
            {
                verdict.broken(format!("{task} is {state}, launched with a used offer"));
            }
            _ => {}
        }
    }
    for (task, _) in history.ledger.iter().flatten() {
        if spent_tasks.contains(task.as_str()) {
            verdict.broken(format!("{task} ran, launched with a used offer"));
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::made::{framework, launched, updated};

    fn offered() -> Happened {
        Happened::Offered {
            offer: "o".to_owned(),
        }
    }

    #[test]
    fn a_second_use_must_be_refused_and_a_used_offer_is_gone() {
        let both = || {
            let first = [offered()].into_iter().chain(launched("t", "o", false));
            first.chain(launched("again", "o", true))
        };
        let refused = updated("again", "TASK_LOST", "");
        assert!(check(&framework(both().chain([refused]))).holds());
        let ran = updated("again", "TASK_RUNNING", "u");
        assert_eq!(check(&framework(both().chain([ran]))).n_violations, 1);
        let mut signed = framework(both());
        signed.ledger = Some([("again".to_owned(), 1)].into());
        assert_eq!(check(&signed).n_violations, 1);

        let subscribed = || Happened::Subscribed {
            master: "m".to_owned(),
        };
        let back = framework(both().chain([subscribed(), subscribed(), offered()]));
        assert_eq!(check(&back).n_violations, 1);
    }
}

//! I4: updates come until they are acknowledged, in order, and then never again.

use std::collections::{BTreeMap, BTreeSet};

use super::Verdict;
use crate::history::{Happened, History};

/// A subscription can be under way while an acknowledgement is answered, and tell what that one ends.
const ON_ITS_WAY: u64 = 1;

pub(super) fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::new(
        "I4",
        "An update is told until it is acknowledged, and never after a later subscription; the \
         next one of a task comes only then",
    );
    // Updates whose acknowledgement was answered, and on which subscription.
    let mut acknowledged: BTreeMap<&str, u64> = BTreeMap::new();
    // Those that were told and whose acknowledgement was not answered, with the subscription on
    // which each was told last.
    let mut open: BTreeMap<&str, (&str, u64)> = BTreeMap::new();
    let mut ended: BTreeSet<&str> = BTreeSet::new();
    let mut subscription = 0;
    for event in &history.framework {
        match &event.what {
            Happened::Subscribed { .. } => subscription += 1,
            Happened::Acknowledged { uuid, .. } => {
                acknowledged.entry(uuid).or_insert(subscription);
                open.remove(uuid.as_str());
            }
            Happened::Updated {
                task,
                state,
                terminal,
                uuid,
            } if !uuid.is_empty() => {
                verdict.look();
                if acknowledged
                    .get(uuid.as_str())
                    .is_some_and(|at| *at + ON_ITS_WAY < subscription)
                {
                    verdict.broken(format!(
                        "{state} of {task} ({uuid}) was told again after it was acknowledged"
                    ));
                }
                if !acknowledged.contains_key(uuid.as_str()) {
                    open.insert(uuid, (task, subscription));
                }
                if ended.contains(task.as_str()) && !*terminal {
                    verdict.broken(format!("{task} is {state} after its end"));
                }
                if *terminal {
                    ended.insert(task);
                }
            }
            _ => {}
        }
    }
    for (uuid, (task, at)) in open {
        if at < subscription {
            verdict.broken(format!(
                "an update of {task} ({uuid}) was never acknowledged, and was not told again"
            ));
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::made::{framework, updated};

    fn acknowledged(uuid: &str) -> Happened {
        Happened::Acknowledged {
            task: "t".to_owned(),
            uuid: uuid.to_owned(),
        }
    }

    fn subscribed() -> Happened {
        Happened::Subscribed {
            master: "m".to_owned(),
        }
    }

    fn n_violations(events: impl IntoIterator<Item = Happened>) -> u64 {
        check(&framework(events)).n_violations
    }

    #[test]
    fn an_update_is_repeated_until_it_is_acknowledged() {
        let runs = || updated("t", "TASK_RUNNING", "r");
        let good = [
            subscribed(),
            runs(),
            subscribed(),
            runs(),
            acknowledged("r"),
        ];
        assert_eq!(n_violations(good), 0);
        let lost = [subscribed(), runs(), subscribed()];
        assert_eq!(n_violations(lost), 1, "lost by a failover");
        let again = [
            subscribed(),
            runs(),
            acknowledged("r"),
            subscribed(),
            subscribed(),
            runs(),
        ];
        assert_eq!(n_violations(again), 1, "told again");
        let undead = [
            subscribed(),
            updated("t", "TASK_FINISHED", "f"),
            acknowledged("f"),
            runs(),
            acknowledged("r"),
        ];
        assert_eq!(n_violations(undead), 1, "after its end");
    }
}

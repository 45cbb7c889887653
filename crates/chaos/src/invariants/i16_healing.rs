//! I16: when the faults are over, everything is well soon.

use super::Verdict;
use crate::history::History;

pub(super) fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::new(
        "I16",
        "When the faults are over, writes succeed, agents are back, tasks end and masters agree \
         within the time of the scenario",
    );
    verdict.look();
    if history.healed_after_ms.is_none() {
        verdict.broken(format!(
            "it did not heal: {}",
            history.not_healed.join("; ")
        ));
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_does_not_heal_is_found() {
        let mut history = History {
            healed_after_ms: Some(1),
            ..History::default()
        };
        assert!(check(&history).holds());
        history.healed_after_ms = None;
        history.not_healed.push("no leader".to_owned());
        assert_eq!(check(&history).violations, ["it did not heal: no leader"]);
    }
}

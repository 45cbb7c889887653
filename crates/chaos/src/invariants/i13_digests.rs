//! I13: masters that applied the same entries have the same state.

use std::collections::BTreeMap;

use super::Verdict;
use crate::history::History;

pub(super) fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::new("I13", "Masters have the same state at the same entry");
    let mut known: BTreeMap<u64, (&str, u64)> = BTreeMap::new();
    for seen in &history.digests {
        let (digest, master) = *known
            .entry(seen.index)
            .or_insert((&seen.digest, seen.master));
        if master == seen.master && digest == seen.digest {
            continue;
        }
        verdict.look();
        if digest != seen.digest {
            verdict.broken(format!(
                "at entry {} master {master} has {digest}, master {} has {}",
                seen.index, seen.master, seen.digest
            ));
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Digest;

    #[test]
    fn replicas_that_differ_are_found() {
        let seen = |master, digest: &str| Digest {
            index: 50,
            master,
            digest: digest.to_owned(),
        };
        let mut history = History {
            digests: vec![seen(1, "a"), seen(2, "a")],
            ..History::default()
        };
        assert!(check(&history).holds());
        history.digests.push(seen(3, "b"));
        assert_eq!(check(&history).n_violations, 1);
    }
}

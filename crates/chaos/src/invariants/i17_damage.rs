//! I17: damage is found before it is served.

use super::Verdict;
use crate::history::{History, Reaction};

pub(super) fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::new(
        "I17",
        "A damaged replica says so and stops, or is repaired; it never serves what is damaged",
    );
    for damage in &history.damages {
        verdict.look();
        let what = format!("master {}, {}", damage.master, damage.what);
        match &damage.reaction {
            Reaction::Refused { .. } | Reaction::Repaired => {}
            Reaction::Differs { digests } => verdict.broken(format!("{what}: serves {digests}")),
            Reaction::Silent => {
                verdict.broken(format!("{what}: neither says anything nor follows"));
            }
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Damage;

    #[test]
    fn a_replica_that_serves_damage_is_found() {
        let damage = |reaction| History {
            damages: vec![Damage {
                master: 2,
                what: "bit 3".to_owned(),
                reaction,
            }],
            ..History::default()
        };
        assert!(check(&damage(Reaction::Repaired)).holds());
        let said = "checksum".to_owned();
        assert!(check(&damage(Reaction::Refused { said })).holds());
        let digests = "a, not b".to_owned();
        assert_eq!(
            check(&damage(Reaction::Differs { digests })).n_violations,
            1
        );
        assert_eq!(check(&damage(Reaction::Silent)).n_violations, 1);
    }
}

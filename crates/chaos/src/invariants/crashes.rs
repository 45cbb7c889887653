//! No process ends that nobody ended.

use super::Verdict;
use crate::history::History;

pub(super) fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::new("crashes", "No process ends by itself");
    verdict.look();
    for crash in &history.crashes {
        verdict.broken(crash.clone());
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_is_found() {
        let mut history = History::default();
        assert!(check(&history).holds());
        history.crashes.push("master 1 ended: exit 101".to_owned());
        assert_eq!(check(&history).n_violations, 1);
    }
}

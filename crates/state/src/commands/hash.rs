//! What masters say their states were.

use crate::apply::Applied;
use crate::bounds;
use crate::command::ReportStateHash;
use crate::state::State;

/// Notes what a master's state was. The first word of a master about an entry counts; of what is
/// older than the newest [`bounds::STATE_HASHES_MAX`] nothing is kept.
///
/// The state does not judge: a judgement needs the membership, which it does not know.
pub(crate) fn report(state: &mut State, command: &ReportStateHash) -> Applied {
    let key = (command.index, command.schema, command.node);
    state.hashes.entry(key).or_insert(command.digest);
    if state.hashes.len() > bounds::STATE_HASHES_MAX
        && let Some(oldest) = state.hashes.keys().next().copied()
    {
        state.hashes.remove(&oldest);
    }
    Applied::done(Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::commands::fixture::Given;
    use regency_types::NodeId;

    fn said(node: u64, index: u64, digest: u128) -> ReportStateHash {
        ReportStateHash {
            node: NodeId(node),
            index,
            schema: 1,
            digest,
        }
    }

    fn kept(given: &Given) -> Vec<ReportStateHash> {
        given.state.state_hashes().collect()
    }

    #[test]
    fn the_first_word_of_a_master_about_an_entry_counts() {
        let mut given = Given::new();
        for report in [said(2, 1000, 7), said(1, 1000, 7), said(2, 1000, 8)] {
            given.ok(Command::ReportStateHash(report));
        }
        assert_eq!(kept(&given), [said(1, 1000, 7), said(2, 1000, 7)]);
        let other_form = ReportStateHash {
            schema: 2,
            ..said(2, 1000, 9)
        };
        given.ok(Command::ReportStateHash(other_form));
        assert_eq!(kept(&given).len(), 3);
    }

    #[test]
    fn only_the_newest_are_kept() {
        let mut given = Given::new();
        let max = bounds::STATE_HASHES_MAX as u64;
        for index in (0..max + 5).rev() {
            given.ok(Command::ReportStateHash(said(1, index, 1)));
        }
        let kept = kept(&given);
        assert_eq!(kept.len() as u64, max);
        assert_eq!(kept[0].index, 5);
        given.ok(Command::ReportStateHash(said(1, max + 5, 1)));
        assert_eq!(given.state.state_hashes().next(), Some(said(1, 6, 1)));
    }
}

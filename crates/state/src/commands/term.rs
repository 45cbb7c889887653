//! Terms of masters.

use crate::apply::Applied;
use crate::command::BeginTerm;
use crate::effect::Effect;
use crate::outcome::Refusal;
use crate::state::{State, TermRecord};

/// A leader begins its term. The first one gives the cluster its identity.
pub(crate) fn begin(state: &mut State, command: &BeginTerm) -> Applied {
    match state.cluster {
        Some(cluster) if cluster != command.cluster => return Refusal::WrongCluster.into(),
        _ => {}
    }
    if let Some(record) = &state.term
        && record.term > command.term
    {
        return Refusal::TermOver(command.term.0).into();
    }
    state.cluster = Some(command.cluster);
    state.term = Some(TermRecord {
        term: command.term,
        master: command.master.clone(),
        began: state.now,
        wall: state.wall,
    });
    Applied::done(vec![Effect::WakeAllocator])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::commands::fixture::{Given, begin_term};
    use regency_types::ClusterId;

    #[test]
    fn the_first_term_names_the_cluster_and_a_stranger_is_refused() {
        let mut given = Given::new();
        assert_eq!(given.state.cluster(), Some(ClusterId(7)));
        let mut stranger = begin_term(2);
        stranger.cluster = ClusterId(8);
        let before = given.state.to_parts().cluster;
        assert_eq!(
            given.apply(Command::BeginTerm(stranger)).verdict,
            Err(Refusal::WrongCluster)
        );
        assert_eq!(given.state.to_parts().cluster, before);
    }

    #[test]
    fn a_term_that_is_over_cannot_begin() {
        let mut given = Given::new();
        given.ok(Command::BeginTerm(begin_term(5)));
        assert_eq!(
            given.apply(Command::BeginTerm(begin_term(4))).verdict,
            Err(Refusal::TermOver(4))
        );
        assert_eq!(given.state.term().expect("a term began").term.0, 5);
    }
}

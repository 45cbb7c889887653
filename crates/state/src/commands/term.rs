//! Terms of masters.

use crate::apply::Applied;
use crate::command::BeginTerm;
use crate::effect::Effect;
use crate::model::Consumption;
use crate::outcome::Refusal;
use crate::state::{State, TermRecord};
use regency_mutants::{Mutant, on};

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
    forget_what_must_last(state);
    state.cluster = Some(command.cluster);
    state.term = Some(TermRecord {
        term: command.term,
        master: command.master.clone(),
        began: state.now,
        wall: state.wall,
    });
    Applied::done(vec![Effect::WakeAllocator])
}

/// Defects only: what a change of leader would forget if it were memory of the leader.
fn forget_what_must_last(state: &mut State) {
    if on(Mutant::LoseUpdatesOnFailover) {
        let waiting = state.tasks.values().filter(|t| t.unacked.is_some());
        for key in waiting.map(|t| t.key.clone()).collect::<Vec<_>>() {
            if let Some(task) = state.task_mut(&key) {
                task.unacked = None;
            }
            if let Some(framework) = state.framework_mut(&key.framework) {
                framework.n_unacked -= 1;
            }
        }
    }
    if on(Mutant::LoseOffersOnFailover) {
        for offer in state.offers.keys().copied().collect::<Vec<_>>() {
            state.consume_offer(offer, Consumption::Rescinded);
        }
    }
    if on(Mutant::LoseFiltersOnFailover) {
        for id in state.frameworks.keys().cloned().collect::<Vec<_>>() {
            if let Some(framework) = state.framework_mut(&id) {
                framework.filters = imbl::OrdMap::new();
            }
        }
    }
    if on(Mutant::ReuseOfferIds) {
        let newest = state.offers.keys().next_back();
        state.counters.offer = newest.map_or(0, |offer| offer.0 + 1);
    }
    if on(Mutant::ReuseGenerations) {
        let newest = state.tasks.values().map(|t| t.generation.0).max();
        state.counters.generation = newest.unwrap_or_default();
    }
    if on(Mutant::TimeRunsWithoutLeader) {
        state.now += regency_types::DurationMs::from_secs(30);
    }
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

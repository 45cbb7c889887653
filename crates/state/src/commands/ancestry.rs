//! A state that goes on as that of another cluster.

use crate::apply::Applied;
use crate::bounds;
use crate::command::ChangeCluster;
use crate::commands::report::renumber;
use crate::model::{Ancestor, Consumption};
use crate::outcome::Refusal;
use crate::state::State;

/// Gives the state a new cluster id. Whatever the former cluster did after this state was taken is
/// unknown here, so nothing that is given out from now on may meet it: ids carry the new cluster,
/// launches get numbers far above, and each agent counts its commands anew from the inventory that
/// it is asked for when it comes.
pub(crate) fn change_cluster(state: &mut State, command: ChangeCluster) -> Applied {
    if state.cluster == Some(command.to) {
        return Applied::done(Vec::new());
    }
    let was = state.ancestors.iter().any(|a| a.cluster == command.to);
    if state.cluster != Some(command.from) || was {
        return Refusal::WrongCluster.into();
    }
    // No stream of a framework is open before a term began: nobody has to be told.
    let offers: Vec<_> = state.offers.keys().copied().collect();
    for offer in offers {
        state.consume_offer(offer, Consumption::Rescinded);
    }
    let inverse_offers: Vec<_> = state.inverse_offers.keys().copied().collect();
    for offer in inverse_offers {
        state.remove_inverse_offer(offer);
    }
    state.consumed.clear();
    state.hashes.clear();
    let agents: Vec<_> = state.agents.keys().cloned().collect();
    for id in agents {
        let noted = state.agents.get(&id).map_or(0, |a| a.command_seq) + 1;
        renumber(state, &id, noted);
        if let Some(agent) = state.agent_mut(&id) {
            agent.inventory_due = true;
        }
    }
    state.counters.generation += bounds::GENERATIONS_SKIPPED;
    state.ancestors.push_back(Ancestor {
        cluster: command.from,
        index: command.index,
        wall: state.wall,
        n_frameworks: state.counters.framework,
    });
    while state.ancestors.len() > bounds::ANCESTORS_MAX {
        state.ancestors.pop_front();
    }
    state.cluster = Some(command.to);
    Applied::done(Vec::new())
}

#[cfg(test)]
mod tests {
    use regency_types::{AgentEpoch, ClusterId, FrameworkId};

    use super::*;
    use crate::command::{Command, KillTask};
    use crate::commands::fixture::{Given, begin_term};

    fn change(from: u128, to: u128) -> Command {
        Command::ChangeCluster(ChangeCluster {
            from: ClusterId(from),
            to: ClusterId(to),
            index: 9,
        })
    }

    #[test]
    fn a_state_goes_on_under_another_id_once_and_never_back() {
        let mut given = Given::new();
        given.agent(1, "cpus:4");
        assert_eq!(given.refused(change(6, 8)), Refusal::WrongCluster);
        given.ok(change(7, 8));
        let once = given.state.clone();
        given.ok(change(7, 8));
        assert_eq!(given.state.ancestors, once.ancestors);
        assert_eq!(given.state.agents, once.agents);
        assert_eq!(given.state.cluster(), Some(ClusterId(8)));
        assert_eq!(given.refused(change(8, 7)), Refusal::WrongCluster);
        assert_eq!(
            given.refused(Command::BeginTerm(begin_term(2))),
            Refusal::WrongCluster
        );
        let known = given.state.ancestors().next().expect("one");
        assert_eq!((known.cluster, known.index), (ClusterId(7), 9));
    }

    #[test]
    fn no_offer_and_no_launch_of_the_former_cluster_is_left() {
        let (mut given, agent, framework, key) = Given::with_task();
        let before = given.state.counters().generation;
        given.ok(Command::KillTask(KillTask {
            task: key.clone(),
            agent: None,
            grace: None,
        }));
        given.offer(&framework, &agent, "cpus:1");
        given.ok(change(7, 8));
        assert_eq!(given.state.offers().count(), 0);
        assert_eq!(given.state.n_consumed(), 0);
        assert!(given.state.counters().generation > before + u64::from(u32::MAX));
        let outbox = given.outbox(&agent);
        assert!(
            !outbox.iter().any(|c| c.launches().next().is_some()),
            "{outbox:?}"
        );
        let record = given.state.agent(&agent).expect("kept");
        assert!(record.inventory_due && record.available().is_empty());
        // Nothing is placed on an agent before it told what it runs.
        assert_eq!(
            given
                .state
                .agent_of_epoch(AgentEpoch(1))
                .map(|a| a.id.clone()),
            Some(agent)
        );
    }

    #[test]
    fn a_framework_that_ended_before_stays_removed_and_a_later_one_may_come() {
        let mut given = Given::new();
        given.subscribe(None, 1);
        given.state.frameworks.clear();
        given.ok(change(7, 8));
        let of = |n: u64| -> FrameworkId { ClusterId(7).framework_id(n) };
        assert!(given.state.is_removed(&of(0)));
        assert!(!given.state.is_removed(&of(1)));
        assert_eq!(given.subscribe(Some(of(1)), 2), of(1));
        assert_eq!(given.subscribe(None, 3), ClusterId(8).framework_id(1));
    }
}

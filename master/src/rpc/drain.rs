//! What an agent is told of its own draining, which it shows to those who ask it.

use regency_rpc::proto::regency::agent::v1 as wire;
use regency_state::State;
use regency_types::{AgentId, DurationMs};

/// What is to be said of the agent, if it is not what was said before.
pub(super) fn notice(
    state: &State,
    agent: &AgentId,
    told: &mut Option<wire::Drain>,
) -> Option<wire::DrainNotice> {
    let drain = state.agent(agent)?.drain.map(|drain| wire::Drain {
        max_grace_ms: drain.max_grace.map(|DurationMs(ms)| ms),
        mark_gone: drain.mark_gone,
        since_wall_ms: drain.since.0,
    });
    if *told == drain {
        return None;
    }
    told.clone_from(&drain);
    Some(wire::DrainNotice { drain })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::fixture::Cluster;
    use regency_state::{AgentDrained, Command, DrainAgent, ReactivateAgent};

    #[test]
    fn an_agent_is_told_of_its_draining_when_something_is_new() {
        let mut cluster = Cluster::new();
        let agent = cluster.agent(1, "cpus:1");
        let mut told = None;
        assert_eq!(notice(&cluster.state, &agent, &mut told), None);
        cluster.ok(Command::DrainAgent(DrainAgent {
            agent: agent.clone(),
            max_grace: Some(DurationMs(7)),
            mark_gone: false,
        }));
        let said = notice(&cluster.state, &agent, &mut told).expect("news");
        assert_eq!(said.drain.and_then(|drain| drain.max_grace_ms), Some(7));
        cluster.ok(Command::AgentDrained(AgentDrained {
            agent: agent.clone(),
        }));
        assert_eq!(notice(&cluster.state, &agent, &mut told), None, "the same");
        cluster.ok(Command::ReactivateAgent(ReactivateAgent {
            agent: agent.clone(),
        }));
        let said = notice(&cluster.state, &agent, &mut told).expect("news");
        assert_eq!(said.drain, None);
        assert_eq!(notice(&cluster.state, &agent, &mut told), None);
    }
}

//! Asks frameworks to leave agents whose machines are going to be unavailable, and notices that a
//! draining agent is empty.

use std::sync::Arc;
use std::time::{Duration, Instant};

use regency_leader_core::maintenance::{asks, drained};
use regency_types::DurationMs;

use super::Leader;

/// How often draining agents are looked at. Frameworks are asked once in an allocation interval.
const PERIOD: Duration = Duration::from_millis(250);

/// Until the term ends.
pub(crate) async fn run(leader: Arc<Leader>) {
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let config = &leader.config;
    let timeout = config
        .offer_timeout
        .map(|t| DurationMs(u64::try_from(t.as_millis()).unwrap_or(u64::MAX)));
    let mut asked: Option<Instant> = None;
    loop {
        period.tick().await;
        let Some(now) = leader.consensus.cluster_time() else {
            continue;
        };
        let applied = leader.state();
        let mut commands = drained(&applied.state);
        if asked.is_none_or(|at| at.elapsed() >= config.allocation_interval) {
            asked = Some(Instant::now());
            let streams = leader.streams.all().into_iter();
            let connected = streams.map(|stream| stream.framework.clone()).collect();
            let attached = leader.attachments.attached();
            commands.extend(asks(&applied.state, now, &attached, &connected, timeout));
        }
        for command in commands {
            // Refused or without a verdict: the next period looks again.
            let _ = leader.consensus.propose(command).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::query::fixture::Cluster;
    use regency_state::model::{Capabilities, MachineId, MaintenanceWindow, Unavailability};
    use regency_state::{
        AgentDrained, AnswerInverseOffers, Command, DrainAgent, IssueInverseOffers, RescindOffers,
        UpdateMaintenance,
    };
    use regency_types::TaskState;

    fn all(cluster: &Cluster) -> Vec<Command> {
        let state = &cluster.state;
        let attached = state.agents().map(|a| a.id.clone()).collect();
        let connected = state.frameworks().map(|f| f.id.clone()).collect();
        let mut commands = drained(state);
        commands.extend(asks(state, state.now(), &attached, &connected, None));
        commands
    }

    #[test]
    fn frameworks_are_asked_once_and_again_when_they_want() {
        let mut cluster = Cluster::new();
        let agent = cluster.agent(1, "cpus:2");
        let framework = cluster.subscribe("eng", Capabilities::default());
        let offer = cluster.offer(&framework, "eng", &agent, "cpus:1");
        assert_eq!(all(&cluster), [], "nothing is planned");
        cluster.ok(Command::UpdateMaintenance(UpdateMaintenance {
            windows: vec![MaintenanceWindow {
                machines: vec![MachineId {
                    hostname: Some("agent1.example".into()),
                    ip: None,
                }],
                unavailability: Unavailability {
                    start_ns: 5,
                    duration_ns: None,
                },
            }],
        }));
        assert!(cluster.state.offer(offer).is_none(), "taken back");
        assert_eq!(all(&cluster), [], "it has nothing there");
        cluster.offer(&framework, "eng", &agent, "cpus:1");
        let asked = all(&cluster);
        let ask = Command::IssueInverseOffers(IssueInverseOffers {
            plans: vec![(framework.clone(), agent.clone())],
            timeout: None,
        });
        assert_eq!(asked, std::slice::from_ref(&ask));
        let (nobody, now) = (BTreeSet::new(), cluster.state.now());
        let none = asks(&cluster.state, now, &BTreeSet::new(), &nobody, None);
        assert_eq!(none, []);
        cluster.ok(ask.clone());
        assert_eq!(all(&cluster), [], "it was asked");
        let id = cluster.state.inverse_offers().next().expect("one").id;
        cluster.ok(Command::AnswerInverseOffers(AnswerInverseOffers {
            framework: framework.clone(),
            offers: vec![id],
            accepted: true,
            refuse: DurationMs(10),
        }));
        assert_eq!(all(&cluster), [], "it answered");
        for _ in 0..2 {
            cluster.ok(Command::RescindOffers(RescindOffers { offers: vec![] }));
        }
        assert_eq!(all(&cluster), [ask], "a while ago");
    }

    #[test]
    fn a_draining_agent_is_empty_when_all_ends_are_acknowledged() {
        let (mut cluster, key) = Cluster::with_task();
        let agent = cluster.state.task(&key).expect("launched").agent.clone();
        cluster.ok(Command::DrainAgent(DrainAgent {
            agent: agent.clone(),
            max_grace: None,
            mark_gone: false,
        }));
        assert_eq!(all(&cluster), [], "the task runs");
        cluster.report(&key, 1, TaskState::Killed);
        assert_eq!(all(&cluster), [], "its end is not acknowledged");
        cluster.acknowledge(&key, 1);
        let drained = Command::AgentDrained(AgentDrained { agent });
        assert_eq!(all(&cluster), std::slice::from_ref(&drained));
        cluster.ok(drained);
        assert_eq!(all(&cluster), [], "once");
    }
}

//! Tells silent agents from others, and proposes what follows; the decision is
//! [`regency_leader_core::liveness`].

use std::sync::Arc;
use std::time::Duration;

use regency_leader_core::liveness::{Presence, judge, silence};

use super::Leader;

const PERIOD: Duration = Duration::from_secs(1);

/// Until the term ends.
pub(crate) async fn run(leader: Arc<Leader>) {
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last_ms = leader.clock.monotonic_ms();
    // Time in which this master itself stood still is nobody's silence.
    let mut stalled_ms = 0_u64;
    loop {
        period.tick().await;
        let now_ms = leader.clock.monotonic_ms();
        let lag_ms = now_ms.saturating_sub(last_ms);
        last_ms = now_ms;
        if lag_ms > 3 * PERIOD.as_millis() as u64 {
            stalled_ms = now_ms;
            continue;
        }
        let Some(now) = leader.consensus.cluster_time() else {
            continue;
        };
        let commands = judge(
            &leader.state().state,
            now,
            leader.config.agent_timeout,
            |agent| {
                let heard_ms = leader.attachments.last_heard_ms(agent);
                Presence {
                    silent: silence(heard_ms, leader.began_ms, stalled_ms, now_ms),
                    left: leader.attachments.has_left(agent),
                }
            },
        );
        for command in commands {
            // Without a verdict the next period tries again.
            let _ = leader.consensus.propose(command).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::fixture::Cluster;
    use regency_leader_core::liveness::MARKED_MAX;
    use regency_state::model::Capabilities;
    use regency_state::{
        ClearSuspicion, Command, MarkAgentUnreachable, RescindOffers, SuspectAgents,
    };
    use regency_types::{AgentId, ClusterTime};

    const TIMEOUT: Duration = Duration::from_secs(75);

    fn silent(seconds: u64) -> Presence {
        Presence {
            silent: Duration::from_secs(seconds),
            left: false,
        }
    }

    #[test]
    fn an_agent_is_suspected_after_a_third_and_marked_after_the_whole_timeout() {
        let mut cluster = Cluster::new();
        let agent = cluster.agent(1, "cpus:1");
        let at = |seconds: u64| ClusterTime(seconds * 1000);
        assert_eq!(judge(&cluster.state, at(100), TIMEOUT, |_| silent(24)), []);
        let commands = judge(&cluster.state, at(100), TIMEOUT, |_| silent(25));
        assert_eq!(
            commands,
            [Command::SuspectAgents(SuspectAgents {
                agents: vec![(agent.clone(), at(75))]
            })]
        );
        cluster.at = 100_000;
        for command in commands {
            cluster.ok(command);
        }
        assert_eq!(judge(&cluster.state, at(149), TIMEOUT, |_| silent(74)), []);
        assert_eq!(
            judge(&cluster.state, at(150), TIMEOUT, |_| silent(75)),
            [Command::MarkAgentUnreachable(MarkAgentUnreachable {
                agent
            })]
        );
    }

    #[test]
    fn suspicion_survives_the_leader_but_condemns_nobody_the_new_one_hears() {
        let mut cluster = Cluster::new();
        let agent = cluster.agent(1, "cpus:1");
        cluster.at = 30_000;
        cluster.ok(Command::SuspectAgents(SuspectAgents {
            agents: vec![(agent.clone(), ClusterTime(0))],
        }));
        let late = ClusterTime(90_000);
        // A new leader has not listened for long enough itself.
        assert_eq!(
            judge(&cluster.state, late, TIMEOUT, |_| silent(1)),
            [Command::ClearSuspicion(ClearSuspicion {
                agents: vec![agent.clone()]
            })]
        );
        // It needs a third of the timeout of its own, not all of it.
        assert_eq!(
            judge(&cluster.state, late, TIMEOUT, |_| silent(25)),
            [Command::MarkAgentUnreachable(MarkAgentUnreachable {
                agent
            })]
        );
    }

    #[test]
    fn offers_of_an_agent_that_left_this_leader_are_rescinded_after_a_grace() {
        let mut cluster = Cluster::new();
        let agent = cluster.agent(1, "cpus:1");
        let framework = cluster.subscribe("eng", Capabilities::default());
        let offer = cluster.offer(&framework, "eng", &agent, "cpus:1");
        let left = |seconds| {
            move |_: &AgentId| Presence {
                left: true,
                ..silent(seconds)
            }
        };
        let now = ClusterTime(10_000);
        assert_eq!(judge(&cluster.state, now, TIMEOUT, left(4)), []);
        assert_eq!(
            judge(&cluster.state, now, TIMEOUT, left(5)),
            [Command::RescindOffers(RescindOffers {
                offers: vec![offer]
            })]
        );
        // One that was never attached here keeps them: it may not have found this leader yet.
        assert_eq!(judge(&cluster.state, now, TIMEOUT, |_| silent(20)), []);
    }

    #[test]
    fn only_so_many_agents_are_given_up_at_once() {
        let mut cluster = Cluster::new();
        let agents: Vec<AgentId> = (1..=MARKED_MAX as u128 + 5)
            .map(|n| cluster.agent_at(n, &format!("10.0.1.{n}:5051"), "cpus:1"))
            .collect();
        cluster.at = 30_000;
        cluster.ok(Command::SuspectAgents(SuspectAgents {
            agents: agents.iter().map(|a| (a.clone(), ClusterTime(0))).collect(),
        }));
        let commands = judge(&cluster.state, ClusterTime(200_000), TIMEOUT, |_| {
            silent(100)
        });
        assert_eq!(commands.len(), MARKED_MAX);
    }
}

//! Forgets agents that were marked gone, or are unreachable, for too long; the decision is
//! [`regency_leader_core::registry`].

use std::sync::Arc;

use regency_leader_core::registry::forgotten;
use regency_state::{Command, Outcome};

use super::Leader;
use crate::metrics;

/// Until the term ends.
pub(crate) async fn run(leader: Arc<Leader>) {
    let config = &leader.config;
    let mut period = tokio::time::interval(config.registry_gc_interval);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        let Some(now) = leader.consensus.cluster_time() else {
            continue;
        };
        let applied = leader.state();
        for command in forgotten(&applied.state, now, config.registry_limits) {
            // Without a verdict the next period looks again.
            if let Ok(Ok(Outcome::Removed { n })) = leader
                .consensus
                .propose(Command::ForgetAgents(command))
                .await
            {
                ::metrics::counter!(metrics::AGENTS_FORGOTTEN).increment(n);
                tracing::info!(
                    agents = n,
                    "agents that are gone or unreachable were forgotten"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::fixture::{Cluster, resources};
    use regency_leader_core::registry::RegistryLimits;
    use regency_resources::{DiskInfo, Persistence, Reservation, Value, Volume, VolumeMode};
    use regency_state::{
        ApplyOperation, ForgetAgents, MarkAgentGone, MarkAgentUnreachable, ResourceOperation,
        SuspectAgents,
    };
    use regency_types::{AgentId, ClusterTime, DurationMs};

    const DAY: u64 = 24 * 3600 * 1000;

    fn forgotten_at(cluster: &Cluster, day: u64, max_count: usize) -> Vec<AgentId> {
        let limits = RegistryLimits {
            max_age: DurationMs(14 * DAY),
            max_count,
        };
        let entries = forgotten(&cluster.state, ClusterTime(day * DAY), limits);
        entries.into_iter().flat_map(|entry| entry.agents).collect()
    }

    fn give_up(cluster: &mut Cluster, agent: &AgentId) {
        cluster.ok(Command::SuspectAgents(SuspectAgents {
            agents: vec![(agent.clone(), ClusterTime(cluster.at))],
        }));
        cluster.ok(Command::MarkAgentUnreachable(MarkAgentUnreachable {
            agent: agent.clone(),
        }));
    }

    fn make_volume(cluster: &mut Cluster, agent: &AgentId) {
        let disk = resources("disk:100").push_reservation(&Reservation::dynamic("eng", None));
        let mut volume = disk.entries()[0].key.clone();
        volume.disk = Some(Box::new(DiskInfo {
            persistence: Some(Persistence {
                id: "db".into(),
                principal: None,
            }),
            volume: Some(Volume {
                container_path: "data".into(),
                host_path: None,
                mode: VolumeMode::ReadWrite,
            }),
            source: None,
        }));
        let volume = std::iter::once((volume, Value::units(100))).collect();
        for operation in [
            ResourceOperation::Reserve(disk),
            ResourceOperation::Create(volume),
        ] {
            cluster.ok(Command::ApplyOperation(ApplyOperation {
                agent: agent.clone(),
                operation,
                principal: None,
            }));
        }
    }

    #[test]
    fn who_is_away_is_forgotten_by_age_and_by_number_the_oldest_first() {
        let mut cluster = Cluster::new();
        let agents: Vec<AgentId> = (1..=5)
            .map(|n| cluster.agent(n, "cpus:1;disk:200"))
            .collect();
        let [a, b, c, d, _] = &agents[..] else {
            panic!("there are five")
        };
        make_volume(&mut cluster, b);
        for (day, agent) in [(1, a), (2, b), (3, c)] {
            cluster.at = day * DAY;
            give_up(&mut cluster, agent);
        }
        cluster.ok(Command::MarkAgentGone(MarkAgentGone { agent: d.clone() }));
        let nobody: [AgentId; 0] = [];
        assert_eq!(forgotten_at(&cluster, 15, 9), nobody, "not quite a day");
        assert_eq!(forgotten_at(&cluster, 16, 9), std::slice::from_ref(a));
        // The one with a volume stays, whatever its age; those that are there do, too.
        let old = [d.clone(), a.clone(), c.clone()];
        assert_eq!(forgotten_at(&cluster, 99, 9), old);
        // Of each kind so many: of those that are unreachable the first two are too many.
        assert_eq!(forgotten_at(&cluster, 4, 1), [a.clone(), b.clone()]);
        assert_eq!(
            forgotten_at(&cluster, 4, 0),
            [d.clone(), a.clone(), b.clone(), c.clone()]
        );
    }

    #[test]
    fn an_entry_forgets_them_and_then_there_is_nothing_to_do() {
        let mut cluster = Cluster::new();
        let (away, gone) = (cluster.agent(1, "cpus:1"), cluster.agent(2, "cpus:1"));
        give_up(&mut cluster, &away);
        cluster.ok(Command::MarkAgentGone(MarkAgentGone { agent: gone }));
        let agents = forgotten_at(&cluster, 99, 9);
        assert_eq!(agents.len(), 2);
        let outcome = cluster.ok(Command::ForgetAgents(ForgetAgents { agents }));
        assert_eq!(outcome, Outcome::Removed { n: 2 });
        assert!(forgotten_at(&cluster, 99, 0).is_empty());
        assert_eq!(cluster.state.agents().count(), 0);
        assert_eq!(cluster.state.gone_agents().count(), 0);
    }
}

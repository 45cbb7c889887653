//! Proposes what is due by cluster time. The state checks each deadline again.

use std::sync::Arc;
use std::time::Duration;

use regency_leader_core::expiry::{due, filters_due};
use regency_state::{Command, ExpireFilters};

use super::Leader;

/// How often deadlines are looked at.
const PERIOD: Duration = Duration::from_millis(250);
/// How often filters are: they end by themselves in the allocator, this only frees their memory.
const FILTER_PERIODS: u32 = 20;

/// Until the term ends.
pub(crate) async fn run(leader: Arc<Leader>) {
    let mut period = tokio::time::interval(PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ticks = 0_u32;
    loop {
        period.tick().await;
        ticks = ticks.wrapping_add(1);
        let Some(now) = leader.consensus.cluster_time() else {
            continue;
        };
        let applied = leader.state();
        let mut commands = due(&applied.state, now);
        if ticks.is_multiple_of(FILTER_PERIODS) && filters_due(&applied.state, now) {
            commands.push(Command::ExpireFilters(ExpireFilters));
        }
        for command in commands {
            // Refused (its grace is not over) or without a verdict: the next period tries again.
            let _ = leader.consensus.propose(command).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::fixture::Cluster;
    use regency_state::model::{Capabilities, FrameworkPhase};
    use regency_state::{
        ExpireFramework, ExpireOffers, FrameworkDisconnected, IssueOffers, OfferPlan,
    };
    use regency_types::ClusterTime;

    #[test]
    fn only_what_is_due_is_proposed() {
        let mut cluster = Cluster::new();
        let agent = cluster.agent(1, "cpus:2");
        let framework = cluster.subscribe("eng", Capabilities::default());
        cluster.offer(&framework, "eng", &agent, "cpus:1");
        assert_eq!(
            due(&cluster.state, ClusterTime(u64::MAX)),
            [],
            "no deadline, no expiry"
        );

        cluster.ok(Command::IssueOffers(IssueOffers {
            plans: vec![OfferPlan {
                framework: framework.clone(),
                role: "eng".into(),
                agent,
                resources: crate::query::fixture::resources("cpus:1"),
                described: 0,
            }],
            timeout: Some(regency_types::DurationMs(1000)),
        }));
        let limited = cluster
            .state
            .offers()
            .last()
            .expect("an offer was made")
            .clone();
        let deadline = limited.deadline.expect("it has a deadline");
        assert_eq!(due(&cluster.state, ClusterTime(deadline.0 - 1)), []);
        assert_eq!(
            due(&cluster.state, deadline),
            [Command::ExpireOffers(ExpireOffers {
                offers: vec![limited.id]
            })]
        );

        let stream = cluster
            .state
            .framework(&framework)
            .and_then(|f| f.stream())
            .expect("subscribed");
        cluster.ok(Command::FrameworkDisconnected(FrameworkDisconnected {
            framework: framework.clone(),
            stream,
        }));
        let framework = cluster.state.framework(&framework).expect("it is awaited");
        let FrameworkPhase::Disconnected { deadline, .. } = framework.phase else {
            panic!("{:?}", framework.phase)
        };
        assert_eq!(
            due(&cluster.state, deadline),
            [Command::ExpireFramework(ExpireFramework {
                framework: framework.id.clone()
            })]
        );
    }
}

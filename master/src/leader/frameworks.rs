//! Frameworks that leave, and frameworks that are awaited after a change of leader.

use std::sync::Arc;
use std::time::Duration;

use regency_leader_core::awaited::Awaited;
use regency_state::model::FrameworkPhase;
use regency_state::{Command, ExpireFramework, FrameworkDisconnected};
use regency_types::{FrameworkId, StreamId};
use regency_wire::events::HEARTBEAT_INTERVAL_SECONDS;
use regency_wire::v1::scheduler::Event;
use tokio::sync::mpsc;

use super::Leader;

/// The body of a subscription was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Departure {
    pub(crate) framework: FrameworkId,
    pub(crate) stream: StreamId,
}

/// How often awaited frameworks are looked at.
const AWAIT_PERIOD: Duration = Duration::from_secs(1);

/// Proposes the disconnection of frameworks whose streams ended under this leader. One that this
/// leader closed itself is not in the registry any more and is left alone.
pub(crate) async fn follow(leader: Arc<Leader>, mut departed: mpsc::UnboundedReceiver<Departure>) {
    while let Some(departure) = departed.recv().await {
        if leader
            .streams
            .remove(&departure.framework, departure.stream)
            .is_none()
        {
            continue;
        }
        tracing::info!(framework_id = %departure.framework, "framework disconnected");
        // Its own task: a proposal that waits for a quorum must not hold up the others.
        let leader = Arc::clone(&leader);
        tokio::spawn(async move {
            tokio::select! {
                () = leader.over() => {}
                () = disconnect(&leader, &departure.framework, departure.stream) => {}
            }
        });
    }
    std::future::pending().await
}

async fn disconnect(leader: &Leader, framework: &FrameworkId, stream: StreamId) {
    let command = Command::FrameworkDisconnected(FrameworkDisconnected {
        framework: framework.clone(),
        stream,
    });
    // Without a verdict nothing is lost: a framework without a stream is awaited, and its
    // disconnection is proposed again.
    if let Ok(Ok(_)) = leader.consensus.propose(command).await {
        expire_if_due(leader, framework).await;
    }
}

/// A failover timeout of zero is over at once.
async fn expire_if_due(leader: &Leader, framework: &FrameworkId) {
    let applied = leader.state();
    let due = applied
        .state
        .framework(framework)
        .is_some_and(|f| match f.phase {
            FrameworkPhase::Disconnected { deadline, .. } => deadline <= applied.state.now(),
            FrameworkPhase::Subscribed { .. } => false,
        });
    if due {
        let command = Command::ExpireFramework(ExpireFramework {
            framework: framework.clone(),
        });
        // Refused or lost: the expiry duty tries again.
        let _ = leader.consensus.propose(command).await;
    }
}

/// Gives up frameworks that did not subscribe again in time.
pub(crate) async fn await_all(leader: Arc<Leader>) {
    let mut awaited = Awaited::default();
    let mut period = tokio::time::interval(AWAIT_PERIOD);
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        let streams = leader
            .streams
            .all()
            .into_iter()
            .map(|s| s.framework.clone())
            .collect();
        let config = &leader.config;
        let commands = awaited.look(
            &leader.state().state,
            &streams,
            leader.clock.monotonic_ms(),
            config.offer_grace,
            config.framework_grace,
        );
        for command in commands {
            // Without a verdict the next period tries again.
            let _ = leader.consensus.propose(command).await;
        }
    }
}

/// Shows every framework that its stream lives, while this leader has a quorum.
pub(crate) async fn heartbeats(leader: Arc<Leader>) {
    let mut period = tokio::time::interval(Duration::from_secs_f64(HEARTBEAT_INTERVAL_SECONDS));
    period.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    period.tick().await;
    loop {
        period.tick().await;
        for stream in leader.streams.all() {
            stream.send(&Event::heartbeat());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::fixture::Cluster;
    use regency_state::model::Capabilities;
    use regency_state::{RescindOffers, State};
    use std::collections::BTreeSet;

    fn look(
        awaited: &mut Awaited,
        state: &State,
        streams: &BTreeSet<FrameworkId>,
        seconds: u64,
    ) -> Vec<Command> {
        let (offer_grace, framework_grace) = (Duration::from_secs(30), Duration::from_secs(75));
        awaited.look(state, streams, seconds * 1000, offer_grace, framework_grace)
    }

    fn disconnected(state: &State, framework: &FrameworkId) -> Command {
        let stream = state
            .framework(framework)
            .and_then(|f| f.stream())
            .expect("subscribed");
        Command::FrameworkDisconnected(FrameworkDisconnected {
            framework: framework.clone(),
            stream,
        })
    }

    #[test]
    fn an_awaited_framework_loses_its_offers_first_and_then_counts_as_disconnected() {
        let mut cluster = Cluster::new();
        let agent = cluster.agent(1, "cpus:1");
        let framework = cluster.subscribe("eng", Capabilities::default());
        let offer = cluster.offer(&framework, "eng", &agent, "cpus:1");
        let (nobody, mut awaited) = (BTreeSet::new(), Awaited::default());
        assert_eq!(look(&mut awaited, &cluster.state, &nobody, 100), []);
        assert_eq!(look(&mut awaited, &cluster.state, &nobody, 129), []);
        assert_eq!(
            look(&mut awaited, &cluster.state, &nobody, 130),
            [Command::RescindOffers(RescindOffers {
                offers: vec![offer]
            })]
        );
        let expected = disconnected(&cluster.state, &framework);
        assert_eq!(look(&mut awaited, &cluster.state, &nobody, 175), [expected]);
        let here = BTreeSet::from([framework]);
        assert_eq!(look(&mut awaited, &cluster.state, &here, 1000), []);
    }

    #[test]
    fn a_subscription_whose_stream_is_about_to_open_is_not_one_that_was_long_awaited() {
        let mut cluster = Cluster::new();
        let capabilities = Capabilities::default();
        let framework = cluster.subscribe("eng", capabilities);
        let (nobody, mut awaited) = (BTreeSet::new(), Awaited::default());
        assert_eq!(look(&mut awaited, &cluster.state, &nobody, 0), []);
        // It subscribes again under this leader; the stream is not in the registry yet.
        cluster.subscribe_as(Some(framework.clone()), "eng", capabilities);
        assert_eq!(look(&mut awaited, &cluster.state, &nobody, 80), []);
        let expected = disconnected(&cluster.state, &framework);
        assert_eq!(look(&mut awaited, &cluster.state, &nobody, 155), [expected]);
    }
}

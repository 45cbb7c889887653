//! Frameworks that leave, and frameworks that are awaited after a change of leader.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use regency_state::model::{Framework, FrameworkPhase};
use regency_state::{Command, ExpireFramework, FrameworkDisconnected, RescindOffers, State};
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

/// What to do about frameworks that are subscribed in the state and have no stream here, as long
/// as this leader has served.
pub(crate) fn overdue(
    state: &State,
    streams: &BTreeSet<FrameworkId>,
    serving: Duration,
    offer_grace: Duration,
    framework_grace: Duration,
) -> Vec<Command> {
    let mut commands = Vec::new();
    for framework in state.frameworks() {
        let Some(stream) = missing(framework, streams) else {
            continue;
        };
        if serving >= framework_grace {
            commands.push(Command::FrameworkDisconnected(FrameworkDisconnected {
                framework: framework.id.clone(),
                stream,
            }));
        } else if serving >= offer_grace && !framework.offers.is_empty() {
            commands.push(Command::RescindOffers(RescindOffers {
                offers: framework.offers.iter().copied().collect(),
            }));
        }
    }
    commands
}

fn missing(framework: &Framework, streams: &BTreeSet<FrameworkId>) -> Option<StreamId> {
    framework
        .stream()
        .filter(|_| !streams.contains(&framework.id))
}

/// Gives up frameworks that did not subscribe again in time.
pub(crate) async fn await_all(leader: Arc<Leader>) {
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
        let commands = overdue(
            &leader.state().state,
            &streams,
            Duration::from_millis(leader.serving_ms()),
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

    const OFFER_GRACE: Duration = Duration::from_secs(30);
    const FRAMEWORK_GRACE: Duration = Duration::from_secs(75);

    fn after(state: &State, streams: &BTreeSet<FrameworkId>, seconds: u64) -> Vec<Command> {
        let serving = Duration::from_secs(seconds);
        overdue(state, streams, serving, OFFER_GRACE, FRAMEWORK_GRACE)
    }

    #[test]
    fn an_awaited_framework_loses_its_offers_first_and_then_counts_as_disconnected() {
        let mut cluster = Cluster::new();
        let agent = cluster.agent(1, "cpus:1");
        let framework = cluster.subscribe("eng", Capabilities::default());
        let offer = cluster.offer(&framework, "eng", &agent, "cpus:1");
        let nobody = BTreeSet::new();
        assert_eq!(after(&cluster.state, &nobody, 29), []);
        assert_eq!(
            after(&cluster.state, &nobody, 30),
            [Command::RescindOffers(RescindOffers {
                offers: vec![offer]
            })]
        );
        let stream = cluster
            .state
            .framework(&framework)
            .and_then(|f| f.stream())
            .expect("the framework is subscribed");
        assert_eq!(
            after(&cluster.state, &nobody, 75),
            [Command::FrameworkDisconnected(FrameworkDisconnected {
                framework: framework.clone(),
                stream
            })]
        );
        assert_eq!(
            after(&cluster.state, &BTreeSet::from([framework]), 1000),
            []
        );
    }
}

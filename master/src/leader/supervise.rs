//! Starts a leader's runtime when this master begins to lead, and ends it when it ceases to.

use std::sync::Arc;

use regency_raft_store::{Consensus, Leadership};
use regency_runtime::{Clock, TaskSet};
use tokio::sync::{mpsc, watch};

use super::{Attachments, Leader, LeaderConfig, Streams};
use super::{
    allocation, audit, effects, expiry, frameworks, level, liveness, maintenance, registry,
    updates, weights,
};
use crate::metrics;

/// The leader at this master, while there is one.
pub(crate) type LeaderWatch = watch::Receiver<Option<Arc<Leader>>>;

/// Follows leadership until this master stops. Lost and regained is an end and a beginning, never
/// a continuation.
pub(crate) async fn supervise(
    consensus: Consensus,
    clock: Arc<dyn Clock>,
    config: LeaderConfig,
    current: watch::Sender<Option<Arc<Leader>>>,
) {
    let mut leadership = consensus.leadership();
    let mut gate = consensus.gate();
    loop {
        let now = leadership.borrow_and_update().clone();
        // The watchdog may have found this leader unfit, and may find it fit again.
        tokio::select! {
            () = gate.opened(), if now.is_leader() => {
                lead(&consensus, &clock, &config, &current, &mut leadership, &now).await;
            }
            changed = leadership.changed() => if changed.is_err() { return },
        }
    }
}

/// One term: from the moment leadership was seen to the moment it is seen to be over.
async fn lead(
    consensus: &Consensus,
    clock: &Arc<dyn Clock>,
    config: &LeaderConfig,
    current: &watch::Sender<Option<Arc<Leader>>>,
    leadership: &mut watch::Receiver<Leadership>,
    began: &Leadership,
) {
    let effects = consensus.effects();
    let state = consensus.state().get();
    let Some(cluster) = state.state.cluster() else {
        tracing::error!("leads without a cluster id in the state");
        let _ = leadership.changed().await;
        return;
    };
    // Without a bound of its own, because it is told from a destructor, which cannot wait. It cannot
    // grow: each subscription departs once, and its duty takes departures without waiting for anything.
    let (departures, departed) = mpsc::unbounded_channel();
    let leader = Arc::new(Leader {
        term: began.term,
        cluster,
        consensus: consensus.clone(),
        clock: Arc::clone(clock),
        config: config.clone(),
        began_ms: clock.monotonic_ms(),
        streams: Streams::new(departures),
        attachments: Attachments::default(),
        allocate: allocation::Wish::default(),
        over: watch::Sender::new(false),
    });
    let mut tasks = TaskSet::new();
    tasks.spawn_endless("effects", effects::run(Arc::clone(&leader), effects));
    tasks.spawn_endless("allocation", allocation::run(Arc::clone(&leader)));
    tasks.spawn_endless(
        "departures",
        frameworks::follow(Arc::clone(&leader), departed),
    );
    tasks.spawn_endless(
        "awaited-frameworks",
        frameworks::await_all(Arc::clone(&leader)),
    );
    tasks.spawn_endless("heartbeats", frameworks::heartbeats(Arc::clone(&leader)));
    tasks.spawn_endless("liveness", liveness::run(Arc::clone(&leader)));
    tasks.spawn_endless("maintenance", maintenance::run(Arc::clone(&leader)));
    tasks.spawn_endless("registry", registry::run(Arc::clone(&leader)));
    tasks.spawn_endless("audit", audit::run(Arc::clone(&leader)));
    tasks.spawn_endless("feature-level", level::run(Arc::clone(&leader)));
    tasks.spawn_endless("initial-weights", weights::run(Arc::clone(&leader)));
    tasks.spawn_endless("expiry", expiry::run(Arc::clone(&leader)));
    tasks.spawn_endless("update-retries", updates::run(Arc::clone(&leader)));
    ::metrics::counter!(metrics::TERMS_LED).increment(1);
    tracing::info!(term = %began.term, cluster_id = %cluster, "this master leads");
    leader.allocate.notify_one();
    current.send_replace(Some(Arc::clone(&leader)));

    let mut gate = consensus.gate();
    loop {
        tokio::select! {
            // Seen by the watchdog even when replication stands still and cannot say so.
            () = gate.closed() => break,
            changed = leadership.changed() => {
                let now = leadership.borrow_and_update().clone();
                if changed.is_err() || !now.is_leader() || now.session != began.session {
                    break;
                }
            }
            Some(ended) = tasks.next_ended() => {
                // A duty never returns: this is a bug, and without its duty a leader is worse
                // than none.
                tracing::error!(%ended, "a duty of the leader ended; this master gives up its term");
                break;
            }
        }
    }
    current.send_replace(None);
    leader.close();
    tasks.stop().await;
    tracing::info!(term = %began.term, "this master does not lead any more");
}

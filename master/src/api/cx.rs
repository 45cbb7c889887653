//! What every handler may reach.

use std::sync::Arc;
use std::time::Duration;

use regency_raft_store::{Consensus, MasterAddress, ServingGate};
use regency_runtime::{Clock, IdMint};
use regency_types::FrameworkId;

use crate::leader::{Leader, LeaderWatch};
use crate::query::{Identity, Live};

/// How long a SUBSCRIBE is held while no leader serves.
const LEADER_WAIT: Duration = Duration::from_secs(5);

/// Shared by all handlers; cloning it is cheap.
#[derive(Debug, Clone)]
pub(crate) struct ApiCx {
    pub(crate) consensus: Consensus,
    pub(crate) leader: LeaderWatch,
    pub(crate) gate: ServingGate,
    pub(crate) identity: Arc<Identity>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdMint>,
    pub(crate) recorder: regency_telemetry::Metrics,
    pub(crate) max_request_bytes: usize,
    pub(crate) files: Arc<super::operator::ShownFiles>,
    /// Greatest election timeout: a leader not heard for longer is not pointed to.
    pub(crate) leader_age_max: Duration,
}

/// Where a call that only the leader answers has to go.
#[derive(Debug, Clone)]
pub(crate) enum Where {
    /// Here.
    Here(Arc<Leader>),
    /// To that master.
    There(MasterAddress),
    /// Nobody leads, as far as this master knows.
    Nowhere,
}

impl ApiCx {
    /// Who answers calls for the leader at this moment.
    pub(crate) fn leader(&self) -> Where {
        if let Some(leader) = self.serving() {
            return Where::Here(leader);
        }
        let leadership = self.consensus.leadership().borrow().clone();
        let heard = self
            .consensus
            .last_leader_contact()
            .is_some_and(|a| a <= self.leader_age_max);
        match leadership.leader {
            Some(leader) if heard && leader.node != self.consensus.node() => Where::There(leader),
            _ => Where::Nowhere,
        }
    }

    /// The same, but waits a while for a leader where there is none.
    pub(crate) async fn await_leader(&self) -> Where {
        let mut leadership = self.consensus.leadership();
        let mut here = self.leader.clone();
        let deadline = tokio::time::Instant::now() + LEADER_WAIT;
        // Contact with a leader is not published, so it is looked at now and then as well.
        let mut look = tokio::time::interval(self.leader_age_max / 4);
        loop {
            match self.leader() {
                Where::Nowhere => {}
                known => return known,
            }
            tokio::select! {
                changed = leadership.changed() => if changed.is_err() { return Where::Nowhere },
                changed = here.changed() => if changed.is_err() { return Where::Nowhere },
                _ = look.tick() => {}
                () = tokio::time::sleep_until(deadline) => return Where::Nowhere,
            }
        }
    }

    /// The leader at this master, unless it must not serve at this moment.
    pub(crate) fn serving(&self) -> Option<Arc<Leader>> {
        let leader = self.leader.borrow().clone();
        leader.filter(|_| self.gate.is_open())
    }

    /// What this process knows beside the replicated state.
    pub(crate) fn live(&self) -> Live {
        let leader = self.serving();
        Live {
            leader: leader.is_some(),
            attached: leader
                .as_ref()
                .map(|l| l.attachments.attached())
                .unwrap_or_default(),
            connected: leader.map(|l| connected(&l)).unwrap_or_default(),
            now: self.clock.wall(),
            log_level: regency_telemetry::log_level(),
            measured: std::collections::BTreeMap::new(),
        }
    }
}

fn connected(leader: &Leader) -> std::collections::BTreeSet<FrameworkId> {
    leader
        .streams
        .all()
        .into_iter()
        .map(|s| s.framework.clone())
        .collect()
}

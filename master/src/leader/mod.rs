//! What only the leading master does, and only while it leads.
//!
//! A term's [`Leader`] is made when this master's own `BeginTerm` is applied, and ends by being
//! closed: its tasks stop, its streams end, its callers are told. Everything in here is memory
//! of one leader; whatever must survive it is in the replicated state, and a new leader finds it
//! there.

mod agents;
mod allocation;
mod audit;
mod effects;
mod exclusions;
mod expiry;
mod frameworks;
mod level;
mod liveness;
mod maintenance;
mod registry;
mod stream;
mod streams;
mod supervise;
mod updates;
mod weights;

#[cfg(test)]
mod stream_tests;

use std::sync::Arc;
use std::time::Duration;

use regency_allocator::constraints::PatternLimits;
use regency_leader_core::registry::RegistryLimits;
use regency_raft_store::{AppliedState, Consensus};
use regency_runtime::Clock;
#[cfg(test)]
use regency_types::DurationMs;
use regency_types::{ClusterId, Term};
use tokio::sync::watch;

pub(crate) use agents::{Attachments, Signal, ToExecutor};
pub(crate) use allocation::fits;
pub(crate) use stream::FrameworkStream;
pub(crate) use streams::Streams;
pub(crate) use supervise::{LeaderWatch, supervise};

use crate::flags::MasterFlags;

/// How often an agent is shown that its leader is there.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(2);
/// Without a ping for this long an agent looks for another leader.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(6);

/// What the leader's duties are told.
#[derive(Debug, Clone)]
pub(crate) struct LeaderConfig {
    pub(crate) allocation_interval: Duration,
    pub(crate) offer_timeout: Option<Duration>,
    pub(crate) options: regency_allocator::Options,
    pub(crate) weights: Vec<crate::flags::RoleWeight>,
    /// How large the patterns of offer constraints may be.
    pub(crate) pattern_limits: PatternLimits,
    /// Silence after which an agent is marked unreachable.
    pub(crate) agent_timeout: Duration,
    /// How often agents are looked for that are to be forgotten.
    pub(crate) registry_gc_interval: Duration,
    pub(crate) registry_limits: RegistryLimits,
    pub(crate) offer_grace: Duration,
    pub(crate) framework_grace: Duration,
    pub(crate) stream_buffer_bytes_max: usize,
    /// Where the masters are, when they were told.
    pub(crate) domain: Option<regency_wire::v1::DomainInfo>,
}

impl LeaderConfig {
    pub(crate) fn new(flags: &MasterFlags, options: regency_allocator::Options) -> Self {
        Self {
            allocation_interval: flags.allocation_interval,
            offer_timeout: flags.offer_timeout,
            options,
            weights: flags.weights.clone(),
            pattern_limits: flags.offers.pattern_limits(),
            agent_timeout: flags.agent_ping_timeout * flags.max_agent_ping_timeouts,
            registry_gc_interval: flags.registry.registry_gc_interval,
            registry_limits: flags.registry.limits(),
            offer_grace: flags.offer_grace,
            framework_grace: flags.framework_grace,
            stream_buffer_bytes_max: flags.max_stream_buffer_bytes,
            domain: flags.domain.clone(),
        }
    }

    /// That of a master without flags.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self {
            allocation_interval: Duration::from_secs(1),
            offer_timeout: None,
            options: regency_allocator::Options::default(),
            weights: Vec::new(),
            pattern_limits: PatternLimits::NONE,
            agent_timeout: Duration::from_secs(75),
            registry_gc_interval: Duration::from_secs(900),
            registry_limits: RegistryLimits {
                max_age: DurationMs::from_secs(3600),
                max_count: 100,
            },
            offer_grace: Duration::from_secs(30),
            framework_grace: Duration::from_secs(75),
            stream_buffer_bytes_max: 1024,
            domain: None,
        }
    }
}

/// One term of leadership at this master.
#[derive(Debug)]
pub(crate) struct Leader {
    pub(crate) term: Term,
    pub(crate) cluster: ClusterId,
    pub(crate) consensus: Consensus,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: LeaderConfig,
    /// Monotonic milliseconds of this process when it began to serve.
    pub(crate) began_ms: u64,
    pub(crate) streams: Streams,
    pub(crate) attachments: Attachments,
    /// Asks for an allocation soon.
    pub(crate) allocate: allocation::Wish,
    over: watch::Sender<bool>,
}

impl Leader {
    /// The newest applied state.
    pub(crate) fn state(&self) -> Arc<AppliedState> {
        self.consensus.state().get()
    }

    /// Milliseconds since this master began to serve.
    pub(crate) fn serving_ms(&self) -> u64 {
        self.clock.monotonic_ms().saturating_sub(self.began_ms)
    }

    /// Completes when this term is over here.
    pub(crate) async fn over(&self) {
        // An error says that the leader is being dropped, which is the end as well.
        let _ = self.over.subscribe().wait_for(|over| *over).await;
    }

    /// Ends everything that was opened under this term: no event, no answer follows.
    pub(crate) fn close(&self) {
        self.over.send_replace(true);
        self.streams.close_all();
        self.attachments.close_all();
    }
}

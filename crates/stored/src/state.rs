//! Snapshots of the whole state, and its digest.
//!
//! Records are written one by one, each made into a message and dropped again, so that a snapshot
//! of a big state needs no second copy of it in memory. The bytes are those of one `State`
//! message: repeated fields may be appended one after the other.

use std::collections::BTreeSet;

use prost::Message;
use prost::encoding::{WireType, encode_key};
use regency_state::model::{Agent, CompletedFramework, Framework, Offer, Task};
use regency_state::{Counters, FEATURE_LEVEL_FIRST, Parts, State, TermRecord};
use regency_types::{ClusterId, ClusterTime, OfferId, WallTime};
use xxhash_rust::xxh3::Xxh3Default;

use crate::StoredError;
use crate::field::{Stored, load_all, load_u128, required, store_u128};
use crate::maintenance::{load_gone, store_gone};
use crate::offer::{load_consumed, store_consumed};
use crate::proposal::check_version;
use crate::proto;

/// The version of states this program writes.
pub const STATE_VERSION: u32 = 1;
/// The lowest version that understands what this program writes, unless it has ancestors or its
/// feature level was raised.
pub const STATE_MIN_READER_VERSION: u32 = 1;
/// The version of states with ancestors, which an older program would read without them. All else
/// in them is as in [`STATE_VERSION`], and so is the digest.
const STATE_VERSION_WITH_ANCESTORS: u32 = 2;
/// The version of states whose feature level was raised: an older program may meet commands in the
/// log behind it that it does not know.
const STATE_VERSION_WITH_LEVEL: u32 = 3;
/// The highest version that is read.
pub const STATE_READER_VERSION: u32 = STATE_VERSION_WITH_LEVEL;

/// Field numbers of the repeated fields of `State`.
mod tag {
    pub(super) const AGENTS: u32 = 8;
    pub(super) const FRAMEWORKS: u32 = 9;
    pub(super) const COMPLETED: u32 = 10;
    pub(super) const TASKS: u32 = 11;
    pub(super) const OFFERS: u32 = 12;
    pub(super) const CONSUMED: u32 = 13;
    pub(super) const HASHES: u32 = 14;
    pub(super) const ANCESTORS: u32 = 15;
    pub(super) const OPERATIONS: u32 = 20;
    pub(super) const ROLES: u32 = 35;
    pub(super) const WINDOWS: u32 = 40;
    pub(super) const DOWN_MACHINES: u32 = 41;
    pub(super) const GONE: u32 = 42;
    pub(super) const INVERSE_OFFERS: u32 = 43;
}

/// The stored form of the state. Equal states give equal bytes.
#[must_use]
pub fn encode_state(state: &State) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_state(state, |piece| bytes.extend_from_slice(piece));
    bytes
}

/// A digest over [`encode_state`] and the version, by which masters find out that they differ.
/// Not a proof against an adversary.
#[must_use]
pub fn state_digest(state: &State) -> u128 {
    let mut digester = StateDigester::default();
    write_state(state, |piece| digester.update(piece));
    digester.finish()
}

/// Computes [`state_digest`] from the pieces of [`write_state`], for whoever writes a state down
/// and wants its digest from the same pass.
pub struct StateDigester(Xxh3Default);

impl std::fmt::Debug for StateDigester {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StateDigester").finish_non_exhaustive()
    }
}

impl Default for StateDigester {
    fn default() -> Self {
        let mut hasher = Xxh3Default::new();
        hasher.update(&STATE_VERSION.to_le_bytes());
        Self(hasher)
    }
}

impl StateDigester {
    /// Takes the next piece; where pieces are cut does not matter.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The digest of the state that was given.
    #[must_use]
    pub fn finish(&self) -> u128 {
        self.0.digest128()
    }
}

/// The state that was stored.
///
/// # Errors
/// [`StoredError::Malformed`] for damage; [`StoredError::Unknown`] or [`StoredError::TooNew`] for
/// the state of a newer program.
pub fn decode_state(bytes: &[u8]) -> Result<State, StoredError> {
    let message = proto::State::decode(bytes).map_err(|e| StoredError::malformed("State", e))?;
    check_version(
        "State",
        "State.version",
        message.version,
        message.min_reader_version,
        STATE_READER_VERSION,
    )?;
    State::from_parts(load_parts(message)?).map_err(|e| StoredError::malformed("State", e))
}

/// Gives the bytes of [`encode_state`] in pieces, so that a big state needs no second copy in
/// memory.
pub fn write_state(state: &State, mut sink: impl FnMut(&[u8])) {
    let raised = state.feature_level() > FEATURE_LEVEL_FIRST;
    let (version, min_reader_version) = if raised {
        (STATE_VERSION_WITH_LEVEL, STATE_VERSION_WITH_LEVEL)
    } else if state.ancestors().next().is_some() {
        (STATE_VERSION_WITH_ANCESTORS, STATE_VERSION_WITH_ANCESTORS)
    } else {
        (STATE_VERSION, STATE_MIN_READER_VERSION)
    };
    let head = proto::State {
        version,
        min_reader_version,
        cluster: state.cluster().map(|c| store_u128(c.0)).unwrap_or_default(),
        now_ms: state.now().0,
        wall_ms: state.wall().0,
        term: state.term().map(Stored::store),
        counters: Some(state.counters().store()),
        feature_level: if raised { state.feature_level() } else { 0 },
        ..proto::State::default()
    };
    sink(&head.encode_to_vec());
    let mut buffer = Vec::new();
    let mut record = |tag: u32, message: &dyn Record| {
        buffer.clear();
        message.append(tag, &mut buffer);
        sink(&buffer);
    };
    for agent in state.agents() {
        record(tag::AGENTS, &agent.store());
    }
    for framework in state.frameworks() {
        record(tag::FRAMEWORKS, &framework.store());
    }
    for completed in state.completed_frameworks() {
        record(tag::COMPLETED, &completed.store());
    }
    for task in state.tasks() {
        record(tag::TASKS, &task.store());
    }
    for offer in state.offers() {
        record(tag::OFFERS, &offer.store());
    }
    for (id, consumed) in state.consumed_offers() {
        record(tag::CONSUMED, &store_consumed(id, consumed));
    }
    for hash in state.state_hashes() {
        record(tag::HASHES, &hash.store());
    }
    for ancestor in state.ancestors() {
        record(tag::ANCESTORS, &ancestor.store());
    }
    for operation in state.operations() {
        record(tag::OPERATIONS, &operation.store());
    }
    for config in state.role_configs() {
        record(tag::ROLES, &config.store());
    }
    for window in state.maintenance_windows() {
        record(tag::WINDOWS, &window.store());
    }
    for (name, _) in state.machines().filter(|(_, machine)| machine.down) {
        record(tag::DOWN_MACHINES, &name.store());
    }
    for (agent, at) in state.gone_agents() {
        record(tag::GONE, &store_gone(agent, at));
    }
    for offer in state.inverse_offers() {
        record(tag::INVERSE_OFFERS, &offer.store());
    }
}

/// A message that can be appended to another one as one of its fields.
trait Record {
    fn append(&self, tag: u32, to: &mut Vec<u8>);
}

impl<M: Message> Record for M {
    fn append(&self, tag: u32, to: &mut Vec<u8>) {
        encode_key(tag, WireType::LengthDelimited, to);
        self.encode_length_delimited(to)
            .expect("a vector grows as needed");
    }
}

fn load_parts(message: proto::State) -> Result<Parts, StoredError> {
    let cluster = if message.cluster.is_empty() {
        None
    } else {
        Some(ClusterId(load_u128(&message.cluster, "State.cluster")?))
    };
    let agents: Vec<Agent> = load_all(message.agents)?;
    let frameworks: Vec<Framework> = load_all(message.frameworks)?;
    let mut tasks: Vec<Task> = load_all(message.tasks)?;
    let mut offers: Vec<Offer> = load_all(message.offers)?;
    let consumed = message
        .consumed
        .into_iter()
        .map(load_consumed)
        .collect::<Result<Vec<_>, _>>()?;
    share_ids(&agents, &frameworks, &mut tasks, &mut offers);
    let parts = Parts {
        cluster,
        now: ClusterTime(message.now_ms),
        wall: WallTime(message.wall_ms),
        term: message.term.map(TermRecord::load).transpose()?,
        counters: Counters::load(required(message.counters, "State.counters")?)?,
        agents,
        frameworks,
        completed: load_all::<CompletedFramework, _>(message.completed)?,
        tasks,
        offers,
        consumed,
        operations: load_all(message.operations)?,
        roles: load_all(message.roles)?,
        windows: load_all(message.windows)?,
        down_machines: load_all(message.down_machines)?,
        gone: message
            .gone
            .into_iter()
            .map(load_gone)
            .collect::<Result<_, _>>()?,
        inverse_offers: load_all(message.inverse_offers)?,
        hashes: load_all(message.hashes)?,
        feature_level: message.feature_level.max(FEATURE_LEVEL_FIRST),
        ancestors: load_all(message.ancestors)?,
    };
    check_order(&parts)?;
    Ok(parts)
}

/// Lets tasks and offers share the ids of their agents and frameworks, as they did in the state
/// that was stored: there are far more of them.
fn share_ids(agents: &[Agent], frameworks: &[Framework], tasks: &mut [Task], offers: &mut [Offer]) {
    let agents: BTreeSet<_> = agents.iter().map(|a| &a.id).collect();
    let frameworks: BTreeSet<_> = frameworks.iter().map(|f| &f.id).collect();
    for task in tasks {
        if let Some(id) = agents.get(&task.agent) {
            task.agent = (*id).clone();
        }
        if let Some(id) = frameworks.get(&task.key.framework) {
            task.key.framework = (*id).clone();
        }
    }
    for offer in offers {
        if let Some(id) = agents.get(&offer.agent) {
            offer.agent = (*id).clone();
        }
        if let Some(id) = frameworks.get(&offer.framework) {
            offer.framework = (*id).clone();
        }
    }
}

/// Each kind is in strictly ascending order, so that no record silently takes another's place.
fn check_order(parts: &Parts) -> Result<(), StoredError> {
    fn ascending<K: Ord>(
        field: &'static str,
        keys: impl Iterator<Item = K>,
    ) -> Result<(), StoredError> {
        if keys.is_sorted_by(|a, b| a < b) {
            Ok(())
        } else {
            Err(StoredError::malformed(
                field,
                "its records are not in ascending order",
            ))
        }
    }
    ascending("State.agents", parts.agents.iter().map(|a| &a.id))?;
    ascending("State.frameworks", parts.frameworks.iter().map(|f| &f.id))?;
    ascending("State.tasks", parts.tasks.iter().map(|t| &t.key))?;
    ascending("State.offers", parts.offers.iter().map(|o| o.id))?;
    ascending(
        "State.consumed",
        parts.consumed.iter().map(|(id, _): &(OfferId, _)| *id),
    )?;
    ascending("State.operations", parts.operations.iter().map(|o| &o.key))?;
    ascending("State.roles", parts.roles.iter().map(|c| &c.role))?;
    let gone = parts.gone.iter();
    ascending("State.gone", gone.map(|(agent, _)| agent))?;
    ascending("State.down_machines", parts.down_machines.iter())?;
    let inverse = parts.inverse_offers.iter();
    ascending("State.inverse_offers", inverse.map(|o| o.id))?;
    ascending(
        "State.hashes",
        parts.hashes.iter().map(|h| (h.index, h.schema, h.node)),
    )?;
    let epochs: BTreeSet<_> = parts.agents.iter().map(|a| a.epoch).collect();
    if epochs.len() != parts.agents.len() {
        return Err(StoredError::malformed(
            "Agent.epoch",
            "two agents have the same",
        ));
    }
    Ok(())
}

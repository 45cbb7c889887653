//! The state itself, its readers, and the few primitives that keep its indexes true.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet, Vector};
use regency_mutants::{Mutant, on};
use regency_resources::{Milli, Resources, Shortage};
use regency_types::{
    AgentEpoch, AgentId, ClusterId, ClusterTime, FrameworkId, NodeId, OfferId, OperationId,
    OperationKey, TaskKey, Term, WallTime,
};

use crate::bounds;
use crate::command::{MasterInfo, ReportStateHash};
use crate::model::{
    Agent, AgentSpec, Ancestor, CompletedFramework, ConsumedOffer, Consumption, Executor,
    FinishedOperation, Framework, InverseOffer, Machine, MachineId, MaintenanceWindow,
    MasterStatus, Offer, Quota, RefusedOperation, RoleConfig, StatusRecord, Task, Unavailability,
};

/// Numbers that are handed out once and never again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// The next framework's number.
    pub framework: u64,
    /// The next agent's number.
    pub agent: u64,
    /// The next offer's number.
    pub offer: u64,
    /// The last launch generation given out.
    pub generation: u64,
}

/// The newest `BeginTerm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TermRecord {
    /// The term.
    pub term: Term,
    /// Who leads it.
    pub master: MasterInfo,
    /// Cluster time at its beginning.
    pub began: ClusterTime,
    /// The leader's wall clock then, for display.
    pub wall: WallTime,
}

/// Everything the masters replicate. `clone` costs O(1): the maps share their structure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) now: ClusterTime,
    pub(crate) wall: WallTime,
    pub(crate) term: Option<TermRecord>,
    pub(crate) counters: Counters,
    pub(crate) agents: OrdMap<AgentId, Arc<Agent>>,
    pub(crate) epochs: OrdMap<AgentEpoch, AgentId>,
    pub(crate) frameworks: OrdMap<FrameworkId, Arc<Framework>>,
    pub(crate) completed: Vector<Arc<CompletedFramework>>,
    pub(crate) tasks: OrdMap<TaskKey, Arc<Task>>,
    pub(crate) offers: OrdMap<OfferId, Arc<Offer>>,
    pub(crate) inverse_offers: OrdMap<OfferId, Arc<InverseOffer>>,
    pub(crate) consumed: OrdMap<OfferId, ConsumedOffer>,
    pub(crate) windows: Vector<MaintenanceWindow>,
    /// The machines of the windows.
    pub(crate) machines: OrdMap<MachineId, Machine>,
    /// When each of these agents was marked gone.
    pub(crate) gone: OrdMap<AgentId, ClusterTime>,
    pub(crate) operations: OrdMap<OperationKey, Arc<FinishedOperation>>,
    /// Roles with a quota or a weight.
    pub(crate) roles: OrdMap<String, Arc<RoleConfig>>,
    /// Digests by log index, schema and master.
    pub(crate) hashes: OrdMap<(u64, u32, NodeId), u128>,
    /// Feature level, counted from the first one.
    pub(crate) levels_raised: u32,
    /// Clusters whose state this was, the oldest first.
    pub(crate) ancestors: Vector<Ancestor>,
}

/// Reading.
impl State {
    /// The cluster's identity, once a leader was elected for the first time.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// The feature level: what needs a higher one must not be proposed.
    #[must_use]
    pub fn feature_level(&self) -> u32 {
        self.levels_raised.saturating_add(1)
    }

    /// Clusters whose state this was before, the oldest first, bounded.
    pub fn ancestors(&self) -> impl DoubleEndedIterator<Item = &Ancestor> {
        self.ancestors.iter()
    }

    /// Cluster time at the newest entry.
    #[must_use]
    pub fn now(&self) -> ClusterTime {
        self.now
    }

    /// The wall clock of whoever proposed the newest entry. For display only.
    #[must_use]
    pub fn wall(&self) -> WallTime {
        self.wall
    }

    /// The newest term.
    #[must_use]
    pub fn term(&self) -> Option<&TermRecord> {
        self.term.as_ref()
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// One agent.
    #[must_use]
    pub fn agent(&self, id: &AgentId) -> Option<&Arc<Agent>> {
        self.agents.get(id)
    }

    /// The agent with this checkpoint directory.
    #[must_use]
    pub fn agent_of_epoch(&self, epoch: AgentEpoch) -> Option<&Arc<Agent>> {
        self.agents.get(self.epochs.get(&epoch)?)
    }

    /// All agents, in the order of their ids.
    pub fn agents(&self) -> impl DoubleEndedIterator<Item = &Arc<Agent>> {
        self.agents.values()
    }

    /// One framework that has not ended.
    #[must_use]
    pub fn framework(&self, id: &FrameworkId) -> Option<&Arc<Framework>> {
        self.frameworks.get(id)
    }

    /// All frameworks that have not ended, in the order of their ids.
    pub fn frameworks(&self) -> impl DoubleEndedIterator<Item = &Arc<Framework>> {
        self.frameworks.values()
    }

    /// Frameworks that ended, oldest first, bounded.
    pub fn completed_frameworks(
        &self,
    ) -> impl DoubleEndedIterator<Item = &Arc<CompletedFramework>> {
        self.completed.iter()
    }

    /// One task that is not completed.
    #[must_use]
    pub fn task(&self, key: &TaskKey) -> Option<&Arc<Task>> {
        self.tasks.get(key)
    }

    /// All tasks that are not completed, in the order of their keys.
    pub fn tasks(&self) -> impl DoubleEndedIterator<Item = &Arc<Task>> {
        self.tasks.values()
    }

    /// The tasks of a framework that are not completed.
    pub fn tasks_of(&self, framework: &Framework) -> impl Iterator<Item = &Arc<Task>> {
        let id = framework.id.clone();
        framework.tasks.iter().filter_map(move |task| {
            self.tasks.get(&TaskKey {
                framework: id.clone(),
                task: task.clone(),
            })
        })
    }

    /// The executors of a framework, in the order of their agents.
    pub fn executors_of<'a>(
        &'a self,
        framework: &'a FrameworkId,
    ) -> impl Iterator<Item = (&'a AgentId, &'a Arc<Executor>)> {
        self.agents.values().flat_map(move |agent| {
            let executors = agent.executors.values();
            let own = executors.filter(move |e| e.key.framework == *framework);
            own.map(move |executor| (&agent.id, executor))
        })
    }

    /// One outstanding offer.
    #[must_use]
    pub fn offer(&self, id: OfferId) -> Option<&Arc<Offer>> {
        self.offers.get(&id)
    }

    /// All outstanding offers, oldest first.
    pub fn offers(&self) -> impl DoubleEndedIterator<Item = &Arc<Offer>> {
        self.offers.values()
    }

    /// One outstanding inverse offer.
    #[must_use]
    pub fn inverse_offer(&self, id: OfferId) -> Option<&Arc<InverseOffer>> {
        self.inverse_offers.get(&id)
    }

    /// All outstanding inverse offers, oldest first.
    pub fn inverse_offers(&self) -> impl DoubleEndedIterator<Item = &Arc<InverseOffer>> {
        self.inverse_offers.values()
    }

    /// The maintenance schedule.
    pub fn maintenance_windows(&self) -> impl DoubleEndedIterator<Item = &MaintenanceWindow> {
        self.windows.iter()
    }

    /// All machines in the maintenance schedule.
    pub fn machines(&self) -> impl DoubleEndedIterator<Item = (&MachineId, &Machine)> {
        self.machines.iter()
    }

    /// The machine that an agent of this description is on, if it is in the maintenance schedule.
    /// Where more than one entry means it, one that is down counts, else the closest.
    #[must_use]
    pub fn machine_of(&self, spec: &AgentSpec) -> Option<(&MachineId, &Machine)> {
        if self.machines.is_empty() {
            return None;
        }
        let names = spec.machines();
        let mut there: Vec<_> = names
            .iter()
            .filter_map(|name| self.machines.get_key_value(name))
            .collect();
        there.sort_by_key(|(_, machine)| !machine.down);
        there.first().copied()
    }

    /// When the machine of an agent of this description is not there, if that is planned.
    #[must_use]
    pub fn unavailability_of(&self, spec: &AgentSpec) -> Option<Unavailability> {
        let (_, machine) = self.machine_of(spec)?;
        Some(machine.unavailability)
    }

    /// Whether an operator marked this agent gone, as far as that is remembered.
    #[must_use]
    pub fn is_gone(&self, id: &AgentId) -> bool {
        self.gone.contains_key(id)
    }

    /// Agents that were marked gone, and when; bounded.
    pub fn gone_agents(&self) -> impl DoubleEndedIterator<Item = (&AgentId, ClusterTime)> {
        self.gone.iter().map(|(id, at)| (id, *at))
    }

    /// How an offer ended, as far as that is remembered.
    #[must_use]
    pub fn consumed(&self, id: OfferId) -> Option<&ConsumedOffer> {
        self.consumed.get(&id)
    }

    /// All consumed offers that are remembered, oldest first.
    pub fn consumed_offers(&self) -> impl DoubleEndedIterator<Item = (OfferId, &ConsumedOffer)> {
        self.consumed.iter().map(|(id, consumed)| (*id, consumed))
    }

    /// How many consumed offers are remembered.
    #[must_use]
    pub fn n_consumed(&self) -> usize {
        self.consumed.len()
    }

    /// One operation that its framework has not acknowledged.
    #[must_use]
    pub fn operation(&self, key: &OperationKey) -> Option<&Arc<FinishedOperation>> {
        self.operations.get(key)
    }

    /// All operations that are not acknowledged, in the order of their keys.
    pub fn operations(&self) -> impl DoubleEndedIterator<Item = &Arc<FinishedOperation>> {
        self.operations.values()
    }

    /// The operations of a framework that it has not acknowledged.
    pub fn operations_of(
        &self,
        framework: &FrameworkId,
    ) -> impl Iterator<Item = &Arc<FinishedOperation>> {
        let framework = framework.clone();
        // No id is less than a single space: control characters are not allowed.
        let first = OperationKey {
            framework: framework.clone(),
            operation: OperationId::new(" ").expect("a space is a valid id"),
        };
        self.operations
            .range(first..)
            .map(|(_, operation)| operation)
            .take_while(move |operation| operation.key.framework == framework)
    }

    /// What was decided about each role that has a quota or a weight, in the order of their names.
    pub fn role_configs(&self) -> impl DoubleEndedIterator<Item = &Arc<RoleConfig>> {
        self.roles.values()
    }

    /// The quota of a role; empty when it has none.
    #[must_use]
    pub fn quota_of(&self, role: &str) -> Quota {
        let config = self.roles.get(role);
        config
            .map(|config| config.quota.clone())
            .unwrap_or_default()
    }

    /// The weight of a role among its siblings: 1 when it was given none.
    #[must_use]
    pub fn weight_of(&self, role: &str) -> Milli {
        let weight = self.roles.get(role).and_then(|config| config.weight);
        weight.unwrap_or(Milli::from_units(1))
    }

    /// Whether a framework id was given out by this cluster and its framework has ended.
    #[must_use]
    pub fn is_removed(&self, id: &FrameworkId) -> bool {
        !self.frameworks.contains_key(id)
            && (self
                .own_number(id)
                .is_some_and(|n| n < self.counters.framework)
                || self
                    .ancestors
                    .iter()
                    .any(|a| number_of(a.cluster, id).is_some_and(|n| n < a.n_frameworks))
                || self.completed.iter().any(|c| &c.framework.id == id))
    }

    /// What masters said their states were, by index, schema and master.
    pub fn state_hashes(&self) -> impl DoubleEndedIterator<Item = ReportStateHash> {
        self.hashes
            .iter()
            .map(|((index, schema, node), digest)| ReportStateHash {
                node: *node,
                index: *index,
                schema: *schema,
                digest: *digest,
            })
    }

    /// The number in a framework id of this cluster.
    pub(crate) fn own_number(&self, id: &FrameworkId) -> Option<u64> {
        number_of(self.cluster?, id)
    }
}

/// The number in a framework id of that cluster.
fn number_of(cluster: ClusterId, id: &FrameworkId) -> Option<u64> {
    let n = id
        .as_str()
        .strip_prefix(&cluster.to_string())?
        .strip_prefix('-')?
        .parse()
        .ok()?;
    (cluster.framework_id(n) == *id).then_some(n)
}

/// Primitives for the command families. Each keeps every index true by itself.
impl State {
    pub(crate) fn agent_mut(&mut self, id: &AgentId) -> Option<&mut Agent> {
        self.agents.get_mut(id).map(Arc::make_mut)
    }

    pub(crate) fn framework_mut(&mut self, id: &FrameworkId) -> Option<&mut Framework> {
        self.frameworks.get_mut(id).map(Arc::make_mut)
    }

    pub(crate) fn task_mut(&mut self, key: &TaskKey) -> Option<&mut Task> {
        self.tasks.get_mut(key).map(Arc::make_mut)
    }

    /// Notes that a framework used its id.
    pub(crate) fn confirm_framework(&mut self, id: &FrameworkId) {
        if self.frameworks.get(id).is_some_and(|f| !f.confirmed)
            && let Some(framework) = self.framework_mut(id)
        {
            framework.confirmed = true;
        }
    }

    pub(crate) fn insert_offer(&mut self, offer: Offer) {
        let agent = self
            .agent_mut(&offer.agent)
            .expect("an offer is made on a known agent");
        agent.offered += &offer.resources;
        agent.offers.insert(offer.id);
        let framework = self
            .framework_mut(&offer.framework)
            .expect("an offer is made to a known framework");
        framework.offers.insert(offer.id);
        self.offers.insert(offer.id, Arc::new(offer));
    }

    /// Ends an offer and remembers how.
    pub(crate) fn consume_offer(&mut self, id: OfferId, how: Consumption) -> Option<Arc<Offer>> {
        let offer = self.offers.remove(&id)?;
        let agent = self
            .agent_mut(&offer.agent)
            .expect("an outstanding offer has its agent");
        agent.offers.remove(&id);
        if !on(Mutant::LeakOffer) {
            agent.offered = agent
                .offered
                .checked_sub(&offer.resources)
                .expect("what is offered on an agent contains each of its offers");
        }
        let framework = self
            .framework_mut(&offer.framework)
            .expect("an outstanding offer has its framework");
        framework.offers.remove(&id);
        self.consumed.insert(
            id,
            ConsumedOffer {
                framework: offer.framework.clone(),
                consumption: how,
            },
        );
        while self.consumed.len() > bounds::CONSUMED_OFFERS_MAX {
            self.consumed = self.consumed.without_min().1;
        }
        Some(offer)
    }

    pub(crate) fn insert_inverse_offer(&mut self, offer: InverseOffer) {
        self.agent_mut(&offer.agent)
            .expect("an inverse offer is for a known agent")
            .inverse_offers
            .insert(offer.id);
        self.framework_mut(&offer.framework)
            .expect("an inverse offer is made to a known framework")
            .inverse_offers
            .insert(offer.id);
        self.inverse_offers.insert(offer.id, Arc::new(offer));
    }

    /// Ends an inverse offer.
    pub(crate) fn remove_inverse_offer(&mut self, id: OfferId) -> Option<Arc<InverseOffer>> {
        let offer = self.inverse_offers.remove(&id)?;
        if let Some(agent) = self.agent_mut(&offer.agent) {
            agent.inverse_offers.remove(&id);
        }
        if let Some(framework) = self.framework_mut(&offer.framework) {
            framework.inverse_offers.remove(&id);
        }
        Some(offer)
    }

    /// Notes that an agent never comes back. Beyond the bound the one that was noted first is
    /// forgotten.
    pub(crate) fn note_gone(&mut self, id: AgentId) {
        self.gone.insert(id, self.now);
        if self.gone.len() > bounds::GONE_AGENTS_MAX {
            let first = self.gone.iter().min_by_key(|(_, at)| **at);
            if let Some(first) = first.map(|(id, _)| id.clone()) {
                self.gone.remove(&first);
            }
        }
    }

    /// Takes another schedule, in which these machines are down.
    pub(crate) fn set_windows(
        &mut self,
        windows: Vector<MaintenanceWindow>,
        is_down: impl Fn(&MachineId) -> bool,
    ) {
        self.machines = windows
            .iter()
            .flat_map(|window| {
                let named = window.machines.iter();
                named.map(|name| (name.clone(), window.unavailability))
            })
            .map(|(name, unavailability)| {
                let down = is_down(&name);
                let machine = Machine {
                    unavailability,
                    down,
                };
                (name, machine)
            })
            .collect();
        self.windows = windows;
    }

    pub(crate) fn insert_task(&mut self, task: Task) {
        let agent = self
            .agent_mut(&task.agent)
            .expect("a task is placed on a known agent");
        agent.allocated += &task.resources;
        agent.tasks.insert(task.key.clone());
        let framework = self
            .framework_mut(&task.key.framework)
            .expect("a task is launched by a known framework");
        framework.tasks.insert(task.key.task.clone());
        self.tasks.insert(task.key.clone(), Arc::new(task));
    }

    /// Moves a task to another state; frees its resources when that is its end.
    ///
    /// A task that has ended keeps its state.
    pub(crate) fn set_task_state(&mut self, key: &TaskKey, to: regency_types::TaskState) -> bool {
        let wall = self.wall;
        let Some(task) = self.task_mut(key) else {
            return false;
        };
        if task.is_terminal() && !on(Mutant::EndIsNotFinal) || task.state == to {
            return false;
        }
        task.state = to;
        task.state_before_unreachable = None;
        task.unreachable = None;
        if task.statuses.len() == bounds::STATUS_HISTORY_MAX {
            task.statuses.remove(0);
        }
        task.statuses.push(StatusRecord { state: to, wall });
        if to.is_terminal() {
            task.kill = None;
            let (agent, resources) = (task.agent.clone(), task.resources.clone());
            if !on(Mutant::LeakTask) {
                self.free(&agent, &resources);
            }
        }
        true
    }

    pub(crate) fn free(&mut self, agent: &AgentId, resources: &Resources) {
        if let Some(agent) = self.agent_mut(agent) {
            agent.allocated = agent
                .allocated
                .checked_sub(resources)
                .expect("what is allocated on an agent contains all that runs there");
        }
    }

    /// Moves a task that has ended and has nothing unacknowledged to its framework's completed
    /// ones.
    pub(crate) fn complete_task(&mut self, key: &TaskKey) {
        let Some(task) = self.tasks.remove(key) else {
            return;
        };
        debug_assert!(
            task.is_terminal() && task.unacked.is_none(),
            "{key} is not complete"
        );
        if let Some(agent) = self.agent_mut(&task.agent) {
            agent.tasks.remove(key);
            // A launch that waits there still must not start what has ended.
            agent.withdraw(task.launch_seq);
        }
        if let Some(framework) = self.framework_mut(&key.framework) {
            framework.tasks.remove(&key.task);
            framework.completed_tasks.push_back(task);
            while framework.completed_tasks.len() > bounds::COMPLETED_TASKS_PER_FRAMEWORK_MAX {
                framework.completed_tasks.pop_front();
            }
        }
    }

    /// Keeps a status that nobody acknowledges for the framework's next subscription.
    pub(crate) fn retain_status(&mut self, framework: &FrameworkId, status: MasterStatus) {
        let now = self.now;
        let Some(framework) = self.framework_mut(framework) else {
            return;
        };
        while framework.retained.len() >= bounds::RETAINED_STATUSES_MAX
            || framework
                .retained
                .front()
                .is_some_and(|(at, _)| now.since(*at) > bounds::RETAINED_STATUS_AGE_MAX)
        {
            framework.retained.pop_front();
        }
        framework.retained.push_back((now, status));
    }
}

/// Operations.
impl State {
    /// Keeps that an operation was refused for the framework's next subscription.
    pub(crate) fn retain_refused_operation(
        &mut self,
        framework: &FrameworkId,
        refused: RefusedOperation,
    ) {
        let now = self.now;
        let Some(framework) = self.framework_mut(framework) else {
            return;
        };
        let kept = &mut framework.refused_operations;
        while kept.len() >= bounds::RETAINED_STATUSES_MAX
            || kept
                .front()
                .is_some_and(|(at, _)| now.since(*at) > bounds::RETAINED_STATUS_AGE_MAX)
        {
            kept.pop_front();
        }
        kept.push_back((now, refused));
    }

    /// Drops the operations of a framework that ended.
    pub(crate) fn forget_operations(&mut self, framework: &FrameworkId) {
        let keys: Vec<OperationKey> = self
            .operations_of(framework)
            .map(|operation| operation.key.clone())
            .collect();
        for key in keys {
            self.operations.remove(&key);
        }
    }
}

/// The state as plain records, for the stored form. Everything that can be derived is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// See [`State::cluster`].
    pub cluster: Option<ClusterId>,
    /// See [`State::now`].
    pub now: ClusterTime,
    /// See [`State::wall`].
    pub wall: WallTime,
    /// See [`State::term`].
    pub term: Option<TermRecord>,
    /// See [`State::counters`].
    pub counters: Counters,
    /// All agents. `total`, `allocated`, `offered`, `tasks`, `offers` and `inverse_offers` are not
    /// read.
    pub agents: Vec<Agent>,
    /// All frameworks. `tasks`, `offers`, `inverse_offers` and `n_unacked` are not read.
    pub frameworks: Vec<Framework>,
    /// Frameworks that ended, oldest first.
    pub completed: Vec<CompletedFramework>,
    /// All tasks that are not completed.
    pub tasks: Vec<Task>,
    /// All outstanding offers.
    pub offers: Vec<Offer>,
    /// All outstanding inverse offers.
    pub inverse_offers: Vec<InverseOffer>,
    /// The maintenance schedule.
    pub windows: Vec<MaintenanceWindow>,
    /// Those of its machines that are down.
    pub down_machines: Vec<MachineId>,
    /// Agents marked gone, and when.
    pub gone: Vec<(AgentId, ClusterTime)>,
    /// Consumed offers that are remembered.
    pub consumed: Vec<(OfferId, ConsumedOffer)>,
    /// Operations that are not acknowledged.
    pub operations: Vec<FinishedOperation>,
    /// Roles with a quota or a weight.
    pub roles: Vec<RoleConfig>,
    /// What masters said their states were.
    pub hashes: Vec<ReportStateHash>,
    /// From 1 on.
    pub feature_level: u32,
    /// Clusters whose state this was, the oldest first.
    pub ancestors: Vec<Ancestor>,
}

/// Why parts do not make a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartsError {
    /// A record names another one that is not there.
    #[error("{what} names {missing}, which is not there")]
    Dangling {
        /// The record.
        what: String,
        /// What it names.
        missing: String,
    },
    /// What operations made of an agent's resources is not made of what the agent has.
    #[error("agent {agent}: {shortage}")]
    Checkpointed {
        /// Whose.
        agent: AgentId,
        /// What is missing.
        shortage: Shortage,
    },
}

impl State {
    /// The state made of these records, with every index derived anew.
    ///
    /// # Errors
    /// When a record names another one that is not among them.
    pub fn from_parts(parts: Parts) -> Result<Self, PartsError> {
        let mut state = Self {
            cluster: parts.cluster,
            now: parts.now,
            wall: parts.wall,
            term: parts.term,
            counters: parts.counters,
            completed: parts.completed.into_iter().map(Arc::new).collect(),
            consumed: parts.consumed.into_iter().collect(),
            roles: parts
                .roles
                .into_iter()
                .map(|config| (config.role.clone(), Arc::new(config)))
                .collect(),
            gone: parts.gone.into_iter().collect(),
            hashes: parts
                .hashes
                .into_iter()
                .map(|h| ((h.index, h.schema, h.node), h.digest))
                .collect(),
            levels_raised: parts.feature_level.saturating_sub(1),
            ancestors: parts.ancestors.into_iter().collect(),
            ..Self::default()
        };
        for mut agent in parts.agents {
            agent.total = agent
                .spec
                .total
                .with_checkpointed(&agent.checkpointed)
                .map_err(|shortage| PartsError::Checkpointed {
                    agent: agent.id.clone(),
                    shortage,
                })?;
            agent.allocated = agent.executors.values().map(|e| &e.resources).sum();
            agent.offered = Resources::default();
            agent.tasks = OrdSet::new();
            agent.offers = OrdSet::new();
            agent.inverse_offers = OrdSet::new();
            state.epochs.insert(agent.epoch, agent.id.clone());
            state.agents.insert(agent.id.clone(), Arc::new(agent));
        }
        for mut framework in parts.frameworks {
            framework.tasks = OrdSet::new();
            framework.offers = OrdSet::new();
            framework.inverse_offers = OrdSet::new();
            framework.n_unacked = 0;
            state
                .frameworks
                .insert(framework.id.clone(), Arc::new(framework));
        }
        for task in parts.tasks {
            state.index_task(&task)?;
            state.tasks.insert(task.key.clone(), Arc::new(task));
        }
        for operation in parts.operations {
            if !state.frameworks.contains_key(&operation.key.framework) {
                return Err(PartsError::Dangling {
                    what: format!("operation {}", operation.key),
                    missing: format!("framework {}", operation.key.framework),
                });
            }
            state
                .operations
                .insert(operation.key.clone(), Arc::new(operation));
        }
        for offer in parts.offers {
            state.check_ends(offer.id, &offer.agent, &offer.framework)?;
            state.insert_offer(offer);
        }
        for offer in parts.inverse_offers {
            state.check_ends(offer.id, &offer.agent, &offer.framework)?;
            state.insert_inverse_offer(offer);
        }
        let down: OrdSet<MachineId> = parts.down_machines.into_iter().collect();
        state.set_windows(parts.windows.into(), |name| down.contains(name));
        if let Some(name) = down.iter().find(|name| !state.machines.contains_key(*name)) {
            return Err(PartsError::Dangling {
                what: "the list of machines that are down".to_owned(),
                missing: format!("machine {name}"),
            });
        }
        Ok(state)
    }

    /// Whether both that an offer is about are there.
    fn check_ends(
        &self,
        offer: OfferId,
        agent: &AgentId,
        framework: &FrameworkId,
    ) -> Result<(), PartsError> {
        let dangling = |missing: String| PartsError::Dangling {
            what: format!("offer {}", offer.0),
            missing,
        };
        if !self.agents.contains_key(agent) {
            return Err(dangling(format!("agent {agent}")));
        }
        if !self.frameworks.contains_key(framework) {
            return Err(dangling(format!("framework {framework}")));
        }
        Ok(())
    }

    fn index_task(&mut self, task: &Task) -> Result<(), PartsError> {
        // A task that waits for the acknowledgement of its end may outlive its agent.
        if let Some(agent) = self.agent_mut(&task.agent) {
            agent.tasks.insert(task.key.clone());
            if !task.is_terminal() {
                agent.allocated += &task.resources;
            }
        } else if !task.is_terminal() {
            return Err(PartsError::Dangling {
                what: format!("task {}", task.key),
                missing: format!("agent {}", task.agent),
            });
        }
        let Some(framework) = self.framework_mut(&task.key.framework) else {
            return Err(PartsError::Dangling {
                what: format!("task {}", task.key),
                missing: format!("framework {}", task.key.framework),
            });
        };
        framework.tasks.insert(task.key.task.clone());
        framework.n_unacked += u64::from(task.unacked.is_some());
        Ok(())
    }

    /// The records this state is made of, each kind in the order of its ids.
    #[must_use]
    pub fn to_parts(&self) -> Parts {
        Parts {
            cluster: self.cluster,
            now: self.now,
            wall: self.wall,
            term: self.term.clone(),
            counters: self.counters,
            agents: self.agents.values().map(|a| Agent::clone(a)).collect(),
            frameworks: self
                .frameworks
                .values()
                .map(|f| Framework::clone(f))
                .collect(),
            completed: self
                .completed
                .iter()
                .map(|c| CompletedFramework::clone(c))
                .collect(),
            tasks: self.tasks.values().map(|t| Task::clone(t)).collect(),
            offers: self.offers.values().map(|o| Offer::clone(o)).collect(),
            inverse_offers: self
                .inverse_offers
                .values()
                .map(|o| InverseOffer::clone(o))
                .collect(),
            windows: self.windows.iter().cloned().collect(),
            down_machines: self
                .machines
                .iter()
                .filter(|(_, machine)| machine.down)
                .map(|(name, _)| name.clone())
                .collect(),
            gone: self
                .gone_agents()
                .map(|(id, at)| (id.clone(), at))
                .collect(),
            consumed: self
                .consumed
                .iter()
                .map(|(id, c)| (*id, c.clone()))
                .collect(),
            operations: self
                .operations
                .values()
                .map(|o| FinishedOperation::clone(o))
                .collect(),
            roles: self.roles.values().map(|c| RoleConfig::clone(c)).collect(),
            hashes: self.state_hashes().collect(),
            feature_level: self.feature_level(),
            ancestors: self.ancestors.iter().cloned().collect(),
        }
    }
}

//! What must hold after every entry.

use std::collections::{BTreeMap, BTreeSet};

use regency_resources::Resources;
use regency_types::{AgentId, FrameworkId};

use crate::bounds;
use crate::model::{Agent, AgentCommand, AgentPhase, DrainProgress, check_weight};
use crate::state::State;

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {what}")]
pub struct Violation {
    /// Which rule, in the words of the design (I2, I3, …) or of this crate.
    pub rule: &'static str,
    /// What breaks it.
    pub what: String,
}

fn check(holds: bool, rule: &'static str, what: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds {
        Ok(())
    } else {
        Err(Violation { rule, what: what() })
    }
}

/// I14: what operations made is what the agent has more than it says, and persistence ids are
/// unique.
fn check_volumes(agent: &Agent) -> Result<(), Violation> {
    check(
        agent.spec.total.with_checkpointed(&agent.checkpointed) == Ok(agent.total.clone())
            && agent.checkpointed.checkpointed() == agent.checkpointed,
        "I14 an agent's total is what it says with what operations made of it",
        || format!("{}: {} in all", agent.id, agent.total),
    )?;
    let mut seen = BTreeSet::new();
    for entry in agent.checkpointed.entries() {
        let persistence = entry.key.disk.as_ref().and_then(|d| d.persistence.as_ref());
        if let Some(persistence) = persistence {
            check(
                entry.copies == 1 && seen.insert((entry.key.reserved_role(), &persistence.id)),
                "persistence ids are unique",
                || format!("{}: {entry}", agent.id),
            )?;
        }
    }
    Ok(())
}

impl State {
    /// Whether everything that must hold at every log index does. Costs O(size of the state);
    /// meant for tests, the simulation and audits.
    ///
    /// # Errors
    /// The first rule found broken.
    pub fn check_invariants(&self) -> Result<(), Violation> {
        self.check_promises()?;
        self.check_agents()?;
        self.check_frameworks()?;
        self.check_tasks()?;
        self.check_offers()?;
        self.check_inverse_offers()?;
        self.check_maintenance()?;
        self.check_operations()?;
        self.check_roles()?;
        self.check_bounds()
    }

    /// I3: on each agent used + offered never exceeds the total, and the sums kept are the sums.
    fn check_promises(&self) -> Result<(), Violation> {
        let mut used: BTreeMap<&AgentId, Resources> = BTreeMap::new();
        let mut offered: BTreeMap<&AgentId, Resources> = BTreeMap::new();
        for task in self.tasks.values().filter(|t| !t.is_terminal()) {
            *used.entry(&task.agent).or_default() += &task.resources;
        }
        for agent in self.agents.values() {
            for executor in agent.executors.values() {
                *used.entry(&agent.id).or_default() += &executor.resources;
            }
        }
        for offer in self.offers.values() {
            *offered.entry(&offer.agent).or_default() += &offer.resources;
        }
        for agent in self.agents.values() {
            let used = used.remove(&agent.id).unwrap_or_default();
            let offered = offered.remove(&agent.id).unwrap_or_default();
            check(
                used == agent.allocated,
                "allocated is the sum of tasks and executors",
                || format!("{}: {} kept, {used} in use", agent.id, agent.allocated),
            )?;
            check(
                offered == agent.offered,
                "offered is the sum of the offers",
                || format!("{}: {} kept, {offered} in offers", agent.id, agent.offered),
            )?;
            let fits = agent
                .total
                .without_used(&used)
                .and_then(|rest| rest.without_used(&offered))
                .is_ok();
            check(fits, "I3 no double promise", || {
                format!(
                    "{}: {used} used and {offered} offered of {}",
                    agent.id, agent.total
                )
            })?;
            check_volumes(agent)?;
        }
        check(
            used.is_empty() && offered.is_empty(),
            "I3 promises are on known agents",
            || format!("{used:?} {offered:?}"),
        )
    }

    fn check_agents(&self) -> Result<(), Violation> {
        check(
            self.epochs.len() == self.agents.len(),
            "I6 one agent per epoch",
            || format!("{} epochs, {} agents", self.epochs.len(), self.agents.len()),
        )?;
        for agent in self.agents.values() {
            check(
                self.epochs.get(&agent.epoch) == Some(&agent.id),
                "I6 epochs lead back",
                || agent.id.to_string(),
            )?;
            check(
                agent.is_active() || (agent.offers.is_empty() && agent.inverse_offers.is_empty()),
                "no offers on an agent that was given up or is out of use",
                || agent.id.to_string(),
            )?;
            self.check_outbox(agent)?;
            self.check_executors(agent)?;
        }
        Ok(())
    }

    /// Each executor has its framework, and its launch was or will be sent.
    fn check_executors(&self, agent: &Agent) -> Result<(), Violation> {
        for (key, executor) in &agent.executors {
            let sent = executor.launch_seq <= agent.confirmed_seq;
            let waits = matches!(
                agent.outbox.get(&executor.launch_seq),
                Some(AgentCommand::LaunchExecutor { executor: waiting, instance })
                    if waiting == key && *instance == executor.instance
            );
            let holds = executor.key == *key
                && self.frameworks.contains_key(&key.framework)
                && executor.instance.0 <= self.counters.generation
                && (sent || waits);
            check(
                holds,
                "an executor is its framework's and on its way",
                || format!("{}: {key}#{}", agent.id, executor.instance),
            )?;
        }
        Ok(())
    }

    /// The commands waiting are exactly those above the cursor, and each launch has its task.
    fn check_outbox(&self, agent: &Agent) -> Result<(), Violation> {
        let waiting = agent.command_seq - agent.confirmed_seq;
        check(
            agent.outbox.len() as u64 == waiting,
            "the command stream has no gaps",
            || {
                format!(
                    "{}: {} kept, {waiting} waiting",
                    agent.id,
                    agent.outbox.len()
                )
            },
        )?;
        for (seq, command) in &agent.outbox {
            check(
                *seq > agent.confirmed_seq,
                "confirmed commands are forgotten",
                || format!("{}: {seq}", agent.id),
            )?;
            for (task, generation) in command.launches() {
                let there = self.tasks.get(task).is_some_and(|t| {
                    t.generation == generation && t.agent == agent.id && t.launch_seq == *seq
                });
                check(there, "I1 a launch on its way has its task", || {
                    task.to_string()
                })?;
            }
        }
        Ok(())
    }

    fn check_frameworks(&self) -> Result<(), Violation> {
        for framework in self.frameworks.values() {
            check(
                framework.is_subscribed() || framework.offers.is_empty(),
                "a disconnected framework has no offers",
                || framework.id.to_string(),
            )?;
            check(
                framework.is_subscribed() || framework.filters.is_empty(),
                "a disconnected framework has no filters",
                || framework.id.to_string(),
            )?;
            check(
                framework.suppressed.is_subset(&framework.spec.roles),
                "suppressed roles are the framework's",
                || framework.id.to_string(),
            )?;
            let unacked = self
                .tasks_of(framework)
                .filter(|t| t.unacked.is_some())
                .count() as u64;
            check(
                unacked == framework.n_unacked,
                "unacknowledged updates are counted",
                || {
                    format!(
                        "{}: {} kept, {unacked} found",
                        framework.id, framework.n_unacked
                    )
                },
            )?;
            if let Some(n) = self.own_number(&framework.id) {
                check(
                    n < self.counters.framework,
                    "I6 ids are below their counter",
                    || framework.id.to_string(),
                )?;
            }
            let again = self
                .completed
                .iter()
                .any(|c| c.framework.id == framework.id);
            check(!again, "I6 a removed framework does not come back", || {
                framework.id.to_string()
            })?;
        }
        Ok(())
    }

    fn check_tasks(&self) -> Result<(), Violation> {
        let mut per_framework: BTreeMap<&FrameworkId, usize> = BTreeMap::new();
        for task in self.tasks.values() {
            *per_framework.entry(&task.key.framework).or_default() += 1;
            check(
                task.generation.0 <= self.counters.generation,
                "generations are below their counter",
                || task.key.to_string(),
            )?;
            let placed = self
                .agents
                .get(&task.agent)
                .is_some_and(|a| a.tasks.contains(&task.key));
            check(
                placed || task.is_terminal(),
                "a living task is on its agent",
                || task.key.to_string(),
            )?;
            check(
                (task.state == regency_types::TaskState::Unreachable)
                    == task.state_before_unreachable.is_some(),
                "an unreachable task knows what it was",
                || task.key.to_string(),
            )?;
            let agent_counts = self
                .agents
                .get(&task.agent)
                .is_some_and(|a| a.is_registered());
            check(
                task.state_before_unreachable.is_none() || !agent_counts,
                "a task of an agent that counts is not unreachable",
                || task.key.to_string(),
            )?;
        }
        for framework in self.frameworks.values() {
            let n = per_framework.remove(&framework.id).unwrap_or_default();
            check(
                n == framework.tasks.len(),
                "a framework lists its tasks",
                || {
                    format!(
                        "{}: {} kept, {n} found",
                        framework.id,
                        framework.tasks.len()
                    )
                },
            )?;
        }
        check(
            per_framework.is_empty(),
            "every task has its framework",
            || format!("{per_framework:?}"),
        )
    }

    /// I2: an offer is outstanding or consumed, never both, and its owner may have it.
    fn check_offers(&self) -> Result<(), Violation> {
        for offer in self.offers.values() {
            check(
                !self.consumed.contains_key(&offer.id),
                "I2 an offer is used at most once",
                || format!("offer {}", offer.id.0),
            )?;
            check(
                offer.id.0 < self.counters.offer,
                "I6 ids are below their counter",
                || format!("offer {}", offer.id.0),
            )?;
            let owned = self.frameworks.get(&offer.framework).is_some_and(|f| {
                f.offers.contains(&offer.id) && f.spec.roles.contains(&offer.role)
            });
            check(owned, "an offer is its framework's", || {
                format!("offer {}", offer.id.0)
            })?;
        }
        Ok(())
    }

    /// An inverse offer is one framework's for one agent, and says when that is not there.
    fn check_inverse_offers(&self) -> Result<(), Violation> {
        let mut asked = BTreeSet::new();
        for offer in self.inverse_offers.values() {
            let what = || format!("inverse offer {}", offer.id.0);
            check(
                offer.id.0 < self.counters.offer
                    && !self.offers.contains_key(&offer.id)
                    && !self.consumed.contains_key(&offer.id),
                "I6 ids are below their counter",
                what,
            )?;
            let agent = self.agents.get(&offer.agent).is_some_and(|a| {
                a.inverse_offers.contains(&offer.id)
                    && self.unavailability_of(&a.spec) == Some(offer.unavailability)
            });
            let framework = self
                .frameworks
                .get(&offer.framework)
                .is_some_and(|f| f.inverse_offers.contains(&offer.id) && f.is_subscribed());
            check(agent, "an inverse offer tells what is planned", what)?;
            check(framework, "an inverse offer is its framework's", what)?;
            check(
                asked.insert((&offer.framework, &offer.agent)),
                "a framework is asked once to leave an agent",
                what,
            )?;
        }
        let n_agents: usize = self.agents.values().map(|a| a.inverse_offers.len()).sum();
        let frameworks = self.frameworks.values();
        let n_frameworks: usize = frameworks.map(|f| f.inverse_offers.len()).sum();
        check(
            n_agents == asked.len() && n_frameworks == asked.len(),
            "agents and frameworks list their inverse offers",
            || format!("{n_agents}, {n_frameworks}, {}", asked.len()),
        )
    }

    /// I14: machines are those of the windows, and what operators said of agents holds.
    fn check_maintenance(&self) -> Result<(), Violation> {
        let mut named = BTreeSet::new();
        for window in &self.windows {
            for name in &window.machines {
                let machine = self.machines.get(name);
                check(
                    machine.is_some_and(|m| m.unavailability == window.unavailability)
                        && named.insert(name),
                    "I14 each machine is in one window",
                    || name.to_string(),
                )?;
            }
        }
        check(
            named.len() == self.machines.len() && named.len() <= bounds::MACHINES_MAX,
            "I14 machines are those of the windows",
            || format!("{} of {}", named.len(), self.machines.len()),
        )?;
        for agent in self.agents.values() {
            let what = || agent.id.to_string();
            let machine = self.machine_of(&agent.spec);
            check(
                !agent.is_registered() || machine.is_none_or(|(_, machine)| !machine.down),
                "I14 no agent counts on a machine that is down",
                what,
            )?;
            check(
                agent.drain.is_none() || agent.deactivated,
                "I14 an agent that is drained is out of use",
                what,
            )?;
            let drained = agent
                .drain
                .is_some_and(|drain| drain.progress == DrainProgress::Drained);
            check(
                !drained || agent.tasks.is_empty(),
                "I14 an agent that was drained is empty",
                what,
            )?;
            check(
                agent.answers.is_empty()
                    || (machine.is_some()
                        && agent
                            .answers
                            .keys()
                            .all(|f| self.frameworks.contains_key(f))),
                "answers are of frameworks, about the schedule",
                what,
            )?;
            let down = matches!(agent.phase, AgentPhase::Down { .. });
            let mut tasks = agent.tasks.iter().filter_map(|key| self.tasks.get(key));
            check(
                !down || (agent.executors.is_empty() && tasks.all(|t| t.is_terminal())),
                "nothing lives on a machine that was taken down",
                what,
            )?;
            check(
                !self.gone.contains_key(&agent.id),
                "I8 an agent that was marked gone does not come back",
                what,
            )?;
        }
        Ok(())
    }

    /// Each operation that waits for its acknowledgement has its framework.
    fn check_operations(&self) -> Result<(), Violation> {
        let mut per_framework: BTreeMap<&FrameworkId, usize> = BTreeMap::new();
        for (key, operation) in &self.operations {
            check(
                *key == operation.key && self.frameworks.contains_key(&key.framework),
                "every operation has its framework",
                || key.to_string(),
            )?;
            *per_framework.entry(&key.framework).or_default() += 1;
        }
        let most = per_framework.values().max().copied().unwrap_or(0);
        check(
            most <= bounds::OPERATIONS_UNACKED_MAX,
            "I18 memory is bounded",
            || format!("{most} operations"),
        )
    }

    /// I14: what is decided about roles can be, and nothing is kept that says nothing.
    fn check_roles(&self) -> Result<(), Violation> {
        for (name, config) in &self.roles {
            let weight = config.weight.map_or(Ok(()), |w| check_weight(name, w));
            let quota = if config.quota.is_empty() {
                Ok(())
            } else {
                config.quota.check(name)
            };
            check(
                config.role == *name && !config.is_empty() && weight.and(quota).is_ok(),
                "I14 quotas and weights can be",
                || format!("{config:?}"),
            )?;
        }
        Ok(())
    }

    /// I18: what grows has a bound.
    fn check_bounds(&self) -> Result<(), Violation> {
        let within = self.consumed.len() <= bounds::CONSUMED_OFFERS_MAX
            && self.hashes.len() <= bounds::STATE_HASHES_MAX
            && self.ancestors.len() <= bounds::ANCESTORS_MAX
            && self.roles.len() <= bounds::ROLES_CONFIGURED_MAX
            && self.gone.len() <= bounds::GONE_AGENTS_MAX
            && self.completed.len() <= bounds::COMPLETED_FRAMEWORKS_MAX
            && self.frameworks.values().all(|f| {
                f.completed_tasks.len() <= bounds::COMPLETED_TASKS_PER_FRAMEWORK_MAX
                    && f.retained.len() <= bounds::RETAINED_STATUSES_MAX
                    && f.refused_operations.len() <= bounds::RETAINED_STATUSES_MAX
                    && f.filters
                        .values()
                        .all(|v| v.len() <= bounds::FILTERS_PER_AGENT_MAX)
            });
        check(within, "I18 memory is bounded", String::new)
    }
}

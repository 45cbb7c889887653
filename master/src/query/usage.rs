//! What a framework or an agent uses and is offered, role by role.

use std::collections::BTreeMap;

use regency_resources::Resources;
use regency_state::State;
use regency_state::model::{Agent, Executor, Framework, Offer, Task};
use regency_types::TaskState;

/// Resources by the role they are allocated to.
pub(crate) type ByRole<'a> = BTreeMap<&'a str, Resources>;

/// What is used and what is offered.
#[derive(Debug, Default)]
pub(crate) struct Usage<'a> {
    /// By executors, and by tasks that run or are about to.
    pub(crate) used: ByRole<'a>,
    /// By outstanding offers.
    pub(crate) offered: ByRole<'a>,
}

impl<'a> Usage<'a> {
    /// The usage of a framework over all agents.
    pub(crate) fn of_framework(state: &'a State, framework: &'a Framework) -> Self {
        let mut usage = Self::default();
        for task in state.tasks_of(framework) {
            usage.add_task(task);
        }
        for (agent, executor) in state.executors_of(&framework.id) {
            if state.agent(agent).is_some_and(|a| a.is_registered()) {
                usage.add_executor(executor);
            }
        }
        for offer in &framework.offers {
            if let Some(offer) = state.offer(*offer) {
                usage.add_offer(offer);
            }
        }
        usage
    }

    /// The usage of an agent over all frameworks.
    pub(crate) fn of_agent(state: &'a State, agent: &'a Agent) -> Self {
        let mut usage = Self::default();
        for task in &agent.tasks {
            if let Some(task) = state.task(task) {
                usage.add_task(task);
            }
        }
        for executor in agent.executors.values().filter(|_| agent.is_registered()) {
            usage.add_executor(executor);
        }
        for offer in &agent.offers {
            if let Some(offer) = state.offer(*offer) {
                usage.add_offer(offer);
            }
        }
        usage
    }

    fn add_task(&mut self, task: &'a Task) {
        if uses_resources(task) {
            *self.used.entry(&task.role).or_default() += &task.resources;
        }
    }

    fn add_executor(&mut self, executor: &'a Executor) {
        *self.used.entry(&executor.role).or_default() += &executor.resources;
    }

    fn add_offer(&mut self, offer: &'a Offer) {
        *self.offered.entry(&offer.role).or_default() += &offer.resources;
    }
}

/// Whether a task counts as using its resources. An unreachable one does not, since its agent's
/// resources do not count as the cluster's.
pub(crate) fn uses_resources(task: &Task) -> bool {
    !task.is_terminal() && task.state != TaskState::Unreachable
}

/// All roles together.
pub(crate) fn total(by_role: &ByRole<'_>) -> Resources {
    by_role.values().sum()
}

//! What changed from one state to the next, in the terms of those who watch the cluster.
//!
//! A function of the two states and nothing else, so that all masters tell the same of the same entry.
//! The maps share their structure, so it costs what changed and not what there is.

use std::sync::Arc;

use imbl::ordmap::DiffItem;
use regency_types::{AgentId, TaskState};

use crate::model::{Agent, Framework, Task};
use crate::state::State;

/// One thing that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An agent counts that did not; or one that counts describes itself anew.
    AgentAdded(Arc<Agent>),
    /// A framework subscribed for the first time.
    FrameworkAdded(Arc<Framework>),
    /// A framework came, went away, or describes itself anew.
    FrameworkUpdated(Arc<Framework>),
    /// A task was launched.
    TaskAdded(Arc<Task>),
    /// The state or the newest status of a task changed.
    TaskUpdated {
        /// As it was.
        before: Arc<Task>,
        /// As it is; where it was completed by the same entry, as it is kept.
        after: Arc<Task>,
    },
    /// A framework ended; as it last was.
    FrameworkRemoved(Arc<Framework>),
    /// An agent does not count any more.
    AgentRemoved(AgentId),
}

impl State {
    /// What is different from `before`, an earlier state of the same cluster.
    ///
    /// The order is one in which it makes sense: what is there before what belongs to it, and ends in
    /// the opposite order; within each kind by id.
    #[must_use]
    pub fn changes_since(&self, before: &Self) -> Vec<Change> {
        let (mut come, mut gone) = (Vec::new(), Vec::new());
        self.agent_changes(before, &mut come, &mut gone);
        let mut ended = Vec::new();
        self.framework_changes(before, &mut come, &mut ended);
        self.task_changes(before, &mut come);
        come.append(&mut ended);
        come.append(&mut gone);
        come
    }

    fn agent_changes(&self, before: &Self, come: &mut Vec<Change>, gone: &mut Vec<Change>) {
        for item in before.agents.diff(&self.agents) {
            let (old, new) = match item {
                DiffItem::Add(_, new) => (None, Some(new)),
                DiffItem::Remove(_, old) => (Some(old), None),
                DiffItem::Update { old, new } => (Some(old.1), Some(new.1)),
            };
            let old = old.filter(|agent| agent.is_registered());
            let new = new.filter(|agent| agent.is_registered());
            match (old, new) {
                (None, Some(new)) => come.push(Change::AgentAdded(Arc::clone(new))),
                (Some(old), Some(new)) if old.spec != new.spec => {
                    come.push(Change::AgentAdded(Arc::clone(new)));
                }
                (Some(old), None) => gone.push(Change::AgentRemoved(old.id.clone())),
                _ => {}
            }
        }
    }

    fn framework_changes(&self, before: &Self, come: &mut Vec<Change>, ended: &mut Vec<Change>) {
        for item in before.frameworks.diff(&self.frameworks) {
            match item {
                DiffItem::Add(_, new) => come.push(Change::FrameworkAdded(Arc::clone(new))),
                DiffItem::Remove(_, old) => ended.push(Change::FrameworkRemoved(Arc::clone(old))),
                DiffItem::Update {
                    old: (_, old),
                    new: (_, new),
                } => {
                    if old.spec != new.spec
                        || old.described != new.described
                        || old.stream() != new.stream()
                        || old.reregistered != new.reregistered
                    {
                        come.push(Change::FrameworkUpdated(Arc::clone(new)));
                    }
                }
            }
        }
    }

    fn task_changes(&self, before: &Self, changes: &mut Vec<Change>) {
        let mut updates = Vec::new();
        for item in before.tasks.diff(&self.tasks) {
            match item {
                DiffItem::Add(_, new) => changes.push(Change::TaskAdded(Arc::clone(new))),
                DiffItem::Update {
                    old: (_, old),
                    new: (_, new),
                } => {
                    if old.generation != new.generation {
                        changes.push(Change::TaskAdded(Arc::clone(new)));
                    } else if differs(old, new) {
                        updates.push((old, Arc::clone(new)));
                    }
                }
                DiffItem::Remove(_, old) => {
                    if let Some(kept) = self.completed(old).filter(|kept| differs(old, kept)) {
                        updates.push((old, kept));
                    }
                }
            }
        }
        changes.extend(
            updates
                .into_iter()
                .map(|(before, after)| Change::TaskUpdated {
                    before: Arc::clone(before),
                    after,
                }),
        );
    }

    /// A task that this entry completed, as it is kept.
    fn completed(&self, task: &Task) -> Option<Arc<Task>> {
        let id = &task.key.framework;
        let is_it = |kept: &&Arc<Task>| kept.key == task.key && kept.generation == task.generation;
        if let Some(framework) = self.frameworks.get(id) {
            return framework.completed_tasks.iter().rev().find(is_it).cloned();
        }
        let mut ended = self.completed.iter().rev();
        let ended = ended.find(|ended| &ended.framework.id == id)?;
        let kept = ended.framework.completed_tasks.iter().rev().find(is_it);
        // Of a large framework not all are kept; what it still ran counts as killed with it.
        kept.cloned().or_else(|| {
            (!task.is_terminal()).then(|| {
                Arc::new(Task {
                    state: TaskState::Killed,
                    ..task.clone()
                })
            })
        })
    }
}

fn differs(old: &Task, new: &Task) -> bool {
    old.state != new.state || old.status != new.status
}

#[cfg(test)]
mod tests;

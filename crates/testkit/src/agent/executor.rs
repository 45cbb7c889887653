//! Executors: processes with a memory of what they were given, which lose nothing of it while they
//! live.

use std::collections::BTreeSet;

use bytes::Bytes;
use regency_agent_core::{
    ExecutorEvent, ExecutorUpdate, Exit, Input, InstanceId, LaunchId, Mint, Subscription,
};
use regency_types::TaskState;

use super::{Machine, Process};

/// What an executor remembers.
#[derive(Debug, Default)]
pub struct Memory {
    /// Whether it holds a stream.
    listens: bool,
    /// Tasks it was given.
    given: BTreeSet<LaunchId>,
    /// Those of which no update was acknowledged to it.
    unheard: BTreeSet<LaunchId>,
    /// Those it told the end of.
    done: BTreeSet<LaunchId>,
    /// Those it was told to end.
    killed: BTreeSet<LaunchId>,
    /// Updates that were not acknowledged to it.
    updates: Vec<ExecutorUpdate>,
}

impl Memory {
    pub(super) fn hang_up(&mut self) {
        self.listens = false;
    }

    /// Tasks it runs.
    #[must_use]
    pub fn open(&self) -> Vec<LaunchId> {
        self.given.difference(&self.done).cloned().collect()
    }

    /// Tasks it runs and was told to end.
    #[must_use]
    pub fn killed(&self) -> Vec<LaunchId> {
        let open = self.given.difference(&self.done);
        open.filter(|id| self.killed.contains(*id))
            .cloned()
            .collect()
    }
}

impl Machine {
    /// That this will be the process of an executor, and not of a task.
    pub fn expect_executor(&mut self, id: InstanceId) {
        self.memories.entry(id).or_default();
    }

    /// That this will be an executor without a process.
    pub fn expect_built_in(&mut self, id: InstanceId) {
        self.built_in.insert(id);
    }

    /// Whether it is an executor, and not a task.
    #[must_use]
    pub fn is_executor(&self, id: &LaunchId) -> bool {
        self.memories.contains_key(id) || self.built_in.contains(id)
    }

    /// What an executor remembers.
    #[must_use]
    pub fn memory(&self, id: &InstanceId) -> Option<&Memory> {
        self.memories.get(id)
    }

    /// Executors whose process runs.
    #[must_use]
    pub fn living_executors(&self) -> Vec<InstanceId> {
        let mut living = self.processes_that(Process::Running);
        living.retain(|id| self.memories.contains_key(id));
        living
    }

    /// An executor is told something; without a stream it hears nothing.
    pub(super) fn told(&mut self, id: &InstanceId, event: ExecutorEvent) {
        if self.process(id) != Some(Process::Running) {
            return;
        }
        let Some(memory) = self.memories.get_mut(id).filter(|memory| memory.listens) else {
            return;
        };
        match event {
            ExecutorEvent::Subscribed | ExecutorEvent::Message(_) => {}
            ExecutorEvent::Launch(task) => self.given(id, task),
            ExecutorEvent::LaunchGroup(tasks) => {
                for task in tasks {
                    self.given(id, task);
                }
            }
            ExecutorEvent::Kill(task, _) => {
                assert!(memory.given.contains(&task), "{task} was never given");
                memory.killed.insert(task);
            }
            ExecutorEvent::Acknowledged(task, uuid) => {
                memory.updates.retain(|update| update.uuid != uuid);
                memory.unheard.retain(|id| id.key.task != task);
            }
            ExecutorEvent::Shutdown => self.end(id.clone(), Exit::Exited(0)),
        }
    }

    fn given(&mut self, id: &InstanceId, task: LaunchId) {
        if let Some(memory) = self.memories.get_mut(id) {
            assert!(
                memory.given.insert(task.clone()),
                "I1: {task} was given twice"
            );
            memory.unheard.insert(task.clone());
            *self.starts.entry(task).or_default() += 1;
        }
    }

    /// An executor opens a stream, anew or for the first time.
    pub fn executor_subscribes(&mut self, id: &InstanceId) {
        let Some(memory) = self.memories.get_mut(id) else {
            return;
        };
        memory.listens = true;
        let unheard = memory.unheard.iter();
        let subscription = Subscription {
            tasks: unheard.map(|task| task.key.task.clone()).collect(),
            updates: memory.updates.clone(),
        };
        self.input(Input::ExecutorSubscribed(id.clone(), subscription));
    }

    /// The stream of an executor breaks, which the agent notices or not.
    pub fn executor_breaks(&mut self, id: &InstanceId, noticed: bool) {
        if let Some(memory) = self.memories.get_mut(id) {
            memory.listens = false;
        }
        if noticed {
            self.input(Input::ExecutorUnsubscribed(id.clone()));
        }
    }

    /// An executor has news of one of its tasks, which it keeps until they are acknowledged.
    pub fn executor_tells(&mut self, id: &InstanceId, task: LaunchId, state: TaskState) {
        let uuid = self.mint.update_uuid();
        let Some(memory) = self.memories.get_mut(id) else {
            return;
        };
        let update = ExecutorUpdate {
            task: task.key.task.clone(),
            uuid,
            state,
            status: Bytes::from_static(b"status"),
        };
        if state.is_terminal() {
            memory.done.insert(task);
        }
        memory.updates.push(update.clone());
        // Without a stream the call would be refused.
        if memory.listens {
            self.input(Input::ExecutorUpdated(id.clone(), update));
        }
    }

    /// An executor comes back, and tells the end of all it was given.
    pub fn executor_finishes(&mut self, id: &InstanceId) {
        self.executor_subscribes(id);
        let open = self.memories.get(id).map(Memory::open).unwrap_or_default();
        for task in open {
            self.executor_tells(id, task, TaskState::Finished);
        }
    }
}

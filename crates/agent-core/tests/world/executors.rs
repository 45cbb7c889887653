//! Executors in this world: processes with a memory of what they were given, which lose nothing
//! of it while they live.

use std::collections::BTreeSet;

use bytes::Bytes;
use regency_agent_core::{
    Command, ExecutorEvent, ExecutorUpdate, Exit, Input, InstanceId, LaunchId, Mint, Subscription,
};
use regency_types::{DurationMs, Generation, TaskId, TaskKey, TaskState};

use super::{Process, World};

/// What an executor remembers.
#[derive(Debug, Default)]
pub(super) struct Memory {
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

impl World {
    fn executor_key(framework: u8) -> TaskKey {
        TaskKey {
            task: TaskId::new("executor").expect("an id"),
            ..Self::key(framework, 0)
        }
    }

    /// A task in the executor of its framework, which is launched when the masters know of none.
    pub(super) fn launch_inside(&mut self, framework: u8, task: u8) {
        let Some(id) = self.fresh(framework, task) else {
            return;
        };
        let key = Self::executor_key(framework);
        let instance = match self.instances.get(&key.framework) {
            Some((instance, _)) => instance.clone(),
            None => {
                self.next_generation += 1;
                let instance = InstanceId {
                    key,
                    generation: Generation(self.next_generation),
                };
                self.log.push(Command::LaunchExecutor {
                    id: instance.clone(),
                    framework_info: Bytes::from_static(b"f"),
                    executor_info: Bytes::from_static(b"e"),
                    shutdown_grace: Some(DurationMs(500)),
                });
                let known = (instance.clone(), self.log.len() as u64);
                let framework = instance.key.framework.clone();
                self.instances.insert(framework, known);
                self.memories.insert(instance.clone(), Memory::default());
                instance
            }
        };
        self.log.push(Self::launch_in(id, false, Some(instance)));
    }

    /// The masters learn that an executor is gone.
    pub(super) fn hear_end(&mut self, instance: &InstanceId) {
        let known = self.instances.get(&instance.key.framework);
        if known.is_some_and(|(known, _)| known == instance) {
            self.instances.remove(&instance.key.framework);
        }
    }

    /// The masters see all executors that an agent has.
    pub(super) fn hear_all(&mut self, named: &BTreeSet<InstanceId>, command_seq: u64) {
        self.instances
            .retain(|_, (instance, seq)| *seq > command_seq || named.contains(instance));
    }

    fn living(&self) -> Vec<InstanceId> {
        let running = self.processes_that(Process::Running);
        let own = running
            .into_iter()
            .filter(|id| self.memories.contains_key(id));
        own.collect()
    }

    pub(super) fn is_executor(&self, id: &LaunchId) -> bool {
        self.memories.contains_key(id)
    }

    pub(super) fn executors_lose_their_streams(&mut self) {
        for memory in self.memories.values_mut() {
            memory.listens = false;
        }
    }

    /// An executor is told something; without a stream it hears nothing.
    pub(super) fn told(&mut self, id: &InstanceId, event: ExecutorEvent) {
        if self.processes.get(id) != Some(&Process::Running) {
            return;
        }
        let Some(memory) = self.memories.get_mut(id).filter(|memory| memory.listens) else {
            return;
        };
        match event {
            ExecutorEvent::Subscribed | ExecutorEvent::Message(_) => {}
            ExecutorEvent::Launch(task) => {
                assert!(memory.given.insert(task.clone()), "{task} was given twice");
                memory.unheard.insert(task.clone());
                *self.starts.entry(task).or_default() += 1;
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

    /// An executor opens a stream, anew or for the first time.
    pub(super) fn executor_subscribes(&mut self, index: u8) {
        if let Some(id) = Self::pick(&self.living(), index) {
            self.subscribe(&id);
        }
    }

    fn subscribe(&mut self, id: &InstanceId) {
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

    /// The stream of an executor breaks; sometimes the agent does not notice.
    pub(super) fn executor_breaks(&mut self, index: u8) {
        let Some(id) = Self::pick(&self.living(), index) else {
            return;
        };
        if let Some(memory) = self.memories.get_mut(&id) {
            memory.listens = false;
        }
        if index.is_multiple_of(2) {
            self.input(Input::ExecutorUnsubscribed(id));
        }
    }

    /// An executor has news of one of its tasks.
    pub(super) fn executor_tells(&mut self, index: u8, what: u8) {
        let Some(id) = Self::pick(&self.living(), index) else {
            return;
        };
        let memory = &self.memories[&id];
        let open: Vec<_> = memory.given.difference(&memory.done).cloned().collect();
        let Some(task) = Self::pick(&open, what) else {
            return;
        };
        let state = match what % 4 {
            _ if memory.killed.contains(&task) => TaskState::Killed,
            0 => TaskState::Finished,
            1 => TaskState::Failed,
            _ => TaskState::Running,
        };
        self.tell_of(&id, task, state);
    }

    fn tell_of(&mut self, id: &InstanceId, task: LaunchId, state: TaskState) {
        let update = ExecutorUpdate {
            task: task.key.task.clone(),
            uuid: self.mint.update_uuid(),
            state,
            status: Bytes::from_static(b"status"),
        };
        let Some(memory) = self.memories.get_mut(id) else {
            return;
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
    pub(super) fn executor_finishes(&mut self, id: &InstanceId) {
        self.subscribe(id);
        let memory = &self.memories[id];
        let open: Vec<_> = memory.given.difference(&memory.done).cloned().collect();
        for task in open {
            self.tell_of(id, task, TaskState::Finished);
        }
    }
}

//! Executors in this world: what the masters know of them. Their processes are testkit's.

use std::collections::BTreeSet;

use bytes::Bytes;
use regency_agent_core::{Command, InstanceId};
use regency_types::{DurationMs, Generation, TaskId, TaskKey, TaskState};

use super::World;

impl World {
    fn executor_key(framework: u8) -> TaskKey {
        TaskKey {
            task: TaskId::new("executor").expect("an id"),
            ..Self::key(framework, 0)
        }
    }

    /// A task in the executor of its framework.
    pub(super) fn launch_inside(&mut self, framework: u8, task: u8) {
        let Some(id) = self.fresh(framework, task) else {
            return;
        };
        let instance = self.executor(framework);
        self.log.push(Self::launch_in(id, false, Some(instance)));
    }

    /// The executor of a framework, which is launched when the masters know of none.
    pub(super) fn executor(&mut self, framework: u8) -> InstanceId {
        let key = Self::executor_key(framework);
        match self.instances.get(&key.framework) {
            Some((instance, _)) => instance.clone(),
            None => {
                self.next_generation += 1;
                let instance = InstanceId {
                    key,
                    generation: Generation(self.next_generation),
                };
                self.log.push(Command::LaunchExecutor {
                    id: instance.clone(),
                    built_in: false,
                    framework_info: Bytes::from_static(b"f"),
                    executor_info: Bytes::from_static(b"e"),
                    shutdown_grace: Some(DurationMs(500)),
                });
                let known = (instance.clone(), self.log.len() as u64);
                let framework = instance.key.framework.clone();
                self.instances.insert(framework, known);
                self.machine.expect_executor(instance.clone());
                instance
            }
        }
    }

    /// The masters learn that an executor is gone.
    pub(super) fn hear_end(&mut self, instance: &InstanceId) {
        let known = self.instances.get(&instance.key.framework);
        if known.is_some_and(|(known, _)| known == instance) {
            self.instances.remove(&instance.key.framework);
        }
        let known = self.pods.get(&instance.key.framework);
        if known.is_some_and(|(known, _)| known == instance) {
            self.pods.remove(&instance.key.framework);
        }
    }

    /// The masters see all executors that an agent has.
    pub(super) fn hear_all(&mut self, named: &BTreeSet<InstanceId>, command_seq: u64) {
        for executors in [&mut self.instances, &mut self.pods] {
            executors.retain(|_, (instance, seq)| *seq > command_seq || named.contains(instance));
        }
    }

    /// An executor opens a stream, anew or for the first time.
    pub(super) fn executor_subscribes(&mut self, index: u8) {
        if let Some(id) = Self::pick(&self.machine.living_executors(), index) {
            self.with_machine(|machine| machine.executor_subscribes(&id));
        }
    }

    /// The stream of an executor breaks; sometimes the agent does not notice.
    pub(super) fn executor_breaks(&mut self, index: u8) {
        if let Some(id) = Self::pick(&self.machine.living_executors(), index) {
            let noticed = index.is_multiple_of(2);
            self.with_machine(|machine| machine.executor_breaks(&id, noticed));
        }
    }

    /// An executor has news of one of its tasks.
    pub(super) fn executor_tells(&mut self, index: u8, what: u8) {
        let Some(id) = Self::pick(&self.machine.living_executors(), index) else {
            return;
        };
        let Some(memory) = self.machine.memory(&id) else {
            return;
        };
        let killed = memory.killed();
        let Some(task) = Self::pick(&memory.open(), what) else {
            return;
        };
        let state = match what % 4 {
            _ if killed.contains(&task) => TaskState::Killed,
            0 => TaskState::Finished,
            1 => TaskState::Failed,
            _ => TaskState::Running,
        };
        self.with_machine(|machine| machine.executor_tells(&id, task, state));
    }
}

//! What ended here lately, and what was told of what runs: for people who look, never for
//! decisions. It begins empty at every start of the agent.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use regency_agent_core::{Durable, Executor, InstanceId, LaunchId, Record, Task, Update};

/// A task that ended.
#[derive(Debug, Clone)]
pub(crate) struct EndedTask {
    pub(crate) task: Task,
    /// An encoded `mesos.v1.FrameworkInfo`.
    pub(crate) framework_info: Bytes,
    /// Everything that was told of it since the start of the agent.
    pub(crate) told: Vec<Update>,
}

/// An executor that ended.
#[derive(Debug, Clone)]
pub(crate) struct EndedExecutor {
    pub(crate) id: InstanceId,
    pub(crate) executor: Executor,
    /// An encoded `mesos.v1.FrameworkInfo`.
    pub(crate) framework_info: Bytes,
}

/// The memory of it.
#[derive(Debug, Clone)]
pub(crate) struct History {
    /// Most tasks, and most executors, that are remembered.
    ended_max: usize,
    tasks: VecDeque<EndedTask>,
    executors: VecDeque<EndedExecutor>,
    told: BTreeMap<LaunchId, Vec<Update>>,
}

/// Updates of one task that are remembered; a state that is told again replaces the one before.
const TOLD_MAX: usize = 16;

impl History {
    pub(crate) fn new(ended_max: usize) -> Self {
        Self {
            ended_max,
            tasks: VecDeque::new(),
            executors: VecDeque::new(),
            told: BTreeMap::new(),
        }
    }

    /// Whether [`Self::follow`] would keep anything of these records.
    pub(crate) fn concerns(records: &[Record]) -> bool {
        let kept = |record: &Record| {
            matches!(
                record,
                Record::Updated { .. } | Record::ExecutorEnded { .. }
            )
        };
        records.iter().any(kept)
    }

    /// Follows the records of a step; `durable` is what they led to.
    pub(crate) fn follow(&mut self, records: &[Record], durable: &Durable) {
        let info = |id: &LaunchId| {
            let info = durable.frameworks.get(&id.key.framework);
            info.cloned().unwrap_or_default()
        };
        for record in records {
            match record {
                Record::Updated { id, update, .. } => {
                    let told = self.told.entry(id.clone()).or_default();
                    told.retain(|earlier| earlier.state != update.state);
                    if told.len() < TOLD_MAX {
                        told.push(update.clone());
                    }
                    if update.state.is_terminal()
                        && let Some(task) = durable.tasks.get(id)
                    {
                        let ended = EndedTask {
                            task: task.clone(),
                            framework_info: info(id),
                            told: told.clone(),
                        };
                        push(&mut self.tasks, ended, self.ended_max);
                    }
                }
                Record::ExecutorEnded { id, .. } => {
                    if let Some(executor) = durable.executors.get(id) {
                        let ended = EndedExecutor {
                            id: id.clone(),
                            executor: executor.clone(),
                            framework_info: info(id),
                        };
                        push(&mut self.executors, ended, self.ended_max);
                    }
                }
                _ => {}
            }
        }
        self.told.retain(|id, _| durable.tasks.contains_key(id));
    }

    /// Tasks that ended and are not in the table any more, oldest first.
    pub(crate) fn tasks<'a>(&'a self, durable: &'a Durable) -> impl Iterator<Item = &'a EndedTask> {
        let gone = |ended: &&EndedTask| !durable.tasks.contains_key(&ended.task.launch.id);
        self.tasks.iter().filter(gone)
    }

    /// Executors that ended, oldest first. Those whose end the masters do not know are in the table
    /// as well.
    pub(crate) fn executors<'a>(
        &'a self,
        durable: &'a Durable,
    ) -> impl Iterator<Item = &'a EndedExecutor> {
        let gone = |ended: &&EndedExecutor| !durable.executors.contains_key(&ended.id);
        self.executors.iter().filter(gone)
    }

    /// What was told of a task in the table, oldest first.
    pub(crate) fn told(&self, id: &LaunchId) -> &[Update] {
        self.told.get(id).map_or(&[], Vec::as_slice)
    }
}

fn push<T>(ring: &mut VecDeque<T>, entry: T, max: usize) {
    ring.push_back(entry);
    while ring.len() > max {
        ring.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use regency_agent_core::{ContainerId, Launch, Source};
    use regency_types::{
        DurationMs, FrameworkId, Generation, TaskId, TaskKey, TaskState, UpdateUuid, WallTime,
    };

    use super::*;

    fn id(task: &str) -> LaunchId {
        LaunchId {
            key: TaskKey {
                framework: FrameworkId::new("f").expect("an id"),
                task: TaskId::new(task).expect("an id"),
            },
            generation: Generation(1),
        }
    }

    fn launched(task: &str) -> Record {
        Record::Launched {
            launch: Launch {
                id: id(task),
                container: ContainerId(1),
                task_info: Bytes::new(),
                kill_grace: DurationMs(1),
                killing_state: false,
                health: None,
                check: None,
                max_completion: None,
                executor: None,
                group: None,
                parent: None,
            },
            framework_info: Bytes::from_static(b"\x12\x01n"),
        }
    }

    fn updated(task: &str, state: TaskState) -> Record {
        Record::Updated {
            id: id(task),
            update: Update {
                uuid: UpdateUuid(state.number().unsigned_abs().into()),
                task_seq: 1,
                state,
                source: Source::Executor,
                reason: None,
                message: None,
                healthy: None,
                check_status: None,
                timestamp: WallTime(1),
                status: Bytes::new(),
            },
            report_seq: 1,
        }
    }

    #[test]
    fn the_newest_that_ended_are_remembered_with_what_was_told() {
        let (mut durable, mut history) = (Durable::default(), History::new(2));
        let mut step = |records: &[Record]| {
            for record in records {
                durable.apply(record);
            }
            history.follow(records, &durable);
        };
        for task in ["a", "b", "c"] {
            step(&[launched(task)]);
            step(&[updated(task, TaskState::Running)]);
            step(&[updated(task, TaskState::Running)]);
            step(&[updated(task, TaskState::Finished)]);
            step(&[Record::Forgotten(id(task))]);
        }
        let ended: Vec<_> = history.tasks(&durable).collect();
        let names: Vec<_> = ended
            .iter()
            .map(|ended| ended.task.launch.id.key.task.as_str())
            .collect();
        assert_eq!(names, ["b", "c"]);
        let states: Vec<_> = ended[0].told.iter().map(|update| update.state).collect();
        assert_eq!(states, [TaskState::Running, TaskState::Finished]);
        assert!(!ended[0].framework_info.is_empty());
        assert!(history.told.is_empty(), "what is not in the table any more");
    }

    #[test]
    fn a_task_in_the_table_is_not_told_twice() {
        let (mut durable, mut history) = (Durable::default(), History::new(2));
        for record in [launched("a"), updated("a", TaskState::Finished)] {
            durable.apply(&record);
            history.follow(&[record], &durable);
        }
        assert_eq!(history.tasks(&durable).count(), 0);
        assert_eq!(history.told(&id("a")).len(), 1);
    }
}

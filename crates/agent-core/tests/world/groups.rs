//! Task groups in this world, and what must hold of those in built-in executors.

use std::collections::BTreeSet;

use bytes::Bytes;
use regency_agent_core::{Command, InstanceId, LaunchId, Member, Record};
use regency_types::{DurationMs, Generation, TaskId, TaskKey, TaskState};

use super::World;

/// Most tasks of a group.
const MEMBERS_MAX: u8 = 3;

impl World {
    /// The built-in executor of a framework, which is launched when the masters know of none.
    fn pod(&mut self, framework: u8) -> InstanceId {
        let key = TaskKey {
            task: TaskId::new("pod").expect("an id"),
            ..Self::key(framework, 0)
        };
        if let Some((instance, _)) = self.pods.get(&key.framework) {
            return instance.clone();
        }
        self.next_generation += 1;
        let instance = InstanceId {
            key,
            generation: Generation(self.next_generation),
        };
        self.log.push(Command::LaunchExecutor {
            id: instance.clone(),
            built_in: true,
            framework_info: Bytes::from_static(b"f"),
            executor_info: Bytes::from_static(b"p"),
            shutdown_grace: Some(DurationMs(500)),
        });
        let known = (instance.clone(), self.log.len() as u64);
        self.pods.insert(instance.key.framework.clone(), known);
        self.machine.expect_built_in(instance.clone());
        instance
    }

    pub(super) fn fresh_ones(&mut self, framework: u8, first: u8, n: u8) -> Vec<LaunchId> {
        (first..first + n)
            .filter_map(|task| self.fresh(framework, task % 4))
            .collect()
    }

    pub(super) fn launch_group(
        &mut self,
        framework: u8,
        first: u8,
        n: u8,
        built_in: bool,
        defect: bool,
    ) {
        if self.gone.contains(&Self::key(framework, 0).framework) {
            return;
        }
        let executor = match built_in {
            true => self.pod(framework),
            false => self.executor(framework),
        };
        let ids = self.fresh_ones(framework, first, 1 + n % MEMBERS_MAX);
        let Some(last) = ids.last().cloned() else {
            // The executor finds nothing to do; its first task is the next command.
            return self.log.push(Command::DropGroup(Vec::new()));
        };
        let members = ids.iter().map(|id| {
            let Command::Launch {
                id,
                task_info,
                kill_grace,
                health,
                check,
                max_completion,
                defect,
                ..
            } = Self::launch(id.clone(), defect && *id == last)
            else {
                unreachable!("it is a launch");
            };
            Member {
                id,
                task_info,
                kill_grace,
                health,
                check,
                max_completion,
                defect,
            }
        });
        let members: Vec<Member> = members.collect();
        self.log.push(Command::LaunchGroup {
            executor,
            framework_info: Bytes::from_static(b"f"),
            killing_state: framework == 0,
            members,
        });
        if built_in {
            self.groups.push(ids);
        }
    }

    /// In the step that records that a task ended otherwise than by finishing, the rest of its
    /// group has ended, too, or is killed.
    pub(super) fn check_groups(&self) {
        for group in &self.groups {
            if self.gone.contains(&group[0].key.framework) {
                continue;
            }
            let (mut ended, mut killed) = (BTreeSet::new(), BTreeSet::new());
            let mut failed = None;
            for record in self.machine.disk() {
                match record {
                    Record::Updated { id, update, .. }
                        if group.contains(id) && update.state.is_terminal() =>
                    {
                        ended.insert(id);
                        if update.state != TaskState::Finished {
                            failed = Some(id);
                        }
                    }
                    Record::KillRequested(id, _) | Record::KillDecided(id, _, _) => {
                        killed.insert(id);
                    }
                    _ => {}
                }
            }
            let Some(failed) = failed else { continue };
            for id in group {
                assert!(
                    ended.contains(id) || killed.contains(id),
                    "{failed} did not finish, and {id} runs on"
                );
            }
        }
    }

    /// All tasks of a group were started, or none.
    pub(super) fn check_together(&self, id: &LaunchId) {
        let group = self.groups.iter().find(|group| group.contains(id));
        let started = |id: &LaunchId| self.machine.starts().contains_key(id);
        for other in group.into_iter().flatten() {
            assert_eq!(started(id), started(other), "{id} and {other}");
        }
    }
}

//! What the agent runs and ran, arranged as Mesos shows it: frameworks, their executors, the tasks
//! of those. Both the older endpoints and the v1 calls are written from it.
//!
//! A task with a command of its own is shown in an executor of the same id, as in Mesos.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use prost::Message;
use regency_agent_core::{
    ContainerId, ExecutorPhase, InstanceId, LaunchId, Phase, ProcessRef, Task, Update,
};
use regency_resources::Resources;
use regency_types::{FrameworkId, TaskState};
use regency_wire::{resources, v1};

use crate::containers::name::Name;
use crate::convert;
use crate::directory::Paths;
use crate::driver::View;

/// A framework with what it has or had here.
#[derive(Debug, Default)]
pub(crate) struct Framework {
    pub(crate) info: v1::FrameworkInfo,
    /// Running, or with an end the masters do not know yet.
    pub(crate) executors: Vec<Executor>,
    /// Gone.
    pub(crate) completed: Vec<Executor>,
}

/// An executor, or a task that is its own.
#[derive(Debug)]
pub(crate) struct Executor {
    pub(crate) id: InstanceId,
    /// With the ids of executor and framework.
    pub(crate) info: v1::ExecutorInfo,
    pub(crate) container: ContainerId,
    pub(crate) directory: PathBuf,
    /// The process that watches it, while it runs.
    pub(crate) process: Option<ProcessRef>,
    /// Of a task that is its own executor.
    pub(crate) command_task: bool,
    /// Tasks that run in containers within this one.
    pub(crate) members: Vec<Member>,
    pub(crate) queued: Vec<v1::Task>,
    pub(crate) launched: Vec<v1::Task>,
    /// Ended, with updates that wait for their acknowledgement.
    pub(crate) terminated: Vec<v1::Task>,
    pub(crate) completed: Vec<v1::Task>,
}

/// A running task of a group.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) container: ContainerId,
    pub(crate) process: ProcessRef,
    pub(crate) resources: Resources,
}

impl Executor {
    /// What the executor itself and its tasks were given.
    pub(crate) fn allocated(&self) -> Resources {
        let tasks = self.queued.iter().chain(&self.launched);
        tasks.fold(sum(&self.info.resources), |mut all, task| {
            all += &sum(&task.resources);
            all
        })
    }

    /// The role it was allocated to.
    pub(crate) fn role(&self) -> Option<&str> {
        let tasks = [
            &self.queued,
            &self.launched,
            &self.terminated,
            &self.completed,
        ];
        let tasks = tasks.into_iter().flatten().map(|task| &task.resources);
        let mut lists = std::iter::once(&self.info.resources).chain(tasks);
        lists.find_map(|list| role(list))
    }

    /// Mesos' status of its container.
    pub(crate) fn status(&self, id: v1::ContainerId, ip: std::net::IpAddr) -> v1::ContainerStatus {
        v1::ContainerStatus {
            container_id: Some(id),
            network_infos: vec![convert::network_info(ip)],
            cgroup_info: None,
            executor_pid: self.process.map(|process| process.pid),
        }
    }
}

/// Resources that cannot be read count as none: they were when they were launched.
pub(crate) fn sum(list: &[v1::Resource]) -> Resources {
    resources::from_wire(list).map_or_else(|_| Resources::empty(), |read| read.resources)
}

/// The role that resources are allocated to.
pub(crate) fn role(list: &[v1::Resource]) -> Option<&str> {
    let roles = list.iter().filter_map(|resource| {
        let allocation = resource.allocation_info.as_ref()?;
        allocation.role.as_deref()
    });
    roles.into_iter().next()
}

/// Everything in `view`.
pub(crate) fn frameworks(view: &View, paths: &Paths) -> BTreeMap<FrameworkId, Framework> {
    let mut found = Found {
        view,
        paths,
        frameworks: BTreeMap::new(),
    };
    found.executors();
    found.tasks();
    found.frameworks
}

struct Found<'a> {
    view: &'a View,
    paths: &'a Paths,
    frameworks: BTreeMap<FrameworkId, Framework>,
}

/// Which list of its executor a task is in.
#[derive(Clone, Copy)]
enum List {
    Queued,
    Launched,
    Terminated,
    Completed,
}

impl Found<'_> {
    fn framework(&mut self, id: &FrameworkId, info: Option<&Bytes>) -> &mut Framework {
        self.frameworks.entry(id.clone()).or_insert_with(|| {
            let info = info.and_then(|info| v1::FrameworkInfo::decode(&info[..]).ok());
            Framework {
                info: v1::FrameworkInfo {
                    id: Some(id.into()),
                    ..info.unwrap_or_default()
                },
                ..Framework::default()
            }
        })
    }

    fn executors(&mut self) {
        let view = self.view;
        for (id, executor) in &view.durable.executors {
            let shown = self.executor(id, executor);
            let info = view.durable.frameworks.get(&id.key.framework);
            let framework = self.framework(&id.key.framework, info);
            framework.executors.push(shown);
        }
        for ended in view.history.executors(&view.durable) {
            let mut shown = self.executor(&ended.id, &ended.executor);
            shown.process = None;
            let framework = self.framework(&ended.id.key.framework, Some(&ended.framework_info));
            framework.completed.push(shown);
        }
    }

    fn executor(&self, id: &InstanceId, executor: &regency_agent_core::Executor) -> Executor {
        let info = v1::ExecutorInfo::decode(&executor.info[..]).unwrap_or_default();
        let process = match executor.phase {
            ExecutorPhase::Started(process) => Some(process),
            ExecutorPhase::Intended | ExecutorPhase::Ready | ExecutorPhase::Ended(_) => None,
        };
        self.shown(id, info, executor.container, process)
    }

    fn shown(
        &self,
        id: &InstanceId,
        info: v1::ExecutorInfo,
        container: ContainerId,
        process: Option<ProcessRef>,
    ) -> Executor {
        let agent_id = self.view.durable.agent_id.as_ref();
        let directory = agent_id.map(|agent| self.paths.sandbox(agent, id, container));
        Executor {
            id: id.clone(),
            info: v1::ExecutorInfo {
                executor_id: v1::ExecutorId {
                    value: id.key.task.to_string(),
                },
                framework_id: Some((&id.key.framework).into()),
                ..info
            },
            container,
            directory: directory.unwrap_or_default(),
            process,
            command_task: false,
            members: Vec::new(),
            queued: Vec::new(),
            launched: Vec::new(),
            terminated: Vec::new(),
            completed: Vec::new(),
        }
    }

    fn tasks(&mut self) {
        let view = self.view;
        for (id, task) in &view.durable.tasks {
            let list = match task.phase {
                Phase::Intended => List::Queued,
                Phase::Started(_) | Phase::HandedOver => List::Launched,
                Phase::Ended => List::Terminated,
            };
            let told = view.history.told(id).iter().chain(&task.updates);
            let info = view.durable.frameworks.get(&id.key.framework);
            self.task(task, told, info, list);
        }
        for ended in view.history.tasks(&view.durable) {
            let info = Some(&ended.framework_info);
            self.task(&ended.task, ended.told.iter(), info, List::Completed);
        }
    }

    fn task<'a>(
        &mut self,
        task: &Task,
        told: impl Iterator<Item = &'a Update>,
        framework_info: Option<&Bytes>,
        list: List,
    ) {
        let id = &task.launch.id;
        let info = v1::TaskInfo::decode(&task.launch.task_info[..]).unwrap_or_default();
        let own_executor = task.launch.executor.is_none();
        let instance = task.launch.executor.clone().unwrap_or_else(|| id.clone());
        let executor = match own_executor {
            false => None,
            true => {
                let process = match task.phase {
                    Phase::Started(process) => Some(process),
                    Phase::Intended | Phase::HandedOver | Phase::Ended => None,
                };
                let mut shown = self.shown(
                    &instance,
                    command_executor(&info),
                    task.launch.container,
                    process,
                );
                shown.command_task = true;
                Some(shown)
            }
        };
        let shown = self.shown_task(task, info, told);
        let framework = self.framework(&id.key.framework, framework_info);
        let of_instance = |executor: &&mut Executor| executor.id == instance;
        let home = match executor {
            Some(executor) => {
                let home = match list {
                    List::Completed => &mut framework.completed,
                    List::Queued | List::Launched | List::Terminated => &mut framework.executors,
                };
                home.push(executor);
                home.last_mut()
            }
            None => {
                let all = framework.executors.iter_mut();
                all.chain(&mut framework.completed).find(of_instance)
            }
        };
        let Some(home) = home else {
            // Its executor was forgotten; there is nowhere to show it.
            return;
        };
        if let (Some(_), Phase::Started(process)) = (task.launch.parent, task.phase) {
            home.members.push(Member {
                container: task.launch.container,
                process,
                resources: sum(&shown.resources),
            });
        }
        match list {
            List::Queued => home.queued.push(shown),
            List::Launched => home.launched.push(shown),
            List::Terminated => home.terminated.push(shown),
            List::Completed => home.completed.push(shown),
        }
    }

    fn shown_task<'a>(
        &self,
        task: &Task,
        info: v1::TaskInfo,
        told: impl Iterator<Item = &'a Update>,
    ) -> v1::Task {
        let id = &task.launch.id.key;
        let executor = task.launch.executor.as_ref();
        let mut statuses: Vec<v1::TaskStatus> = Vec::new();
        for update in told {
            let agent_id = self.view.durable.agent_id.as_ref();
            let status = convert::told(update, task, &self.view.constants, agent_id);
            // The same one may wait for its acknowledgement.
            if !statuses.iter().any(|earlier| earlier.uuid == status.uuid) {
                statuses.push(status);
            }
        }
        let last = statuses.last();
        v1::Task {
            name: info.name,
            task_id: (&id.task).into(),
            framework_id: (&id.framework).into(),
            executor_id: executor.map(|executor| v1::ExecutorId {
                value: executor.key.task.to_string(),
            }),
            agent_id: v1::AgentId {
                value: agent_id(self.view),
            },
            state: task.latest_state.number(),
            resources: info.resources,
            status_update_state: last.map(|status| status.state),
            status_update_uuid: last.and_then(|status| status.uuid.clone()),
            statuses,
            labels: info.labels,
            discovery: info.discovery.map(|discovery| *discovery),
            container: info.container,
            health_check: info.health_check.map(|check| *check),
            kill_policy: info.kill_policy,
            user: info.command.and_then(|command| command.user),
            limits: info.limits,
        }
    }
}

/// The id of this agent; empty before it has one.
pub(crate) fn agent_id(view: &View) -> String {
    let id = view.durable.agent_id.as_ref();
    id.map(ToString::to_string).unwrap_or_default()
}

/// The executor that a task with a command is shown in.
fn command_executor(task: &v1::TaskInfo) -> v1::ExecutorInfo {
    v1::ExecutorInfo {
        name: Some(format!("Command Executor (Task: {})", task.task_id.value)),
        source: Some(task.task_id.value.clone()),
        command: task.command.clone(),
        ..v1::ExecutorInfo::default()
    }
}

/// Tasks of the table by their newest state.
pub(crate) fn count_states(view: &View) -> BTreeMap<TaskState, usize> {
    let mut counts = BTreeMap::new();
    for task in view.durable.tasks.values() {
        *counts.entry(task.latest_state).or_default() += 1;
    }
    counts
}

/// A task or an executor whose process lives.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    pub(crate) id: LaunchId,
    pub(crate) process: ProcessRef,
}

/// The container of a running task or executor.
pub(crate) fn running(view: &View, wanted: &Name) -> Option<Running> {
    let name = crate::directory::container_name;
    let tasks = view.durable.tasks.iter().filter_map(|(id, task)| {
        let Phase::Started(process) = task.phase else {
            return None;
        };
        Some((id, task.launch.parent, task.launch.container, process))
    });
    let executors = view.durable.executors.iter().filter_map(|(id, executor)| {
        let ExecutorPhase::Started(process) = executor.phase else {
            return None;
        };
        Some((id, None, executor.container, process))
    });
    let mut all = tasks.chain(executors);
    let found = all.find(|(_, parent, container, _)| {
        let parent = parent.map(name);
        let whole = parent.into_iter().chain([name(*container)]);
        wanted.parts().eq(whole)
    });
    found.map(|(id, _, _, process)| Running {
        id: id.clone(),
        process,
    })
}

//! What executors are told, in the words of the executor API.

use prost::Message;
use regency_agent_core::{Durable, ExecutorEvent, InstanceId};
use regency_types::DurationMs;
use regency_wire::v1;
use regency_wire::v1::executor::Event;
use regency_wire::v1::executor::event::{self, Type};

use crate::directory::container_name;

fn of(event_type: Type) -> Event {
    Event {
        r#type: Some(event_type as i32),
        ..Event::default()
    }
}

/// Shows that the stream lives.
pub(crate) fn heartbeat() -> Event {
    of(Type::Heartbeat)
}

/// The event on the wire; `None` when what it speaks of is not there any more.
pub(crate) fn wire(
    event: ExecutorEvent,
    id: &InstanceId,
    durable: &Durable,
    agent: &v1::AgentInfo,
) -> Option<Event> {
    Some(match event {
        ExecutorEvent::Subscribed => Event {
            subscribed: Some(subscribed(id, durable, agent)?),
            ..of(Type::Subscribed)
        },
        ExecutorEvent::Launch(task) => {
            let launch = &durable.tasks.get(&task)?.launch;
            let task = v1::TaskInfo::decode(launch.task_info.clone()).ok()?;
            Event {
                launch: Some(event::Launch { task }),
                ..of(Type::Launch)
            }
        }
        ExecutorEvent::LaunchGroup(tasks) => {
            let task = |id| {
                let launch = &durable.tasks.get(id)?.launch;
                v1::TaskInfo::decode(launch.task_info.clone()).ok()
            };
            let tasks = tasks.iter().map(task).collect::<Option<_>>()?;
            Event {
                launch_group: Some(event::LaunchGroup {
                    task_group: v1::TaskGroupInfo { tasks },
                }),
                ..of(Type::LaunchGroup)
            }
        }
        ExecutorEvent::Kill(task, grace) => Event {
            kill: Some(event::Kill {
                task_id: v1::TaskId {
                    value: task.key.task.to_string(),
                },
                kill_policy: grace.map(kill_policy),
            }),
            ..of(Type::Kill)
        },
        ExecutorEvent::Acknowledged(task, uuid) => Event {
            acknowledged: Some(event::Acknowledged {
                task_id: v1::TaskId {
                    value: task.to_string(),
                },
                uuid: uuid.to_bytes().to_vec().into(),
            }),
            ..of(Type::Acknowledged)
        },
        ExecutorEvent::Message(data) => Event {
            message: Some(event::Message { data }),
            ..of(Type::Message)
        },
        ExecutorEvent::Shutdown => of(Type::Shutdown),
    })
}

fn kill_policy(grace: DurationMs) -> v1::KillPolicy {
    let nanoseconds = i64::try_from(grace.0.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
    v1::KillPolicy {
        grace_period: Some(v1::DurationInfo { nanoseconds }),
    }
}

fn subscribed(
    id: &InstanceId,
    durable: &Durable,
    agent: &v1::AgentInfo,
) -> Option<event::Subscribed> {
    let executor = durable.executors.get(id)?;
    let framework = durable.frameworks.get(&id.key.framework)?;
    // Executors compare the ids with what they were started with.
    let framework_id = v1::FrameworkId {
        value: id.key.framework.to_string(),
    };
    Some(event::Subscribed {
        executor_info: v1::ExecutorInfo {
            framework_id: Some(framework_id.clone()),
            ..v1::ExecutorInfo::decode(executor.info.clone()).ok()?
        },
        framework_info: v1::FrameworkInfo {
            id: Some(framework_id),
            ..v1::FrameworkInfo::decode(framework.clone()).ok()?
        },
        agent_info: v1::AgentInfo {
            id: durable.agent_id.as_ref().map(|id| v1::AgentId {
                value: id.to_string(),
            }),
            ..agent.clone()
        },
        container_id: Some(v1::ContainerId {
            value: container_name(executor.container),
            parent: None,
        }),
    })
}

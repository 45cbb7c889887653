//! Events of the operator API: what watchers of the cluster are told of a change.
//!
//! Made of what is replicated and nothing else, so that all masters tell the same.

use std::sync::Arc;

use regency_state::model::{Capabilities, Framework, StatusReason, Task};
use regency_state::{Change, State};
use regency_types::{TaskState, WallTime};
use regency_wire::events::HEARTBEAT_INTERVAL_SECONDS;
use regency_wire::v1::TaskStatus;
use regency_wire::v1::master::Event;
use regency_wire::v1::master::event::{self, Type};
use regency_wire::v1::master::response::get_frameworks;
use regency_wire::v1::task_status::Reason;

use super::{agents, frameworks};
use crate::query::status::{of_decision, time, told};
use crate::query::task::{self, sent};
use crate::query::{Identity, Live, View};

/// What every master sees in the same way: who is registered or subscribed counts as connected.
fn replicated<T>(state: &State, identity: &Identity, show: impl FnOnce(&View<'_>) -> T) -> T {
    show(&View {
        state,
        live: &Live::default(),
        identity,
    })
}

/// The first event of a stream. Without a state it goes on from where the watcher was.
#[must_use]
pub fn subscribed(state: Option<&State>, identity: &Identity) -> Event {
    let get_state = state.and_then(|state| {
        let show = |view: &View<'_>| super::answer(view, super::Type::GetState);
        replicated(state, identity, show).get_state
    });
    Event {
        subscribed: Some(event::Subscribed {
            get_state,
            heartbeat_interval_seconds: Some(HEARTBEAT_INTERVAL_SECONDS),
        }),
        ..of(Type::Subscribed)
    }
}

/// Shows that the stream lives.
#[must_use]
pub fn heartbeat() -> Event {
    of(Type::Heartbeat)
}

/// A change that is told, with all that is needed to put it into words later. Tasks are shared with
/// the state, so that what is kept of them costs little.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// In words already.
    Event(Box<Event>),
    /// A new task.
    TaskAdded {
        /// The task.
        task: Arc<Task>,
        /// What its framework could do then.
        capabilities: Capabilities,
    },
    /// Another state of a task.
    TaskUpdated {
        /// The task.
        task: Arc<Task>,
        /// What its framework could do then.
        capabilities: Capabilities,
        /// When masters decided it themselves: what they say of it, and when.
        decided: Option<(Option<StatusReason>, WallTime)>,
    },
}

/// What is told of the step from one state to the next, in order.
#[must_use]
pub fn told_of(before: &State, after: &State, identity: &Identity) -> Vec<Told> {
    let changes = after.changes_since(before);
    changes
        .into_iter()
        .filter_map(|change| tell(change, before, after, identity))
        .collect()
}

fn tell(change: Change, before: &State, after: &State, identity: &Identity) -> Option<Told> {
    let capabilities = |task: &Task| {
        let id = &task.key.framework;
        let framework = after.framework(id).or_else(|| before.framework(id));
        framework.map_or_else(Capabilities::default, |f| f.spec.capabilities)
    };
    let event = match change {
        Change::TaskAdded(task) => {
            let capabilities = capabilities(&task);
            return Some(Told::TaskAdded { task, capabilities });
        }
        Change::TaskUpdated {
            before: old,
            after: task,
        } => {
            let decided = match news(&old, &task, after)? {
                News::Sent => None,
                News::Decided(reason) => Some((reason, after.wall())),
            };
            let capabilities = capabilities(&task);
            return Some(Told::TaskUpdated {
                task,
                capabilities,
                decided,
            });
        }
        Change::AgentAdded(agent) => Event {
            agent_added: Some(event::AgentAdded {
                agent: replicated(after, identity, |view| agents::encode(view, &agent)),
            }),
            ..of(Type::AgentAdded)
        },
        Change::AgentRemoved(id) => Event {
            agent_removed: Some(event::AgentRemoved {
                agent_id: (&id).into(),
            }),
            ..of(Type::AgentRemoved)
        },
        Change::FrameworkAdded(framework) => Event {
            framework_added: Some(event::FrameworkAdded {
                framework: described(&framework),
            }),
            ..of(Type::FrameworkAdded)
        },
        Change::FrameworkUpdated(framework) => Event {
            framework_updated: Some(event::FrameworkUpdated {
                framework: described(&framework),
            }),
            ..of(Type::FrameworkUpdated)
        },
        Change::FrameworkRemoved(framework) => Event {
            framework_removed: Some(event::FrameworkRemoved {
                framework_info: frameworks::info(&framework),
            }),
            ..of(Type::FrameworkRemoved)
        },
    };
    Some(Told::Event(Box::new(event)))
}

/// A framework without what it has and is offered, as Mesos tells it in events.
fn described(framework: &Framework) -> get_frameworks::Framework {
    get_frameworks::Framework {
        // Zero in Mesos, too.
        unregistered_time: Some(time(WallTime(0))),
        ..frameworks::described(framework, framework.is_subscribed())
    }
}

/// What is new of a task.
enum News {
    /// What its agent sent.
    Sent,
    /// What the masters decided, with their reason.
    Decided(Option<StatusReason>),
}

/// Whether a change of a task is told, by Mesos' rule: a status is when it tells another state than
/// the one before it, or the result of a check. What the masters decide by themselves always is. A
/// state that an agent is in already, but whose update waits behind another one, is told with that.
fn news(old: &Task, new: &Task, after: &State) -> Option<News> {
    if old.status != new.status
        && let Some(status) = sent(new)
    {
        let check = matches!(
            status.reason(),
            Reason::TaskCheckStatusUpdated | Reason::TaskHealthCheckStatusUpdated
        );
        let another = sent(old).is_none_or(|last| last.state != status.state);
        let decided_since = old.state != new.state && old.state == TaskState::Unreachable;
        return (check || another || decided_since).then_some(News::Sent);
    }
    if old.state == new.state {
        return None;
    }
    let framework = after.framework(&new.key.framework);
    let reason = match new.state {
        TaskState::Unreachable => Some(StatusReason::AgentRemoved),
        TaskState::Killed if framework.is_none() => Some(StatusReason::FrameworkRemoved),
        TaskState::GoneByOperator if new.lost => Some(StatusReason::AgentRemovedByOperator),
        TaskState::Lost | TaskState::Gone | TaskState::Unknown => None,
        _ if old.state == TaskState::Unreachable => Some(StatusReason::AgentReregistered),
        // The agent is ahead of its updates.
        TaskState::Staging
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Killing
        | TaskState::Finished
        | TaskState::Failed
        | TaskState::GoneByOperator
        | TaskState::Killed => return None,
        _ if new.unacked.is_some() => return None,
        _ => None,
    };
    Some(News::Decided(reason))
}

impl Told {
    /// Mesos' name of its type in lower case.
    #[must_use]
    pub fn name(&self) -> &'static str {
        let event_type = match self {
            Self::Event(event) => event.r#type(),
            Self::TaskAdded { .. } => Type::TaskAdded,
            Self::TaskUpdated { .. } => Type::TaskUpdated,
        };
        match event_type {
            Type::TaskAdded => "task_added",
            Type::TaskUpdated => "task_updated",
            Type::AgentAdded => "agent_added",
            Type::AgentRemoved => "agent_removed",
            Type::FrameworkAdded => "framework_added",
            Type::FrameworkUpdated => "framework_updated",
            Type::FrameworkRemoved => "framework_removed",
            Type::Unknown | Type::Subscribed | Type::Heartbeat => "other",
        }
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> Event {
        match self {
            Self::Event(event) => Event::clone(event),
            Self::TaskAdded { task, capabilities } => Event {
                task_added: Some(event::TaskAdded {
                    task: task::encode(task, capabilities),
                }),
                ..of(Type::TaskAdded)
            },
            Self::TaskUpdated {
                task,
                capabilities,
                decided,
            } => Event {
                task_updated: Some(event::TaskUpdated {
                    framework_id: (&task.key.framework).into(),
                    status: match decided {
                        None => newest(task, capabilities),
                        Some((reason, at)) => of_decision(task, *reason, capabilities, *at),
                    },
                    state: told(task.state, capabilities).number(),
                }),
                ..of(Type::TaskUpdated)
            },
        }
    }
}

/// The newest status that the agent sent, as its framework is told it.
fn newest(task: &Task, capabilities: &Capabilities) -> TaskStatus {
    let mut status = sent(task).unwrap_or_default();
    if let Some(state) = TaskState::from_number(status.state) {
        status.state = told(state, capabilities).number();
    }
    status.task_id = (&task.key.task).into();
    status.agent_id = Some((&task.agent).into());
    status
}

fn of(event_type: Type) -> Event {
    Event {
        r#type: Some(event_type as i32),
        ..Event::default()
    }
}
